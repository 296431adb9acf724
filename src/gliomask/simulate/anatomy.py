"""One patient's brain: the atlas laid into the BraTS grid, changed in size, pose and shape, and pushed aside by a
tumour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from gliomask.arrays import Mask, Volume
from gliomask.simulate.atlas import TissueAtlas
from gliomask.simulate.fields import Grid, smooth_noise

# The pose of the atlas in the BraTS grid: fitted (Powell, 7 parameters) to the share of 65 labelled training cases that
# have brain at a voxel and to the mean of their T1. Scales are BraTS millimetres per atlas millimetre; the centres are
# that fit's and the atlas brain's centre of mass.
POSE_SCALE = (0.9195, 0.9368, 0.8783)
POSE_PITCH = 0.2428
BRATS_CENTRE = (118.8, 134.7, 74.9)
ATLAS_CENTRE = (98.0, 120.1, 81.5)

# Spread between patients: brain boxes and centres of the same cases vary by 2 to 4 % and 1 to 4 mm after their
# registration.
SCALE_SPREAD = 0.025
SHIFT_SPREAD_MM = 1.5
TURN_SPREAD_RADIANS = 0.03

WARPS_MM = ((45.0, 2.5), (18.0, 1.6), (9.0, 0.7))
"""(scale, amplitude) of the random deformation: lobes, gyri, folds. Steeper ones would tear the cortex."""

FOLD_SCALE_MM = 5.0
FOLD_STRENGTH = 0.6
"""How far an individual's tissue borders depart from the average brain's: the average is blurred where individuals
differ.
"""

SHARPNESS = 2.2
"""Exponent on the tissue shares: an individual's voxel is nearly one tissue where the average of many is a mixture."""

MASS_REACH_MM = 35.0
"""Distance over which the displacement by a tumour fades; midline shift is seen to some 40 mm from the edge of large
tumours.
"""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Healthy tissue on the working grid; the three shares sum to one in the brain and are 0 outside. All (I, J, K).

    Args:
        brain: True inside the brain.
        grey: share of grey matter.
        white: share of white matter.
        fluid: share of cerebrospinal fluid.
        ventricles: share of ventricular fluid, part of `fluid`.
        detail: T1 intensity that the shares do not explain, as in the atlas.
        depth_mm: distance to the outside of the brain, exact near the surface and at least `MAX_DEPTH_MM` beyond.
    """

    brain: Mask
    grey: Volume
    white: Volume
    fluid: Volume
    ventricles: Volume
    detail: Volume
    depth_mm: Volume


@dataclass(frozen=True)
class Mass:
    """A space-occupying ball.

    Args:
        centre_mm: its centre, in BraTS voxels.
        radius_mm: its radius.
        displaced: share of its volume that pushes tissue aside, 0 to 1; the rest replaces tissue.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    displaced: float


