"""A network over a whole brain: slices or volumes, in whichever patches were asked for, only where there is brain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gliomask.arrays import Probabilities
from gliomask.errors import UsageError
from gliomask.labels import Label
from gliomask.patches import PatchGrid, Predict, adjacent, box_with_halo, overlapping, predict_patches, slabs, whole
from gliomask.preprocess.channels import Prepared

InputKind = Literal["slices", "volumes"]
PATCHES = ("whole", "adjacent", "overlapping")
"""Ways of cutting, by the names of the command line."""

SLAB_SLICES = 8
"""Slices that go through the network together. They share one box, so thick slabs waste pixels near the top of the head and take
memory: the widest layers hold 106 to 128 features, 60 MB for each 4 slices."""


@dataclass(frozen=True)
class PatchPlan:
    """How slices or volumes are cut before they go through a network.

    Args:
        mode: `whole`, `adjacent` or `overlapping`.
        size: side of a patch, pixels; not used by `whole`.
        stride: for `overlapping`; None is the paper's half-patch offset.
    """

    mode: str = "whole"
    size: int = 64
    stride: int | None = None

    def grid(self, shape: tuple[int, ...], multiple: int) -> PatchGrid:
        """The grid on an array of this shape.

        Raises:
            UsageError: unknown mode, or sizes that leave gaps.
        """
        if self.mode == "whole":
            return whole(shape, multiple)
        if self.mode == "adjacent":
            return adjacent(shape, self.size)
        if self.mode == "overlapping":
            return overlapping(shape, self.size, self.stride)
        raise UsageError(f"There is no way of cutting patches called '{self.mode}'. Known ones: {', '.join(PATCHES)}.")


@dataclass(frozen=True)
class NetworkShape:
    """What must be known of a network to run it over a brain; `model.json` says it.

    Args:
        kind: whether it takes slices or volumes.
        receptive_field: pixels that one output pixel depends on, along each side.
        multiple: its input's sides must be multiples of this.
    """

    kind: InputKind
    receptive_field: int
    multiple: int


def predict_brain(
    prepared: Prepared, network: NetworkShape, plan: PatchPlan, predict: Predict, progress: Callable[[int, int], None] = lambda done, total: None
) -> Probabilities:
    """Returns the probabilities of a whole volume; outside the brain it is background for certain.

    Args:
        prepared: the normalised case.
        network: what the network takes.
        plan: how to cut.
        predict: the network itself.
        progress: called with (slices done, slices in all).

    Returns:
        (I, J, K, 4) float32, axes as `prepared`.
    """
    probabilities = np.zeros((*prepared.brain.shape, len(Label)), np.float32)
    probabilities[..., Label.BACKGROUND] = 1
    regions = list(_regions(prepared, network, plan))
    for n, region in enumerate(regions):
        stack = prepared.channels[region]
        brain = prepared.brain[region]
        if network.kind == "slices":
            stack = np.moveaxis(stack, 2, 0)
            found = np.moveaxis(predict_patches(stack, plan.grid(stack.shape[1:-1], network.multiple), predict, prepared.background), 0, 2)
        else:
            found = predict_patches(stack[None], plan.grid(stack.shape[:-1], network.multiple), predict, prepared.background)[0]
        probabilities[region][brain] = found[brain]
        progress(n + 1, len(regions))
    return probabilities


def _regions(prepared: Prepared, network: NetworkShape, plan: PatchPlan) -> Iterator[tuple[slice, ...]]:
    """Boxes of the volume that hold all brain. `whole` may crop to brain and halo, for the answer is the same; patches keep the paper's lattice."""
    halo = network.receptive_field // 2 + 1
    if network.kind == "volumes":
        yield box_with_halo(prepared.brain, halo, network.multiple) if plan.mode == "whole" else (slice(None),) * 3
        return
    for slab in slabs(prepared.brain, SLAB_SLICES):
        plane = np.asarray(prepared.brain[:, :, slab].any(axis=2))
        box = box_with_halo(plane, halo, network.multiple) if plan.mode == "whole" else (slice(None),) * 2
        yield (*box, slab)
