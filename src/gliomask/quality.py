"""How far a result can be trusted, from the network's own probabilities: voxel by voxel, and as a Dice that is to be expected.

A network that is sure everywhere expects a Dice of 1 of itself; where it hesitates, the expected overlap drops. Networks are too sure of
themselves, so what they expect is mapped to what cross-validated cases had (`Calibration`; `benchmarks/calibrate_quality.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.arrays import LabelMap, Probabilities
from gliomask.labels import Region

SMOOTHING_VOXELS = 100.0
"""Added to both sides of the expected Dice: a region that the network neither finds nor suspects expects 1, and some doubtful voxels are
no doubt about a case. 0.1 ml at 1 mm."""


@dataclass(frozen=True)
class Estimate:
    """The Dice that one region is expected to have, and the interval that held the stated share of cross-validated cases."""

    dice: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """From what a network expects of itself to what it had: a straight line and the spread of cases about it, for each region.

    Args:
        lines: intercept and slope by region.
        spread: below and above the line, Dice, between which `coverage` of the cases lay that the line was not fitted to.
        coverage: their share, such as 0.8.
    """

    lines: Mapping[Region, tuple[float, float]]
    spread: Mapping[Region, tuple[float, float]]
    coverage: float

    def estimates(self, expected: Mapping[Region, float]) -> dict[Region, Estimate]:
        """Returns what is to be expected of each region."""
        found = {}
        for region, (intercept, slope) in self.lines.items():
            dice = _unit(intercept + slope * expected[region])
            below, above = self.spread[region]
            found[region] = Estimate(round(dice, 3), round(_unit(dice - below), 3), round(_unit(dice + above), 3))
        return found


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def entropy(probabilities: Probabilities) -> npt.NDArray[np.float32]:
    """Returns the entropy of each voxel's labels, 0 where the network is certain and 1 where all labels are equally likely.

    Args:
        probabilities: (..., labels) float32, summing to one.

    Returns:
        (...) float32.
    """
    result = np.zeros(probabilities.shape[:-1], np.float32)
    # Most of a volume is air, certain by construction; logarithms are for the rest.
    open_voxels = probabilities.max(axis=-1) < 1
    found = probabilities[open_voxels]
    bits = -(found * np.log(np.maximum(found, np.finfo(np.float32).tiny))).sum(axis=-1)
    result[open_voxels] = np.clip(bits / np.log(probabilities.shape[-1]), 0, 1)
    return result


def expected_dice(probabilities: Probabilities, label_map: LabelMap) -> dict[Region, float]:
    """Returns the Dice that the network expects a label map to have, if its probabilities are right and voxels independent.

    Twice the probability inside the predicted region over the sum of its voxels and of all probability: the overlap and the size that the
    true region would have on average (the plug-in estimate of the expected Dice).

    Args:
        probabilities: (I, J, K, 4) float32, one per label.
        label_map: (I, J, K), after post-processing.
    """
    found = {}
    for region in Region:
        # Summed label by label: picking labels by a list would copy the volume first.
        share = sum((probabilities[..., label] for label in region.labels[1:]), start=probabilities[..., region.labels[0]])
        mask = region.mask(label_map)
        overlap = float(share[mask].sum(dtype=np.float64))
        sizes = float(share.sum(dtype=np.float64)) + float(np.count_nonzero(mask))
        found[region] = (2 * overlap + SMOOTHING_VOXELS) / (sizes + SMOOTHING_VOXELS)
    return found
