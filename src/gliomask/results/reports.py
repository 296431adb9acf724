"""From results on disk to reports on disk: finds the label map's run record and scans, holds the scans against the
record, and writes what was asked for.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gliomask.arrays import LabelMap, Mask, Volume
from gliomask.errors import CaseError, GeometryError, GliomaskError, InputError, UsageError, printable
from gliomask.files.hashing import sha256_of
from gliomask.files.regular import read_regular, reason
from gliomask.files.tables import MAX_TABLE_BYTES
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, find_cases, read_case, read_label_map
from gliomask.io.label_maps import find_label_maps
from gliomask.labels import LabelConvention, convention
from gliomask.report.case_report import IN_BRATS_SPACE, case_report
from gliomask.report.pdf import require_fpdf
from gliomask.report.provenance import Corrected, InputFile, Provenance, file_name, provenance
from gliomask.report.rendered import Rendered
from gliomask.report.volumes import measure
from gliomask.results.correction import CorrectionRecord, read_correction
from gliomask.results.layout import FRAME, CaseLayout, report_formats
from gliomask.results.record import RunRecord, read_record
from gliomask.results.write import refuse_existing
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence

if TYPE_CHECKING:
    from gliomask.report.timeline_report import TimelineReport, TimePoint

TABLE_COLUMNS = ("timepoint", "label_map", "date", "labels")
"""Columns of a timeline's table; the last two may be missing."""


@dataclass(frozen=True)
class Reporting:
    """What is written, and how.

    Args:
        formats: html, pdf, json.
        overwrite: replace reports that exist.
        labels: convention of the label maps, where no run record says it.
    """

    formats: tuple[str, ...] = ("html", "pdf")
    overwrite: bool = False
    labels: str | None = None

    @classmethod
    def of(cls, formats: str, *, overwrite: bool = False, labels: str | None = None) -> Reporting:
        """Takes formats as they are typed, separated by commas; refuses at once what cannot be written.

        Raises:
            UsageError: there is no such format, or none was given.
            EngineUnavailableError: PDF is asked for and fpdf2 is not installed.
        """
        named = report_formats(formats)
        if "pdf" in named:
            require_fpdf()
        return cls(named, overwrite, labels)

    def paths(self, label_map: Path, output: Path | None = None) -> dict[str, Path]:
        """Where the report of a label map goes, by format: beside it, or into another folder."""
        beside = CaseLayout(label_map if output is None else output / label_map.name)
        return {name: beside.beside(f"_report.{name}") for name in self.formats}

    def refuse_existing(self, paths: Mapping[str, Path]) -> None:
        """Raises UsageError where a report exists and may not be replaced, or its folder cannot be written to."""
        refuse_existing(paths.values(), "it", overwrite=self.overwrite)


def write_report(
    label_map: Path, reporting: Reporting, *, scans: Path | None = None, output: Path | None = None
) -> list[Path]:
    """Writes the report of one label map.

    Args:
        label_map: as `gliomask segment` left it, with its run record beside it; or any other, with `scans` and
            `reporting.labels`.
        reporting: what to write.
        scans: the case's folder; None for the files that the run record names.
        output: the folder; None for the label map's own.

    Returns:
        The files that were written.

    Raises:
        UsageError: a report exists, or the label convention is neither recorded nor given.
        InputError: the scans cannot be found, are not those that were segmented, or lie on another grid.
    """
    paths = reporting.paths(label_map, output)
    reporting.refuse_existing(paths)
    result = _read_result(label_map, reporting.labels)
    if result.record is None and scans is None and result.origin.corrected is not None:
        # A correction is kept beside its scans.
        scans = label_map.parent
    if result.record is not None and result.record.raw_route is not None and scans is None:
        return _write(paths, _report_in_frame(result))
    files = _scans(result, scans)
    case = replace(read_case(files), case_id=result.case_id)
    if not case.geometry.same_grid(result.geometry):
        raise GeometryError(
            f"{label_map}: lies on another grid ({result.geometry}) than its scans ({case.geometry}). "
            "Give the folder of scans that were brought to the label map's grid."
        )
    origin = result.origin
    if result.record is None:
        hashes = {sequence.value: str(path) for sequence, path in case.sources.items()}
        digests = {str(path): sha256_of(path) for path in files.paths()}
        known = provenance({"inputs": digests, "sequences": hashes}, result.file)
        origin = replace(origin, inputs=known.inputs)
    report = case_report(case, result.values, origin, uncertainty=_uncertainty(result, case.geometry))
    return _write(paths, report)


