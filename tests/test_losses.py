import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask.labels import Label, Region
from gliomask.training.config import PAPER_WEIGHTS

pytest.importorskip("keras", reason="the losses need the extra 'train'")
from gliomask.training.losses import DICE_SMOOTHING_PIXELS, SegmentationLoss, class_weights

pytestmark = pytest.mark.train

UNIFORM = (1.0, 1.0, 1.0, 1.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_entropy(labels: np.ndarray, logits: np.ndarray, weights=UNIFORM) -> float:
    """Pixel by pixel, by the formula."""
    probabilities = softmax(logits)
    terms = [
        weights[labels[index]] * -np.log(probabilities[(*index, labels[index])]) for index in np.ndindex(labels.shape)
    ]
    return sum(terms) / labels.size


def value(loss: SegmentationLoss, labels: np.ndarray, logits: np.ndarray) -> float:
    return float(loss(labels, logits))


def dice_part(labels: np.ndarray, logits: np.ndarray) -> float:
    return value(SegmentationLoss(UNIFORM, 1.0), labels, logits) - value(SegmentationLoss(UNIFORM, 0.0), labels, logits)


@pytest.fixture
def batch(rng):
    return rng.integers(0, 4, (2, 6, 8)).astype(np.uint8), (3 * rng.standard_normal((2, 6, 8, 4))).astype(np.float32)


def test_uniform_weights_are_the_plain_cross_entropy(batch):
    weights = class_weights("uniform", np.array([1, 2, 3, 4]), PAPER_WEIGHTS)
    assert weights == UNIFORM
    assert value(SegmentationLoss(weights, 0.0), *batch) == pytest.approx(cross_entropy(*batch), rel=1e-5)


def test_weights_multiply_each_pixel_by_its_class_and_divide_by_all_pixels(batch):
    weights = (0.5, 2.0, 0.25, 1.25)
    assert value(SegmentationLoss(weights, 0.0), *batch) == pytest.approx(cross_entropy(*batch, weights), rel=1e-5)


def test_an_example_by_hand():
    # Two pixels, all logits 0 but one: log(4) for the first; the second is oedema with probability e / (e + 3).
    labels = np.array([[[Label.BACKGROUND, Label.OEDEMA]]], np.uint8)
    logits = np.zeros((1, 1, 2, 4), np.float32)
    logits[0, 0, 1, Label.OEDEMA] = 1
    expected = (2 * np.log(4) - 3 * np.log(np.e / (np.e + 3))) / 2
    assert value(SegmentationLoss((2.0, 1.0, 3.0, 1.0), 0.0), labels, logits) == pytest.approx(expected, rel=1e-6)


def test_the_papers_weights_keep_their_proportions_at_a_mean_of_one():
    weights = class_weights("paper", np.ones(4, int), PAPER_WEIGHTS)
    np.testing.assert_allclose(weights, np.array([0.28, 0.08, 0.43, 0.21]) * 4)


def test_inverse_frequency_makes_every_class_count_alike():
    counts = np.array([8000, 400, 1200, 0])
    weights = np.array(class_weights("inverse-frequency", counts, PAPER_WEIGHTS))
    products = (weights * counts)[:3]
    np.testing.assert_allclose(products, products[0])
    assert weights[3] == 0
    assert weights.mean() == pytest.approx(1)


def test_custom_weights_are_rescaled():
    np.testing.assert_allclose(class_weights((1, 5, 2, 4), np.ones(4, int), PAPER_WEIGHTS), np.array([1, 5, 2, 4]) / 3)


def test_it_takes_logits_of_any_size(batch):
    labels, logits = batch
    # A softmax taken before would overflow here, and a constant added to all four logits changes no probability.
    assert value(SegmentationLoss(UNIFORM, 0.5), labels, 1000 * logits) == pytest.approx(
        value(SegmentationLoss(UNIFORM, 0.5), labels, 1000 * logits + 256), rel=1e-3
    )
    assert value(SegmentationLoss(UNIFORM, 0.5), labels, logits + 7) == pytest.approx(
        value(SegmentationLoss(UNIFORM, 0.5), labels, logits), rel=1e-4
    )


def test_half_precision_logits_are_summed_in_single(batch):
    labels, logits = batch
    assert value(SegmentationLoss(UNIFORM, 0.5), labels, logits.astype(np.float16)) == pytest.approx(
        value(SegmentationLoss(UNIFORM, 0.5), labels, logits), rel=1e-2
    )


def test_the_dice_part_is_the_soft_dice_of_the_nested_regions(batch):
    labels, logits = batch
    probabilities, scores = softmax(logits), []
    for region in Region:
        truth, found = region.mask(labels), probabilities[..., [int(label) for label in region.labels]].sum(axis=-1)
        scores.append(
            (2 * (truth * found).sum() + DICE_SMOOTHING_PIXELS) / (truth.sum() + found.sum() + DICE_SMOOTHING_PIXELS)
        )
    assert dice_part(labels, logits) == pytest.approx(1 - np.mean(scores), abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0, 30))
def test_the_dice_part_lies_between_nothing_and_one(seed, scale):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, generator.integers(1, 5), (2, 4, 4)).astype(np.uint8)
    logits = (scale * generator.standard_normal((2, 4, 4, 4))).astype(np.float32)
    assert -1e-4 <= dice_part(labels, logits) <= 1 + 1e-4


def test_a_perfect_prediction_costs_nearly_nothing_and_a_wrong_one_much(batch):
    labels, _ = batch
    right = 30 * np.eye(4, dtype=np.float32)[labels]
    wrong = 30 * np.eye(4, dtype=np.float32)[(labels + 1) % 4]
    assert value(SegmentationLoss(UNIFORM, 0.5), labels, right) == pytest.approx(0, abs=1e-5)
    assert value(SegmentationLoss(UNIFORM, 0.0), labels, wrong) == pytest.approx(30, rel=1e-3)
    assert dice_part(labels, wrong) > 0.2


def test_the_cross_entropy_over_regions_is_the_binary_one_of_each(batch):
    labels, logits = batch
    probabilities, terms = softmax(logits), []
    for region in Region:
        truth, found = region.mask(labels), probabilities[..., [int(label) for label in region.labels]].sum(axis=-1)
        terms.append(-np.log(np.where(truth, found, 1 - found)).mean())
    assert value(SegmentationLoss(UNIFORM, 0.0, "regions"), labels, logits) == pytest.approx(np.mean(terms), rel=1e-4)


def test_the_cross_entropy_over_regions_stays_finite_when_certain(batch):
    labels, logits = batch
    assert np.isfinite(value(SegmentationLoss(UNIFORM, 0.0, "regions"), labels, 1000 * logits))
