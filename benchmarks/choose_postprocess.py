"""Compares the chains of post-processing and chooses the numbers of chain `3d`, by nested cross-validation.

    python benchmarks/choose_postprocess.py PREDICTIONS REFERENCES --folds TABLE -o docs/tables/postprocess.tsv

PREDICTIONS holds CASE_seg.nii.gz of every case, each predicted without post-processing by a network that never saw its
patient (labels as in BraTS 2017-2021); REFERENCES is a tree of labelled cases; TABLE has the columns case and fold. For
each fold the numbers of `3d` are chosen on the other folds' cases alone and scored on this fold's, so that no case
takes part in choosing what it is scored with.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.errors import GliomaskError
from gliomask.io.brats import CaseFiles, find_cases, read_label_map
from gliomask.io.nifti import write_bytes
from gliomask.labels import Label, Region, convention
from gliomask.metrics.overlap import count
from gliomask.postprocess import CHAINS, Cleaning, clean, drop_small_in_volume, fill_holes, postprocess, tumour_box
from gliomask.preprocess.channels import NETWORK_ORIENTATION
from gliomask.training.folds import read_folds

MIN_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
MIN_ENHANCING_ML = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
MIN_ENHANCING_SHARES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)
CANDIDATES = sorted(
    (Cleaning(*values) for values in product(MIN_SHARES, MIN_ENHANCING_ML, MIN_ENHANCING_SHARES, (False, True))),
    key=lambda c: (
        MIN_SHARES.index(c.min_share)
        + MIN_ENHANCING_ML.index(c.min_enhancing_ml)
        + MIN_ENHANCING_SHARES.index(c.min_enhancing_share)
        + c.fill_holes
    ),
)
"""Everything that is tried, the mildest first."""

TOLERANCE = 0.001
"""The mildest candidate within this of the best mean Dice is taken: with some fifty patients a thousandth is noise."""

Score = tuple[float, float, float]
"""Dice of WT, TC and ET."""


@dataclass(frozen=True, eq=False)
class Example:
    """A prediction and its reference, on network axes and cropped to both."""

    case_id: str
    fold: int
    prediction: LabelMap
    reference: LabelMap
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, to which cases, and their scores."""

    chain: str
    chosen_on: str
    scored_on: str
    cleaning: Cleaning | None
    scores: list[Score]


def read_example(files: CaseFiles, predictions: Path, fold: int) -> Example:
    """Reads a case's prediction and reference, which must lie on one grid."""
    assert files.reference is not None
    prediction, geometry = read_label_map(predictions / f"{files.case_id}_seg.nii.gz", convention("brats2021"))
    reference, other = read_label_map(files.reference, files.labels)
    if not geometry.same_grid(other):
        raise SystemExit(f"{files.case_id}: prediction and reference lie on different grids: {geometry} and {other}.")
    turn = geometry.reorientation_to(NETWORK_ORIENTATION)
    prediction, reference = turn.apply(prediction), turn.apply(reference)
    # The margin of the box makes post-processing of the crop the crop of post-processing (tests/test_postprocess.py).
    box = tumour_box(prediction | reference)
    return Example(files.case_id, fold, prediction[box].copy(), reference[box].copy(), turn.target.spacing_mm)


def dice(example: Example, label_map: LabelMap) -> Score:
    """Dice of WT, TC and ET; 1 where reference and prediction are both empty, as in every BraTS edition."""
    found = [count(region.mask(example.reference), region.mask(label_map)).dice for region in Region]
    wt, tc, et = (1.0 if math.isnan(value) else value for value in found)
    return wt, tc, et


def candidate_scores(example: Example) -> list[Score]:
    """Scores of every candidate.

    The rules against little enhancement move ET alone, and from all to nothing, so they need no image of their own.
    """
    cleaned: dict[tuple[float, bool], tuple[Score, int, int]] = {}
    last_share, last_voxels = math.nan, -1
    for min_share in MIN_SHARES:
        kept = drop_small_in_volume(example.prediction, min_share)
        voxels = int(np.count_nonzero(kept))
        for fill in (False, True):
            # A larger share drops the same components and perhaps more: as many voxels are the same voxels.
            cleaned[min_share, fill] = (
                cleaned[last_share, fill]
                if voxels == last_voxels
                else _scored(example, fill_holes(kept) if fill else kept)
            )
        last_share, last_voxels = min_share, voxels
    without = 0.0 if Region.ET.mask(example.reference).any() else 1.0
    voxel_ml = float(np.prod(example.spacing_mm)) / 1000
    scores = []
    for c in CANDIDATES:
        (wt, tc, et), enhancing, tumour = cleaned[c.min_share, c.fill_holes]
        enough = enhancing >= max(c.min_enhancing_ml / voxel_ml, c.min_enhancing_share * tumour)
        scores.append((wt, tc, et if enough else without))
    return scores