def _report_in_frame(result: _Result) -> Rendered:
    """The report of a raw case, from the label map and the scans that were left in the frame.

    Raises:
        UsageError: the scans in the frame were not kept.
    """
    kept, without = CaseLayout(result.path), _without(result)
    images = {sequence: kept.image(sequence) for sequence in PAPER_ORDER if sequence not in without}
    gone = [path for path in (kept.label_map_in(FRAME), *images.values()) if not path.is_file()]
    if gone:
        raise UsageError(
            f"{result.path}: was made from raw scans, which are not on its grid, and there is no "
            f"{gone[0].name} beside it. "
            "Segment again with --report html,pdf, or with --keep-images for reports later on."
        )
    values, geometry = read_label_map(kept.label_map_in(FRAME), result.labels)
    case = read_case(CaseFiles(result.case_id, images, None, result.labels, without=without))
    if not case.geometry.same_grid(geometry):
        raise GeometryError(
            f"{kept.label_map_in(FRAME)}: lies on another grid ({geometry}) than the scans beside it "
            f"({case.geometry}). Segment again."
        )
    return case_report(
        case,
        values,
        result.origin,
        notes=(IN_BRATS_SPACE,),
        uncertainty=_uncertainty(result, case.geometry),
        volumes=measure(result.values, result.geometry),
    )


def _uncertainty(result: _Result, grid: Geometry) -> Volume | None:
    """The map of uncertainty, where the run wrote one and it is still there.

    Raises:
        GeometryError: it lies on another grid than the scans.
    """
    path = CaseLayout(result.path).uncertainty
    if result.record is None or not result.record.options.get("uncertainty") or not path.is_file():
        return None
    read = nifti.read_volume(path)
    if not read.geometry.same_grid(grid):
        raise GeometryError(f"{path}: lies on another grid ({read.geometry}) than the scans ({grid}). Segment again.")
    return np.asarray(read.values, np.float32)


def write_reports(
    place: Path, reporting: Reporting, *, scans: Path | None = None, output: Path | None = None
) -> dict[str, list[Path] | GliomaskError]:
    """Writes the report of every label map at a place; one that fails does not stop the others.

    Args:
        place: a label map, or a folder of them.
        reporting: what to write.
        scans: the folder of one case, or of cases of the same names.
        output: the folder; None for beside the label maps.

    Returns:
        By case, the files written or the error.

    Raises:
        UsageError: there is no label map, or scans were given whose names do not fit.
    """
    label_maps = find_label_maps(place)
    if not label_maps:
        raise UsageError(f"{place}: no label map found. Give one, or a folder that gliomask segment wrote.")
    results: dict[str, list[Path] | GliomaskError] = {}
    for case_id, file in label_maps.items():
        try:
            where = scans if scans is None or len(label_maps) == 1 else scans / case_id
            results[case_id] = write_report(file.path, reporting, scans=where, output=output)
        except GliomaskError as error:
            results[case_id] = error
    return results


def _write(paths: Mapping[str, Path], report: Rendered) -> list[Path]:
    """All formats are set before the first is written, and all are written or none."""
    ready = {path: report.content(form) for form, path in paths.items()}
    with nifti.all_or_none(ready):
        for path, content in ready.items():
            nifti.write_bytes(path, content)
    return list(ready)


@dataclass(frozen=True, eq=False)
class _Result:
    """A label map from disk with its run record; None where there is none."""

    file: InputFile
    case_id: str
    values: LabelMap
    geometry: Geometry
    record: RunRecord | None
    origin: Provenance
    path: Path
    labels: LabelConvention


def _read_result(label_map: Path, labels: str | None) -> _Result:
    files = CaseLayout(label_map)
    record, correction = read_record(files.record), read_correction(label_map)
    recorded = correction.labels if record is None and correction else record and record.options.get("labels")
    if recorded is not None and labels is not None and recorded != labels:
        raise UsageError(f"{label_map}: its record says labels '{recorded}', not '{labels}'. Leave --labels out.")
    name = recorded or labels
    if name is None:
        raise UsageError(
            f"{label_map}: no run record says how its labels are written. Give --labels brats2021, brats2023 "
            "or decathlon."
        )
    written = convention(str(name))
    values, geometry = read_label_map(label_map, written)
    file = InputFile("label map", label_map.name, sha256_of(label_map))
    case_id = nifti.stem(label_map).removesuffix("_seg") if record is None else record.case
    origin = _origin(record, correction, file)
    return _Result(file, case_id, values, geometry, record, origin, label_map, written)


