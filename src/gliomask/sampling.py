"""Drawing training patches: which patient, which slice, which pixel; and cutting them, warped or straight.

Equal sampling (Ben Naceur et al. 2020; the counting rule is ours, the published code has none): in every epoch each
patient gives the same number of patches for each class, the class of a patch being that of its centre pixel, background
centres lying inside the brain. A class that a patient does not have is left out for that patient and not replaced, so
that no patient weighs more than another within a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Channels, LabelMap, Mask
from gliomask.errors import CaseError
from gliomask.labels import Label, Region
from gliomask.planes import STACK_AXES, Plane


@dataclass(frozen=True, eq=False)
class SliceStack:
    """One labelled case laid out for drawing patches: slices first.

    Args:
        case_id: for messages and tables.
        slices: (K, I, J, C) float16 normalised sequences.
        labels: (K, I, J) uint8 `Label`.
        centres: for each class, the flat indices (int32, into K x I x J) of the pixels a patch may be centred on.
        background: value of the channels outside the brain and outside the field of view.
        origin: where (k, i, j) 0 of these slices, which are cropped, lies in the scan.
    """

    case_id: str
    slices: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint8]
    centres: tuple[npt.NDArray[np.int32], ...]
    background: float
    origin: tuple[int, int, int] = (0, 0, 0)

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
        box = tuple(slice(positions.min(), positions.max() + 1) for positions in np.nonzero(inside))
        slices = np.ascontiguousarray(np.moveaxis(channels[box], 2, 0), np.float16)
        labels = np.ascontiguousarray(np.moveaxis(label_map[box], 2, 0))
        within = np.moveaxis(inside[box], 2, 0)
        centres = tuple(np.flatnonzero((labels == label) & within).astype(np.int32) for label in Label)
        return cls(
            case_id, slices, labels, centres, background, (int(box[2].start), int(box[0].start), int(box[1].start))
        )

    def along(self, plane: Plane) -> SliceStack:
        """Returns the same case as a stack of the slices of another plane: a view, without `centres`.

        Slices follow each other along the plane's normal; their rows and columns are the other two axes in the order I,
        J, K.
        """
        if plane == Plane.AXIAL:
            return self
        axes = STACK_AXES[plane]
        origin = (self.origin[axes[0]], self.origin[axes[1]], self.origin[axes[2]])
        return replace(
            self, slices=self.slices.transpose(*axes, 3), labels=self.labels.transpose(axes), centres=(), origin=origin
        )


@dataclass(frozen=True)
class Draw:
    """One patch to cut: which case, and its centre as (k, i, j)."""

    case: int
    centre: tuple[int, int, int]

    def along(self, plane: Plane) -> Draw:
        """Returns the same draw with its centre in the axes of `SliceStack.along`."""
        first, second, third = (self.centre[axis] for axis in STACK_AXES[plane])
        return Draw(self.case, (first, second, third))


def equal_draws(cases: list[SliceStack], per_class: int, generator: np.random.Generator) -> Iterator[Draw]:
    """Yields one epoch of equal sampling, shuffled: `per_class` patches for each case and each class that it has.

    Args:
        cases: the training patients.
        per_class: patches per patient and class.
        generator: source of all randomness; the same state gives the same draws.
    """
    turns = [
        (case, label)
        for case, stack in enumerate(cases)
        for label in Label
        for _ in range(per_class)
        if len(stack.centres[label])
    ]
    for turn in generator.permutation(len(turns)):
        case, label = turns[turn]
        yield _draw(cases, case, cases[case].centres[label], generator)


def uniform_draws(cases: list[SliceStack], per_class: int, generator: np.random.Generator) -> Iterator[Draw]:
    """Yields as many patches as `equal_draws`, centred anywhere in the brain: the plain sampling that equal sampling is
    compared with.
    """
    count = sum(per_class for stack in cases for label in Label if len(stack.centres[label]))
    for case in generator.permutation(np.arange(count) % len(cases)):
        yield _draw_of(cases, int(case), cases[case].centres, generator)


def region_draws(
    cases: list[SliceStack],
    per_class: int,
    generator: np.random.Generator,
    weights: npt.NDArray[np.float64] | None = None,
) -> Iterator[Draw]:
    """Yields as many patches as four classes of every patient would have: a quarter each about a voxel of WT, TC, ET,
    and anywhere in the brain's box.

    Patients are drawn with replacement. A region that the patient drawn does not have is replaced by anywhere in the
    box, which keeps patients without enhancement as frequent as the others.

    Args:
        cases: the training patients.
        per_class: patches per patient and region, in the mean.
        generator: source of randomness.
        weights: how often each patient is drawn, against the others; None: all alike.
    """
    chances = None if weights is None else weights / weights.sum()
    for case in generator.choice(len(cases), per_class * (len(Region) + 1) * len(cases), p=chances):
        stack = cases[int(case)]
        turn = int(generator.integers(len(Region) + 1))
        groups = [stack.centres[label] for label in list(Region)[turn].labels] if turn < len(Region) else []
        if any(map(len, groups)):
            yield _draw_of(cases, int(case), groups, generator)
        else:
            k, i, j = (int(generator.integers(length)) for length in stack.labels.shape)
            yield Draw(int(case), (k, i, j))


def _draw_of(
    cases: list[SliceStack], case: int, groups: Iterable[npt.NDArray[np.int32]], generator: np.random.Generator
) -> Draw:
    """A draw from several groups of pixels, each pixel as likely as any other; one of the groups must hold some."""
    groups = list(groups)
    index = int(generator.integers(sum(map(len, groups))))
    for pixels in groups:
        if index < len(pixels):
            return _draw(cases, case, pixels[index : index + 1], generator)
        index -= len(pixels)
    raise AssertionError("unreachable: the index lies in one of the groups")


def _draw(cases: list[SliceStack], case: int, pixels: npt.NDArray[np.int32], generator: np.random.Generator) -> Draw:
    flat = int(pixels[generator.integers(len(pixels))])
    k, i, j = np.unravel_index(flat, cases[case].labels.shape)
    return Draw(case, (int(k), int(i), int(j)))


SAMPLERS = {"equal": equal_draws, "uniform": uniform_draws}
"""Ways of drawing an epoch's patches in which all patients weigh alike, by name."""