def _scored(example: Example, label_map: LabelMap) -> tuple[Score, int, int]:
    """The scores, the voxels of enhancing tumour, the voxels of all tumour."""
    return (
        dice(example, label_map),
        int(np.count_nonzero(label_map == Label.ENHANCING)),
        int(np.count_nonzero(label_map)),
    )


def choose(scores: list[list[Score]]) -> int:
    """Returns the index of the mildest candidate whose mean Dice over cases and regions is within `TOLERANCE` of the
    best.
    """
    means = np.array(scores).mean(axis=(0, 2))
    return int(np.flatnonzero(means >= means.max() - TOLERANCE)[0])


def nested_rows(examples: list[Example]) -> Iterable[Row]:
    """Yields a row for `3d` over all cases by nested cross-validation, one per fold, and one for the choice on all
    cases.
    """
    scores = []
    for n, example in enumerate(examples):
        scores.append(candidate_scores(example))
        print(f"\r{n + 1} of {len(examples)} cases", end="", flush=True)
    print()
    folds = sorted({example.fold for example in examples})
    rows = []
    for fold in folds:
        cleaning = CANDIDATES[choose([s for e, s in zip(examples, scores, strict=True) if e.fold != fold])]
        rows.append(
            _cleaning_row([e for e in examples if e.fold == fold], cleaning, f"folds other than {fold}", f"fold {fold}")
        )
    yield Row("3d", "the other folds, for each fold", "all", None, [score for row in rows for score in row.scores])
    yield from rows
    yield _cleaning_row(examples, CANDIDATES[choose(scores)], "all (optimistic; what ships)", "all")


def _cleaning_row(examples: list[Example], cleaning: Cleaning, chosen_on: str, scored_on: str) -> Row:
    """Scored by the very function that ships, not by the short cut that chose."""
    return Row(
        "3d", chosen_on, scored_on, cleaning, [dice(e, clean(e.prediction, e.spacing_mm, cleaning)) for e in examples]
    )


def table(rows: Iterable[Row]) -> str:
    """Returns the rows as TSV: means and medians of Dice, to three decimals."""
    names = [f"{kind}_{region.value}" for kind in ("mean", "median") for region in Region]
    numbers = list(asdict(Cleaning()))
    lines = ["\t".join(["chain", "chosen_on", "scored_on", "cases", *names, "mean_of_means", *numbers])]
    for row in rows:
        columns = list(zip(*row.scores, strict=True))
        means, medians = [statistics.mean(c) for c in columns], [statistics.median(c) for c in columns]
        values = [f"{value:.3f}" for value in (*means, *medians, statistics.mean(means))]
        chosen = [str(value) for value in asdict(row.cleaning).values()] if row.cleaning else [""] * len(numbers)
        lines.append("\t".join([row.chain, row.chosen_on, row.scored_on, str(len(row.scores)), *values, *chosen]))
    return "\n".join(lines) + "\n"


def read_examples(predictions: Path, references: Path, folds: dict[str, int], *, partial: bool) -> list[Example]:
    """Reads every case of the table of folds; a case without prediction ends the run unless `partial`."""
    cases = {files.case_id: files for files in find_cases(references)}
    absent = [case for case in folds if case not in cases or not (predictions / f"{case}_seg.nii.gz").is_file()]
    if absent and not partial:
        raise SystemExit(
            f"{len(absent)} of {len(folds)} cases have no prediction or no reference: {', '.join(absent[:5])}. Add "
            "them, or give --partial."
        )
    examples = [read_example(cases[case], predictions, fold) for case, fold in folds.items() if case not in absent]
    if len({example.fold for example in examples}) < 2:
        raise SystemExit(
            f"Cases of at least two folds are needed; found {len(examples)} cases of {len({e.fold for e in examples})}."
        )
    return examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--folds", type=Path, required=True, help="CSV or TSV with the columns case and fold")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--partial", action="store_true", help="leave out cases without a prediction")
    options = parser.parse_args()
    try:
        examples = read_examples(
            options.predictions, options.references, read_folds(options.folds), partial=options.partial
        )
    except GliomaskError as error:
        raise SystemExit(str(error)) from error
    fixed = [
        Row(name, "", "all", None, [dice(e, postprocess(e.prediction, name, e.spacing_mm)) for e in examples])
        for name in CHAINS
        if name != "3d"
    ]
    text = table([*fixed, *nested_rows(examples)])
    write_bytes(options.output, text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
