"""What a scanner and the processing after it add: thick slices, blur, noise, an uneven field, and whole numbers."""

from __future__ import annotations

import numpy as np
import scipy.ndimage as ndi

from gliomask.arrays import Mask, Volume
from gliomask.simulate.fields import Grid, smooth_noise

# Intensity of the brain's mean and of one standard deviation of it, in scanner units. Their ratio decides how deep a
# bias field of some percent reaches.
MEAN_INTENSITY = 600.0
DEVIATION_INTENSITY = 120.0

BIAS_SCALE_MM = 70.0
BIAS_SPREAD = (0.01, 0.04)
"""Range of the standard deviation of the multiplicative field: receive coils leave some percent after the scanner's own
correction.
"""

NOISE_SPREAD = (0.06, 0.2)
"""Range of the noise in standard deviations of the brain: differences of neighbouring voxels in deep white matter of
the labelled training cases.
"""

THICK_SLICES = 0.3
"""Share of sequences that were not acquired in 3-D but in slices of 3 to 6 mm and interpolated; BraTS mixes both."""
THICK_SIGMA_MM = (1.2, 2.2)
"""Standard deviation of the profile of such slices after interpolation."""
IN_PLANE_SIGMA_MM = (0.35, 0.75)
"""Blur by acquisition and by resampling to the common grid."""


def scan(generator: np.random.Generator, grid: Grid, z_scores: Volume, brain: Mask) -> Volume:
    """Turns ideal contrast into what a file would hold: positive whole numbers in the brain, exactly 0 outside.

    Args:
        generator: source of randomness.
        grid: the working grid.
        z_scores: (I, J, K) ideal signal in standard deviations of the brain, about 0 on average.
        brain: (I, J, K).
    """
    signal = MEAN_INTENSITY + DEVIATION_INTENSITY * np.clip(z_scores, -4.5, 12)
    signal *= 1 + np.float32(generator.uniform(*BIAS_SPREAD)) * smooth_noise(generator, grid, BIAS_SCALE_MM)
    noise = np.float32(DEVIATION_INTENSITY * generator.uniform(*NOISE_SPREAD))
    sigma_mm = np.full(3, generator.uniform(*IN_PLANE_SIGMA_MM))
    if generator.random() < THICK_SLICES:
        sigma_mm[generator.choice(3, p=(0.1, 0.1, 0.8))] = generator.uniform(*THICK_SIGMA_MM)
    blurred = ndi.gaussian_filter(signal, sigma_mm / grid.spacing_mm, truncate=3)
    # Noise is added before the last resampling, which smooths it a little; magnitude images make it Rician.
    real, imaginary = (noise * _grain(generator, grid) for _ in range(2))
    magnitude = np.sqrt((blurred + real) ** 2 + imaginary**2)
    gain = np.float32(generator.uniform(0.5, 3.0))
    return np.where(brain, np.clip(np.rint(gain * magnitude), 1, np.iinfo(np.int16).max), 0).astype(np.float32)


def _grain(generator: np.random.Generator, grid: Grid) -> Volume:
    """Noise of variance 1, correlated between neighbours as resampling leaves it: (I, J, K)."""
    values = generator.standard_normal(grid.shape, np.float32)
    for axis in range(3):
        ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        # Squares of the two weights sum to one, which keeps the variance; neighbours correlate at 0.48.
        values[ahead] = np.float32(0.8) * values[ahead] + np.float32(0.6) * values[behind]
    return values
