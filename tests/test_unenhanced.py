import numpy as np
import pytest
from scipy import ndimage
from stacks import make_stack, make_stacks, small_config

from gliomask.errors import UsageError
from gliomask.labels import Label
from gliomask.sampling import SliceStack
from gliomask.training.dataset import epoch_batches, unenhanced_twins
from gliomask.training.unenhanced import LARGEST_NODULE, without_enhancement

FLAIR, T1, T1CE, T2 = range(4)
SHAPE = (24, 64, 64)


def enhancing_stack(rim: float = 3.0) -> SliceStack:
    """A large round tumour: oedema, a rim that T1ce shows `rim` brighter than T1 does, and a core that no sequence
    tells from it.
    """
    generator = np.random.default_rng(3)
    k, i, j = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    distance = np.sqrt((k - 12.0) ** 2 + (i - 32.0) ** 2 + (j - 32.0) ** 2)
    labels = np.select(
        [distance < 5, distance < 9, distance < 16], [Label.NECROTIC, Label.ENHANCING, Label.OEDEMA], Label.BACKGROUND
    ).astype(np.uint8)
    t1 = ndimage.gaussian_filter(generator.standard_normal(SHAPE), 2) * 6 - 0.5 * (labels > 0)
    t1ce = 0.8 * t1 + 0.1 + 0.05 * generator.standard_normal(SHAPE) + rim * (labels == Label.ENHANCING)
    slices = np.stack([t1, t1, t1ce, t1], axis=-1).astype(np.float16)
    slices[:, :3] = -5
    centres = tuple(np.flatnonzero(labels == label).astype(np.int32) for label in Label)
    return SliceStack("round", slices, labels, centres, -5.0)


def twin_of(stack: SliceStack, seed: int = 0) -> SliceStack:
    twin = without_enhancement(stack, T1, T1CE, np.random.default_rng(seed))
    assert twin is not None
    return twin


def test_what_enhanced_is_core_that_looks_as_t1_lets_expect():
    stack = enhancing_stack()
    twin = twin_of(stack)
    gone = (stack.labels == Label.ENHANCING) & (twin.labels == Label.NECROTIC)
    assert gone.sum() > 0.5 * (stack.labels == Label.ENHANCING).sum()
    t1, before, after = (
        array[gone].astype(np.float64)
        for array in (stack.slices[..., T1], stack.slices[..., T1CE], twin.slices[..., T1CE])
    )
    assert np.median(before - (0.8 * t1 + 0.1)) == pytest.approx(3, abs=0.1)
    assert np.median(after - (0.8 * t1 + 0.1)) == pytest.approx(0, abs=0.15)


def test_the_rest_of_the_patient_stays():
    stack = enhancing_stack()
    twin = twin_of(stack)
    others = stack.labels != Label.ENHANCING
    np.testing.assert_array_equal(twin.labels[others], stack.labels[others])
    np.testing.assert_array_equal(twin.slices[..., [FLAIR, T1, T2]], stack.slices[..., [FLAIR, T1, T2]])
    far = ~ndimage.binary_dilation(~others, np.ones((3, 3, 3)), iterations=7)
    np.testing.assert_array_equal(twin.slices[far], stack.slices[far])
    np.testing.assert_array_equal(twin.slices[:, :3], stack.slices[:, :3])
    assert twin.centres is stack.centres


def test_what_goes_on_enhancing_is_a_small_part_as_bright_as_before():
    stack = enhancing_stack()
    sizes = []
    for seed in range(12):
        twin = twin_of(stack, seed)
        kept = twin.labels == Label.ENHANCING
        np.testing.assert_array_equal(twin.slices[kept], stack.slices[kept])
        sizes.append(int(kept.sum()))
        assert not kept.any() or np.ptp(np.argwhere(kept), axis=0).max() <= 2 * LARGEST_NODULE
    assert min(sizes) < 0.05 * (stack.labels == Label.ENHANCING).sum() < max(sizes)


def test_the_grain_of_t1ce_is_kept():
    stack = enhancing_stack()
    gone = twin_of(stack).labels == Label.NECROTIC
    inner = ndimage.binary_erosion(gone & (stack.labels == Label.ENHANCING))

    def grain(volume):
        volume = volume.astype(np.float32)
        return np.std((volume - ndimage.gaussian_filter(volume, (0, 1, 1)))[inner])

    assert 0.5 < grain(twin_of(stack).slices[..., T1CE]) / grain(stack.slices[..., T1CE]) < 1.5


def test_a_tumour_that_does_not_enhance_has_no_twin():
    stack = enhancing_stack()
    labels = np.where(stack.labels == Label.ENHANCING, np.uint8(Label.NECROTIC), stack.labels)
    assert (
        without_enhancement(
            SliceStack("plain", stack.slices, labels, stack.centres, -5.0), T1, T1CE, np.random.default_rng(0)
        )
        is None
    )


def test_a_brain_that_is_all_enhancing_has_none():
    stack = enhancing_stack()
    labels = np.full(SHAPE, Label.ENHANCING, np.uint8)
    assert (
        without_enhancement(
            SliceStack("full", stack.slices, labels, stack.centres, -5.0), T1, T1CE, np.random.default_rng(0)
        )
        is None
    )


def test_a_tumour_without_oedema_has_one():
    stack = enhancing_stack()
    labels = np.where(stack.labels == Label.OEDEMA, np.uint8(Label.BACKGROUND), stack.labels)
    assert (twin_of(SliceStack("bare", stack.slices, labels, stack.centres, -5.0)).labels == Label.NECROTIC).any()


def test_twins_are_mixed_into_an_epoch_by_their_share_and_repeatably(tmp_path):
    stacks = [make_stack("one"), make_stack("two", seed=1)]
    config = small_config(unenhanced_share=0.5, patches_per_class=20)
    twins = unenhanced_twins(stacks, config, tmp_path)
    first, again = (list(epoch_batches(stacks, config, 0, twins)) for _ in range(2))
    assert all(
        np.array_equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    # Half of the enhancing tumour is gone in the mean, but for the parts left enhancing.
    plain = list(epoch_batches(stacks, small_config(patches_per_class=20), 0))
    mixed, before = (sum(int((labels == Label.ENHANCING).sum()) for _, labels in batches) for batches in (first, plain))
    assert 0.3 * before < mixed < 0.95 * before


def test_without_a_share_there_are_no_twins_and_nothing_changes(tmp_path):
    stacks, config = make_stacks(2), small_config()
    twins = unenhanced_twins(stacks, config, tmp_path)
    assert twins == [None, None]
    for (image, label), (other_image, other_label) in zip(
        epoch_batches(stacks, config, 0, twins), epoch_batches(stacks, config, 0), strict=True
    ):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(label, other_label)


def test_a_share_needs_both_sequences():
    with pytest.raises(UsageError, match="t1 and t1ce"):
        small_config(unenhanced_share=0.2, sequences=["flair", "t1ce"])
