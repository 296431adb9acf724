"""Voxels without a number, NaN: those that mark what lies outside, and those among the others.

SPM writes NaN outside the field of view when it reslices. A brain has a few voxels of 0 of its own, which become NaN
with the air.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy

from gliomask.air import faces
from gliomask.arrays import Volume, short_repr
from gliomask.errors import CaseError

NAN_ISLANDS = 1e-3
"""Share of the finite voxels up to which NaN may also lie away from the border."""

LARGEST_HOLE = 100
"""Voxels of the largest hole that is filled. In 28 sequences of real brains up to 437 voxels are 0 within others, in
pieces of up to 25; a ball of 100 is 6 mm wide at 1 mm."""

NO_NUMBER = (
    "NaN counts as air only where it reaches the border of the field of view. Find out where they come from before "
    "segmenting."
)
"""What to do about a volume that `without_nan` does not mend."""

TOLD = 3
"""Places that a message names."""

_STEPS = tuple(step[::-1] for step in product((-1, 0, 1), repeat=3) if any(step))
"""To the 26 neighbours, the first axis fastest, so that sums are the same in the browser."""


@dataclass(frozen=True, eq=False)
class Nan:
    """The NaN of one sequence that were mended.

    Args:
        outside: how many reached the border of the field of view, and became 0.
        filled: (N, 3), the voxels that did not, the first axis fastest; each took the mean of its neighbours.
    """

    outside: int = 0
    filled: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros((0, 3), np.intp))

    __repr__ = short_repr


def without_nan(volume: Volume) -> tuple[Volume, Nan]:
    """Returns a volume with 0 where NaN marks what lies outside the field of view or the brain, and what was mended.

    Such NaN reach the border of the field of view. Beside them up to `NAN_ISLANDS` of the other voxels may be NaN, in
    holes of up to `LARGEST_HOLE` voxels, which are filled from their neighbours.

    Args:
        volume: (I, J, K); the same object comes back where nothing in it is NaN, or where its NaN mean something else.
    """
    if not np.isnan(volume.min()):
        return volume, Nan()
    bad = np.isnan(volume)
    labelled, _ = scipy.ndimage.label(bad)
    outside = np.unique(np.concatenate([face.ravel() for face in faces(labelled)]))
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    count, at_border = int(sizes.sum()), int(sizes[outside].sum())
    sizes[outside] = 0
    if not at_border or count - at_border > NAN_ISLANDS * (volume.size - count) or sizes.max() > LARGEST_HOLE:
        return volume, Nan()
    holes = np.argwhere((sizes > 0)[labelled].T)[:, ::-1]
    filled = _filled(volume, holes)
    filled[np.isnan(filled)] = 0
    return filled, Nan(at_border, holes)


def _filled(volume: Volume, holes: npt.NDArray[np.intp]) -> Volume:
    """A copy in which each hole has the mean of those of its 26 neighbours that have a number, from the rim inwards."""
    result = volume.copy()
    while len(holes):
        total, known = np.zeros(len(holes)), np.zeros(len(holes), np.intp)
        for step in _STEPS:
            near = holes + step
            in_range = ((near >= 0) & (near < volume.shape)).all(axis=1)
            values = np.full(len(holes), np.nan)
            values[in_range] = result[tuple(near[in_range].T)]
            number = ~np.isnan(values)
            total[number] += values[number]
            known += number
        rim = known > 0
        result[tuple(holes[rim].T)] = (total[rim] / known[rim]).astype(np.float32)
        holes = holes[~rim]
    return result


def value_range(volume: Volume, name: str) -> tuple[float, float]:
    """Returns the least and the largest value.

    Args:
        volume: (I, J, K), see `without_nan`.
        name: of the volume, which a message begins with.

    Raises:
        CaseError: voxels are NaN or infinite; the message says how many and where.
    """
    low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all():
        places = np.argwhere(~np.isfinite(volume).T)[:, ::-1]
        voxels = "1 voxel that is" if len(places) == 1 else f"{len(places):,} voxels that are"
        raise CaseError(f"{name} holds {voxels} NaN or infinite, {at(places)}. {NO_NUMBER}")
    return low, high


def at(places: npt.NDArray[np.intp]) -> str:
    """Returns where voxels lie, in words: (N, 3) indices, N at least 1."""
    words = ", ".join("({}, {}, {})".format(*place) for place in places[:TOLD].tolist())
    return f"at voxel {words}" + ("" if len(places) <= TOLD else " and others")
