"""The working grid of a synthetic patient, and smooth random fields on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Volume
from gliomask.geometry import Geometry

BRATS_GEOMETRY = Geometry((240, 240, 155), np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239], [0, 0, 1.0, 0], [0, 0, 0, 1]]))
"""The grid of BraTS 2017 to 2023: 1 mm, axes to the left, to posterior and up (its validator demands this origin and
these axes).
"""

SMALL_SPACING_MM = (2.5, 2.5, 3.75)
SMALL_SHAPE = (64, 72, 40)
SMALL_ORIGIN = (39, 38, 0)
"""The small grid covers 160 x 180 x 150 mm from this BraTS voxel on: a brain of average size with 5 mm to spare."""

BRAIN_BOX = (slice(42, 196), slice(32, 224), slice(0, 150))
"""The part of the BraTS grid in which a brain may lie; what is outside stays background. Twice the spread of the
labelled training cases' brains fits in.
"""

SPLINE_VARIANCE = 151 / 315
"""Mean over positions of the sum of squares of the cubic B-spline's weights: what interpolation leaves of the variance
of white noise, per axis.
"""


@dataclass(frozen=True)
class Grid:
    """The voxels that are computed: a box in the BraTS grid, at its spacing or coarser.

    Args:
        shape: voxels along I, J, K.
        origin: position of the first voxel, in BraTS voxels, which are millimetres.
        spacing_mm: distance between voxels along I, J, K.
    """

    shape: tuple[int, int, int]
    origin: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]

    def axes_mm(self) -> list[npt.NDArray[np.float32]]:
        """Positions along each axis, in BraTS voxels, each shaped to be broadcast over the grid."""
        positions = [
            o + s * np.arange(n, dtype=np.float32)
            for o, s, n in zip(self.origin, self.spacing_mm, self.shape, strict=True)
        ]
        return [
            p.astype(np.float32).reshape([-1 if axis == a else 1 for a in range(3)]) for axis, p in enumerate(positions)
        ]

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm))


FULL_GRID = Grid(
    (BRAIN_BOX[0].stop - BRAIN_BOX[0].start, BRAIN_BOX[1].stop - BRAIN_BOX[1].start, BRAIN_BOX[2].stop),
    (BRAIN_BOX[0].start, BRAIN_BOX[1].start, BRAIN_BOX[2].start),
    (1.0, 1.0, 1.0),
)
SMALL_GRID = Grid(SMALL_SHAPE, SMALL_ORIGIN, SMALL_SPACING_MM)


def smooth_noise(generator: np.random.Generator, grid: Grid, scale_mm: float) -> Volume:
    """Returns a Gaussian random field of mean 0 and variance 1, smooth over about `scale_mm`: (I, J, K).

    White noise on a coarse lattice, interpolated by cubic B-splines along each axis. A scale below two voxels is taken
    as two.
    """
    steps = [max(scale_mm / spacing, 2.0) for spacing in grid.spacing_mm]
    lattice = [int(np.ceil(size / step)) + 3 for size, step in zip(grid.shape, steps, strict=True)]
    values = generator.standard_normal(lattice, np.float32)
    for size, step, nodes in zip(grid.shape, steps, lattice, strict=True):
        # Each contraction takes the first axis away and adds its interpolated form at the end: after three, the order
        # is as before.
        values = np.tensordot(values, _spline_weights(size, step, nodes, generator.uniform()), axes=(0, 1))
    return np.ascontiguousarray(values / np.float32(SPLINE_VARIANCE**1.5))


def interpolate(values: Volume, grid: Grid, steps: list[int]) -> Volume:
    """Returns a volume that was thinned to every `steps`-th voxel of the grid on the whole grid again, linear between:
    (I, J, K).
    """
    for size, step, nodes in zip(grid.shape, steps, values.shape, strict=True):
        distance = np.abs(np.minimum(np.arange(size) / step, nodes - 1)[:, None] - np.arange(nodes)[None, :])
        values = np.tensordot(values, np.clip(1 - distance, 0, 1).astype(np.float32), axes=(0, 1))
    return np.ascontiguousarray(values)


def _spline_weights(size: int, step: float, nodes: int, shift: float) -> npt.NDArray[np.float32]:
    """Weights of `nodes` lattice points at each of `size` voxels, (size, nodes); `shift` is in [0, 1)."""
    distance = np.abs((np.arange(size) / step + shift)[:, None] + 0.5 - np.arange(nodes)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)
