"""Calibrates a model's doubts: what it expected of itself against the Dice that it had.

    python benchmarks/calibrate_quality.py PREDICTIONS SCORES --folds TABLE -o docs/tables/quality_NAME.tsv --json quality.json

PREDICTIONS holds the run records of cross-validated cases, as `benchmarks/cross_validate.py` leaves them (each case segmented by a network
that never saw its patient, without post-processing or with it); SCORES is the `scores.tsv` that `gliomask evaluate` wrote for them.
Each fold's cases are judged by a line and a spread fitted to the other folds alone. What ships is fitted to all.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr, theilslopes

from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.quality import Calibration
from gliomask.training.folds import read_folds

COVERAGE = 0.8
"""Share of cases that an interval is to hold: with some tens of cases, tails beyond a tenth on each side are one or two cases."""

WORST = 10
"""How many of the worst cases are asked about."""


@dataclass(frozen=True)
class Judged:
    """One case and region: what was expected, what it had, what the calibration of the other folds said."""

    case: str
    fold: int
    region: Region
    expected: float
    dice: float


def read(predictions: Path, scores: Path, folds: dict[str, int]) -> list[Judged]:
    """Joins run records and scores; a case without either is an error."""
    with scores.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    judged = []
    for row in rows:
        record = json.loads((predictions / f"{row['case']}_run.json").read_text(encoding="utf-8"))
        for region in Region:
            judged.append(Judged(row["case"], folds[row["case"]], region, record["expected_dice"][region.value], float(row[f"{region}_dice"])))
    return judged


def fit(cases: Iterable[Judged]) -> Calibration:
    """A line by the median of slopes (Theil and Sen), which single failures do not bend, and the middle `COVERAGE` of what lies about it."""
    lines, spread = {}, {}
    for region in Region:
        expected, dice = np.array([(case.expected, case.dice) for case in cases if case.region == region]).T
        slope, intercept, _, _ = theilslopes(dice, expected)
        residuals = dice - np.clip(intercept + slope * expected, 0, 1)
        # Finite samples: the quantile is taken among n + 1, as in conformal prediction (Vovk et al. 2005).
        tail = (1 - COVERAGE) / 2 * (len(dice) + 1) / len(dice)
        low, high = np.quantile(residuals, [max(tail - 1 / len(dice), 0), min(1 - tail + 1 / len(dice), 1)])
        lines[region] = (float(intercept), float(slope))
        spread[region] = (float(max(-low, 0)), float(max(high, 0)))
    return Calibration(lines, spread, COVERAGE)


def main() -> None:
    """Judges by nested cross-validation, prints the table, writes it and the calibration of all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    judged = read(options.predictions, options.scores, read_folds(options.folds))
    calibrations = {fold: fit([case for case in judged if case.fold != fold]) for fold in sorted({case.fold for case in judged})}
    estimates = [calibrations[case.fold].estimates(dict.fromkeys(Region, case.expected))[case.region] for case in judged]
    lines = ["\t".join(("region", "cases", "spearman", "mean_error", "in_interval", f"worst_{WORST}_among_{2 * WORST}_least_expected"))]
    coverage = []
    for region in Region:
        pairs = [(case, estimate) for case, estimate in zip(judged, estimates, strict=True) if case.region == region]
        dice, found = (np.array(values) for values in zip(*((case.dice, estimate.dice) for case, estimate in pairs), strict=True))
        inside = np.mean([estimate.low <= case.dice <= estimate.high for case, estimate in pairs])
        coverage.append(inside)
        caught = len(set(np.argsort(dice)[:WORST]) & set(np.argsort(found)[: 2 * WORST]))
        lines.append(f"{region}\t{len(pairs)}\t{spearmanr(dice, found).statistic:.3f}\t{np.abs(dice - found).mean():.3f}\t{inside:.3f}\t{caught} of {WORST}")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    write_bytes(options.output, text.encode())
    everything = fit(judged)
    regions = {
        region.value: {
            "intercept": round(everything.lines[region][0], 4),
            "slope": round(everything.lines[region][1], 4),
            "below": round(everything.spread[region][0], 4),
            "above": round(everything.spread[region][1], 4),
        }
        for region in Region
    }
    protocol = (
        f"Lines fitted to {len(judged) // len(Region)} cross-validated cases; judged by lines of the other folds the intervals held "
        f"{', '.join(f'{share:.0%} ({region})' for region, share in zip(Region, coverage, strict=True))} of them."
    )
    found = {"regions": regions, "coverage": COVERAGE, "cases": len(judged) // len(Region), "protocol": protocol}
    write_bytes(options.json, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
