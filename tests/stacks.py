"""Tiny labelled patients as a training takes them."""

import numpy as np
from conftest import make_tiny_case, tiny_labels

from gliomask.networks.catalogue import Network
from gliomask.preprocess.channels import prepare
from gliomask.sampling import SliceStack
from gliomask.sequences import PAPER_ORDER
from gliomask.training.config import make_config

SMALL = {"patch_size": 16, "patches_per_class": 2, "batch_size": 4, "threads": 1}
"""Enough to take real steps, in milliseconds each."""


def make_stack(case_id="tiny", seed=0, labels=None, normalisation="volume") -> SliceStack:
    """The tiny patient of conftest laid out in slices; its axes are the network's already."""
    case = make_tiny_case(case_id, seed=seed)
    prepared = prepare(case, PAPER_ORDER, normalisation)
    label_map = np.where(prepared.brain, tiny_labels() if labels is None else labels, 0).astype(np.uint8)
    return SliceStack.of(case_id, prepared.channels, label_map, prepared.brain, prepared.background)


def make_stacks(count: int) -> list[SliceStack]:
    """Several patients that differ in their noise."""
    return [make_stack(f"tiny{n}", seed=n) for n in range(count)]


def small_config(**choices):
    """The default recipe on small patches."""
    return make_config(None, None, **(SMALL | choices))


def tiny_network(channels, classes):
    """Two layers: what the loop does is the same for any network, and this one is built at once."""
    import keras

    image = keras.Input((None, None, channels), name="image")
    features = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="features")(image)
    logits = keras.layers.Conv2D(classes, 1, name="logits")(features)
    return keras.Model(image, keras.layers.Softmax(dtype="float32")(logits), name="Tiny")


TINY_NETWORK = Network("tiny", "Tiny", "stacks:tiny_network", 332, 3, 2)
"""To be put into the catalogue by the tests that train it."""


def normed_network(channels, classes):
    """As `tiny_network`, with a batch normalisation: numbers that the optimiser does not move."""
    import keras

    image = keras.Input((None, None, channels), name="image")
    features = keras.layers.Conv2D(8, 3, padding="same", name="features")(image)
    normed = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.5, name="norm")(features))
    logits = keras.layers.Conv2D(classes, 1, name="logits")(normed)
    return keras.Model(image, keras.layers.Softmax(dtype="float32")(logits), name="Normed")


NORMED_NETWORK = Network("normed", "Normed", "stacks:normed_network", 364, 3, 2)
