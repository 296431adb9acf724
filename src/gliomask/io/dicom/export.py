"""A label map in NIfTI to DICOM objects that refer to the series it was drawn on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gliomask.arrays import LabelMap
from gliomask.errors import EngineUnavailableError, GeometryError, GliomaskError, LabelError, UsageError
from gliomask.files.atomic import all_or_none, refuse_existing, refuse_unwritable, write_bytes
from gliomask.io.dicom.archive import opened
from gliomask.io.dicom.drawn_on import CONVERSION, drawn_on
from gliomask.io.dicom.measurement_report import build_report
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.segmentation_object import build_segmentation
from gliomask.io.dicom.source import SourceImages, in_source_order, load_source, unusable_header
from gliomask.io.dicom.structure_set import build_structure_set
from gliomask.io.dicom.survey import Progress
from gliomask.io.nifti import read_volume, stem
from gliomask.labels import LabelConvention


@dataclass(frozen=True)
class Kinds:
    """Which objects to write; the report refers to the segmentation."""

    segmentation: bool = True
    structure_set: bool = True
    report: bool = True


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        paths: the objects.
        left_out: keywords of the source whose value is not valid, and which are empty or absent in the objects.
        notes: what else differs from the source's headers, in sentences.
    """

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def export(
    label_map: Path,
    place: Path,
    output: Path,
    kinds: Kinds,
    convention: LabelConvention,
    *,
    number: str | None = None,
    corrected_by: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Writes the objects asked for into a folder. All are built before the first is written.

    Args:
        label_map: a NIfTI file in the grid of the series; its axes may be permuted or flipped.
        place: folder or zip with the series, and perhaps others.
        output: the folder; it is made where it does not exist.
        kinds: which objects.
        convention: how the label map is written.
        number: number or SeriesInstanceUID of the series, where several have this grid.
        corrected_by: who corrected the label map by hand; the segmentation and the report then say so.
        overwrite: replace files that exist, the record among them.
        progress: called with the number of headers read so far and the number of files.

    Raises:
        GeometryError: the label map is in the grid of no series.
        LabelError: the label map holds other values than its convention's.
        CaseError: several series have its grid, its record names another series, or the folder holds two patients.
        FileFormatError: the headers of the series are such that no object can refer to it.
        UsageError: a file exists and `overwrite` is false, or the report is asked for without the segmentation.
    """
    if kinds.report and not kinds.segmentation:
        raise UsageError("The report refers to the segmentation. Ask for both.")
    wanted = {"seg": kinds.segmentation, "rtstruct": kinds.structure_set, "sr": kinds.report}
    targets = {kind: output / f"{stem(label_map)}_{kind}.dcm" for kind, asked in wanted.items() if asked}
    refuse_unwritable(output)
    refuse_existing([*targets.values(), output / CONVERSION], overwrite=overwrite)
    _refuse_missing_extra()
    read = read_volume(label_map)
    try:
        labels = convention.from_disk(read.values)
    except LabelError as error:
        raise LabelError(f"{label_map}: {error}") from error
    try:
        with opened(place) as folder:
            source = load_source(folder, read.geometry, number, drawn_on(label_map), progress)
    except GeometryError as error:
        raise GeometryError(f"{label_map}: {error}") from error
    contents = _built(in_source_order(labels, read.geometry, source), source, kinds, corrected_by)
    with all_or_none(targets.values()):
        for kind, content in contents.items():
            write_bytes(targets[kind], content)
    return Exported(tuple(targets.values()), source.left_out, source.notes)


def _refuse_missing_extra() -> None:
    """Raises EngineUnavailableError where highdicom or pydicom is not installed, before anything is read."""
    with quiet_pydicom():
        if find_spec("highdicom") is None:
            raise EngineUnavailableError(
                "Writing DICOM needs the extra 'dicom'. Install it: pip install 'gliomask[dicom]'."
            )


def _built(planes: LabelMap, source: SourceImages, kinds: Kinds, corrected_by: str | None) -> dict[str, bytes]:
    built: dict[str, Any] = {}
    try:
        if kinds.segmentation:
            built["seg"] = build_segmentation(planes, source, corrected_by)
        if kinds.structure_set:
            built["rtstruct"] = build_structure_set(planes, source)
        if kinds.report:
            built["sr"] = build_report(planes, source, built["seg"], corrected_by)
        contents = {kind: _bytes(dataset) for kind, dataset in built.items()}
    except (GliomaskError, MemoryError, OSError):
        raise
    except Exception as error:
        raise unusable_header(source.series, error) from None
    return contents


def _bytes(dataset: Any) -> bytes:
    stream = io.BytesIO()
    with quiet_pydicom():
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