def draw_frame(generator: np.random.Generator, grid: Grid) -> npt.NDArray[np.float32]:
    """Returns where in the atlas each voxel of one patient's brain lies, in atlas voxels: (3, I, J, K)."""
    scale = np.array(POSE_SCALE) * (
        1 + np.clip(generator.normal(0, SCALE_SPREAD, 3), -2 * SCALE_SPREAD, 2 * SCALE_SPREAD)
    )
    turn = _rotation(generator.normal(0, TURN_SPREAD_RADIANS, 3) + np.array([POSE_PITCH, 0, 0]))
    centre = np.array(BRATS_CENTRE) + generator.normal(0, SHIFT_SPREAD_MM, 3)
    offsets = [(axis - c) / s for axis, c, s in zip(grid.axes_mm(), centre, scale, strict=True)]
    frame = np.empty((3, *grid.shape), np.float32)
    for a in range(3):
        frame[a] = sum(np.float32(turn[a, b]) * offsets[b].astype(np.float32) for b in range(3)) + np.float32(
            ATLAS_CENTRE[a]
        )
        for scale_mm, amplitude_mm in WARPS_MM:
            frame[a] += np.float32(amplitude_mm) * smooth_noise(generator, grid, scale_mm)
    return frame


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation by three angles in radians, about I, then J, then K."""
    (ci, cj, ck), (si, sj, sk) = np.cos(angles), np.sin(angles)
    about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return np.asarray(about_k @ about_j @ about_i)


def push_aside(frame: npt.NDArray[np.float32], grid: Grid, mass: Mass) -> npt.NDArray[np.float32]:
    """Returns the frame after a mass has displaced tissue away from its centre: (3, I, J, K).

    Tissue that was at distance q from the centre lies at r with r**3 = q**3 + displaced * radius**3, as if
    incompressible; further out the shift fades, since fluid spaces give way.
    """
    offsets = [axis - np.float32(c) for axis, c in zip(grid.axes_mm(), mass.centre_mm, strict=True)]
    distance = np.sqrt(sum(offset**2 for offset in offsets)) + np.float32(1e-3)
    cubed = np.clip(1 - mass.displaced * (mass.radius_mm / distance) ** 3, 0.02, None)
    fade = np.exp(-np.clip(distance - mass.radius_mm, 0, None) / MASS_REACH_MM)
    pull = (1 - np.cbrt(cubed)) * fade
    # In the neighbourhood of one voxel the frame is nearly the pose alone, so a shift in BraTS space is one in the
    # atlas divided by the scale.
    turn = _rotation(np.array([POSE_PITCH, 0, 0]))
    result = frame.copy()
    for a in range(3):
        for b in range(3):
            if abs(turn[a, b]) > 1e-6:
                result[a] -= np.float32(turn[a, b] / POSE_SCALE[b]) * offsets[b] * pull
    return result


def brain_of(generator: np.random.Generator, grid: Grid, atlas: TissueAtlas, frame: npt.NDArray[np.float32]) -> Mask:
    """Returns one patient's brain mask, with the uneven edge that skull stripping leaves: (I, J, K)."""
    inside = np.asarray(ndi.map_coordinates(atlas.brain, frame, order=1, output=np.float32))
    level = (
        generator.normal(0.5, 0.1) + 0.18 * smooth_noise(generator, grid, 15) + 0.1 * smooth_noise(generator, grid, 5)
    )
    labelled, _ = ndi.label(inside > np.clip(level, 0.15, 0.85))
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return np.asarray(labelled == sizes.argmax())


def anatomy_of(
    generator: np.random.Generator, grid: Grid, atlas: TissueAtlas, frame: npt.NDArray[np.float32], brain: Mask
) -> Anatomy:
    """Returns one patient's tissue, drawn from the atlas along a frame that a tumour may have pushed aside."""
    points = frame[:, brain]
    grey, white, ventricles, detail = (
        _sample(values, points, brain) for values in (atlas.grey, atlas.white, atlas.ventricles, atlas.detail)
    )
    fluid = np.clip(1 - grey - white, 0, 1)
    # Atrophy: wide ventricles and sulci, or slit-like ones in the young and under pressure.
    fluid *= np.exp(np.float32(generator.normal(0, 0.4))) * np.exp(np.float32(generator.normal(0.3, 0.8)) * ventricles)
    shares = []
    for share in (grey, white, fluid):
        fold = np.exp(np.float32(FOLD_STRENGTH) * smooth_noise(generator, grid, FOLD_SCALE_MM))
        shares.append((share + np.float32(0.01)) ** np.float32(SHARPNESS) * fold)
    inverse = brain / (shares[0] + shares[1] + shares[2])
    grey, white, fluid = (share * inverse for share in shares)
    return Anatomy(brain, grey, white, fluid, fluid * ventricles, detail, _depth(brain, grid))


def _sample(values: Volume, points: npt.NDArray[np.float32], brain: Mask) -> Volume:
    """Values of an atlas map at the brain's voxels, whose places in the atlas are `points`, (3, N); 0 outside: (I, J,
    K).
    """
    result = np.zeros(brain.shape, np.float32)
    result[brain] = ndi.map_coordinates(values, points, order=1, output=np.float32)
    return result


MAX_DEPTH_MM = 12.0
"""Depths beyond this are not told apart."""


def _depth(brain: Mask, grid: Grid) -> Volume:
    """Approximate depth below the surface, from how much brain lies within reach; cheaper than an exact distance."""
    sigma = [MAX_DEPTH_MM / 2 / spacing for spacing in grid.spacing_mm]
    # A half-space smoothed by a Gaussian is 0.5 on its border and rises along the error function; inverted linearly
    # where that is steep.
    share = ndi.gaussian_filter(brain.astype(np.float32), sigma, truncate=2)
    return np.asarray(np.clip(share - 0.5, 0, 0.48) / 0.48 * MAX_DEPTH_MM * brain, np.float32)
