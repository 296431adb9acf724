"""Air: exactly 0, almost 0, a constant, noise or NaN. The brain stays the same."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage as ndi

from gliomask.air import find_foreground, measure_air, more_than_brain, without_far_air
from gliomask.case import Case
from gliomask.geometry import Geometry
from gliomask.preprocess.channels import prepare
from gliomask.sequences import PAPER_ORDER, Sequence

SHAPE, SPACING_MM = (72, 72, 56), 3.0
VOXEL_ML = SPACING_MM**3 / 1000
VOLUMES_OF = dict[Sequence, np.ndarray]


def brains(seed: int = 0) -> VOLUMES_OF:
    """A bare brain of 1,300 ml in four sequences, 0 outside, a few zeros inside one of them."""
    generator = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*[(np.arange(n) - n / 2 + 0.5) * SPACING_MM for n in SHAPE], indexing="ij")
    inside = (i / 68) ** 2 + (j / 82) ** 2 + (k / 56) ** 2 < 1
    found = {}
    for n, sequence in enumerate(PAPER_ORDER):
        texture = 300 + 60 * ndi.gaussian_filter(generator.normal(size=SHAPE), 2) / 0.1 + 40 * n
        found[sequence] = np.where(inside, np.maximum(texture, 30), 0).astype(np.float32)
    found[Sequence.FLAIR][36, 36, 28] = 0
    return found


def mask_of(volumes: VOLUMES_OF) -> np.ndarray:
    return find_foreground(volumes, VOXEL_ML).mask


EXACT = mask_of(brains())


def splined(volume: np.ndarray) -> np.ndarray:
    """Laid on the same grid again, a third of a voxel off, by cubic B-splines: ringing that never ends."""
    return ndi.shift(volume.astype(np.float64), (0.3, 0.2, 0.1), order=3, mode="mirror").astype(np.float32)


def z_scored(volume: np.ndarray, air: float) -> np.ndarray:
    values = volume[EXACT]
    result = np.full(SHAPE, air, np.float32)
    result[EXACT] = (values - values.mean()) / values.std()
    return result


def changed(change: Callable[[np.ndarray], np.ndarray], sequences: tuple[Sequence, ...] = PAPER_ORDER) -> VOLUMES_OF:
    return {sequence: change(volume) if sequence in sequences else volume for sequence, volume in brains().items()}


def noise(seed: int, level: float) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(0, level, SHAPE)).astype(np.float32)


def test_where_air_is_exactly_0_the_mask_is_every_voxel_that_is_not() -> None:
    found = find_foreground(brains(), VOXEL_ML)
    np.testing.assert_array_equal(found.mask, np.any([volume != 0 for volume in brains().values()], axis=0))
    assert (found.not_bare, found.faint, found.unclean) == ((), 0, ())
    assert not found.mask.flags.writeable


ONE = (Sequence.T2,)


@pytest.mark.parametrize(
    ("volumes", "unclean"),
    [
        (lambda: changed(splined, ONE), ONE),
        (lambda: changed(lambda volume: np.rint(splined(volume)), ONE), ONE),
        (lambda: changed(lambda volume: np.maximum(np.rint(splined(volume)), 0), ONE), ONE),
        (lambda: changed(lambda volume: volume + 1e-4 * noise(1, 1.0)), PAPER_ORDER),
        (lambda: changed(lambda volume: volume + np.float32(1e-8) * noise(1, 1.0), ONE), ONE),
    ],
    ids=["splines", "splines, rounded", "splines, rounded, nothing below 0", "1e-4 in all", "1e-8 in one"],
)
def test_air_that_is_almost_0_is_air(volumes: Callable[[], VOLUMES_OF], unclean: tuple[Sequence, ...]) -> None:
    found = find_foreground(volumes(), VOXEL_ML)
    np.testing.assert_array_equal(found.mask, EXACT)
    assert found.faint > 0
    assert found.unclean == unclean


@pytest.mark.parametrize("rounded", [False, True])
def test_ringing_in_all_sequences_widens_the_brain_by_little(rounded: bool) -> None:
    mask = mask_of(changed(lambda volume: np.rint(splined(volume)) if rounded else splined(volume)))
    assert 2 * np.count_nonzero(mask & EXACT) / (np.count_nonzero(mask) + np.count_nonzero(EXACT)) > 0.97


@pytest.mark.parametrize("air", [-3.8, -9.0, 1000.0])
@pytest.mark.parametrize("sequences", [ONE, PAPER_ORDER], ids=["one", "all"])
def test_a_constant_that_fills_the_border_is_air(air: float, sequences: tuple[Sequence, ...]) -> None:
    found = find_foreground(changed(lambda volume: z_scored(volume, air), sequences), VOXEL_ML)
    np.testing.assert_array_equal(found.mask, EXACT)
    assert {sequence for sequence, one in found.airs.items() if one.level == np.float32(air)} == set(sequences)


def test_z_scores_with_air_of_0_keep_the_voxels_that_are_near_0() -> None:
    np.testing.assert_array_equal(mask_of(changed(lambda volume: z_scored(volume, 0.0))), EXACT)


def test_noise_in_whole_numbers_is_no_constant() -> None:
    """Six tenths of the border are 1, the rest 0 and 2: a scanner's noise."""
    scan = changed(
        lambda volume: volume + np.random.default_rng(3).choice([0, 1, 2], SHAPE, p=[0.2, 0.6, 0.2]).astype(np.float32)
    )[Sequence.T1]
    assert measure_air(scan).level == 0
    assert more_than_brain(scan, VOXEL_ML)


