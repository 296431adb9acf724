from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask import augment
from gliomask.augment import NONE, Strength, draw_matrix, drop_sequences, reverse_slices, thicken, vary_intensity

BACKGROUND = -9.0


@pytest.fixture
def patch(rng):
    patch = rng.standard_normal((12, 14, 4)).astype(np.float32)
    patch[:, :5] = BACKGROUND
    return patch


def test_no_strength_changes_nothing(patch):
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(draw_matrix(NONE, generator), np.eye(2))
    np.testing.assert_array_equal(vary_intensity(patch, BACKGROUND, NONE, generator), patch)
    shares = {"warp_share", "gamma_share", "shading_share", "noise_share"}
    assert all(not getattr(NONE, field.name) for field in fields(Strength) if field.name not in shares)


def test_the_same_generator_repeats_a_draw(patch):
    first, again, other = (
        vary_intensity(patch, BACKGROUND, Strength(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    matrices = [draw_matrix(Strength(), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(matrices[0], matrices[1])
    assert (matrices[0] != matrices[2]).any()


def test_background_is_not_touched_and_the_patch_is_not_changed_in_place(patch):
    before = patch.copy()
    changed = vary_intensity(patch, BACKGROUND, Strength(), np.random.default_rng(0))
    np.testing.assert_array_equal(changed[:, :5], BACKGROUND)
    assert (changed[:, 5:] != patch[:, 5:]).all()
    np.testing.assert_array_equal(patch, before)
    assert changed.dtype == np.float32


@pytest.mark.parametrize("kind", ["gain", "offset", "gamma", "bias", "noise", "shading"])
def test_each_kind_alone_changes_each_sequence_on_its_own(patch, kind):
    changed = vary_intensity(patch, BACKGROUND, replace(NONE, **{kind: 0.2}), np.random.default_rng(0))
    difference = (changed - patch)[:, 5:]
    assert (difference != 0).mean() > 0.9
    assert not np.allclose(difference[..., 0], difference[..., 1])


def test_gain_and_offset_are_straight_lines_within_their_limits(patch):
    changed = vary_intensity(patch, BACKGROUND, replace(NONE, gain=0.1, offset=0.2), np.random.default_rng(5))
    for channel in range(4):
        gain, offset = np.polyfit(patch[:, 5:, channel].ravel(), changed[:, 5:, channel].ravel(), 1)
        assert abs(gain - 1) <= 0.1
        assert abs(offset) <= 0.2
        np.testing.assert_allclose(changed[:, 5:, channel], gain * patch[:, 5:, channel] + offset, atol=1e-5)


def test_the_contrast_curve_keeps_the_order_of_intensities(patch):
    changed = vary_intensity(patch, BACKGROUND, replace(NONE, gamma=0.5), np.random.default_rng(0))
    for channel in range(4):
        order = np.argsort(patch[:, 5:, channel], axis=None)
        assert (np.diff(changed[:, 5:, channel].ravel()[order]) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_matrices_stay_within_the_limits(seed):
    strength = replace(NONE, flips=True, rotation_degrees=20, scaling=0.15)
    matrix = draw_matrix(strength, np.random.default_rng(seed))
    lengths = np.linalg.norm(matrix, axis=0)
    assert ((lengths >= 0.85 - 1e-9) & (lengths <= 1.15 + 1e-9)).all()
    assert matrix[:, 0] @ matrix[:, 1] == pytest.approx(0, abs=1e-9)
    # The first column points along +I or -I, turned by at most 20 degrees.
    assert abs(matrix[0, 0]) / lengths[0] >= np.cos(np.deg2rad(20)) - 1e-9


def test_flips_take_all_four_forms_about_equally():
    generator = np.random.default_rng(0)
    forms = [tuple(np.diag(draw_matrix(replace(NONE, flips=True), generator))) for _ in range(400)]
    assert {form: round(forms.count(form) / 400, 0) for form in forms} == dict.fromkeys(
        [(1, 1), (1, -1), (-1, 1), (-1, -1)], 0
    )
    assert min(forms.count(form) for form in set(forms)) > 60


def test_neighbouring_slices_change_alike_but_for_noise(rng):
    one = rng.standard_normal((10, 11, 4)).astype(np.float32)
    changed = vary_intensity(np.tile(one, 3), 0.0, replace(Strength(), noise=0.0), np.random.default_rng(3), slices=3)
    for n in range(3):
        np.testing.assert_array_equal(changed[..., 4 * n : 4 * n + 4], changed[..., :4])
    noisy = vary_intensity(np.tile(one, 3), 0.0, replace(NONE, noise=0.3), np.random.default_rng(3), slices=3)
    assert (noisy[..., :4] != noisy[..., 4:8]).all()


def test_dropped_sequences_are_background_in_every_slice(rng):
    patch = rng.standard_normal((3, 4, 8)).astype(np.float32)
    before = patch.copy()
    seen = set()
    for _ in range(40):
        found = drop_sequences(patch, -9.0, [(0,), (1, 3)], 4, rng)
        dropped = tuple(c for c in range(8) if (found[..., c] == -9.0).all())
        assert dropped in ((0, 4), (1, 3, 5, 7))
        kept = [c for c in range(8) if c not in dropped]
        np.testing.assert_array_equal(found[..., kept], before[..., kept])
        seen.add(dropped)
    assert len(seen) == 2
    np.testing.assert_array_equal(patch, before)


def test_shading_adds_the_same_to_every_slice_and_nothing_to_background(patch):
    changed = vary_intensity(
        np.tile(patch, 3), BACKGROUND, replace(NONE, shading=0.4), np.random.default_rng(1), slices=3
    )
    added = (changed - np.tile(patch, 3)).reshape(12, 14, 3, 4)
    np.testing.assert_array_equal(added[:, :5], 0)
    np.testing.assert_allclose(added[:, 5:, 0], added[:, 5:, 2], atol=1e-5)
    assert 0 < np.abs(added).max() <= 3 * 0.4


@pytest.mark.parametrize("kind", ["gamma", "noise", "shading"])
def test_a_share_of_the_patches_is_changed(patch, kind):
    strength = replace(NONE, **{kind: 0.3, f"{kind}_share": 0.25})
    generator = np.random.default_rng(2)
    changed = [bool((vary_intensity(patch, BACKGROUND, strength, generator) != patch).any()) for _ in range(400)]
    assert 0.18 < np.mean(changed) < 0.32


def test_a_share_of_the_patches_is_turned_and_a_share_is_exchanged():
    generator = np.random.default_rng(3)
    matrices = [
        draw_matrix(replace(NONE, rotation_degrees=23, warp_share=0.5, exchange_share=0.2), generator)
        for _ in range(600)
    ]
    straight = [matrix for matrix in matrices if np.isin(matrix, (0.0, 1.0)).all()]
    assert 0.43 < len(straight) / len(matrices) < 0.57
    assert 0.12 < np.mean([matrix[0, 0] == 0 for matrix in straight]) < 0.28


def test_slices_are_reversed_half_of_the_time_as_a_whole(patch):
    three = np.concatenate([patch, patch + 1, patch + 2], axis=-1)
    generator = np.random.default_rng(4)
    found = [reverse_slices(three, replace(NONE, reverse=True), generator, 3) for _ in range(200)]
    reversed_ = np.concatenate([patch + 2, patch + 1, patch], axis=-1)
    as_is = sum(np.array_equal(one, three) for one in found)
    assert 70 < as_is < 130
    assert as_is + sum(np.array_equal(one, reversed_) for one in found) == 200
    assert reverse_slices(three, NONE, generator, 3) is three


def test_thick_slices_blur_one_axis_and_keep_background_and_means(patch):
    generator = np.random.default_rng(5)
    smooth = np.repeat(
        np.linspace(0, 1, patch.shape[0], dtype=np.float32)[:, None, None], patch.shape[1], 1
    ) + np.zeros_like(patch)
    smooth[:4] = BACKGROUND
    seen = [thicken(smooth, BACKGROUND, replace(NONE, thick_share=0.5), generator) for _ in range(200)]
    assert 70 < sum(one is smooth for one in seen) < 130
    for one in seen:
        np.testing.assert_array_equal(one[:4], smooth[:4])
    rough = np.random.default_rng(6).standard_normal(patch.shape).astype(np.float32)
    thick = thicken(rough, -100.0, replace(NONE, thick_share=1.0), generator)
    changed = (thick != rough).any(axis=(0, 1))
    assert changed.any()
    # Blurred along one axis only, and without shifting what lies where.
    rows, columns = (np.abs(np.diff(thick[..., changed], axis=axis)).mean() for axis in (0, 1))
    assert min(rows, columns) < 0.6 * max(rows, columns)
    assert abs(thick[..., changed].mean() - rough[..., changed].mean()) < 0.02


def test_thick_slices_leave_a_ramp_where_it_is():
    matrix = augment._slices_and_back(64, 4.0, 1.0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    ramp = np.arange(64, dtype=np.float32)
    np.testing.assert_allclose((matrix @ ramp)[6:-6], ramp[6:-6], atol=1e-3)
