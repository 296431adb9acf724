"""A limit of memory: thinner slabs, never too thin a promise, the same labels; and what a run holds at most."""

import tracemalloc

import numpy as np
import pytest

from gliomask.errors import LimitError, UsageError
from gliomask.models.operations import Work, work_per_pixel
from gliomask.models.registry import load_model
from gliomask.predict.brain import SLAB_SLICES, NetworkShape
from gliomask.predict.memory import slices_within
from gliomask.preprocess.channels import prepare, prepare_on_demand
from gliomask.segmentation import Options, Segmenter
from gliomask.segmentation import segmenter as segmenter_module
from gliomask.sequences import PAPER_ORDER

NETWORK = NetworkShape("slices", halo=8, multiple=16)


@pytest.fixture
def brain():
    mask = np.zeros((240, 240, 155), bool)
    mask[50:190, 30:200, 5:150] = True
    return mask


def slices(limit, brain, held=350.0):
    return slices_within(limit, held, brain, NETWORK, 192.0, 20)


def test_less_memory_means_thinner_slabs_down_to_one_slice(brain):
    found = [slices(limit, brain) for limit in range(560, 1500, 20)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1, SLAB_SLICES)
    assert set(found) == set(range(1, SLAB_SLICES + 1))


def test_too_little_is_refused_with_what_would_do(brain):
    with pytest.raises(LimitError, match="MB are needed with one slice") as refused:
        slices(450, brain)
    needed = float(str(refused.value).partition("about ")[2].partition(" MB")[0].replace(",", ""))
    assert slices(needed + 1, brain) == 1
    assert slices(1200, brain, held=900) < slices(1200, brain)


def test_live_memory_is_that_of_tensors_needed_at_once():
    # 2.5-D U-Net: its input of 20 channels, and that laid out with channels first (80 and 80 bytes a pixel), with the
    # stem at half resolution (32).
    assert work_per_pixel(load_model("residual-unet").source.graph, 20).live_bytes == 80 + 80 + 32


def test_a_segmenter_keeps_to_it_and_labels_stay(tiny_case, fake_model, monkeypatch):
    monkeypatch.setattr(segmenter_module, "work_per_pixel", lambda graph, channels: Work(1.0, 100.0))
    monkeypatch.setattr(segmenter_module, "slices_within", lambda *given: 2)
    batches = []
    monkeypatch.setattr(
        Segmenter,
        "_predict",
        lambda self, member: lambda batch: batches.append(len(batch)) or member.engine.predict(batch),
    )
    with Segmenter(Options(max_memory_mb=500)) as small, Segmenter(Options()) as large:
        limited = small.run(tiny_case)
        assert set(batches) == {2}
        batches.clear()
        np.testing.assert_array_equal(limited.label_map, large.run(tiny_case).label_map)
        assert max(batches) > 2


def test_what_cannot_be_told_is_not_promised(tiny_case, fake_model, monkeypatch):
    monkeypatch.setattr(segmenter_module, "work_per_pixel", lambda graph, channels: None)
    with (
        Segmenter(Options(max_memory_mb=500)) as segmenter,
        pytest.raises(UsageError, match="cannot be held with model"),
    ):
        segmenter.run(tiny_case)


def traced(work):
    tracemalloc.start()
    try:
        held = work()
        return tracemalloc.get_traced_memory()[1], held
    finally:
        tracemalloc.stop()


def test_channels_on_demand_hold_no_volume(tiny_case):
    whole, _ = traced(lambda: prepare(tiny_case, PAPER_ORDER, "volume"))
    parts, _ = traced(lambda: prepare_on_demand(tiny_case, PAPER_ORDER, "volume"))
    volumes = sum(volume.nbytes for volume in tiny_case.volumes.values())
    assert whole > volumes
    assert parts < 0.75 * volumes
