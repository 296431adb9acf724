"""The two longest perpendicular diameters of enhancing lesions, as response criteria measure them.

Macdonald (J Clin Oncol 1990;8:1277-80, doi:10.1200/JCO.1990.8.7.1277) and RANO (Wen et al., J Clin Oncol
2010;28:1963-72, doi:10.1200/JCO.2009.26.3541; RANO 2.0: Wen et al., J Clin Oncol 2023;41:5187-99,
doi:10.1200/JCO.23.01059) describe an enhancing lesion by its longest diameter in an axial slice and the longest
diameter at right angles to it, and follow the product of the two. People draw both by hand; here they are computed, and
this is what is computed:

- A lesion is a 26-connected component of the enhancing mask. Those of its parts in a slice that lie within `JOIN_MM` of
  each other are measured together, so that a ring that noise has broken is still one ring, while two nodules that only
  join in other slices are not measured across.
- In a slice such a part is the union of its pixels' rectangles. The longest diameter is the largest distance between
  two of its points, and lies between two corners. The perpendicular one is the longest line at right angles to it, at
  any height, that ends in two points of the lesion. Both may run through what does not enhance, such as a necrotic
  centre, or through the gap of a crescent.
- Of all slices, and all parts in them, the one with the largest product counts.

Nothing here tells tumour from vessel, cyst wall or cavity margin, which the criteria leave out: that is for people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomask.arrays import Mask

MEASURABLE_MM = 10.0
"""Both diameters of a measurable lesion are at least as long (RANO 2010, "Measurable disease"; RANO 2.0 keeps it)."""

THICK_SLICE_MM = 5.0
"""With slices further apart, both diameters must be at least twice that distance (RANO 2010, likewise)."""

MEASURABLE_SLICES = 2
"""A measurable lesion is seen in at least so many slices (RANO 2010, likewise)."""

JOIN_MM = 3.0
"""Parts of one lesion in a slice with a gap of up to about this width are measured together. No criterion has a number
for it: this bridges a few voxels of noise and no white matter between nodules."""

TIE = 1e-9
"""Lengths that differ by a smaller share are equal: the two diagonals of a box, say."""

_NEIGHBOURS = np.ones((3, 3, 3), np.bool_)

Point = tuple[float, float]
Segment = tuple[Point, Point]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SliceDiameters:
    """The two diameters of what a slice shows.

    Args:
        longest_mm: length of the longest diameter.
        perpendicular_mm: length of the longest diameter at right angles to it.
        longest: its two ends, (i, j) in pixels; a pixel's centre has integer coordinates.
        perpendicular: likewise.
    """

    longest_mm: float
    perpendicular_mm: float
    longest: Segment
    perpendicular: Segment

    @property
    def product_mm2(self) -> float:
        """The bidimensional product."""
        return self.longest_mm * self.perpendicular_mm


@dataclass(frozen=True)
class LesionDiameters:
    """One lesion, measured in the slice where the product of its diameters is largest.

    Args:
        diameters: in that slice.
        slice_index: which one, along K.
        slices: how many show the lesion.
        voxels: of the lesion, in all slices.
        needed_mm: shortest diameter of a measurable lesion at this distance of slices.
    """

    diameters: SliceDiameters
    slice_index: int
    slices: int
    voxels: int
    needed_mm: float

    @property
    def measurable(self) -> bool:
        """Whether the criteria call a lesion of this size measurable."""
        return self.diameters.perpendicular_mm >= self.needed_mm * (1 - TIE) and self.slices >= MEASURABLE_SLICES


def measure_lesions(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[LesionDiameters, ...]:
    """Measures every lesion of a mask, those with the largest product first.

    Args:
        mask: (I, J, K), axial slices along K, I and J at right angles.
        spacing_mm: distance between neighbouring voxels along I, J, K.

    Returns:
        One entry per lesion; none for an empty mask.
    """
    components, _ = ndimage.label(mask, _NEIGHBOURS)
    needed_mm = max(MEASURABLE_MM, 2 * spacing_mm[2] if spacing_mm[2] > THICK_SLICE_MM else 0.0)
    lesions = []
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        lesions.append(_measure(components[box] == number, tuple(part.start for part in box), spacing_mm, needed_mm))
    return tuple(sorted(lesions, key=lambda lesion: -lesion.diameters.product_mm2))


def _measure(
    lesion: Mask, start: tuple[int, ...], spacing_mm: tuple[float, float, float], needed_mm: float
) -> LesionDiameters:
    pixel_mm = spacing_mm[0], spacing_mm[1]
    parts = [(k, part) for k in range(lesion.shape[2]) for part in _parts(lesion[:, :, k], pixel_mm)]
    spread = [_spread_mm(part, pixel_mm) for _, part in parts]
    best, best_slice = None, 0
    # The perpendicular diameter is no longer than the longest one, so parts with a short one need no further look.
    for n in np.argsort([-mm for mm in spread], kind="stable"):
        if best is not None and spread[n] ** 2 <= best.product_mm2:
            break
        k, part = parts[n]
        diameters = slice_diameters(part, pixel_mm)
        if best is None or diameters.product_mm2 > best.product_mm2:
            best, best_slice = diameters, k
    assert best is not None, "a component has at least one voxel"
    moved = SliceDiameters(
        best.longest_mm, best.perpendicular_mm, _moved(best.longest, start), _moved(best.perpendicular, start)
    )
    return LesionDiameters(
        moved, start[2] + best_slice, len({k for k, _ in parts}), int(np.count_nonzero(lesion)), needed_mm
    )


def _parts(mask: Mask, pixel_mm: tuple[float, float]) -> list[Mask]:
    """The parts of a slice that are further than `JOIN_MM` from each other: (I, J) each."""
    if not mask.any():
        return []
    padded = np.pad(mask, 1)
    near = ndimage.distance_transform_edt(~padded, pixel_mm) <= JOIN_MM / 2
    groups, count = ndimage.label(near, _NEIGHBOURS[:, :, 1])
    groups = groups[1:-1, 1:-1]
    return [mask & (groups == number) for number in range(1, count + 1)]


def _moved(segment: Segment, start: tuple[int, ...]) -> Segment:
    (a, b), (c, d) = segment
    return (a + start[0], b + start[1]), (c + start[0], d + start[1])


def slice_diameters(mask: Mask, pixel_mm: tuple[float, float]) -> SliceDiameters:
    """Measures what one slice shows, all of it together.

    Args:
        mask: (I, J), with at least one true pixel.
        pixel_mm: size of a pixel along I and J.

    Returns:
        The longest diameter and the longest at right angles to it. Where several are longest, the one with the longest
            perpendicular.
    """
    size = np.array(pixel_mm)
    corners = _outer_corners(mask) * size
    distances = _distances(corners)
    longest_mm = float(distances.max())
    edges = _edges(mask) * size
    best = None
    for a, b in np.argwhere(np.triu(distances >= longest_mm * (1 - TIE))):
        along = (corners[b] - corners[a]) / longest_mm
        length, ends = _longest_chord(edges, along)
        if best is None or length > best[0] * (1 + TIE):
            best = length, ends, corners[[a, b]]
    assert best is not None
    # Corners count from the pixels' edges, indices from their centres.
    return SliceDiameters(longest_mm, best[0], _segment(best[2] / size - 0.5), _segment(best[1] / size - 0.5))


def _segment(ends: Floats) -> Segment:
    (a, b), (c, d) = ends.tolist()
    return (a, b), (c, d)


def _outer_corners(mask: Mask) -> Floats:
    """The corners between which the longest distance must lie: on each line between rows of pixels, the first and the
    last. (N, 2), pixel edges.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first, last = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    points = [
        (row + below, column)
        for row, *columns in zip(rows, first, last, strict=True)
        for below in (0, 1)
        for column in columns
    ]
    return np.unique(np.array(points, np.float64), axis=0)


