"""Intensity normalisation: what turns scanner units into what a network was trained on.

Both methods look at brain voxels only and leave a fixed value everywhere else, so the answer does not depend on how much air is in
the field of view.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Mask, Volume
from gliomask.errors import UsageError

SLICE_BACKGROUND = -9.0
"""Background marker of the authors' `prediction.py`; it also keeps background apart from any z-score."""

SLICE_PERCENTILES = (1.0, 99.0)
"""Clip of the `slice` method: the intended reading of the authors' `clip(p1, p1)` (facts on their code, oddity 1)."""

VOLUME_BACKGROUND = 0.0
"""Background of the `volume` method: the mean of the brain, so that zero padding inside the network is no edge."""

VOLUME_PERCENTILES = (0.5, 99.5)
"""Clip of the `volume` method, as nnU-Net's CT scheme and the trial that set this project's floor."""


def normalise_slices(volume: Volume, brain: Mask) -> Volume:
    """Normalises each axial slice on its own, as the paper's authors do.

    Clips to the 1st and 99th percentile of the slice's brain voxels, then z-scores with their mean and deviation; background is -9.
    A slice without brain is all background; a slice whose brain is constant gets 0 there (its z-score is undefined).

    Args:
        volume: (I, J, K) intensities, axial slices along K.
        brain: (I, J, K), True inside the brain.
    """
    result = np.full(volume.shape, SLICE_BACKGROUND, np.float32)
    for k in np.flatnonzero(brain.any(axis=(0, 1))):
        inside = brain[:, :, k]
        result[inside, k] = _z_scores(volume[inside, k], SLICE_PERCENTILES)
    return result


def normalise_volume(volume: Volume, brain: Mask) -> Volume:
    """Normalises the whole volume at once: clips to percentiles 0.5 and 99.5 of the brain, z-scores over it; background is 0.

    Args:
        volume: (I, J, K) intensities.
        brain: (I, J, K), True inside the brain.
    """
    result = np.full(volume.shape, VOLUME_BACKGROUND, np.float32)
    if brain.any():
        result[brain] = _z_scores(volume[brain], VOLUME_PERCENTILES)
    return result


def _z_scores(values: npt.NDArray[np.float32], percentiles: tuple[float, float]) -> npt.NDArray[np.float32]:
    low, high = np.percentile(values, percentiles)
    if not low < high:
        # Constant after the clip. Its deviation need not come out as exactly 0, and rounding must not be blown up to contrast.
        return np.zeros_like(values)
    clipped = np.clip(values, low, high)
    scores = (clipped - clipped.mean(dtype=np.float64)) / clipped.std(dtype=np.float64)
    return np.asarray(scores, np.float32)


Normalisation = Callable[[Volume, Mask], Volume]

NORMALISATIONS: dict[str, tuple[Normalisation, float]] = {
    "slice": (normalise_slices, SLICE_BACKGROUND),
    "volume": (normalise_volume, VOLUME_BACKGROUND),
}
"""Each method by name, with the value that it gives to background."""


def normalisation(name: str) -> tuple[Normalisation, float]:
    """Returns the method of that name and its background value.

    Raises:
        UsageError: there is none.
    """
    try:
        return NORMALISATIONS[name]
    except KeyError:
        raise UsageError(f"There is no normalisation '{name}'. Known ones: {', '.join(NORMALISATIONS)}.") from None
