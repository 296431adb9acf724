"""How far from its place in BraTS' frame a patient comes to lie when its bare brain is registered to an average brain,
whichever average that is:

    python benchmarks/frame_scatter.py BRATS_FOLDER -o docs/tables/frame_scatter.tsv

Prepared cases are in the frame, so the rigid map that is found should be the identity. Tried for every third case, from
the identity, with the route's own measure and finest level: its template (MNI152, laid into the frame), and the mean T1
and the mean T1ce of all the other cases, which are as near to "the brain in the frame" as an average can be. One row a
case and template: displacement, mean over the brain, and how far the brain's middle moved (mm).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi

from gliomask.arrays import Volume
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases
from gliomask.io.nifti import read_volume
from gliomask.preprocess.raw.align import COMPARED_MM, FRAME_LEVELS
from gliomask.preprocess.raw.atlas import BRATS_FRAME, load_atlas
from gliomask.preprocess.raw.registration import Comparison, Image, Level
from gliomask.preprocess.raw.transforms import distance_mm, move
from gliomask.sequences import Sequence

EVERY = 3
POINTS = 10_000
INSIDE = 0.15
"""Share of a brain's median above which a mean of brains is compared, with what lies within `COMPARED_MM` of it."""


def halved(path: Path) -> Volume:
    """A volume of the frame at 2 mm, its brain's median 1."""
    whole = read_volume(path).values[:, :, :154]
    volume = whole.reshape(120, 2, 120, 2, 77, 2).mean((1, 3, 5))
    return (volume / np.median(volume[volume > 0])).astype(np.float32)


def halved_frame() -> Geometry:
    affine = BRATS_FRAME.affine @ np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (BRATS_FRAME.affine @ [0.5, 0.5, 0.5, 1])[:3]
    return Geometry((120, 120, 77), affine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    cases, grid, atlas = find_cases(options.folder), halved_frame(), load_atlas()
    brains = {
        sequence: [halved(case.sequences[sequence]) for case in cases] for sequence in (Sequence.T1, Sequence.T1CE)
    }
    sums = {sequence: np.sum(volumes, axis=0, dtype=np.float32) for sequence, volumes in brains.items()}
    level = Level(FRAME_LEVELS[-1].spacing_mm, POINTS, FRAME_LEVELS[-1].tolerance_mm, FRAME_LEVELS[-1].rounds)
    template = Image(atlas.t1, atlas.geometry, np.asarray(atlas.depth_mm < COMPARED_MM))
    rows = []
    for n in range(1, len(cases), EVERY):
        pairs = [("MNI152", template, brains[Sequence.T1][n])]
        for sequence, volumes in brains.items():
            mean = (sums[sequence] - volumes[n]) / (len(cases) - 1)
            near = ndi.binary_dilation(mean > INSIDE, iterations=round(COMPARED_MM / 2))
            pairs.append((f"mean {sequence.value} of the others", Image(mean, grid, near), volumes[n]))
        points = move(grid.affine, np.argwhere(brains[Sequence.T1][n][::3, ::3, ::3] > 0) * 3.0)
        for name, fixed, moving in pairs:
            matrix = Comparison(fixed, Image(moving, grid), level).register(np.eye(4), "rigid").matrix
            shift = (move(matrix, points) - points).mean(axis=0)
            rows.append(
                [
                    cases[n].case_id,
                    name,
                    f"{distance_mm(matrix, np.eye(4), points).mean():.2f}",
                    *(f"{mm:.1f}" for mm in shift),
                ]
            )
            print(*rows[-1], sep="\t", flush=True)
    with options.output.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["case", "registered to", "displacement_mm", "right_mm", "front_mm", "up_mm"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
