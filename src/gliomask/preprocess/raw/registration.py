"""Rigid and affine registration by mutual information, coarse to fine, with the same answer every time.

Viola and Wells, IJCV 1997, doi:10.1023/A:1007958904918, on points drawn once with a fixed seed, maximised by Powell's
method, which needs no derivative: along ITK's derivative of the same measure a head walks away from a template without
skull (tried with SimpleITK 2.5.7). One thread sums, so the last digit stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from gliomask.arrays import Affine, Mask, Volume, short_repr
from gliomask.errors import QualityError
from gliomask.geometry import Geometry
from gliomask.preprocess.raw.transforms import about, inverse, move, turn

Kind = Literal["rigid", "affine"]
T = TypeVar("T")
R = TypeVar("R")

SEED = 20200
BINS = 32
CLIP_PERCENTILES = (0.5, 99.5)
"""A few bright voxels (vessels, fat near the coil) would leave the rest of the histogram to a few bins."""

RADIUS_MM = 70.0
"""Angles, scales and shears are counted by what they move at this distance from the centre, so that a millimetre is a
millimetre in every parameter.
"""

PARAMETERS: dict[Kind, int] = {"rigid": 6, "affine": 12}

FEWEST_INSIDE = 0.3
"""Share of the points that must lie within the moving image; with fewer, what they share says nothing."""


@dataclass(frozen=True)
class Level:
    """One step of the pyramid.

    Args:
        spacing_mm: images are smoothed and thinned to about this.
        points: at which they are compared.
        tolerance_mm: parameters are found to about this.
        rounds: most rounds of the optimiser through all parameters.
    """

    spacing_mm: float
    points: int
    tolerance_mm: float
    rounds: int = 6


@dataclass(frozen=True, eq=False)
class Image:
    """A volume on its grid, and where it may be compared.

    Args:
        volume: (I, J, K).
        geometry: its grid.
        mask: (I, J, K), True where it may be compared; None for everywhere.
    """

    volume: Volume
    geometry: Geometry
    mask: Mask | None = None
    _pyramid: dict[float, Image] = field(default_factory=dict, init=False, repr=False)

    __repr__ = short_repr

    def thinned(self, spacing_mm: float) -> Image:
        """Returns the image at a level of its pyramid, see `thin`; made once."""
        if spacing_mm not in self._pyramid:
            self._pyramid[spacing_mm] = thin(self, spacing_mm)
        return self._pyramid[spacing_mm]

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The values at `CLIP_PERCENTILES`."""
        low, high = np.percentile(self.volume, CLIP_PERCENTILES)
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Match:
    """A map and how well it matches.

    Args:
        matrix: the fixed image's world to the moving image's.
        information: mutual information there, in nats, times the share of points within the moving image.
    """

    matrix: Affine
    information: float

    __repr__ = short_repr


