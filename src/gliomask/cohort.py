"""Many cases, one after the other: each case's results on disk, each failure a row, none of them hidden.

One case that cannot be segmented does not stop the others, and the table accounts for every case that was found.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomask.case import Case
from gliomask.engines.base import thread_count
from gliomask.errors import FileFormatError, GliomaskError, InputError, QualityError, UsageError
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, read_files
from gliomask.labels import LabelConvention, Region
from gliomask.quality import entropy
from gliomask.report.preview import draw_preview
from gliomask.report.run_record import input_hashes, read_record, write_record
from gliomask.report.volumes import Volumes, measure
from gliomask.segmentation import Segmentation, Segmenter

if TYPE_CHECKING:
    from gliomask.models.registry import Model

Progress = Callable[[int, int], None]
all_or_none = nifti.all_or_none
KEPT = "finished by an earlier run"
NAMES_AND_THREADS = ("model", "second_opinion", "threads")
"""Options that change no result by themselves: which name a model was called by (its hash counts), and threads."""

SegmentOne = Callable[[Segmenter, CaseFiles, "ResultFiles", "Writing", Progress], Segmentation]


@dataclass(frozen=True)
class ResultFiles:
    """Where the results of one case go.

    Args:
        label_map: the main result; the others are named after it.
    """

    label_map: Path

    @classmethod
    def of(cls, output: Path, case_id: str) -> ResultFiles:
        """`output` is a folder, or, when it ends in `.nii` or `.nii.gz`, the label map itself."""
        return cls(output if nifti.is_nifti_name(output) else output / f"{case_id}_seg.nii.gz")

    def beside(self, ending: str) -> Path:
        """The path of a result with another ending than the label map's `_seg.nii.gz`."""
        return self.label_map.with_name(nifti.stem(self.label_map).removesuffix("_seg") + ending)

    @property
    def probabilities(self) -> Path:
        """4-D float32: background, necrotic, oedema, enhancing."""
        return self.beside("_probabilities.nii.gz")

    @property
    def uncertainty(self) -> Path:
        """3-D float32: entropy of the labels, 0 to 1."""
        return self.beside("_uncertainty.nii.gz")

    @property
    def disagreement(self) -> Path:
        """3-D float32: how far the mirrored passes disagree, 0 to 1; with flips only."""
        return self.beside("_disagreement.nii.gz")

    @property
    def volumes_tsv(self) -> Path:
        """Volumes by label and region, as a table."""
        return self.beside("_volumes.tsv")

    @property
    def volumes_json(self) -> Path:
        """The same, for programs."""
        return self.beside("_volumes.json")

    @property
    def preview(self) -> Path:
        """The picture."""
        return self.beside("_preview.png")

    @property
    def record(self) -> Path:
        """The run record; written last, so a result with a record is complete."""
        return self.beside("_run.json")

    def all(self) -> tuple[Path, ...]:
        """Every file that a case can leave, in the order of writing."""
        maps = (self.label_map, self.probabilities, self.uncertainty, self.disagreement)
        return (*maps, self.volumes_tsv, self.volumes_json, self.preview, self.record)


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
    """

    labels: LabelConvention
    probabilities: bool = False
    preview: bool = True
    overwrite: bool = False
    strict: bool = False
    uncertainty: bool = False


def segment_to_files(
    segmenter: Segmenter, files: CaseFiles, results: ResultFiles, writing: Writing, progress: Progress = lambda done, total: None
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
    refuse_existing(results.all(), writing, files.case_id)
    start = time.perf_counter()
    read = read_files(files)
    return segment_read(segmenter, read.case(), read.hashes, results, writing, progress, start)


def segment_read(
    segmenter: Segmenter,
    case: Case,
    hashes: dict[str, str],
    results: ResultFiles,
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
    refuse_existing(results.all(), writing, case.case_id)
    now = time.perf_counter()
    start = now if start is None else start
    result = segmenter.run(case, progress)
    refuse_flagged(result, writing)
    with all_or_none(results.all()):
        nifti.write_volume(results.label_map, writing.labels.to_disk(result.label_map), case.geometry, case.header, overwrite=writing.overwrite)
        write_maps(result, results, writing)
        write_volumes(measure(result.label_map, case.geometry), results, {"case": case.case_id, "predicted_dice": predicted_dice(result)})
        write_preview(result, results, writing)
        fields = record_fields(segmenter, result, writing, hashes)
        fields["seconds"] = {"read": round(now - start, 3), **fields["seconds"], "total": round(time.perf_counter() - start, 3)}
        write_record(results.record, "segment", fields)
    return result


def refuse_existing(paths: Iterable[Path], writing: Writing, case_id: str) -> None:
    """Raises UsageError where one of the files that a case can leave exists and may not be overwritten, or its folder cannot be written to."""
    paths = list(paths)
    for folder in {path.parent for path in paths}:
        nifti.refuse_unwritable(folder)
    existing = next((path for path in paths if path.exists()), None)
    if existing and not writing.overwrite:
        raise UsageError(f"{existing} exists. Give --overwrite to replace the results of case {case_id}, or another output folder.")


def refuse_flagged(result: Segmentation, writing: Writing) -> None:
    """Raises QualityError where a quality flag was raised and `writing.strict` is set."""
    if result.flags and writing.strict:
        raise QualityError(f"Case {result.case.case_id}: {result.flags[0].message} Nothing was written, because --strict was given.")


def write_maps(result: Segmentation, results: ResultFiles, writing: Writing) -> None:
    """Writes the probabilities and the uncertainty, where asked for, on the grid of the case that was segmented."""
    case = result.case
    if writing.probabilities:
        nifti.write_volume(results.probabilities, result.probabilities, case.geometry, case.header, overwrite=writing.overwrite)
    if writing.uncertainty:
        nifti.write_volume(results.uncertainty, entropy(result.probabilities), case.geometry, case.header, overwrite=writing.overwrite)
        if result.disagreement is not None:
            nifti.write_volume(results.disagreement, result.disagreement, case.geometry, case.header, overwrite=writing.overwrite)


def predicted_dice(result: Segmentation) -> dict[str, dict[str, float]]:
    """Returns the Dice to be expected of each region with its interval, for JSON; empty where the model is not calibrated."""
    return {region.value: asdict(estimate) for region, estimate in result.estimates.items()}


def write_volumes(volumes: Volumes, results: ResultFiles, about: Mapping[str, Any]) -> None:
    """Writes the volumes as a table and as JSON, where `about` stands before them."""
    nifti.write_bytes(results.volumes_tsv, volumes.to_tsv().encode())
    nifti.write_bytes(results.volumes_json, (json.dumps({**about, **volumes.to_dict()}, indent=1) + "\n").encode())


def write_preview(result: Segmentation, results: ResultFiles, writing: Writing, remark: str = "") -> None:
    """Draws the picture, where asked for; `remark` ends its title."""
    if not writing.preview:
        return
    without = f", without {', '.join(sorted(result.case.without))}" if result.case.without else ""
    title = f"{' with '.join(result.models)}, post-processing {result.postprocess}{without}{remark}"
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
        "options": {**asdict(options), "postprocess": result.postprocess, "labels": writing.labels.name},
        "threads": thread_count(options.threads),
        "expected_dice": {region.value: round(dice, 4) for region, dice in result.expected_dice.items()},
        "predicted_dice": predicted_dice(result),
        "quality_flags": [asdict(flag) for flag in result.flags],
        "seconds": result.seconds,
    }


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
    nifti.make_folder(output)
    for files in cases:
        row, error = segment_to_row(segmenter, files, output, writing, progress, segment_one, resume)
        first_error = first_error or error
        rows.append(row)
        nifti.write_bytes(output / "cohort.tsv", _table(rows))
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
        results = ResultFiles.of(output, case_id)
        row = kept_row(segmenter, files, results, writing) if resume else None
        if row is None:
            result = segment_one(segmenter, files, results, replace(writing, overwrite=writing.overwrite or resume), progress)
            row = _done(result, time.perf_counter() - start)
    except Exception as error:
        text = str(error) if isinstance(error, GliomaskError) else f"{type(error).__name__}: {error}"
        return Row(case_id, "failed", round(time.perf_counter() - start, 2), "", text), error
    return row, None


def kept_row(segmenter: Segmenter, files: CaseFiles, results: ResultFiles, writing: Writing) -> Row | None:
    """Returns the row of a case that an earlier run has finished; None where it has not, for the record is written last.

    A case that took the raw route is done again: this module does not know its options.

    Raises:
        UsageError: it was finished with other scans, another model or other options, or one of its files is gone or asked for now only.
    """
    if not results.record.is_file():
        return None
    hashes = input_hashes(files.paths())
    try:
        record = read_record(results.record) or {}
        if "raw_route" in record:
            return None
        volumes = (read_record(results.volumes_json) or {})["regions"]
        other = _differences(record, hashes, segmenter, files, results, writing)
        flags = " ".join(flag["name"] for flag in record["quality_flags"])
        amounts = {f"{region.value.lower()}_ml": float(volumes[region.value]["volume_ml"]) for region in Region}
        amounts |= expected_columns(record["predicted_dice"])
        row = Row(files.case_id, "done", round(float(record["seconds"]["total"]), 2), flags, KEPT, **amounts)
    except (FileFormatError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{results.record}: not the record of a finished case ({type(error).__name__}: {error}). Give --overwrite.") from error
    if other:
        raise UsageError(
            f"Case {files.case_id} was finished earlier with other {', '.join(other)}, so --resume cannot keep it. "
            "Give the earlier options, or another output folder, or --overwrite in place of --resume."
        )
    return row


def _differences(record: dict[str, Any], hashes: dict[str, str], segmenter: Segmenter, files: CaseFiles, results: ResultFiles, writing: Writing) -> list[str]:
    """What the record of a case says differently."""
    second = None if segmenter.second is None else segmenter.second.model.sha256
    asked = {**asdict(segmenter.options), "postprocess": segmenter.chain, "labels": writing.labels.name}
    done = record["options"]
    changed = [f"--{name.replace('_', '-')}" for name in asked if name not in NAMES_AND_THREADS and asked[name] != done.get(name)]
    wanted = {
        "probabilities": results.probabilities if writing.probabilities else None,
        "uncertainty": results.uncertainty if writing.uncertainty else None,
        "disagreement": results.disagreement if writing.uncertainty and segmenter.options.flips else None,
        "preview": results.preview if writing.preview else None,
        "label map": results.label_map,
    }
    return [
        *(["scans"] if any(record["inputs"].get(path) != digest for path, digest in hashes.items()) else []),
        *(["model"] if record["model"]["sha256"] != segmenter.model.sha256 else []),
        *(["second opinion"] if (record["second_opinion"] or {"sha256": None})["sha256"] != second else []),
        *changed,
        *(["--without"] if record["without"] != sorted(files.without) else []),
        *(f"files (no {what})" for what, path in wanted.items() if path is not None and not path.is_file()),
    ]


def _done(result: Segmentation, seconds: float) -> Row:
    volumes = measure(result.label_map, result.case.geometry)
    amounts = {f"{region.value.lower()}_ml": volumes.region_ml(region) for region in Region} | expected_columns(predicted_dice(result))
    return Row(result.case.case_id, "done", round(seconds, 2), " ".join(flag.name for flag in result.flags), "", **amounts)


def _table(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode()
