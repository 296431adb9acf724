"""The MNI152 tissue maps, read from the installed nilearn package without importing it (an import takes seconds and
much memory).

ICBM 152 nonlinear symmetric 2009a: Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033. The wheel
carries T1 (skull removed), grey and white matter at 1 mm.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi

from gliomask.arrays import Volume
from gliomask.errors import EngineUnavailableError
from gliomask.io.nifti import read_volume

FILE_NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
MAPS = ("t1", "gm", "wm")

CENTRAL_WIDTH_MM = 45
"""A voxel is central if the cube of this width round it is nearly all brain: that tells ventricles from sulci and
cisterns.
"""


@dataclass(frozen=True, eq=False)
class TissueAtlas:
    """Maps of an average brain on one grid of 1 mm, axes to the left, to posterior and up; all (I, J, K) in 0 to 1.

    Args:
        brain: 1 in the brain, slightly smoothed.
        grey: share of grey matter.
        white: share of white matter.
        ventricles: share of ventricular fluid.
        detail: T1 intensity beyond what the shares explain, such as that of the deep nuclei; about -0.2 to 0.2.
    """

    brain: Volume
    grey: Volume
    white: Volume
    ventricles: Volume
    detail: Volume


def atlas_files() -> dict[str, Path]:
    """Returns the path of each map in the installed nilearn.

    Raises:
        EngineUnavailableError: nilearn is not installed, or its package lacks the maps.
    """
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise EngineUnavailableError(
            "nilearn is not installed; simulation takes its tissue maps from there. Install with: pip install "
            "'gliomask[simulate]'."
        )
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    files = {name: folder / FILE_NAME.format(name) for name in MAPS}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise EngineUnavailableError(
            f"The installed nilearn {version('nilearn')} lacks {', '.join(missing)}. Install a version that has "
            "them: pip install 'gliomask[simulate]'."
        )
    return files


def atlas_record() -> dict[str, object]:
    """Returns the version of nilearn and the SHA-256 of each map, for the record of a run. Raises as `atlas_files`."""
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in atlas_files().values()}
    return {"nilearn": version("nilearn"), "inputs": hashes}


@lru_cache(maxsize=1)
def load_atlas() -> TissueAtlas:
    """Reads the maps. Raises as `atlas_files`."""
    t1, grey, white = (_read(path) for path in atlas_files().values())
    inside = t1 > 0.02
    fluid = inside * np.clip(1 - grey - white, 0, 1)
    central = ndi.uniform_filter(inside.astype(np.float32), CENTRAL_WIDTH_MM) > 0.97
    # The T1 map is normalised so that grey matter is about 0.62 and white matter about 0.85 (medians where the shares
    # exceed 0.9).
    detail = np.where(grey + white > 0.8, t1 - 0.62 * grey - 0.85 * white, 0)
    return TissueAtlas(
        ndi.gaussian_filter(inside.astype(np.float32), 1),
        grey,
        white,
        fluid * central,
        np.clip(detail, -0.2, 0.2).astype(np.float32),
    )


def _read(path: Path) -> Volume:
    scan = read_volume(path)
    return np.ascontiguousarray(scan.geometry.reorientation_to("LPS").apply(scan.values) / np.float32(255))