class Comparison:
    """Two images at one level of the pyramid, ready to be compared or registered. Safe to share between threads.

    Args:
        fixed: the image whose points are drawn.
        moving: the image they are looked up in.
        level: how finely.
        stretch_cost: nats that a map loses for each squared logarithm of a principal stretch; rigid maps lose nothing.
    """

    def __init__(self, fixed: Image, moving: Image, level: Level, stretch_cost: float = 0.0) -> None:
        self.level, self.stretch_cost = level, stretch_cost
        thinned = fixed.thinned(level.spacing_mm)
        index = _draw_points(thinned, level.points)
        points = move(thinned.geometry.affine, index)
        self.centre = points.mean(axis=0)
        # From their middle, so that single precision places them to 1e-5 mm.
        self._points = np.ascontiguousarray((points - self.centre).T, np.float32)
        self._rows = (
            np.rint(_bins(ndi.map_coordinates(thinned.volume, index.T, order=1, mode="nearest"))).astype(np.intp) * BINS
        )
        looked_up = moving.thinned(level.spacing_mm)
        self._shape = looked_up.volume.shape
        # One voxel more along each axis: the last voxel, too, has a next one, of weight 0.
        self._binned = np.pad(_bins(looked_up.volume), ((0, 1),) * 3, mode="edge")
        self._inverse = inverse(looked_up.geometry.affine)

    def information(self, matrix: Affine) -> float:
        """Returns the mutual information under a map, in nats, times the share of points within the moving image, less
        what its stretches cost.

        0 where too few points lie within to say anything.
        """
        return self._information(matrix, self._cost(matrix))

    def _information(self, matrix: Affine, cost: float) -> float:
        counts, share = self._counts(matrix)
        return share * _information(counts) - cost if share >= FEWEST_INSIDE else 0.0

    def _cost(self, matrix: Affine) -> float:
        if not self.stretch_cost:
            return 0.0
        # The eigenvalues are the squares of the stretches.
        linear = matrix[:3, :3]
        return self.stretch_cost * float(np.sum(np.log(np.linalg.eigvalsh(linear.T @ linear)) ** 2)) / 4

    def excess(self, matrix: Affine) -> float:
        """Returns by how much the mutual information within the moving image exceeds what chance alone shows, in nats;
        0 where that says nothing.

        The chance part is that of Miller, 1955: of two images that share nothing, N points in B x B bins show (B - 1)^2
        / 2N.
        """
        counts, share = self._counts(matrix)
        return _information(counts) - (BINS - 1) ** 2 / (2 * float(counts.sum())) if share >= FEWEST_INSIDE else 0.0

    def _counts(self, matrix: Affine) -> tuple[npt.NDArray[np.float64], float]:
        """Joint histogram of the points within the moving image, and their share.

        Registration spends most of its time here, so it is written for speed: in single precision, without a matrix
        product (whose last digit depends on the processor's number of threads), with a linear interpolation that takes
        a third of the time of scipy's.
        """
        to_voxels = self._inverse @ matrix
        offset = move(to_voxels, self.centre)
        inside = np.ones(self._points.shape[1], bool)
        at = np.zeros(len(inside), np.intp)
        parts = []
        for axis, size in enumerate(self._shape):
            along = np.full(len(inside), offset[axis], np.float32)
            for factor, part in zip(to_voxels[axis, :3].astype(np.float32), self._points, strict=True):
                along += factor * part
            inside &= along >= -0.5
            inside &= along <= size - 0.5
            np.maximum(along, 0, out=along)
            np.minimum(along, size - 1, out=along)
            whole = along.astype(np.intp)
            along -= whole.astype(np.float32)
            at *= size + 1
            at += whole
            parts.append(along)
        value = self._interpolated(at, parts)
        np.minimum(value, BINS - 1 - 1e-4, out=value)
        below = value.astype(np.intp)
        value -= below.astype(np.float32)
        below += self._rows
        # Points outside are counted behind the histogram, which is then cut off.
        np.putmask(below, ~inside, BINS * BINS)
        counts = np.bincount(below, minlength=BINS * BINS + 1).astype(np.float64)
        upper = np.bincount(below, value, BINS * BINS + 1)
        counts -= upper
        counts[1:-1] += upper[:-2]
        return counts[:-1].reshape(BINS, BINS), np.count_nonzero(inside) / len(inside)

    def _interpolated(self, at: npt.NDArray[np.intp], parts: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """The moving image's values, linear between eight voxels: (N,).

        Args:
            at: places of the lowest of the eight in the flat volume, (N,).
            parts: how far towards the next voxel along each axis, 0 to 1.
        """
        flat, (_, j, k) = self._binned.reshape(-1), self._binned.shape
        along_i, along_j, along_k = parts

        def edge(start: int) -> npt.NDArray[np.float32]:
            low = flat[start:].take(at, mode="clip")
            high = flat[start + 1 :].take(at, mode="clip")
            high -= low
            high *= along_k
            low += high
            return low

        def face(start: int) -> npt.NDArray[np.float32]:
            low, high = edge(start), edge(start + k)
            high -= low
            high *= along_j
            low += high
            return low

        low, high = face(0), face(j * k)
        high -= low
        high *= along_i
        low += high
        return low

    def register(self, start: Affine, kind: Kind) -> Match:
        """Returns the best map near a start.

        Raises:
            QualityError: the images do not overlap there.
        """
        first = self.information(start)
        if first <= 0:
            raise QualityError("the images do not overlap where the search begins")

        cost = self._cost(start)

        def lost(parameters: npt.NDArray[np.float64]) -> float:
            matrix = start @ small_map(parameters, self.centre)
            # Turns and shifts stretch nothing.
            return -self._information(matrix, cost if kind == "rigid" else self._cost(matrix))

        tolerance = self.level.tolerance_mm
        # Imported here: it takes a sixth of a second, and scans that are prepared already need no registration.
        from scipy.optimize import minimize

        optimum = minimize(
            lost,
            np.zeros(PARAMETERS[kind]),
            method="Powell",
            options={"xtol": tolerance, "ftol": 1e-4, "maxiter": self.level.rounds},
        )
        # Powell's method may end a hair below where it began.
        return (
            Match(start @ small_map(optimum.x, self.centre), -float(optimum.fun))
            if -optimum.fun > first
            else Match(start, first)
        )


def small_map(parameters: npt.NDArray[np.float64], centre: npt.ArrayLike) -> Affine:
    """Returns the map with six parameters (shifts and turns) or twelve (stretches and shears too), all in millimetres,
    at `RADIUS_MM` from the centre.
    """
    linear = turn(np.degrees(parameters[3:6] / RADIUS_MM))
    if len(parameters) > PARAMETERS["rigid"]:
        x, y, z, yz, xz, xy = parameters[6:] / RADIUS_MM
        linear = linear @ np.array([[1 + x, xy, xz], [0, 1 + y, yz], [0, 0, 1 + z]])
    return about(centre, linear, parameters[:3])


def in_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """Returns what a function makes of each item, in their order, whatever the number of threads.

    Raises:
        Exception: what the function raises; of several, that of the earliest item.
    """
    items = list(items)
    if min(threads, len(items)) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(work, items))


