"""What a missing sequence costs: every subset of the sequences, on patients that the model never saw.

    python benchmarks/subsets.py MODEL --data CASES -o docs/tables/subsets_NAME.tsv

MODEL is a model folder, or a shipped model's name, whose training held cases out (`gliomask train --fold`) and that can do without
sequences; those cases are looked for in CASES. One row a subset: median and mean Dice of each region. A region that is empty in both
counts as 1, as BraTS 2020 has it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gliomask.case import Case
from gliomask.io.brats import find_cases, read_case, read_reference
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.segmentation import Options, Segmenter
from gliomask.sequences import PAPER_ORDER, Sequence, droppable


def without(case: Case, missing: tuple[Sequence, ...]) -> Case:
    """Returns the case as if some sequences had not been taken."""
    volumes = {sequence: volume for sequence, volume in case.volumes.items() if sequence not in missing}
    return Case(case.case_id, volumes, case.geometry, without=frozenset(missing))


def main() -> None:
    """Segments each held-out case with each subset, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    subsets: list[tuple[Sequence, ...]] = [(), *droppable(PAPER_ORDER)]
    scores: dict[tuple[Sequence, ...], list[list[float]]] = {missing: [] for missing in subsets}
    with Segmenter(Options(model=options.model, threads=options.threads)) as segmenter:
        training = segmenter.model.spec.training
        if training is None or not training.held_out_cases:
            raise SystemExit(f"{options.model}: its training held no case out; nothing can be scored honestly.")
        for files in find_cases(options.data):
            if files.case_id not in training.held_out_cases:
                continue
            case = read_case(files)
            reference = read_reference(files, case.geometry)
            for missing in subsets:
                found = segmenter.run(without(case, missing)).label_map
                counts = [count(region.mask(reference), region.mask(found)) for region in Region]
                scores[missing].append([1.0 if np.isnan(one.dice) else one.dice for one in counts])
            print(files.case_id, flush=True)
    header = ["sequences", "cases", *(f"{kind}_{region}" for kind in ("median", "mean") for region in Region)]
    rows = ["\t".join(header)]
    for missing in subsets:
        dice = np.array(scores[missing])
        there = " ".join(sequence.value for sequence in PAPER_ORDER if sequence not in missing)
        rows.append("\t".join([there, str(len(dice)), *(f"{value:.3f}" for value in (*np.median(dice, axis=0), *dice.mean(axis=0)))]))
    text = "\n".join(rows) + "\n"
    print(text, end="")
    write_bytes(options.output, text.encode())


if __name__ == "__main__":
    main()
