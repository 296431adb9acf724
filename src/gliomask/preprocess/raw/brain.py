"""The brain mask: the surface of the average brain, laid on the patient's, then moved in or out to where the skull
begins.

Outward from the surface of a brain the signal falls where the inner table of the skull begins: bone is dark in every
sequence, fluid is bright in T2. How far that is from the average surface is measured along its normals, agreed on among
neighbours, and left at 0 where nothing dark is met, as at the brain stem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi
from scipy.spatial import cKDTree

from gliomask.arrays import Affine, Mask, Volume, short_repr
from gliomask.examination import Examination
from gliomask.geometry import Geometry
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.atlas import Atlas, load_atlas
from gliomask.preprocess.raw.registration import in_threads
from gliomask.sequences import Sequence

INWARDS_MM, OUTWARDS_MM, STEP_MM = 6.0, 16.0, 1.0
"""The stretch of each ray that is looked at, from the average surface."""

FURTHEST_VALLEY_MM = 10.0
"""A valley further out is the gap between scalp and something else."""

FAR_MM = 40.0
"""Beyond half of this the surface never comes."""

DEEP_MM = -12.0
"""Tissue deeper than this in the average brain tells how bright brain is."""

RISE = 0.1
"""A valley ends where the signal, 1 in brain, has risen by this: beyond the inner table comes marrow or scalp, beyond
the scalp nothing.
"""
SHALLOW, DEEP = 0.15, 0.45
"""Fall of the signal into the valley below which it does not count, and from which on it counts in full."""

NEIGHBOURS_MM = (14.0, 6.0)
"""Neighbours within about this agree on a distance: first widely, to tell strays, then closely."""
STRAY_MM = 4.0
NEIGHBOURS = 96
TRUST = 0.05
"""Weight of the average surface itself, where a ray that is sure of its skull has 1."""

DURA_MM = 1.0
"""Between the inner table of the skull and the brain with its fluid lies the dura, about this thick with what partial
volume adds.
"""

FAT = 1.5
"""Fat in marrow and scalp is brighter on T1 than the brain near it by more than this factor; nothing at the surface of
a brain is, before contrast.
"""
RIND_MM = 7.0
"""Fat is taken off within this much of the surface found."""
LOCAL_MM = 8.0
"""How far round a voxel brain tells what is bright there: coils brighten what is near them."""


@dataclass(frozen=True, eq=False)
class _Surface:
    """Voxels just inside the atlas's surface, and the way out from each.

    Args:
        index: in the atlas's voxels, (N, 3).
        normal: outward, in voxels a millimetre, (N, 3).
        neighbours: the nearest of them, (N, M), and how far they are, mm.
    """

    index: npt.NDArray[np.float64]
    normal: npt.NDArray[np.float64]
    neighbours: npt.NDArray[np.intp]
    distance_mm: npt.NDArray[np.float64]

    __repr__ = short_repr


@lru_cache(maxsize=1)
def _surface() -> _Surface:
    atlas = load_atlas()
    edge = atlas.brain & ~ndi.binary_erosion(atlas.brain)
    spacing = np.array(atlas.geometry.spacing_mm)
    slope = np.array(np.gradient(ndi.gaussian_filter(atlas.depth_mm, 1.5), *spacing))
    normal = slope[:, edge].T
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6) / spacing
    index = np.argwhere(edge)[::2].astype(np.float64)
    distance, neighbours = cKDTree(index * spacing).query(index * spacing, k=NEIGHBOURS)
    return _Surface(index, normal[::2], np.asarray(neighbours), np.asarray(distance))


def find_brain(
    examination: Examination,
    matrices: Mapping[Sequence, Affine],
    target: Geometry,
    to_atlas: Affine,
    threads: int = 1,
) -> Mask:
    """Returns the brain mask on a target grid: (I, J, K), the same whatever the number of threads.

    Args:
        examination: the scans.
        matrices: for each, the atlas's world to the scan's.
        target: the grid of the mask.
        to_atlas: the target's world to the atlas's.
        threads: how many sequences are looked at at a time.
    """
    atlas = load_atlas()
    moved = on_grid(examination, atlas.geometry, matrices, threads)
    moved_mm = _skull_distance(_signal(moved, atlas))
    level = atlas.depth_mm - _spread(moved_mm, atlas, threads)
    if Sequence.T1 in moved:
        fat = _fat(moved[Sequence.T1], level, atlas)
        level = np.where(fat, np.maximum(level, atlas.geometry.spacing_mm[0] / 2), level)
    inside = itk.resample((FAR_MM - level).astype(np.float32), atlas.geometry, target, to_atlas) > FAR_MM
    return _one_piece(inside, target)


def _fat(t1: Volume, level: Volume, atlas: Atlas) -> Mask:
    """True where the rind of what was found is fat: (I, J, K)."""
    rind = (level > -RIND_MM) & (level < 0)
    core = (level <= -RIND_MM).astype(np.float32)
    sigma = [LOCAL_MM / mm for mm in atlas.geometry.spacing_mm]
    nearby = ndi.gaussian_filter(t1 * core, sigma) / np.maximum(ndi.gaussian_filter(core, sigma), 1e-3)
    return np.asarray(rind & (nearby > 0) & (t1 > FAT * nearby))


def on_grid(
    examination: Examination, target: Geometry, matrices: Mapping[Sequence, Affine], threads: int = 1
) -> dict[Sequence, Volume]:
    """Returns every scan on a target grid, (I, J, K), linear, 0 outside its field of view.

    Args:
        examination: the scans.
        target: the grid.
        matrices: for each scan, the target's world to its own.
        threads: how many at a time; each is computed by one, so that the answer does not depend on it.
    """
    scans = examination.scans
    moved = in_threads(
        lambda one: itk.resample(scans[one].volume, scans[one].geometry, target, matrices[one]), scans, threads
    )
    return dict(zip(scans, moved, strict=True))


def _signal(moved: Mapping[Sequence, Volume], atlas: Atlas) -> Volume:
    """How bright each voxel is in the sequence that shows it brightest, at most 1: brain and fluid are 1, bone is
    near 0. (I, J, K).
    """
    deep = atlas.depth_mm < DEEP_MM
    bright: list[Volume] = []
    for volume in moved.values():
        seen = volume[deep & (volume > 0)]
        middle = float(np.median(seen)) if seen.size else 1.0
        bright.append(np.clip(volume / middle, 0, 1))
    return np.asarray(np.maximum.reduce(bright), np.float32)


def _skull_distance(signal: Volume) -> npt.NDArray[np.float64]:
    """Distance of the skull from each point of the atlas's surface, agreed on among neighbours; negative inwards: (N,)
    millimetres.
    """
    surface = _surface()
    steps = np.arange(-INWARDS_MM, OUTWARDS_MM + STEP_MM / 2, STEP_MM)
    places = surface.index[:, None] + steps[None, :, None] * surface.normal[:, None]
    profile = ndi.map_coordinates(signal, places.reshape(-1, 3).T, order=1, mode="nearest").reshape(
        len(surface.index), len(steps)
    )
    distance, weight = first_valley(profile, steps)
    distance = distance - DURA_MM
    wide = _agreed(distance, weight, NEIGHBOURS_MM[0])
    return _agreed(distance, weight * (np.abs(distance - wide) < STRAY_MM), NEIGHBOURS_MM[1])


def first_valley(
    profile: npt.NDArray[np.floating], steps: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns where each ray has fallen halfway into its first valley, (N,), and how far that is to be trusted, 0 to 1,
    (N,).

    Args:
        profile: signal along each ray, (N, T), about 1 in brain.
        steps: positions of the T samples, millimetres outwards.
    """
    highest, lowest = np.maximum.accumulate(profile, axis=1), np.minimum.accumulate(profile, axis=1)
    fall = highest - lowest
    ended = (profile - lowest > RISE) & (fall > SHALLOW)
    rows, end = np.arange(len(profile)), np.argmax(ended, axis=1)
    bottom, top = lowest[rows, end], highest[rows, end]
    halfway = (top + bottom) / 2
    first = np.maximum(np.argmax(lowest < halfway[:, None], axis=1), 1)
    above, below = lowest[rows, first - 1], lowest[rows, first]
    part = np.clip((above - halfway) / np.maximum(above - below, 1e-6), 0, 1)
    position = steps[first - 1] + part * (steps[1] - steps[0])
    believed = ended.any(axis=1) & (steps[np.argmin(np.abs(lowest - bottom[:, None]), axis=1)] <= FURTHEST_VALLEY_MM)
    weight = np.where(believed, np.clip((top - bottom - SHALLOW) / (DEEP - SHALLOW), 0, 1), 0.0)
    return position, weight


