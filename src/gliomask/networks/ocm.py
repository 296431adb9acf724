"""The three networks of Ben Naceur et al., Medical Image Analysis 63 (2020) 101692.

Two modules in series, each of which concatenates branches with different receptive fields. All convolutions are 3 x 3
with zero padding and ReLU, pooling is 2 x 2 maximum, up-sampling is nearest neighbour, and there is neither
normalisation nor dropout: this is the layer structure of the authors' published `model.py`. The networks are fully
convolutional: any even height and width.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

Tensor = Any
"""A Keras symbolic tensor of any backend; Keras ships no type for it."""


def sparse_multi_ocm(channels: int = 4, classes: int = 4) -> keras.Model:
    """SparseMultiOCM: 127,876 parameters, receptive field 30 x 30 pixels.

    Returns:
        A model from (N, H, W, channels) to softmax probabilities (N, H, W, classes).
    """
    image = keras.Input((None, None, channels), name="image")
    fine_1 = _convolutions(image, 42, 2, "module1_fine")
    joined = _concatenate("module1_join", fine_1, _coarse_branch(fine_1, "module1_coarse"))
    fine_2 = _convolutions(joined, 32, 2, "module2_fine")
    joined = _concatenate("module2_join", fine_1, fine_2, _coarse_branch(fine_2, "module2_coarse"))
    return _classifier(image, joined, classes, "SparseMultiOCM")


def input_sparse_multi_ocm(channels: int = 4, classes: int = 4) -> keras.Model:
    """InputSparseMultiOCM: SparseMultiOCM with the image itself joined in twice; 130,180 parameters, receptive field 30
    x 30.

    Returns:
        A model from (N, H, W, channels) to softmax probabilities (N, H, W, classes).
    """
    image = keras.Input((None, None, channels), name="image")
    fine_1 = _convolutions(image, 42, 2, "module1_fine")
    joined = _concatenate("module1_join", image, fine_1, _coarse_branch(fine_1, "module1_coarse"))
    fine_2 = _convolutions(joined, 32, 2, "module2_fine")
    joined = _concatenate("module2_join", image, fine_1, fine_2, _coarse_branch(fine_2, "module2_coarse"))
    return _classifier(image, joined, classes, "InputSparseMultiOCM")


def dense_multi_ocm(channels: int = 4, classes: int = 4) -> keras.Model:
    """DenseMultiOCM: four branches a module; 181,124 parameters, receptive field 38 x 38 pixels.

    Returns:
        A model from (N, H, W, channels) to softmax probabilities (N, H, W, classes).
    """
    image = keras.Input((None, None, channels), name="image")
    features = image
    for module in ("module1", "module2"):
        point = layers.Conv2D(32, 1, activation="relu", name=f"{module}_point")(features)
        fine = _convolutions(features, 32, 2, f"{module}_fine")
        wide = _convolutions(fine, 32, 2, f"{module}_wide")
        features = _concatenate(f"{module}_join", point, fine, wide, _coarse_branch(wide, f"{module}_coarse"))
    return _classifier(image, features, classes, "DenseMultiOCM")


def _convolutions(tensor: Tensor, filters: int, count: int, name: str) -> Tensor:
    for n in range(1, count + 1):
        tensor = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}{n}")(tensor)
    return tensor


def _coarse_branch(tensor: Tensor, name: str) -> Tensor:
    tensor = layers.MaxPooling2D(2, name=f"{name}_down")(tensor)
    tensor = _convolutions(tensor, 32, 2, name)
    return layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(tensor)


def _concatenate(name: str, *branches: Tensor) -> Tensor:
    return layers.Concatenate(name=name)(list(branches))


def _classifier(image: Tensor, features: Tensor, classes: int, name: str) -> keras.Model:
    features = _convolutions(features, 32, 2, "head")
    logits = layers.Conv2D(classes, 1, name="logits")(features)
    # Softmax in float32 also under mixed precision: half-precision probabilities would lose the small ones.
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name=name)
