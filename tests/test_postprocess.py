"""Post-processing: sizes at the limit, connectivity, the two openings, and agreement with OpenCV 5.0.0, whose results
are stored here.
"""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomask import postprocess as post
from gliomask.errors import UsageError
from gliomask.labels import Label, Region

MM = (1.0, 1.0, 1.0)
label_maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9), elements=st.integers(0, 3)
)
chains = st.sampled_from(sorted(post.CHAINS))


def in_slice(plane: np.ndarray, slices: int = 3) -> np.ndarray:
    """A label map with `plane` in its middle slice."""
    label_map = np.zeros((*plane.shape, slices), np.uint8)
    label_map[:, :, slices // 2] = plane
    return label_map


def bar(pixels: int) -> np.ndarray:
    """A plane (40, 40) with one component of so many pixels, ten wide."""
    plane = np.zeros((40, 40), np.uint8)
    plane[5:15, 5:25].T.flat[:pixels] = 2
    assert np.count_nonzero(plane) == pixels
    return plane


def digest(label_map: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(label_map).tobytes()).hexdigest()


def rings() -> np.ndarray:
    """Rings and crumbs of all labels, up to every border, from whole numbers alone."""
    i, j, k = np.meshgrid(np.arange(60), np.arange(50), np.arange(6), indexing="ij")
    inside = (i * i + 2 * j * j + 300 * k) % 1009 < 580
    return np.where(inside, 1 + (i * i // 50 + j + 5 * k) // 4 % 3, 0).astype(np.uint8)


def test_unknown_chain_is_refused():
    with pytest.raises(UsageError, match=r"no post-processing '2'.*none, 1, 1\+2"):
        post.postprocess(np.zeros((2, 2, 2), np.uint8), "2", MM)


@pytest.mark.parametrize("chain", ["1", "legacy"])
def test_components_of_109_pixels_go_and_of_110_stay(chain):
    assert not post.postprocess(in_slice(bar(109)), chain, MM).any()
    kept = np.count_nonzero(post.postprocess(in_slice(bar(110)), chain, MM))
    assert kept == (110 - 4 if chain == "legacy" else 110), "the literal chain also shaves four corners"


def test_components_are_those_of_all_labels_together():
    plane = bar(110)
    plane[5:15, 5:9] = np.where(plane[5:15, 5:9] > 0, 3, 0)
    assert np.array_equal(post.postprocess(in_slice(plane), "1", MM), in_slice(plane))


def test_components_join_over_corners_but_not_over_slices():
    plane = np.zeros((40, 40), np.uint8)
    plane[0:10, 0:10] = 1
    plane[10:12, 10:15] = 2
    assert np.array_equal(post.postprocess(in_slice(plane), "1", MM), in_slice(plane))
    thick = np.repeat(bar(60)[:, :, None], 5, axis=2)
    assert not post.postprocess(thick, "1", MM).any()


def test_limit_is_an_area_except_in_the_literal_chain():
    label_map = in_slice(bar(50))
    assert post.postprocess(label_map, "1", (1.5, 1.5, 5.0)).any(), "112.5 mm2"
    assert not post.postprocess(label_map, "1", (1.4, 1.4, 5.0)).any(), "98 mm2"
    assert not post.postprocess(label_map, "legacy", (1.5, 1.5, 5.0)).any()


def test_last_digits_of_a_header_do_not_move_the_limit():
    almost = float(np.float32(0.99999))
    assert post.postprocess(in_slice(bar(110)), "1", (almost, almost, 1.0)).any()
    assert not post.postprocess(in_slice(bar(109)), "1", (1.00001, 1.00001, 1.0)).any()


def test_line_of_enhancement_in_oedema_stays_in_ours_and_is_lost_in_the_literal_chain():
    plane = np.zeros((30, 30), np.uint8)
    plane[5:25, 5:25] = 2
    plane[15, 8:22] = 3
    ours, literal = (post.postprocess(in_slice(plane), chain, MM)[:, :, 1] for chain in ("1+2", "legacy"))
    assert np.count_nonzero(plane == 3) == np.count_nonzero(ours == 3) == 14
    assert not (literal == 3).any()
    assert (literal[15, 8:22] == 2).all()


def test_line_of_core_in_enhancement_stays_in_both():
    plane = np.zeros((30, 30), np.uint8)
    plane[5:25, 5:25] = 3
    plane[15, 8:22] = 1
    for chain in ("1+2", "legacy"):
        assert (post.postprocess(in_slice(plane), chain, MM)[15, 8:22, 1] == 1).all()


def test_opening_shaves_corners_and_spurs():
    plane = np.zeros((40, 40), np.uint8)
    plane[2:27, 2:27] = 1
    plane[27:35, 10] = 1
    opened = post.postprocess(in_slice(plane), "1+2", MM)[:, :, 1]
    assert np.count_nonzero(opened[:27]) == 25 * 25 - 4
    assert not opened[28:].any()


# By cv2.morphologyEx(image, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))) of OpenCV 5.0.0,
# label 4 written as 3.
AT_BORDER = """
00000002 22200102 23220112 23222111 23332010 22132000 22222033 22220033
"""
AT_BORDER_GREY = """
00000000 22200001 22220011 22222111 22222010 22121000 22222003 22220033
"""
AT_BORDER_MASK = """
00000000 11100001 11110011 11111111 11111010 11111000 11111001 11110011
"""


def grid(text: str) -> np.ndarray:
    return np.array([list(map(int, row)) for row in text.split()], np.uint8)


def test_openings_treat_borders_as_opencv_does():
    label_map = grid(AT_BORDER)[:, :, None]
    assert np.array_equal(post.open_grey_levels(label_map, MM)[:, :, 0], grid(AT_BORDER_GREY))
    assert np.array_equal(post.smooth_border(label_map, MM)[:, :, 0], grid(AT_BORDER) * grid(AT_BORDER_MASK))


@pytest.mark.parametrize(
    ("chain", "counts", "expected"),
    [
        ("legacy", [8525, 4106, 3573, 1796], "9a7b331444b24a2073c3f35423eccd015916c4988443c42a2889a39d29c3f5dc"),
        ("1+2", [8525, 3185, 3195, 3095], "e352d89b0177ccfe09a9bcecafe732ce15a0c65456ee044357d19c425668c62d"),
    ],
)
def test_whole_chains_agree_with_opencv(chain, counts, expected):
    result = post.postprocess(rings(), chain, MM)
    assert np.bincount(result.ravel()).tolist() == counts
    assert digest(result) == expected


def cubes(*sides: int) -> np.ndarray:
    """Cubes of oedema of these sides, apart from each other."""
    label_map = np.zeros((12, 12, 12 * len(sides)), np.uint8)
    for n, side in enumerate(sides):
        label_map[1 : 1 + side, 1 : 1 + side, 12 * n + 1 : 12 * n + 1 + side] = 2
    return label_map


def test_3d_keeps_components_of_a_share_of_the_largest():
    label_map = cubes(10, 5, 4)
    result = post.clean(label_map, MM, post.Cleaning(min_share=0.125))
    assert np.count_nonzero(result) == 1000 + 125
    assert np.array_equal(post.clean(label_map, MM, post.Cleaning(min_share=0)), label_map)


def test_3d_joins_components_over_corners():
    label_map = np.zeros((6, 6, 6), np.uint8)
    label_map[:5, :5, :5] = 2
    label_map[5, 5, 5] = 3
    assert np.array_equal(post.clean(label_map, MM, post.Cleaning(min_share=0.5)), label_map)


def test_little_enhancement_becomes_core_by_volume():
    label_map = cubes(10)
    label_map[1:5, 1:6, 1:6] = 3
    below = post.clean(label_map, MM, post.Cleaning(min_enhancing_ml=0.101))
    assert np.array_equal(below, np.where(label_map == 3, 1, label_map))
    assert np.array_equal(post.clean(label_map, MM, post.Cleaning(min_enhancing_ml=0.1)), label_map)
    assert np.array_equal(post.clean(label_map, (2.0, 1.0, 1.0), post.Cleaning(min_enhancing_ml=0.2)), label_map)


def test_little_enhancement_becomes_core_by_share():
    label_map = cubes(10)
    label_map[1:5, 1:6, 1:6] = 3
    assert not (post.clean(label_map, MM, post.Cleaning(min_enhancing_share=0.11)) == 3).any()
    assert (post.clean(label_map, MM, post.Cleaning(min_enhancing_share=0.1)) == 3).sum() == 100


def test_holes_take_the_label_of_what_encloses_them():
    label_map = cubes(10)
    label_map[2:8, 2:8, 2:8] = 3
    label_map[4, 4, 4] = label_map[9, 9, 9] = 0
    filled = post.clean(label_map, MM, post.Cleaning(fill_holes=True))
    assert filled[4, 4, 4] == 1
    assert filled[9, 9, 9] == 2
    assert np.count_nonzero(filled != label_map) == 2
    assert np.array_equal(post.clean(label_map, MM, post.Cleaning(fill_holes=False)), label_map)


@given(label_maps, chains)
def test_input_is_left_alone_and_a_new_array_of_its_kind_returned(label_map, chain):
    before = label_map.copy()
    label_map.setflags(write=False)
    result = post.postprocess(label_map, chain, MM)
    assert np.array_equal(label_map, before)
    assert not np.shares_memory(result, label_map)
    assert (result.shape, result.dtype) == (label_map.shape, label_map.dtype)


@given(label_maps, chains)
def test_no_chain_adds_tumour_and_only_the_literal_one_changes_labels_within(label_map, chain):
    if post.CHOSEN_CLEANING.fill_holes and chain == "3d":
        return
    result = post.postprocess(label_map, chain, (4.0, 4.0, 1.0))
    assert not (Region.WT.mask(result) & ~Region.WT.mask(label_map)).any()
    assert (result <= label_map).all(), "an opening only lowers"
    if chain in ("none", "1", "1+2"):
        assert np.array_equal(result[result > 0], label_map[result > 0])


@given(label_maps, st.sampled_from(["none", "1", "3d"]))
def test_removal_of_components_done_twice_is_done_once(label_map, chain):
    once = post.postprocess(label_map, chain, (4.0, 4.0, 1.0))
    assert np.array_equal(post.postprocess(once, chain, (4.0, 4.0, 1.0)), once)


@given(label_maps)
def test_openings_done_twice_are_done_once(label_map):
    for opening in (post.smooth_border, post.open_grey_levels):
        once = opening(label_map, MM)
        assert np.array_equal(opening(once, MM), once)


@given(label_maps, chains, st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3))
def test_cropping_to_the_tumour_changes_nothing(label_map, chain, margins):
    inner = np.pad(label_map, 1)
    wide = np.pad(inner, margins)
    offset = tuple(slice(low, low + n) for (low, _), n in zip(margins, inner.shape, strict=True))
    assert np.array_equal(
        post.postprocess(wide, chain, (4.0, 4.0, 1.0))[offset], post.postprocess(inner, chain, (4.0, 4.0, 1.0))
    )


@pytest.mark.parametrize("chain", sorted(post.CHAINS))
def test_empty_label_map_stays_empty(chain):
    assert not post.postprocess(np.zeros((3, 4, 5), np.uint8), chain, MM).any()


@pytest.mark.parametrize("chain", ["none", "1", "1+2", "legacy", "3d"])
def test_every_chain_of_the_command_line_is_described(chain):
    assert post.CHAINS[chain].name == chain
    assert post.CHAINS[chain].description


def test_parts_that_are_wholly_gone_are_listed_the_largest_first():
    before = np.zeros((30, 30, 30), np.uint8)
    before[2:12, 2:12, 2:12] = Label.OEDEMA
    before[20:24, 20:24, 20:24] = Label.ENHANCING
    before[20:22, 5, 5] = Label.NECROTIC
    after = post.postprocess(before, "3d", (1.0, 1.0, 2.0))
    parts = post.lost_parts(before, after, (1.0, 1.0, 2.0))
    assert [(part.voxels, round(part.volume_ml, 6), part.centre) for part in parts] == [
        (64, 0.128, (21.5, 21.5, 21.5)),
        (2, 0.004, (20.5, 5.0, 5.0)),
    ]


def test_what_is_only_trimmed_is_not_lost():
    before = np.zeros((20, 20, 20), np.uint8)
    before[2:16, 2:16, 2:16] = Label.OEDEMA
    before[16:19, 9, 9] = Label.OEDEMA
    after = post.postprocess(before, "1+2", MM)
    assert after.sum() < before.sum()
    assert post.lost_parts(before, after, MM) == ()
    assert post.lost_parts(before, before, MM) == ()
    assert post.lost_parts(np.zeros_like(before), np.zeros_like(before), MM) == ()


def test_where_nothing_is_left_every_part_is_lost():
    before = np.zeros((20, 20, 20), np.uint8)
    before[3, 3, 3], before[10:12, 10, 19] = 1, 2
    assert [part.voxels for part in post.lost_parts(before, np.zeros_like(before), MM)] == [2, 1]
