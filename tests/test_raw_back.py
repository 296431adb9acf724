import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomask.geometry import Geometry
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.back import SUPERSAMPLED_MM, filled, labels_on
from gliomask.preprocess.raw.transforms import about, turn

pytest.importorskip("SimpleITK")

SOURCE = Geometry((24, 22, 20), np.array([[-1.0, 0, 0, 12], [0, -1.0, 0, 11], [0, 0, 1.0, -10], [0, 0, 0, 1]]))
TARGET = Geometry((14, 16, 7), np.array([[1.9, 0, 0, -13], [0, 1.7, 0, -13], [0, 0, 5.0, -15], [0, 0, 0, 1]]))
PLACES = st.tuples(st.integers(0, 20), st.integers(0, 18), st.integers(0, 16))


def of_every_voxel(inside, matrix):
    """The same share, worked out without looking where the mask is."""
    counts = [max(1, round(mm / SUPERSAMPLED_MM)) for mm in TARGET.spacing_mm]
    total = 0
    for places in np.ndindex(*counts):
        moved = np.eye(4)
        moved[:3, 3] = TARGET.affine[:3, :3] @ [
            (place + 0.5) / count - 0.5 for place, count in zip(places, counts, strict=True)
        ]
        total = total + itk.resample(inside.astype(np.float32), SOURCE, TARGET, matrix @ moved)
    return total / np.prod(counts)


@given(PLACES, PLACES, st.tuples(*[st.floats(-40, 40)] * 3), st.tuples(*[st.floats(-8, 8)] * 3))
def test_looking_only_where_there_is_something_changes_nothing(first, second, angles, shift):
    matrix = about((0, 0, 0), turn(angles), shift)
    inside = np.zeros(SOURCE.shape, bool)
    inside[tuple(slice(min(a, b), max(a, b) + 3) for a, b in zip(first, second, strict=True))] = True
    np.testing.assert_allclose(filled(inside, SOURCE, TARGET, matrix), of_every_voxel(inside, matrix), atol=1e-5)


@pytest.mark.parametrize("inside", [np.zeros(SOURCE.shape, bool), np.ones(SOURCE.shape, bool)])
def test_nothing_fills_nothing_and_what_is_out_of_reach_neither(inside):
    assert not filled(inside, SOURCE, TARGET, about((0, 0, 0), np.eye(3), (500, 0, 0))).any()
    assert filled(inside, SOURCE, TARGET, np.eye(4)).any() == inside.any()


def test_a_voxel_takes_the_label_that_fills_most_of_it():
    labels = np.zeros(SOURCE.shape, np.uint8)
    labels[4:20, 4:18, 4:16] = 2
    labels[8:14, 8:14, 6:14] = 3
    matrix = about((0, 0, 0), turn((10, -5, 20)), (1, 0, -1))
    shares = [of_every_voxel(labels == label, matrix) for label in range(4)]
    shares[0] = 1 - sum(shares[1:])
    found = labels_on(labels, SOURCE, TARGET, matrix)
    clear = np.sort(shares, axis=0)[-1] - np.sort(shares, axis=0)[-2] > 1e-4
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 2, 3}
    np.testing.assert_array_equal(found[clear], np.argmax(shares, axis=0)[clear])


def test_a_label_map_without_a_tumour_stays_without():
    assert not labels_on(np.zeros(SOURCE.shape, np.uint8), SOURCE, TARGET, np.eye(4)).any()


def test_a_fine_grid_costs_little_more_than_its_label_map() -> None:
    """Heads at half a millimetre have 50 million voxels; an image of them for each label took 3 GB."""
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:20, 10:20, 10:20], labels[12:16, 12:16, 12:16] = 2, 3
    source = Geometry(labels.shape, np.diag([-1.0, -1, 1, 1]))
    fine = Geometry((200, 200, 200), np.diag([-0.5, -0.5, 0.5, 1]))
    tracemalloc.start()
    try:
        # Moved a little: no voxel is filled by exactly half.
        found = labels_on(labels, source, fine, about((0, 0, 0), turn((0, 0, 0)), (0.13, 0.13, 0.13)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * found.nbytes
    assert [int((found == label).sum()) for label in (1, 2, 3)] == pytest.approx([0, 936 * 8, 64 * 8], rel=0.2)
