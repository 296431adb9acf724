"""Linear maps of the world onto itself: (4, 4) matrices on RAS millimetres.

A registration's matrix takes a point of the fixed image's world to the point of the moving image's world that shows the
same anatomy: the direction in which resampling needs it, and ITK keeps it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Affine

Points = npt.NDArray[np.float64]
"""World positions in millimetres: (N, 3)."""

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""RAS to LPS and back: ITK's world has its first two axes the other way."""


def move(matrix: Affine, points: Points) -> Points:
    """Returns points, (N, 3), where a matrix puts them."""
    moved: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def inverse(matrix: Affine) -> Affine:
    """Returns the map back."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def about(centre: npt.ArrayLike, rotation: npt.NDArray[np.float64], shift: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Affine:
    """Returns the map that turns by a (3, 3) matrix about a centre, then shifts."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.asarray(centre) + np.asarray(shift) - rotation @ np.asarray(centre)
    return matrix


def turn(degrees: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the rotation by three angles about the axes right, anterior, superior, in that order: (3, 3)."""
    (ci, cj, ck), (si, sj, sk) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return np.asarray(about_k @ about_j @ about_i)


def nearest_rigid(matrix: Affine, points: Points) -> Affine:
    """Returns the rotation and shift that move points nearest to where a matrix moves them, in the sum of squares.

    W. Kabsch, Acta Crystallographica A 1976, doi:10.1107/S0567739476001873.
    """
    target = move(matrix, points)
    from_centre, to_centre = points.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((points - from_centre).T @ (target - to_centre))
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    rotation = vt.T @ handed @ u.T
    return about(from_centre, rotation, to_centre - from_centre)


def angle_degrees(matrix: Affine) -> float:
    """The angle by which the rotation in a matrix turns: its nearest rotation, about whatever axis."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1))))


def stretches(matrix: Affine) -> tuple[float, float, float]:
    """The factors by which a matrix stretches along its three principal directions, largest first; 1 each for a rigid
    one.
    """
    first, second, third = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return float(first), float(second), float(third)


def distance_mm(first: Affine, second: Affine, points: Points) -> npt.NDArray[np.float64]:
    """How far apart two maps put each point: (N,)."""
    return np.asarray(np.linalg.norm(move(first, points) - move(second, points), axis=1))


def to_itk_text(matrix: Affine) -> str:
    """Returns the map as an ITK transform file (`.tfm`), for SimpleITK, ANTs and 3D Slicer; ITK's world is LPS."""
    lps = LPS @ matrix @ LPS
    numbers = " ".join(f"{value:.12g}" for value in (*lps[:3, :3].ravel(), *lps[:3, 3]))
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: "
        f"{numbers}\nFixedParameters: 0 0 0\n"
    )
