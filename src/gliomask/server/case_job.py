"""One job: a case in a folder to its results in a folder. The one place where the server meets the segmentation.

Runs in the worker's process, inside the job's folder, with paths relative to it, so that no record or message tells
where the server keeps its files.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gliomask.errors import CaseError, GliomaskError
from gliomask.files.json import read_json
from gliomask.io.brats import CaseFiles, explicit_case
from gliomask.io.dicom.archive import opened
from gliomask.io.dicom.convert import convert
from gliomask.io.dicom.drawn_on import CONVERSION, drawn_on
from gliomask.io.dicom.export import Kinds, export
from gliomask.io.gunzip import GZIP_MAGIC
from gliomask.io.nifti import is_nifti_name, stem
from gliomask.labels import Region, convention
from gliomask.models.registry import DEFAULT_MODEL
from gliomask.report.run_record import write_record
from gliomask.results.layout import CaseLayout
from gliomask.segmentation import Options, Segmenter
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.options import Delivery
from gliomask.segmentation.source import FileSource
from gliomask.sequences import PAPER_ORDER, Sequence, sequence_of_file_name
from gliomask.server.arrange import left_out_note
from gliomask.server.jobs import JobOptions, Kind
from gliomask.server.view_files import VIEW
from gliomask.server.view_layout import lay_out

log = logging.getLogger("gliomask.server")

CASE = "case"
"""What every case is called: results are told apart by their job, not by what a client called them."""

INPUT, SCANS, RESULTS = Path("input"), Path("scans"), Path("results")
"""Folders of a job: what came, what was made of DICOM or an archive, what goes out."""

ARCHIVE, INSTANCES = INPUT / "upload.zip", INPUT / "dicom"

Report = Callable[[str, int, int], None]
"""Called with a stage in words, the parts done and the parts in all."""


@dataclass(frozen=True)
class Segmented:
    """What became of a case.

    Args:
        flags: what looks wrong about the scans.
        notes: what was done differently from what was asked.
        volumes_ml: by region.
        expected_dice: by region, where it was estimated.
    """

    flags: tuple[str, ...]
    notes: tuple[str, ...]
    volumes_ml: dict[str, float]
    expected_dice: dict[str, float]


class _Teller(logging.Handler):
    """Passes on what the segmentation logs of its steps, as the stage that the work is in."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.INFO)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Passes one message on."""
        self._report(record.getMessage().strip(), 0, 0)


@contextmanager
def _told(report: Report) -> Iterator[None]:
    logger, handler = logging.getLogger("gliomask"), _Teller(report)
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def segment_job(kind: Kind, options: JobOptions, threads: int, report: Report) -> Segmented:
    """Segments the case in `INPUT` and writes its results into `RESULTS`, both below the working folder.

    Args:
        kind: what `INPUT` holds.
        options: how to segment.
        threads: of the engine.
        report: told how far the work is.

    Raises:
        GliomaskError: as `segmentation.cases.segment_to_files` and `dicom.convert`.
    """
    report("reading", 0, 0)
    layout = CaseLayout.of(RESULTS, CASE)
    with _case_files(kind, options) as (files, dicom, left_out):
        delivery = Delivery(
            labels=convention(options.labels),
            probabilities=options.probabilities,
            uncertainty=options.uncertainty,
            report=("html", "json"),
            strict=options.strict,
            overwrite=True,
            absolute_paths=False,
        )
        how = Options(model=options.model or DEFAULT_MODEL, threads=threads, flips=options.flips, raw=options.raw)
        report("loading the model", 0, 0)
        with Segmenter(how) as segmenter, _told(report):
            report("segmenting", 0, 0)
            outcome = segment_to_files(
                segmenter,
                FileSource(files),
                layout,
                delivery,
                progress=lambda done, total: report("segmenting", done, total),
            )
        notes = left_out_note(left_out) + (() if dicom is None else _dicom_objects(layout, dicom, options, report))
    notes += _viewer(layout.label_map, report)
    return Segmented(
        tuple(flag.message for flag in outcome.flags),
        notes,
        {region.value: outcome.volumes.region_ml(region) for region in Region},
        {region.value: round(estimate.dice, 3) for region, estimate in outcome.estimates.items()},
    )


def _viewer(label_map: Path, report: Report) -> tuple[str, ...]:
    """Lays out what the job's page shows; a result without it is still a result."""
    report("preparing the viewer", 0, 0)
    try:
        lay_out(label_map, VIEW)
    except (GliomaskError, OSError) as error:
        log.warning("the viewer's files could not be laid out: %s", error)
        shutil.rmtree(VIEW, ignore_errors=True)
        return ("The viewer cannot show this result.",)
    return ()


