"""How often each quality flag fires, rightly and wrongly: real cases as they are, and the same cases spoiled in known ways.

python benchmarks/flags.py --cases CASES --skull-on FOLDER -o docs/tables/flags.tsv

CASES is a BraTS tree of skull-stripped 1 mm cases; FOLDER holds skull-on NIfTI files, each of which stands for all four sequences (their
grids differ, so they are no case together).
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from gliomask.case import Case
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases, read_case
from gliomask.io.nifti import is_nifti_name, read_volume, write_bytes
from gliomask.preprocess.checks import Flag, brain_samples, check_case, sequences_swapped
from gliomask.sequences import PAPER_ORDER

FLAGS = ("not_1mm", "skull_on", "sequences_swapped", "already_normalised", "brain_small", "brain_cut", "orientation_unknown", "two_orientations")
AIR_SHARE = 0.1
"""Of the 99th percentile: what counts as air where a skull-on scan is given a background of 0."""


def spoiled(case: Case) -> Iterator[tuple[str, list[Flag]]]:
    """Yields the flags of a case as it is and in every spoiled form, each with the form's name."""
    yield "as it is", check_case(case)
    samples = brain_samples(case)
    for order in itertools.permutations(range(len(PAPER_ORDER))):
        moved = [PAPER_ORDER[row] for row, given in enumerate(order) if row != given]
        if moved:
            name = f"{moved[0]} and {moved[1]} swapped" if len(moved) == 2 else "three or four sequences mixed up"
            flag = sequences_swapped(samples[list(order)])
            yield name, [] if flag is None else [flag]
    for background in (0.0, -9.0):
        yield f"z-scored, background {background:g}", check_case(z_scored(case, background))
    yield "every third slice only", check_case(every_third_slice(case))


def every_third_slice(case: Case) -> Case:
    volumes = {sequence: volume[:, :, ::3] for sequence, volume in case.volumes.items()}
    i, j, k = volumes[PAPER_ORDER[0]].shape
    return replace(case, volumes=volumes, geometry=Geometry((i, j, k), case.geometry.affine @ np.diag([1, 1, 3, 1])), header=None)


def z_scored(case: Case, background: float) -> Case:
    volumes = {}
    for sequence, volume in case.volumes.items():
        inside = volume[case.brain_mask]
        volumes[sequence] = np.full(volume.shape, background, np.float32)
        volumes[sequence][case.brain_mask] = (inside - inside.mean()) / inside.std()
    return replace(case, volumes=volumes)


def skull_on(folder: Path) -> Iterator[tuple[str, list[Flag]]]:
    """Yields the flags of each skull-on file as a case of four equal sequences, with its air as it is and with air of 0."""
    for path in sorted(path for path in folder.rglob("*") if is_nifti_name(path)):
        read = read_volume(path)
        bare = np.where(read.values > AIR_SHARE * np.percentile(read.values, 99), read.values, 0)
        for name, values in (("skull on", read.values), ("skull on, air set to 0", bare)):
            yield name, check_case(Case(path.name, dict.fromkeys(PAPER_ORDER, values), read.geometry, header=read.header))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--skull-on", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    counts: dict[str, dict[str, int]] = {}

    def count(forms: Iterator[tuple[str, list[Flag]]], case_id: str) -> None:
        for name, flags in forms:
            names = {flag.name for flag in flags}
            row = counts.setdefault(name, dict.fromkeys(("forms", "any", *FLAGS), 0))
            row["forms"] += 1
            row["any"] += bool(names)
            for flag in names:
                row[flag] += 1
            if name == "as it is":
                print(case_id, " ".join(f"{flag.name}={flag.value:.3g}" for flag in flags) or "-", flush=True)

    seconds = []
    for files in itertools.chain.from_iterable(find_cases(folder) for folder in options.cases):
        case = read_case(files)
        start = time.process_time()
        check_case(case)
        seconds.append(time.process_time() - start)
        count(spoiled(case), case.case_id)
    if options.skull_on:
        count(skull_on(options.skull_on), "")
    lines = ["\t".join(("form of the case", "forms", "any", *FLAGS))]
    lines += ["\t".join((name, *map(str, row.values()))) for name, row in counts.items()]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))
    print(f"median {np.median(seconds):.2f} s, slowest {max(seconds):.2f} s of CPU a check")


if __name__ == "__main__":
    main()
