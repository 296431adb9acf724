"""Many cases, one after the other: each case's results on disk, each failure a row, none of them hidden.

One case that cannot be segmented does not stop the others, and the table accounts for every case that was found.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomask.case import Case
from gliomask.engines.base import thread_count
from gliomask.errors import FileFormatError, GliomaskError, InputError, QualityError, UsageError
from gliomask.flag import Flag
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, read_begun
from gliomask.labels import LabelConvention
from gliomask.profiling import current, stage
from gliomask.quality import entropy
from gliomask.report.preview import draw_preview
from gliomask.report.run_record import compose_record, input_hashes
from gliomask.report.volumes import Volumes, measure
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RECORD_VERSION, RunRecord, earlier_outputs, parse_record, read_record
from gliomask.results.resume import Wanted, earlier_record, is_whole, refuse_other_inputs
from gliomask.results.write import recover, refuse_existing, refuse_inputs, write_case
from gliomask.segmentation import Segmentation, Segmenter
from gliomask.sequences import Sequence

if TYPE_CHECKING:
    from gliomask.models.registry import Model

Progress = Callable[[int, int], None]
KEPT = "finished by an earlier run"

SegmentOne = Callable[[Segmenter, CaseFiles, CaseLayout, "Writing", Progress], Segmentation]


@dataclass(frozen=True)
class Writing:
    """What is written for each case, and how.

    Args:
        labels: convention of the label map on disk.
        probabilities: also write the probabilities.
        uncertainty: also write the entropy of each voxel's labels, and, where mirror images were averaged, how far these disagreed.
        preview: also write the picture.
        overwrite: replace results that exist.
        strict: a quality flag is an error.
        asked: further options that the results depend on, in plain values, for the record and for resuming.
        pages: writes what else belongs to the case into its folder: given the result, where its files are being written, and the record's fields.
    """

    labels: LabelConvention
    probabilities: bool = False
    preview: bool = True
    overwrite: bool = False
    strict: bool = False
    uncertainty: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)
    pages: Callable[[Segmentation, CaseLayout, Mapping[str, Any]], None] | None = None


def segment_to_files(
    segmenter: Segmenter, files: CaseFiles, results: CaseLayout, writing: Writing, progress: Progress = lambda done, total: None
) -> Segmentation:
    """Segments one case and writes its results: all of them, or, after an error, none.

    Args:
        segmenter: the model, opened once.
        files: the scans.
        results: where the results go.
        writing: what to write.
        progress: called with (parts of the brain done, parts in all).

    Raises:
        UsageError: a result exists and may not be overwritten; found out before any work.
        QualityError: a quality flag was raised and `writing.strict` is set.
        InputError: the scans cannot be segmented.
    """
    refuse_places(results, files, writing)
    start = time.perf_counter()
    with stage("read"):
        read = read_begun(files)
        case = read.case()
    return segment_read(segmenter, case, read.hashes, results, writing, progress, start)


def segment_read(
    segmenter: Segmenter,
    case: Case,
    hashes: dict[str, str],
    results: CaseLayout,
    writing: Writing,
    progress: Progress = lambda done, total: None,
    start: float | None = None,
) -> Segmentation:
    """As `segment_to_files`, for scans that have been read.

    Args:
        segmenter: the model, opened once.
        case: the scans.
        hashes: SHA-256 of the files they came from, for the run record.
        results: where the results go.
        writing: what to write.
        progress: called with (parts of the brain done, parts in all).
        start: when reading began, by `time.perf_counter`; None for now.
    """
    refuse_existing(results.all(), f"the results of case {case.case_id}", overwrite=writing.overwrite)
    now = time.perf_counter()
    start = now if start is None else start
    result = segmenter.run(case, progress)
    refuse_flagged(result, writing)
    volumes = measure(result.label_map, case.geometry)
    fields = record_fields(segmenter, result, writing, hashes) | {"volumes": volumes.to_dict()}

    def fill(staged: CaseLayout) -> None:
        nifti.write_volume(staged.label_map, writing.labels.to_disk(result.label_map), case.geometry, case.header)
        write_maps(result, staged, writing)
        write_volumes(volumes, staged, {"case": case.case_id, "predicted_dice": predicted_dice(result)})
        write_preview(result, staged, writing)
        fields["seconds"] = {"read": round(now - start, 3), **result.seconds, "total": round(time.perf_counter() - start, 3)}

    write_results(results, case.case_id, result, writing, fill, fields)
    return result


def write_results(
    results: CaseLayout, case_id: str, result: Segmentation, writing: Writing, fill: Callable[[CaseLayout], None], fields: dict[str, Any]
) -> tuple[Path, ...]:
    """Writes the results of a case, whole or not at all.

    Args:
        results: where.
        case_id: of whom.
        result: what is written.
        writing: how.
        fill: writes label maps, tables and pictures where it is told, and completes `fields`.
        fields: of the run record.
    """
    place = results.place(case_id)

    def fill_all(folder: Path) -> None:
        staged = results.within(folder)
        fill(staged)
        if writing.pages is not None:
            writing.pages(result, staged, compose_record("segment", fields))

    def compose(outputs: dict[str, str]) -> bytes:
        values = compose_record("segment", {"record_version": RECORD_VERSION, **fields, "outputs": outputs})
        return parse_record(values, str(results.record)).to_bytes()

    with stage("write"):
        return write_case(place, fill_all, compose, earlier_outputs(results.record))


def refuse_places(results: CaseLayout, files: CaseFiles, writing: Writing, inputs: Iterable[Path] = ()) -> None:
    """Refuses, before any scan is read, results that exist or would be written over an input.

    Raises:
        UsageError: see `results.write.refuse_existing` and `refuse_inputs`.
    """
    recover(results.place(files.case_id))
    reference = () if files.reference is None else (files.reference,)
    refuse_inputs(results.all(), (*files.paths(), *files.sequences.values(), *reference, *inputs))
    refuse_existing(results.all(), f"the results of case {files.case_id}", overwrite=writing.overwrite)


def refuse_flagged(result: Segmentation, writing: Writing) -> None:
    """Raises QualityError where a quality flag was raised and `writing.strict` is set."""
    if result.flags and writing.strict:
        raise QualityError(f"Case {result.case.case_id}: {result.flags[0].message} Nothing was written, because --strict was given.")


def write_maps(result: Segmentation, results: CaseLayout, writing: Writing) -> None:
    """Writes the probabilities and the uncertainty, where asked for, on the grid of the case that was segmented."""
    case = result.case
    if writing.probabilities:
        nifti.write_volume(results.probabilities, result.probabilities, case.geometry, case.header)
    if writing.uncertainty:
        nifti.write_volume(results.uncertainty, entropy(result.probabilities), case.geometry, case.header)
        if result.disagreement is not None:
            nifti.write_volume(results.disagreement, result.disagreement, case.geometry, case.header)


def predicted_dice(result: Segmentation) -> dict[str, dict[str, float]]:
    """Returns the Dice to be expected of each region with its interval, for JSON; empty where the model is not calibrated."""
    return {region.value: asdict(estimate) for region, estimate in result.estimates.items()}


def write_volumes(volumes: Volumes, results: CaseLayout, about: Mapping[str, Any]) -> None:
    """Writes the volumes as a table and as JSON, where `about` stands before them."""
    nifti.write_bytes(results.volumes_tsv, volumes.to_tsv().encode())
    nifti.write_bytes(results.volumes_json, (json.dumps({**about, **volumes.to_dict()}, indent=1) + "\n").encode())


def write_preview(result: Segmentation, results: CaseLayout, writing: Writing, remark: str = "") -> None:
    """Draws the picture, where asked for; `remark` ends its title."""
    if not writing.preview:
        return
    without = f", without {', '.join(sorted(result.case.without))}" if result.case.without else ""
    title = f"{' with '.join(result.models)}, post-processing {result.postprocess}{without}{remark}"
    with stage("picture"):
        draw_preview(result.case, result.label_map, results.preview, title=title, flags=[flag.message for flag in result.flags])


def record_fields(segmenter: Segmenter, result: Segmentation, writing: Writing, hashes: dict[str, str]) -> dict[str, Any]:
    """Returns what the run record says of a case, a model and the options."""
    options = segmenter.options
    return {
        "case": result.case.case_id,
        "inputs": hashes,
        "sequences": {sequence.value: str(path) for sequence, path in result.case.sources.items()},
        **exceptions(result),
        "grid": str(result.case.geometry),
        "model": {"name": segmenter.model.spec.name, "sha256": segmenter.model.sha256},
        "second_opinion": None if segmenter.second is None else second_opinion_fields(segmenter.second.model, result),
        "options": asked_options(segmenter, writing),
        "threads": thread_count(options.threads),
        "expected_dice": {region.value: round(dice, 4) for region, dice in result.expected_dice.items()},
        "predicted_dice": predicted_dice(result),
        "quality_flags": [_flag_fields(flag) for flag in result.flags],
        "seconds": result.seconds,
        **({} if (profile := current()) is None else {"profile": profile.measured()}),
    }


def asked_options(segmenter: Segmenter, writing: Writing) -> dict[str, Any]:
    """Returns every option that a result depends on, in plain values, with the chain that is applied."""
    writes = {"probabilities": writing.probabilities, "uncertainty": writing.uncertainty, "preview": writing.preview}
    return {**asdict(segmenter.options), "postprocess": segmenter.chain, "labels": writing.labels.name, **writes, **writing.asked}


def _flag_fields(flag: Flag) -> dict[str, Any]:
    """A flag for strict JSON, which has no infinity."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in asdict(flag).items()}


