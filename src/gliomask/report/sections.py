"""Sections through a case as pictures: cut on LPS axes, scaled to the millimetre, labels laid over them.

Sections look as radiologists hang them: the patient's right is on the left of an axial or coronal picture, the face on
the left of a sagittal one, the top of the head up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image

from gliomask.arrays import LabelMap, Mask, Volume
from gliomask.colours import PALETTE
from gliomask.labels import Label

DISPLAY_ORIENTATION = "LPS"
"""Axes of every volume here: I to the left, J to posterior, K to superior."""

WINDOW_PERCENTILES = (1.0, 99.5)
"""Intensities of the brain that become black and white."""

FILL_ALPHA = 0.13
"""How much a label tints what it covers: the anatomy stays readable."""

OVERSAMPLING = 2
"""Labels are drawn at so many times the resolution and averaged, for smooth lines."""

CONTOUR_FILTER_PIXELS = 5
"""Window, oversampled pixels, in which a change of label draws a line: two on either side, one of the picture."""

T = TypeVar("T", bound=np.generic)

Picture = npt.NDArray[np.uint8]
"""(height, width, 3) red, green, blue."""


@dataclass(frozen=True)
class SectionPlane:
    """One way of cutting.

    Args:
        name: for captions.
        normal: axis that is cut through.
        across: axis that runs from left to right in the picture.
        down: axis that runs from top to bottom, or from bottom to top if `upwards`.
        upwards: True where the down axis grows to superior.
        marks: letters of the directions at the left, right, top and bottom edge.
    """

    name: str
    normal: int
    across: int
    down: int
    upwards: bool
    marks: tuple[str, str, str, str]


AXIAL = SectionPlane("axial", 2, 0, 1, False, ("R", "L", "A", "P"))
CORONAL = SectionPlane("coronal", 1, 0, 2, True, ("R", "L", "S", "I"))
SAGITTAL = SectionPlane("sagittal", 0, 1, 2, True, ("A", "P", "S", "I"))


@dataclass(frozen=True)
class SectionBox:
    """The part of a volume that is shown, and how large.

    Args:
        start: first voxel along I, J, K.
        stop: one past the last.
        spacing_mm: distance between voxels along I, J, K.
        pixels_per_mm: the same along all axes, so that anisotropic voxels keep their shape.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    pixels_per_mm: float

    def extent_mm(self, axis: int) -> float:
        """Length along an axis."""
        return (self.stop[axis] - self.start[axis]) * self.spacing_mm[axis]

    def size(self, plane: SectionPlane) -> tuple[int, int]:
        """Width and height of a section's picture, pixels."""
        width, height = (
            max(1, round(self.extent_mm(axis) * self.pixels_per_mm)) for axis in (plane.across, plane.down)
        )
        return width, height

    def position(self, plane: SectionPlane, at: tuple[int, int, int]) -> tuple[float, float]:
        """Where in a section's picture the centre of a voxel lies: from the left and from the top, as shares of its
        size.
        """
        left, top = (
            (at[axis] + 0.5 - self.start[axis]) / (self.stop[axis] - self.start[axis])
            for axis in (plane.across, plane.down)
        )
        return left, 1 - top if plane.upwards else top

    def cut(self, volume: npt.NDArray[T], plane: SectionPlane, index: int) -> npt.NDArray[T]:
        """Returns one section, (rows, columns) as in the picture."""
        ranges = [slice(low, high) for low, high in zip(self.start, self.stop, strict=True)]
        ranges[plane.normal] = slice(index, index + 1)
        section = volume[tuple(ranges)].squeeze(plane.normal).T
        return section[::-1] if plane.upwards else section


def window(volume: Volume, brain: Mask) -> tuple[float, float]:
    """Returns the intensities shown as black and white, judged by every eighth voxel; apart even where the brain is
    constant.
    """
    thinned = (slice(None, None, 2),) * 3
    values = volume[thinned][brain[thinned]]
    low, high = np.percentile(values if values.size else volume[brain], WINDOW_PERCENTILES)
    return float(low), float(high) if high > low else float(low) + 1


