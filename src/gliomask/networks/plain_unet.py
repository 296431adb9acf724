"""The plain 2-D U-Net, as a yardstick: what the network of this package has to beat when both are trained for the same
hours.

The shape of Ronneberger et al. (MICCAI 2015) with the widths that nnU-Net's 2-D plans begin with (Isensee et al.,
Nature Methods 2021): two convolutions a level at full resolution and at each halving, features doubled every time.
Batch normalisation where nnU-Net has instance normalisation, for the reason in `networks.unet`, and ReLU for its leaky
one.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from gliomask.networks.unet import normalised

Tensor = Any
"""A Keras symbolic tensor of any backend; Keras ships no type for it."""

WIDTHS = (32, 64, 128, 256, 512)
"""Features at full resolution, 1/2, 1/4, 1/8 and 1/16."""


def plain_unet(channels: int, classes: int = 4) -> keras.Model:
    """The U-Net: 7.8 million parameters for four sequences; any height and width that are multiples of 16.

    Args:
        channels: sequences times slices.
        classes: number of labels.

    Returns:
        A model from (N, H, W, channels) to softmax probabilities (N, H, W, classes).
    """
    image = keras.Input((None, None, channels), name="image")
    features = _two_convolutions(image, WIDTHS[0], "down1")
    skips = []
    for level, width in enumerate(WIDTHS[1:], start=2):
        skips.append(features)
        features = layers.MaxPooling2D(2, name=f"down{level}_pool")(features)
        features = _two_convolutions(features, width, f"down{level}")
    for level in range(len(skips), 0, -1):
        width = WIDTHS[level - 1]
        features = layers.Conv2DTranspose(width, 2, strides=2, name=f"up{level}_size")(features)
        features = layers.Concatenate(name=f"up{level}_join")([skips[level - 1], features])
        features = _two_convolutions(features, width, f"up{level}")
    logits = layers.Conv2D(classes, 1, name="logits")(features)
    # Softmax in float32 also under mixed precision: half-precision probabilities would lose the small ones.
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name="PlainUNet")


def _two_convolutions(tensor: Tensor, filters: int, name: str) -> Tensor:
    for n in (1, 2):
        tensor = normalised(
            layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv{n}")(tensor), f"{name}_conv{n}"
        )
        tensor = layers.ReLU(name=f"{name}_relu{n}")(tensor)
    return tensor