def second_opinion_fields(model: Model, result: Segmentation) -> dict[str, Any]:
    """Returns what the run record says of the model that was to be asked as well; `asked` is false where it cannot do without what the case lacks."""
    return {"name": model.spec.name, "sha256": model.sha256, "asked": model.spec.name in result.models}


def exceptions(result: Segmentation) -> dict[str, Any]:
    """Returns what the run record says of a case that is not segmented as most are; `report.provenance.exceptions_in_words` reads it.

    Which sequences are missing and what that costs, null where that was not measured; the rule by which the core was found, null where it was
    found as in others.
    """
    return {
        "without": sorted(result.case.without),
        "cost_of_missing": None if result.cost is None else asdict(result.cost),
        "core_rule": None if result.core_rule is None else asdict(result.core_rule),
        "removed_enhancement": None if result.removed_enhancement is None else asdict(result.removed_enhancement),
    }


@dataclass(frozen=True)
class Row:
    """One case of a cohort: what became of it, how much tumour there is, and what Dice is to be expected where the model is calibrated."""

    case: str
    status: str
    seconds: float
    flags: str
    message: str
    wt_ml: float | None = None
    tc_ml: float | None = None
    et_ml: float | None = None
    expected_dice_wt: float | None = None
    expected_dice_wt_low: float | None = None
    expected_dice_wt_high: float | None = None
    expected_dice_tc: float | None = None
    expected_dice_tc_low: float | None = None
    expected_dice_tc_high: float | None = None
    expected_dice_et: float | None = None
    expected_dice_et_low: float | None = None
    expected_dice_et_high: float | None = None


