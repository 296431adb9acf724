"""A network over a whole brain: the crop to the brain changes nothing, and air is background."""

from __future__ import annotations

import numpy as np
import pytest

from gliomask.errors import ModelError, UsageError
from gliomask.geometry import Geometry
from gliomask.predict import sizes
from gliomask.predict.brain import NetworkShape, PatchPlan, predict_brain
from gliomask.predict.flips import averaged_over_flips
from gliomask.preprocess.channels import Prepared
from gliomask.quality import disagreement, entropy

SHAPE = (41, 38, 21)


@pytest.fixture
def prepared(rng) -> Prepared:
    brain = np.zeros(SHAPE, bool)
    brain[12:29, 9:30, 3:18] = True
    brain[20, 30:33, 9] = True
    channels = np.where(brain[..., None], rng.standard_normal((*SHAPE, 4), np.float32), np.float32(0))
    return Prepared(channels, brain, 0.0, Geometry(SHAPE, np.eye(4)).reorientation_to("RAS"))


def slice_network(batch: np.ndarray) -> np.ndarray:
    """Answers with a 4 x 4 neighbourhood: each pixel, its 2 x 2 block's maximum, and shifted copies."""
    assert batch.ndim == 4
    n, h, w, _ = batch.shape
    block = batch[..., 0].reshape(n, h // 2, 2, w // 2, 2).max(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
    shifted = np.zeros_like(block)
    shifted[:, :, 2:] = block[:, :, :-2]
    scores = np.stack([block, batch[..., 1], shifted, batch[..., 3]], axis=-1)
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def volume_network(batch: np.ndarray) -> np.ndarray:
    assert batch.ndim == 5
    assert len(batch) == 1
    return np.stack([slice_network(np.moveaxis(batch[0], 2, 0))], axis=0).transpose(0, 2, 3, 1, 4)


SLICES = NetworkShape("slices", 4, 2)
VOLUMES = NetworkShape("volumes", 4, 2)


def test_the_crop_to_the_brain_changes_nothing(prepared):
    found = predict_brain(prepared, SLICES, PatchPlan(), slice_network)
    even = np.pad(prepared.channels, ((0, 1), (0, 0), (0, 0), (0, 0)))
    full = np.moveaxis(slice_network(np.moveaxis(even, 2, 0)), 0, 2)[:41]
    np.testing.assert_allclose(found[prepared.brain], full[prepared.brain], atol=1e-6)


@pytest.mark.parametrize("price", [0, 500, 10**9])
def test_joined_sizes_change_nothing(prepared, monkeypatch, price):
    monkeypatch.setattr(sizes, "NEW_SIZE_PIXELS", price)
    seen = set()

    def network(batch: np.ndarray) -> np.ndarray:
        seen.add(batch.shape)
        return slice_network(batch)

    found = predict_brain(prepared, SLICES, PatchPlan(), network)
    even = np.pad(prepared.channels, ((0, 1), (0, 0), (0, 0), (0, 0)))
    full = np.moveaxis(slice_network(np.moveaxis(even, 2, 0)), 0, 2)[:41]
    np.testing.assert_allclose(found[prepared.brain], full[prepared.brain], atol=1e-6)
    assert len(seen) == (1 if price == 10**9 else 2)


@pytest.mark.parametrize(
    "plan", [PatchPlan(), PatchPlan("adjacent", 16), PatchPlan("overlapping", 16), PatchPlan("overlapping", 16, 4)]
)
@pytest.mark.parametrize(("network", "predict"), [(SLICES, slice_network), (VOLUMES, volume_network)])
def test_air_is_background_and_probabilities_sum_to_one(prepared, plan, network, predict):
    found = predict_brain(prepared, network, plan, predict)
    assert found.shape == (*SHAPE, 4)
    np.testing.assert_array_equal(found[~prepared.brain], [[1, 0, 0, 0]] * int((~prepared.brain).sum()))
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    assert (found[prepared.brain][:, 0] < 1).all()


def test_slices_and_volumes_agree_when_the_network_looks_at_slices_alone(prepared):
    as_slices = predict_brain(prepared, SLICES, PatchPlan(), slice_network)
    as_volume = predict_brain(prepared, VOLUMES, PatchPlan(), volume_network)
    np.testing.assert_allclose(as_slices, as_volume, atol=1e-6)


def test_progress_counts_to_the_end(prepared):
    calls: list[tuple[int, int]] = []
    predict_brain(prepared, SLICES, PatchPlan(), slice_network, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


def test_an_unknown_way_of_cutting_is_refused(prepared):
    with pytest.raises(UsageError, match="triangles"):
        predict_brain(prepared, SLICES, PatchPlan("triangles"), slice_network)


def test_neighbouring_slices_become_channels_lowest_first_with_background_beyond_the_volume(prepared):
    seen: dict[int, np.ndarray] = {}

    def network(batch: np.ndarray) -> np.ndarray:
        assert batch.shape[-1] == 5 * 4
        seen[len(seen)] = batch
        return slice_network(batch[..., 8:12])

    thick = Prepared(prepared.channels, np.ones(SHAPE, bool), 7.0, prepared.reorientation)
    found = predict_brain(thick, NetworkShape("slices", 4, 2, neighbours=2), PatchPlan(), network)
    np.testing.assert_array_equal(found, predict_brain(thick, SLICES, PatchPlan(), slice_network))
    batch = np.concatenate(list(seen.values()))[:, :41]
    # The last batch is filled up with slices of background.
    assert len(batch) >= SHAPE[2]
    assert (batch[SHAPE[2] :] == 7).all()
    for k in range(SHAPE[2]):
        for n, neighbour in enumerate(range(k - 2, k + 3)):
            expected = prepared.channels[:, :, neighbour] if 0 <= neighbour < SHAPE[2] else 7.0
            np.testing.assert_array_equal(batch[k, ..., 4 * n : 4 * n + 4], np.broadcast_to(expected, (41, 38, 4)))


def test_flips_make_a_network_blind_to_left_and_right(prepared):
    seen: list[np.ndarray] = []

    def network(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.copy())
        return slice_network(batch)

    flipped = averaged_over_flips(network)
    batch = np.random.default_rng(0).standard_normal((2, 4, 6, 4)).astype(np.float32)
    found = flipped(batch)
    assert len(seen) == 4
    np.testing.assert_array_equal(seen[3], batch[:, ::-1, ::-1])
    np.testing.assert_allclose(found, flipped(np.ascontiguousarray(batch[:, :, ::-1]))[:, :, ::-1], atol=1e-6)
    np.testing.assert_allclose(found[..., :4].sum(axis=-1), 1, atol=1e-5)
    assert not np.allclose(found[..., :4], slice_network(batch), atol=1e-3)


@pytest.mark.parametrize("plan", [PatchPlan(), PatchPlan("overlapping", 16)])
@pytest.mark.parametrize(("network", "predict"), [(SLICES, slice_network), (VOLUMES, volume_network)])
def test_the_passes_entropies_come_beside_the_labels_and_nothing_is_said_of_air(prepared, plan, network, predict):
    doubts = np.full(SHAPE, 7, np.float32)
    found = predict_brain(prepared, network, plan, averaged_over_flips(predict), doubts=doubts)
    assert (doubts[~prepared.brain] == 7).all()
    inside = doubts[prepared.brain]
    # Averaging only adds doubt: the mean of the passes is nowhere surer than the passes are on average.
    assert (entropy(found)[prepared.brain] >= inside - 1e-5).all()
    assert (entropy(found)[prepared.brain] > inside + 1e-3).any()


def test_passes_that_agree_leave_no_disagreement(prepared):
    def blind(batch: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.float32([0.7, 0.1, 0.1, 0.1]), (*batch.shape[:-1], 4)).copy()

    doubts = np.zeros(SHAPE, np.float32)
    found = predict_brain(prepared, SLICES, PatchPlan(), averaged_over_flips(blind), doubts=doubts)
    apart = disagreement(found, doubts)
    np.testing.assert_allclose(apart, 0, atol=1e-5)
    assert entropy(found).max() > 0.5


@pytest.mark.parametrize("plan", [PatchPlan(), PatchPlan("overlapping", 16, 4)])
@pytest.mark.parametrize(("network", "predict"), [(SLICES, slice_network), (VOLUMES, volume_network)])
def test_tiles_in_flight_change_no_bit(prepared, plan, network, predict):
    doubts, others = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    expected = predict_brain(prepared, network, plan, averaged_over_flips(predict), doubts=doubts)
    for in_flight in (2, 5):
        found = predict_brain(prepared, network, plan, averaged_over_flips(predict), doubts=others, in_flight=in_flight)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(others, doubts)


def test_a_failure_in_flight_is_the_callers(prepared):
    def broken(batch: np.ndarray) -> np.ndarray:
        raise ModelError("no more")

    with pytest.raises(ModelError, match="no more"):
        predict_brain(prepared, SLICES, PatchPlan(), broken, in_flight=3)
