"""BraTS space, and the average brain in it that raw scans are registered to.

BraTS brings its patients rigidly to SRI24 (Rohlfing et al., Human Brain Mapping 2010, doi:10.1002/hbm.20906), which may
not be had with this package's licence; nilearn's wheel carries MNI152 (ICBM 152 nonlinear symmetric 2009a: Fonov et
al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033), skull removed. `FRAME_TO_MNI` leads from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi

from gliomask.arrays import Mask, Volume, short_repr
from gliomask.errors import EngineUnavailableError
from gliomask.geometry import Geometry
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.transforms import Points

BRATS_FRAME = Geometry((240, 240, 155), np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239], [0, 0, 1.0, 0], [0, 0, 0, 1]]))
"""The grid of BraTS 2017 to 2023: 1 mm, axes to the left, to posterior and up."""

FRAME_TO_MNI = np.array(
    [
        [1.09409, 0.01951, 0.00725, 127.60308],
        [-0.03984, 1.04695, 0.21411, -152.20167],
        [-0.01286, -0.23573, 1.14949, -54.24967],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""World of the BraTS frame to world of MNI152, RAS millimetres: the affine map under which the MNI152 T1 correlates
best (r2 = 0.92) with the mean T1 of 65 patients of BraTS. The average patient is 10 % smaller than MNI152 along each
axis and is pitched by 12 degrees."""

ATLAS_SPACING_MM = 2.0
ATLAS_SHAPE = (100, 116, 104)
ATLAS_CORNER = (18.0, 8.0, -36.0)
"""The atlas's grid: as the BraTS frame's, coarser, and reaching 36 mm further down, where the frame cuts the cerebellum
of some.
"""

FILE_NAME = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
INSIDE = 5.0
"""The template's intensities run from 0, outside the brain, to 255."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """The average brain, in the BraTS frame.

    Args:
        t1: (I, J, K), 0 outside the brain.
        brain: (I, J, K), True inside.
        geometry: their grid.
    """

    t1: Volume
    brain: Mask
    geometry: Geometry

    __repr__ = short_repr

    @cached_property
    def depth_mm(self) -> Volume:
        """Distance to the surface of the brain, negative inside: (I, J, K)."""
        outside = ndi.distance_transform_edt(~self.brain, self.geometry.spacing_mm)
        inside = ndi.distance_transform_edt(self.brain, self.geometry.spacing_mm)
        # Each is measured to the nearest voxel of the other kind; the surface runs half a voxel before it.
        half = ATLAS_SPACING_MM / 2
        return np.where(self.brain, half - inside, outside - half).astype(np.float32)

    @cached_property
    def brain_points(self) -> Points:
        """World positions of a regular grid of brain voxels: (N, 3)."""
        index = np.argwhere(self.brain[::4, ::4, ::4]) * 4.0
        points: Points = index @ self.geometry.affine[:3, :3].T + self.geometry.affine[:3, 3]
        return points


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Reads the template from the installed nilearn and lays it into the frame.

    Raises:
        EngineUnavailableError: nilearn or SimpleITK is not installed, or nilearn lacks the template.
    """
    i, j, k = ATLAS_CORNER
    affine = np.diag([-ATLAS_SPACING_MM, -ATLAS_SPACING_MM, ATLAS_SPACING_MM, 1.0])
    affine[:3, 3] = -i, 239 - j, k
    geometry = Geometry(ATLAS_SHAPE, affine)
    t1 = itk.resample(*itk.read(template_file()), geometry, FRAME_TO_MNI)
    labelled, _ = ndi.label(ndi.binary_fill_holes(t1 > INSIDE))
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return Atlas(t1, labelled == sizes.argmax(), geometry)


def template_file() -> Path:
    """Returns the path of the template in the installed nilearn, which is not imported: that takes seconds.

    Raises:
        EngineUnavailableError: nilearn is not installed, or lacks the template.
    """
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise EngineUnavailableError(
            "nilearn is not installed; raw scans are registered to its MNI152 brain. Install it with: pip install "
            "'gliomask[raw]'."
        )
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / FILE_NAME
    if not path.is_file():
        raise EngineUnavailableError(
            f"The installed nilearn lacks {FILE_NAME}. Install a version that has it: pip install 'gliomask[raw]'."
        )
    return path
