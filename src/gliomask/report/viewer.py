"""All axial slices of a case for the page to scroll through: a sheet of tiles for each sequence and the labels."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gliomask.arrays import LabelMap, Volume
from gliomask.colours import PALETTE
from gliomask.labels import Label
from gliomask.report.document import SliceViewer
from gliomask.report.sections import AXIAL, SectionBox
from gliomask.report.views import Views
from gliomask.sequences import READING_ORDER, Sequence

MOST_SLICES = 200
"""More are thinned out; a scan of the whole head in 1 mm has 150 to 180 with brain."""

MOST_PIXELS = 256
"""Longest side of a tile; larger slices are thinned out, so that a sheet stays below what browsers decode."""

QUALITY = 78
"""Of JPEG, 1 to 95: a sheet of a brain in 1 mm takes about half a megabyte, and no edge looks blocked at three times
its size.
"""


@dataclass(frozen=True)
class Layout:
    """How slices become tiles.

    Args:
        step: voxels from tile to tile along K.
        thin: voxels from pixel to pixel along I and J.
        columns: tiles side by side.
        indices: voxel along K of each tile.
        size: width and height of a tile, pixels.
    """

    step: int
    thin: int
    columns: int
    indices: tuple[int, ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, box: SectionBox) -> Layout:
        """Returns the layout for the shown part of a volume."""
        lengths = [stop - start for start, stop in zip(box.start, box.stop, strict=True)]
        step, thin = math.ceil(lengths[2] / MOST_SLICES), math.ceil(max(lengths[:2]) / MOST_PIXELS)
        indices = tuple(range(box.start[2], box.stop[2], step))
        size = (math.ceil(lengths[0] / thin), math.ceil(lengths[1] / thin))
        return cls(step, thin, math.ceil(math.sqrt(len(indices))), indices, size)


def slice_viewer(views: Views) -> SliceViewer:
    """Returns every axial slice that holds brain, of every sequence, with its labels.

    Args:
        views: the case on display axes, and the part of it that is shown.
    """
    layout = Layout.of(views.box)
    sheets = []
    for sequence in READING_ORDER:
        if sequence in views.volumes:
            grey = _grey(views.volumes[sequence], views.levels[sequence])
            sheets.append((sequence.title, _jpeg(_sheet(grey, views.box, layout))))
    labels = _png(_sheet(views.labels, views.box, layout))
    spacing_mm = views.box.spacing_mm
    return SliceViewer(
        sheets=tuple(sheets),
        labels=labels,
        tile=layout.size,
        columns=layout.columns,
        slices=tuple(index + 1 for index in layout.indices),
        slices_in_all=views.labels.shape[2],
        first=min(range(len(layout.indices)), key=lambda n: abs(layout.indices[n] - views.centre[2])),
        first_sheet=(Sequence.T1CE if Sequence.T1CE in views.volumes else Sequence.FLAIR).title,
        pixel_mm=(spacing_mm[0] * layout.thin, spacing_mm[1] * layout.thin),
        marks=AXIAL.marks,
    )


def _grey(volume: Volume, levels: tuple[float, float]) -> LabelMap:
    low, high = levels
    scaled = (volume - np.float32(low)) * np.float32(255 / (high - low))
    return scaled.clip(0, 255).astype(np.uint8)


def _sheet(volume: LabelMap, box: SectionBox, layout: Layout) -> LabelMap:
    """(rows, columns) of pixels: the tiles in rows, in their order."""
    width, height = layout.size
    rows = math.ceil(len(layout.indices) / layout.columns)
    sheet = np.zeros((rows * height, layout.columns * width), np.uint8)
    for n, index in enumerate(layout.indices):
        row, column = divmod(n, layout.columns)
        tile = box.cut(volume, AXIAL, index)[:: layout.thin, :: layout.thin]
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet


def _jpeg(sheet: LabelMap) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(sheet, "L").save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _png(labels: LabelMap) -> bytes:
    """Labels in their colours; the background lets through what lies below."""
    picture = Image.fromarray(labels, "P")
    picture.putpalette([part for label in Label for part in PALETTE.labels.get(label, (0, 0, 0))])
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=int(Label.BACKGROUND), optimize=True)
    return stream.getvalue()
