"""Tiles: grids of patches that cover a slice or a volume, and the fusing of what a network says of each patch.

The same code serves planes and volumes: a grid has as many axes as the network's input has. All starts are even,
because the networks pool by two and see another image when it is shifted by one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.errors import UsageError

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""A network: (N, *size, C) float32 to probabilities (N, *size, classes)."""

MAX_PATCH = 1024
"""Side of the largest patch, pixels; windows of networks that take one size may have as many."""


@dataclass(frozen=True)
class PatchGrid:
    """Where patches lie on an array of pixels or voxels.

    Args:
        shape: of the array, two or three axes.
        size: of every patch.
        starts: first index of each patch on each axis; a patch may reach beyond the array, where there is background.
        margin: pixels along each side of a patch that are not used, except at the array's own border.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    margin: int = 0

    def kept(self, start: tuple[int, ...]) -> tuple[slice, ...]:
        """The part of the array for which the patch at `start` is used."""
        bounds = []
        for first, size, length in zip(start, self.size, self.shape, strict=True):
            low = 0 if first <= 0 else first + self.margin
            high = length if first + size >= length else first + size - self.margin
            bounds.append(slice(low, max(low, high)))
        return tuple(bounds)

    def coverage(self) -> npt.NDArray[np.int32]:
        """How many patches are used at each pixel; never 0 for the grids made here."""
        count = np.zeros(self.shape, np.int32)
        for start in self.starts:
            count[self.kept(start)] += 1
        return count


def whole(shape: tuple[int, ...], multiple: int = 2) -> PatchGrid:
    """One patch: the array itself, with its sides rounded up to what the network's pooling needs."""
    return PatchGrid(shape, tuple(-(-length // multiple) * multiple for length in shape), ((0,) * len(shape),))


def adjacent(shape: tuple[int, ...], size: int) -> PatchGrid:
    """Patches side by side; the last ones reach beyond the array (240 is 3.75 patches of 64)."""
    return lattice(shape, size, size)


def overlapping(shape: tuple[int, ...], size: int, stride: int | None = None, margin: int = 0) -> PatchGrid:
    """Patches that overlap.

    Args:
        shape: of the array.
        size: side of a patch.
        stride: distance between neighbours. None is the paper's arrangement, read from its graphical abstract: the
            adjacent patches, and one more centred on every corner that four of them (in a volume: eight) share.
        margin: pixels along each side of a patch that are left out where another patch covers them; needs size - 2
            margin >= stride.
    """
    if stride is not None:
        return lattice(shape, size, stride, margin)
    _check(size, size, margin)
    half = size // 2
    _check(size, half, 0)
    shifted = product(*[range(half, length - half, size) for length in shape])
    return PatchGrid(shape, (size,) * len(shape), (*adjacent(shape, size).starts, *shifted), margin)


def lattice(shape: tuple[int, ...], size: int, stride: int, margin: int = 0) -> PatchGrid:
    """Patches at every multiple of `stride` until the array is covered.

    Raises:
        UsageError: size or stride is odd or not positive, or the kept parts would leave gaps.
    """
    _check(size, stride, margin)
    axes = [range(0, max(length - size + stride, 1), stride) for length in shape]
    return PatchGrid(shape, (size,) * len(shape), tuple(product(*axes)), margin)


def windows(shape: tuple[int, ...], size: tuple[int, ...]) -> PatchGrid:
    """Windows of one size, half overlapping and spread evenly from one end of the array to the other, for networks that
    take no other size.

    As nnU-Net spreads its sliding windows: no window leaves the array, unless the array is smaller than one.
    """
    axes = []
    for length, side in zip(shape, size, strict=True):
        room = max(length - side, 0)
        count = -(-room // max(side // 2, 1)) + 1
        axes.append([room * n // (count - 1) for n in range(count)] if count > 1 else [0])
    return PatchGrid(shape, size, tuple(product(*axes)))


def _check(size: int, stride: int, margin: int) -> None:
    if size > MAX_PATCH:
        raise UsageError(
            f"Patches of {size:,} pixels were asked for; they may have up to {MAX_PATCH:,}. Larger ones are larger "
            "than any scan."
        )
    if size < 2 or size % 2 or stride < 2 or stride % 2 or margin < 0:
        raise UsageError(
            f"Patch size and stride must be even and at least 2, the margin not negative; got size {size}, stride "
            f"{stride}, margin {margin}."
        )
    if stride > size - 2 * margin:
        raise UsageError(
            f"Patches of {size} with a margin of {margin} leave gaps at a stride of {stride}. The stride may be at "
            f"most {size - 2 * margin}."
        )


class Fusion:
    """The mean of what a network says of the patches of a grid, where patches overlap.

    Args:
        grid: where the patches lie.
    """

    def __init__(self, grid: PatchGrid) -> None:
        self._grid = grid
        self._left = len(grid.starts)
        self._total: npt.NDArray[np.float32] | None = None

    @property
    def complete(self) -> bool:
        """Whether every patch of the grid has been added."""
        return self._left == 0

    def add(self, start: tuple[int, ...], probabilities: npt.NDArray[np.float32]) -> None:
        """Adds the probabilities (N, *size, classes) of the patch at `start`.

        Sums depend on the order, in their last bits.
        """
        grid = self._grid
        self._left -= 1
        if grid.starts == ((0,) * len(grid.shape),):
            self._total = probabilities[(slice(None), *map(slice, grid.shape))]
            return
        if self._total is None:
            self._total = np.zeros((len(probabilities), *grid.shape, probabilities.shape[-1]), np.float32)
        kept = grid.kept(start)
        within = tuple(slice(k.start - first, k.stop - first) for k, first in zip(kept, start, strict=True))
        self._total[(slice(None), *kept)] += probabilities[(slice(None), *within)]
        if self.complete:
            self._total /= grid.coverage()[..., None]

    def mean(self) -> npt.NDArray[np.float32]:
        """Returns (N, *grid.shape, classes) probabilities; each pixel's weights sum to one.

        Raises:
            UsageError: the grid has no patches, or some have not been added.
        """
        if self._total is None or not self.complete:
            raise UsageError(
                f"{self._left} of {len(self._grid.starts)} patches are missing, so there is no mean of them."
            )
        return self._total


def cut(
    stack: npt.NDArray[np.float32],
    start: tuple[int, ...],
    size: tuple[int, ...],
    background: float,
    items: int | None = None,
) -> npt.NDArray[np.float32]:
    """Returns the patch (N, *size, C) that begins at `start`, filled with background where it leaves the array.

    Args:
        stack: (n, *shape, C).
        start: first index of the patch along each axis.
        size: of the patch.
        background: what lies beyond the array.
        items: N; those beyond n are background. None for n.
    """
    items = len(stack) if items is None else items
    inside = tuple(
        slice(first, min(first + length, limit))
        for first, length, limit in zip(start, size, stack.shape[1:-1], strict=True)
    )
    part = stack[(slice(None), *inside)]
    if part.shape[:-1] == (items, *size):
        return np.ascontiguousarray(part)
    patch = np.full((items, *size, stack.shape[-1]), background, np.float32)
    patch[(slice(0, len(part)), *(slice(0, length) for length in part.shape[1:-1]))] = part
    return patch


def slabs(mask: npt.NDArray[np.bool_], thickness: int) -> Iterator[slice]:
    """Yields runs of at most `thickness` slices along the last axis of a (I, J, K) mask that together hold all its True
    voxels.

    The first and the last slice of each run hold some.
    """
    filled: npt.NDArray[Any] = np.flatnonzero(mask.any(axis=(0, 1)))
    while len(filled):
        run, filled = filled[filled < filled[0] + thickness], filled[filled >= filled[0] + thickness]
        yield slice(int(run[0]), int(run[-1]) + 1)


def widened(part: slice, side: int, length: int, multiple: int) -> slice:
    """Returns a part of an axis widened to a side, as far as the axis goes; it still starts at a multiple.

    Args:
        part: starts at a multiple.
        side: at least the part's own length, a multiple.
        length: of the axis.
        multiple: of the network's pooling, see `box_with_halo`.
    """
    start = min(part.start, -(-max(length - side, 0) // multiple) * multiple)
    return slice(start, min(length, start + side))


def box_with_halo(mask: npt.NDArray[np.bool_], halo: int, multiple: int) -> tuple[slice, ...]:
    """Returns the box of a mask's True pixels, widened by `halo` and cut at the array's border.

    Its start is a multiple of `multiple`, so that pooling inside the box falls on the same pixels as in the whole
    array: what a network with a receptive field of at most 2 x halo says of the mask's pixels is the same in the box as
    in the whole.
    """
    box = []
    for axis, length in enumerate(mask.shape):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        low = max(0, int(filled[0]) - halo) // multiple * multiple
        high = min(length, -(-(int(filled[-1]) + 1 + halo) // multiple) * multiple)
        box.append(slice(low, high))
    return tuple(box)
