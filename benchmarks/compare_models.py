"""Compares two models patient by patient: python benchmarks/compare_models.py SCORES BASELINE -o
docs/tables/NAME_against_OTHER.tsv

SCORES and BASELINE are `scores.tsv` files that `gliomask evaluate` wrote for cross-validated predictions of the same
cases. A row per metric and region: both means and medians, the paired difference (SCORES minus BASELINE) with 95 %
bootstrap intervals over patients, and p of Wilcoxon's signed-rank test, uncorrected. Cases that only one file has
scored are an error: nobody may choose the patients. `--folds TABLE --fold N` leaves both with the cases of one fold;
`--collections MANIFEST`, a CSV table with the columns case and cohort, adds the same rows for each collection.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.metrics.summary import summarise
from gliomask.study.statistics import paired
from gliomask.study.tables import read_tsv, to_tsv
from gliomask.training.folds import read_folds

METRICS = ("dice", "sensitivity", "hd95_mm")


def column(rows: list[dict[str, str]], name: str) -> dict[str, float]:
    """One column by case; blank cells are NaN."""
    return {row["case"]: float(row[name] or math.nan) for row in rows}


def compare(scores: list[dict[str, str]], baseline: list[dict[str, str]], seed: int) -> list[dict[str, Any]]:
    """Returns a row per metric and region."""
    only = {row["case"] for row in scores} ^ {row["case"] for row in baseline}
    if only:
        raise SystemExit(f"Scored in one of the two files only: {', '.join(sorted(only))}")
    found = []
    for metric in METRICS:
        for region in Region:
            ours, theirs = column(scores, f"{region}_{metric}"), column(baseline, f"{region}_{metric}")
            result = paired(ours, theirs, seed)
            found.append(
                {
                    "metric": metric,
                    "region": region.value,
                    "n": result.difference.n,
                    "mean": summarise(ours.values(), seed).mean,
                    "mean_baseline": summarise(theirs.values(), seed).mean,
                    "median": summarise(ours.values(), seed).median,
                    "median_baseline": summarise(theirs.values(), seed).median,
                    "mean_difference": result.difference.mean,
                    "mean_difference_low": result.difference.mean_low,
                    "mean_difference_high": result.difference.mean_high,
                    "median_difference": result.difference.median,
                    "median_difference_low": result.difference.median_low,
                    "median_difference_high": result.difference.median_high,
                    "p": result.p,
                }
            )
    return found


def collections(manifest: Path) -> dict[str, str]:
    """Returns the collection of each case."""
    with manifest.open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row["cohort"] for row in csv.DictReader(stream)}


def main() -> None:
    """Compares, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("baseline", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=Path, help="CSV or TSV with the columns case and fold")
    parser.add_argument("--fold", type=int, help="compare the cases of this fold alone")
    parser.add_argument("--collections", type=Path, metavar="MANIFEST", help="compare each collection by itself, too")
    options = parser.parse_args()
    if (options.folds is None) != (options.fold is None):
        parser.error("--folds and --fold go together")
    tables = [read_tsv(options.scores), read_tsv(options.baseline)]
    if options.folds is not None:
        fold = read_folds(options.folds)
        tables = [[row for row in table if fold.get(row["case"]) == options.fold] for table in tables]
    rows = compare(*tables, options.seed)
    if options.collections is not None:
        belongs = collections(options.collections)
        rows = [{"collection": "all", **row} for row in rows]
        for name in sorted({belongs[row["case"]] for row in tables[0]}):
            parts = [[row for row in table if belongs[row["case"]] == name] for table in tables]
            rows += [{"collection": name, **row} for row in compare(*parts, options.seed)]
    table = to_tsv(rows)
    print(table.decode(), end="")
    write_bytes(options.output, table)


if __name__ == "__main__":
    main()
