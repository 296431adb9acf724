"""Where a tumour lies: its centre, and on which side of the brain's midline.

The midline is the plane about which the brain mask mirrors itself best. No atlas is used, so nothing is said of lobes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from gliomask.arrays import Affine, Mask
from gliomask.metrics.crop import box_around

COARSE_MM = 4.0
"""Grid on which the brain's symmetry is judged: fine enough for a plane, and a few ten thousand points."""

CROSSING_MM = 5.0
"""Tumour counts as beyond the midline from this far: no plane through a brain follows the falx more closely."""

CROSSING_SHARE = 0.01
"""Share of a region that must lie beyond on either side for it to cross: a few stray voxels do not."""

FEWEST_POINTS = 200
"""Coarse points of a brain mask below which it has no shape to speak of."""

MIN_SYMMETRY = 0.85
"""Share of the brain that its mirror image must cover for the plane to be trusted; three real whole brains reached
0.95 to 0.97, half a brain reaches 0.5."""

FURTHEST_MM = 20.0
"""Distances outside the mask count up to here, so that one odd corner does not turn the plane."""

ANGLE_COST = 1e-4
"""Cost in millimetres of a squared degree of tilt: decides only where symmetry does not, as in a ball."""

Floats = npt.NDArray[np.float64]


class Side(StrEnum):
    """Where most of a tumour lies, by the patient's own left and right."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


@dataclass(frozen=True)
class Centre:
    """The mean position of a mask's voxels; for a crescent it may lie outside it.

    Args:
        voxel: I, J, K, counted from 0.
        ras_mm: millimetres to the right, anterior and superior, by the scan's affine.
    """

    voxel: tuple[float, float, float]
    ras_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Midplane:
    """The mid-sagittal plane of a brain.

    Args:
        point_ras: a point of it, millimetres.
        normal_ras: unit vector to the patient's right.
        symmetry: share of the brain that its mirror image covers, 0 to 1.
    """

    point_ras: Floats
    normal_ras: Floats
    symmetry: float

    def distance_mm(self, points_ras: Floats) -> Floats:
        """Returns how far points, (N, 3), lie to the right of the plane; negative on the left."""
        return np.asarray((points_ras - self.point_ras) @ self.normal_ras)


@dataclass(frozen=True)
class Laterality:
    """How a mask lies to the midline.

    Args:
        side: where more than half lies; `MIDLINE` where next to nothing lies further than `CROSSING_MM` from the plane.
        crosses: at least `CROSSING_SHARE` of it lies further than `CROSSING_MM` from the plane on the left, and as much
            on the right.
        left_share: share of its volume on the left of the plane, 0 to 1.
    """

    side: Side
    crosses: bool
    left_share: float


def centre(mask: Mask, affine: Affine) -> Centre | None:
    """Returns the centre of a mask, (I, J, K); None where it is empty."""
    voxels = np.argwhere(mask)
    if voxels.size == 0:
        return None
    i, j, k = voxels.mean(axis=0)
    x, y, z = _to_world(voxels.mean(axis=0)[None], affine)[0]
    return Centre((float(i), float(j), float(k)), (float(x), float(y), float(z)))


def laterality(mask: Mask, affine: Affine, plane: Midplane) -> Laterality | None:
    """Returns on which side of a plane a mask, (I, J, K), lies; None where it is empty."""
    voxels = np.argwhere(mask)
    if voxels.size == 0:
        return None
    distance = plane.distance_mm(_to_world(voxels, affine))
    left_share = float((distance < 0).mean())
    left, right = (float(far.mean()) >= CROSSING_SHARE for far in (distance < -CROSSING_MM, distance > CROSSING_MM))
    if not (left or right):
        return Laterality(Side.MIDLINE, False, left_share)
    return Laterality(Side.LEFT if left_share > 0.5 else Side.RIGHT, left and right, left_share)


def midsagittal_plane(brain: Mask, affine: Affine) -> Midplane | None:
    """Returns the plane about which a brain mirrors itself best; None where the mask tells none.

    The reflected brain should fall onto itself: minimised, by the simplex method, is the mean distance outside the mask
    at which its reflected voxels come to lie, over two angles and an offset, from the plane across the patient's
    left-right axis through the brain's centre.

    Args:
        brain: (I, J, K).
        affine: (4, 4), voxel index to RAS millimetres.

    Returns:
        None for a mask that is almost empty, or of which less than `MIN_SYMMETRY` is covered by its mirror image, such
            as half a brain.
    """
    coarse, coarse_affine = _coarse(brain, affine)
    voxels = np.argwhere(coarse)
    if len(voxels) < FEWEST_POINTS:
        return None
    points = _to_world(voxels, coarse_affine)
    middle = points.mean(axis=0)
    spacing = np.linalg.norm(coarse_affine[:3, :3], axis=0)
    outside_mm = ndimage.distance_transform_edt(~coarse, spacing)
    to_voxels = np.asarray(np.linalg.inv(coarse_affine), np.float64)

    def cost(parameters: Floats) -> float:
        return float(_outside(parameters, points, middle, outside_mm, to_voxels).mean()) + ANGLE_COST * float(
            (parameters[:2] ** 2).sum()
        )

    simplex = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0], [0, 0, 6]])
    fit = optimize.minimize(
        cost,
        np.zeros(3),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.02, "fatol": 1e-4, "maxiter": 300},
    ).x
    symmetry = float((_outside(fit, points, middle, outside_mm, to_voxels) < COARSE_MM / 2).mean())
    normal = _normal(fit)
    return Midplane(middle + fit[2] * normal, normal, symmetry) if symmetry >= MIN_SYMMETRY else None


def _outside(parameters: Floats, points: Floats, middle: Floats, outside_mm: Floats, to_voxels: Affine) -> Floats:
    """How far outside the mask each point lies once reflected: (N,), millimetres, up to `FURTHEST_MM`."""
    normal = _normal(parameters)
    height = (points - middle) @ normal - parameters[2]
    reflected = points - 2 * height[:, None] * normal
    sampled = ndimage.map_coordinates(outside_mm, _to_world(reflected, to_voxels).T, order=1, mode="nearest")
    return np.asarray(np.minimum(sampled, FURTHEST_MM), np.float64)


def _normal(parameters: Floats) -> Floats:
    """The unit vector to the right, turned by two angles in degrees: towards anterior and towards superior."""
    yaw, roll = np.deg2rad(parameters[:2])
    normal = np.array([1.0, np.tan(yaw), np.tan(roll)])
    return np.asarray(normal / np.linalg.norm(normal))


def _coarse(brain: Mask, affine: Affine) -> tuple[Mask, Affine]:
    """Every so manieth voxel of the brain's box, with air round it for reflected points to fall into."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    steps = np.maximum(np.round(COARSE_MM / spacing).astype(int), 1)
    box = box_around(brain)
    thinned = brain[box][tuple(slice(step // 2, None, step) for step in steps)]
    margin = np.ceil(FURTHEST_MM / (spacing * steps)).astype(int)
    start = np.array([part.start for part in box]) + steps // 2 - margin * steps
    result = np.eye(4)
    result[:3, :3] = affine[:3, :3] * steps
    result[:3, 3] = _to_world(start[None].astype(np.float64), affine)[0]
    return np.pad(thinned, [(n, n) for n in margin]), result


def _to_world(points: npt.NDArray[np.float64 | np.int64], affine: Affine) -> Floats:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3], np.float64)
