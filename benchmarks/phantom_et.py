r"""Does this tumour enhance? Compares rules that take back enhancing tumour, by nested cross-validation.

    python benchmarks/phantom_et.py PREDICTIONS REFERENCES --folds TABLE [--probabilities FOLDER] \
        -o docs/tables/phantom_et_NAME.tsv

PREDICTIONS holds CASE_seg.nii.gz of every case after post-processing (labels as in BraTS 2017-2021), REFERENCES is a
tree of labelled cases, TABLE has the columns case and fold, and FOLDER the probabilities that
`benchmarks/cross_validate.py` kept; without it only rules about volumes are tried. A rule measures something of the
prediction and turns all its enhancing tumour into core where that is below a threshold. For each fold the threshold is
chosen on the other folds' cases alone, and 0, no rule, is kept unless another threshold raises their mean Dice of ET by
more than a thousandth.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from region_probabilities import RegionProbabilities

from gliomask.arrays import LabelMap
from gliomask.errors import GliomaskError
from gliomask.io.brats import CaseFiles, find_cases, read_label_map
from gliomask.io.nifti import write_bytes
from gliomask.labels import Label, Region, convention
from gliomask.metrics.overlap import count
from gliomask.metrics.summary import summarise
from gliomask.training.folds import read_folds

TOLERANCE = 0.001
SURE = 0.9
NONE, BEST = "none", "the best of these"


@dataclass(frozen=True)
class Example:
    """One case: how its enhancing tumour was scored, and what the rules look at.

    Args:
        case_id: its name.
        fold: that it was held out with.
        reference_ml: enhancing tumour in the reference.
        prediction_ml: in the prediction.
        dice: of ET; 1 where both are empty.
        measures: by name; infinite where nothing enhances, so that no rule fires.
    """

    case_id: str
    fold: int
    reference_ml: float
    prediction_ml: float
    dice: float
    measures: dict[str, float]

    def under(self, measure: str, threshold: float) -> Example:
        """The same after a rule."""
        if self.measures[measure] >= threshold:
            return self
        return Example(self.case_id, self.fold, self.reference_ml, 0.0, float(self.reference_ml == 0), self.measures)


THRESHOLDS: dict[str, tuple[float, ...]] = {
    "volume_ml": (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 12, 16),
    "share_of_tumour": (0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15),
    "share_of_core": (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4),
    "certainty": (0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.725, 0.75, 0.775, 0.8, 0.825, 0.85, 0.875, 0.9),
    "sure_ml": (0, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    "expected_dice": (0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.825, 0.85, 0.875, 0.9),
}
"""What is measured and the thresholds that are tried, the mildest first: the volume of enhancing tumour, its share of
the whole tumour and of the core; the mean of its probability over its voxels (`mean_certainty`), the volume where that
exceeds `SURE`, and the Dice that the network expects of it."""


def mean_certainty(label_map: LabelMap, enhancing: npt.NDArray[np.float32]) -> float:
    """Returns the mean probability of enhancing tumour over the voxels that are labelled so; infinite where none is.

    Args:
        label_map: (I, J, K).
        enhancing: (I, J, K), the probability.
    """
    mask = label_map == Label.ENHANCING
    return float(enhancing[mask].mean(dtype=np.float64)) if mask.any() else math.inf


def read_example(files: CaseFiles, predictions: Path, probabilities: Path | None, fold: int) -> Example:
    """Reads a case's prediction and reference, which must lie on one grid, and its probabilities where there are
    any.
    """
    assert files.reference is not None
    label_map, geometry = read_label_map(predictions / f"{files.case_id}_seg.nii.gz", convention("brats2021"))
    reference, other = read_label_map(files.reference, files.labels)
    if not geometry.same_grid(other):
        raise SystemExit(f"{files.case_id}: prediction and reference lie on different grids: {geometry} and {other}.")
    found, truth = Region.ET.mask(label_map), Region.ET.mask(reference)
    dice = count(truth, found).dice
    voxels = int(np.count_nonzero(found))
    volume_ml = voxels * geometry.voxel_ml
    measures = {
        "volume_ml": volume_ml,
        "share_of_tumour": voxels / max(1, int(np.count_nonzero(label_map))),
        "share_of_core": voxels / max(1, int(np.count_nonzero(Region.TC.mask(label_map)))),
    }
    if probabilities is not None:
        kept = RegionProbabilities.read(probabilities / f"{files.case_id}.npz")
        enhancing = kept.volume(Region.ET)
        measures["certainty"] = mean_certainty(label_map, enhancing)
        measures["sure_ml"] = int(np.count_nonzero(enhancing[found] > SURE)) * geometry.voxel_ml
        measures["expected_dice"] = kept.expected_dice(label_map)[Region.ET]
    if not voxels:
        measures = dict.fromkeys(measures, math.inf)
    return Example(
        files.case_id,
        fold,
        int(np.count_nonzero(truth)) * geometry.voxel_ml,
        volume_ml,
        1.0 if math.isnan(dice) else dice,
        measures,
    )


Rule = tuple[str, float]


def choose(examples: list[Example], measures: list[str]) -> Rule:
    """Returns the measure and threshold with the best mean Dice, the mildest within `TOLERANCE` of it; 0 is no rule at
    all.
    """
    scored = [(float(np.mean([e.under(m, t).dice for e in examples])), (m, t)) for m in measures for t in THRESHOLDS[m]]
    best = max(score for score, _ in scored)
    near = [rule for score, rule in scored if score >= best - TOLERANCE]
    return min(near, key=lambda rule: THRESHOLDS[rule[0]].index(rule[1]))


def nested(examples: list[Example], measures: list[str]) -> tuple[list[Example], dict[int, Rule]]:
    """Returns each case under the rule that the other folds chose, and these rules by fold."""
    rules = {
        fold: choose([e for e in examples if e.fold != fold], measures) for fold in sorted({e.fold for e in examples})
    }
    return [e.under(*rules[e.fold]) for e in examples], rules


def row(name: str, chosen_on: str, thresholds: str, before: list[Example], after: list[Example]) -> dict[str, str]:
    """One line of the table."""
    change = summarise([b.dice - a.dice for a, b in zip(before, after, strict=True)])
    empty = [e for e in after if e.reference_ml == 0]
    lost = [
        e
        for a, e in zip(before, after, strict=True)
        if a.prediction_ml > 0 and e.prediction_ml == 0 and e.reference_ml > 0
    ]
    dice = [e.dice for e in after]
    return {
        "measure": name,
        "chosen_on": chosen_on,
        "thresholds": thresholds,
        "cases": str(len(after)),
        "mean_ET": f"{np.mean(dice):.3f}",
        "median_ET": f"{np.median(dice):.3f}",
        "change_of_mean": f"{change.mean:+.3f}",
        "change_low": f"{change.mean_low:+.3f}",
        "change_high": f"{change.mean_high:+.3f}",
        "without_enhancement": str(len(empty)),
        "phantoms": str(sum(e.prediction_ml > 0 for e in empty)),
        "false_positive_ml": f"{sum(e.prediction_ml for e in empty):.3f}",
        "lost": str(len(lost)),
        "lost_ml": f"{sum(e.reference_ml for e in lost):.3f}",
    }


def table(examples: list[Example]) -> list[dict[str, str]]:
    """A line without a rule; for each measure, and for the best of them, one that the other folds chose and one chosen
    on all cases.
    """
    measures = [name for name in THRESHOLDS if name in examples[0].measures]
    lines = [row(NONE, "", "", examples, examples)]
    for name, tried in [*((measure, [measure]) for measure in measures), (BEST, measures)]:
        after, rules = nested(examples, tried)
        lines.append(
            row(name, "the other folds, for each fold", ", ".join(map(_words, rules.values())), examples, after)
        )
        rule = choose(examples, tried)
        lines.append(row(name, "all (optimistic)", _words(rule), examples, [e.under(*rule) for e in examples]))
    return lines


def _words(rule: Rule) -> str:
    return f"{rule[0]} {rule[1]:g}" if rule[1] else NONE


def read_examples(
    predictions: Path, references: Path, folds: dict[str, int], probabilities: Path | None
) -> list[Example]:
    """Reads every case that has a prediction."""
    cases = {files.case_id: files for files in find_cases(references)}
    there = [case for case in folds if case in cases and (predictions / f"{case}_seg.nii.gz").is_file()]
    if len({folds[case] for case in there}) < 2:
        raise SystemExit(
            f"Cases of at least two folds are needed; found {len(there)} cases of "
            f"{len({folds[case] for case in there})}."
        )
    examples = []
    for n, case in enumerate(there):
        examples.append(read_example(cases[case], predictions, probabilities, folds[case]))
        print(f"\r{n + 1} of {len(there)} cases", end="", flush=True)
    print()
    return examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--folds", type=Path, required=True, help="CSV or TSV with the columns case and fold")
    parser.add_argument("--probabilities", type=Path, help="folder that benchmarks/cross_validate.py left")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        examples = read_examples(
            options.predictions, options.references, read_folds(options.folds), options.probabilities
        )
    except GliomaskError as error:
        raise SystemExit(str(error)) from error
    lines = table(examples)
    text = "\n".join(["\t".join(lines[0]), *("\t".join(line.values()) for line in lines)]) + "\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, text.encode())
    print(text, end="")
    low = sorted(
        (e for e in examples if e.prediction_ml > 0),
        key=lambda e: e.measures.get("certainty", e.measures["share_of_core"]),
    )[:WORTH_SHOWING]
    for e in low:
        measured = ", ".join(f"{name} {value:.3f}" for name, value in e.measures.items())
        print(f"{e.case_id}: reference {e.reference_ml:.3f} ml, Dice {e.dice:.3f}; {measured}")


WORTH_SHOWING = 12
"""Cases printed after the table: those nearest to losing their enhancing tumour."""

if __name__ == "__main__":
    main()
