"""A network over a whole brain: slices or volumes, in whichever patches were asked for, only where there is brain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Channels, Probabilities
from gliomask.errors import UsageError
from gliomask.labels import Label
from gliomask.patches import PatchGrid, Predict, adjacent, box_with_halo, overlapping, predict_patches, slabs, whole, windows
from gliomask.preprocess.channels import Prepared
from gliomask.quality import entropy

InputKind = Literal["slices", "volumes"]
PATCHES = ("whole", "adjacent", "overlapping")
"""Ways of cutting, by the names of the command line."""

SLAB_SLICES = 8
"""Slices that go through the network together. They share one box, so thick slabs waste pixels near the top of the head and take
memory: the widest layers hold 106 to 128 features, 60 MB for each 4 slices."""

SUSPICION = 0.1
"""Probability of tumour above which a second network is asked. Below, the mean exceeds one half only where the second is more than 90 % sure.
Lower ones let specks in, and the boxes round them cost time: at 0.01 twice the pixels (17 patients)."""


@dataclass(frozen=True)
class PatchPlan:
    """How slices or volumes are cut before they go through a network.

    Args:
        mode: `whole`, `adjacent` or `overlapping`.
        size: side of a patch, pixels; not used by `whole`.
        stride: for `overlapping`; None is the paper's half-patch offset.
        window: the only size that the network takes; `whole` then means windows over all of the brain's box. None for any size.
    """

    mode: str = "whole"
    size: int = 64
    stride: int | None = None
    window: tuple[int, ...] | None = None

    def grid(self, shape: tuple[int, ...], multiple: int) -> PatchGrid:
        """The grid on an array of this shape.

        Raises:
            UsageError: unknown mode, or sizes that leave gaps.
        """
        if self.window is not None:
            if self.mode != "whole":
                size = " x ".join(map(str, self.window))
                raise UsageError(f"This network takes windows of {size} and nothing else, so they cannot be cut '{self.mode}'. Leave --patches out.")
            return windows(shape, self.window)
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
        halo: pixels of surroundings that it needs round what it is asked about.
        multiple: its input's sides must be multiples of this.
        neighbours: slices on each side that a network of slices sees as further channels.
    """

    kind: InputKind
    halo: int
    multiple: int
    neighbours: int = 0


def averaged_over_flips(predict: Predict) -> Predict:
    """Returns a network that answers with the mean over the four mirror images of the first two axes: four times the work.

    A last channel, after the labels', is the mean of the four passes' entropies, from which `quality.disagreement` follows. Nothing
    else of the single passes is kept.
    """

    def flipped(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        total: npt.NDArray[np.float32] | None = None
        for axes in ((), (1,), (2,), (1, 2)):
            found = np.flip(predict(np.ascontiguousarray(np.flip(batch, axes))), axes)
            answer = np.concatenate([found, entropy(found)[..., None]], axis=-1)
            total = answer if total is None else np.add(total, answer, out=total)
        assert total is not None
        return total / np.float32(4)

    return flipped


def predict_brain(
    prepared: Prepared,
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    progress: Callable[[int, int], None] = lambda done, total: None,
    doubts: npt.NDArray[np.float32] | None = None,
) -> Probabilities:
    """Returns the probabilities of a whole volume; outside the brain it is background for certain.

    Args:
        prepared: the normalised case.
        network: what the network takes.
        plan: how to cut.
        predict: the network itself.
        progress: called with (slices done, slices in all).
        doubts: (I, J, K), gets what `predict` says of each voxel after the labels, see `averaged_over_flips`; untouched outside the brain.

    Returns:
        (I, J, K, 4) float32, axes as `prepared`.
    """
    probabilities = np.zeros((*prepared.brain.shape, len(Label)), np.float32)
    probabilities[..., Label.BACKGROUND] = 1
    slices = np.moveaxis(prepared.channels, 2, 0) if network.kind == "slices" else None
    regions = list(_regions(prepared, network, plan))
    for n, region in enumerate(regions):
        if slices is not None:
            stack = _with_neighbours(slices, region, network.neighbours, prepared.background)
            found = np.moveaxis(predict_patches(stack, plan.grid(stack.shape[1:-1], network.multiple), predict, prepared.background), 0, 2)
        else:
            stack = prepared.channels[region]
            found = predict_patches(stack[None], plan.grid(stack.shape[:-1], network.multiple), predict, prepared.background)[0]
        brain = prepared.brain[region]
        np.copyto(probabilities[region], found[..., : len(Label)], where=brain[..., None])
        if doubts is not None:
            np.copyto(doubts[region], found[..., len(Label)], where=brain)
        progress(n + 1, len(regions))
    return probabilities


def consult(prepared: Prepared, probabilities: Probabilities, network: NetworkShape, plan: PatchPlan, predict: Predict) -> None:
    """Averages a second network's probabilities into those of a first, in place, where the first gives tumour any chance.

    Elsewhere the mean would be background anyway, unless the second were all but certain of what the first excludes, so most of the
    brain need not go through the second network.

    Args:
        prepared: the normalised case, as both networks take it.
        probabilities: (I, J, K, 4), the first network's.
        network: what the second takes.
        plan: how to cut for it.
        predict: the second network.
    """
    suspected = probabilities[..., Label.BACKGROUND] < 1 - SUSPICION
    if suspected.any():
        second = predict_brain(replace(prepared, brain=suspected), network, plan, predict)
        probabilities[suspected] = (probabilities[suspected] + second[suspected]) / 2


def _with_neighbours(slices: Channels, region: tuple[slice, ...], neighbours: int, background: float) -> Channels:
    """Returns the slices (n, H, W, neighbouring slices x C) of a box of (K, I, J, C): each with its neighbours, lowest first, background beyond the volume."""
    *plane, slab = region
    if not neighbours:
        return slices[(slab, *plane)]
    count, depth = slab.stop - slab.start, len(slices)
    height, width, channels = slices[0][tuple(plane)].shape
    stack = np.empty((count, height, width, 2 * neighbours + 1, channels), np.float32)
    for place in range(2 * neighbours + 1):
        below = slab.start + place - neighbours
        low, high = np.clip((below, below + count), 0, depth)
        stack[: low - below, :, :, place] = stack[high - below :, :, :, place] = background
        stack[low - below : high - below, :, :, place] = slices[(slice(low, high), *plane)]
    return stack.reshape(count, height, width, -1)


def _regions(prepared: Prepared, network: NetworkShape, plan: PatchPlan) -> Iterator[tuple[slice, ...]]:
    """Boxes of the volume that hold all brain. `whole` may crop to brain and halo, for the answer is the same; patches keep the paper's lattice."""
    if network.kind == "volumes":
        yield box_with_halo(prepared.brain, network.halo, network.multiple) if plan.mode == "whole" else (slice(None),) * 3
        return
    for slab in slabs(prepared.brain, SLAB_SLICES):
        plane = np.asarray(prepared.brain[:, :, slab].any(axis=2))
        box = box_with_halo(plane, network.halo, network.multiple) if plan.mode == "whole" else (slice(None),) * 2
        yield (*box, slab)
