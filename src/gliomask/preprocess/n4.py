"""N4 bias field correction (Tustison et al., IEEE TMI 2010, doi:10.1109/TMI.2010.2046908), by SimpleITK; the extra
`n4`.

The coil's smooth brightening and darkening is fitted inside the brain on a coarser grid and divided out on the full
one. BraTS releases are not corrected, and the networks are trained without it, so this is an option for other data,
never a default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Mask, Volume
from gliomask.case import Case
from gliomask.errors import CaseError, EngineUnavailableError

FEWEST_VOXELS = 4
"""Voxels that the coarser grid keeps along every axis: a cubic spline needs as many control points."""


@dataclass(frozen=True)
class N4Settings:
    """How the field is fitted.

    Args:
        grid_mm: spacing of the grid it is fitted on; the field is smooth over centimetres, and a finer grid only takes
            longer.
        iterations: most iterations at each of the levels, each with twice the control points of the one before.
        convergence: a level ends when the field's relative change falls below.
        threads: more than one is quicker, but sums in another order, so that the last digits may differ.
    """

    grid_mm: float = 4.0
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    convergence: float = 1e-3
    threads: int = 1


DEFAULT_SETTINGS = N4Settings()


def correct_bias(case: Case, settings: N4Settings = DEFAULT_SETTINGS) -> Case:
    """Returns the case with every sequence corrected inside the brain.

    Raises:
        EngineUnavailableError: SimpleITK is not installed.
        CaseError: a sequence has no positive intensities in the brain, or too few to fit a field to.
    """
    volumes = {}
    for sequence, volume in case.volumes.items():
        try:
            volumes[sequence] = correct_volume(volume, case.brain_mask, case.geometry.spacing_mm, settings)
        except CaseError as error:
            raise CaseError(f"Case {case.case_id}: {sequence.value}: {error}") from error
    return replace(case, volumes=volumes)


def correct_volume(
    volume: Volume, brain: Mask, spacing_mm: tuple[float, float, float], settings: N4Settings = DEFAULT_SETTINGS
) -> Volume:
    """Returns one sequence divided by its bias field inside the brain; voxels outside, and those not above 0, keep
    their value.

    Args:
        volume: (I, J, K) intensities as the scanner gave them.
        brain: (I, J, K), True inside the brain.
        spacing_mm: of the three axes.
        settings: how the field is fitted.

    Raises:
        EngineUnavailableError: SimpleITK is not installed.
        CaseError: fewer than half of the brain's voxels are above 0, or the field cannot be fitted.
    """
    fitted = brain & (volume > 0)
    if 2 * np.count_nonzero(fitted) <= np.count_nonzero(brain):
        raise CaseError(
            "N4 takes logarithms, but most of the brain is not above 0. Give intensities that were not "
            "normalised before."
        )
    field = np.exp(_log_field(volume, fitted, spacing_mm, settings))
    result = np.array(volume, np.float32)
    result[fitted] /= field[fitted]
    return result


def _log_field(
    volume: Volume, fitted: Mask, spacing_mm: tuple[float, float, float], settings: N4Settings
) -> npt.NDArray[np.float32]:
    sitk = _simpleitk()
    image, mask = (
        _image(sitk, array, spacing_mm) for array in (volume.astype(np.float32, copy=False), fitted.astype(np.uint8))
    )
    factors = [_shrink_factor(size, mm, settings.grid_mm) for size, mm in zip(volume.shape, spacing_mm, strict=True)]
    correction = sitk.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations(settings.iterations)
    correction.SetConvergenceThreshold(settings.convergence)
    correction.SetNumberOfThreads(settings.threads)
    correction.SetNumberOfWorkUnits(settings.threads)
    try:
        correction.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
        field = sitk.GetArrayFromImage(correction.GetLogBiasFieldAsImage(image))
    except RuntimeError as error:
        raise CaseError(
            f"N4 cannot fit a field ({str(error).strip().splitlines()[-1]}). Check that the scan is whole, or "
            "leave N4 out."
        ) from error
    log_field: npt.NDArray[np.float32] = field.transpose(2, 1, 0)
    if not np.isfinite(log_field).all():
        raise CaseError("N4 found a field that is not finite. Check that the scan is whole, or leave N4 out.")
    return log_field


def _image(sitk: Any, array: npt.NDArray[np.generic], spacing_mm: tuple[float, float, float]) -> Any:
    # SimpleITK's arrays have their axes in the order K, J, I.
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing_mm)
    return image


def _shrink_factor(size: int, mm: float, grid_mm: float) -> int:
    return max(1, min(round(grid_mm / mm), size // FEWEST_VOXELS))


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise EngineUnavailableError(
            "SimpleITK is not installed (needed for N4). Install it with: pip install 'gliomask[n4]'."
        ) from error
    return SimpleITK
