"""What a network thought of each region of a case, small enough to keep for a whole cross-validation: about a megabyte.

Post-processing, rules about enhancement and calibrations are chosen after the networks have run; with these files they
can be tried on the probabilities without running the networks again. `benchmarks/cross_validate.py` writes them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomask.arrays import LabelMap, Probabilities
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.quality import dice_to_expect, region_share

STEPS = 255
"""Probabilities are kept in steps of one 255th; the sums over the volume, which would pile up what rounding takes, are
kept as they are.
"""


@dataclass(frozen=True, eq=False)
class RegionProbabilities:
    """The probabilities of the three regions in the grid of the case.

    Args:
        shape: of the whole volume.
        box: the part of it outside which no probability reaches half a step.
        steps: by region, (box) uint8, in steps of one 255th.
        sums: by region, the sum of the probability over the whole volume, before rounding.
    """

    shape: tuple[int, int, int]
    box: tuple[slice, slice, slice]
    steps: dict[Region, npt.NDArray[np.uint8]]
    sums: dict[Region, float]

    @classmethod
    def of(cls, probabilities: Probabilities) -> RegionProbabilities:
        """Those of a result, (I, J, K, 4)."""
        shares = {region: region_share(probabilities, region) for region in Region}
        steps = {region: np.rint(share * STEPS).astype(np.uint8) for region, share in shares.items()}
        box = _box(steps[Region.WT] > 0)
        i, j, k = probabilities.shape[:3]
        sums = {region: float(share.sum(dtype=np.float64)) for region, share in shares.items()}
        return cls((i, j, k), box, {region: values[box].copy() for region, values in steps.items()}, sums)

    def volume(self, region: Region) -> npt.NDArray[np.float32]:
        """Returns the probability of a region everywhere, (I, J, K)."""
        full = np.zeros(self.shape, np.float32)
        full[self.box] = self.steps[region] / np.float32(STEPS)
        return full

    def expected_dice(self, label_map: LabelMap) -> dict[Region, float]:
        """As `quality.expected_dice`, for any label map of the case."""
        found = {}
        for region in Region:
            mask = region.mask(label_map)
            inside = float(self.steps[region][mask[self.box]].sum(dtype=np.int64)) / STEPS
            found[region] = dice_to_expect(inside, self.sums[region], int(np.count_nonzero(mask)))
        return found

    def write(self, path: Path) -> None:
        """Writes them as a compressed npz, whole or not at all."""
        bounds = np.array([(part.start, part.stop) for part in self.box])
        content = io.BytesIO()
        np.savez_compressed(
            content,
            shape=np.array(self.shape),
            bounds=bounds,
            sums=np.array([self.sums[region] for region in Region]),
            **{region.value: values for region, values in self.steps.items()},
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> RegionProbabilities:
        """Reads what `write` wrote."""
        with np.load(path, allow_pickle=False) as found:
            i, j, k = (int(length) for length in found["shape"])
            a, b, c = (slice(int(low), int(high)) for low, high in found["bounds"])
            steps = {region: found[region.value] for region in Region}
            return cls(
                (i, j, k),
                (a, b, c),
                steps,
                {region: float(total) for region, total in zip(Region, found["sums"], strict=True)},
            )


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    bounds = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        bounds.append(slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0))
    return bounds[0], bounds[1], bounds[2]
