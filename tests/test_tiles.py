"""Grids cover, weights sum to one, and what patches say of their interior is what the whole says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter, uniform_filter

from gliomask.errors import UsageError
from gliomask.predict.tiles import (
    Fusion,
    PatchGrid,
    adjacent,
    box_with_halo,
    cut,
    lattice,
    overlapping,
    slabs,
    whole,
    windows,
)

even = st.integers(1, 20).map(lambda n: 2 * n)
plane = st.tuples(st.integers(1, 90), st.integers(1, 90))


def predict_patches(stack, grid, predict, background):
    """A network on every patch of a grid, one after the other, fused as `predict_brain` does."""
    fusion = Fusion(grid)
    for start in grid.starts:
        fusion.add(start, predict(cut(stack, start, grid.size, background)))
    return fusion.mean()


def pooling_network(stack: np.ndarray) -> np.ndarray:
    """A network whose answer depends on 6 x 6 pixels and on where pooling falls: 2 x 2 maxima, spread 2 pixels, in
    whole numbers.
    """
    n, h, w, _ = stack.shape
    assert h % 2 == 0
    assert w % 2 == 0
    pooled = stack[..., 0].reshape(n, h // 2, 2, w // 2, 2).max(axis=(2, 4))
    coarse = maximum_filter(pooled, size=(1, 3, 3), mode="constant").repeat(2, axis=1).repeat(2, axis=2)
    return np.stack([coarse, stack[..., 0]], axis=-1).astype(np.float32)


POOLING_HALO = 4


@given(plane, even, st.data())
def test_a_lattice_covers_every_pixel(shape, size, data):
    margin = data.draw(st.integers(0, (size - 2) // 2))
    stride = data.draw(st.integers(1, (size - 2 * margin) // 2).map(lambda n: 2 * n))
    assert lattice(shape, size, stride, margin).coverage().min() >= 1


@given(plane, even)
def test_the_named_grids_cover_every_pixel_and_start_on_even_pixels(shape, size):
    for grid in (whole(shape), adjacent(shape, 2 * size), overlapping(shape, 2 * size)):
        assert grid.coverage().min() >= 1
        assert all(start % 2 == 0 for starts in grid.starts for start in starts)


@given(plane, st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_windows_cover_every_pixel_and_stay_inside_where_there_is_room(shape, size):
    grid = windows(shape, size)
    assert grid.coverage().min() >= 1
    for start in grid.starts:
        assert all(
            first >= 0 and (first + side <= length or first == 0)
            for first, side, length in zip(start, size, shape, strict=True)
        )


@given(plane, even, st.integers(1, 3))
@settings(max_examples=40)
def test_weights_sum_to_one(shape, size, slices):
    stack = np.zeros((slices, *shape, 1), np.float32)
    fused = predict_patches(
        stack, overlapping(shape, 2 * size), lambda batch: np.ones((*batch.shape[:-1], 4), np.float32), 0
    )
    assert fused.shape == (slices, *shape, 4)
    np.testing.assert_allclose(fused, 1, rtol=1e-6)


def test_adjacent_patches_of_a_brats_slice_are_four_by_four_and_disjoint():
    grid = adjacent((240, 240), 64)
    assert len(grid.starts) == 16
    assert grid.coverage().max() == 1


def test_the_papers_overlapping_patches_are_centred_on_shared_corners():
    grid = overlapping((240, 240), 64)
    extra = grid.starts[16:]
    assert len(extra) == 9
    corners = {(i, j) for i in (64, 128, 192) for j in (64, 128, 192)}
    assert {(i + 32, j + 32) for i, j in extra} == corners


def test_overlap_is_averaged():
    grid = PatchGrid((2, 4), (2, 2), ((0, 0), (0, 2), (0, 1)))
    answers = iter([1.0, 3.0, 8.0])
    fused = predict_patches(
        np.zeros((1, 2, 4, 1), np.float32),
        grid,
        lambda batch: np.full((*batch.shape[:-1], 1), next(answers), np.float32),
        0,
    )
    np.testing.assert_array_equal(fused[0, 0, :, 0], [1, 4.5, 5.5, 3])


@pytest.mark.parametrize("stride", [2, 8, 24])
def test_kept_centres_agree_exactly_with_the_whole_slice(rng, stride):
    stack = rng.integers(0, 99, (2, 70, 82, 1)).astype(np.float32)
    at_once = predict_patches(stack, whole((70, 82)), pooling_network, 0)
    in_patches = predict_patches(stack, overlapping((70, 82), 32, stride, margin=POOLING_HALO), pooling_network, 0)
    np.testing.assert_array_equal(in_patches, at_once)


def test_without_a_margin_patch_borders_differ_from_the_whole_slice(rng):
    stack = rng.integers(1, 99, (1, 64, 64, 1)).astype(np.float32)
    at_once = predict_patches(stack, whole((64, 64)), pooling_network, 0)
    in_patches = predict_patches(stack, adjacent((64, 64), 32), pooling_network, 0)
    assert (at_once != in_patches).any()


def test_a_box_with_halo_says_the_same_of_its_mask_as_the_whole(rng):
    stack = rng.integers(0, 99, (1, 60, 50, 1)).astype(np.float32)
    at_once = pooling_network(stack)
    for _ in range(20):
        mask = np.zeros((60, 50), bool)
        (i0, i1), (j0, j1) = np.sort(rng.integers(0, 60, 2)), np.sort(rng.integers(0, 50, 2))
        mask[i0 : i1 + 1, j0 : j1 + 1] = True
        box = box_with_halo(mask, POOLING_HALO, 2)
        inside = predict_patches(stack[(slice(None), *box)], whole(mask[box].shape), pooling_network, 0)
        np.testing.assert_array_equal(inside[0][mask[box]], at_once[0][mask])


def test_a_box_that_starts_on_an_odd_pixel_would_differ(rng):
    stack = rng.integers(0, 99, (1, 20, 20, 1)).astype(np.float32)
    assert (pooling_network(stack[:, 1:19, 1:19])[0, 6:12, 6:12] != pooling_network(stack)[0, 7:13, 7:13]).any()


def test_volumes_use_the_same_grids(rng):
    stack = rng.random((1, 21, 18, 13, 2), np.float32)

    def network(batch: np.ndarray) -> np.ndarray:
        return uniform_filter(batch, size=(1, 3, 3, 3, 1), mode="constant")

    at_once = predict_patches(stack, whole((21, 18, 13)), network, 0)
    in_patches = predict_patches(stack, overlapping((21, 18, 13), 8, 4, margin=2), network, 0)
    np.testing.assert_allclose(in_patches, at_once, atol=1e-6)


def test_a_patch_beyond_the_array_is_filled_with_background():
    patch = cut(np.ones((1, 5, 5, 1), np.float32), (4, 4), (4, 4), background=-9)
    assert patch[0, 0, 0, 0] == 1
    assert (patch[0, 1:, :, 0] == -9).all()
    assert (patch[0, :, 1:, 0] == -9).all()


@pytest.mark.parametrize(
    ("size", "stride", "margin"),
    [(63, 32, 0), (64, 31, 0), (64, 0, 0), (64, 66, 0), (64, 64, 2), (0, 0, 0), (64, 32, -1)],
)
def test_grids_that_would_leave_gaps_or_shift_the_pooling_are_refused(size, stride, margin):
    with pytest.raises(UsageError, match=r"even|gaps"):
        lattice((100, 100), size, stride, margin)


def test_slabs_hold_every_slice_with_brain_and_no_other():
    mask = np.zeros((3, 3, 30), bool)
    mask[1, 1, 5:22] = True
    found = list(slabs(mask, 8))
    assert found == [slice(5, 13), slice(13, 21), slice(21, 22)]
    assert list(slabs(np.zeros((3, 3, 4), bool), 8)) == []


def test_slabs_leave_out_gaps_and_begin_and_end_with_brain():
    mask = np.zeros((3, 3, 40), bool)
    mask[1, 1, [2, 4, 9, 10, 30]] = True
    found = list(slabs(mask, 8))
    assert found == [slice(2, 10), slice(10, 11), slice(30, 31)]
    assert all(mask[:, :, [slab.start, slab.stop - 1]].any(axis=(0, 1)).all() for slab in found)