@contextmanager
def _case_files(kind: Kind, options: JobOptions) -> Iterator[tuple[CaseFiles, Path | None, int]]:
    """The case's files; where its DICOM files lie, if it came as such; how many files of an archive were left out."""
    absent = frozenset(options.without)
    if kind is Kind.NIFTI:
        sequence_files = {sequence: path for sequence in PAPER_ORDER for path in INPUT.glob(f"{sequence.value}.nii*")}
        yield explicit_case(CASE, sequence_files, without=absent), None, 0
    elif kind is Kind.ARCHIVE and holds_scans(ARCHIVE):
        scans, left_out = _scans_in_archive(absent)
        yield explicit_case(CASE, scans, without=absent), None, left_out
    else:
        place = ARCHIVE if kind is Kind.ARCHIVE else INSTANCES
        yield explicit_case(CASE, _scans_in_dicom(place, absent), without=absent), place, 0


def holds_scans(archive: Path) -> bool:
    """Whether an archive holds NIfTI files, rather than DICOM."""
    return any(is_nifti_name(Path(name)) for name in _names(archive))


def _names(archive: Path) -> list[str]:
    """Names of an archive's files; none where it is damaged, which those who unpack it say better."""
    try:
        with zipfile.ZipFile(archive) as opened_archive:
            return [member.filename for member in opened_archive.infolist() if not member.is_dir()]
    except Exception:
        return []


def _scans_in_archive(absent: frozenset[Sequence]) -> tuple[dict[Sequence, Path], int]:
    """Unpacks a zip of NIfTI files, within the limits of `io.dicom.archive`.

    Which sequence a file holds is decided by its name in the archive.

    Returns:
        The files, and how many others were left out.
    """
    scans: dict[Sequence, Path] = {}
    left_out = 0
    SCANS.mkdir(exist_ok=True)
    with opened(ARCHIVE) as place:
        for path, name in sorted(place.names.items()):
            inner = PurePosixPath(name.replace("\\", "/"))
            sequence = (
                sequence_of_file_name(stem(Path(inner.name)), inner.parent.name)
                if is_nifti_name(Path(inner.name))
                else None
            )
            if sequence is None or sequence in absent or inner.name.startswith("."):
                left_out += 1
                continue
            if sequence in scans:
                raise CaseError(
                    f"The archive holds two files for {sequence.value}. Pack the four files of one patient alone."
                )
            scans[sequence] = SCANS / f"{CASE}_{sequence.value}{_ending(path)}"
            shutil.move(path, scans[sequence])
    missing = [sequence.value for sequence in PAPER_ORDER if sequence not in scans and sequence not in absent]
    if missing:
        raise CaseError(
            f"The archive holds no file for {', '.join(missing)}. Name the files after their sequences, such as "
            "NAME_flair.nii.gz, "
            "or say which sequences the patient does not have."
        )
    return scans, left_out


def _ending(path: Path) -> str:
    with path.open("rb") as stream:
        return ".nii.gz" if stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC else ".nii"


def _scans_in_dicom(place: Path, absent: frozenset[Sequence]) -> dict[Sequence, Path]:
    needed = [sequence for sequence in PAPER_ORDER if sequence not in absent]
    SCANS.mkdir(exist_ok=True)
    paths, inspection = convert(place, SCANS, needed=needed, overwrite=True)
    write_record(SCANS / CONVERSION, "dicom convert", {"options": {}, "dicom": inspection.values})
    return {sequence: path for sequence, path in paths.items() if sequence not in absent}


def series_of_prepared() -> str | None:
    """The series that the objects of a prepared case refer to.

    All of its series have the label map's grid, and T1ce shows most of the tumour.
    """
    chosen = read_json(SCANS / CONVERSION)["dicom"]["chosen"]
    return next((str(chosen[sequence]) for sequence in (Sequence.T1CE, Sequence.FLAIR) if sequence in chosen), None)


def _dicom_objects(layout: CaseLayout, place: Path, options: JobOptions, report: Report) -> tuple[str, ...]:
    """Writes the segmentation and the report with volumes as DICOM.

    Returns a note where the series' headers do not allow it.
    """
    report("writing DICOM objects", 0, 0)
    kinds = Kinds(segmentation=True, structure_set=False, report=True)
    try:
        number = None if drawn_on(layout.label_map) is not None else series_of_prepared()
        written = export(
            layout.label_map, place, layout.folder, kinds, convention(options.labels), number=number, overwrite=True
        )
    except GliomaskError as error:
        return (f"No DICOM objects were written: {error}",)
    left_out = (
        (f"Left empty or out of the DICOM objects, since not valid in the series: {', '.join(written.left_out)}.",)
        if written.left_out
        else ()
    )
    return (*left_out, *(f"{note}." for note in written.notes))
