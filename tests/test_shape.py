"""How a brain lies: an outline that is right raises nothing, and every turn that can be told is told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gliomask.geometry import Geometry
from gliomask.preprocess.checks import brain_turned
from gliomask.preprocess.shape import FEWEST_VOXELS, LIMITS, misfit, orientation_measures

MM = 4.0
SHAPE = (60, 60, 48)
LPS = Geometry(SHAPE, np.diag([-MM, -MM, MM, 1]))


def outline() -> np.ndarray:
    """An ellipsoid that tapers to the front, with a cerebellum low at the back; axes to the left, to posterior and
    up.
    """
    left, back, up = np.meshgrid(*[(np.arange(n) - n / 2 + 0.5) * MM for n in SHAPE], indexing="ij")
    taper = 1 + 0.25 * np.clip(back, -90, 90) / 90
    cerebrum = (left / (64 * taper)) ** 2 + (back / 84) ** 2 + ((up - 15) / (52 * taper)) ** 2 < 1
    cerebellum = (left / 48) ** 2 + ((back - 42) / 36) ** 2 + ((up + 38) / 26) ** 2 < 1
    return cerebrum | cerebellum


def rotations() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All 48 ways of laying a volume's axes: order and signs."""
    return [
        (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
    ]


def laid(mask: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    return np.transpose(mask, order)[tuple(slice(None, None, sign) for sign in signs)]


@pytest.mark.parametrize(("order", "signs"), rotations())
def test_every_turn_but_left_for_right_is_told(order, signs):
    found = laid(outline(), order, signs)
    geometry = Geometry(found.shape, np.diag([-MM, -MM, MM, 1]))
    right = order == (0, 1, 2) and signs[1:] == (1, 1)
    flag = brain_turned(found, geometry)
    assert (flag is None) == right
    if flag is not None:
        assert flag.name == "orientation_wrong"
        assert "does not lie as the header says" in flag.message
        assert flag.value > flag.limit


@pytest.mark.parametrize(("order", "signs"), rotations())
def test_any_order_of_axes_that_the_header_tells_is_fine(order, signs):
    """Array and affine are re-ordered together, so the brain is where it was."""
    found = laid(outline(), order, signs)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        affine[source, axis] = sign * (-MM, -MM, MM)[source]
    geometry = Geometry(found.shape, affine)
    assert brain_turned(found, geometry) is None


def test_thick_slices_change_little():
    measures = orientation_measures(outline()[:, :, ::2], Geometry((60, 60, 24), np.diag([-MM, -MM, 2 * MM, 1])))
    assert measures is not None
    assert misfit(measures) is None
    assert measures.height == pytest.approx(orientation_measures(outline(), LPS).height, abs=0.03)


def test_little_says_nothing():
    mask = np.zeros(SHAPE, bool)
    assert orientation_measures(mask, LPS) is None
    mask.flat[: FEWEST_VOXELS - 1] = True
    assert orientation_measures(mask, LPS) is None
    plane = np.zeros(SHAPE, bool)
    plane[:, :, 7] = True
    assert orientation_measures(plane, LPS) is None


def test_a_ball_is_no_misfit_but_for_its_length():
    """Symmetric in all ways: only what has a limit of its own could fire, and none does by chance."""
    i, j, k = np.meshgrid(*[np.arange(n) - n / 2 + 0.5 for n in SHAPE], indexing="ij")
    measures = orientation_measures((i / 18) ** 2 + (j / 22) ** 2 + (k / 15) ** 2 < 1, LPS)
    assert measures is not None
    assert misfit(measures) is None
    assert abs(measures.mirror) < LIMITS["mirror"]
