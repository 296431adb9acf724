r"""Chooses the numbers of a rule about a case by nested cross-validation: what is core, and what enhances, where a
network is unsure.

    python benchmarks/case_rules.py core CV/3d REFERENCES --probabilities CV/probabilities --folds TABLE \
        -o docs/tables/core_rule.tsv --write CV/core
    python benchmarks/case_rules.py enhancement CV/core REFERENCES --probabilities CV/probabilities --folds TABLE \
        -o docs/tables/enhancement_rule.tsv

`core` is `postprocess.CoreRule`, scored by TC; `enhancement` is `postprocess.EnhancementRule`, scored by ET. The first
folder holds CASE_seg.nii.gz and CASE_run.json of every case after post-processing, as
`benchmarks/cross_validate.py --postprocess 3d` leaves them (each case segmented by networks that never saw its
patient), REFERENCES is a tree of labelled cases, TABLE has the columns case and fold. For each fold the numbers are
chosen on the other folds' cases alone, and applied to this fold's; --write puts the label maps so made there, with run
records whose `expected_dice` is theirs, for `gliomask evaluate` and `benchmarks/calibrate_quality.py`. The table's last
row has the numbers chosen on all cases, which are the ones to ship; its Dice has seen what it is scored on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from phantom_et import TOLERANCE
from region_probabilities import RegionProbabilities

from gliomask.arrays import LabelMap
from gliomask.errors import GliomaskError
from gliomask.io.brats import CaseFiles, find_cases, read_label_map
from gliomask.io.nifti import write_bytes, write_volume
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.metrics.summary import summarise
from gliomask.postprocess import CoreRule, EnhancementRule
from gliomask.study.tables import to_tsv
from gliomask.study.work import LABELS
from gliomask.training.folds import read_folds

Rule = CoreRule | EnhancementRule | None


@dataclass(frozen=True)
class Kind:
    """A kind of rule.

    Args:
        region: whose Dice decides.
        rules: what is tried, the mildest first: no rule at all, then by what it may change.
        apply: returns a label map under a rule.
    """

    region: Region
    rules: tuple[Rule, ...]
    apply: Callable[[Rule, LabelMap, RegionProbabilities], LabelMap]


def widen_core(rule: Rule, label_map: LabelMap, kept: RegionProbabilities) -> LabelMap:
    """Returns a label map under a rule for the core."""
    return (
        rule.widen(label_map, kept.volume(Region.TC))
        if isinstance(rule, CoreRule) and rule.applies(label_map)
        else label_map
    )


def confirm_enhancement(rule: Rule, label_map: LabelMap, kept: RegionProbabilities) -> LabelMap:
    """Returns a label map under a rule for enhancement; voxels have 1 mm."""
    return (
        rule.confirm(label_map, kept.volume(Region.ET), (1.0, 1.0, 1.0))[0]
        if isinstance(rule, EnhancementRule)
        else label_map
    )


KINDS = {
    "core": Kind(
        Region.TC,
        (
            None,
            *(
                CoreRule(*numbers)
                for numbers in product(
                    (0.01, 0.02, 0.03, 0.05, 0.075, 0.1), (0.4, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
                )
            ),
        ),
        widen_core,
    ),
    "enhancement": Kind(
        Region.ET,
        (
            None,
            *(
                EnhancementRule(*numbers)
                for numbers in product((0.8, 0.9, 0.95, 0.98), (0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5))
            ),
        ),
        confirm_enhancement,
    ),
}


@dataclass(frozen=True)
class Example:
    """One case: the fold that it was held out with, and the Dice of the rule's region under each of the rules; 1 where
    both are empty.
    """

    case_id: str
    fold: int
    dice: tuple[float, ...]


def region_dice(reference: LabelMap, found: LabelMap, region: Region) -> float:
    """Returns the Dice of a region; 1 where there is none in either."""
    dice = count(region.mask(reference), region.mask(found)).dice
    return 1.0 if np.isnan(dice) else dice


def read_example(kind: Kind, files: CaseFiles, predictions: Path, probabilities: Path, fold: int) -> Example:
    """Reads a case and scores it under every rule."""
    assert files.reference is not None
    label_map, _ = read_label_map(predictions / f"{files.case_id}_seg.nii.gz", LABELS)
    reference, _ = read_label_map(files.reference, files.labels)
    kept = RegionProbabilities.read(probabilities / f"{files.case_id}.npz")
    return Example(
        files.case_id,
        fold,
        tuple(region_dice(reference, kind.apply(rule, label_map, kept), kind.region) for rule in kind.rules),
    )


def choose(examples: list[Example]) -> int:
    """Returns which rule has the best mean Dice: the mildest within `TOLERANCE` of it."""
    means = np.mean([example.dice for example in examples], axis=0)
    return int(np.flatnonzero(means >= means.max() - TOLERANCE)[0])


def row(kind: Kind, name: str, examples: list[Example], chosen: dict[int, int]) -> dict[str, str]:
    """One line of the table, each fold's cases under the rule chosen for it."""
    dice = [example.dice[chosen[example.fold]] for example in examples]
    change = [after - example.dice[0] for after, example in zip(dice, examples, strict=True)]
    summary = summarise(change)
    rules = [words(kind.rules[rule]) for rule in chosen.values()]
    return {
        "chosen_on": name,
        "rules": rules[0] if len(set(rules)) == 1 else "; ".join(rules),
        "cases": str(len(examples)),
        f"mean_{kind.region.value}": f"{np.mean(dice):.3f}",
        f"median_{kind.region.value}": f"{np.median(dice):.3f}",
        "change_of_mean": f"{summary.mean:+.3f}",
        "change_low": f"{summary.mean_low:+.3f}",
        "change_high": f"{summary.mean_high:+.3f}",
        "better": str(sum(value > 0 for value in change)),
        "worse": str(sum(value < 0 for value in change)),
    }