def place(
    draw: Draw, stack: SliceStack, placement: str, size: int, generator: np.random.Generator, jitter: int | None = None
) -> Draw:
    """Returns the patch that holds a drawn pixel, by where patches may lie; the chance of a pixel, and so of a class,
    is the sampler's.

    The paper compares patches side by side with overlapping ones; its graphical abstract shows the latter as centred on
    the corners that four adjacent ones share, and `gliomask.predict.tiles.overlapping` cuts a slice in the same way.
    How its patches were chosen from these was not published.

    Args:
        draw: the pixel.
        stack: its case.
        placement: `centred`, on the pixel; `jittered`, up to `jitter` away from it along each axis, for networks that
            see the border of their patches and could learn that what they look for lies in the middle; `inside`, the
            same, but moved so that the patch does not leave the brain's box where that is large enough; `adjacent`, the
            tile of the scan's slice that holds it; `overlapping`, that tile or the one of the grid that is shifted by
            half a patch, evenly.
        size: height and width of a patch.
        generator: source of randomness, used by all but `centred` and `adjacent`.
        jitter: pixels; None: a quarter of a patch.
    """
    if placement == "centred":
        return draw
    if placement in ("jittered", "inside"):
        k, i, j = draw.centre
        reach = size // 4 if jitter is None else jitter
        shift_i, shift_j = generator.integers(-reach, reach + 1, 2)
        i, j = i + int(shift_i), j + int(shift_j)
        if placement == "inside":
            i, j = (
                _moved_inside(centre, length, size)
                for centre, length in zip((i, j), stack.labels.shape[1:], strict=True)
            )
        return Draw(draw.case, (k, i, j))
    shift = size // 2 * int(generator.integers(2)) if placement == "overlapping" else 0
    k, *pixel = draw.centre
    i, j = (
        (index + origin - shift) // size * size + shift + size // 2 - origin
        for index, origin in zip(pixel, stack.origin[1:], strict=True)
    )
    return Draw(draw.case, (k, i, j))


