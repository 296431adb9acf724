"""Heads made for tests: a synthetic brain in a shell of fluid, bone and scalp, scanned on grids of their own under
known movements.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi

from gliomask.case import Case
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.preprocess.raw.transforms import about, turn
from gliomask.sequences import Sequence

SHELL = {
    # Fluid, bone, scalp: shares of the brain's median.
    Sequence.FLAIR: (0.3, 0.08, 1.3),
    Sequence.T1: (0.3, 0.08, 2.2),
    Sequence.T1CE: (0.3, 0.08, 2.0),
    Sequence.T2: (1.9, 0.08, 1.2),
}
THICKNESS_MM = (2.0, 7.0, 13.0)
"""Where each of the three ends, from the brain outwards."""
PAD_MM = 24.0


@dataclass
class Head:
    """A head at rest, in the frame of BraTS."""

    volumes: dict
    brain: np.ndarray
    geometry: Geometry

    def value(self, what, points):
        """Linear interpolation at world points, (N, 3)."""
        index = (points - self.geometry.affine[:3, 3]) @ np.linalg.inv(self.geometry.affine[:3, :3]).T
        return ndi.map_coordinates(what, index.T, order=1, mode="constant", output=np.float32)


def make_head(case: Case, seed: int = 0) -> Head:
    """Puts the brain of a case, 0 outside, into a shell and a neck."""
    spacing = np.array(case.geometry.spacing_mm)
    pad = np.ceil(PAD_MM / spacing).astype(int)
    brain = ndi.binary_fill_holes(np.pad(case.brain_mask, [(n, n) for n in pad]))
    affine = case.geometry.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ pad
    away_mm = ndi.distance_transform_edt(~brain, spacing)
    i, j, k = np.meshgrid(
        *[np.arange(n) * mm for n, mm in zip(brain.shape, spacing, strict=True)], indexing="ij", sparse=True
    )
    middle = np.array(ndi.center_of_mass(brain)) * spacing
    neck = ((i - middle[0]) ** 2 + (j - middle[1] - 15) ** 2 < 45**2) & (k < middle[2] - 40)
    tissue = np.digitize(away_mm, (0.01, *THICKNESS_MM))
    generator = np.random.default_rng(seed)
    volumes = {}
    for sequence, shares in SHELL.items():
        inside = np.pad(case.volumes[sequence], [(n, n) for n in pad])
        unit = np.median(inside[brain])
        level = np.select(
            [tissue == 1, tissue == 2, tissue == 3, neck], [*(share * unit for share in shares), 0.8 * unit], 0
        )
        rough = 1 + 0.1 * ndi.gaussian_filter(generator.standard_normal(brain.shape), 1) / 0.2
        volumes[sequence] = (
            np.where(brain, inside, level * rough) + 0.03 * unit * np.abs(generator.standard_normal(brain.shape))
        ).astype(np.float32)
    return Head(volumes, brain, Geometry(brain.shape, affine))


def scan_head(head: Head, sequence: Sequence, matrix: np.ndarray, geometry: Geometry) -> Scan:
    """Scans a head that was moved by a matrix (the frame's world to the scanner's) on a grid of the scanner's; thick
    slices blur.
    """
    return Scan(_sample(head, head.volumes[sequence], matrix, geometry), geometry, f"{sequence.value}.nii.gz")


def true_mask(head: Head, matrix: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The head's brain on a scanner's grid."""
    return _sample(head, head.brain.astype(np.float32), matrix, geometry) > 0.5


def _sample(head, what, matrix, geometry, places=3):
    index = np.argwhere(np.ones(geometry.shape, bool)).astype(float)
    back = np.linalg.inv(matrix)
    total = 0
    for place in range(places):
        thick = index + np.array([0, 0, (place + 0.5) / places - 0.5])
        points = thick @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
        total = total + head.value(what, points @ back[:3, :3].T + back[:3, 3])
    return (total / places).reshape(geometry.shape).astype(np.float32)


def scanner_grid(shape, spacing_mm, tilt_degrees=(0.0, 0.0, 0.0)) -> Geometry:
    """A grid about the scanner's centre, axes to the right, front and up, tilted."""
    affine = np.eye(4)
    affine[:3, :3] = turn(tilt_degrees) @ np.diag(spacing_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape, affine)


def posed(head: Head, degrees, shift_mm) -> np.ndarray:
    """The map that turns a head about its brain's middle and brings that near the scanner's centre."""
    middle = head.geometry.affine @ [*ndi.center_of_mass(head.brain), 1.0]
    return about(middle[:3], turn(degrees), np.array(shift_mm) - middle[:3])


def moved_examination(head: Head):
    """Four scans of one head that moved between them, 5 mm slices, oblique; returns the examination and the
    matrices.
    """
    grids = {
        Sequence.FLAIR: scanner_grid((104, 120, 36), (2.0, 2.0, 5.0), (12, 0, 0)),
        Sequence.T1: scanner_grid((110, 116, 38), (1.9, 1.9, 5.0)),
        Sequence.T1CE: scanner_grid((110, 116, 38), (1.9, 1.9, 5.0)),
        Sequence.T2: scanner_grid((100, 118, 36), (2.1, 2.1, 5.2), (10, 3, 0)),
    }
    matrices = {
        Sequence.FLAIR: posed(head, (9, 2, 6), (3, -4, 6)),
        Sequence.T1: posed(head, (14, -3, 4), (2, 5, -3)),
        Sequence.T1CE: posed(head, (11, 0, 2), (0, 0, 0)),
        Sequence.T2: posed(head, (6, 4, -5), (-4, 3, 5)),
    }
    scans = {sequence: scan_head(head, sequence, matrices[sequence], grid) for sequence, grid in grids.items()}
    return Examination("moved", scans), matrices
