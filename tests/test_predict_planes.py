"""A network that is asked along further planes, and what makes its enhancement believable."""

from __future__ import annotations

import numpy as np
import pytest

from gliomask.geometry import Geometry
from gliomask.labels import Label
from gliomask.planes import STACK_AXES, VOLUME_AXES, Plane
from gliomask.postprocess import EnhancementRule
from gliomask.predict import sizes
from gliomask.predict.brain import NetworkShape, PatchPlan, predict_brain
from gliomask.predict.planes import average_planes
from gliomask.preprocess.channels import Prepared
from gliomask.preprocess.channels import prepare as prepare_case
from gliomask.sequences import PAPER_ORDER

NETWORK = NetworkShape("slices", halo=2, multiple=2)
PLAN = PatchPlan()


@pytest.fixture
def prepared(tiny_case) -> Prepared:
    return prepare_case(tiny_case, PAPER_ORDER, "volume")


def by_shape(batch):
    """A network that tells along which axis it was cut: its certainty of tumour rises with the row."""
    tumour = np.clip(0.3 + 0.02 * np.arange(batch.shape[1], dtype=np.float32), 0, 1)[None, :, None] * np.ones(batch.shape[:3], np.float32)
    return np.stack([1 - tumour, tumour / 2, tumour / 4, tumour / 4], axis=-1)


def of_voxel(batch):
    """A network that says the same of a voxel from every side."""
    tumour = 1 / (1 + np.exp(-batch[..., 0]))
    return np.stack([1 - tumour, tumour / 2, tumour / 4, tumour / 4], axis=-1).astype(np.float32)


def test_rows_and_columns_are_those_of_training():
    stack = np.arange(4 * 5 * 6).reshape(6, 4, 5)  # (K, I, J)
    volume = np.moveaxis(stack, 0, 2)
    for plane in Plane:
        np.testing.assert_array_equal(stack.transpose(STACK_AXES[plane]), volume.transpose(VOLUME_AXES[plane]))


def test_a_view_that_agrees_changes_nothing(prepared):
    probabilities = predict_brain(prepared, NETWORK, PLAN, of_voxel)
    before = probabilities.copy()
    average_planes(prepared, probabilities, (Plane.CORONAL, Plane.SAGITTAL), NETWORK, PLAN, of_voxel)
    np.testing.assert_allclose(probabilities, before, atol=1e-6)


def test_other_views_count_only_where_the_axial_one_suspects(prepared):
    def nothing(batch):
        return np.eye(4, dtype=np.float32)[np.zeros(batch.shape[:3], int)]

    certain = predict_brain(prepared, NETWORK, PLAN, nothing)
    before = certain.copy()
    average_planes(prepared, certain, (Plane.CORONAL, Plane.SAGITTAL), NETWORK, PLAN, of_voxel)
    np.testing.assert_array_equal(certain, before)

    suspected = predict_brain(prepared, NETWORK, PLAN, of_voxel)
    before = suspected.copy()
    average_planes(prepared, suspected, (Plane.CORONAL, Plane.SAGITTAL), NETWORK, PLAN, nothing)
    where = before[..., Label.BACKGROUND] < 0.9
    assert where.any()
    np.testing.assert_allclose(suspected[where][:, 1:], before[where][:, 1:] / 3, rtol=1e-5)
    np.testing.assert_array_equal(suspected[~where], before[~where])


def test_a_view_is_cut_along_its_plane(prepared):
    probabilities = predict_brain(prepared, NETWORK, PLAN, by_shape)
    axial = probabilities.copy()
    average_planes(prepared, probabilities, (Plane.SAGITTAL,), NETWORK, PLAN, by_shape)
    assert not np.allclose(axial[prepared.brain], probabilities[prepared.brain])
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)


class TestEnhancementRule:
    rule = EnhancementRule(probability=0.9, seed_ml=0.003)

    def case(self, confident: int):
        label_map = np.full((8, 8, 8), Label.OEDEMA, np.uint8)
        label_map[1:3, 1:3, 1:3] = Label.ENHANCING
        label_map[5:7, 5:7, 5:7] = Label.ENHANCING
        probability = np.where(label_map == Label.ENHANCING, np.float32(0.6), np.float32(0))
        probability[1:3, 1:3, 1:3] = 0.99
        places = np.argwhere(label_map == Label.ENHANCING)
        second = [place for place in places if place[0] >= 5][:confident]
        for i, j, k in second:
            probability[i, j, k] = 0.95
        return label_map, probability

    def test_a_component_without_a_seed_is_core(self):
        label_map, probability = self.case(confident=2)
        found, removed = self.rule.confirm(label_map, probability, (1, 1, 1))
        assert (removed.components, round(removed.volume_ml, 6)) == (1, 0.008)
        assert (found[5:7, 5:7, 5:7] == Label.NECROTIC).all()
        assert (found[1:3, 1:3, 1:3] == Label.ENHANCING).all()
        assert np.count_nonzero(found != label_map) == 8

    def test_a_component_with_a_seed_stays_whole(self):
        label_map, probability = self.case(confident=3)
        found, removed = self.rule.confirm(label_map, probability, (1, 1, 1))
        assert removed.components == 0
        np.testing.assert_array_equal(found, label_map)

    def test_a_seed_is_a_volume(self):
        label_map, probability = self.case(confident=3)
        assert self.rule.confirm(label_map, probability, (0.5, 1, 1))[1].components == 1

    def test_no_enhancement_is_no_fault(self):
        label_map = np.zeros((4, 4, 4), np.uint8)
        found, removed = self.rule.confirm(label_map, np.ones((4, 4, 4), np.float32), (1, 1, 1))
        assert (removed.components, removed.volume_ml) == (0, 0.0)
        assert not found.any()


def test_voxels_through_the_network_are_the_boxes_and_no_more(monkeypatch):
    """A sphere of suspicion in a brain: the axial view sees the brain's boxes, each further one the suspects' boxes."""
    monkeypatch.setattr(sizes, "NEW_SIZE_PIXELS", 0)
    brain = np.zeros((96, 96, 64), bool)
    brain[16:80, 16:80, 8:56] = True
    channels = np.zeros((*brain.shape, 4), np.float32)
    channels[32:48, 32:48, 24:40] = 1
    case = Prepared(channels, brain, 0.0, Geometry(brain.shape, np.eye(4)).reorientation_to("RAS"))
    seen = []

    def network(batch):
        seen.append(batch[..., 0].size)
        return np.where(batch[..., :1] > 0, np.float32([0, 0, 1, 0]), np.float32([1, 0, 0, 0]))

    shape = NetworkShape("slices", halo=8, multiple=16)
    probabilities = predict_brain(case, shape, PatchPlan(), network)
    # 6 slabs of 8 slices; the box and its halo of 8, from multiple to multiple: 0 to 96.
    assert seen == [8 * 96 * 96] * 6
    seen.clear()
    average_planes(case, probabilities, [Plane.CORONAL, Plane.SAGITTAL], shape, PatchPlan(), network)
    # 16 slices along each plane; 24 to 56 and 16 to 48 with their halo become 16 to 64 and 16 to 48.
    assert seen == [8 * 48 * 32] * 4
