"""How often each quality flag fires, rightly and wrongly: real cases as they are, and the same cases spoiled in known
ways.

    python benchmarks/flags.py --cases CASES... [--skull-on FOLDER] [--no-tumour FOLDER] -o docs/tables/flags.tsv

CASES are BraTS trees of skull-stripped 1 mm cases; --skull-on has skull-on NIfTI files, each of which stands for all
four sequences (their grids differ, so they are no case together); --no-tumour has FLAIR, T1 and T2 of a bare brain
without tumour, named so. Forms that change intensities are made of each case's samples of brain voxels, a quarter of
those that a check takes, and forms that turn the brain of its mask on a 3 mm grid; those that need whole volumes are
made of every tenth case. The table is written after each case.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomask.case import Case
from gliomask.flag import Flag
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases, read_case
from gliomask.io.nifti import is_nifti_name, read_volume, write_bytes
from gliomask.preprocess.checks import brain_samples, brain_turned, check_case, check_samples, sequences_swapped
from gliomask.sequences import PAPER_ORDER, Sequence

FLAGS = (
    "not_1mm",
    "skull_on",
    "sequences_swapped",
    "same_image",
    "no_image",
    "saturated",
    "already_normalised",
    "orientation_wrong",
    "brain_small",
    "brain_cut",
    "unlike_brain",
    "not_bare",
    "air_not_zero",
    "nan_is_air",
    "nan_filled",
    "part_missing",
    "orientation_unknown",
    "two_orientations",
)
AIR_SHARE = 0.1
"""Of the 99th percentile: what counts as air where a skull-on scan is given a background of 0."""

THIN, COARSE, WHOLE_EVERY = 4, 3, 10
"""Every so many samples; every so many voxels of the mask; every so many cases for forms that need whole volumes."""

AS_IT_IS = "as it is"
Samples = npt.NDArray[np.float32]
Form = tuple[str, list[Flag]]


def forms(case: Case, whole: bool) -> Iterator[Form]:
    """Yields the flags of a case as it is and in every spoiled form, each with the form's name."""
    yield AS_IT_IS, check_case(case)
    samples, neighbours = brain_samples(case)[:, ::THIN], brain_samples(case, ahead=1)[:, ::THIN]
    yield from swapped(samples)
    yield from (("harmless: " + name, check_samples(*changed)) for name, changed in harmless(samples, neighbours))
    yield from ((name, check_samples(*changed)) for name, changed in other_intensities(samples, neighbours))
    yield from turned(case)
    if whole:
        yield "z-scored, background -9", check_case(z_scored(case, -9.0))
        yield "every third slice only", check_case(every_third_slice(case))


def swapped(samples: Samples) -> Iterator[Form]:
    for order in itertools.permutations(range(len(PAPER_ORDER))):
        moved = [PAPER_ORDER[row] for row, given in enumerate(order) if row != given]
        if moved:
            name = f"{moved[0]} and {moved[1]} swapped" if len(moved) == 2 else "three or four sequences mixed up"
            flag = sequences_swapped(samples[list(order)])
            yield name, [] if flag is None else [flag]


Changed = tuple[Samples, Samples]
"""Samples and their neighbours; 0 stays 0, which is outside the brain."""


def harmless(samples: Samples, neighbours: Samples) -> Iterator[tuple[str, Changed]]:
    """Changes that a network does not see, since it normalises: no flag is wanted."""
    top = samples.max(axis=1, keepdims=True)
    yield "scaled by 1000", (samples * 1000, neighbours * 1000)
    yield (
        "brain shifted by a tenth of its range",
        (samples + top / 10, np.where(neighbours > 0, neighbours + top / 10, 0)),
    )
    yield "rescaled to whole numbers of 8 bits", (np.rint(samples / top * 255), np.rint(neighbours / top * 255))


