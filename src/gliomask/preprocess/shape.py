"""How a brain lies in its grid, from the outline of its mask alone: is left to right what the header says, is up up, is
front front?

A brain is longest from front to back, its halves mirror each other left and right, it tapers to the front, and its
lower part, the cerebellum, lies at the back. None of that tells left from right, which no outline can.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Mask
from gliomask.geometry import Geometry

COARSE_MM = 3.0
"""Distance between the voxels that are looked at."""

FEWEST_VOXELS = 1000

LPS = "LPS"

LIMITS = {"width": 1.0, "height": 1.0, "mirror": 0.02, "front": 0.1, "pitch": 0.1}
"""Largest measures of a brain that lies as its header says, see `OrientationMeasures`. 65 patients of BraTS, three
more and a stroke in another frame have at most 0.94, 0.87, -0.05, -0.14 and -0.01. A turn by 90 degrees takes the
inverse of the first two; a flip changes the signs of the last two."""


OUTLINE_FILE, OUTLINE_MM, OUTLINE_SHAPE = "brain_outline.bin", 4.0, (50, 58, 52)
"""The average brain, MNI152 in BraTS space, axes to the left, to posterior and up; made by
`scripts/make_brain_outline.py`.
"""

PITCHES_DEGREES = range(-30, 31, 6)
SHIFTS_MM = (-12.0, 0.0, 12.0)
"""Poses in which a mask is laid on the average brain: nodding so much, and moved up and down."""


@dataclass(frozen=True)
class OrientationMeasures:
    """How a brain lies, in numbers.

    Args:
        width: spread from left to right over that from front to back.
        height: spread from bottom to top over that from front to back.
        mirror: how much better the brain matches its mirror image top to bottom than left to right, a difference of
            Dice.
        front: skewness from front to back; negative, since the brain tapers to the front.
        pitch: correlation of the way up with the way back; negative, since what lies low lies at the back.
    """

    width: float
    height: float
    mirror: float
    front: float
    pitch: float


def orientation_measures(mask: Mask, geometry: Geometry) -> OrientationMeasures | None:
    """Measures the outline of a brain on a coarse grid; None where there is too little of it.

    Args:
        mask: (I, J, K), True inside the brain.
        geometry: its grid.
    """
    coarse, spacing = _thinned(mask, geometry, COARSE_MM)
    places = np.argwhere(coarse) * spacing
    if len(places) < FEWEST_VOXELS:
        return None
    centred = places - places.mean(axis=0)
    spread = centred.std(axis=0)
    if not spread.all():
        return None
    _, back, up = (centred / spread).T
    width, length, height = spread
    mirror = _likeness_to_mirror(coarse, 2) - _likeness_to_mirror(coarse, 0)
    return OrientationMeasures(
        float(width / length), float(height / length), mirror, float((back**3).mean()), float((back * up).mean())
    )


def _thinned(mask: Mask, geometry: Geometry, step_mm: float) -> tuple[Mask, npt.NDArray[np.float64]]:
    """Returns every nth voxel of a mask in LPS order, about `step_mm` apart, and how far apart they are on each axis,
    mm.
    """
    turn = geometry.reorientation_to(LPS)
    steps = tuple(max(1, round(step_mm / mm)) for mm in turn.target.spacing_mm)
    return turn.apply(mask)[tuple(slice(step // 2, None, step) for step in steps)], np.array(
        turn.target.spacing_mm
    ) * steps


def _likeness_to_mirror(mask: npt.NDArray[np.bool_], axis: int) -> float:
    """Dice of a mask with its mirror image about its own middle."""
    along = np.arange(mask.shape[axis])
    middle = float((mask.sum(axis=tuple({0, 1, 2} - {axis})) * along).sum() / mask.sum())
    opposite = np.rint(2 * middle - along).astype(int)
    in_range = (opposite >= 0) & (opposite < len(along))
    both = np.compress(in_range, mask, axis=axis) & np.take(mask, opposite[in_range], axis=axis)
    return 2 * float(both.sum()) / float(2 * mask.sum())


def misfit(measures: OrientationMeasures) -> tuple[str, float, float] | None:
    """Returns what is wrong with how a brain lies, in words, the measure that says so and its limit; None where nothing
    is.
    """
    words = {
        "width": "it is longer from left to right than from front to back",
        "height": "it is longer from bottom to top than from front to back",
        "mirror": "what the header calls top and bottom are more alike than left and right",
        "front": "it tapers to the back, so front and back are exchanged",
        "pitch": "its lower part lies at the front, so top and bottom are exchanged",
    }
    for name, what in words.items():
        value = float(getattr(measures, name))
        if value > LIMITS[name]:
            return what, value, LIMITS[name]
    return None


def packed_outline() -> bytes:
    """Returns the average brain as bits: `OUTLINE_SHAPE` in C order, the first voxel in the highest bit of a byte."""
    return (files("gliomask.preprocess") / OUTLINE_FILE).read_bytes()


@lru_cache(maxsize=1)
def _outline() -> npt.NDArray[np.bool_]:
    packed = np.frombuffer(packed_outline(), np.uint8)
    return np.unpackbits(packed)[: int(np.prod(OUTLINE_SHAPE))].reshape(OUTLINE_SHAPE).astype(bool)


def likeness_to_brain(mask: Mask, geometry: Geometry) -> float | None:
    """Returns the largest Dice of a mask with the average brain, both of one volume and about one centre; None where
    there is too little of the mask.

    Args:
        mask: (I, J, K), True inside the brain.
        geometry: its grid.
    """
    coarse, spacing = _thinned(mask, geometry, OUTLINE_MM)
    places = np.argwhere(coarse) * spacing
    if len(places) < FEWEST_VOXELS * (COARSE_MM / OUTLINE_MM) ** 3:
        return None
    outline = _outline()
    brain = np.argwhere(outline) * OUTLINE_MM
    centre, volume = brain.mean(axis=0), len(brain) * OUTLINE_MM**3
    scale = (volume / (len(places) * spacing.prod())) ** (1 / 3)
    left, back, up = ((places - places.mean(axis=0)) * scale).T
    voxel = spacing.prod() * scale**3
    best = 0
    for pitch in np.radians(PITCHES_DEGREES):
        turned = (left, np.cos(pitch) * back - np.sin(pitch) * up, np.sin(pitch) * back + np.cos(pitch) * up)
        for shift in SHIFTS_MM:
            moved = (np.stack(turned, axis=1) + centre + (0, 0, shift)) / OUTLINE_MM
            index = np.rint(moved).astype(np.intp)
            index = index[((index >= 0) & (index < OUTLINE_SHAPE)).all(axis=1)]
            best = max(best, int(np.count_nonzero(outline[tuple(index.T)])))
    return float(best * voxel / volume)


def largest_section_mm2(mask: Mask, geometry: Geometry) -> float:
    """Returns the area of the largest axial section of a mask."""
    turn_to = geometry.reorientation_to(LPS)
    width, length, _ = turn_to.target.spacing_mm
    return float(turn_to.apply(mask).sum(axis=(0, 1)).max() * width * length)


def end_areas_mm2(mask: Mask, geometry: Geometry) -> tuple[float, ...]:
    """Returns the areas of the outermost sections of a mask: right, left, front, back, bottom, top.

    A flat end, where something was cut off, has a large one, whether or not the field of view ends there.
    """
    turn = geometry.reorientation_to(LPS)
    spacing, laid = turn.target.spacing_mm, turn.apply(mask)
    areas: list[float] = []
    for axis in range(3):
        others = tuple({0, 1, 2} - {axis})
        counts = laid.sum(axis=others)
        within = counts[np.flatnonzero(counts)]
        area = spacing[others[0]] * spacing[others[1]]
        areas += [float(within[0] * area), float(within[-1] * area)] if len(within) else [0.0, 0.0]
    return tuple(areas)


def likeness_turned(mask: Mask, geometry: Geometry) -> float:
    """Returns the largest `likeness_to_brain` over all ways in which a wrong header may lay a mask; 0 where there is
    too little of it. Takes one to two seconds.
    """
    coarse, spacing = _thinned(mask, geometry, OUTLINE_MM)
    best = 0.0
    for order in permutations(range(3)):
        for back, up in product((1, -1), repeat=2):
            laid = np.transpose(coarse, order)[:, ::back, ::up]
            affine = np.diag([*(np.array([-1, -1, 1]) * spacing[list(order)]), 1.0])
            best = max(best, likeness_to_brain(laid, Geometry(laid.shape, affine)) or 0.0)
    return best
