"""To SimpleITK and back: images from arrays and grids, and resampling along a linear map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Affine, Volume
from gliomask.errors import EngineUnavailableError
from gliomask.geometry import Geometry
from gliomask.preprocess.raw.transforms import LPS

THREADS = 1
"""Sums of several threads come in another order each time, and so do their last digits."""


def simpleitk() -> Any:
    """Returns the module.

    Raises:
        EngineUnavailableError: it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise EngineUnavailableError(
            "SimpleITK is not installed (needed for raw scans). Install it with: pip install 'gliomask[raw]'."
        ) from error
    return SimpleITK


def to_image(volume: npt.NDArray[np.generic], geometry: Geometry) -> Any:
    """Returns a volume, (I, J, K), as a SimpleITK image at its place in the world."""
    # SimpleITK's arrays have their axes in the order K, J, I.
    image = simpleitk().GetImageFromArray(np.ascontiguousarray(np.asarray(volume).transpose(2, 1, 0)))
    affine = LPS @ geometry.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def to_transform(matrix: Affine) -> Any:
    """Returns a map of RAS millimetres as a SimpleITK transform."""
    lps = LPS @ matrix @ LPS
    transform = simpleitk().AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def resample(volume: Volume, geometry: Geometry, target: Geometry, matrix: Affine) -> Volume:
    """Returns a volume on another grid, linear between voxels, 0 outside: one interpolation, whatever the matrix is
    composed of.

    Args:
        volume: (I, J, K) on `geometry`.
        geometry: its grid.
        target: the grid of the result.
        matrix: the target's world to the volume's.
    """
    sitk = simpleitk()
    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(THREADS)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetTransform(to_transform(matrix))
    affine = LPS @ target.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    resampler.SetSize([int(n) for n in target.shape])
    resampler.SetOutputSpacing(spacing.tolist())
    resampler.SetOutputOrigin(affine[:3, 3].tolist())
    resampler.SetOutputDirection((affine[:3, :3] / spacing).ravel().tolist())
    moved: Volume = sitk.GetArrayFromImage(
        resampler.Execute(to_image(volume.astype(np.float32, copy=False), geometry))
    ).transpose(2, 1, 0)
    return np.ascontiguousarray(moved)


def read(path: Path) -> tuple[Volume, Geometry]:
    """Reads a file of an installed package; the user's own go through `io.nifti`, which trusts no header."""
    image = simpleitk().ReadImage(str(path), simpleitk().sitkFloat32)
    volume = np.ascontiguousarray(simpleitk().GetArrayFromImage(image).transpose(2, 1, 0))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return volume, Geometry(volume.shape, LPS @ affine)
