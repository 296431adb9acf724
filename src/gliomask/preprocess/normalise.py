"""Intensity normalisation: what turns scanner units into what a network was trained on.

The methods look at the brain, or at its box, and leave a fixed value everywhere else, so the answer does not depend on
how much air is in the field of view. `slice` and `volume` are for gliomask's own networks; the others do what nnU-Net
and MONAI do, for networks trained there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Mask, Volume
from gliomask.errors import UsageError

Values = npt.NDArray[np.float32]
Score = Callable[[Values], Values]
Fit = Callable[[Values], Score]

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

    Clips to the 1st and 99th percentile of the slice's brain voxels, then z-scores with their mean and deviation;
    background is -9. A slice without brain is all background; a slice whose brain is constant gets 0 there (its z-score
    is undefined).

    Args:
        volume: (I, J, K) intensities, axial slices along K.
        brain: (I, J, K), True inside the brain.
    """
    result = np.full_like(volume, SLICE_BACKGROUND, np.float32)
    for k in np.flatnonzero(brain.any(axis=(0, 1))):
        inside = brain[:, :, k]
        values = volume[inside, k]
        result[inside, k] = _to_z_scores(values, SLICE_PERCENTILES)(values)
    return result


def normalise_volume(volume: Volume, brain: Mask) -> Volume:
    """Normalises the whole volume at once: clips to percentiles 0.5 and 99.5 of the brain, z-scores over it; background
    is 0.

    Args:
        volume: (I, J, K) intensities.
        brain: (I, J, K), True inside the brain.
    """
    return _inside(volume, brain, VOLUME_BACKGROUND, _to_z_scores)


def z_score_brain(volume: Volume, brain: Mask) -> Volume:
    """Z-scores over the brain, nothing clipped; outside it 0: nnU-Net's ZScoreNormalization with `use_mask_for_norm`.

    Args:
        volume: (I, J, K) intensities.
        brain: (I, J, K), True inside the brain: where any sequence is not 0.
    """
    return _inside(volume, brain, 0.0, _to_plain_z_scores)


def z_score_nonzero(volume: Volume, brain: Mask) -> Volume:
    """Z-scores over the voxels of this sequence that are not 0, which stay 0: MONAI's NormalizeIntensity with `nonzero`
    and `channel_wise`.

    Args:
        volume: (I, J, K) intensities.
        brain: (I, J, K), True inside the brain.
    """
    return z_score_brain(volume, brain & (volume != 0))


def z_score_box(volume: Volume, brain: Mask) -> Volume:
    """Z-scores over all of the brain's box, its air included; outside the box 0: nnU-Net's ZScoreNormalization without
    a mask, after its crop.

    Args:
        volume: (I, J, K) intensities.
        brain: (I, J, K), True inside the brain.
    """
    result = np.zeros_like(volume, np.float32)
    if brain.any():
        filled = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        box = tuple(slice(positions[0], positions[-1] + 1) for positions in filled)
        result[box] = _to_plain_z_scores(volume[box])(volume[box])
    return result


def unit_range(volume: Volume, brain: Mask) -> Volume:
    """Clips to percentiles 0.5 and 99.5 of the brain and scales what is left to 0 to 1; outside it 0.

    MONAI's ScaleIntensityRangePercentiles(0.5, 99.5, 0, 1, clip=True) does the same when it is given the brain alone.

    Args:
        volume: (I, J, K) intensities.
        brain: (I, J, K), True inside the brain.
    """
    return _inside(volume, brain, 0.0, _to_unit_range)


def values_inside(volume: Volume, brain: Mask) -> Values:
    """Returns the values of the brain's voxels, in the order in which they lie in memory."""
    # numpy picks by a mask in C order. Volumes from NIfTI files are in F order: turned, they are picked four times as
    # quickly.
    turned = volume.flags.f_contiguous
    return volume.T[brain.T] if turned else volume[brain]


def _inside(volume: Volume, brain: Mask, background: float, fit: Fit) -> Volume:
    """Returns a volume with the scores of the brain's values in their places, and background elsewhere."""
    result = np.full_like(volume, background, np.float32)
    if brain.any():
        values = values_inside(volume, brain)
        scores = fit(values)(values)
        if volume.flags.f_contiguous:
            result.T[brain.T] = scores
        else:
            result[brain] = scores
    return result


def _to_unit_range(values: Values) -> Score:
    low, high = np.percentile(values, VOLUME_PERCENTILES)
    if not low < high:
        return np.zeros_like
    return lambda given: np.asarray((np.clip(given, low, high) - low) / (high - low), np.float32)


def _to_plain_z_scores(values: Values) -> Score:
    if values.min() == values.max():
        return np.zeros_like
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    return lambda given: np.asarray((given - mean) / deviation, np.float32)


def _to_z_scores(values: Values, percentiles: tuple[float, float] = VOLUME_PERCENTILES) -> Score:
    low, high = np.percentile(values, percentiles)
    if not low < high:
        # Constant after the clip. Its deviation need not come out as exactly 0, and rounding must not be blown up to
        # contrast.
        return np.zeros_like
    clipped = np.clip(values, low, high)
    mean, deviation = clipped.mean(dtype=np.float64), clipped.std(dtype=np.float64)
    return lambda given: np.asarray((np.clip(given, low, high) - mean) / deviation, np.float32)


FITS: dict[str, Fit] = {"volume": _to_z_scores, "z-score-brain": _to_plain_z_scores, "unit-range": _to_unit_range}
"""Methods that learn a few numbers from the brain's values and then score each voxel by itself: from the brain's values
to what scores any value. Any part of a volume can be normalised when it is needed."""

Normalisation = Callable[[Volume, Mask], Volume]

NORMALISATIONS: dict[str, tuple[Normalisation, float]] = {
    "slice": (normalise_slices, SLICE_BACKGROUND),
    "volume": (normalise_volume, VOLUME_BACKGROUND),
    "z-score-brain": (z_score_brain, 0.0),
    "z-score-nonzero": (z_score_nonzero, 0.0),
    "z-score-box": (z_score_box, 0.0),
    "unit-range": (unit_range, 0.0),
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
