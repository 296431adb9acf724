from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY_SHAPE, make_tiny_case, tiny_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import make_stack, make_stacks

from gliomask.errors import CaseError
from gliomask.labels import Label
from gliomask.planes import Plane
from gliomask.preprocess.channels import prepare
from gliomask.sampling import Draw, SliceStack, cut_patch, equal_draws, place, region_draws, uniform_draws
from gliomask.sequences import PAPER_ORDER

IDENTITY = np.eye(2)


def plain_stack(labels: np.ndarray, background: float = -9.0) -> SliceStack:
    """Slices whose channel 0 is the row, channel 1 the column, all of it brain."""
    rows, columns = np.meshgrid(*map(np.arange, labels.shape[1:]), indexing="ij")
    slices = np.broadcast_to(np.stack([rows, columns], axis=-1), (*labels.shape, 2)).astype(np.float16)
    centres = tuple(np.flatnonzero(labels == label).astype(np.int32) for label in Label)
    return SliceStack("plain", slices, labels.astype(np.uint8), centres, background)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 4, (3, 9, 11))


def test_equal_draws_give_each_patient_the_same_number_of_every_class():
    stacks = make_stacks(3)
    counts = Counter(
        (draw.case, int(stacks[draw.case].labels[draw.centre]))
        for draw in equal_draws(stacks, 7, np.random.default_rng(0))
    )
    assert counts == {(case, label): 7 for case in range(3) for label in range(4)}


def test_equal_draws_leave_out_a_class_that_a_patient_lacks():
    without_enhancement = np.where(tiny_labels() == Label.ENHANCING, Label.OEDEMA, tiny_labels())
    stacks = [make_stack("all"), make_stack("none", labels=without_enhancement)]
    counts = Counter(
        (draw.case, int(stacks[draw.case].labels[draw.centre]))
        for draw in equal_draws(stacks, 5, np.random.default_rng(0))
    )
    assert counts == {(0, 0): 5, (0, 1): 5, (0, 2): 5, (0, 3): 5, (1, 0): 5, (1, 1): 5, (1, 2): 5}


def test_background_centres_lie_inside_the_brain():
    stack = make_stack()
    air = (stack.slices == stack.background).all(axis=-1)
    assert air.any()
    for draw in equal_draws([stack], 50, np.random.default_rng(1)):
        assert not air[draw.centre]


