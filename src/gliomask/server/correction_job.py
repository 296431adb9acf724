"""One correction: from the bytes that a page sent to a label map, a report and DICOM objects in a folder.

Runs in a worker's process, inside the job's folder: the label map is a stranger's, and so are the scans and the DICOM
files that are read again.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from gliomask.errors import GliomaskError
from gliomask.files.atomic import replacing
from gliomask.files.hashing import sha256_of
from gliomask.files.regular import read_regular
from gliomask.io import nifti
from gliomask.io.dicom.drawn_on import drawn_on
from gliomask.io.dicom.export import Kinds, export
from gliomask.labels import Region, convention
from gliomask.report.volumes import measure
from gliomask.results.correction import WRITTEN_AS, CorrectionRecord, correction_path, read_correction
from gliomask.results.layout import CaseLayout
from gliomask.server.case_job import ARCHIVE, CASE, INSTANCES, RESULTS, holds_scans, series_of_prepared
from gliomask.server.correction_order import FILES, SENT, CorrectionOrder
from gliomask.server.jobs import Correction, Kind, ResultFile
from gliomask.view.corrections import Corrections
from gliomask.view.exams import Exam, find_exam
from gliomask.view.sent import MAX_BODY_BYTES, read_sent

log = logging.getLogger("gliomask.server")

NO_DICOM = "The scans did not come as DICOM, so there is no DICOM segmentation."


def keep_correction(kind: Kind, order: CorrectionOrder, place: Path) -> Correction:
    """Checks and keeps a correction of the job in the working folder.

    Args:
        kind: what was sent as the job.
        order: what to do.
        place: folder of the correction, which holds `SENT`; its `FILES` are written.

    Raises:
        GliomaskError: what was sent is no correction, or it cannot be kept.
    """
    result = CaseLayout.of(RESULTS, CASE).label_map
    exam = _called(find_exam(result), order.case)
    shape = nifti.read_shape(result)
    sent = read_sent(read_regular(place / SENT, MAX_BODY_BYTES), (shape[0], shape[1], shape[2]))
    folder = Corrections(place, tool="gliomask serve").keep(exam, sent.labels, sent.who, sent.steps)
    label_map = CaseLayout.of(folder, order.case).label_map
    record = read_correction(label_map)
    assert record is not None
    files = place / FILES
    files.mkdir()
    notes = [f"There is no report: {record.no_report}"] if record.no_report else []
    notes += _objects(kind, label_map, files, record)
    _give_out(folder, label_map, files)
    if order.training is not None:
        notes += _for_training(folder, order.training, place.name)
    shutil.rmtree(folder)
    given_out = sorted(files.iterdir())
    return Correction(
        who=record.who,
        when=record.when,
        changed_ml=round(record.changed_ml, 3),
        results=tuple(
            ResultFile(name=path.name, bytes=path.stat().st_size, sha256=sha256_of(path)) for path in given_out
        ),
        notes=tuple(notes),
        volumes_ml=_volumes_ml(files / label_map.name),
    )


def _called(exam: Exam, name: str) -> Exam:
    """The exam under another case's name: files of a correction must not be called as those of the result are."""
    return replace(exam, files=replace(exam.files, case_id=name))


def _give_out(folder: Path, label_map: Path, files: Path) -> None:
    """Puts all of the case into one archive, as training takes it once unpacked, and what people want beside it; all
    of it is flushed to disk.
    """
    layout = CaseLayout(label_map)
    archive = files / f"{folder.name}.zip"
    with replacing(archive) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as bundle:
        for path in sorted(folder.iterdir()):
            bundle.write(path, f"{folder.name}/{path.name}")
    for path in (label_map, layout.volumes_tsv, layout.report("html"), correction_path(label_map)):
        if path.is_file():
            with path.open("rb") as source, replacing(files / path.name) as target:
                shutil.copyfileobj(source, target)


def _objects(kind: Kind, label_map: Path, files: Path, record: CorrectionRecord) -> list[str]:
    """Writes the segmentation and its volumes as DICOM objects; returns what is missing, and why."""
    if kind is Kind.NIFTI or (kind is Kind.ARCHIVE and holds_scans(ARCHIVE)):
        return [NO_DICOM]
    place = ARCHIVE if kind is Kind.ARCHIVE else INSTANCES
    drawn = drawn_on(CaseLayout.of(RESULTS, CASE).label_map)
    try:
        written = export(
            label_map,
            place,
            files,
            Kinds(segmentation=True, structure_set=False, report=True),
            convention(WRITTEN_AS),
            number=drawn.label if drawn is not None else series_of_prepared(),
            corrected_by=record.who,
        )
    except GliomaskError as error:
        return [f"No DICOM objects were written: {error}"]
    return [f"{note}." for note in written.notes]


def _for_training(kept: Path, folder: Path, name: str) -> list[str]:
    """Makes a copy for training, which the server gives its place once its table knows the correction."""
    try:
        Corrections(folder).stage(kept, name)
    except (GliomaskError, OSError) as error:
        # A client is not told where the folder is; whoever runs the server finds it in the worker's log.
        log.warning("a correction could not be copied for training: %s", error)
        return ["No copy could be put into the folder for training. Tell whoever runs the server."]
    return []


def _volumes_ml(label_map: Path) -> dict[str, float]:
    read = nifti.read_volume(label_map)
    volumes = measure(convention(WRITTEN_AS).from_disk(read.values), read.geometry)
    return {region.value: volumes.region_ml(region) for region in Region}