def _agreed(
    distance: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], within_mm: float
) -> npt.NDArray[np.float64]:
    surface = _surface()
    near = np.exp(-0.5 * (surface.distance_mm / (within_mm / 2)) ** 2)
    near /= near.sum(axis=1, keepdims=True)
    votes = near * weight[surface.neighbours]
    return np.asarray((votes * distance[surface.neighbours]).sum(axis=1) / (votes.sum(axis=1) + TRUST))


def _spread(moved_mm: npt.NDArray[np.float64], atlas: Atlas, threads: int) -> Volume:
    """Each voxel's distance is that of the surface point nearest to it: (I, J, K), 0 far from the surface."""
    surface = _surface()
    close = np.abs(atlas.depth_mm) <= FAR_MM / 2
    spacing = np.array(atlas.geometry.spacing_mm)
    distance, nearest = cKDTree(surface.index * spacing).query(np.argwhere(close) * spacing, k=4, workers=threads)
    weight = 1 / (np.asarray(distance) + 1)
    result = np.zeros(atlas.depth_mm.shape, np.float32)
    result[close] = (weight * moved_mm[nearest]).sum(axis=1) / weight.sum(axis=1)
    return np.asarray(ndi.gaussian_filter(result, 0.7))


def _one_piece(inside: Mask, geometry: Geometry) -> Mask:
    """The largest piece that holds together by more than a few millimetres, without holes: optic nerves and vessels
    come off.
    """
    if not inside.any():
        return inside
    # What lies round the brain's box is empty, and stays so.
    box = ndi.find_objects(inside.astype(np.uint8))[0]
    ball = max(1, round(2 / min(geometry.spacing_mm)))
    opened = ndi.binary_opening(inside[box], iterations=ball)
    labelled, _ = ndi.label(opened)
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    if not sizes.any():
        return inside
    piece = np.zeros_like(inside)
    piece[box] = ndi.binary_fill_holes(labelled == sizes.argmax())
    return piece