def other_intensities(samples: Samples, neighbours: Samples) -> Iterator[tuple[str, Changed]]:
    """Changes that spoil the answer."""
    generator = np.random.default_rng(0)
    top = samples.max(axis=1, keepdims=True)
    upside_down = (top + 1 - samples, np.where(neighbours > 0, top + 1 - neighbours, 0))
    yield "all four inverted", upside_down
    mean, deviation = samples.mean(axis=1, keepdims=True), samples.std(axis=1, keepdims=True)
    yield (
        "z-scored, background 0",
        ((samples - mean) / deviation, np.where(neighbours > 0, (neighbours - mean) / deviation, 0)),
    )
    for percent in (50, 90):
        limit = np.percentile(samples, percent, axis=1, keepdims=True)
        yield f"cut off at the {percent}th percentile", (np.minimum(samples, limit), np.minimum(neighbours, limit))
    for row, sequence in enumerate(PAPER_ORDER):
        yield (
            f"{sequence} inverted",
            (_with(samples, row, upside_down[0][row]), _with(neighbours, row, upside_down[1][row])),
        )
        noise = [np.abs(generator.normal(100, 30, samples.shape[1])) + 1 for _ in range(2)]
        noise[1] = np.where(neighbours[row] > 0, noise[1], 0)
        yield f"{sequence} replaced by noise", (_with(samples, row, noise[0]), _with(neighbours, row, noise[1]))
        for other in (n for n in range(len(PAPER_ORDER)) if n != row):
            copies = [
                np.where(values > 0, np.rint(values[other] / top[other] * 200) + 1, 0)
                for values in (samples, neighbours)
            ]
            yield (
                f"{sequence} replaced by a rescaled copy of another",
                (_with(samples, row, copies[0][row]), _with(neighbours, row, copies[1][row])),
            )
    # Skull-stripped, air set to 0: fluid has some 8 Hounsfield units, tissue 25 to 40, noise 3. Whole CTs are refused
    # when they are read.
    fluid = samples[3] > np.percentile(samples[3], 93)
    for row in (0, 2):
        units = np.where(fluid, 8, 32) + generator.normal(0, 3, samples.shape[1])
        ahead = np.where(neighbours[row] > 0, units, 0)
        yield (
            f"{PAPER_ORDER[row]} replaced by a simulated CT, air 0",
            (_with(samples, row, units), _with(neighbours, row, ahead)),
        )


def _with(samples: Samples, row: int, values: npt.NDArray[np.floating]) -> Samples:
    result = samples.copy()
    result[row] = values
    return result


def turned(case: Case) -> Iterator[Form]:
    """The brain lies otherwise than the header says. Axes are those of BraTS: I to the left, J to posterior, K up."""
    turn = case.geometry.reorientation_to("LPS")
    mask = turn.apply(case.brain_mask)[1::COARSE, 1::COARSE, 1::COARSE]
    spacing = np.array(turn.target.spacing_mm) * COARSE
    forms = {
        "left and right exchanged": mask[::-1],
        "front and back exchanged": mask[:, ::-1],
        "top and bottom exchanged": mask[:, :, ::-1],
        "turned by 180 degrees about the long axis": mask[::-1, :, ::-1],
        "turned by 180 degrees, back to front": mask[::-1, ::-1],
        "turned by 90 degrees in the axial plane": np.rot90(mask, 1, (0, 1)),
        "turned by 90 degrees in the sagittal plane": np.rot90(mask, 1, (1, 2)),
        "turned by 90 degrees in the coronal plane": np.rot90(mask, 1, (0, 2)),
        "turned by 270 degrees in the sagittal plane": np.rot90(mask, 3, (1, 2)),
    }
    for name, found in forms.items():
        i, j, k = found.shape
        flag = brain_turned(found, Geometry((i, j, k), np.diag([-spacing[0], -spacing[1], spacing[2], 1])))
        yield name, [] if flag is None else [flag]


