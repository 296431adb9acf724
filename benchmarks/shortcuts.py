"""What a shortcut costs in quality: each case segmented the plain way and with the shortcut, both held against the
reference:

    python benchmarks/shortcuts.py MODEL CASES [--set precision=int8]... -o docs/tables/shortcuts_int8.tsv

MODEL is a model folder or a shipped model's name; only cases that it held out while it was trained are segmented
(--all: all of them), so that with the five networks of a cross-validation five calls score every patient once; --append
adds rows to a table that is there. CASES is a folder of BraTS cases with references. --set names an option of
`gliomask.Options` for the shortcut; the plain way is precision=fp32, whole_brain=true and otherwise the defaults.
Options that are set with --both belong to both ways.

A row a case: Dice of each region both ways, the difference, and the share of brain voxels whose label is the same. At
the end: means, the worst patient, and whether the goal holds (mean within .002, no patient below -.02).
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from gliomask.case import Case
from gliomask.io.brats import CaseFiles, find_cases, read_case, read_reference
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.segmentation import Options, Segmenter

MEAN_GOAL, WORST_GOAL = 0.002, -0.02


def parsed(pairs: list[str]) -> dict[str, Any]:
    """Returns options from `name=value`; a value that is JSON is taken as that."""
    options = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


Row = dict[str, str | float]


def compared(files: CaseFiles, plain: Segmenter, short: Segmenter) -> Row:
    """Returns the row of one case."""
    case: Case = read_case(files)
    reference = read_reference(files, case.geometry)
    maps = [segmenter.run(case).label_map for segmenter in (plain, short)]
    row: Row = {"case": files.case_id}
    for region in Region:
        scores = [count(region.mask(reference), region.mask(found)).dice for found in maps]
        # Empty in both counts as 1, as BraTS 2020 has it.
        one, other = (1.0 if np.isnan(score) else score for score in scores)
        row |= {
            f"{region.value} plain": round(one, 5),
            f"{region.value} short": round(other, 5),
            f"{region.value} difference": round(other - one, 5),
        }
    brain = case.brain_mask
    row["labels equal"] = round(float((maps[0][brain] == maps[1][brain]).mean()), 6)
    return row


def summary(rows: list[Row]) -> bool:
    """Prints what all rows say; returns whether the goal holds."""
    holds = True
    for region in Region:
        differences = np.array([float(row[f"{region.value} difference"]) for row in rows])
        worst = min(rows, key=lambda row: float(row[f"{region.value} difference"]))
        holds &= abs(differences.mean()) <= MEAN_GOAL and differences.min() >= WORST_GOAL
        print(
            f"{region.value}: mean {differences.mean():+.4f}, worst {differences.min():+.4f} ({worst['case']}), best "
            f"{differences.max():+.4f}"
        )
    print(
        f"labels equal in {np.mean([float(row['labels equal']) for row in rows]):.5f} of brain voxels; "
        f"{len(rows)} cases"
    )
    print(f"goal (mean within {MEAN_GOAL}, no patient below {WORST_GOAL}): {'holds' if holds else 'MISSED'}")
    return holds


def main() -> None:
    """Segments, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("cases", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="short", metavar="NAME=VALUE")
    parser.add_argument("--both", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--all", action="store_true", help="also cases that the model was trained on")
    parser.add_argument("--append", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    both = {"model": options.model, **parsed(options.both)}
    rows: list[Row] = []
    if options.append and options.output.exists():
        with options.output.open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    with (
        Segmenter(Options(**{"precision": "fp32", "whole_brain": True, **both})) as plain,
        Segmenter(Options(**both, **parsed(options.short))) as short,
    ):
        training = plain.model.spec.training
        held_out = () if training is None else training.held_out_cases
        for files in find_cases(options.cases):
            if files.case_id not in {row["case"] for row in rows} and (options.all or files.case_id in held_out):
                rows.append(compared(files, plain, short))
                print(*rows[-1].values(), flush=True)
    if not rows:
        raise SystemExit(
            f"{options.cases} holds none of the cases that {options.model} held out. Give --all for all of them."
        )
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    summary(rows)


if __name__ == "__main__":
    main()
