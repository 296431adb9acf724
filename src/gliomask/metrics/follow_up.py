"""How a tumour changed between examinations: amounts against the first and the smallest, and lesions that were not there before."""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from gliomask.arrays import Mask
from gliomask.errors import GeometryError

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
        result.append(Changes(_change(earlier[0], later), _change(min(earlier), later)) if earlier else Changes(None, None))
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
    """Returns the 26-connected components of a mask that have no voxel in an earlier one nor beside it, the largest first.

    Args:
        later: (I, J, K).
        earlier: (I, J, K), on the same grid, of images that are registered to the later ones; all earlier time points together.

    Raises:
        GeometryError: the shapes differ.
    """
    if earlier.shape != later.shape:
        raise GeometryError(f"The earlier tumour has the shape {earlier.shape}, the later {later.shape}. Bring both to one grid first.")
    components, count = ndimage.label(later, _TOUCHING)
    if count == 0:
        return []
    touched = np.unique(components[ndimage.binary_dilation(earlier, _TOUCHING)]) if earlier.any() else []
    fresh = [number for number in range(1, count + 1) if number not in set(touched)]
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    centres = ndimage.center_of_mass(later, components, fresh) if fresh else []
    lesions = [NewLesion(int(sizes[number]), (float(at[0]), float(at[1]), float(at[2]))) for number, at in zip(fresh, centres, strict=True)]
    return sorted(lesions, key=lambda lesion: -lesion.voxels)