def every_third_slice(case: Case) -> Case:
    volumes = {sequence: volume[:, :, ::3] for sequence, volume in case.volumes.items()}
    i, j, k = volumes[PAPER_ORDER[0]].shape
    return replace(
        case, volumes=volumes, geometry=Geometry((i, j, k), case.geometry.affine @ np.diag([1, 1, 3, 1])), header=None
    )


def z_scored(case: Case, background: float) -> Case:
    volumes = {}
    for sequence, volume in case.volumes.items():
        inside = volume[case.brain_mask]
        volumes[sequence] = np.full(volume.shape, background, np.float32)
        volumes[sequence][case.brain_mask] = (inside - inside.mean()) / inside.std()
    return replace(case, volumes=volumes)


def skull_on(folder: Path) -> Iterator[Form]:
    """Yields the flags of each skull-on file as a case of four equal sequences, with its air as it is and with air
    of 0.
    """
    for path in sorted(path for path in folder.rglob("*") if is_nifti_name(path)):
        read = read_volume(path)
        bare = np.where(read.values > AIR_SHARE * np.percentile(read.values, 99), read.values, 0)
        for name, values in (("skull on", read.values), ("skull on, air set to 0", bare)):
            yield (
                name,
                check_case(Case(path.name, dict.fromkeys(PAPER_ORDER, values), read.geometry, header=read.header)),
            )


def no_tumour(folder: Path) -> Iterator[Form]:
    """Yields the flags of a brain without tumour: the scans themselves give no reason to doubt, so none are
    expected.
    """
    read = {
        sequence: read_volume(next(folder.rglob(f"{sequence.value.upper()}.nii.gz")))
        for sequence in PAPER_ORDER
        if sequence is not Sequence.T1CE
    }
    first = read[Sequence.T1]
    volumes = {sequence: volume.values for sequence, volume in read.items()}
    yield (
        "no tumour (a stroke), without T1ce",
        check_case(Case("stroke", volumes, first.geometry, header=first.header, without=frozenset({Sequence.T1CE}))),
    )
    yield (
        "no tumour (a stroke), T1 given as T1ce",
        check_case(
            Case(
                "stroke",
                {**volumes, Sequence.T1CE: np.rint(volumes[Sequence.T1] * 0.7)},
                first.geometry,
                header=first.header,
            )
        ),
    )


class Table:
    """Counts by form and flag, written after each case."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[str, dict[str, int]] = {}

    def add(self, found: Iterator[Form], case_id: str) -> None:
        """Counts the forms of a case."""
        for name, flags in found:
            names = {flag.name for flag in flags}
            row = self.counts.setdefault(name, dict.fromkeys(("forms", "any", *FLAGS), 0))
            row["forms"] += 1
            row["any"] += bool(names)
            for flag in names:
                row[flag] += 1
            if name == AS_IT_IS or name.startswith("no tumour"):
                print(case_id, " ".join(f"{flag.name}={flag.value:.3g}" for flag in flags) or "-", flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, str(self).encode())

    def __str__(self) -> str:
        lines = ["\t".join(("form of the case", "forms", "any", *FLAGS))]
        lines += ["\t".join((name, *map(str, row.values()))) for name, row in self.counts.items()]
        return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--skull-on", type=Path)
    parser.add_argument("--no-tumour", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    table, seconds = Table(options.output), []
    if options.no_tumour:
        table.add(no_tumour(options.no_tumour), "no tumour")
    for n, files in enumerate(itertools.chain.from_iterable(find_cases(folder) for folder in options.cases)):
        start = time.process_time()
        case = read_case(files)
        table.add(forms(case, whole=n % WHOLE_EVERY == 0), case.case_id)
        seconds.append(time.process_time() - start)
    if options.skull_on:
        table.add(skull_on(options.skull_on), "skull on")
    print(table, end="")
    print(f"median {np.median(seconds):.2f} s, slowest {max(seconds):.2f} s of CPU for all forms of a case")


if __name__ == "__main__":
    main()
