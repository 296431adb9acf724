"""A network over a whole brain: slices or volumes, in whichever patches were asked for, only where there is brain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Channels, Probabilities
from gliomask.errors import UsageError
from gliomask.labels import Label
from gliomask.predict.schedule import in_order
from gliomask.predict.tiles import Fusion, PatchGrid, Predict, adjacent, box_with_halo, cut, overlapping, slabs, whole, windows
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


@dataclass(frozen=True, eq=False)
class Tile:
    """A patch of one box of the brain, cut and ready for the network.

    Args:
        region: the box, a slice for each axis of the volume.
        grid: how the box is cut.
        start: where the patch begins in the box, see `PatchGrid`.
        batch: (N, *size, C), what the network gets.
    """

    region: tuple[slice, ...]
    grid: PatchGrid
    start: tuple[int, ...]
    batch: npt.NDArray[np.float32]


def predict_brain(
    prepared: Prepared,
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    progress: Callable[[int, int], None] = lambda done, total: None,
    doubts: npt.NDArray[np.float32] | None = None,
    in_flight: int = 1,
) -> Probabilities:
    """Returns the probabilities of a whole volume; outside the brain it is background for certain.

    Args:
        prepared: the normalised case.
        network: what the network takes.
        plan: how to cut.
        predict: the network itself; called from several threads where more than one tile is in flight.
        progress: called with (boxes of the brain done, boxes in all).
        doubts: (I, J, K), gets what `predict` says of each voxel after the labels, see `flips.averaged_over_flips`; untouched outside the brain.
        in_flight: most tiles that are cut and not yet put back, see `schedule.in_order`. The result is the same bit for bit.

    Returns:
        (I, J, K, 4) float32, axes as `prepared`.
    """
    probabilities = np.zeros((*prepared.brain.shape, len(Label)), np.float32)
    probabilities[..., Label.BACKGROUND] = 1
    regions = list(_regions(prepared, network, plan))
    done, fusion = 0, None
    with closing(in_order(_tiles(prepared, network, plan, regions), lambda tile: predict(tile.batch), in_flight)) as answers:
        for tile, answer in answers:
            fusion = fusion or Fusion(tile.grid)
            fusion.add(tile.start, answer)
            if not fusion.complete:
                continue
            found = np.moveaxis(fusion.mean(), 0, 2) if network.kind == "slices" else fusion.mean()[0]
            brain = prepared.brain[tile.region]
            np.copyto(probabilities[tile.region], found[..., : len(Label)], where=brain[..., None])
            if doubts is not None:
                np.copyto(doubts[tile.region], found[..., len(Label)], where=brain)
            done, fusion = done + 1, None
            progress(done, len(regions))
    return probabilities


def _tiles(prepared: Prepared, network: NetworkShape, plan: PatchPlan, regions: list[tuple[slice, ...]]) -> Iterator[Tile]:
    """Yields the tiles of one box after the other; each box is laid out only when its first tile is asked for."""
    for region in regions:
        if network.kind == "slices":
            stack = _with_neighbours(np.moveaxis(prepared.channels, 2, 0), region, network.neighbours, prepared.background)
        else:
            stack = prepared.channels[region][None]
        grid = plan.grid(stack.shape[1:-1], network.multiple)
        for start in grid.starts:
            yield Tile(region, grid, start, cut(stack, start, grid.size, prepared.background))


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
