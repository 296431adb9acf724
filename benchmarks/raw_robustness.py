"""Tries the raw route on what scanners and people may give, and says of each whether it came out right, was refused, or
was wrong:

    python benchmarks/raw_robustness.py --cases BRATS_FOLDER -o docs/tables/raw_robustness.tsv

The first prepared case of BRATS_FOLDER (another by --case) is put into a shell of fluid, bone and scalp
(`tests/heads.py`), moved between its four sequences, and scanned on grids of their own, so the answer is known. One row
a variant: what was varied, the outcome, the largest displacement of a sequence against the reference (mm, mean over the
brain), the displacement in the frame (mm; BraTS' own place of the case, see docs/raw.md), the lowest Dice of a brain
mask, CPU seconds, the process's peak memory so far (MB), and what was said on refusal. Right: co-registered to 3 mm,
turned in the frame by no more than 10 mm and masked to a Dice of 0.9.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from raw_route import dice, registration_rows, thinned_head

from gliomask.arrays import Affine, Volume
from gliomask.errors import GliomaskError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases, read_case
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.route import prepare_examination
from gliomask.preprocess.raw.transforms import inverse, move, turn
from gliomask.report.run_record import peak_memory_mb
from gliomask.sequences import PAPER_ORDER, Sequence

from heads import Head, posed  # isort: skip  (found by way of raw_route)

POSES = {
    # Degrees about the axes right, anterior, superior; shift in mm: as heads move between sequences.
    Sequence.FLAIR: ((9, 2, 6), (3, -4, 6)),
    Sequence.T1: ((14, -3, 4), (2, 5, -3)),
    Sequence.T1CE: ((11, 0, 2), (0, 0, 0)),
    Sequence.T2: ((6, 4, -5), (-4, 3, 5)),
}

CO_REGISTERED_MM, IN_FRAME_MM, MASK_DICE = 3.0, 10.0, 0.9
COLUMNS = ("variant", "outcome", "coregistration_mm", "frame_mm", "mask_dice", "cpu_seconds", "peak_mb", "said")


@dataclass(frozen=True)
class Grid:
    """A scanner's grid about its centre: the first letters of `axes` are those of the slices' own axes, the last is the
    direction of the slices.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axes: str = "RAS"
    tilt: tuple[float, float, float] = (0, 0, 0)
    shift_mm: tuple[float, float, float] = (0, 0, 0)

    def geometry(self) -> Geometry:
        """The grid in the world."""
        directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
        affine = np.eye(4)
        affine[:3, :3] = (
            turn(self.tilt) @ np.array([directions[letter] for letter in self.axes], float).T @ np.diag(self.spacing_mm)
        )
        affine[:3, 3] = self.shift_mm - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return Geometry(self.shape, affine)


GRIDS = {
    Sequence.FLAIR: Grid((104, 120, 36), (2.0, 2.0, 5.0), tilt=(12, 0, 0)),
    Sequence.T1: Grid((110, 116, 38), (1.9, 1.9, 5.0)),
    Sequence.T1CE: Grid((110, 116, 38), (1.9, 1.9, 5.0)),
    Sequence.T2: Grid((100, 118, 36), (2.1, 2.1, 5.2), tilt=(10, 3, 0)),
}


@dataclass(frozen=True)
class Variant:
    """How scans differ from plain ones.

    Args:
        turned: degrees added to every pose.
        grids: other grids, by sequence.
        alter: changes a scan's volume; called with it, its positions in the world (N, 3) and a generator.
        relabel: a matrix put before the affine that a sequence's header tells, which is then wrong.
        refused: the variant ought to be refused.
    """

    turned: tuple[float, float, float] = (0, 0, 0)
    grids: Mapping[Sequence, Grid] = field(default_factory=dict)
    alter: Callable[[Volume, np.ndarray, np.random.Generator], Volume] = lambda volume, world, generator: volume
    relabel: Mapping[Sequence, Affine] = field(default_factory=dict)
    refused: bool = False


def bias(volume: Volume, world: np.ndarray, generator: np.random.Generator) -> Volume:
    """A coil that is four times as sensitive on one side, in front and above as on the other."""
    slope = generator.normal(size=3)
    return (volume * np.exp(np.log(2) / 80 * (world @ (slope / np.linalg.norm(slope))).reshape(volume.shape))).astype(
        np.float32
    )


def noise(volume: Volume, _: np.ndarray, generator: np.random.Generator) -> Volume:
    """Noise of a fifth of the brain's signal, of magnitude images."""
    level = 0.2 * np.percentile(volume, 90)
    return np.hypot(volume + generator.normal(0, level, volume.shape), generator.normal(0, level, volume.shape)).astype(
        np.float32
    )


def everywhere(**changes: object) -> dict[Sequence, Grid]:
    return {sequence: Grid(**{**grid.__dict__, **changes}) for sequence, grid in GRIDS.items()}


def cut_above(mm: float) -> dict[Sequence, Grid]:
    """T2 ends so much below the top of its usual field of view (8 mm above the brain)."""
    grid = GRIDS[Sequence.T2]
    slices = 36 - round(mm / 5.2)
    return {
        Sequence.T2: Grid(
            (*grid.shape[:2], slices), grid.spacing_mm, tilt=grid.tilt, shift_mm=(0, 0, -5.2 * (36 - slices) / 2)
        )
    }


QUARTER = np.eye(4)
QUARTER[:3, :3] = turn((90, 0, 0))