def draw_section(
    box: SectionBox, plane: SectionPlane, index: int, volume: Volume | LabelMap, levels: tuple[float, float]
) -> Picture:
    """Returns one section of a scan, in grey.

    Args:
        box: what to show, and how large.
        plane: how to cut.
        index: voxel along the plane's normal.
        volume: (I, J, K) intensities on `DISPLAY_ORIENTATION` axes, also as bytes.
        levels: intensities of black and white.
    """
    low, high = levels
    grey = (np.asarray(box.cut(volume, plane, index), np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    enlarged = np.asarray(
        Image.fromarray(np.ascontiguousarray(grey, np.float32)).resize(box.size(plane), Image.Resampling.BICUBIC)
    )
    return np.repeat(enlarged.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@dataclass(frozen=True, eq=False)
class Overlay:
    """The labels of one section, ready to lay over any sequence's picture of it.

    Args:
        area: rows and columns of the picture that it covers.
        colour: (height, width, 3), the labels' colours times their opacity.
        alpha: (height, width, 1), their opacity.
    """

    area: tuple[slice, slice]
    colour: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]

    def lay_over(self, picture: Picture) -> None:
        """Draws the labels into a picture."""
        under = picture[self.area]
        picture[self.area] = (under * (1 - self.alpha) + self.colour).round().astype(np.uint8)


def draw_labels(box: SectionBox, plane: SectionPlane, index: int, label_map: LabelMap) -> Overlay | None:
    """Returns the labels of one section, tinted and outlined; None where there are none.

    Args:
        box: what to show, and how large.
        plane: how to cut.
        index: voxel along the plane's normal.
        label_map: (I, J, K) on `DISPLAY_ORIENTATION` axes.
    """
    labels = np.ascontiguousarray(box.cut(label_map, plane, index))
    if not labels.any():
        return None
    area = _covered(labels, box.size(plane))
    fine = _enlarge(labels, area, box.size(plane))
    highest = scipy.ndimage.maximum_filter(fine, CONTOUR_FILTER_PIXELS)
    border = highest != scipy.ndimage.minimum_filter(fine, CONTOUR_FILTER_PIXELS)
    alpha = np.where(fine > 0, np.where(border, np.float32(1), np.float32(FILL_ALPHA)), np.float32(0))[..., None]
    palette = np.array([PALETTE.labels.get(label, (0, 0, 0)) for label in Label], np.float32)
    return Overlay(area, _average(palette[fine] * alpha), _average(alpha))


def _covered(labels: npt.NDArray[np.uint8], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the picture that the labels, with one voxel around them, can touch."""
    ranges = []
    for axis, pixels in ((0, size[1]), (1, size[0])):
        positions = np.flatnonzero(labels.any(axis=1 - axis))
        scale = pixels / labels.shape[axis]
        ranges.append(
            slice(max(0, int((positions[0] - 1) * scale)), min(pixels, int(np.ceil((positions[-1] + 2) * scale))))
        )
    return ranges[0], ranges[1]


def _enlarge(labels: npt.NDArray[np.uint8], area: tuple[slice, slice], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Labels of an area of the picture, oversampled, with smooth outlines: the label whose mask, enlarged linearly, is
    highest.
    """
    rows, columns = area
    down, across = labels.shape[0] / size[1], labels.shape[1] / size[0]
    source = (columns.start * across, rows.start * down, columns.stop * across, rows.stop * down)
    target = ((columns.stop - columns.start) * OVERSAMPLING, (rows.stop - rows.start) * OVERSAMPLING)
    best = np.zeros(target[::-1], np.float32)
    result = np.zeros(target[::-1], np.uint8)
    for label in Label:
        mask = Image.fromarray((labels == label).astype(np.float32)).resize(target, Image.Resampling.BILINEAR, source)
        height = np.asarray(mask)
        result[height > best] = label
        np.maximum(best, height, out=best)
    return result


def _average(fine: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    parts = [fine[i::OVERSAMPLING, j::OVERSAMPLING] for i in range(OVERSAMPLING) for j in range(OVERSAMPLING)]
    return np.asarray(sum(parts) / np.float32(len(parts)), np.float32)
