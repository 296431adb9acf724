r"""What missing sequences cost: every subset of the sequences, on patients that the model never saw; with `--most 1`
those that lack one at most.

    python benchmarks/subsets.py MODEL [MODEL ...] --data CASES --postprocess 3d \
        --cases docs/tables/subsets_NAME_cases.tsv -o docs/tables/subsets_NAME.tsv

Each MODEL is a model folder, or a shipped model's name, whose training held cases out (`gliomask train --fold`) and
that can do without sequences; those cases are looked for in CASES. It is asked alone, without another ensemble member.
`--cases` gets a row per case and subset as they come, with the Dice that the case had and the one that the network
expected of itself (`benchmarks/calibrate_subsets.py` relates them); what stands there already is not done again. `-o`
gets a row per subset: median and mean Dice of each region. A region that is empty in both counts as 1, as BraTS 2020
has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gliomask.case import Case
from gliomask.io.brats import CaseFiles, find_cases, read_case, read_reference
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.segmentation import NO_OTHER, Options, Segmenter
from gliomask.sequences import PAPER_ORDER, Sequence, droppable
from gliomask.study.tables import read_tsv, to_tsv

Row = dict[str, str]
SUBSETS: list[tuple[Sequence, ...]] = [(), *droppable(PAPER_ORDER)]
"""What is missing, row by row."""


def without(case: Case, missing: tuple[Sequence, ...]) -> Case:
    """Returns the case as if some sequences had not been taken."""
    volumes = {sequence: volume for sequence, volume in case.volumes.items() if sequence not in missing}
    return Case(case.case_id, volumes, case.geometry, without=frozenset(missing))


def sequences_left(missing: tuple[Sequence, ...]) -> str:
    """The sequences that are left, as the tables have them."""
    return " ".join(sequence.value for sequence in PAPER_ORDER if sequence not in missing)


def score(
    segmenter: Segmenter, files: CaseFiles, fold: int | None, subsets: list[tuple[Sequence, ...]]
) -> Iterator[Row]:
    """Yields a row per subset of a case."""
    case = read_case(files)
    reference = read_reference(files, case.geometry)
    for missing in subsets:
        outcome = segmenter.run(without(case, missing))
        counts = {region: count(region.mask(reference), region.mask(outcome.label_map)).dice for region in Region}
        dice = {region.value: f"{1.0 if np.isnan(value) else value:.6f}" for region, value in counts.items()}
        expected = {f"expected_{region}": f"{value:.6f}" for region, value in outcome.expected_dice.items()}
        yield {
            "case": files.case_id,
            "fold": "" if fold is None else str(fold),
            "sequences": sequences_left(missing),
            **dice,
            **expected,
        }


def summarise(rows: list[Row]) -> list[Row]:
    """Returns a row per subset that was tried."""
    summary = []
    tried = {row["sequences"] for row in rows}
    for missing in [missing for missing in SUBSETS if sequences_left(missing) in tried]:
        dice = np.array(
            [[float(row[region]) for region in Region] for row in rows if row["sequences"] == sequences_left(missing)]
        )
        values = {
            f"median_{region}": f"{value:.3f}" for region, value in zip(Region, np.median(dice, axis=0), strict=True)
        }
        values |= {f"mean_{region}": f"{value:.3f}" for region, value in zip(Region, dice.mean(axis=0), strict=True)}
        summary.append({"sequences": sequences_left(missing), "cases": str(len(dice)), **values})
    return summary


def main() -> None:
    """Segments each held-out case with each subset, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--postprocess")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--most", type=int, default=len(PAPER_ORDER), help="most sequences that are missing at a time")
    options = parser.parse_args()
    subsets = [missing for missing in SUBSETS if len(missing) <= options.most]
    files = {found.case_id: found for found in find_cases(options.data)}
    rows = read_tsv(options.cases) if options.cases.exists() else []
    for model in options.models:
        with Segmenter(
            Options(model=model, threads=options.threads, postprocess=options.postprocess, ensemble_member=NO_OTHER)
        ) as segmenter:
            training = segmenter.model.spec.training
            if training is None or not training.held_out_cases:
                raise SystemExit(f"{model}: its training held no case out; nothing can be scored honestly.")
            for case_id in sorted(training.held_out_cases):
                done = {row["sequences"] for row in rows if row["case"] == case_id}
                left = [missing for missing in subsets if sequences_left(missing) not in done]
                if left:
                    rows += score(segmenter, files[case_id], training.fold, left)
                    write_bytes(options.cases, to_tsv(rows))
                    print(case_id, flush=True)
    content = to_tsv(summarise(rows))
    print(content.decode(), end="")
    write_bytes(options.output, content)


if __name__ == "__main__":
    main()