VARIANTS = {
    "plain: 5 mm slices, head moved between sequences": Variant(),
    "turned 25 degrees to one side": Variant(turned=(0, 0, 25)),
    "tilted 20 degrees to the shoulder": Variant(turned=(0, 20, 0)),
    "chin 25 degrees down": Variant(turned=(-25, 0, 0)),
    "chin 20 degrees up": Variant(turned=(20, 0, 0)),
    "field of view 320 x 320 x 250 mm": Variant(grids=everywhere(shape=(128, 128, 50), spacing_mm=(2.5, 2.5, 5.0))),
    "7 mm slices": Variant(grids=everywhere(shape=(110, 120, 27), spacing_mm=(1.9, 1.9, 7.0))),
    "T1ce 1 mm isotropic, the others thick": Variant(grids={Sequence.T1CE: Grid((190, 220, 190), (1.0, 1.0, 1.0))}),
    "T1 sagittal, T2 coronal": Variant(
        grids={
            Sequence.T1: Grid((120, 100, 36), (2.0, 2.0, 5.0), "ASR"),
            Sequence.T2: Grid((100, 100, 42), (2.0, 2.0, 5.0), "RSA"),
        }
    ),
    "T1ce sagittal": Variant(grids={Sequence.T1CE: Grid((120, 100, 36), (2.0, 2.0, 5.0), "PSL")}),
    "stored in other orders (LPS, RPI, LAS, LPI)": Variant(
        grids={
            one: Grid(**{**GRIDS[one].__dict__, "axes": axes})
            for one, axes in zip(PAPER_ORDER, ("LPS", "RPI", "LAS", "LPI"), strict=True)
        }
    ),
    "coil twice to half as sensitive from side to side": Variant(alter=bias),
    "noise of a fifth of the signal": Variant(alter=noise),
    "T1ce of 512 x 512 x 200 voxels": Variant(grids={Sequence.T1CE: Grid((512, 512, 200), (0.47, 0.47, 0.95))}),
    "field of view begins at the cerebellum": Variant(
        grids=everywhere(shape=(110, 120, 29), tilt=(0, 0, 0), shift_mm=(0, 0, 14))
    ),
    "T2 ends 20 mm lower": Variant(grids=cut_above(20)),
    "T2 ends 60 mm lower": Variant(grids=cut_above(60), refused=True),
    "T2 with a header turned by 90 degrees": Variant(relabel={Sequence.T2: QUARTER}, refused=True),
}


def scan(head: Head, what: Volume, matrix: Affine, geometry: Geometry) -> Volume:
    """What a scanner sees of a head that lies where `matrix` puts it: averaged over the thickness of a slice."""
    total: Volume = np.zeros(geometry.shape, np.float32)
    places = (-1 / 3, 0, 1 / 3) if geometry.spacing_mm[2] > 2 else (0,)
    for place in places:
        moved = np.eye(4)
        moved[:3, 3] = geometry.affine[:3, 2] * place
        total += itk.resample(what, head.geometry, geometry, inverse(matrix) @ moved)
    return total / np.float32(len(places))


def examine(head: Head, variant: Variant) -> tuple[Examination, dict[Sequence, Affine]]:
    """Returns the scans, and for each the head's world to the scanner's as the header tells it."""
    generator, scans, truth = np.random.default_rng(7), {}, {}
    for sequence in PAPER_ORDER:
        degrees, shift = POSES[sequence]
        matrix = posed(head, np.add(degrees, variant.turned), shift)
        geometry = variant.grids.get(sequence, GRIDS[sequence]).geometry()
        volume = scan(head, head.volumes[sequence], matrix, geometry)
        if geometry.voxel_ml > 1e-3:
            index = np.indices(geometry.shape).reshape(3, -1).T
            volume = variant.alter(volume, move(geometry.affine, index.astype(np.float32)), generator)
        told = variant.relabel.get(sequence, np.eye(4))
        scans[sequence] = Scan(volume, Geometry(geometry.shape, told @ geometry.affine), sequence.value)
        truth[sequence] = told @ matrix
    return Examination("head", scans), truth


def try_variant(head: Head, name: str, variant: Variant) -> dict[str, str]:
    examination, truth = examine(head, variant)
    start = time.process_time()
    row = dict.fromkeys(COLUMNS, "") | {"variant": name}
    try:
        found = prepare_examination(examination)
    except GliomaskError as error:
        row |= {"outcome": "refused" if variant.refused else "refused, though it could be done", "said": str(error)}
    else:
        points = move(head.geometry.affine, np.argwhere(head.brain[::3, ::3, ::3]) * 3.0)
        apart = [mm for _, what, _, mm, _ in registration_rows("", dict(found.matrices), truth, points)]
        masks = [
            dice(
                found.mask_in(sequence), scan(head, head.brain.astype(np.float32), truth[sequence], one.geometry) > 0.5
            )
            for sequence, one in examination.scans.items()
        ]
        right = max(apart[1:]) < CO_REGISTERED_MM and apart[0] < IN_FRAME_MM and min(masks) > MASK_DICE
        row |= {"outcome": "right" if right else "wrong", "mask_dice": f"{min(masks):.3f}"}
        row |= {"coregistration_mm": f"{max(apart[1:]):.2f}", "frame_mm": f"{apart[0]:.2f}"}
    return row | {"cpu_seconds": f"{time.process_time() - start:.1f}", "peak_mb": f"{peak_memory_mb() or 0:.0f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--case", help="another case than the first")
    parser.add_argument("--only", nargs="*", default=[], help="variants whose names contain one of these")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    files = next(files for files in find_cases(options.cases) if options.case in (None, files.case_id))
    head = thinned_head(read_case(files))
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for name, variant in VARIANTS.items():
            if not options.only or any(word in name for word in options.only):
                row = try_variant(head, name, variant)
                writer.writerow(row)
                stream.flush()
                print("\t".join(row.values()), flush=True)


if __name__ == "__main__":
    main()
