"""How sure a difference between two experiments is: the same patients under both, resampled and ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import numpy as np

from gliomask.metrics.summary import MetricSummary, summarise


@dataclass(frozen=True)
class Paired:
    """One metric of one region under an experiment and under its baseline.

    Args:
        difference: experiment minus baseline over the patients that have both, with 95 % bootstrap intervals over
            patients.
        p: of Wilcoxon's signed-rank test, two-sided; NaN without a patient, 1 where no patient differs.
    """

    difference: MetricSummary
    p: float


def paired(values: Mapping[str, float], baseline: Mapping[str, float], seed: int) -> Paired:
    """Compares two columns by patient; patients that only one of them has, or whose cell is blank in one, are left out.

    Args:
        values: of the experiment, by case.
        baseline: of the baseline, by case.
        seed: of the bootstrap.
    """
    common = [
        case for case in values if case in baseline and not math.isnan(values[case]) and not math.isnan(baseline[case])
    ]
    differences = [values[case] - baseline[case] for case in common]
    return Paired(summarise(differences, seed), signed_rank(differences))


def signed_rank(differences: Ordered[float]) -> float:
    """Returns the two-sided p value of Wilcoxon's signed-rank test (Wilcoxon, Biometrics Bulletin 1945); differences of
    0 are left out, as he did.
    """
    # Scores that differ in the sixteenth digit do so by the order of a sum.
    rounded = np.round(np.array(differences, float), 12)
    if rounded.size == 0:
        return math.nan
    if not rounded.any():
        return 1.0
    # Imported here: scipy.stats takes a second that no other command should wait for.
    from scipy import stats

    return float(stats.wilcoxon(rounded[rounded != 0]).pvalue)


def holm(p_values: Ordered[float]) -> list[float]:
    """Returns p values corrected for their number (Holm, Scandinavian Journal of Statistics 1979); NaN stays NaN and
    does not count.
    """
    corrected = [math.nan] * len(p_values)
    order = sorted((n for n, p in enumerate(p_values) if not math.isnan(p)), key=p_values.__getitem__)
    highest = 0.0
    for rank, n in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[n]))
        corrected[n] = highest
    return corrected
