"""What a region scores where the reference, the prediction or both are empty: a policy, always named.

Some gliomas have no enhancing tumour at all; so one set of predictions can have a mean HD95 of ET of 3 mm under one
policy and 18 mm under another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gliomask.errors import UsageError
from gliomask.metrics.lesionwise import BRATS2023_GLIOMA, LesionRules
from gliomask.metrics.surface import SurfaceDefinition


@dataclass(frozen=True)
class Policy:
    """How a BraTS edition scores; in all of them two empty regions have Dice 1 and sensitivity 1, and one empty region
    has 0 and 0.

    Args:
        name: what users call it.
        hd95_both_empty_mm: HD95 where both regions are empty; NaN leaves the cell blank and the case out of the mean.
        hd95_one_empty_mm: HD95 where one of them is; likewise.
        surface: the HD95 definition of that edition's tools.
        lesions: rules of lesion-wise scores, where the edition has them.
        description: in words, for tables and help.
    """

    name: str
    hd95_both_empty_mm: float
    hd95_one_empty_mm: float
    surface: SurfaceDefinition
    lesions: LesionRules | None
    description: str


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        # As the server's own table of 66 validation cases shows (Stats_Validation_final.csv in
        # China-LiuXiaopeng/BraTS-DMFNet, 3194707).
        Policy(
            "brats2018",
            math.nan,
            math.nan,
            SurfaceDefinition.BORDER_VOXELS,
            None,
            "HD95 blank, and left out of the mean, where a region is empty",
        ),
        # The diagonal of 240 x 240 x 155 mm, as in nnU-Net v1's Task082 (0e49508).
        Policy(
            "brats2020",
            0.0,
            373.12866,
            SurfaceDefinition.BORDER_VOXELS,
            None,
            "HD95 0 where both regions are empty, 373.12866 mm where one is",
        ),
        Policy(
            "brats2023",
            0.0,
            BRATS2023_GLIOMA.penalty_mm,
            SurfaceDefinition.SURFACE_ELEMENTS,
            BRATS2023_GLIOMA,
            "HD95 0 where both regions are empty, 374 mm where one is; lesion-wise scores besides",
        ),
    )
}
"""Every policy, by name."""


def policy(name: str) -> Policy:
    """Returns the policy of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return POLICIES[name]
    except KeyError:
        raise UsageError(f"There is no policy '{name}' for empty regions. Known ones: {', '.join(POLICIES)}.") from None