def best_start(comparison: Comparison, starts: Iterable[Affine], keep: int = 1) -> list[Match]:
    """Returns the starts under which the images share most information, best first; of equals the earlier one."""
    matches = [Match(start, comparison.information(start)) for start in starts]
    return sorted(matches, key=lambda match: -match.information)[:keep]


def thin(image: Image, spacing_mm: float) -> Image:
    """Returns an image clipped, smoothed and with voxels left out, so that its spacing is about `spacing_mm` or what it
    was, if that is coarser.
    """
    low, high = image.limits
    clipped = np.clip(image.volume, low, high) if low < high else image.volume
    steps = [
        max(1, min(round(spacing_mm / mm), n // 4))
        for mm, n in zip(image.geometry.spacing_mm, image.geometry.shape, strict=True)
    ]
    # A Gaussian of 0.4 steps leaves little above the thinned grid's limit and blurs no axis that is not thinned.
    smooth = ndi.gaussian_filter(
        clipped.astype(np.float32, copy=False),
        [0.4 * step if step > 1 else 0 for step in steps],
        mode="nearest",
        truncate=3,
    )
    cut = tuple(slice((step - 1) // 2, None, step) for step in steps)
    affine = image.geometry.affine @ np.diag([*steps, 1.0])
    affine[:, 3] = image.geometry.affine @ [*((step - 1) // 2 for step in steps), 1.0]
    thinned = np.ascontiguousarray(smooth[cut])
    mask = None if image.mask is None else np.ascontiguousarray(image.mask[cut])
    return Image(thinned, Geometry((thinned.shape[0], thinned.shape[1], thinned.shape[2]), affine), mask)


def _draw_points(image: Image, count: int) -> npt.NDArray[np.float64]:
    """Draws voxels, and a place within each: without that, grids that lie on each other would prefer to stay so.

    (N, 3) in voxels.
    """
    where = (
        np.argwhere(image.mask)
        if image.mask is not None and image.mask.any()
        else np.argwhere(np.ones(image.volume.shape, bool))
    )
    generator = np.random.default_rng(SEED)
    drawn = where[generator.integers(len(where), size=count)]
    return np.asarray(drawn + generator.uniform(-0.5, 0.5, drawn.shape))


def _bins(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    return ((values - low) * ((BINS - 1) / max(high - low, 1e-12))).astype(np.float32)


def _information(counts: npt.NDArray[np.float64]) -> float:
    total = float(counts.sum())
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    return (_times_log(counts) - _times_log(rows) - _times_log(columns)) / total + math.log(total)


def _times_log(counts: npt.NDArray[np.float64]) -> float:
    """The sum of n log n over counts, 0 where there are none."""
    return float((counts * np.log(np.maximum(counts, np.finfo(np.float64).tiny))).sum())
