"""Drawing training patches: which patient, which slice, which pixel; and cutting them, warped or straight.

Equal sampling (Ben Naceur et al. 2020; the counting rule is ours, the published code has none): in every epoch each patient gives the
same number of patches for each class, the class of a patch being that of its centre pixel, background centres lying inside the brain. A class that a
patient does not have is left out for that patient and not replaced, so that no patient weighs more than another within a class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Channels, LabelMap, Mask
from gliomask.errors import CaseError
from gliomask.labels import Label


@dataclass(frozen=True, eq=False)
class SliceStack:
    """One labelled case laid out for drawing patches: slices first.

    Args:
        case_id: for messages and tables.
        slices: (K, I, J, C) float16 normalised sequences.
        labels: (K, I, J) uint8 `Label`.
        centres: for each class, the flat indices (int32, into K x I x J) of the pixels a patch may be centred on.
        background: value of the channels outside the brain and outside the field of view.
        origin: where (i, j) 0 of these slices, which are cropped, lies in the scan's own slices.
    """

    case_id: str
    slices: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint8]
    centres: tuple[npt.NDArray[np.int32], ...]
    background: float
    origin: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, case_id: str, channels: Channels, label_map: LabelMap, brain: Mask, background: float) -> SliceStack:
        """Lays out a case, cropped to the box of its brain.

        Args:
            case_id: for messages.
            channels: (I, J, K, C), as `preprocess.channels.prepare` returns them.
            label_map: (I, J, K), on the same axes.
            brain: (I, J, K).
            background: value outside the brain.

        Raises:
            CaseError: the reference has no tumour.
        """
        if not label_map.any():
            raise CaseError(f"Case {case_id}: its reference label map has no tumour voxel; it cannot be trained on.")
        inside = brain | (label_map > 0)
        box = tuple(slice(found.min(), found.max() + 1) for found in np.nonzero(inside))
        slices = np.ascontiguousarray(np.moveaxis(channels[box], 2, 0), np.float16)
        labels = np.ascontiguousarray(np.moveaxis(label_map[box], 2, 0))
        within = np.moveaxis(inside[box], 2, 0)
        centres = tuple(np.flatnonzero((labels == label) & within).astype(np.int32) for label in Label)
        return cls(case_id, slices, labels, centres, background, (int(box[0].start), int(box[1].start)))


@dataclass(frozen=True)
class Draw:
    """One patch to cut: which case, and its centre as (k, i, j)."""

    case: int
    centre: tuple[int, int, int]


def equal_draws(cases: list[SliceStack], per_class: int, generator: np.random.Generator) -> Iterator[Draw]:
    """Yields one epoch of equal sampling, shuffled: `per_class` patches for each case and each class that it has.

    Args:
        cases: the training patients.
        per_class: patches per patient and class.
        generator: source of all randomness; the same state gives the same draws.
    """
    turns = [(case, label) for case, stack in enumerate(cases) for label in Label for _ in range(per_class) if len(stack.centres[label])]
    for turn in generator.permutation(len(turns)):
        case, label = turns[turn]
        yield _draw(cases, case, cases[case].centres[label], generator)


def uniform_draws(cases: list[SliceStack], per_class: int, generator: np.random.Generator) -> Iterator[Draw]:
    """Yields as many patches as `equal_draws`, centred anywhere in the brain: the plain sampling that equal sampling is compared with."""
    count = sum(per_class for stack in cases for label in Label if len(stack.centres[label]))
    for case in generator.permutation(np.arange(count) % len(cases)):
        centres = cases[case].centres
        index = int(generator.integers(sum(map(len, centres))))
        for pixels in centres:
            if index < len(pixels):
                yield _draw(cases, int(case), pixels[index : index + 1], generator)
                break
            index -= len(pixels)


def _draw(cases: list[SliceStack], case: int, pixels: npt.NDArray[np.int32], generator: np.random.Generator) -> Draw:
    flat = int(pixels[generator.integers(len(pixels))])
    k, i, j = np.unravel_index(flat, cases[case].labels.shape)
    return Draw(case, (int(k), int(i), int(j)))


SAMPLERS = {"equal": equal_draws, "uniform": uniform_draws}
"""Each way of drawing an epoch's patches, by name."""


