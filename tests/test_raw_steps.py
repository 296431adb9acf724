import threading
import time

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st

from gliomask.errors import QualityError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.preprocess.raw import place
from gliomask.preprocess.raw.align import Alignment, align_to_frame, without_shading
from gliomask.preprocess.raw.brain import first_valley
from gliomask.preprocess.raw.registration import BINS, Comparison, Image, Level, in_threads, small_map, thin
from gliomask.preprocess.raw.settings import PreparationSettings
from gliomask.preprocess.raw.transforms import (
    about,
    angle_degrees,
    distance_mm,
    inverse,
    move,
    nearest_rigid,
    stretches,
    to_itk_text,
    turn,
)
from gliomask.sequences import Sequence

ANGLES = st.tuples(*[st.floats(-60, 60)] * 3)
SHIFTS = st.tuples(*[st.floats(-100, 100)] * 3)
POINTS = np.random.default_rng(1).uniform(-80, 80, (200, 3))
INSIDE = np.linalg.norm(POINTS / (60, 75, 55), axis=1) < 1


@given(ANGLES, SHIFTS)
def test_a_rigid_map_is_its_own_nearest(angles, shift):
    matrix = about((10, -20, 30), turn(angles), shift)
    assert distance_mm(nearest_rigid(matrix, POINTS), matrix, POINTS).max() < 1e-6
    np.testing.assert_allclose(stretches(matrix), 1)


@given(ANGLES)
def test_the_nearest_rigid_map_of_a_stretched_one_does_not_stretch_or_mirror(angles):
    matrix = about((0, 0, 0), turn(angles) @ np.diag([1.2, 0.9, 1.1]))
    rigid = nearest_rigid(matrix, POINTS)
    np.testing.assert_allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rigid[:3, :3]) > 0


@given(st.floats(-170, 170), st.sampled_from([0, 1, 2]))
def test_an_angle_is_told_from_its_matrix(degrees, axis):
    assert angle_degrees(about((5, 5, 5), turn(degrees * np.eye(3)[axis]))) == pytest.approx(abs(degrees), abs=1e-4)


