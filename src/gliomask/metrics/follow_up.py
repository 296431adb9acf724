"""How a tumour changed between examinations: amounts against the first and the smallest, and lesions that were not
there before.
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gliomask.arrays import Mask
from gliomask.errors import GeometryError
from gliomask.geometry import Geometry

_TOUCHING = np.ones((3, 3, 3), np.bool_)


@dataclass(frozen=True)
class Change:
    """A volume against an earlier one.

    Args:
        difference_ml: the later minus the earlier.
        percent: the same as a share of the earlier; None where that was 0, against which no share can be told.
    """

    difference_ml: float
    percent: float | None


@dataclass(frozen=True)
class Changes:
    """One time point against those before it; None at the first.

    Args:
        from_baseline: against the first.
        from_nadir: against the smallest of all earlier ones.
    """

    from_baseline: Change | None
    from_nadir: Change | None


def changes(volumes_ml: Ordered[float]) -> list[Changes]:
    """Returns the changes at every time point of a series of volumes, in the order of time."""
    result = []
    for n, later in enumerate(volumes_ml):
        earlier = volumes_ml[:n]
        result.append(
            Changes(_change(earlier[0], later), _change(min(earlier), later)) if earlier else Changes(None, None)
        )
    return result


def _change(earlier: float, later: float) -> Change:
    return Change(later - earlier, 100 * (later - earlier) / earlier if earlier > 0 else None)


@dataclass(frozen=True)
class NewLesion:
    """A part of a tumour that touches nothing of any earlier one.

    Args:
        voxels: how many.
        centre_voxel: mean position, I, J, K, counted from 0.
    """

    voxels: int
    centre_voxel: tuple[float, float, float]


def new_lesions(later: Mask, earlier: Mask) -> list[NewLesion]:
    """Returns the 26-connected components of a mask that have no voxel in an earlier one nor beside it, the largest
    first.

    Args:
        later: (I, J, K).
        earlier: (I, J, K), on the same grid, of images that are registered to the later ones; all earlier time points
            together.

    Raises:
        GeometryError: the shapes differ.
    """
    if earlier.shape != later.shape:
        raise GeometryError(
            f"The earlier tumour has the shape {earlier.shape}, the later {later.shape}. Bring both to one grid first."
        )
    components, count = ndimage.label(later, _TOUCHING)
    if count == 0:
        return []
    touched = set(np.unique(components[ndimage.binary_dilation(earlier, _TOUCHING)]).tolist())
    fresh = [number for number in range(1, count + 1) if number not in touched]
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    centres = ndimage.center_of_mass(later, components, fresh) if fresh else []
    lesions = [
        NewLesion(int(sizes[number]), (float(at[0]), float(at[1]), float(at[2])))
        for number, at in zip(fresh, centres, strict=True)
    ]
    return sorted(lesions, key=lambda lesion: -lesion.voxels)


def carried_over(mask: Mask, source: Geometry, target: Geometry) -> Mask:
    """Returns a mask on another grid, by the two affines: each voxel takes the nearest one of the source; outside it
    there is nothing.

    Args:
        mask: (I, J, K) on the source's grid.
        source: where the mask lies.
        target: where it is wanted. Nothing is registered: both affines must speak of the same patient coordinates.

    Raises:
        GeometryError: the mask does not have the source's shape.
    """
    if mask.shape != source.shape:
        raise GeometryError(f"The mask has the shape {mask.shape}, its grid has {source.shape}.")
    if source.same_grid(target):
        return mask
    between = np.linalg.inv(source.affine) @ target.affine
    return np.asarray(
        ndimage.affine_transform(mask.astype(np.uint8), between[:3, :3], between[:3, 3], target.shape, order=0),
        np.bool_,
    )