def _moved_inside(centre: int, length: int, size: int) -> int:
    """The nearest centre of a patch that stays on an axis; the middle of an axis shorter than the patch."""
    low = centre - size // 2
    room = length - size
    return (min(max(low, 0), room) if room >= 0 else room // 2) + size // 2


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
        (size, size, slices x C) float32, the lowest slice's sequences first, and (size, size) uint8 labels of the
            middle slice.
    """
    k, i, j = centre
    if np.isin(matrix, (-1.0, 0.0, 1.0)).all():
        return _cut_straight(stack, centre, size, matrix, neighbours)
    offsets = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij")).reshape(2, -1)
    points = matrix @ grid + np.array([[i], [j]], np.float64)
    labels = _nearest(stack.labels[k], points).reshape(size, size)
    # Only the pixels that the patch may fall on are made float32: most of the time goes into that.
    low = np.floor(points.min(axis=1)).astype(np.intp).clip(0, np.array(stack.labels.shape[1:]) - 1)
    high = np.ceil(points.max(axis=1)).astype(np.intp).clip(0, np.array(stack.labels.shape[1:]) - 1) + 1
    if (low > 0).any() or (high < stack.labels.shape[1:]).any():
        # One pixel of true surroundings on each side, so that what lies beyond the cut is not taken for background.
        low, high = np.maximum(low - 2, 0), np.minimum(high + 2, stack.labels.shape[1:])
    slab = _slab(stack, k, neighbours, slice(low[0], high[0]), slice(low[1], high[1]))
    return _bilinear(slab, points - low[:, None], stack.background).reshape(size, size, -1), labels


def _cut_straight(
    stack: SliceStack, centre: tuple[int, int, int], size: int, matrix: npt.NDArray[np.float64], neighbours: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """The same for a matrix of turns by right angles and mirrors: no pixel is interpolated."""
    k, *pixel = centre
    swapped = matrix[0, 0] == 0
    ranges, steps = [], []
    for axis, (index, length) in enumerate(zip(pixel, stack.labels.shape[1:], strict=True)):
        sign = matrix[axis].sum()
        first = index - size // 2 if sign > 0 else index + size // 2 - size + 1
        ranges.append((max(first, 0), max(min(first + size, length), 0), first))
        steps.append(int(sign))
    window = tuple(slice(low, max(low, high)) for low, high, _ in ranges)
    place = tuple(
        slice(w.start - first, w.stop - first) if w.stop > w.start else slice(0, 0)
        for w, (_, _, first) in zip(window, ranges, strict=True)
    )
    slab = _slab(stack, k, neighbours, *window)
    channels = np.full((size, size, slab.shape[-1]), stack.background, np.float32)
    labels = np.full((size, size), Label.BACKGROUND, np.uint8)
    if slab.size:
        channels[place], labels[place] = slab, stack.labels[k][window]
    channels, labels = channels[:: steps[0], :: steps[1]], labels[:: steps[0], :: steps[1]]
    return (channels.transpose(1, 0, 2), labels.T) if swapped else (channels, labels)


def _slab(stack: SliceStack, k: int, neighbours: int, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
    """Part of a slice and of its neighbours as one plane of (I, J, slices x C) float32; background where the stack
    ends.
    """
    sequences = stack.slices.shape[3]
    part = stack.slices[max(k - neighbours, 0) : k + neighbours + 1, rows, columns]
    slab = np.full((*part.shape[1:3], 2 * neighbours + 1, sequences), stack.background, np.float32)
    first = max(neighbours - k, 0)
    slab[:, :, first : first + len(part)] = part.transpose(1, 2, 0, 3)
    return slab.reshape(*part.shape[1:3], (2 * neighbours + 1) * sequences)


def _nearest(plane: npt.NDArray[np.uint8], points: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    index = np.rint(points).astype(np.intp)
    inside = _inside(plane.shape, index)
    return np.where(
        inside, plane[tuple(np.clip(index, 0, np.array(plane.shape)[:, None] - 1))], np.uint8(Label.BACKGROUND)
    )


def _pixels(plane: npt.NDArray[np.float32], index: npt.NDArray[np.intp], background: float) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = plane[tuple(np.clip(index, 0, np.array(plane.shape[:2])[:, None] - 1))]
    values[~_inside(plane.shape[:2], index)] = background
    return values


def _bilinear(
    plane: npt.NDArray[np.float32], points: npt.NDArray[np.float64], background: float
) -> npt.NDArray[np.float32]:
    low = np.floor(points).astype(np.intp)
    di, dj = (points - low).astype(np.float32)[..., None]
    result: npt.NDArray[np.float32] = (1 - di) * (1 - dj) * _pixels(plane, low, background)
    result += (1 - di) * dj * _pixels(plane, low + np.array([[0], [1]]), background)
    result += di * (1 - dj) * _pixels(plane, low + np.array([[1], [0]]), background)
    result += di * dj * _pixels(plane, low + 1, background)
    return result


def _inside(shape: tuple[int, ...], index: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = np.logical_and.reduce(
        [(axis >= 0) & (axis < size) for axis, size in zip(index, shape, strict=True)]
    )
    return inside
