"""The part of a grid where something is: metrics look at nothing else."""

from __future__ import annotations

import numpy as np

from gliomask.arrays import Mask

Box = tuple[slice, slice, slice]


def box_around(mask: Mask, margin: int = 0) -> Box:
    """Returns the smallest box that holds every true voxel of an (I, J, K) mask and `margin` voxels more, within the
    grid.

    An empty mask gives an empty box.
    """
    bounds = []
    for axis in range(3):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if occupied.size == 0:
            return slice(0, 0), slice(0, 0), slice(0, 0)
        bounds.append(slice(max(int(occupied[0]) - margin, 0), min(int(occupied[-1]) + 1 + margin, mask.shape[axis])))
    return bounds[0], bounds[1], bounds[2]
