"""Sizes of tiles: few, never smaller than what was wanted, always the same."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomask.predict.sizes import NEW_SIZE_PIXELS, Sizes
from gliomask.predict.tiles import widened

SIZE = st.tuples(st.integers(1, 8), st.integers(1, 15).map(lambda n: 16 * n), st.integers(1, 15).map(lambda n: 16 * n))


def cost(wanted, chosen, seen=()):
    used = {chosen[size] for size in wanted}
    return sum(prod(chosen[size]) for size in wanted) + NEW_SIZE_PIXELS * len(used - set(seen))


@given(st.lists(SIZE, max_size=12), st.sets(SIZE, max_size=3))
def test_sizes_cover_what_is_wanted_and_cost_no_more_than_it(wanted, seen):
    known = Sizes(set(seen))
    chosen = known.of(wanted)
    assert set(chosen) == set(wanted)
    assert all(use >= want for size in wanted for use, want in zip(chosen[size], size, strict=True))
    assert cost(wanted, chosen, seen) <= cost(wanted, {size: size for size in wanted}, seen)
    assert set(chosen.values()) | seen == known.seen
    assert Sizes(set(seen)).of(list(reversed(wanted))) == chosen


def test_small_differences_are_joined_and_large_ones_are_not():
    near, far = [(8, 176, 176), (8, 160, 176)], [(8, 240, 240), (8, 32, 32)]
    assert set(Sizes().of(near).values()) == {(8, 176, 176)}
    assert Sizes().of(far) == {size: size for size in far}


def test_a_size_that_was_seen_is_taken_again():
    known = Sizes({(8, 112, 96)})
    assert known.of([(8, 96, 96)]) == {(8, 96, 96): (8, 112, 96)}
    assert Sizes().of([(8, 96, 96)]) == {(8, 96, 96): (8, 96, 96)}


@pytest.mark.parametrize(
    ("part", "side", "length", "expected"),
    [
        ((32, 64), 48, 240, (32, 80)),  # Room above.
        ((192, 240), 64, 240, (176, 240)),  # None above: it starts earlier.
        ((144, 155), 32, 155, (128, 155)),  # The axis ends inside the side; the rest is background.
        ((0, 64), 96, 80, (0, 80)),  # Longer than the axis.
    ],
)
def test_a_part_is_widened_within_its_axis_from_a_multiple(part, side, length, expected):
    assert widened(slice(*part), side, length, 16) == slice(*expected)


@given(st.integers(1, 240), st.data())
def test_a_widened_part_still_holds_the_part(length, data):
    start = 16 * data.draw(st.integers(0, (length - 1) // 16))
    stop = data.draw(st.integers(start + 1, length))
    side = 16 * data.draw(st.integers(-(-(stop - start) // 16), 16))
    found = widened(slice(start, stop), side, length, 16)
    assert found.start % 16 == 0
    assert found.start <= start < stop <= found.stop <= length
    assert found.stop - found.start <= side
