"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomask import in_words


@pytest.mark.parametrize(
    ("volume_ml", "words"),
    [
        (0, "0 ml"),
        (0.001, "<0.01 ml"),
        (0.006, "0.01 ml"),
        (0.607, "0.61 ml"),
        (0.996, "1.0 ml"),
        (9.87, "9.9 ml"),
        (70.787, "70.8 ml"),
        (1352.04, "1352.0 ml"),
    ],
)
def test_volumes(volume_ml, words):
    assert in_words.millilitres(volume_ml) == words


@given(st.floats(0.005, 2000))
def test_a_volume_in_words_is_the_volume_to_its_precision(volume_ml):
    shown = float(in_words.volume_number(volume_ml))
    assert shown == pytest.approx(volume_ml, abs=0.0501 if volume_ml >= 0.99 else 0.00501)


@pytest.mark.parametrize(
    ("difference_ml", "words"),
    [(0, "0 ml"), (2.43, "+2.4 ml"), (-0.25, "\N{MINUS SIGN}0.25 ml"), (-12.0, "\N{MINUS SIGN}12.0 ml")],
)
def test_changes_have_a_sign(difference_ml, words):
    assert in_words.change_ml(difference_ml) == words


def test_dice_keeps_its_decimals_where_they_are_zeros():
    assert in_words.dice(1.0) == "1.00"
    assert in_words.dice_with_interval(0.955, 0.718, 1.0) == "0.95 (80 % interval 0.72 to 1.00)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (7.24, "7.2 s"),
        (59.96, "1 min"),
        (126, "2 min 6 s"),
        (3599.6, "1 h"),
        (3900, "1 h 5 min"),
        (7199, "2 h"),
    ],
)
def test_durations(seconds, words):
    assert in_words.duration(seconds) == words


def test_counts_agree_with_their_noun():
    assert [in_words.counted(n, "case") for n in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert in_words.counted(3, "study", "studies") == "3 studies"
