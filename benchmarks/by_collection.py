"""Scores by the collection that patients come from: python benchmarks/by_collection.py SCORES MANIFEST -o
docs/tables/NAME_by_collection.tsv

SCORES is the `scores.tsv` of `gliomask evaluate`; MANIFEST a CSV table with the columns case and cohort. A row per
collection and region.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from compare_models import collections

from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.metrics.summary import summarise
from gliomask.study.tables import read_tsv, to_tsv


def main() -> None:
    """Groups, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    cohorts = collections(options.manifest)
    scores = read_tsv(options.scores)
    rows: list[dict[str, Any]] = []
    for cohort in sorted({cohorts[row["case"]] for row in scores}):
        for region in Region:
            dice = summarise(float(row[f"{region}_dice"]) for row in scores if cohorts[row["case"]] == cohort)
            numbers = {name: getattr(dice, name) for name in ("n", "median", "mean", "mean_low", "mean_high")}
            rows.append({"collection": cohort, "region": region.value, **numbers})
    table = to_tsv(rows)
    print(table.decode(), end="")
    write_bytes(options.output, table)


if __name__ == "__main__":
    main()
