"""What a column of scores comes to over a cohort, with how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
"""Bootstrap samples: the ends of a 95 % interval then vary by about 1 % of its width from seed to seed."""


@dataclass(frozen=True)
class MetricSummary:
    """A column's summary over the cells that are not blank; NaN where there are too few.

    Args:
        n: cells that are not blank.
        mean: their mean.
        sd: their standard deviation (n - 1).
        median: their median.
        quartile_1: their first quartile, linear between two values.
        quartile_3: their third.
        mean_low: lower end of the mean's 95 % bootstrap interval.
        mean_high: its upper end.
        median_low: lower end of the median's.
        median_high: its upper end.
    """

    n: int
    mean: float = math.nan
    sd: float = math.nan
    median: float = math.nan
    quartile_1: float = math.nan
    quartile_3: float = math.nan
    mean_low: float = math.nan
    mean_high: float = math.nan
    median_low: float = math.nan
    median_high: float = math.nan


def summarise(values: Iterable[float], seed: int = 0, resamples: int = RESAMPLES) -> MetricSummary:
    """Summarises one value per case.

    Args:
        values: NaN cells are left out.
        seed: of the bootstrap, which draws cases with replacement and takes the 2.5th and 97.5th percentile.
        resamples: how often it draws.
    """
    cells = np.array([value for value in values if not math.isnan(value)])
    if cells.size == 0:
        return MetricSummary(0)
    drawn = cells[np.random.default_rng(seed).integers(0, cells.size, (resamples, cells.size))]
    intervals = np.percentile([drawn.mean(axis=1), np.median(drawn, axis=1)], [2.5, 97.5], axis=1)
    quartiles = np.percentile(cells, [25, 50, 75])
    return MetricSummary(
        n=cells.size,
        mean=float(cells.mean()),
        sd=float(cells.std(ddof=1)) if cells.size > 1 else math.nan,
        median=float(quartiles[1]),
        quartile_1=float(quartiles[0]),
        quartile_3=float(quartiles[2]),
        mean_low=float(intervals[0, 0]),
        mean_high=float(intervals[1, 0]),
        median_low=float(intervals[0, 1]),
        median_high=float(intervals[1, 1]),
    )
