"""Perpendicular diameters: shapes whose diameters are known, and a slow second implementation on shapes whose are
not.
"""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask.metrics.diameters import measure_lesions, slice_diameters

PIXELS = [(1.0, 1.0), (0.5, 0.9), (2.0, 0.7)]


def ellipse(half_axes, degrees, pixel_mm, shape=(90, 90)):
    """Pixels whose centre lies in an ellipse about the middle of the picture; half axes in mm."""
    i, j = np.indices(shape)
    x, y = (i - shape[0] / 2) * pixel_mm[0], (j - shape[1] / 2) * pixel_mm[1]
    turn = np.deg2rad(degrees)
    along, across = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    return (along / half_axes[0]) ** 2 + (across / half_axes[1]) ** 2 <= 1


def crescent(shape=(48, 48)):
    """A disc less another one: its tips are further from each other than any line within it reaches."""
    i, j = np.indices(shape)
    return (np.hypot(i - 24, j - 22) < 18) & (np.hypot(i - 24, j - 30) > 17)


def by_brute_force(mask, pixel_mm, steps=1500):
    """Every pair of pixel corners; then lines at every height, each cut with every pixel's rectangle."""
    corners = np.array([(i + a, j + b) for i, j in np.argwhere(mask) for a in (0, 1) for b in (0, 1)]) * pixel_mm
    corners = np.unique(corners, axis=0)
    lengths = {
        pair: np.linalg.norm(corners[pair[0]] - corners[pair[1]]) for pair in combinations(range(len(corners)), 2)
    }
    longest = max(lengths.values())
    chords = []
    for (a, b), length in lengths.items():
        if length > longest - 1e-9:
            along = (corners[b] - corners[a]) / longest
            heights = np.concatenate([np.linspace(0, longest, steps), (corners - corners[a]) @ along])
            chords.append(
                max(
                    _chord(mask, pixel_mm, corners[a] + height * along, np.array([-along[1], along[0]]))
                    for height in heights
                )
            )
    return longest, max(chords)


def _chord(mask, pixel_mm, origin, direction):
    """Length from the first to the last point of the line that lies in a pixel."""
    low = np.argwhere(mask) * pixel_mm - 1e-9
    enter, leave = np.full(len(low), -np.inf), np.full(len(low), np.inf)
    hit = np.ones(len(low), bool)
    for axis in (0, 1):
        sides = low[:, axis] - origin[axis], low[:, axis] + pixel_mm[axis] + 2e-9 - origin[axis]
        if abs(direction[axis]) < 1e-12:
            hit &= (sides[0] <= 0) & (sides[1] >= 0)
            continue
        first, second = sides[0] / direction[axis], sides[1] / direction[axis]
        enter, leave = np.maximum(enter, np.minimum(first, second)), np.minimum(leave, np.maximum(first, second))
    hit &= enter <= leave
    return leave[hit].max() - enter[hit].min() if hit.any() else 0.0


@pytest.mark.parametrize("pixel_mm", PIXELS)
@pytest.mark.parametrize("degrees", [0, 30, 45, 77])
def test_an_ellipse_has_its_two_axes(pixel_mm, degrees):
    found = slice_diameters(ellipse((16, 9), degrees, pixel_mm, (80, 110)), pixel_mm)
    pixel = np.hypot(*pixel_mm)
    assert found.longest_mm == pytest.approx(32, abs=pixel)
    assert found.perpendicular_mm == pytest.approx(18, abs=pixel)


@pytest.mark.parametrize("pixel_mm", PIXELS)
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (20, 20), (1, 12)])
def test_a_box_is_measured_along_its_diagonal(pixel_mm, size):
    """Exactly: the diagonal, and the chord at right angles to it through a corner."""
    mask = np.zeros((30, 30), bool)
    mask[4 : 4 + size[0], 5 : 5 + size[1]] = True
    long_side, short_side = sorted((size[0] * pixel_mm[0], size[1] * pixel_mm[1]), reverse=True)
    diagonal = np.hypot(long_side, short_side)
    found = slice_diameters(mask, pixel_mm)
    assert found.longest_mm == pytest.approx(diagonal, rel=1e-12)
    # The perpendicular through a corner meets the long side after short_side * diagonal / long_side.
    assert found.perpendicular_mm == pytest.approx(short_side * diagonal / long_side, rel=1e-9)


@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (0.6, 1.1)])
def test_a_crescent_agrees_with_brute_force_and_reaches_from_tip_to_tip(pixel_mm):
    mask = crescent()[::2, ::2]
    found = slice_diameters(mask, pixel_mm)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx(by_brute_force(mask, pixel_mm), abs=1e-6)
    ends = np.round(found.longest).astype(int)
    middle = tuple(np.mean(found.longest, axis=0).round().astype(int))
    assert not mask[middle], "the line crosses the gap"
    assert abs(ends[0] - ends[1]).max() > 10


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.6), st.sampled_from([(1.0, 1.0), (0.5, 1.3), (3.0, 0.8)]))
def test_ragged_shapes_agree_with_brute_force(seed, share, pixel_mm):
    mask = np.random.default_rng(seed).random((7, 6)) < share
    mask[3, 2] = True
    found = slice_diameters(mask, pixel_mm)
    longest, perpendicular = by_brute_force(mask, pixel_mm, steps=60)
    assert found.longest_mm == pytest.approx(longest, abs=1e-9)
    assert found.perpendicular_mm == pytest.approx(perpendicular, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(PIXELS))
