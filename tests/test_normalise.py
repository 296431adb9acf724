"""Normalisation: what it gives the brain, what it ignores, and slices that have nothing to normalise."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomask.errors import UsageError
from gliomask.preprocess.normalise import (
    NORMALISATIONS,
    SLICE_BACKGROUND,
    VOLUME_BACKGROUND,
    normalisation,
    normalise_slices,
    normalise_volume,
    unit_range,
    z_score_box,
    z_score_brain,
    z_score_nonzero,
)

METHODS = sorted(NORMALISATIONS)


def random_brain(seed: int, shape: tuple[int, int, int] = (9, 8, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Intensities that are 0 outside a random brain, and the brain."""
    generator = np.random.default_rng(seed)
    brain = generator.random(shape) < 0.7
    return np.where(brain, generator.gamma(3, 100, shape), 0).astype(np.float32), brain


@given(st.integers(0, 1000))
def test_the_volume_method_is_a_clipped_z_score_over_the_brain(seed: int) -> None:
    volume, brain = random_brain(seed)
    result = normalise_volume(volume, brain)
    inside = volume[brain].astype(np.float64)
    clipped = inside.clip(*np.percentile(inside, (0.5, 99.5)))
    np.testing.assert_allclose(result[brain], (clipped - clipped.mean()) / clipped.std(), atol=1e-4)
    assert (result[~brain] == VOLUME_BACKGROUND).all()


@given(st.integers(0, 1000))
def test_the_slice_method_does_the_same_slice_by_slice(seed: int) -> None:
    volume, brain = random_brain(seed)
    result = normalise_slices(volume, brain)
    for k in range(volume.shape[2]):
        inside = volume[:, :, k][brain[:, :, k]].astype(np.float64)
        clipped = inside.clip(*np.percentile(inside, (1, 99)))
        np.testing.assert_allclose(
            result[:, :, k][brain[:, :, k]], (clipped - clipped.mean()) / clipped.std(), atol=1e-4
        )
    assert (result[~brain] == SLICE_BACKGROUND).all()


@given(st.integers(0, 1000), st.tuples(*[st.integers(0, 4)] * 6), st.sampled_from(METHODS))
def test_air_round_the_scan_changes_nothing(seed: int, air: tuple[int, ...], method: str) -> None:
    normalise, background = normalisation(method)
    volume, brain = random_brain(seed)
    pads = list(zip(air[::2], air[1::2], strict=True))
    inner = tuple(slice(before, before + n) for (before, _), n in zip(pads, volume.shape, strict=True))
    padded = normalise(np.pad(volume, pads), np.pad(brain, pads))
    np.testing.assert_array_equal(padded[inner], normalise(volume, brain))
    padded[inner] = background
    assert (padded == background).all()


@given(st.integers(0, 1000), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_the_volume_method_does_not_see_the_order_of_axes(seed: int, order: list[int], flips: tuple[bool, ...]) -> None:
    volume, brain = random_brain(seed)

    def moved(array: np.ndarray) -> np.ndarray:
        return np.flip(array.transpose(order), [axis for axis in range(3) if flips[axis]])

    np.testing.assert_allclose(
        normalise_volume(moved(volume), moved(brain)), moved(normalise_volume(volume, brain)), atol=1e-5
    )


@given(
    st.integers(0, 1000),
    st.floats(0.01, 50),
    st.floats(-500, 500),
    st.sampled_from(sorted({*METHODS} - {"z-score-box"})),
)
def test_the_scanners_gain_and_offset_do_not_matter(seed: int, gain: float, offset: float, method: str) -> None:
    normalise, _ = normalisation(method)
    volume, brain = random_brain(seed)
    changed = np.where(brain, volume.astype(np.float64) * gain + offset, 0).astype(np.float32)
    np.testing.assert_allclose(normalise(changed, brain), normalise(volume, brain), atol=2e-2)


@given(st.integers(0, 1000))
def test_what_nnu_net_and_monai_do(seed: int) -> None:
    volume, brain = random_brain(seed)
    volume[brain & (volume < 100)] = 0  # this sequence is 0 in places where others are not
    inside, nonzero = volume[brain].astype(np.float64), volume[volume != 0].astype(np.float64)
    found = [np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(f[0], f[-1] + 1) for f in found)
    whole = volume[box].astype(np.float64)
    np.testing.assert_allclose(z_score_brain(volume, brain)[brain], (inside - inside.mean()) / inside.std(), atol=1e-4)
    np.testing.assert_allclose(
        z_score_nonzero(volume, brain)[volume != 0], (nonzero - nonzero.mean()) / nonzero.std(), atol=1e-4
    )
    assert (z_score_nonzero(volume, brain)[volume == 0] == 0).all()
    np.testing.assert_allclose(z_score_box(volume, brain)[box], (whole - whole.mean()) / whole.std(), atol=1e-4)
    low, high = np.percentile(inside, (0.5, 99.5))
    np.testing.assert_allclose(
        unit_range(volume, brain)[brain], (inside.clip(low, high) - low) / (high - low), atol=1e-4
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.0, 0.1, 7.0, 1e-30, 1e30, -3.3])
def test_a_constant_brain_is_0_and_no_nan(method: str, level: float) -> None:
    normalise, background = normalisation(method)
    brain = np.zeros((7, 7, 5), bool)
    brain[1:6, 1:6, 1:4] = True
    result = normalise(np.full(brain.shape, level, np.float32), brain)
    assert (result[brain] == 0).all()
    assert (result[~brain] == background).all()


@pytest.mark.parametrize("method", METHODS)
def test_no_brain_is_all_background(method: str) -> None:
    normalise, background = normalisation(method)
    assert (normalise(np.ones((4, 4, 3), np.float32), np.zeros((4, 4, 3), bool)) == background).all()


@pytest.mark.parametrize("fill", [lambda brain: brain[:, :, 2].fill(False), lambda brain: brain[1:, :, 2].fill(False)])
def test_an_empty_or_nearly_empty_slice_is_guarded(fill: Callable[[np.ndarray], None]) -> None:
    volume, brain = random_brain(3)
    brain[0, 0, 2] = True
    fill(brain)
    result = normalise_slices(volume, brain)
    assert np.isfinite(result).all()
    assert (result[:, :, 2][~brain[:, :, 2]] == SLICE_BACKGROUND).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_input_stays_as_it_was(method: str) -> None:
    normalise, _ = normalisation(method)
    volume, brain = random_brain(1)
    before = volume.copy()
    result = normalise(volume, brain)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(volume, before)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="no normalisation 'minmax'.*slice, volume"):
        normalisation("minmax")
