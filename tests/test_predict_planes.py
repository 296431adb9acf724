"""A network that is asked along further planes, and what makes its enhancement believable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gliomask.geometry import Geometry
from gliomask.labels import Label
from gliomask.planes import STACK_AXES, VOLUME_AXES, Plane
from gliomask.postprocess import EnhancementRule
from gliomask.predict import sizes
from gliomask.predict.brain import NetworkShape, PatchPlan, predict_brain
from gliomask.predict.planes import mean_of_planes, suspected_region, unsure
from gliomask.preprocess.channels import Prepared
from gliomask.preprocess.channels import prepare as prepare_case
from gliomask.segmentation import Options, Segmenter
from gliomask.sequences import PAPER_ORDER

NETWORK = NetworkShape("slices", halo=2, multiple=2)
PLAN = PatchPlan()


@pytest.fixture
def prepared(tiny_case) -> Prepared:
    return prepare_case(tiny_case, PAPER_ORDER, "volume")


def by_shape(batch):
    """A network that tells along which axis it was cut: its certainty of tumour rises with the row."""
    tumour = np.clip(0.3 + 0.02 * np.arange(batch.shape[1], dtype=np.float32), 0, 1)[None, :, None] * np.ones(
        batch.shape[:3], np.float32
    )
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


def nothing(batch):
    """A network that finds no tumour."""
    return np.eye(4, dtype=np.float32)[np.zeros(batch.shape[:3], int)]


ALL = tuple(Plane)


def test_views_that_agree_are_one_view(prepared):
    one = predict_brain(prepared, NETWORK, PLAN, of_voxel)
    np.testing.assert_allclose(mean_of_planes(prepared, ALL, NETWORK, PLAN, of_voxel), one, atol=1e-6)


def test_one_plane_is_the_plain_view(prepared):
    done = []
    found = mean_of_planes(prepared, ALL[:1], NETWORK, PLAN, by_shape, lambda n, total: done.append((n, total)))
    np.testing.assert_array_equal(found, predict_brain(prepared, NETWORK, PLAN, by_shape))
    assert done[-1] == (1, 1)


def test_the_network_is_asked_in_the_brain_and_nowhere_else(prepared):
    region = prepared.brain & (np.arange(prepared.brain.shape[0]) < prepared.brain.shape[0] // 2)[:, None, None]
    found = mean_of_planes(replace(prepared, brain=region), ALL, NETWORK, PLAN, of_voxel)
    np.testing.assert_allclose(found[region], predict_brain(prepared, NETWORK, PLAN, of_voxel)[region], atol=1e-6)
    assert (found[~region] == [1, 0, 0, 0]).all()


def test_a_view_is_cut_along_its_plane(prepared):
    axial = predict_brain(prepared, NETWORK, PLAN, by_shape)
    both = mean_of_planes(prepared, (Plane.AXIAL, Plane.SAGITTAL), NETWORK, PLAN, by_shape)
    assert not np.allclose(axial[prepared.brain], both[prepared.brain])
    np.testing.assert_allclose(both.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(("certainty", "expected"), [(0.95, False), (0.6, True)])
def test_a_network_is_unsure_where_it_expects_little_of_its_tumour(certainty, expected):
    probabilities = np.zeros((20, 20, 20, 4), np.float32)
    probabilities[..., Label.BACKGROUND] = 1
    probabilities[5:15, 5:15, 5:15] = np.float32([1 - certainty, 0, certainty, 0])
    assert unsure(probabilities) is expected


def test_no_tumour_at_all_is_no_doubt():
    assert not unsure(np.float32([1, 0, 0, 0]) * np.ones((9, 9, 9, 1), np.float32))


class TestFirstLook:
    shape = (48, 48, 36)

    def case(self, spots, spacing_mm=(1.0, 1.0, 1.0)) -> Prepared:
        """A brain of zeros in which some voxels are bright."""
        channels = np.zeros((*self.shape, 4), np.float32)
        for spot in spots:
            channels[spot] = 1
        brain = np.ones(self.shape, bool)
        brain[:4] = False
        return Prepared(channels, brain, 0.0, Geometry(self.shape, np.diag([*spacing_mm, 1.0])).reorientation_to("RAS"))

    def network(self, batch):
        self.slices += len(batch)
        tumour = 0.2 * (batch[..., :1] > 0)
        return (np.float32([-1, 1, 0, 0]) * tumour + np.float32([1, 0, 0, 0])).astype(np.float32)

    def region(self, case):
        self.slices = 0
        return suspected_region(case, NetworkShape("slices", halo=8, multiple=2), PLAN, self.network)

    def test_every_third_slice_is_looked_at(self):
        assert not self.region(self.case([])).any()
        assert self.slices == 12

    @pytest.mark.parametrize("k", [15, 16, 17])
    def test_the_brain_within_six_millimetres_is_asked_fully(self, k):
        case = self.case([(slice(20, 22), slice(30, 31), slice(k - 1, k + 2))])
        region = self.region(case)
        looked = next(n for n in range(k - 1, k + 2) if n % 3 == 1)
        expected = np.zeros(self.shape, bool)
        expected[14:28, 24:37, looked - 6 : looked + 7] = True
        np.testing.assert_array_equal(region, expected)

    def test_nothing_outside_the_brain_is_asked(self):
        region = self.region(self.case([(4, 2, 1)]))
        assert not region[:4].any()
        np.testing.assert_array_equal(np.argwhere(region).max(axis=0), [10, 8, 7])

    def test_thick_slices_are_all_looked_at_and_their_neighbours_asked(self):
        region = self.region(self.case([(20, 20, 17)], (1.0, 2.0, 5.0)))
        assert self.slices >= self.shape[2]
        np.testing.assert_array_equal(np.argwhere(region).min(axis=0), [14, 17, 15])
        np.testing.assert_array_equal(np.argwhere(region).max(axis=0), [26, 23, 19])


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
    """A cube of suspicion in a brain: the first look sees the brain's boxes of every third slice, each plane the boxes
    around what that suspects.
    """
    monkeypatch.setattr(sizes, "NEW_SIZE_PIXELS", 0)
    brain = np.zeros((96, 96, 64), bool)
    brain[16:80, 16:80, 8:56] = True
    channels = np.zeros((*brain.shape, 4), np.float32)
    channels[34:46, 34:46, 26:38] = 1
    case = Prepared(channels, brain, 0.0, Geometry(brain.shape, np.eye(4)).reorientation_to("RAS"))
    seen = []

    def network(batch):
        seen.append(batch[..., 0].size)
        return np.where(batch[..., :1] > 0, np.float32([0, 0, 1, 0]), np.float32([1, 0, 0, 0]))

    shape = NetworkShape("slices", halo=8, multiple=16)
    within = replace(case, brain=suspected_region(case, shape, PatchPlan(), network))
    # Slices 10, 13 to 55; the brain's box and its halo of 8, from multiple to multiple: 0 to 96.
    assert seen == [96 * 96] * 16
    seen.clear()
    mean_of_planes(within, ALL, shape, PatchPlan(), network)
    # Suspected in rows and columns 34 to 45 and slices 28 to 37, within 6 of them 28 to 51 and 22 to 43. With the halo
    # 20 to 59 and 14 to 51 become 16 to 64 and 0 to 64, in slabs of 8 slices.
    assert seen == [8 * 48 * 48] * 2 + [6 * 48 * 48] + [8 * 48 * 64] * 6


def test_no_suspicion_asks_nothing_more(prepared):
    within = replace(prepared, brain=suspected_region(prepared, NETWORK, PLAN, nothing))

    def never(batch):
        raise AssertionError(f"asked about {batch.shape}")

    found = mean_of_planes(within, ALL, NETWORK, PLAN, never)
    assert (found[..., Label.BACKGROUND] == 1).all()


class TestWhereTheNetworkIsAsked:
    """A whole run: near what a first look suspects, and over the whole brain where that leaves doubt or is asked
    for.
    """

    @pytest.fixture
    def found(self, tiny_case, fake_model, monkeypatch):
        fake_model.change(planes=ALL)

        def found(unsure_dice: float, **options):
            monkeypatch.setattr("gliomask.predict.planes.UNSURE_DICE", unsure_dice)
            with Segmenter(Options(**options)) as segmenter:
                return segmenter.run(tiny_case)

        return found

    def test_a_sure_network_is_asked_near_what_it_suspects(self, found):
        result = found(0.0)
        assert result.asked_over == "suspected"
        assert {"first look", "network"} <= set(result.seconds)
        assert "whole brain" not in result.seconds

    def test_an_unsure_network_is_asked_again_and_says_what_the_whole_brain_says(self, found):
        again, whole = found(1.1), found(1.1, whole_brain=True)
        assert (again.asked_over, whole.asked_over) == ("again", "brain")
        np.testing.assert_array_equal(again.probabilities, whole.probabilities)
        assert again.seconds["whole brain"] >= 0

    @pytest.mark.parametrize("options", [{"single_plane": True}, {"patches": "adjacent"}])
    def test_one_plane_and_patches_go_over_the_brain(self, found, options):
        assert found(1.1, **options).asked_over == "brain"
