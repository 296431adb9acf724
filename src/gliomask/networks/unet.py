"""A 2.5-D residual U-Net that works at half resolution from its first layer.

The paper's networks see 30 or 38 pixels and keep full resolution throughout; what decides between oedema and core, or
between a small lesion and none, often lies further away. This one sees most of a slice and two neighbours on each side,
and is quicker, because its widest layers have a quarter of the pixels. After the pixel-unshuffling networks of Chen et
al., DMFNet (MICCAI 2019), and Luo et al., HDC-Net (IEEE JBHI 2021), with the residual units of He et al. (CVPR 2016)
and the shape of Ronneberger et al. (MICCAI 2015).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

Tensor = Any
"""A Keras symbolic tensor of any backend; Keras ships no type for it."""

WIDTHS = (32, 64, 128, 192)
"""Features at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

NORM_MOMENTUM = 0.98
"""Of the running statistics: an average over some 50 steps, short against any training."""


def residual_unet(channels: int, classes: int = 4) -> keras.Model:
    """The U-Net: 1.6 million parameters for five slices of four sequences; any height and width that are multiples
    of 16.

    A convolution of 6 x 6 with stride 2 is a pixel-unshuffle followed by one of 3 x 3; a transposed one of 2 x 2 with
    stride 2 is a convolution of 1 x 1 followed by a pixel-shuffle: both ends are written as the layers that every
    exporter knows.

    Batch normalisation, because statistics of one crop, as in instance normalisation, are not those of a whole slice.

    Args:
        channels: sequences times slices.
        classes: number of labels.

    Returns:
        A model from (N, H, W, channels) to softmax probabilities (N, H, W, classes) of the middle slice.
    """
    image = keras.Input((None, None, channels), name="image")
    features = normalised(
        layers.Conv2D(WIDTHS[0], 6, strides=2, padding="same", use_bias=False, name="stem")(image), "stem"
    )
    features = _residual(layers.ReLU(name="stem_relu")(features), WIDTHS[0], "down1")
    skips = []
    for level, width in enumerate(WIDTHS[1:], start=2):
        skips.append(features)
        features = layers.MaxPooling2D(2, name=f"down{level}_pool")(features)
        features = _residual(features, width, f"down{level}")
    for level, (width, skip) in enumerate(reversed(list(zip(WIDTHS, skips, strict=False))), start=1):
        features = layers.UpSampling2D(2, interpolation="nearest", name=f"up{level}_size")(features)
        features = layers.Concatenate(name=f"up{level}_join")([skip, features])
        features = _residual(features, width, f"up{level}")
    logits = layers.Conv2DTranspose(classes, 2, strides=2, name="logits")(features)
    # Softmax in float32 also under mixed precision: half-precision probabilities would lose the small ones.
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name="ResidualUNet")


def _residual(tensor: Tensor, filters: int, name: str) -> Tensor:
    """Two convolutions and a short cut round them, itself a convolution of 1 x 1 where the width changes."""
    shortcut = tensor
    if tensor.shape[-1] != filters:
        shortcut = normalised(layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_short")(tensor), f"{name}_short")
    for n in (1, 2):
        tensor = normalised(
            layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv{n}")(tensor), f"{name}_conv{n}"
        )
        if n == 1:
            tensor = layers.ReLU(name=f"{name}_relu1")(tensor)
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_sum")([tensor, shortcut]))


def normalised(tensor: Tensor, name: str) -> Tensor:
    """Returns a tensor after the batch normalisation that goes with the layer of that name."""
    return layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm")(tensor)