def test_the_two_lines_end_where_they_say(seed, pixel_mm):
    mask = np.random.default_rng(seed).random((9, 11)) < 0.2
    mask[4, 4] = True
    found = slice_diameters(mask, pixel_mm)
    lines = [(np.array(b) - np.array(a)) * pixel_mm for a, b in (found.longest, found.perpendicular)]
    assert [np.linalg.norm(line) for line in lines] == pytest.approx([found.longest_mm, found.perpendicular_mm])
    assert lines[0] @ lines[1] == pytest.approx(0, abs=1e-6)
    assert found.perpendicular_mm <= found.longest_mm * (1 + 1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(PIXELS))
def test_turning_mirroring_and_moving_change_nothing(seed, pixel_mm):
    mask = np.random.default_rng(seed).random((8, 8)) < 0.3
    mask[2, 5] = True
    plain = slice_diameters(mask, pixel_mm)
    for other, pixel in ((mask[::-1], pixel_mm), (mask.T, pixel_mm[::-1]), (np.pad(mask, ((3, 1), (0, 5))), pixel_mm)):
        found = slice_diameters(other, pixel)
        assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((plain.longest_mm, plain.perpendicular_mm))


def test_the_slice_with_the_largest_product_counts():
    """Not the one with the longest diameter, and not the largest area."""
    mask = np.zeros((40, 40, 5), bool)
    mask[2:38, 3, 0:2] = True  # long and thin
    mask[2:14, 3:15, 2] = True
    mask[2:16, 3:17, 3] = ellipse((7, 7), 0, (1, 1), (14, 14)) | np.eye(14, dtype=bool) | np.eye(14, dtype=bool)[::-1]
    lesion = measure_lesions(mask, (1.0, 1.0, 1.0))[0]
    products = [slice_diameters(mask[:, :, k], (1.0, 1.0)).product_mm2 for k in range(4)]
    assert lesion.slice_index == int(np.argmax(products)) == 3
    assert lesion.diameters.product_mm2 == pytest.approx(max(products))
    assert (lesion.slices, lesion.voxels) == (4, mask.sum())


def test_lesions_are_told_apart_and_sorted_and_a_broken_ring_is_one():
    mask = np.zeros((60, 60, 6), bool)
    i, j = np.indices((30, 30))
    ring = np.abs(np.hypot(i - 15, j - 15) - 11) < 1.6
    mask[:30, :30, 1] = ring
    mask[:30, :30, 2] = ring & (abs(j - 15) > 1)  # two halves, joined by the whole ring below
    mask[40:45, 40:52, 4] = True
    big, small = measure_lesions(mask, (1.0, 1.0, 1.0))
    assert big.diameters.longest_mm == pytest.approx(25.2, abs=1.5)
    assert big.diameters.perpendicular_mm == pytest.approx(25.2, abs=1.5)
    assert (big.slices, small.slices) == (2, 1)
    assert small.diameters.longest_mm == pytest.approx(13)
    for end in (*small.diameters.longest, *small.diameters.perpendicular):
        assert 39.4 < end[0] < 44.6
        assert 39.4 < end[1] < 51.6


def test_a_gap_of_a_few_voxels_is_bridged_and_a_wide_one_is_not():
    """Two plates that join in the slice below, apart by 2 and by 12 voxels."""
    for gap, longest in ((2, np.hypot(22, 10)), (12, np.hypot(10, 10))):
        mask = np.zeros((40, 12, 2), bool)
        mask[2:12, 1:11, 1] = mask[12 + gap : 22 + gap, 1:11, 1] = True
        mask[2 : 22 + gap, 5, 0] = True
        (lesion,) = measure_lesions(mask, (1.0, 1.0, 1.0))
        assert lesion.diameters.longest_mm == pytest.approx(longest), gap


@pytest.mark.parametrize(
    ("side", "slices", "spacing_mm", "measurable"),
    [
        (10, 2, (1.0, 1.0, 1.0), True),
        (10, 1, (1.0, 1.0, 1.0), False),  # seen in one slice alone
        (7, 2, (1.0, 1.0, 1.0), False),  # diagonals of 9.9 mm
        (14, 2, (0.5, 0.5, 1.0), False),
        (10, 2, (1.0, 1.0, 5.0), True),
        (10, 2, (1.0, 1.0, 7.5), False),  # 15 mm are needed, the diagonals have 14.1
        (11, 2, (1.0, 1.0, 7.5), True),
    ],
)
def test_what_is_measurable(side, slices, spacing_mm, measurable):
    mask = np.zeros((20, 20, 4), bool)
    mask[1 : 1 + side, 2 : 2 + side, :slices] = True
    assert measure_lesions(mask, spacing_mm)[0].measurable is measurable


def test_ten_millimetres_are_measurable_whatever_the_last_digits():
    """A square whose diagonals are 10 mm but for rounding."""
    mask = np.zeros((9, 9, 2), bool)
    mask[1:8, 1:8] = True
    pixel = 10 / (7 * np.sqrt(2))
    for scale in (1 - 1e-12, 1, 1 + 1e-12):
        assert measure_lesions(mask, (pixel * scale, pixel * scale, 1.0))[0].measurable


def test_nothing_enhances():
    assert measure_lesions(np.zeros((4, 4, 4), bool), (1.0, 1.0, 1.0)) == ()


def test_every_voxel_belongs_to_one_lesion(rng):
    mask = rng.random((12, 12, 8)) < 0.08
    lesions = measure_lesions(mask, (1.0, 1.0, 2.0))
    assert sum(lesion.voxels for lesion in lesions) == mask.sum()
    products = [lesion.diameters.product_mm2 for lesion in lesions]
    assert products == sorted(products, reverse=True)
    for lesion, ends in product(lesions, (0, 1)):
        assert all(-0.5 <= value <= 11.5 for value in lesion.diameters.longest[ends])