CHANGED_SINCE = (
    "The label map is not the one that the run wrote: its SHA-256 differs from the run record's. Somebody may have "
    "corrected it by hand, so no Dice is expected of it. All numbers and pictures are of the label map as it is now."
)


def _origin(record: RunRecord | None, correction: CorrectionRecord | None, file: InputFile) -> Provenance:
    """How a label map was made; where a person changed it since, what was expected of the network's is left out."""
    origin = provenance({} if record is None else record.as_read(), file)
    if correction is not None:
        origin = origin.after(Corrected(correction.who, correction.when, correction.changed_ml))
        if correction.corrected_sha256 in ("", file.sha256):
            return origin
        again = "The label map was changed again after that correction."
        return replace(origin, exceptions=(again, *origin.exceptions))
    if record is not None and (record.outputs or {}).get(file.name, file.sha256) != file.sha256:
        return replace(origin, expected_dice={}, estimates=(), exceptions=(CHANGED_SINCE, *origin.exceptions))
    return origin


def _scans(result: _Result, given: Path | None) -> CaseFiles:
    """The scans that were given, or those of the record; held against the record's hashes."""
    files = _recorded_scans(result) if given is None else _one_case(given, _without(result))
    if result.record is None:
        return files
    expected = {sequence: result.record.inputs.get(path) for sequence, path in result.record.sequences.items()}
    known: dict[Path, str] = {}
    for sequence in files.used():
        path = files.channels or files.sequences[sequence]
        known.setdefault(path, "")
        known[path] = known[path] or sha256_of(path)
        if expected.get(sequence) not in (None, known[path]):
            raise CaseError(
                f"{path}: is not the {sequence.value} that was segmented: its SHA-256 differs from the run record's. "
                "Give the scans of that run."
            )
    return files


def _without(result: _Result) -> frozenset[Sequence]:
    return frozenset(parse_sequence(name) for name in result.origin.without)


def _one_case(place: Path, without: frozenset[Sequence]) -> CaseFiles:
    cases = find_cases(place, without=without)
    if len(cases) != 1:
        raise UsageError(f"{place} holds {len(cases)} cases; give the folder of the one that was segmented.")
    return cases[0]


def _recorded_scans(result: _Result) -> CaseFiles:
    return recorded_scans(result.path, result.record)


def recorded_scans(label_map: Path, record: RunRecord | None) -> CaseFiles:
    """Returns the scans that a label map's run record names.

    Raises:
        CaseError: no record names them, or they are no longer there.
    """
    if record is None or not record.sequences:
        raise CaseError(f"{label_map}: no run record says which scans it was made from. Give the case's folder.")
    paths = {sequence: Path(path) for sequence, path in record.sequences.items()}
    gone = [path for path in paths.values() if not path.is_file()]
    if gone:
        raise CaseError(
            f"{label_map}: its run record names the scan {file_name(str(gone[0]))}, which is no longer there. Give "
            "the case's folder."
        )
    without = frozenset(parse_sequence(name) for name in record.without)
    if len(paths) > 1 and len(set(paths.values())) == 1:
        return _one_case(next(iter(paths.values())), without)
    return CaseFiles(record.case, paths, None, convention("brats2021"), without=without)


def read_timeline(table: Path) -> list[tuple[str, Path, date | None, str | None]]:
    """Reads a table of time points, tab-separated, in the order of time: `timepoint`, `label_map`, and, if known,
    `date` and `labels`.

    Args:
        table: paths in it count from its own folder; dates are written YYYY-MM-DD.

    Raises:
        UsageError: the file cannot be read or has other columns, a row is incomplete, or a date is none.
    """
    try:
        lines = read_regular(table, MAX_TABLE_BYTES).decode("utf-8-sig").splitlines()
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{table}: cannot be read as a table ({reason(error)}). Give a tab-separated text file."
        ) from error
    if not {"timepoint", "label_map"} <= set(columns) or set(columns) - set(TABLE_COLUMNS):
        raise UsageError(
            f"{table}: its columns are {str(list(columns))[:200]}; needed are timepoint and label_map, allowed also "
            "date and labels, separated by tabs."
        )
    return [_time_point_row(table, n, row) for n, row in enumerate(rows, start=2)]


