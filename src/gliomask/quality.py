"""How far a result can be trusted, from the network's own probabilities: voxel by voxel, and as a Dice that is to be
expected.

A network that is sure everywhere expects a Dice of 1 of itself; where it hesitates, the expected overlap drops.
Networks are too sure of themselves, so what they expect is mapped to what cross-validated cases had (`Calibration`;
`benchmarks/calibrate_quality.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.arrays import LabelMap, Probabilities
from gliomask.labels import Label, Region

SMOOTHING_VOXELS = 100.0
"""Added to both sides of the expected Dice: a region that the network neither finds nor suspects expects 1, and some
doubtful voxels are no doubt about a case. 0.1 ml at 1 mm."""

PLANES = 16
"""How many planes of a volume are worked on together: logarithms of a whole volume would take several times the memory
of the volume.
"""


@dataclass(frozen=True)
class Estimate:
    """The Dice that one region is expected to have, and the interval that held the stated share of cross-validated
    cases.
    """

    dice: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """From what a network expects of itself to what it had: a straight line and the spread of cases about it, for each
    region.

    Args:
        lines: intercept and slope by region.
        spread: below and above the line, Dice, between which `coverage` of the cases lay that the line was not fitted
            to.
        coverage: their share, such as 0.8.
    """

    lines: Mapping[Region, tuple[float, float]]
    spread: Mapping[Region, tuple[float, float]]
    coverage: float

    def estimates(self, expected: Mapping[Region, float]) -> dict[Region, Estimate]:
        """Returns what is to be expected of each region."""
        estimates = {}
        for region, (intercept, slope) in self.lines.items():
            dice = _unit(intercept + slope * expected[region])
            below, above = self.spread[region]
            estimates[region] = Estimate(round(dice, 3), round(_unit(dice - below), 3), round(_unit(dice + above), 3))
        return estimates


@dataclass(frozen=True)
class Cost:
    """What it costs that a patient lacks sequences: the same cross-validated cases with them and without.

    Args:
        cases: how many there were.
        median_dice: that they had without, by region.
        median_dice_of_all: that they had with all sequences.
    """

    cases: int
    median_dice: Mapping[Region, float]
    median_dice_of_all: Mapping[Region, float]


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def entropy(probabilities: Probabilities) -> npt.NDArray[np.float32]:
    """Returns the entropy of each voxel's labels, 0 where the network is certain and 1 where all labels are equally
    likely.

    Args:
        probabilities: (..., labels) float32, summing to one.

    Returns:
        (...) float32.
    """
    result = np.zeros(probabilities.shape[:-1], np.float32)
    for first in range(0, len(probabilities), PLANES):
        part = probabilities[first : first + PLANES]
        # Most of a volume is air, certain by construction; logarithms are for the rest.
        open_voxels = part.max(axis=-1) < 1
        probabilities_here = part[open_voxels]
        nats = -(probabilities_here * np.log(np.maximum(probabilities_here, np.finfo(np.float32).tiny))).sum(axis=-1)
        result[first : first + PLANES][open_voxels] = np.clip(nats / np.log(probabilities.shape[-1]), 0, 1)
    return result


def disagreement(mean: Probabilities, mean_entropy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns how far several passes of a network disagree at each voxel: the entropy of their mean less the mean of
    their entropies.

    This is the mutual information between the label and the pass that is asked (Houlsby et al. 2011, arXiv:1112.5745;
    Smith and Gal 2018, arXiv:1803.08533): 0 where all passes say the same, however unsure each of them is, and 1 where
    four passes are certain of four labels. What is left of the entropy is the doubt that every pass has by itself.

    Args:
        mean: (..., labels) float32, the mean of the passes' probabilities.
        mean_entropy: (...) float32, the mean of each pass's `entropy`.

    Returns:
        (...) float32, 0 to 1. Entropy is concave, so it is not negative but for rounding, which is cut off.
    """
    result = entropy(mean)
    result -= mean_entropy
    return np.maximum(result, np.float32(0), out=result)


def region_share(probabilities: Probabilities, region: Region) -> npt.NDArray[np.float32]:
    """Returns the probability of a region at each voxel, (I, J, K): the sum of its labels'."""
    # Summed label by label: picking labels by a list would copy the volume first.
    share: npt.NDArray[np.float32] = sum(
        (probabilities[..., label] for label in region.labels[1:]), start=probabilities[..., region.labels[0]]
    )
    return share


def dice_to_expect(inside: float, everywhere: float, voxels: int) -> float:
    """Returns the plug-in estimate of the expected Dice of one region.

    Args:
        inside: sum of the region's probability over the voxels of the predicted region.
        everywhere: the same over the whole volume.
        voxels: of the predicted region.
    """
    return (2 * inside + SMOOTHING_VOXELS) / (everywhere + voxels + SMOOTHING_VOXELS)


def expected_dice(probabilities: Probabilities, label_map: LabelMap) -> dict[Region, float]:
    """Returns the Dice that the network expects a label map to have, if its probabilities are right and voxels
    independent.

    Twice the probability inside the predicted region over the sum of its voxels and of all probability: the overlap and
    the size that the true region would have on average (the plug-in estimate of the expected Dice).

    Args:
        probabilities: (I, J, K, 4) float32, one per label.
        label_map: (I, J, K), after post-processing.
    """
    labels = [label for label in Label if label != Label.BACKGROUND]
    # Label by label, for a sum of several labels' probabilities would be a further volume.
    everywhere: dict[Label, float] = {label: float(probabilities[..., label].sum(dtype=np.float64)) for label in labels}
    expected = {}
    # Along the first axis alone: that is enough to save most of the time.
    rows = np.flatnonzero(label_map.any(axis=(1, 2)))
    near = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0)
    for region in Region:
        mask = region.mask(label_map[near])
        inside = math.fsum(
            float(probabilities[near, ..., label].sum(dtype=np.float64, where=mask)) for label in region.labels
        )
        expected[region] = dice_to_expect(
            inside, math.fsum(everywhere[label] for label in region.labels), int(np.count_nonzero(mask))
        )
    return expected
