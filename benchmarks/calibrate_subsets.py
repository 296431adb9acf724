r"""Calibrates a model's doubts about patients who lack sequences, subset by subset, from the table that
`benchmarks/subsets.py` keeps:

    python benchmarks/calibrate_subsets.py docs/tables/subsets_NAME_cases.tsv \
        -o docs/tables/quality_subsets_NAME.tsv --json subsets.json

Each subset gets lines and intervals of its own, as `benchmarks/calibrate_quality.py` makes them for patients who have
everything; the table, a row per subset and region, is of cases judged by the lines of the other folds, or other cases
where there is one fold only. The JSON file is for `benchmarks/ship_model.py --subsets`.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from calibrate_quality import COVERAGE, Judged, column, fit, judge, line_fields, whole_cases
from subsets import SUBSETS, Row, sequences_left

from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.sequences import Sequence
from gliomask.study.tables import read_tsv, to_tsv


def judged(rows: list[Row], missing: tuple[Sequence, ...]) -> list[Judged]:
    """Returns the cases of one subset."""
    chosen = [row for row in rows if row["sequences"] == sequences_left(missing)]
    return [Judged(row["case"], int(row["fold"]), _regions(row, "expected_"), _regions(row)) for row in chosen]


def _regions(row: Row, beginning: str = "") -> dict[Region, float]:
    return {region: float(row[f"{beginning}{region}"]) for region in Region}


def subset_fields(cases: list[Judged], missing: tuple[Sequence, ...]) -> dict[str, Any]:
    """Returns what model.json keeps of one subset."""
    everything, estimates = fit(cases), judge(cases)
    regions = {}
    for region in Region:
        dice = np.array([case.dice[region] for case in cases])
        worth = {"median": round(float(np.median(dice)), 4), "mean": round(float(dice.mean()), 4)}
        regions[region.value] = line_fields(everything, region, column(region, cases, estimates)) | worth
    return {
        "without": [sequence.value for sequence in missing],
        "regions": regions,
        "flagged": int(whole_cases(cases, estimates).flagged.sum()),
    }


def table_rows(fields: list[dict[str, Any]]) -> list[Row]:
    """Returns a row per subset and region."""
    return [
        {"without": " ".join(one["without"]) or "nothing", "region": region, "flagged_cases": str(one["flagged"])}
        | {name: "" if value is None or math.isnan(value) else f"{value:g}" for name, value in line.items()}
        for one in fields
        for region, line in one["regions"].items()
    ]


def main() -> None:
    """Calibrates every subset, prints the table and writes it and the calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--note", default="", help="what else the protocol must say")
    options = parser.parse_args()
    note = f" --note {shlex.quote(options.note)}" if options.note else ""
    rows = read_tsv(options.cases)
    tried = {row["sequences"] for row in rows}
    by_subset = {missing: judged(rows, missing) for missing in SUBSETS if sequences_left(missing) in tried}
    names = [{case.case for case in cases} for cases in by_subset.values()]
    if any(some != names[0] for some in names):
        raise SystemExit(
            f"{options.cases}: not every case is there with every subset. Let benchmarks/subsets.py go on with it."
        )
    fields = [subset_fields(cases, missing) for missing, cases in by_subset.items()]
    content = to_tsv(table_rows(fields))
    write_bytes(options.output, content)
    about = {
        "sets": fields,
        "coverage": COVERAGE,
        "cases": len(names[0]),
        "protocol": f"Each subset's lines are fitted to {len(names[0])} cross-validated cases; a case's interval is "
        f"by the lines of the other folds alone.{' ' if options.note else ''}{options.note}",
        "command": f"python benchmarks/calibrate_subsets.py docs/tables/{options.cases.name} -o "
        f"docs/tables/{options.output.name} --json subsets.json{note}",
    }
    write_bytes(options.json, (json.dumps(about, indent=1) + "\n").encode())
    print(content.decode(), end="")


if __name__ == "__main__":
    main()
