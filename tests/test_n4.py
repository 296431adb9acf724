"""N4: a known field is removed, nothing else is touched, and the same input gives the same bytes."""

import sys

import numpy as np
import pytest
from conftest import make_tiny_case

from gliomask.errors import CaseError, EngineUnavailableError
from gliomask.preprocess.n4 import N4Settings, correct_bias, correct_volume

SHAPE = (40, 44, 36)
SPACING_MM = (4.0, 4.0, 4.0)
SETTINGS = N4Settings(grid_mm=8.0, iterations=(30, 30))


def phantom(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tissues in a ball, the ball's mask, and a smooth field that brightens one side."""
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    brain = i**2 + j**2 + k**2 < 0.8
    tissue = np.where(np.sin(9 * i) * np.sin(7 * j) * np.sin(8 * k) > 0, 400.0, 600.0)
    volume = np.where(brain, tissue + rng.normal(0, 8, SHAPE), 0).astype(np.float32)
    return volume, brain, np.exp(0.35 * i - 0.2 * j**2 + 0.15 * k).astype(np.float32)


def spread(field: np.ndarray) -> float:
    """Deviation of a field relative to its mean; 0 for a constant one."""
    return float(field.std() / field.mean())


@pytest.fixture
def sitk() -> object:
    return pytest.importorskip("SimpleITK", reason="needs the extra 'n4'")


def test_a_known_field_is_removed(sitk: object, rng: np.random.Generator) -> None:
    volume, brain, field = phantom(rng)
    corrected = correct_volume(volume * field, brain, SPACING_MM, SETTINGS)
    left = corrected[brain] / volume[brain]
    assert spread(field[brain]) > 0.15
    assert spread(left) < 0.25 * spread(field[brain])


def test_nothing_outside_the_brain_changes(sitk: object, rng: np.random.Generator) -> None:
    volume, brain, field = phantom(rng)
    biased = volume * field
    biased[0, 0, 0] = 77
    corrected = correct_volume(biased, brain, SPACING_MM, SETTINGS)
    np.testing.assert_array_equal(corrected[~brain], biased[~brain])
    assert biased[0, 0, 0] == 77
    assert corrected.dtype == np.float32


def test_the_same_scan_gives_the_same_bytes(sitk: object, rng: np.random.Generator) -> None:
    volume, brain, field = phantom(rng)
    first, second = (correct_volume(volume * field, brain, SPACING_MM, SETTINGS) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_case_keeps_its_grid_and_all_sequences(sitk: object) -> None:
    case = make_tiny_case()
    corrected = correct_bias(case, SETTINGS)
    assert corrected.geometry is case.geometry
    assert list(corrected.volumes) == list(case.volumes)
    np.testing.assert_array_equal(corrected.brain_mask, case.brain_mask)


def test_normalised_intensities_are_refused(rng: np.random.Generator) -> None:
    volume, brain, _ = phantom(rng)
    with pytest.raises(CaseError, match="not normalised before"):
        correct_volume(np.where(brain, volume - 1000, 0).astype(np.float32), brain, SPACING_MM, SETTINGS)


def test_without_simpleitk_the_extra_is_named(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, brain, _ = phantom(rng)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'gliomask\[n4\]'"):
        correct_volume(volume, brain, SPACING_MM, SETTINGS)
