"""All scores of one region of one case, under a policy for empty regions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gliomask.arrays import Mask
from gliomask.metrics.empty import Policy
from gliomask.metrics.lesionwise import score_lesions
from gliomask.metrics.overlap import count
from gliomask.metrics.surface import Spacing, hd95_mm


@dataclass(frozen=True)
class RegionScores:
    """Scores of one region. NaN is a blank cell.

    Args:
        dice: 0 to 1.
        sensitivity: 0 to 1.
        specificity_grid: 0 to 1, over the whole grid, air included.
        hd95_mm: by the policy's definition of a surface.
        reference_ml: volume of the reference region.
        prediction_ml: volume of the predicted region; NaN where there is no usable prediction.
        false_positive_ml: volume that was predicted although the reference region is empty; NaN where it is not.
        lesion_dice: lesion-wise Dice; NaN unless the policy has lesion rules, as are the following.
        lesion_hd95_mm: lesion-wise HD95.
        lesions_found: reference lesions that the prediction touches.
        lesions_missed: reference lesions that it does not.
        lesions_false: predicted components that touch no reference lesion.
    """

    dice: float
    sensitivity: float
    specificity_grid: float
    hd95_mm: float
    reference_ml: float
    prediction_ml: float
    false_positive_ml: float
    lesion_dice: float = math.nan
    lesion_hd95_mm: float = math.nan
    lesions_found: float = math.nan
    lesions_missed: float = math.nan
    lesions_false: float = math.nan


def score_region(reference: Mask, prediction: Mask, spacing_mm: Spacing, policy: Policy) -> RegionScores:
    """Scores a predicted region.

    Args:
        reference: (I, J, K).
        prediction: (I, J, K).
        spacing_mm: distance between neighbouring voxels along I, J, K.
        policy: what empty regions score, and whether lesions are scored one by one.

    Raises:
        GeometryError: the shapes differ.
    """
    counts = count(reference, prediction)
    in_reference = counts.true_positive + counts.false_negative
    in_prediction = counts.true_positive + counts.false_positive
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    scores = {
        "dice": counts.dice if in_reference or in_prediction else 1.0,
        "sensitivity": counts.sensitivity if in_reference else float(not in_prediction),
        "specificity_grid": counts.specificity,
        "hd95_mm": _hd95_mm(reference, prediction, spacing_mm, policy, (in_reference > 0) + (in_prediction > 0)),
        "reference_ml": in_reference * voxel_ml,
        "prediction_ml": in_prediction * voxel_ml,
        "false_positive_ml": math.nan if in_reference else in_prediction * voxel_ml,
    }
    if policy.lesions is not None:
        lesions = score_lesions(reference, prediction, spacing_mm, policy.lesions)
        scores |= {"lesion_dice": lesions.dice, "lesion_hd95_mm": lesions.hd95_mm}
        scores |= {"lesions_found": lesions.found, "lesions_missed": lesions.missed, "lesions_false": lesions.false}
    return RegionScores(**scores)


def _hd95_mm(reference: Mask, prediction: Mask, spacing_mm: Spacing, policy: Policy, regions: int) -> float:
    if regions == 2:
        return hd95_mm(reference, prediction, spacing_mm, policy.surface)
    return policy.hd95_one_empty_mm if regions else policy.hd95_both_empty_mm


def worst_scores(reference: Mask, spacing_mm: Spacing, policy: Policy) -> RegionScores:
    """Scores a case that has no usable prediction: 0, and the policy's greatest distance, also where the reference
    region is empty.

    An empty prediction would score Dice 1 there; giving that to a case that was never segmented would reward failing on
    it.
    """
    reference_ml = np.count_nonzero(reference) * float(np.prod(spacing_mm)) / 1000
    scores = RegionScores(0.0, 0.0, 0.0, policy.hd95_one_empty_mm, reference_ml, math.nan, math.nan)
    if policy.lesions is None:
        return scores
    missed = score_lesions(reference, np.zeros_like(reference), spacing_mm, policy.lesions).missed
    lesions = {
        "lesion_dice": 0.0,
        "lesion_hd95_mm": policy.lesions.penalty_mm,
        "lesions_found": 0,
        "lesions_missed": missed,
        "lesions_false": 0,
    }
    return RegionScores(**{**vars(scores), **lesions})
