"""Taking the face off a scan, for sharing: what lies in front of and below a plane along the base of the brain.

The rule is that of quickshear (N. Schimke and J. Hale, Quickshear Defacing for Neuroimages, USENIX HealthSec 2011): the
brain is seen from the side, and a line along the base of its convex hull, a margin away from it, parts the face from
the rest. The plane through that line, from ear to ear, is laid in BraTS space, where up and front are the head's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Affine, Mask, Volume, short_repr
from gliomask.errors import QualityError
from gliomask.geometry import Geometry
from gliomask.preprocess.raw.transforms import move

MARGIN_MM = 10.0
"""Between the brain and the plane. Quickshear's buffer is 10 voxels, of some 1 mm."""

EVEN: npt.NDArray[np.float64] = np.array([0.0, 1.0, -1.0]) / np.sqrt(2)
"""Forwards and downwards alike: the plane's way out where no edge of the hull faces there."""

FLATTEST = 0.17
"""An edge of the hull belongs to the base where its way out is at least 10 degrees (this is the sine) from straight
forwards and from straight down."""


@dataclass(frozen=True, eq=False)
class FacePlane:
    """What parts the face from the rest of the head.

    Args:
        normal: (3,), out of the head, towards the chin; length 1, in the RAS world of BraTS space.
        offset_mm: a point p is face where normal . p is more.
    """

    normal: npt.NDArray[np.float64]
    offset_mm: float

    __repr__ = short_repr

    def described(self) -> dict[str, object]:
        """Returns the plane for the record of a run."""
        return {
            "rule": "quickshear",
            "margin_mm": MARGIN_MM,
            "normal_ras": [round(float(part), 5) for part in self.normal],
            "offset_mm": round(self.offset_mm, 3),
        }


def face_plane(brain: Mask, geometry: Geometry) -> FacePlane:
    """Returns the plane in front of and below a brain.

    Args:
        brain: (I, J, K), True in the brain.
        geometry: its grid, whose world is that of BraTS space.

    Raises:
        QualityError: the mask is empty.
    """
    if not brain.any():
        raise QualityError("the brain mask is empty, so where the face is cannot be told. Give a brain mask.")
    # A corner of the hull, seen from the side, lacks a neighbour in front, behind, above or below.
    inner = np.zeros_like(brain)
    inner[:, 1:-1, 1:-1] = brain[:, 1:-1, :-2] & brain[:, 1:-1, 2:] & brain[:, :-2, 1:-1] & brain[:, 2:, 1:-1]
    points = move(geometry.affine, np.argwhere(brain & ~inner).astype(np.float64))
    normal = _base_normal(points[:, 1:])
    return FacePlane(normal, float((points @ normal).max()) + MARGIN_MM)


def _base_normal(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The way out through the longest edge of the hull, (N, 2) forwards and upwards, that faces forwards and down."""
    # Imported here: only defacing needs it.
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(np.unique(np.round(points, 3), axis=0))
    except QhullError:
        return EVEN
    corners, out = np.asarray(hull.points[hull.simplices]), np.asarray(hull.equations)[:, :2]
    spans = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
    spans[np.minimum(out[:, 0], -out[:, 1]) < FLATTEST] = 0
    if not spans.any():
        return EVEN
    forwards, upwards = out[int(np.argmax(spans))]
    return np.array([0.0, forwards, upwards])


def face_in(plane: FacePlane, grid: Geometry, matrix: Affine) -> Mask:
    """Returns which voxels of a grid are face: (I, J, K).

    Args:
        plane: in BraTS space.
        grid: the grid.
        matrix: BraTS space's world to the grid's.
    """
    # normal . (inverse(matrix) @ affine @ index) is linear in the index: three rows and an outer sum.
    to_frame = np.linalg.inv(matrix) @ grid.affine
    slope, start = plane.normal @ to_frame[:3, :3], float(plane.normal @ to_frame[:3, 3])
    i, j, k = (slope[axis] * np.arange(size) for axis, size in enumerate(grid.shape))
    return np.asarray(i[:, None, None] + j[None, :, None] + k[None, None, :] + start > plane.offset_mm)


def defaced(volume: Volume, face: Mask) -> Volume:
    """Returns a volume, (I, J, K), with the face emptied: it takes the volume's lowest value, air; all else stays."""
    return np.asarray(np.where(face, volume.min(), volume), volume.dtype)
