"""Losses over per-pixel class targets, written with `keras.ops` so that every backend trains alike."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from gliomask.labels import Label, Region

Tensor = Any
"""A tensor of whichever backend Keras runs on."""

DICE_SMOOTHING_PIXELS = 10.0
"""Added to numerator and denominator of the soft Dice: keeps the loss of a region that is absent from a batch near 0
and its gradient small. A patch has 4,096 pixels."""


MEMBERSHIP = np.array([[float(label in region.labels) for region in Region] for label in Label], np.float32)
"""(4, 3): 1 where a label belongs to a region."""


def class_weights(
    choice: str | tuple[float, ...], counts: npt.NDArray[np.int64], paper: tuple[float, ...]
) -> tuple[float, ...]:
    """Returns one weight per class, rescaled to a mean of one, so that uniform weights give the plain cross-entropy.

    Args:
        choice: `uniform`, `paper`, `inverse-frequency`, or the weights themselves.
        counts: pixels of each class in the training patients' brains, for `inverse-frequency`.
        paper: the paper's weights.
    """
    if choice == "uniform":
        weights = np.ones(len(Label))
    elif choice == "paper":
        weights = np.array(paper)
    elif choice == "inverse-frequency":
        # A class that no patient has cannot be learned and must not swallow the scale of the others.
        weights = np.where(counts > 0, counts.sum() / np.maximum(counts, 1), 0)
    else:
        weights = np.array(choice, float)
    return tuple(float(w) for w in weights / weights.mean())


class SegmentationLoss(keras.losses.Loss):  # type: ignore[misc]
    """Weighted cross-entropy per pixel, plus soft Dice over the nested regions.

    The cross-entropy is ``-(1/N) sum_pixels w[class] log p[class]``: N counts all pixels of the batch, so weights scale
    gradients; they are rescaled to a mean of one over the classes before they come here. (Dividing by the weights that
    occur, as other software does, would make the scale depend on the batch.) The Dice part is
    ``1 - mean over WT, TC, ET`` of the Dice of summed probabilities over the whole batch.

    Over regions, the cross-entropy is the binary one of WT, TC and ET, averaged: what BraTS scores is what is learned
    (Isensee et al., nnU-Net for Brain Tumor Segmentation, BrainLes 2020). A region's probability is the sum of its
    labels'.

    Args:
        weights: one per class, background first; unused over regions.
        dice_weight: factor of the Dice part; 0 leaves it out.
        over: `labels` or `regions`.
    """

    def __init__(self, weights: tuple[float, ...], dice_weight: float, over: str = "labels") -> None:
        super().__init__(name="segmentation_loss")
        self.weights = weights
        self.dice_weight = dice_weight
        self.over = over

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of a batch.

        Args:
            y_true: (N, H, W) whole numbers, one `Label` per pixel.
            y_pred: (N, H, W, 4) logits.
        """
        logits = ops.cast(y_pred, "float32")
        targets = ops.one_hot(ops.cast(y_true, "int32"), len(Label), dtype="float32")
        log_probabilities = ops.log_softmax(logits, axis=-1)
        if self.over == "regions":
            loss = _region_cross_entropy(targets, log_probabilities)
        else:
            loss = -ops.mean(
                ops.sum(targets * log_probabilities * ops.convert_to_tensor(self.weights, dtype="float32"), axis=-1)
            )
        if self.dice_weight:
            loss = loss + self.dice_weight * _region_dice_loss(targets, ops.exp(log_probabilities))
        return loss


def _region_cross_entropy(targets: Tensor, log_probabilities: Tensor) -> Tensor:
    """Mean over pixels and regions of -log p where the pixel is in the region, -log(1 - p) elsewhere, from sums of
    powers: no log of 0.
    """
    terms = []
    for region in Region:
        inside = [int(label) for label in Label if label in region.labels]
        outside = [int(label) for label in Label if label not in region.labels]
        truth = ops.sum(ops.take(targets, inside, axis=-1), axis=-1)
        log_in = ops.logsumexp(ops.take(log_probabilities, inside, axis=-1), axis=-1)
        log_out = ops.logsumexp(ops.take(log_probabilities, outside, axis=-1), axis=-1)
        terms.append(-ops.mean(truth * log_in + (1 - truth) * log_out))
    return sum(terms) / len(terms)


def _region_dice_loss(targets: Tensor, probabilities: Tensor) -> Tensor:
    truth = ops.reshape(ops.matmul(targets, MEMBERSHIP), (-1, len(Region)))
    by_region = ops.reshape(ops.matmul(probabilities, MEMBERSHIP), (-1, len(Region)))
    overlap = 2 * ops.sum(truth * by_region, axis=0) + DICE_SMOOTHING_PIXELS
    return 1 - ops.mean(overlap / (ops.sum(truth, axis=0) + ops.sum(by_region, axis=0) + DICE_SMOOTHING_PIXELS))
