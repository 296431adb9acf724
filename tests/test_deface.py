"""The face taken off: where the plane lies, what goes and what stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask.errors import QualityError
from gliomask.geometry import Geometry
from gliomask.preprocess.raw.deface import MARGIN_MM, defaced, face_in, face_plane
from gliomask.preprocess.raw.transforms import about, inverse, move, turn

GRID = Geometry((40, 50, 45), np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 100], [0, 0, 4.0, -90], [0, 0, 0, 1]]))


def world(grid):
    return move(grid.affine, np.argwhere(np.ones(grid.shape, bool)).astype(float))


def brain_mask():
    """An ellipsoid with a stem: a brain seen from the side has a base that rises towards the front."""
    points = world(GRID)
    cerebrum = np.linalg.norm((points - (0, 0, 10)) / (60, 80, 50), axis=1) < 1
    stem = np.linalg.norm((points - (0, -35, -40)) / (25, 25, 30), axis=1) < 1
    return (cerebrum | stem).reshape(GRID.shape)


def test_nose_eyes_and_chin_go_and_the_rest_of_the_head_stays():
    plane = face_plane(brain_mask(), GRID)
    assert np.linalg.norm(plane.normal) == pytest.approx(1)
    assert plane.normal[0] == 0
    assert min(plane.normal[1], -plane.normal[2]) > 0.1
    gone = {"nose": (0, 100, -50), "chin": (0, 80, -110), "eye": (32, 90, -35)}
    stays = {"forehead": (0, 92, 40), "crown": (0, 0, 70), "ear": (75, -10, -20), "neck": (0, -70, -100)}
    for point in gone.values():
        assert plane.normal @ point > plane.offset_mm
    for point in stays.values():
        assert plane.normal @ point < plane.offset_mm


def test_the_brain_stays_with_a_margin_in_every_pose():
    brain = brain_mask()
    plane = face_plane(brain, GRID)
    far = world(GRID)[brain.ravel()] @ plane.normal
    assert far.max() == pytest.approx(plane.offset_mm - MARGIN_MM)
    # An oblique grid of another scanner.
    matrix = about((3, 4, 5), turn((10, -20, 30)), (6, 7, -8))
    tilted = about((0, 0, 0), turn((-15, 8, 4))) @ np.diag([1.5, 2.5, 5.0, 1.0])
    grid = Geometry((100, 70, 40), about((0, 0, 0), np.eye(3), (-70, -80, -100)) @ tilted)
    face = face_in(plane, grid, matrix)
    there = move(inverse(matrix), world(grid))
    np.testing.assert_array_equal(face.ravel(), there @ plane.normal > plane.offset_mm)
    assert 0 < face.mean() < 0.5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_no_voxel_of_any_brain_is_face(seed):
    generator = np.random.default_rng(seed)
    brain = generator.random(GRID.shape) < generator.choice([1e-4, 0.01, 0.5])
    brain[20, 25, 20] = True
    assert not (face_in(face_plane(brain, GRID), GRID, np.eye(4)) & brain).any()


def test_a_brain_of_one_voxel_has_a_plane_all_the_same():
    brain = np.zeros(GRID.shape, bool)
    brain[20, 25, 20] = True
    plane = face_plane(brain, GRID)
    np.testing.assert_allclose(plane.normal, np.array([0, 1, -1]) / np.sqrt(2))


def test_without_a_brain_there_is_no_plane():
    with pytest.raises(QualityError, match="the brain mask is empty"):
        face_plane(np.zeros(GRID.shape, bool), GRID)


def test_what_is_no_face_keeps_its_values():
    volume = np.random.default_rng(0).normal(100, 20, GRID.shape).astype(np.float32)
    face = face_in(face_plane(brain_mask(), GRID), GRID, np.eye(4))
    found = defaced(volume, face)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[~face], volume[~face])
    assert set(found[face]) == {volume.min()}
