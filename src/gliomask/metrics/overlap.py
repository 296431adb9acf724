"""Overlap of a predicted region with its reference, voxel by voxel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gliomask.arrays import Mask
from gliomask.errors import GeometryError


@dataclass(frozen=True)
class Counts:
    """Voxels of the whole grid, by what the reference and the prediction say of them.

    The domain is the whole grid, air included, as in the BraTS 2023 code; so the specificity is near 1 for any tumour,
    and higher than in tables that count the brain alone (the 2018 server's, by its values).
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN where both regions are empty."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN); NaN where the reference is empty."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); NaN where the reference fills the grid."""
        return _ratio(self.true_negative, self.true_negative + self.false_positive)


def count(reference: Mask, prediction: Mask) -> Counts:
    """Counts the voxels of two masks of one shape.

    Raises:
        GeometryError: the shapes differ.
    """
    refuse_other_shape(reference, prediction)
    both = int(np.count_nonzero(reference & prediction))
    in_reference, in_prediction = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    return Counts(both, in_prediction - both, in_reference - both, reference.size - in_reference - in_prediction + both)


def refuse_other_shape(reference: Mask, prediction: Mask) -> None:
    """Raises GeometryError where the shapes differ."""
    if reference.shape != prediction.shape:
        raise GeometryError(
            f"The prediction has the shape {prediction.shape}, the reference {reference.shape}. Bring both to "
            "one grid first."
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
