import threading
import time
from itertools import count, islice

import numpy as np
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case
from stacks import make_stack, make_stacks, small_config

from gliomask.errors import CaseError
from gliomask.io.brats import find_cases
from gliomask.training.dataset import QUEUED_BATCHES, Waiting, epoch_batches, load_cases, prefetched, steps_per_epoch


def same(first, second) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_batches_are_full_and_as_many_as_announced():
    stacks, config = make_stacks(3), small_config(patches_per_class=3, batch_size=5)
    batches = list(epoch_batches(stacks, config, 0))
    assert len(batches) == steps_per_epoch(stacks, config) == 36 // 5
    for images, labels in batches:
        assert (images.shape, images.dtype) == ((5, 16, 16, 4), np.float32)
        assert (labels.shape, labels.dtype) == ((5, 16, 16), np.uint8)
        assert labels.max() <= 3


def test_an_epoch_repeats_alone_and_differs_from_its_neighbours():
    stacks, config = make_stacks(2), small_config()
    first = list(epoch_batches(stacks, config, 4))
    assert same(first, list(epoch_batches(stacks, config, 4)))
    assert not same(first, list(epoch_batches(stacks, config, 5)))
    assert not same(first, list(epoch_batches(stacks, small_config(seed=1), 4)))


def test_validation_patches_are_the_patients_own_pixels():
    stack, config = make_stack(), small_config()
    rows = {tuple(pixel) for pixel in stack.slices.reshape(-1, 4).astype(np.float32).tolist()} | {
        (stack.background,) * 4
    }
    for images, _ in epoch_batches([stack], config, 0, vary=False):
        assert {tuple(pixel) for pixel in images.reshape(-1, 4).tolist()} <= rows


def test_prefetching_changes_nothing_and_accounts_for_waiting():
    stacks, config = make_stacks(2), small_config()

    def slowly():
        for batch in epoch_batches(stacks, config, 0):
            time.sleep(0.02)
            yield batch

    waiting = Waiting()
    start = time.perf_counter()
    with prefetched(slowly(), waiting) as batches:
        received = list(batches)
    assert same(received, list(epoch_batches(stacks, config, 0)))
    assert 0.02 * len(received) * 0.9 < waiting.seconds <= time.perf_counter() - start


def test_a_slow_consumer_hardly_waits():
    waiting = Waiting()
    with prefetched((n for n in range(5)), waiting) as batches:
        time.sleep(0.2)
        assert list(batches) == [0, 1, 2, 3, 4]
    assert waiting.seconds < 0.1


def test_an_error_in_the_thread_reaches_the_consumer():
    def broken():
        yield from range(2)
        raise CaseError("the third draw fails")

    received = []
    with pytest.raises(CaseError, match="the third draw fails"), prefetched(broken(), Waiting()) as batches:
        received.extend(batches)
    assert received == [0, 1]
    assert "patches" not in [thread.name for thread in threading.enumerate()]


def test_leaving_early_ends_the_thread():
    produced = []
    with pytest.raises(KeyboardInterrupt), prefetched((produced.append(n) or n for n in count()), Waiting()) as batches:
        assert list(islice(batches, 3)) == [0, 1, 2]
        raise KeyboardInterrupt
    assert "patches" not in [thread.name for thread in threading.enumerate()]
    assert len(produced) <= 3 + QUEUED_BATCHES + 1


def test_loads_cases_from_disk_on_the_networks_axes(tmp_path, tiny_case):
    # The same patient, stored with its axes turned: left to right, foot to head, back to front.
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    turned = make_tiny_case("turned", affine=affine)
    write_brats_case(tmp_path, tiny_case, tiny_labels())
    write_brats_case(tmp_path, turned, tiny_labels())
    read = []
    straight, turned_stack = load_cases(
        find_cases(tmp_path), small_config(), tmp_path, lambda loaded: read.append(loaded.stack.case_id)
    )
    assert read == ["tiny", "turned"]
    reference = make_stack()
    for stack in (straight, turned_stack):
        assert sum(map(len, stack.centres)) == sum(map(len, reference.centres))
    # Voxel I of the file grows to superior, J to anterior, K to right; slices run from inferior, rows to the left,
    # columns to posterior.
    i, j, k = np.nonzero(turned.brain_mask)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in (i, j, k))
    expected = np.where(turned.brain_mask, tiny_labels(), 0)[box][:, ::-1, ::-1].transpose(0, 2, 1)
    np.testing.assert_array_equal(turned_stack.labels, expected)


def test_loading_needs_references(tmp_path, tiny_case):
    write_brats_case(tmp_path, tiny_case)
    with pytest.raises(CaseError, match="Case tiny: no reference label map"):
        load_cases(find_cases(tmp_path), small_config(), tmp_path, lambda loaded: None)


def test_the_unet_sees_five_slices_and_some_patches_lose_sequences():
    stacks = make_stacks(2)
    config = small_config(
        network="unet", placement="jittered", jitter=4, planes=["axial"], sequence_dropout=0.5, patches_per_class=12
    )
    images = np.concatenate([images for images, _ in epoch_batches(stacks, config, 0)])
    assert images.shape[1:] == (16, 16, 20)
    sequences = images.reshape(-1, 16, 16, 5, 4)
    blank = (sequences == stacks[0].background).all(axis=(1, 2, 3))
    assert 0.3 < blank.any(axis=1).mean() < 0.7
    assert not (blank[:, 0] & blank[:, 2]).any()
    plain = np.concatenate([images for images, _ in epoch_batches(stacks, config, 0, vary=False)])
    assert not (plain.reshape(-1, 16, 16, 5, 4) == stacks[0].background).all(axis=(1, 2, 3)).any()