def _time_point_row(table: Path, line: int, row: dict[str, str | None]) -> tuple[str, Path, date | None, str | None]:
    if not (row["timepoint"] and row["label_map"]):
        raise UsageError(f"{table}, line {line}: timepoint or label_map is empty. Fill in both.")
    try:
        day = date.fromisoformat(written) if (written := row.get("date")) else None
    except ValueError:
        raise UsageError(f"{table}, line {line}: '{row['date']}' is no date. Write it as YYYY-MM-DD.") from None
    return row["timepoint"], table.parent / row["label_map"], day, row.get("labels") or None


FILE_NAME = re.compile(r"[^\s/\\:*?\"<>|.\x00-\x1f][^/\\:*?\"<>|\x00-\x1f]{0,99}")
"""What a patient may be called for files to be named so, on any system; no dot at the beginning, which hides them."""


def timeline_paths(patient: str, output: Path, formats: Iterable[str]) -> dict[str, Path]:
    """Returns where the report of a patient over time goes, by format.

    Raises:
        UsageError: no file can be named after the patient.
    """
    if not FILE_NAME.fullmatch(patient):
        raise UsageError(
            f"--patient '{printable(patient)}': files are named after the patient, and none can have this name. Give "
            "letters, digits, - and _."
        )
    return {name: output / f"{patient}_timeline.{name}" for name in formats}


def write_timeline(
    patient: str, points: Ordered[tuple[str, Path, date | None, str | None]], output: Path, reporting: Reporting
) -> tuple[TimelineReport, list[Path]]:
    """Writes the report of one patient over time.

    Args:
        patient: what the report calls the patient, and its files: `PATIENT_timeline.html`.
        points: name, label map, date and label convention (None where the run record says it) of each time point, in
            the order of time.
        output: the folder.
        reporting: what to write.

    Raises:
        UsageError: a report exists, no file can be named after the patient, the order makes no sense, or a convention
            is neither recorded nor given.
        InputError: a label map cannot be read.
    """
    # Imported here: its curves take matplotlib, which no other report needs.
    from gliomask.report.timeline_report import timeline_report

    paths = timeline_paths(patient, output, reporting.formats)
    reporting.refuse_existing(paths)
    results = [(name, _read_result(path, labels or reporting.labels), day) for name, path, day, labels in points]
    report = timeline_report(patient, [_time_point(name, read, day) for name, read, day in results])
    return report, _write(paths, report)


def _time_point(name: str, result: _Result, day: date | None) -> TimePoint:
    """A time point with its brain and its scans on the label map's grid; None for each, and why, where it is not at
    hand.
    """
    from gliomask.report.timeline_pictures import VisitScans
    from gliomask.report.timeline_report import TimePoint

    known = TimePoint(name, result.values, result.geometry, day, result.origin)
    try:
        brain, grid, volumes, where = _raw_head(result) or _prepared_head(result)
    except (InputError, UsageError) as error:
        return replace(known, no_brain=str(error).rstrip("."))
    if not grid.same_grid(result.geometry):
        return replace(known, no_brain=f"{where} lie on another grid than the label map")
    return replace(known, brain=brain, scans=VisitScans.of(volumes, brain) if volumes else None)


Head = tuple[Mask, Geometry, Mapping[Sequence, Volume], str]
"""The brain, its grid, the scans on it, and what they are called."""


def _prepared_head(result: _Result) -> Head:
    case = read_case(_scans(result, None))
    return np.asarray(case.brain_mask), case.geometry, case.volumes, "the scans"


def _raw_head(result: _Result) -> Head | None:
    """Of a raw case, the mask that lies beside the label map, and the one scan on its grid; None of a prepared one.

    Raises:
        CaseError: the mask is gone.
    """
    route = None if result.record is None else result.record.raw_route
    if result.record is None or route is None:
        return None
    path = CaseLayout(result.path).mask_in(route.reference.value)
    if not path.is_file():
        raise CaseError(f"there is no {path.name} beside the label map")
    mask = nifti.read_volume(path)
    scan = Path(result.record.sequences.get(route.reference, ""))
    volumes: dict[Sequence, Volume] = {}
    if nifti.is_nifti_name(scan) and scan.is_file():
        volume = nifti.read_volume(scan)
        # Its pictures are worth showing only where they are of this head: the file may have been replaced since.
        if volume.geometry.same_grid(mask.geometry) and sha256_of(scan) == result.record.inputs.get(str(scan)):
            volumes[route.reference] = np.asarray(volume.values, np.float32)
    return np.asarray(mask.values != 0), mask.geometry, volumes, path.name
