"""Where voxels are: the shape and the affine of a grid, and the exact re-ordering of its axes.

World coordinates are RAS millimetres, as in NIfTI. Nothing here resamples: a reorientation permutes and flips whole
axes, so it loses nothing and can be undone exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import nibabel.orientations as orientations
import numpy as np
import numpy.typing as npt

from gliomask.arrays import Affine, short_repr
from gliomask.errors import GeometryError

QUATERNION_THRESHOLD = -1e-4
"""Lowest square of a quaternion's first part that counts as 0. In float32 a rotation by 180 degrees can be a rounding
error longer than 1; nibabel draws the line at -3.6e-7, which public sets miss by a little, and five decimals of a text
make -2e-5. FSL and ITK scale such a quaternion to the length 1, as is done here; a first part of 1e-2 that was lost
turns the head by no more than a degree."""

SAME_GRID_TOLERANCE_MM = 1e-2
"""Two grids are the same when no corner voxel lies further apart than this. Rewriting a header through a quaternion in
float32 moves corners by about 1e-4 mm; a real misregistration is a large part of a voxel."""

SPACING_LIMITS_MM = (0.01, 1000.0)
"""Spacings outside are no scan of a head: the header is wrong, or counts in other units."""

MIN_VOXEL_SHARE = 1e-3
"""Smallest volume of a voxel, as a share of the box with its edges' lengths (1 for right angles, 0.87 for a 30 degree
gantry tilt). Below, the axes do not span space."""

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in the world: always three axes of at least one voxel and a finite, invertible affine.

    Args:
        shape: number of voxels along I, J, K.
        affine: (4, 4), voxel index to RAS millimetres.

    Raises:
        GeometryError: the shape is not three positive numbers, the affine is not finite or not invertible, or a spacing
            is absurd.
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        affine = np.array(self.affine, np.float64)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(
                f"A volume needs three axes of at least one voxel; found the shape {tuple(self.shape)}."
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(
                f"The affine must be 4 x 4 and finite; found {affine.tolist()}. Repair the header first."
            )
        _refuse_impossible_axes(affine)
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along I, J, K."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def orientation(self) -> str:
        """Nearest anatomical direction of each axis; `LPS`: I grows to the left, J to posterior, K to superior."""
        return "".join(orientations.aff2axcodes(self.affine))

    def corners_ras(self) -> npt.NDArray[np.float64]:
        """World positions of the eight corner voxels: (8, 3)."""
        indices = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, 8)
        corners: npt.NDArray[np.float64] = (self.affine[:3, :3] @ indices + self.affine[:3, 3:]).T
        return corners

    def same_grid(self, other: Geometry) -> bool:
        """True when the shapes are equal and no corner lies more than `SAME_GRID_TOLERANCE_MM` from its twin."""
        return self.shape == other.shape and self.corner_distance_mm(other) <= SAME_GRID_TOLERANCE_MM

    def reorientation_from(self, other: Geometry) -> Reorientation | None:
        """Returns the permutation and flips that lay another grid's voxels out as this one's; None where the two do not
        have the same voxels.

        Nothing is resampled: the voxels are the same at the same places, within `SAME_GRID_TOLERANCE_MM`, in whichever
        order.
        """
        turn = np.linalg.solve(self.affine[:3, :3], other.affine[:3, :3])
        axes = np.abs(turn).argmax(axis=0)
        if sorted(axes.tolist()) != [0, 1, 2]:
            return None
        reorientation = Reorientation(other, np.column_stack([axes, np.sign(turn[axes, [0, 1, 2]])]).astype(np.float64))
        return reorientation if reorientation.target.same_grid(self) else None

    def same_voxels(self, other: Geometry) -> bool:
        """True when both grids have the same voxels in the world, in whichever order."""
        return self.reorientation_from(other) is not None

    def corner_distance_mm(self, other: Geometry) -> float:
        """Largest distance between a corner voxel and its twin in another grid."""
        return float(np.linalg.norm(self.corners_ras() - other.corners_ras(), axis=1).max())

    def reorientation_to(self, codes: str) -> Reorientation:
        """Returns the permutation and flips that bring this grid's axes nearest to `codes`, for example `LPS`."""
        start = orientations.io_orientation(self.affine)
        end = orientations.axcodes2ornt(tuple(codes))
        return Reorientation(self, orientations.ornt_transform(start, end))

    def __repr__(self) -> str:
        """As in words, see `__str__`; the affine is an array."""
        return f"Geometry({self})"

    def __str__(self) -> str:
        """Shape, spacing and orientation, for messages."""
        spacing = " x ".join(f"{mm:.3g}" for mm in self.spacing_mm)
        return f"{' x '.join(map(str, self.shape))} voxels of {spacing} mm, {self.orientation}"


def _refuse_impossible_axes(affine: Affine) -> None:
    if (affine[3] != (0, 0, 0, 1)).any():
        raise GeometryError(
            f"The last row of an affine is 0 0 0 1; found {affine[3].tolist()}. Repair the header first."
        )
    with np.errstate(over="ignore"):
        spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACING_LIMITS_MM
    if (spacing_mm == 0).any() or abs(np.linalg.det(affine[:3, :3] / spacing_mm)) < MIN_VOXEL_SHARE:
        raise GeometryError(
            f"The affine cannot be inverted (its axes do not span space); found {affine.tolist()}. Repair the "
            "header first."
        )
    if spacing_mm.min() < low or spacing_mm.max() > high:
        raise GeometryError(
            f"The spacing is {spacing_mm.tolist()} mm; {low:g} to {high:g} mm is possible. Repair the header first."
        )


@dataclass(frozen=True, eq=False)
class Reorientation:
    """A permutation and flips of a grid's axes. `apply` and `undo` are each other's exact inverse."""

    source: Geometry
    transform: npt.NDArray[np.float64]

    __repr__ = short_repr

    def apply(self, volume: npt.NDArray[T]) -> npt.NDArray[T]:
        """Returns a volume of the source grid, (I, J, K, ...), with its axes re-ordered."""
        return np.asarray(orientations.apply_orientation(volume, self.transform))

    def undo(self, volume: npt.NDArray[T]) -> npt.NDArray[T]:
        """Returns a re-ordered volume, (I, J, K, ...), in the source grid again: a view, but for flipped axes, which
        some libraries cannot read.
        """
        axes = self.transform[:, 0].astype(int)
        back = np.empty_like(self.transform)
        back[axes, 0] = range(3)
        back[axes, 1] = self.transform[:, 1]
        turned = np.asarray(orientations.apply_orientation(volume, back))
        return turned if min(turned.strides) >= 0 else np.ascontiguousarray(turned)

    @property
    def target(self) -> Geometry:
        """The grid after re-ordering: the same voxels at the same places in the world."""
        axes = self.transform[:, 0].astype(int)
        shape = [0, 0, 0]
        for axis, size in zip(axes, self.source.shape, strict=True):
            shape[axis] = size
        inverse = orientations.inv_ornt_aff(self.transform, self.source.shape)
        return Geometry((shape[0], shape[1], shape[2]), self.source.affine @ inverse)
