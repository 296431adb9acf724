"""Statistics of a study: which volumes lie apart from the others, and how far two runs agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.labels import Region

APART = 3.5
"""Modified z-score beyond which a value is an outlier (Iglewicz and Hoaglin, "How to Detect and Handle Outliers",
1993).
"""

FEWEST = 10
"""Cases below which none is called an outlier: a median of a handful says little."""

TO_DEVIATION = 0.6745
"""A normal distribution's median absolute deviation in standard deviations (as there)."""


def modified_z(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns each value's distance from the median in robust standard deviations; 0 for all where more than half are
    equal.

    Volumes of tumours spread over orders of magnitude, so the logarithm of one more millilitre is what is compared.

    Args:
        values: (N,), at least 0.
    """
    logarithms = np.log1p(np.asarray(values, np.float64))
    distances = logarithms - np.median(logarithms)
    spread = np.median(np.abs(distances))
    return TO_DEVIATION * distances / spread if spread > 0 else np.zeros_like(distances)


def outliers(volumes_ml: Mapping[str, Mapping[Region, float]]) -> dict[str, list[str]]:
    """Returns what lies apart, in words, by case.

    Args:
        volumes_ml: of each region, by case.
    """
    reasons: dict[str, list[str]] = {}
    cases = list(volumes_ml)
    for region in Region if len(cases) >= FEWEST else ():
        values = [volumes_ml[case][region] for case in cases]
        for case, value, z in zip(cases, values, modified_z(values), strict=True):
            if abs(z) > APART:
                reasons.setdefault(case, []).append(
                    f"{region.value} {value:.1f} ml is {'large' if z > 0 else 'small'} for this cohort (z {z:+.1f})"
                )
    return reasons


@dataclass(frozen=True)
class Agreement:
    """How far two measurements of the same things agree (Bland and Altman, Lancet 1986).

    Args:
        count: pairs.
        bias: mean of the second less the first.
        low: lower limit of agreement: bias less 1.96 standard deviations of the differences.
        high: the upper one.
        bias_low: lower end of the bias's 95 % confidence interval.
        bias_high: the upper end.
    """

    count: int
    bias: float
    low: float
    high: float
    bias_low: float
    bias_high: float


def agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> Agreement:
    """Returns how far two measurements agree; limits are NaN with fewer than two pairs.

    Args:
        first: (N,).
        second: (N,), of the same things in the same order.
    """
    from scipy.stats import t

    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    count = len(differences)
    if count < 2:
        nan = float("nan")
        return Agreement(count, float(differences.mean()) if count else nan, nan, nan, nan, nan)
    bias, deviation = float(differences.mean()), float(differences.std(ddof=1))
    margin = float(t.ppf(0.975, count - 1)) * deviation / np.sqrt(count)
    return Agreement(count, bias, bias - 1.96 * deviation, bias + 1.96 * deviation, bias - margin, bias + margin)