def place(draw: Draw, stack: SliceStack, placement: str, size: int, generator: np.random.Generator) -> Draw:
    """Returns the patch that holds a drawn pixel, by where patches may lie; the chance of a pixel, and so of a class, is the sampler's.

    The paper compares patches side by side with overlapping ones; its graphical abstract shows the latter as centred on the corners that four
    adjacent ones share, and `gliomask.predict.tiles.overlapping` cuts a slice in the same way. How its patches were chosen from these was not published.

    Args:
        draw: the pixel.
        stack: its case.
        placement: `centred`, on the pixel; `jittered`, up to a quarter of a patch away from it along each axis, for networks that see the
            border of their patches and could learn that what they look for lies in the middle; `adjacent`, the tile of the scan's slice that
            holds it; `overlapping`, that tile or the one of the grid that is shifted by half a patch, evenly.
        size: height and width of a patch.
        generator: source of randomness, used by `jittered` and `overlapping`.
    """
    if placement == "centred":
        return draw
    if placement == "jittered":
        k, i, j = draw.centre
        shift_i, shift_j = generator.integers(-(size // 4), size // 4 + 1, 2)
        return Draw(draw.case, (k, i + int(shift_i), j + int(shift_j)))
    shift = size // 2 * int(generator.integers(2)) if placement == "overlapping" else 0
    k, *pixel = draw.centre
    i, j = ((index + origin - shift) // size * size + shift + size // 2 - origin for index, origin in zip(pixel, stack.origin, strict=True))
    return Draw(draw.case, (k, i, j))


def cut_patch(
    stack: SliceStack, centre: tuple[int, int, int], size: int, matrix: npt.NDArray[np.float64], neighbours: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Cuts a patch round a centre through a linear map of the plane: identity, rotation, scaling, flips.

    Sequences are interpolated linearly, labels take the nearest pixel; beyond the slice lies background.

    Args:
        stack: the case.
        centre: (k, i, j), which becomes pixel (size // 2, size // 2) of the patch.
        size: height and width of the patch.
        matrix: (2, 2), from patch offsets to slice offsets, both in pixels.
        neighbours: slices on each side that are cut with it.

    Returns:
        (size, size, slices x C) float32, the lowest slice's sequences first, and (size, size) uint8 labels of the middle slice.
    """
    k, i, j = centre
    offsets = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij")).reshape(2, -1)
    points = matrix @ grid + np.array([[i], [j]], np.float64)
    labels = _nearest(stack.labels[k], points).reshape(size, size)
    if np.isin(matrix, (-1.0, 0.0, 1.0)).all():
        channels = _pixels(_slab(stack, k, neighbours), np.rint(points).astype(np.intp), stack.background)
    else:
        channels = _bilinear(_slab(stack, k, neighbours), points, stack.background)
    return channels.reshape(size, size, -1), labels


def _slab(stack: SliceStack, k: int, neighbours: int) -> npt.NDArray[np.float32]:
    """A slice and its neighbours as one plane of (I, J, slices x C) float32; background where the stack ends."""
    depth = len(stack.slices)
    air = np.full(stack.slices.shape[1:], stack.background, np.float16)
    slab = [stack.slices[n] if 0 <= n < depth else air for n in range(k - neighbours, k + neighbours + 1)]
    return np.concatenate(slab, axis=-1, dtype=np.float32)


def _nearest(plane: npt.NDArray[np.uint8], points: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    index = np.rint(points).astype(np.intp)
    inside = _inside(plane.shape, index)
    return np.where(inside, plane[tuple(np.clip(index, 0, np.array(plane.shape)[:, None] - 1))], np.uint8(Label.BACKGROUND))


def _pixels(plane: npt.NDArray[np.float32], index: npt.NDArray[np.intp], background: float) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = plane[tuple(np.clip(index, 0, np.array(plane.shape[:2])[:, None] - 1))]
    values[~_inside(plane.shape[:2], index)] = background
    return values


def _bilinear(plane: npt.NDArray[np.float32], points: npt.NDArray[np.float64], background: float) -> npt.NDArray[np.float32]:
    low = np.floor(points).astype(np.intp)
    di, dj = (points - low).astype(np.float32)[..., None]
    result: npt.NDArray[np.float32] = (1 - di) * (1 - dj) * _pixels(plane, low, background)
    result += (1 - di) * dj * _pixels(plane, low + np.array([[0], [1]]), background)
    result += di * (1 - dj) * _pixels(plane, low + np.array([[1], [0]]), background)
    result += di * dj * _pixels(plane, low + 1, background)
    return result


def _inside(shape: tuple[int, ...], index: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = np.logical_and.reduce([(axis >= 0) & (axis < size) for axis, size in zip(index, shape, strict=True)])
    return inside
