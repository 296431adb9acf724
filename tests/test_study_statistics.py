import math

import numpy as np
import pytest
from scipy import stats

from gliomask.metrics.summary import summarise
from gliomask.study.statistics import holm, paired, signed_rank


@pytest.mark.parametrize("kind", ["mean", "median"])
def test_intervals_are_those_of_scipy(rng, kind):
    values = rng.beta(8, 2, 26)
    found = summarise(values, seed=1)
    other = stats.bootstrap(
        (values,), getattr(np, kind), n_resamples=10_000, method="percentile", rng=np.random.default_rng(2), axis=0
    ).confidence_interval
    width = other.high - other.low
    assert getattr(found, f"{kind}_low") == pytest.approx(other.low, abs=0.04 * width)
    assert getattr(found, f"{kind}_high") == pytest.approx(other.high, abs=0.04 * width)


def test_a_difference_is_of_the_same_patients():
    values = {"a": 0.9, "b": 0.8, "c": math.nan, "d": 0.7, "only": 1.0}
    baseline = {"d": 0.4, "b": 0.6, "a": 0.8, "c": 0.5, "other": 0.0}
    found = paired(values, baseline, seed=0)
    assert found.difference.n == 3
    assert found.difference.mean == pytest.approx(0.2)
    assert found.difference.median == pytest.approx(0.2)
    assert 0.1 - 1e-9 <= found.difference.mean_low < 0.2 < found.difference.mean_high <= 0.3 + 1e-9
    # All three positive: the two most extreme of 2 ** 3 signs.
    assert found.p == pytest.approx(2 / 8)


def test_signed_ranks_by_hand():
    # Ranks 1 to 5, the second negative: W- = 2; signs with a rank sum of at most 2 either way: {}, {1}, {2} of 32,
    # twice.
    assert signed_rank([1, -2, 3, 4, 5]) == pytest.approx(2 * 3 / 32)
    # Differences of 0 are left out, and so is the noise of rounding.
    assert signed_rank([1, -2, 3, 4, 5, 0, 1e-16]) == pytest.approx(2 * 3 / 32)
    assert signed_rank([0.0, 0.0]) == 1
    assert math.isnan(signed_rank([]))


def test_ties_raise_no_warning():
    assert 0 < signed_rank([0.1, 0.1, -0.1, 0.2, 0.2, 0.0]) <= 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    corrected = holm([0.02, math.nan, 0.01])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])
    assert corrected[2] == pytest.approx(0.02)
    assert holm([]) == []
