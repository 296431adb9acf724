"""Measures of whether four sequences are what they are called, from the contrasts that make them what they are, and
whether each is an image at all.

All look at brain voxels only and need no model; those of contrast change their sign when the two sequences concerned
are swapped. Rows of the arrays are the sequences in the paper's order: FLAIR, T1, T1ce, T2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FLAIR, T1, T1CE, T2 = range(4)

TOP_PERCENT = 99.8
"""Where the brightest spots begin: enhancing tumour, vessels and plexus in T1ce."""

FLUID_SHARE = 0.02
"""Share of the brain in which T2 and FLAIR disagree most, at either end."""


def enhancement(samples: npt.NDArray[np.float32]) -> float:
    """How much further the brightest spots stand out in T1ce than in T1: logarithm of the ratio, each in units of its
    own spread.

    Args:
        samples: (4, N) intensities.
    """
    low, middle, high, top = np.percentile(samples, (25, 50, 75, TOP_PERCENT), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        stand_out = np.log((top - middle) / (high - low))
        difference = float(stand_out[T1CE] - stand_out[T1])
    return difference if np.isfinite(difference) else 0.0


def sample_ranks(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Returns the rank of each intensity within its sequence, 0 to 1, equal ones sharing theirs: (4, N)."""
    ordered = np.sort(samples, axis=1)
    ranks = [
        np.searchsorted(row, values, "left") + np.searchsorted(row, values, "right")
        for row, values in zip(ordered, samples, strict=True)
    ]
    shares: npt.NDArray[np.float64] = np.stack(ranks) / (2.0 * samples.shape[1])
    return shares


def likeness(ranks: npt.NDArray[np.float64]) -> float:
    """How much more T1 resembles T1ce, and FLAIR T2, than the pairs of any other matching do: a difference of summed
    rank correlations.

    Args:
        ranks: (4, N), as `sample_ranks` returns them.
    """
    if (ranks.std(axis=1) == 0).any():
        return 0.0
    c = np.asarray(np.corrcoef(ranks))
    return float(c[T1, T1CE] + c[FLAIR, T2] - max(c[T1, FLAIR] + c[T1CE, T2], c[T1, T2] + c[T1CE, FLAIR]))


def fluid(ranks: npt.NDArray[np.float64]) -> float:
    """How much darker in T1 and T1ce the voxels are where T2 outshines FLAIR most (fluid, which FLAIR blanks out), than
    where FLAIR outshines T2.

    Args:
        ranks: (4, N), as `sample_ranks` returns them.
    """
    excess = ranks[T2] - ranks[FLAIR]
    low, high = np.quantile(excess, (FLUID_SHARE, 1 - FLUID_SHARE))
    brightness = ranks[T1] + ranks[T1CE]
    return float(brightness[excess <= low].mean() - brightness[excess >= high].mean())


def resemblance(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Correlation of two rows of intensities: 1 where one is the other, whatever its scale and offset; 0 where one of
    them is flat.

    Args:
        first: (N,) intensities.
        second: (N,) of the same voxels.
    """
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def top_share(values: npt.NDArray[np.float32]) -> float:
    """Share of voxels that have the highest intensity of all.

    Args:
        values: (N,) intensities.
    """
    return float((values == values.max()).mean()) if values.size else 0.0
