"""Centre and side of a tumour, on brains that lie straight, tilted, or on other axes."""

from functools import cache

import numpy as np
import pytest

from gliomask.metrics.location import Side, centre, laterality, midsagittal_plane

SHAPE = (80, 96, 70)
SPACING = 2.2


@cache
def head(degrees=(0.0, 0.0), shift_mm=0.0, orientation=(-1.0, -1.0, 1.0)):
    """An egg-shaped brain, narrower in front and flat below, turned about its vertical and its anterior axis; also its
    affine and voxels' coordinates.
    """
    affine = np.diag([*(np.array(orientation) * SPACING), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    world = np.indices(SHAPE).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3] - (shift_mm, 0, 0)
    yaw, roll = np.deg2rad(degrees)
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
    turn = about_z @ about_y
    own = world @ turn  # coordinates on the brain's own axes
    x, y, z = own.T
    mask = ((x / (66 - 0.12 * y)) ** 2 + (y / 85) ** 2 + (z / 68) ** 2 <= 1) & (z > -40)
    return mask.reshape(SHAPE), affine, own.T.reshape(3, *SHAPE), turn[:, 0]


@pytest.mark.parametrize(
    ("degrees", "orientation"), [((9, 0), (1, 1, 1)), ((-7, 6), (-1, -1, 1)), ((12, -10), (1, -1, 1))]
)
def test_the_midline_of_a_tilted_head_is_found(degrees, orientation):
    brain, affine, _, right = head(degrees, shift_mm=6.0, orientation=orientation)
    plane = midsagittal_plane(brain, affine)
    assert np.rad2deg(np.arccos(np.clip(plane.normal_ras @ right, -1, 1))) < 2
    assert abs((plane.point_ras - (6, 0, 0)) @ right) < 1.0
    assert plane.symmetry > 0.95


def test_half_a_brain_and_a_speck_have_no_midline():
    brain, affine, own, _ = head((0, 0))
    assert midsagittal_plane(brain & ((own[0] > 0) | (own[1] > 20)), affine) is None
    speck = np.zeros(SHAPE, bool)
    speck[40, 40, 40] = True
    assert midsagittal_plane(speck, affine) is None
    assert midsagittal_plane(np.zeros(SHAPE, bool), affine) is None


@cache
def plane_of(degrees):
    brain, affine, _, _ = head(degrees)
    return midsagittal_plane(brain, affine)


@pytest.mark.parametrize("degrees", [(0, 0), (10, -6)])
@pytest.mark.parametrize(
    ("at", "radius", "side", "crosses"),
    [
        ((30, 10, 5), 15, Side.RIGHT, False),
        ((-30, 10, 5), 15, Side.LEFT, False),
        ((10, 0, 20), 20, Side.RIGHT, True),
        ((-10, 0, 20), 20, Side.LEFT, True),
        ((13, 0, 20), 15, Side.RIGHT, False),  # 2 mm over the plane, which is within its accuracy
        ((0.5, 40, 0), 4, Side.MIDLINE, False),
    ],
)
def test_side_and_crossing(degrees, at, radius, side, crosses):
    _, affine, own, _ = head(degrees)
    tumour = np.linalg.norm(own - np.array(at)[:, None, None, None], axis=0) < radius
    found = laterality(tumour, affine, plane_of(degrees))
    assert (found.side, found.crosses) == (side, crosses)
    assert 0 <= found.left_share <= 1
    assert (found.left_share > 0.5) == (at[0] < 0)


def test_the_side_does_not_depend_on_how_the_file_is_stored():
    """A flip of an axis that the affine knows of is no flip of the patient."""
    brain, affine, own, _ = head((5, 0))
    tumour = np.linalg.norm(own - np.array([-35, 0, 0])[:, None, None, None], axis=0) < 12
    flipped = affine @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    one = laterality(tumour, affine, midsagittal_plane(brain, affine))
    two = laterality(tumour[::-1], flipped, midsagittal_plane(brain[::-1], flipped))
    assert one.side == two.side == Side.LEFT
    assert centre(tumour, affine).ras_mm == pytest.approx(centre(tumour[::-1], flipped).ras_mm)


def test_centre_in_voxels_and_millimetres():
    mask = np.zeros((10, 10, 10), bool)
    mask[2:4, 5, 6] = True
    affine = np.array([[-2.0, 0, 0, 30], [0, -1, 0, 20], [0, 0, 3, -10], [0, 0, 0, 1]])
    found = centre(mask, affine)
    assert found.voxel == (2.5, 5, 6)
    assert found.ras_mm == (25, 15, 8)
    assert centre(np.zeros((3, 3, 3), bool), affine) is None


def test_an_empty_tumour_has_no_side():
    assert laterality(np.zeros(SHAPE, bool), head((0, 0))[1], plane_of((0, 0))) is None
