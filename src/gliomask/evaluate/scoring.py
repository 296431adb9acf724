"""Scoring a cohort: label maps are paired by case id, and every reference case becomes a row, whatever became of its
prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from gliomask.arrays import LabelMap
from gliomask.errors import CaseError, GeometryError, GliomaskError, UsageError
from gliomask.geometry import Geometry
from gliomask.io.brats import read_label_map, read_label_map_on
from gliomask.io.label_maps import LabelMapFile, find_label_maps, unknown_masks
from gliomask.labels import LabelConvention, Region, convention
from gliomask.metrics import empty
from gliomask.metrics.region import RegionScores, score_region, worst_scores
from gliomask.metrics.summary import MetricSummary, summarise

METRICS = tuple(item.name for item in fields(RegionScores))
LESION_METRICS = tuple(name for name in METRICS if name.startswith("lesion"))


REORDERED = "Its axes were in another order than the reference's; the same voxels, laid out anew, nothing resampled."


class Status(StrEnum):
    """What became of a case."""

    SCORED = "scored"
    MISSING = "missing"
    FAILED = "failed"
    REFERENCE_FAILED = "reference failed"
    NO_REFERENCE = "no reference"


@dataclass(frozen=True)
class CaseResult:
    """A row of the table.

    Args:
        case_id: the name that pairs files.
        status: `missing` and `failed` predictions score worst; a case whose reference is missing or cannot be read has
            no scores.
        reason: why, where the status is not `scored`.
        prediction: the predicted label map's file.
        reference: the reference label map's file.
        reference_labels: the convention it was read in.
        scores: by region; empty where there is no usable reference.
        note: what was done to the prediction before it was scored.
    """

    case_id: str
    status: Status
    reason: str = ""
    prediction: Path | None = None
    reference: Path | None = None
    reference_labels: LabelConvention | None = None
    scores: Mapping[Region, RegionScores] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Evaluation:
    """A cohort's scores and the choices they rest on.

    Args:
        rows: reference cases by id, then predictions without reference.
        policy: what empty regions score.
        labels: convention of the predictions.
        reference_labels: convention of the references; None where their layout named it.
        seed: of the bootstrap.
    """

    rows: tuple[CaseResult, ...]
    policy: empty.Policy
    labels: LabelConvention
    reference_labels: LabelConvention | None
    seed: int

    @property
    def metrics(self) -> tuple[str, ...]:
        """Columns of a region, in order; those of single lesions only where the policy scores lesions."""
        return tuple(name for name in METRICS if self.policy.lesions is not None or name not in LESION_METRICS)

    @property
    def without_scores(self) -> tuple[CaseResult, ...]:
        """Reference cases that have no usable prediction, or whose reference cannot be read."""
        return tuple(row for row in self.rows if row.status not in (Status.SCORED, Status.NO_REFERENCE))

    def column(self, region: Region, metric: str) -> dict[str, float]:
        """Returns one metric of one region by case id, for every case with a usable reference; NaN is a blank cell."""
        return {row.case_id: getattr(row.scores[region], metric) for row in self.rows if row.scores}

    @cached_property
    def summary(self) -> dict[Region, dict[str, MetricSummary]]:
        """What every column comes to; those of `missing` and `failed` cases are in it."""
        return {
            region: {metric: summarise(self.column(region, metric).values(), self.seed) for metric in self.metrics}
            for region in Region
        }


def evaluate(
    predictions: Path,
    references: Path,
    *,
    policy: str = "brats2020",
    labels: str = "brats2021",
    reference_labels: str | None = None,
    seed: int = 0,
    on_case: Callable[[CaseResult, int, int], None] | None = None,
) -> Evaluation:
    """Scores predicted label maps against references.

    Args:
        predictions: a label map or a folder of them, see `io.label_maps`.
        references: likewise, a BraTS tree or Decathlon Task01.
        policy: what empty regions score, a name in `metrics.empty.POLICIES`.
        labels: convention of the predictions.
        reference_labels: convention of the references; None takes the one that their layout stands for.
        seed: of the bootstrap.
        on_case: called with each row, the number of rows done and the number of reference cases.

    Raises:
        UsageError: a place, policy or convention does not exist, or the references' layout does not name their
            convention.
        CaseError: there is no reference, two files belong to one case, or no prediction has the id of a reference.
    """
    chosen, written = empty.policy(policy), convention(labels)
    pairs, unpaired = pair_label_maps(predictions, references)
    conventions = _reference_conventions(pairs, reference_labels)
    rows = []
    for reference, prediction in pairs:
        rows.append(_score_case(reference, prediction, conventions[reference.case_id], written, chosen))
        if on_case is not None:
            on_case(rows[-1], len(rows), len(pairs))
    rows += [
        CaseResult(file.case_id, Status.NO_REFERENCE, "There is no reference of this id; not scored.", file.path)
        for file in unpaired
    ]
    return Evaluation(tuple(rows), chosen, written, convention(reference_labels) if reference_labels else None, seed)


Pair = tuple[LabelMapFile, LabelMapFile | None]


def pair_label_maps(predictions: Path, references: Path) -> tuple[list[Pair], list[LabelMapFile]]:
    """Pairs label maps by case id, or, where both places are files, with each other.

    Args:
        predictions: a label map or a folder of them.
        references: likewise.

    Returns:
        Each reference with its prediction, None where it has none; and the predictions without reference.

    Raises:
        CaseError: there is no reference, or no prediction has the id of a reference.
    """
    expected, predicted = find_label_maps(references, references=True), find_label_maps(predictions)
    if not expected:
        unknown = "".join(f" {path} may be a brain mask and was left alone." for path in unknown_masks(references)[:3])
        unknown += "".join(
            f" {file.path} is a result, no reference." for file in list(find_label_maps(references).values())[:3]
        )
        raise CaseError(
            f"{references}: no reference label map found. They are named CASE_seg.nii.gz, CASE-seg.nii.gz or "
            f"CASE.nii.gz.{unknown}"
        )
    if references.is_file() and predictions.is_file():
        return [(next(iter(expected.values())), next(iter(predicted.values())))], []
    if not set(expected) & set(predicted):
        names = ", ".join(list(predicted)[:3]) or "none"
        raise CaseError(
            f"No label map in {predictions} has the id of a reference: predictions are {names}, references "
            f"{', '.join(list(expected)[:3])}. "
            "Name predictions CASE_seg.nii.gz or CASE.nii.gz."
        )
    return [(file, predicted.get(case_id)) for case_id, file in expected.items()], [
        file for case_id, file in predicted.items() if case_id not in expected
    ]


def _reference_conventions(pairs: list[Pair], named: str | None) -> dict[str, LabelConvention]:
    if named is not None:
        return {reference.case_id: convention(named) for reference, _ in pairs}
    conventions = {reference.case_id: reference.labels for reference, _ in pairs if reference.labels is not None}
    unknown = [str(reference.path) for reference, _ in pairs if reference.case_id not in conventions]
    if unknown:
        raise UsageError(
            f"{unknown[0]}: neither its name nor its folder says which numbers its labels have. Give "
            "--reference-labels, such as brats2021."
        )
    return conventions


def _score_case(
    reference: LabelMapFile,
    prediction: LabelMapFile | None,
    labels: LabelConvention,
    written: LabelConvention,
    policy: empty.Policy,
) -> CaseResult:
    row = CaseResult(
        reference.case_id, Status.SCORED, "", prediction.path if prediction else None, reference.path, labels
    )
    try:
        expected, geometry = read_label_map(reference.path, labels)
    except GliomaskError as error:
        return replace(row, status=Status.REFERENCE_FAILED, reason=str(error))
    masks = {region: region.mask(expected) for region in Region}
    try:
        predicted, reordered = _read_prediction(reference, prediction, geometry, written)
    except GliomaskError as error:
        worst = {region: worst_scores(mask, geometry.spacing_mm, policy) for region, mask in masks.items()}
        return replace(row, status=Status.FAILED if prediction else Status.MISSING, reason=str(error), scores=worst)
    scores = {
        region: score_region(mask, region.mask(predicted), geometry.spacing_mm, policy)
        for region, mask in masks.items()
    }
    return replace(row, scores=scores, note=REORDERED if reordered else "")


def _read_prediction(
    reference: LabelMapFile, prediction: LabelMapFile | None, expected: Geometry, labels: LabelConvention
) -> tuple[LabelMap, bool]:
    if prediction is None:
        raise CaseError(f"No prediction named {reference.case_id}_seg.nii.gz or {reference.case_id}.nii.gz was found.")
    read = read_label_map_on(prediction.path, labels, expected)
    if isinstance(read, Geometry):
        raise GeometryError(
            f"{prediction.path} lies on another grid than its reference: {read} against {expected}. Bring it back to "
            "the scan's grid."
        )
    return read