def expected_columns(predicted: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns the columns of a row that hold what a record's `predicted_dice` says."""
    endings = {"dice": "", "low": "_low", "high": "_high"}
    return {f"expected_dice_{region.lower()}{endings[name]}": float(value) for region, found in predicted.items() for name, value in found.items()}


@dataclass(frozen=True, eq=False)
class CohortResult:
    """The rows of a cohort, and the first error, whose exit code is the cohort's."""

    rows: tuple[Row, ...]
    first_error: BaseException | None


def segment_cohort(
    segmenter: Segmenter,
    cases: Iterable[CaseFiles | tuple[str, InputError]],
    output: Path,
    writing: Writing,
    on_row: Callable[[Row], None] = lambda row: None,
    progress: Progress = lambda done, total: None,
    segment_one: SegmentOne = segment_to_files,
    resume: bool = False,
) -> CohortResult:
    """Segments cases into one folder and writes `cohort.tsv` after each, a row per case.

    Args:
        segmenter: the model, opened once.
        cases: files of each case, or (id, error) of one that was found to be incomplete.
        output: the folder.
        writing: what to write.
        on_row: called as each case ends.
        progress: within the case at work.
        segment_one: does one case and writes its results.
        resume: keep the cases that an earlier run has finished, see `kept_row`; what it left of others is replaced.
    """
    rows: list[Row] = []
    first_error: BaseException | None = None
    cases = list(cases)
    refuse_cohort(segmenter, cases, output, writing, resume=resume)
    nifti.make_folder(output)
    for files in cases:
        row, error = segment_to_row(segmenter, files, output, writing, progress, segment_one, resume)
        first_error = first_error or error
        rows.append(row)
        write_table(output / "cohort.tsv", [row])
        on_row(row)
    return CohortResult(tuple(rows), first_error)


def segment_to_row(
    segmenter: Segmenter,
    files: CaseFiles | tuple[str, InputError],
    output: Path,
    writing: Writing,
    progress: Progress = lambda done, total: None,
    segment_one: SegmentOne = segment_to_files,
    resume: bool = False,
) -> tuple[Row, Exception | None]:
    """Does one case of a cohort, with the arguments of `segment_cohort`; returns what became of it, and the error if it failed."""
    start = time.perf_counter()
    case_id = files.case_id if isinstance(files, CaseFiles) else files[0]
    try:
        if not isinstance(files, CaseFiles):
            raise files[1]
        results = CaseLayout.of(output, case_id)
        row = kept_row(segmenter, files, results, writing) if resume else None
        if row is None:
            segment_one(segmenter, files, results, replace(writing, overwrite=writing.overwrite or resume), progress)
            row = replace(_recorded_row(results), seconds=round(time.perf_counter() - start, 2))
    except Exception as error:
        text = str(error) if isinstance(error, GliomaskError) else f"{type(error).__name__}: {error}"
        return Row(case_id, "failed", round(time.perf_counter() - start, 2), "", text), error
    return row, None


def wanted(segmenter: Segmenter, writing: Writing, without: Iterable[Sequence] = ()) -> Wanted:
    """Returns what a case's results depend on, for the rule of resuming."""
    second = None if segmenter.second is None else segmenter.second.model.sha256
    return Wanted(segmenter.model.sha256, second, asked_options(segmenter, writing), tuple(sorted(without)))


def kept_row(segmenter: Segmenter, files: CaseFiles, results: CaseLayout, writing: Writing, inputs: Iterable[Path] = ()) -> Row | None:
    """Returns the row of a case that an earlier run has finished; None where it has not, or where its files are not whole any more.

    Raises:
        UsageError: it was finished with other scans, other models or other options, see `results.resume`.
    """
    place = results.place(files.case_id)
    record = earlier_record(place, wanted(segmenter, writing, files.without))
    if record is None or not is_whole(record, place.folder):
        return None
    refuse_other_inputs(record, input_hashes([*files.paths(), *inputs]), place)
    return row_of(record, KEPT)


def row_of(record: RunRecord, message: str = "") -> Row:
    """Returns the row of a finished case, from its record."""
    volumes = {} if record.volumes is None else record.volumes.regions
    amounts = {f"{region.value.lower()}_ml": amount.volume_ml for region, amount in volumes.items()}
    amounts |= expected_columns({region.value: estimate.model_dump() for region, estimate in record.predicted_dice.items()})
    flags = " ".join(flag.name for flag in record.quality_flags)
    return Row(record.case, "done", round(record.seconds.get("total", 0.0), 2), flags, message, **amounts)


def _recorded_row(results: CaseLayout) -> Row:
    record = read_record(results.record)
    if record is None:
        raise FileFormatError(f"{results.record}: vanished after it was written. Segment the case again.")
    return row_of(record)


def refuse_cohort(segmenter: Segmenter, cases: Iterable[CaseFiles | tuple[str, InputError]], output: Path, writing: Writing, *, resume: bool) -> None:
    """Refuses, before the first scan is read, what no case of a cohort could be written for: results that exist, or were finished otherwise.

    Raises:
        UsageError: the first case of which that is so; nothing has been touched.
    """
    _rows_there(output / "cohort.tsv")
    for files in cases:
        if not isinstance(files, CaseFiles):
            continue
        results = CaseLayout.of(output, files.case_id)
        refuse_places(results, files, replace(writing, overwrite=writing.overwrite or resume))
        if resume:
            earlier_record(results.place(files.case_id), wanted(segmenter, writing, files.without))


def write_table(table: Path, rows: Iterable[Row]) -> None:
    """Writes rows into the table of a folder: they replace rows of the same cases, and rows of other cases stay.

    Raises:
        UsageError: the table that is there is none of ours, or it cannot be written.
    """
    columns = list(Row.__dataclass_fields__)
    kept = _rows_there(table)
    kept |= {row.case: asdict(row) for row in rows}
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(kept.values())
    nifti.write_bytes(table, text.getvalue().encode())


def _rows_there(table: Path) -> dict[str, dict[str, Any]]:
    """The rows of a table by case; none where there is no table. Raises as `write_table`."""
    if not table.exists():
        return {}
    columns = set(Row.__dataclass_fields__)
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            there: list[dict[str, Any]] = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: cannot be read as a table ({error}). Move it away.") from error
    if not {"case", "status"} <= set(reader.fieldnames or ()) or set(reader.fieldnames or ()) - columns:
        raise UsageError(f"{table}: is no table of gliomask, so no row is added to it. Move it away.")
    return {row["case"]: row for row in there}