def test_itk_reads_the_transform_that_is_written(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    matrix = about((10, -20, 30), turn((10, 20, 30)) @ np.diag([1.1, 1, 0.9]), (5, 6, 7))
    (tmp_path / "map.tfm").write_text(to_itk_text(matrix))
    read = sitk.ReadTransform(str(tmp_path / "map.tfm"))
    for point in POINTS[:5]:
        x, y, z = read.TransformPoint((-point[0], -point[1], point[2]))
        np.testing.assert_allclose((-x, -y, z), move(matrix, point[None])[0], atol=1e-6)


def test_resampling_and_the_transform_agree():
    itk = pytest.importorskip("gliomask.preprocess.raw.itk")
    pytest.importorskip("SimpleITK")
    blob, grid = lumps()
    matrix = about((0, 0, 0), turn((0, 0, 20)), (4, -3, 2))
    moved = itk.resample(blob, grid, grid, matrix)
    index = np.array([[20, 22, 18]])
    there = move(inverse(grid.affine) @ matrix @ grid.affine, index.astype(float))[0]
    from scipy.ndimage import map_coordinates

    assert moved[20, 22, 18] == pytest.approx(map_coordinates(blob, there[:, None], order=1)[0], rel=1e-3)


def lumps(shape=(40, 44, 36), spacing_mm=4.0):
    """A lopsided thing with structure inside, smooth enough to be registered."""
    affine = np.diag([-spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = [spacing_mm * shape[0] / 2, -spacing_mm * shape[1] / 2, -spacing_mm * shape[2] / 2]
    grid = Geometry(shape, affine)
    world = move(affine, np.argwhere(np.ones(shape, bool)).astype(float))
    return field(world).reshape(shape), grid


LUMPS = (
    ((20, 30, 10), 15, 80),
    ((-25, -10, 20), 12, -70),
    ((5, -40, -15), 20, 60),
    ((30, -20, -20), 10, 90),
    ((-35, 35, 0), 8, 90),
    ((0, 10, 40), 8, -80),
)


def field(world):
    values = 100 * (np.linalg.norm(world / (60, 75, 55), axis=1) < 1)
    for centre, width, height in (
        ((20, 30, 10), 15, 80),
        ((-25, -10, 20), 12, -70),
        ((5, -40, -15), 20, 60),
        ((30, -20, -20), 10, 90),
        ((-35, 35, 0), 8, 90),
        ((0, 10, 40), 8, -80),
    ):
        values = values + height * np.exp(-np.sum((world - centre) ** 2, axis=1) / (2 * width**2))
    return values.astype(np.float32)


def moved_lumps(matrix):
    """The same, in a scanner where everything lies where `matrix` puts it, and darker is brighter."""
    fixed, grid = lumps()
    world = move(inverse(matrix), move(grid.affine, np.argwhere(np.ones(grid.shape, bool)).astype(float)))
    return fixed, grid, (200 - field(world)).reshape(grid.shape)


def test_a_known_movement_is_found():
    truth = about((0, 0, 0), turn((8, -5, 10)), (6, -4, 5))
    fixed, grid, moving = moved_lumps(truth)
    comparison = Comparison(Image(fixed, grid), Image(moving, grid), Level(4, 6000, 0.05))
    found = comparison.register(comparison.register(np.eye(4), "rigid").matrix, "rigid")
    assert distance_mm(found.matrix, truth, POINTS[INSIDE]).mean() < 1
    assert found.information > comparison.information(np.eye(4))


def test_a_known_stretch_is_found():
    truth = about((0, 0, 0), np.diag([1.08, 0.94, 1.0]), (2, 0, -2))
    fixed, grid, moving = moved_lumps(truth)
    found = Comparison(Image(fixed, grid), Image(moving, grid), Level(4, 6000, 0.05)).register(np.eye(4), "affine")
    assert distance_mm(found.matrix, truth, POINTS[INSIDE]).mean() < 1.5


def test_images_that_do_not_overlap_are_refused():
    blob, grid = lumps()
    comparison = Comparison(Image(blob, grid), Image(blob, grid), Level(4, 2000, 0.1))
    away = about((0, 0, 0), np.eye(3), (500, 0, 0))
    assert comparison.information(away) == 0
    with pytest.raises(QualityError, match="do not overlap"):
        comparison.register(away, "rigid")


def test_images_that_share_nothing_share_nothing_beyond_chance():
    blob, grid = lumps()
    noise = np.random.default_rng(5).random(grid.shape, np.float32)
    comparison = Comparison(Image(blob, grid), Image(noise, grid), Level(4, 3000, 0.1))
    # Bins that stay empty make the correction somewhat too large.
    assert -0.15 < comparison.excess(np.eye(4)) < 0.03 < comparison.information(np.eye(4))
    assert Comparison(Image(blob, grid), Image(blob, grid), Level(4, 3000, 0.1)).excess(np.eye(4)) > 0.5


def test_only_what_is_masked_is_compared():
    blob, grid = lumps()
    half = np.zeros(grid.shape, bool)
    half[:20] = True
    spoilt = blob.copy()
    spoilt[22:] = np.random.default_rng(0).uniform(0, 200, spoilt[22:].shape)
    level = Level(4, 3000, 0.1)
    assert Comparison(Image(blob, grid, half), Image(spoilt, grid), level).information(np.eye(4)) > 1.5 * Comparison(
        Image(blob, grid), Image(spoilt, grid), level
    ).information(np.eye(4))


def test_a_comparison_counts_as_scipy_interpolates():
    """The interpolation is our own, for speed: the joint histogram is that of scipy's values, partly in two bins."""
    fixed, grid, moving = moved_lumps(about((0, 0, 0), turn((8, -5, 10)), (6, -4, 5)))
    comparison = Comparison(Image(fixed, grid), Image(moving, grid), Level(4, 3000, 0.05))
    # Partly outside; a scan's last voxels are in it.
    matrix = about((0, 0, 0), turn((3, 4, 5)) @ np.diag([1.2, 0.9, 1.0]), (25, 0, 0))
    points = comparison._points.T.astype(float) + comparison.centre
    index = move(inverse(grid.affine) @ matrix, points)
    inside = ((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=1)
    low, high = Image(moving, grid).limits
    value = ndi.map_coordinates(np.clip(moving, low, high).astype(float), index[inside].T, order=1, mode="nearest")
    value = (value - low) * (BINS - 1) / (high - low)
    below = np.minimum(value.astype(int), BINS - 2)
    expected = np.zeros((BINS, BINS))
    rows = comparison._rows[inside] // BINS
    np.add.at(expected, (rows, below), 1 - (value - below))
    np.add.at(expected, (rows, below + 1), value - below)
    counts, share = comparison._counts(matrix)
    assert 0.5 < share < 0.9
    assert share == inside.mean()
    np.testing.assert_allclose(counts, expected, atol=0.02)


def test_work_in_threads_keeps_its_order_and_its_first_error():
    assert in_threads(lambda n: n * n, range(20), 3) == [n * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda n: 1 // n, (1, 0, 2), 2)


def test_a_level_of_the_pyramid_is_made_once():
    blob, grid = lumps()
    image = Image(blob, grid)
    assert image.thinned(8) is image.thinned(8)


def test_thinning_leaves_everything_where_it_is():
    blob, grid = lumps()
    coarse = thin(Image(blob, grid), 8)
    assert coarse.geometry.shape == (20, 22, 18)
    world = move(coarse.geometry.affine, np.argwhere(np.ones(coarse.geometry.shape, bool)).astype(float))
    inside = np.linalg.norm(world / (60, 75, 55), axis=1) < 0.8
    assert np.abs(coarse.volume.ravel() - field(world))[inside].mean() < 4


def test_no_parameters_are_no_movement():
    for count in (6, 12):
        np.testing.assert_array_equal(small_map(np.zeros(count), np.array([1.0, 2, 3])), np.eye(4))


STEPS = np.arange(-6, 17.0)


@pytest.mark.parametrize("skull_mm", [-2.0, 0.0, 3.0, 7.0])
def test_the_skull_is_where_the_signal_falls(skull_mm):
    profile = np.where(skull_mm > STEPS, 1.0, np.where(skull_mm + 5 > STEPS, 0.1, 0.9))
    position, weight = first_valley(profile[None], STEPS)
    assert abs(position[0] - (skull_mm - 0.5)) < 0.51
    assert weight[0] == 1


def test_a_ray_into_the_air_or_down_the_spine_says_nothing():
    into_air = np.where(STEPS < 9, 1.0, 0.0)
    spine = np.ones_like(STEPS)
    assert first_valley(np.stack([into_air, spine]), STEPS)[1].tolist() == [0, 0]


def test_a_shallow_valley_counts_less_than_a_deep_one():
    profiles = [np.where((STEPS > 2) & (STEPS < 6), bottom, 1.0) for bottom in (0.2, 0.7, 0.9)]
    deep, shallow, none = first_valley(np.stack(profiles), STEPS)[1]
    assert deep == 1 > shallow > none == 0


def size_of(moving):
    """The size that a head of voxels of 1 mm is taken for, as a share of the adult's."""
    return round(1 / moving.geometry.spacing_mm[0], 4)


@pytest.mark.parametrize(
    ("gains", "size", "tried"),
    [
        ({1.0: 1.37, 1.08: None}, 1.0, [1.0, 1.08]),
        ({1.0: 1.22, 0.92: 1.38}, 0.92, [1.0, 0.92]),
        ({1.0: 1.16, 0.92: 1.22, 0.85: 1.37}, 0.85, [1.0, 0.92, 0.85]),
        # Once more each without shading, which is no better here.
        ({1.0: 1.25, 0.92: 1.2, 0.85: None, 0.79: 1.1}, 1.0, 2 * [1.0, 0.92, 0.85, 0.79]),
    ],
)
def test_a_head_is_taken_for_a_smaller_one_until_the_gain_is_that_of_a_brain(monkeypatch, gains, size, tried):
    scan = Scan(np.arange(27, dtype=np.float32).reshape(3, 3, 3), Geometry((3, 3, 3), np.eye(4)), "t1ce")
    seen = []

    def adult(grown, atlas, threads, near):
        assert (near is None) == (size_of(grown) <= 1)
        seen.append(size_of(grown))
        gain = gains[seen[-1]]
        if gain is None:
            raise QualityError("the images do not overlap where the search begins")
        return Alignment(np.eye(4), 0.4, gain, 1.0, 0.0, (1.0, 1.0, 1.0))

    monkeypatch.setattr("gliomask.preprocess.raw.align._align_adult", adult)
    found = align_to_frame(scan, None)
    assert seen == tried
    assert found.gain == gains[size]
    np.testing.assert_allclose(found.matrix, np.diag([size, size, size, 1]))
    np.testing.assert_allclose(found.scales, size)
    assert not found.shading_removed
    assert "shading_removed" not in found.measured()


def test_shading_is_removed_where_no_size_has_the_gain_of_a_brain(monkeypatch):
    scan = Scan(np.arange(27, dtype=np.float32).reshape(3, 3, 3), Geometry((3, 3, 3), np.eye(4)), "t1ce")

    def adult(moving, atlas, threads, near):
        gain = 1.2 if moving.volume is scan.volume else {1.0: 1.25, 0.92: 1.31}[size_of(moving)]
        return Alignment(np.eye(4), 0.4, gain, 1.0, 0.0, (1.0, 1.0, 1.0))

    monkeypatch.setattr("gliomask.preprocess.raw.align._align_adult", adult)
    found = align_to_frame(scan, None)
    assert (found.gain, found.scales[0]) == (1.31, pytest.approx(0.92))
    assert found.measured()["shading_removed"] is True


def test_a_shaded_head_is_even_without_its_shading_and_its_tissues_stay_apart():
    grid = Geometry((60, 60, 60), np.diag([4.0, 4.0, 4.0, 1.0]))
    points = np.moveaxis(np.indices(grid.shape), 0, -1) - 29.5
    distance = np.linalg.norm(points, axis=-1)
    # Brain in a dark shell within a bright one; right is four times as bright as left.
    head = np.select([distance < 17, distance < 19, distance < 22], [100.0, 25.0, 120.0], 0.0)
    shaded = Scan((head * 2 ** (points[..., 0] / 22)).astype(np.float32), grid, "t1ce")
    even = without_shading(shaded)
    assert even.geometry.same_grid(grid)
    assert not even.volume[distance > 24].any()
    brain = distance < 15
    left, right = (float(even.volume[brain & side].mean()) for side in (points[..., 0] < -5, points[..., 0] > 5))
    before = shaded.volume[brain & (points[..., 0] > 5)].mean() / shaded.volume[brain & (points[..., 0] < -5)].mean()
    assert before > 1.6
    assert right / left < 1.25
    shell = (distance > 17.5) & (distance < 18.5)
    assert even.volume[shell].mean() < 0.5 * even.volume[brain].mean()


@pytest.mark.parametrize(
    ("ends", "size", "tried"),
    [
        # An ordinary head: the larger size shares more with the scalp, and its gain tells.
        ({1.0: (0.40, 1.37), 1.08: (0.43, 1.21)}, 1.0, [1.0, 1.08]),
        ({1.0: (0.39, 1.40), 1.08: (0.39, 1.40)}, 1.0, [1.0, 1.08]),
        ({1.0: (0.30, 1.41), 1.08: (0.40, 1.38), 1.16: (0.39, 1.39)}, 1.08, [1.0, 1.08, 1.16]),
        ({1.0: (0.29, 1.38), 1.08: (0.33, 1.38), 1.16: (0.40, 1.37)}, 1.16, [1.0, 1.08, 1.16]),
        ({1.0: (0.30, 1.41), 1.08: None}, 1.0, [1.0, 1.08]),
    ],
)
def test_a_head_is_taken_for_a_larger_one_where_that_shares_clearly_more(monkeypatch, ends, size, tried):
    scan = Scan(np.arange(27, dtype=np.float32).reshape(3, 3, 3), Geometry((3, 3, 3), np.eye(4)), "t1ce")
    seen = []

    def adult(shrunk, atlas, threads, near):
        assert (near is None) == (size_of(shrunk) <= 1)
        seen.append(size_of(shrunk))
        end = ends[seen[-1]]
        if end is None:
            raise QualityError("the images do not overlap where the search begins")
        return Alignment(np.eye(4), *end, 1.0, 0.0, (1.0, 1.0, 1.0))

    monkeypatch.setattr("gliomask.preprocess.raw.align._align_adult", adult)
    found = align_to_frame(scan, None)
    assert seen == tried
    assert (found.information, found.gain) == ends[size]
    np.testing.assert_allclose(found.scales, size)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_no_more_registrations_run_at_a_time_than_threads_were_asked_for(monkeypatch, threads):

    scan = Scan(np.arange(27, dtype=np.float32).reshape(3, 3, 3), Geometry((3, 3, 3), np.eye(4)), "scan")
    running, most, lock = [], [0], threading.Lock()

    def align(reference, other, brain):
        with lock:
            running.append(1)
            most[0] = max(most[0], len(running))
        time.sleep(0.05)
        with lock:
            running.pop()
        return Alignment(np.eye(4), 0.9, 2.0, 1.0, 0.0, (1.0, 1.0, 1.0))

    monkeypatch.setattr(place, "align_sequences", align)
    monkeypatch.setattr(place, "near_brain", lambda scan, brain: None)
    examination = Examination("four", dict.fromkeys(Sequence, scan))
    settings = PreparationSettings(threads=threads)
    place._between(examination, Sequence.T1CE, np.zeros((1, 3)), place._Known(), settings, lambda step: None)
    assert most[0] <= (threads or 3)
