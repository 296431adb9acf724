"""HD95: how far apart two surfaces lie, but for their worst twentieth, in millimetres.

Tools mean two things by it, so both are here under a name. On outlines they differ by about a voxel; on a distant false
component by much more, since pooling dilutes it and the larger direction does not:

- `BORDER_VOXELS`: the surface is the region's voxels that have a face neighbour outside it; distances run between voxel
  centres; the 95th percentile (linear between two values) is taken over the distances of both directions pooled. So
  MedPy and panoptica do it, and with MedPy nnU-Net v1.
- `SURFACE_ELEMENTS`: the surface is a marching-cubes surface through the voxel corners; distances run between corners,
  each weighted with the surface's area there; the larger of the two directions' 95th percentiles counts. So DeepMind's
  surface-distance does it, and with it the code of BraTS 2023 and later.

What the challenge's servers computed until 2022 is not known: CaPTk, which they ran, calls a separate program for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from gliomask.arrays import Mask
from gliomask.errors import UsageError
from gliomask.metrics.crop import box_around
from gliomask.metrics.overlap import refuse_other_shape

Spacing = tuple[float, float, float]
Floats = npt.NDArray[np.float64]
Corner = tuple[int, int, int]


class SurfaceDefinition(StrEnum):
    """What HD95 takes for the surface of a region, and how it takes the percentile."""

    BORDER_VOXELS = "border voxels"
    SURFACE_ELEMENTS = "surface elements"


def hd95_mm(
    reference: Mask,
    prediction: Mask,
    spacing_mm: Spacing,
    definition: SurfaceDefinition = SurfaceDefinition.BORDER_VOXELS,
) -> float:
    """Returns the 95th percentile of the Hausdorff distance between two regions that are not empty.

    Args:
        reference: (I, J, K).
        prediction: (I, J, K).
        spacing_mm: distance between neighbouring voxels along I, J, K.
        definition: see the top of this module.

    Raises:
        GeometryError: the shapes differ.
        UsageError: a region is empty; what that scores is for a policy to say.
    """
    refuse_other_shape(reference, prediction)
    if not (reference.any() and prediction.any()):
        raise UsageError(
            "HD95 is not defined where a region is empty. Ask `gliomask.metrics.region.score_region`, which "
            "obeys a policy."
        )
    box = box_around(reference | prediction)
    inside = np.pad(reference[box], 1), np.pad(prediction[box], 1)
    if definition is SurfaceDefinition.BORDER_VOXELS:
        return _pooled_percentile(*inside, spacing_mm)
    return _weighted_percentile(*inside, spacing_mm)


def _pooled_percentile(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    to_prediction, to_reference = _nearest_mm(
        _border(reference) * np.array(spacing_mm), _border(prediction) * np.array(spacing_mm)
    )
    return float(np.percentile(np.concatenate([to_prediction, to_reference]), 95))


def _border(mask: Mask) -> npt.NDArray[np.int64]:
    """Indices, (N, 3), of the voxels with one of their six face neighbours outside the region."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def _nearest_mm(reference: Floats, prediction: Floats) -> tuple[Floats, Floats]:
    """Distance of each reference point to the nearest predicted one, and the other way round.

    Points are (N, 3) millimetres.
    """
    to_prediction, to_reference = KDTree(prediction).query(reference)[0], KDTree(reference).query(prediction)[0]
    return np.asarray(to_prediction, np.float64), np.asarray(to_reference, np.float64)


def _weighted_percentile(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    areas = _element_areas(spacing_mm)
    corners = [_corner_codes(mask) for mask in (reference, prediction)]
    points = [np.argwhere((codes > 0) & (codes < 255)) for codes in corners]
    to_prediction, to_reference = _nearest_mm(points[0] * np.array(spacing_mm), points[1] * np.array(spacing_mm))
    weights = [areas[codes[tuple(at.T)]] for codes, at in zip(corners, points, strict=True)]
    return max(_percentile_by_area(to_prediction, weights[0]), _percentile_by_area(to_reference, weights[1]))


def _percentile_by_area(distances_mm: Floats, areas: Floats) -> float:
    order = np.argsort(distances_mm)
    share = np.cumsum(areas[order]) / areas.sum()
    at = min(int(np.searchsorted(share, 0.95)), len(order) - 1)
    return float(distances_mm[order[at]])


def _corner_codes(mask: Mask) -> npt.NDArray[np.uint8]:
    """For each inner corner of the voxel lattice, which of the eight voxels round it are inside: one bit each."""
    codes = np.zeros([n - 1 for n in mask.shape], np.uint8)
    for bit, (i, j, k) in enumerate(product((0, 1), repeat=3)):
        codes |= mask[i : i + codes.shape[0], j : j + codes.shape[1], k : k + codes.shape[2]].astype(np.uint8) << (
            7 - bit
        )
    return codes


_ELEMENTS: dict[int, tuple[Corner, ...]] = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0), (2, 2, 0)),
    0b00000110: ((1, 1, 1), (1, 1, 1)),
    0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    0b00001111: ((4, 0, 0), (4, 0, 0)),
    0b00010110: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    0b00010111: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    0b00011000: ((1, 1, 1), (1, 1, 1)),
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00011011: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    0b00011110: ((4, 0, 0), (1, 1, 1), (1, 1, 1), (2, 2, 2)),
    0b00111100: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    0b01101001: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}
"""Surface elements at a corner, as absolute normals whose length is their area, in eighths of a voxel face.

One code for each of the 13 arrangements of the eight voxels that have a surface; every other code is one of these
turned, mirrored or with inside and outside exchanged, and has its elements turned alike. The values are those of
`lookup_tables.py` of surface-distance 0.1 (DeepMind, Apache-2.0), whose 256 entries were found to have this symmetry.
"""


@cache
def _normals() -> Floats:
    """The elements of every code, filled up with zeros: (256, 4, 3), in voxel faces."""
    table = np.zeros((256, 4, 3))
    for code, elements in _ELEMENTS.items():
        vectors = np.array(elements) / 8
        for turned, axes in _turned(code):
            for same in (turned, 255 - turned):
                table[same, : len(vectors)] = vectors[:, axes]
    return table


def _turned(code: int) -> Iterator[tuple[int, list[int]]]:
    """Every turned and mirrored form of a code, with the axes its elements take."""
    cube = np.array([code >> (7 - bit) & 1 for bit in range(8)]).reshape(2, 2, 2)
    for axes in permutations(range(3)):
        for mirrored in product((1, -1), repeat=3):
            turned = cube.transpose(axes)[:: mirrored[0], :: mirrored[1], :: mirrored[2]]
            yield int(sum(int(inside) << (7 - bit) for bit, inside in enumerate(turned.ravel()))), list(axes)


def _element_areas(spacing_mm: Spacing) -> Floats:
    """Area in square millimetres of the surface at a corner, by its code: (256,)."""
    i, j, k = spacing_mm
    areas: Floats = np.linalg.norm(_normals() * np.array([j * k, i * k, i * j]), axis=2).sum(axis=1)
    return areas
