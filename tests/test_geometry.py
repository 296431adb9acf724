"""Grids: what is refused, and that re-ordering axes moves no voxel in the world."""

import itertools
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gliomask.errors import GeometryError
from gliomask.geometry import Geometry, Reorientation

SHAPE = (3, 4, 5)
ORIENTATIONS = [
    "".join(pair[flip] for pair, flip in zip(order, flips, strict=True))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
]

spacings = st.tuples(*[st.floats(0.3, 6)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)
offsets = st.tuples(*[st.floats(-200, 200)] * 3)


def affine_of(spacing_mm: tuple[float, ...], angles_deg: tuple[float, ...], offset_mm: tuple[float, ...]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() * spacing_mm
    affine[:3, 3] = offset_mm
    return affine


def world_positions(geometry: Geometry) -> np.ndarray:
    """(I, J, K, 3) RAS millimetres of every voxel."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    return index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_reordering_moves_no_voxel_in_the_world_and_is_undone_exactly(codes: str) -> None:
    geometry = Geometry(SHAPE, affine_of((0.9, 1.3, 4.0), (12, -20, 8), (30, -40, 7)))
    reorientation = geometry.reorientation_to(codes)
    positions = world_positions(geometry)
    moved = reorientation.apply(positions)
    assert reorientation.target.orientation == codes
    assert moved.shape == (*reorientation.target.shape, 3)
    np.testing.assert_allclose(moved, world_positions(reorientation.target), atol=1e-9)
    np.testing.assert_array_equal(reorientation.undo(moved), positions)


@given(spacings, angles, offsets, st.sampled_from(ORIENTATIONS))
def test_reordering_any_oblique_grid_moves_no_voxel(
    spacing_mm: tuple[float, ...], angles_deg: tuple[float, ...], offset_mm: tuple[float, ...], codes: str
) -> None:
    geometry = Geometry(SHAPE, affine_of(spacing_mm, angles_deg, offset_mm))
    reorientation = geometry.reorientation_to(codes)
    positions = world_positions(geometry)
    moved = reorientation.apply(positions)
    np.testing.assert_allclose(moved, world_positions(reorientation.target), atol=1e-6)
    np.testing.assert_array_equal(reorientation.undo(moved), positions)
    np.testing.assert_allclose(geometry.spacing_mm, spacing_mm, rtol=1e-9)
    np.testing.assert_allclose(geometry.voxel_ml * 1000, np.prod(spacing_mm), rtol=1e-9)


@given(st.sampled_from(ORIENTATIONS), st.sampled_from(ORIENTATIONS), angles)
def test_a_scan_stored_on_other_axes_is_the_same_scan(first: str, second: str, angles_deg: tuple[float, ...]) -> None:
    """Storing a volume on permuted and flipped axes, with its affine, changes nothing after both are brought to one
    orientation.
    """
    geometry = Geometry(SHAPE, affine_of((1, 1.5, 3), tuple(angle / 10 for angle in angles_deg), (5, 6, 7)))
    volume = np.arange(60).reshape(SHAPE)
    stored = geometry.reorientation_to(first)
    direct, roundabout = geometry.reorientation_to(second), stored.target.reorientation_to(second)
    np.testing.assert_array_equal(direct.apply(volume), roundabout.apply(stored.apply(volume)))
    np.testing.assert_allclose(direct.target.affine, roundabout.target.affine, atol=1e-9)


def test_reordering_keeps_channels_where_they_are() -> None:
    reorientation = Geometry(SHAPE, np.diag([1.0, 2, 3, 1])).reorientation_to("SLA")
    stack = np.random.default_rng(0).random((*SHAPE, 4))
    moved = reorientation.apply(stack)
    assert moved.shape == (5, 3, 4, 4)
    np.testing.assert_array_equal(moved[..., 2], reorientation.apply(stack[..., 2]))
    np.testing.assert_array_equal(reorientation.undo(moved), stack)


@pytest.mark.parametrize(
    ("shape", "affine", "words"),
    [
        ((3, 4), np.eye(4), "three axes"),
        ((3, 4, 0), np.eye(4), "three axes"),
        (SHAPE, np.eye(3), "4 x 4"),
        (SHAPE, np.full((4, 4), np.nan), "finite"),
        (SHAPE, np.diag([1, 1, np.inf, 1]), "finite"),
        (SHAPE, np.diag([1, 1, 0, 1]), "cannot be inverted"),
        (SHAPE, np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "cannot be inverted"),
        (SHAPE, np.diag([1e200, 1e200, 1e200, 1]), "cannot be inverted"),
        (SHAPE, np.diag([0.001, 0.001, 0.001, 1]), "spacing"),
        (SHAPE, np.diag([1, 1, 5000, 1]), "spacing"),
        (SHAPE, np.diag([1, 1, 1, 2]), "last row"),
    ],
)
def test_an_impossible_grid_is_refused(shape: tuple[int, ...], affine: np.ndarray, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        Geometry(shape, affine)  # type: ignore[arg-type]


@pytest.mark.parametrize("tilt_deg", [0, 15, 30])
def test_a_tilted_gantry_is_a_grid(tilt_deg: float) -> None:
    shear = np.eye(4)
    shear[1, 2], shear[2, 2] = 5 * np.sin(np.radians(tilt_deg)), 5 * np.cos(np.radians(tilt_deg))
    assert Geometry(SHAPE, shear).orientation == "RAS"


def test_same_grid_forgives_rounding_and_nothing_else() -> None:
    affine = affine_of((1, 1, 1), (10, 20, 30), (1, 2, 3))
    geometry = Geometry((240, 240, 155), affine)
    assert geometry.same_grid(Geometry(geometry.shape, affine.astype(np.float32)))
    assert not geometry.same_grid(Geometry((240, 240, 154), affine))
    moved = affine.copy()
    moved[0, 3] += 0.1
    assert not geometry.same_grid(Geometry(geometry.shape, moved))
    assert geometry.corner_distance_mm(Geometry(geometry.shape, moved)) == pytest.approx(0.1)


def test_a_grid_cannot_be_changed_afterwards() -> None:
    affine = np.eye(4)
    geometry = Geometry(SHAPE, affine)
    affine[0, 3] = 9
    assert geometry.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 3] = 9


def test_messages_name_shape_spacing_and_orientation() -> None:
    assert str(Geometry(SHAPE, np.diag([-1.0, -1, 5.5, 1]))) == "3 x 4 x 5 voxels of 1 x 1 x 5.5 mm, LPS"


def test_the_same_voxels_in_another_order_are_recognised_and_laid_out_as_here():
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("xyz", [40, -35, 44], degrees=True).as_matrix() @ np.diag([1, 2, 3])
    here = Geometry((4, 5, 6), tilted)
    values = np.arange(120, dtype=np.float32).reshape(here.shape)
    for order in permutations(range(3)):
        for flips in product((1, -1), repeat=3):
            turn = Reorientation(here, np.column_stack([order, flips]).astype(float))
            back = here.reorientation_from(turn.target)
            assert back is not None
            np.testing.assert_array_equal(back.apply(turn.apply(values)), values)
    moved = tilted.copy()
    moved[0, 3] += 1
    for other in (Geometry((4, 5, 6), moved), Geometry((4, 5, 7), tilted), Geometry((4, 5, 6), np.eye(4))):
        assert not here.same_voxels(other)
