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
        parameters: number of parameters with four sequences and four classes.
        receptive_field: height and width, in pixels, of what one output pixel depends on.
        size_multiple: height and width of its input must be multiples of this.
        neighbours: slices on each side of the one being segmented that it also sees, as further channels.
        halo: pixels of surroundings to keep round a box that is cut out. Above half the receptive field the cut changes
            nothing; the U-Net learns from crops that cut through brain, and its mean Dice on the patients of fold 4 is
            the same with 8 as with 16.
    """

    name: str
    title: str
    builder: str
    parameters: int
    receptive_field: int
    halo: int
    size_multiple: int = 2
    neighbours: int = 0

    @property
    def slices(self) -> int:
        """How many slices it sees at once."""
        return 2 * self.neighbours + 1

    def build(self, sequences: int = 4, classes: int = 4) -> keras.Model:
        """Returns the Keras model, (N, H, W, slices x sequences) to probabilities (N, H, W, classes). Imports Keras."""
        module, function = self.builder.split(":")
        model: keras.Model = getattr(import_module(module), function)(channels=self.slices * sequences, classes=classes)
        return model


# Parameter counts and receptive fields: counted from the authors' layer structure, and held by tests/test_networks.py.
NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("sparse", "SparseMultiOCM", "gliomask.networks.ocm:sparse_multi_ocm", 127_876, 30, 16),
        Network("input-sparse", "InputSparseMultiOCM", "gliomask.networks.ocm:input_sparse_multi_ocm", 130_180, 30, 16),
        Network("dense", "DenseMultiOCM", "gliomask.networks.ocm:dense_multi_ocm", 181_124, 38, 20),
        Network(
            "unet",
            "ResidualUNet",
            "gliomask.networks.unet:residual_unet",
            1_670_660,
            204,
            8,
            size_multiple=16,
            neighbours=2,
        ),
        Network(
            "plain-unet", "PlainUNet", "gliomask.networks.plain_unet:plain_unet", 7_769_316, 204, 8, size_multiple=16
        ),
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
