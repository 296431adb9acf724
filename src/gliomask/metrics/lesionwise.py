"""Scores lesion by lesion, as BraTS 2023 ranks: a lesion that was missed or invented counts as much as one that was
outlined badly.

The method and its constants are those of the challenge's own code (rachitsaluja/BraTS-2023-Metrics, 43c9052): reference
lesions are the parts of the reference that a few dilations run together; each is held against all predicted components
that its dilated form touches; predicted components that no lesion touches are false, whatever their size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gliomask.arrays import Mask
from gliomask.metrics.crop import box_around
from gliomask.metrics.overlap import count, refuse_other_shape
from gliomask.metrics.surface import Spacing, SurfaceDefinition, hd95_mm

_DILATION = ndimage.generate_binary_structure(3, 2)
_TOUCHING = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True)
class LesionRules:
    """Constants of a challenge.

    Args:
        dilations: steps of 18-neighbour dilation that run reference lesions together.
        ignored_mm3: reference lesions up to this volume are left out.
        penalty_mm: HD95 of a lesion that was missed or invented.
    """

    dilations: int
    ignored_mm3: float
    penalty_mm: float


BRATS2023_GLIOMA = LesionRules(dilations=3, ignored_mm3=50, penalty_mm=374)


@dataclass(frozen=True)
class LesionScores:
    """Means over the reference lesions and the false predicted ones.

    Args:
        dice: 1 where there is nothing to score.
        hd95_mm: 0 where there is nothing to score.
        found: reference lesions that a prediction touches.
        missed: reference lesions that none touches.
        false: predicted components that touch no reference lesion.
    """

    dice: float
    hd95_mm: float
    found: int
    missed: int
    false: int


def score_lesions(
    reference: Mask, prediction: Mask, spacing_mm: Spacing, rules: LesionRules = BRATS2023_GLIOMA
) -> LesionScores:
    """Scores the lesions of one region.

    Args:
        reference: (I, J, K).
        prediction: (I, J, K).
        spacing_mm: distance between neighbouring voxels along I, J, K.
        rules: the challenge's constants.

    Raises:
        GeometryError: the shapes differ.
    """
    refuse_other_shape(reference, prediction)
    # With the margin, what dilations join outside the box of the two masks is joined here too.
    box = box_around(reference | prediction, margin=rules.dilations)
    reference, prediction = reference[box], prediction[box]
    components, component_count = ndimage.label(prediction, structure=_TOUCHING)
    lesions, lesion_count = ndimage.label(
        ndimage.binary_dilation(reference, _DILATION, iterations=rules.dilations), structure=_TOUCHING
    )
    voxel_mm3 = float(np.prod(spacing_mm))
    touched: set[int] = set()
    scores, missed = [], 0
    for number in range(1, lesion_count + 1):
        around = lesions == number
        lesion = reference & around
        touching = np.setdiff1d(components[around], [0])
        touched |= set(touching.tolist())
        if np.count_nonzero(lesion) * voxel_mm3 <= rules.ignored_mm3:
            continue
        missed += touching.size == 0
        scores.append(_score_lesion(lesion, np.isin(components, touching), spacing_mm, rules))
    false = component_count - len(touched)
    total = len(scores) + false
    if total == 0:
        return LesionScores(1.0, 0.0, 0, 0, 0)
    dice = sum(score[0] for score in scores) / total
    return LesionScores(
        dice,
        (sum(score[1] for score in scores) + false * rules.penalty_mm) / total,
        len(scores) - missed,
        missed,
        false,
    )


def _score_lesion(lesion: Mask, predicted: Mask, spacing_mm: Spacing, rules: LesionRules) -> tuple[float, float]:
    """Dice and HD95 of one lesion against the components that touch it."""
    if not predicted.any():
        return 0.0, rules.penalty_mm
    return count(lesion, predicted).dice, hd95_mm(lesion, predicted, spacing_mm, SurfaceDefinition.SURFACE_ELEMENTS)