def test_a_sequence_that_fills_the_field_of_view_leaves_the_brain_to_the_bare_ones() -> None:
    found = find_foreground(changed(lambda volume: volume + noise(2, 20.0), ONE), VOXEL_ML)
    assert found.not_bare == ONE
    np.testing.assert_array_equal(found.mask, EXACT)


def test_where_all_have_their_skull_on_none_is_left_out() -> None:
    found = find_foreground(changed(lambda volume: volume + noise(2, 20.0)), VOXEL_ML)
    assert found.not_bare == ()
    assert all(one.filled > 0.9 for one in found.airs.values())


def test_two_sequences_that_end_lower_cut_nothing_off() -> None:
    """Air is exact, so what two sequences alone show is brain."""
    volumes = brains()
    for sequence in (Sequence.FLAIR, Sequence.T2):
        volumes[sequence] = np.where(np.arange(SHAPE[2]) < 36, volumes[sequence], 0)
    np.testing.assert_array_equal(mask_of(volumes), EXACT)


def test_a_brain_in_a_hundredth_of_the_field_of_view_is_found() -> None:
    wide = {
        sequence: np.pad(volume, 60) + 1e-4 * np.float32(1) * np.pad(noise(1, 1.0), 60, mode="wrap")
        for sequence, volume in brains().items()
    }
    np.testing.assert_array_equal(mask_of(wide), np.pad(EXACT, 60))


@pytest.mark.parametrize("method", ["volume", "z-score-nonzero", "z-score-box"])
def test_a_network_sees_what_it_would_see_with_exact_air(method: str) -> None:
    geometry = Geometry(SHAPE, np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1]))
    right = prepare(Case("right", brains(), geometry), PAPER_ORDER, method).channels
    almost = Case("almost", changed(lambda volume: np.where(EXACT, volume, 1e-4 * noise(1, 1.0))), geometry)
    np.testing.assert_allclose(prepare(almost, PAPER_ORDER, method).channels, right, atol=1e-3)


@pytest.mark.parametrize("level", [-32768.0, 5000.0])
def test_air_far_from_tissue_changes_nothing_inside_the_brain(level: float) -> None:
    volumes = brains()
    far = {
        **volumes,
        Sequence.FLAIR: np.where(volumes[Sequence.FLAIR] == 0, np.float32(level), volumes[Sequence.FLAIR]),
    }
    geometry = Geometry(SHAPE, np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1]))
    expected, found = (
        prepare(Case("x", given, geometry), PAPER_ORDER, "volume").channels[:, :, :] for given in (volumes, far)
    )
    np.testing.assert_array_equal(mask_of(far), EXACT)
    # The one voxel that is 0 inside the brain takes the darkest value of the tissue.
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("level", [0.0, -2.5])
def test_air_beside_tissue_is_left_as_it_is(level: float) -> None:
    volume = brains()[Sequence.T1] / 100 + np.float32(level)
    assert without_far_air(volume, measure_air(volume)) is volume
