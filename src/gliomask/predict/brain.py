"""A network over a whole brain: slices or volumes, in whichever patches were asked for, only where there is brain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Channels, Probabilities, short_repr
from gliomask.errors import UsageError
from gliomask.labels import Label
from gliomask.predict.schedule import in_order
from gliomask.predict.sizes import Sizes
from gliomask.predict.tiles import (
    Fusion,
    PatchGrid,
    Predict,
    adjacent,
    box_with_halo,
    cut,
    overlapping,
    slabs,
    whole,
    widened,
    windows,
)
from gliomask.preprocess.channels import Prepared, Region
from gliomask.progress import Progress

InputKind = Literal["slices", "volumes"]
PATCHES = ("whole", "adjacent", "overlapping")
"""Ways of cutting, by the names of the command line."""

SLAB_SLICES = 8
"""Slices that go through the network together. They share one box, so thick slabs waste pixels near the top of the head
and take memory: the widest layers hold 106 to 128 features, 60 MB for each 4 slices."""


@dataclass(frozen=True)
class PatchPlan:
    """How slices or volumes are cut before they go through a network.

    Args:
        mode: `whole`, `adjacent` or `overlapping`.
        size: side of a patch, pixels; not used by `whole`.
        stride: for `overlapping`; None is the paper's half-patch offset.
        window: the only size that the network takes; `whole` then means windows over all of the brain's box. None for
            any size.
        slices: that go through the network together; None for `SLAB_SLICES`. Fewer take less memory.
    """

    mode: str = "whole"
    size: int = 64
    stride: int | None = None
    window: tuple[int, ...] | None = None
    slices: int | None = None

    def grid(self, shape: tuple[int, ...], multiple: int) -> PatchGrid:
        """The grid on an array of this shape.

        Raises:
            UsageError: unknown mode, or sizes that leave gaps.
        """
        if self.window is not None:
            if self.mode != "whole":
                size = " x ".join(map(str, self.window))
                raise UsageError(
                    f"This network takes windows of {size} and nothing else, so they cannot be cut '{self.mode}'. "
                    "Leave --patches out."
                )
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
class Box:
    """A box of the volume that goes through the network, and how it is cut.

    Args:
        region: a slice for each axis of the volume.
        grid: how the box is cut.
        items: slices in a batch, at least as many as the box has; those beyond are background, and what is said of them
            is dropped.
    """

    region: Region
    grid: PatchGrid
    items: int


@dataclass(frozen=True, eq=False)
class Tile:
    """A patch of one box of the brain, cut and ready for the network.

    Args:
        box: which.
        start: where the patch begins in the box, see `PatchGrid`.
        batch: (N, *size, C), what the network gets.
    """

    box: Box
    start: tuple[int, ...]
    batch: npt.NDArray[np.float32]

    __repr__ = short_repr


def predict_brain(
    prepared: Prepared,
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    progress: Progress = lambda done, total: None,
    doubts: npt.NDArray[np.float32] | None = None,
    in_flight: int = 1,
    sizes: Sizes | None = None,
) -> Probabilities:
    """Returns the probabilities of a whole volume; outside the brain it is background for certain.

    Args:
        prepared: the normalised case.
        network: what the network takes.
        plan: how to cut.
        predict: the network itself; called from several threads where more than one tile is in flight.
        progress: called with (boxes of the brain done, boxes in all).
        doubts: (I, J, K), gets what `predict` says of each voxel after the labels, see `flips.averaged_over_flips`;
            untouched outside the brain.
        in_flight: most tiles that are cut and not yet put back, see `schedule.in_order`. The result is the same bit for
            bit.
        sizes: which sizes of tiles the network has been given for this case; None for none yet.

    Returns:
        (I, J, K, 4) float32, axes as `prepared`.
    """
    # In memory label after label and slice after slice: of the tumour's labels the system then gives memory only where
    # there is brain.
    i, j, k = prepared.brain.shape
    probabilities = np.zeros((len(Label), k, i, j), np.float32).transpose(2, 3, 1, 0)
    probabilities[..., Label.BACKGROUND] = 1
    for region, probabilities_there in answers(prepared, network, plan, predict, progress, in_flight, sizes):
        brain = prepared.brain[region]
        np.copyto(probabilities[region], probabilities_there[..., : len(Label)], where=brain[..., None])
        if doubts is not None:
            np.copyto(doubts[region], probabilities_there[..., len(Label)], where=brain)
    return probabilities


def answers(
    prepared: Prepared,
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    progress: Progress = lambda done, total: None,
    in_flight: int = 1,
    sizes: Sizes | None = None,
) -> Iterator[tuple[Region, npt.NDArray[np.float32]]]:
    """Yields each box of the volume that holds brain with what the network says of it: (i, j, k, classes), also where
    there is none of the brain.

    See `predict_brain` for the arguments. Boxes do not overlap in what they hold of the brain.
    """
    boxes = _boxes(prepared, network, plan, sizes or Sizes())
    done, fusion = 0, None
    with closing(in_order(_tiles(prepared, network, boxes), lambda tile: predict(tile.batch), in_flight)) as stream:
        for tile, answer in stream:
            fusion = fusion or Fusion(tile.box.grid)
            fusion.add(tile.start, answer)
            if not fusion.complete:
                continue
            if network.kind == "slices":
                slab = tile.box.region[2]
                probabilities = np.moveaxis(fusion.mean()[: slab.stop - slab.start], 0, 2)
            else:
                probabilities = fusion.mean()[0]
            yield tile.box.region, probabilities
            done, fusion = done + 1, None
            progress(done, len(boxes))


def slice_batch(prepared: Prepared, network: NetworkShape, slab: slice) -> npt.NDArray[np.float32]:
    """Returns slices of a volume, whole, as a network of slices takes them: (n, H, W, neighbouring slices x C)."""
    height, width, _ = prepared.brain.shape
    region = (slice(0, height), slice(0, width), slab)
    grid = whole((height, width), network.multiple)
    return next(_tiles(prepared, network, [Box(region, grid, slab.stop - slab.start)])).batch


def _boxes(prepared: Prepared, network: NetworkShape, plan: PatchPlan, sizes: Sizes) -> list[Box]:
    """Boxes of the volume that hold all brain.

    `whole` may crop to brain and halo, for the answer is the same; patches keep the paper's lattice.
    """
    shape = prepared.brain.shape
    everywhere = slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    if network.kind == "volumes":
        box = box_with_halo(prepared.brain, network.halo, network.multiple) if plan.mode == "whole" else everywhere
        region: Region = (box[0], box[1], box[2])
        return [Box(region, plan.grid(_lengths(region), network.multiple), 1)]
    regions: list[Region] = []
    for slab in slabs(prepared.brain, plan.slices or SLAB_SLICES):
        plane = np.asarray(prepared.brain[:, :, slab].any(axis=2))
        i, j = box_with_halo(plane, network.halo, network.multiple) if plan.mode == "whole" else everywhere[:2]
        regions.append((i, j, slab))
    grids = [plan.grid(_lengths(region[:2]), network.multiple) for region in regions]
    if plan.mode != "whole" or plan.window is not None:
        return [Box(region, grid, _lengths(region)[2]) for region, grid in zip(regions, grids, strict=True)]
    wanted = [(_lengths(region)[2], *grid.size) for region, grid in zip(regions, grids, strict=True)]
    chosen = sizes.of(wanted)
    return [_grown(region, chosen[size], shape, network.multiple) for region, size in zip(regions, wanted, strict=True)]


def _grown(region: Region, size: tuple[int, ...], shape: tuple[int, ...], multiple: int) -> Box:
    """Returns a box of slices at a larger size: what is added is the volume round it where there is some, else
    background.
    """
    items, *sides = size
    i, j = (
        widened(part, side, length, multiple) for part, side, length in zip(region[:2], sides, shape[:2], strict=True)
    )
    return Box((i, j, region[2]), PatchGrid(_lengths((i, j)), tuple(sides), ((0, 0),)), items)


def _lengths(region: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)


def _tiles(prepared: Prepared, network: NetworkShape, boxes: list[Box]) -> Iterator[Tile]:
    """Yields the tiles of one box after the other; each box is laid out only when its first tile is asked for."""
    for box in boxes:
        stack = (
            _with_neighbours(prepared, box.region, network.neighbours)
            if network.kind == "slices"
            else prepared.channels[box.region][None]
        )
        for start in box.grid.starts:
            yield Tile(box, start, cut(stack, start, box.grid.size, prepared.background, box.items))


def _with_neighbours(prepared: Prepared, region: Region, neighbours: int) -> Channels:
    """Returns the slices (n, H, W, neighbouring slices x C) of a box: each with its neighbours, lowest first,
    background beyond the volume.
    """
    across, along, slab = region
    depth = prepared.brain.shape[2]
    low, high = max(0, slab.start - neighbours), min(depth, slab.stop + neighbours)
    slices = np.moveaxis(prepared.channels[across, along, slice(low, high)], 2, 0)
    if not neighbours:
        return slices
    count = slab.stop - slab.start
    stack = np.empty((count, *slices.shape[1:3], 2 * neighbours + 1, slices.shape[3]), np.float32)
    for place in range(2 * neighbours + 1):
        first = slab.start + place - neighbours
        start, stop = (int(end) for end in np.clip((first, first + count), 0, depth))
        stack[: start - first, :, :, place] = stack[stop - first :, :, :, place] = prepared.background
        stack[start - first : stop - first, :, :, place] = slices[start - low : stop - low]
    return stack.reshape(count, *slices.shape[1:3], -1)
