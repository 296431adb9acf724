"""Which networks there are, without importing Keras until one is built."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from gliomask.errors import UsageError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Network:
    """What must be known of a network before it is built.

    Args:
        name: as typed after `--network`.
        title: as written in the paper.
        builder: `module:function` that builds it.
        parameters: number of trainable parameters with four sequences and four classes.
        receptive_field: height and width, in pixels, of what one output pixel depends on.
        size_multiple: height and width of its input must be multiples of this.
    """

    name: str
    title: str
    builder: str
    parameters: int
    receptive_field: int
    size_multiple: int = 2

    def build(self, channels: int = 4, classes: int = 4) -> keras.Model:
        """Returns the Keras model, (N, H, W, channels) to probabilities (N, H, W, classes). Imports Keras."""
        module, function = self.builder.split(":")
        model: keras.Model = getattr(import_module(module), function)(channels=channels, classes=classes)
        return model


# Parameter counts and receptive fields: counted from the authors' layer structure, and held by tests/test_networks.py.
NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("sparse", "SparseMultiOCM", "gliomask.networks.ocm:sparse_multi_ocm", 127_876, 30),
        Network("input-sparse", "InputSparseMultiOCM", "gliomask.networks.ocm:input_sparse_multi_ocm", 130_180, 30),
        Network("dense", "DenseMultiOCM", "gliomask.networks.ocm:dense_multi_ocm", 181_124, 38),
    )
}
"""Every network, by name."""


def network(name: str) -> Network:
    """Returns the network of that name or title, in any case.

    Raises:
        UsageError: there is none.
    """
    for candidate in NETWORKS.values():
        if name.lower() in (candidate.name, candidate.title.lower()):
            return candidate
    raise UsageError(f"There is no network '{name}'. Known ones: {', '.join(NETWORKS)}.")