def _spread_mm(mask: Mask, pixel_mm: tuple[float, float]) -> float:
    return float(_distances(_outer_corners(mask) * pixel_mm).max())


def _distances(points: Floats) -> Floats:
    difference = points[:, None] - points[None]
    return np.asarray(np.hypot(difference[..., 0], difference[..., 1]))


def _edges(mask: Mask) -> Floats:
    """The pixel sides between inside and outside: (N, 2 ends, 2), pixel edges."""
    padded = np.pad(mask, 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
    down = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    return np.concatenate(
        [np.stack([across, across + np.array([0, 1])], axis=1), np.stack([down, down + np.array([1, 0])], axis=1)]
    ).astype(np.float64)


def _longest_chord(edges: Floats, along: Floats) -> tuple[float, Floats]:
    """Longest line at right angles to a direction that ends in two points of the region.

    Between the heights of two neighbouring corners every side runs straight, so the far end of the region is a maximum
    of linear functions of the height and the near end a minimum of such: the length is convex there and is largest at a
    corner's height. Only those are looked at.

    Args:
        edges: (N, 2, 2), the outline, millimetres.
        along: (2,), a unit vector.

    Returns:
        The length, and the two ends, (2, 2), millimetres.
    """
    across = np.array([-along[1], along[0]])
    height, offset = edges @ along, edges @ across
    tolerance = TIE * float(np.ptp(height) + np.ptp(offset))
    level = np.abs(height[:, 1] - height[:, 0]) <= tolerance
    heights = np.unique(height)
    slope = np.where(level, 0, (offset[:, 1] - offset[:, 0]) / np.where(level, 1, height[:, 1] - height[:, 0]))
    at = offset[:, 0] + (heights[:, None] - height[:, 0]) * slope
    # A side that lies level with the line is met in all its points.
    low, high = np.where(level, offset.min(axis=1), at), np.where(level, offset.max(axis=1), at)
    met = (height.min(axis=1) - tolerance <= heights[:, None]) & (heights[:, None] <= height.max(axis=1) + tolerance)
    start, stop = np.where(met, low, np.inf).min(axis=1), np.where(met, high, -np.inf).max(axis=1)
    best = int((stop - start).argmax())
    ends = heights[best] * along + np.array([[start[best]], [stop[best]]]) * across
    return float(stop[best] - start[best]), ends