def test_draws_are_shuffled_and_repeat_with_the_seed():
    stacks = make_stacks(2)
    first, again, other = (list(equal_draws(stacks, 6, np.random.default_rng(seed))) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert [draw.case for draw in first] != sorted(draw.case for draw in first)


def test_uniform_draws_are_as_many_and_follow_the_volume_of_the_classes():
    stacks = make_stacks(2)
    draws = list(uniform_draws(stacks, 100, np.random.default_rng(0)))
    assert Counter(draw.case for draw in draws) == {0: 400, 1: 400}
    share = np.mean([stacks[draw.case].labels[draw.centre] == Label.BACKGROUND for draw in draws])
    expected = np.mean([len(stack.centres[Label.BACKGROUND]) / sum(map(len, stack.centres)) for stack in stacks])
    assert share == pytest.approx(expected, abs=0.05)


def test_a_stack_is_cropped_to_its_brain_with_slices_first():
    case = make_tiny_case()
    prepared = prepare(case, PAPER_ORDER, "volume")
    stack = make_stack()
    extent = [int(np.ptp(axis)) + 1 for axis in np.nonzero(prepared.brain)]
    assert stack.labels.shape == (extent[2], extent[0], extent[1])
    assert stack.slices.shape == (*stack.labels.shape, 4)
    assert stack.labels.size < np.prod(TINY_SHAPE)
    assert sum(map(len, stack.centres)) == prepared.brain.sum()


def test_a_tumour_voxel_outside_the_brain_is_kept():
    channels, brain = np.zeros((6, 6, 2, 4), np.float32), np.zeros((6, 6, 2), bool)
    brain[2:4, 2:4] = True
    label_map = np.zeros(brain.shape, np.uint8)
    label_map[5, 5, 1] = Label.OEDEMA
    stack = SliceStack.of("case", channels, label_map, brain, 0.0)
    assert [len(pixels) for pixels in stack.centres] == [8, 0, 1, 0]


def test_a_reference_without_tumour_is_refused():
    with pytest.raises(CaseError, match=r"Case healthy: .*no tumour"):
        make_stack("healthy", labels=np.zeros(TINY_SHAPE, np.uint8))


@pytest.mark.parametrize("size", [4, 5])
def test_the_centre_of_a_patch_is_the_pixel_drawn(labels, size):
    stack = plain_stack(labels)
    patch, target = cut_patch(stack, (1, 4, 6), size, IDENTITY)
    assert patch.shape == (size, size, 2)
    assert patch.dtype == np.float32
    np.testing.assert_array_equal(patch[size // 2, size // 2], (4, 6))
    low_i, low_j = 4 - size // 2, 6 - size // 2
    np.testing.assert_array_equal(target, labels[1, low_i : low_i + size, low_j : low_j + size])


def test_beyond_the_slice_lies_background(labels):
    stack = plain_stack(labels)
    patch, target = cut_patch(stack, (0, 0, 10), 6, IDENTITY)
    inside = np.zeros((6, 6), bool)
    inside[3:, :4] = True
    np.testing.assert_array_equal(patch[~inside], -9.0)
    np.testing.assert_array_equal(target[~inside], Label.BACKGROUND)
    np.testing.assert_array_equal(patch[inside], stack.slices[0, :3, 7:11].reshape(-1, 2))
    np.testing.assert_array_equal(target[inside], labels[0, :3, 7:11].ravel())


@pytest.mark.parametrize(
    ("matrix", "change"),
    [(np.diag([-1.0, 1]), np.flipud), (np.diag([1.0, -1]), np.fliplr), (-IDENTITY, lambda a: np.rot90(a, 2))],
)
def test_flips_move_sequences_and_labels_alike(labels, matrix, change):
    stack = plain_stack(labels)
    patch, target = cut_patch(stack, (2, 4, 5), 7, matrix)
    straight, straight_target = cut_patch(stack, (2, 4, 5), 7, IDENTITY)
    np.testing.assert_array_equal(patch, change(straight))
    np.testing.assert_array_equal(target, change(straight_target))


def test_a_quarter_turn_is_rot90(labels):
    stack = plain_stack(labels)
    straight, straight_target = cut_patch(stack, (1, 4, 5), 5, IDENTITY)
    for turn in (np.array([[0.0, 1], [-1, 0]]), np.array([[np.cos(np.pi / 2), 1], [-1, np.cos(np.pi / 2)]])):
        # Once on the path that copies pixels, once, by a cosine of 6e-17, on the one that interpolates.
        patch, target = cut_patch(stack, (1, 4, 5), 5, turn)
        np.testing.assert_allclose(patch, np.rot90(straight), atol=1e-5)
        np.testing.assert_array_equal(target, np.rot90(straight_target))


@settings(max_examples=40, deadline=None)
@given(angle=st.floats(-180, 180), zoom=st.floats(0.8, 1.2), flip=st.booleans())
def test_linear_images_are_interpolated_exactly(angle, zoom, flip):
    # Row and column numbers are linear, so linear interpolation must return the very position that was asked for.
    stack = plain_stack(np.zeros((1, 41, 41), int))
    turn = np.deg2rad(angle)
    matrix = (
        zoom
        * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        @ np.diag([1.0, -1.0 if flip else 1.0])
    )
    patch, _ = cut_patch(stack, (0, 20, 20), 12, matrix)
    offsets = np.stack(np.meshgrid(np.arange(12) - 6, np.arange(12) - 6, indexing="ij"))
    positions = np.einsum("ab,bij->ija", matrix, offsets) + 20
    np.testing.assert_allclose(patch, positions, atol=1e-4)


def test_adjacent_patches_are_tiles_of_the_scans_own_slice(rng):
    stack = replace(plain_stack(np.zeros((2, 40, 40), int)), origin=(0, 5, 11))
    for i, j in rng.integers(0, 40, (200, 2)):
        placed = place(Draw(3, (1, int(i), int(j))), stack, "adjacent", 8, rng)
        corner = np.array(placed.centre[1:]) - 4 + stack.origin[1:]
        assert placed.case == 3
        assert placed.centre[0] == 1
        assert not (corner % 8).any()
        assert (corner - stack.origin[1:] <= (i, j)).all()
        assert (corner - stack.origin[1:] + 8 > (i, j)).all()


def test_overlapping_patches_are_those_tiles_and_the_ones_on_their_corners_and_hold_the_pixel(rng):
    stack = plain_stack(np.zeros((1, 40, 40), int))
    found = Counter()
    for _ in range(400):
        placed = place(Draw(0, (0, 13, 21)), stack, "overlapping", 8, rng)
        found[placed.centre] += 1
    assert set(found) == {(0, 12, 20), (0, 16, 24)}
    assert min(found.values()) > 150


def test_centred_patches_take_nothing_from_the_generator(rng):
    before = rng.bit_generator.state
    assert place(Draw(0, (0, 1, 2)), make_stack(), "centred", 8, rng) == Draw(0, (0, 1, 2))
    assert rng.bit_generator.state == before


def test_a_stack_remembers_where_it_was_cropped():
    case = make_tiny_case()
    brain = prepare(case, PAPER_ORDER, "volume").brain
    assert make_stack().origin == tuple(int(np.nonzero(brain)[axis].min()) for axis in (2, 0, 1))


def test_neighbouring_slices_are_cut_alike_and_background_lies_beyond_the_stack(labels):
    stack = plain_stack(labels, background=-3.0)
    numbered = replace(stack, slices=stack.slices + np.arange(3, dtype=np.float16)[:, None, None, None])
    for matrix in (IDENTITY, 0.9 * IDENTITY):
        middle, target = cut_patch(numbered, (0, 4, 5), 4, matrix)
        patch, same_target = cut_patch(numbered, (0, 4, 5), 4, matrix, neighbours=1)
        assert patch.shape == (4, 4, 6)
        np.testing.assert_allclose(patch[..., :2], -3.0, rtol=1e-6)
        np.testing.assert_array_equal(patch[..., 2:4], middle)
        np.testing.assert_allclose(patch[..., 4:], middle + 1, rtol=1e-6)
        np.testing.assert_array_equal(target, same_target)


def test_jittered_patches_hold_the_pixel_in_their_middle_half(rng):
    stack = make_stack()
    shifts = np.array([place(Draw(1, (2, 30, 40)), stack, "jittered", 16, rng).centre for _ in range(500)]) - (
        2,
        30,
        40,
    )
    assert (shifts[:, 0] == 0).all()
    assert (shifts[:, 1:].min(), shifts[:, 1:].max()) == (-4, 4)
    assert np.abs(shifts.mean(axis=0)).max() < 0.5


def test_region_draws_take_a_quarter_each_and_anywhere_for_what_a_patient_lacks():
    without_enhancement = np.where(tiny_labels() == Label.ENHANCING, Label.OEDEMA, tiny_labels())
    stacks = [make_stack("all"), make_stack("none", labels=without_enhancement)]
    draws = list(region_draws(stacks, 500, np.random.default_rng(0)))
    assert len(draws) == 500 * 4 * 2
    inside = Counter((draw.case, bool(stacks[draw.case].labels[draw.centre] > 0)) for draw in draws)
    tumour = [(stack.labels > 0).mean() for stack in stacks]
    counts = Counter(draw.case for draw in draws)
    assert abs(counts[0] / len(draws) - 0.5) < 0.03
    assert abs(inside[0, True] / counts[0] - (0.75 + 0.25 * tumour[0])) < 0.05
    assert abs(inside[1, True] / counts[1] - (0.5 + 0.5 * tumour[1])) < 0.05


def test_region_draws_follow_the_weights_of_the_patients():
    counts = Counter(
        draw.case for draw in region_draws(make_stacks(3), 400, np.random.default_rng(0), np.array([1.0, 2.0, 1.0]))
    )
    assert abs(counts[1] / sum(counts.values()) - 0.5) < 0.03


@pytest.mark.parametrize(
    ("plane", "normal", "rows", "columns"),
    [(Plane.AXIAL, "k", "i", "j"), (Plane.CORONAL, "j", "i", "k"), (Plane.SAGITTAL, "i", "j", "k")],
)
def test_patches_of_every_plane_show_the_plane_and_its_neighbours_along_the_normal(plane, normal, rows, columns):
    shape = {"k": 9, "i": 10, "j": 11}
    grid = dict(zip("kij", np.meshgrid(*(np.arange(shape[axis]) for axis in "kij"), indexing="ij"), strict=True))
    slices = np.stack([grid[normal], grid[rows], grid[columns]], axis=-1).astype(np.float16)
    labels = (grid[normal] % 4).astype(np.uint8)
    stack = SliceStack("grid", slices, labels, (), -9.0, (1, 2, 3))
    centre = {"k": 4, "i": 5, "j": 6}
    draw = Draw(0, (4, 5, 6)).along(plane)
    patch, target = cut_patch(stack.along(plane), draw.centre, 4, IDENTITY, neighbours=1)
    patch = patch.reshape(4, 4, 3, 3)
    np.testing.assert_array_equal(patch[0, 0, :, 0], centre[normal] + np.array([-1, 0, 1]))
    np.testing.assert_array_equal(patch[:, 0, 1, 1], centre[rows] + np.arange(-2, 2))
    np.testing.assert_array_equal(patch[0, :, 1, 2], centre[columns] + np.arange(-2, 2))
    assert (target == centre[normal] % 4).all()
    assert stack.along(plane).origin == tuple({"k": 1, "i": 2, "j": 3}[axis] for axis in (normal, rows, columns))


def test_patches_stay_inside_the_box_where_it_is_large_enough(rng):
    stack = plain_stack(np.zeros((2, 40, 12), int))
    centres = [
        place(Draw(0, (1, int(i), int(j))), stack, "inside", 16, rng, 6).centre
        for i, j in rng.integers(0, (40, 12), (200, 2))
    ]
    rows = np.array([i - 8 for _, i, _ in centres])
    assert rows.min() == 0
    assert rows.max() == 24
    assert {j - 8 for _, _, j in centres} == {-2}


@settings(max_examples=60, deadline=None)
@given(
    i=st.integers(-9, 18),
    j=st.integers(-9, 20),
    size=st.integers(4, 12),
    flips=st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])),
    swap=st.booleans(),
)
def test_straight_cuts_equal_a_look_up_pixel_by_pixel(i, j, size, flips, swap):
    stack = plain_stack(np.arange(99).reshape(1, 9, 11) % 4)
    matrix = np.diag(np.array(flips, float))
    matrix = matrix[:, ::-1].copy() if swap else matrix
    patch, target = cut_patch(stack, (0, i, j), size, matrix)
    for u in range(size):
        for v in range(size):
            row, column = (matrix @ (u - size // 2, v - size // 2) + (i, j)).astype(int)
            inside = 0 <= row < 9 and 0 <= column < 11
            np.testing.assert_array_equal(patch[u, v], (row, column) if inside else -9)
            assert target[u, v] == (stack.labels[0, row, column] if inside else 0)