def words(rule: Rule) -> str:
    """The rule as the table has it."""
    match rule:
        case CoreRule():
            return f"below {rule.enhancing_share:g}: core from {rule.core_probability:g}"
        case EnhancementRule():
            return f"{rule.seed_ml:g} ml above {rule.probability:g}"
        case _:
            return "none"


def write(kind: Kind, rule: Rule, case: str, predictions: Path, probabilities: Path, output: Path) -> None:
    """Writes a case's label map under a rule, and its run record with what is then to be expected."""
    label_map, geometry = read_label_map(predictions / f"{case}_seg.nii.gz", LABELS)
    kept = RegionProbabilities.read(probabilities / f"{case}.npz")
    found = kind.apply(rule, label_map, kept)
    write_volume(output / f"{case}_seg.nii.gz", LABELS.to_disk(found), geometry, overwrite=True)
    record = json.loads((predictions / f"{case}_run.json").read_text(encoding="utf-8"))
    record["expected_dice"] = {region.value: round(dice, 4) for region, dice in kept.expected_dice(found).items()}
    write_bytes(output / f"{case}_run.json", (json.dumps(record, indent=1) + "\n").encode())


def main() -> None:
    """Chooses for each fold and for all, prints the table and writes it, and the label maps where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("predictions", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--probabilities", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True, help="CSV or TSV with the columns case and fold")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--write", type=Path, help="folder for the label maps, each under the rule that the other folds chose"
    )
    options = parser.parse_args()
    kind = KINDS[options.kind]
    try:
        folds, cases = read_folds(options.folds), {files.case_id: files for files in find_cases(options.references)}
        there = [case for case in folds if case in cases and (options.predictions / f"{case}_seg.nii.gz").is_file()]
        examples = [
            read_example(kind, cases[case], options.predictions, options.probabilities, folds[case]) for case in there
        ]
    except GliomaskError as error:
        raise SystemExit(str(error)) from error
    numbers = sorted({example.fold for example in examples})
    if len(numbers) < 2:
        raise SystemExit(f"Cases of at least two folds are needed; found {len(examples)} cases of {len(numbers)}.")
    nested = {fold: choose([example for example in examples if example.fold != fold]) for fold in numbers}
    everywhere = dict.fromkeys(numbers, choose(examples))
    content = to_tsv(
        [
            row(kind, "nothing", examples, dict.fromkeys(numbers, 0)),
            row(kind, "the other folds, for each fold", examples, nested),
            row(kind, "all (optimistic)", examples, everywhere),
        ]
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, content)
    print(content.decode(), end="")
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        for example in examples:
            write(
                kind,
                kind.rules[nested[example.fold]],
                example.case_id,
                options.predictions,
                options.probabilities,
                options.write,
            )


if __name__ == "__main__":
    main()
