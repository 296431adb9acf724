"""The picture of a result: what a person looks at first, and what shows a left-right flip or a wrong sequence at a glance.

Drawn with Pillow, which matplotlib brings, since a figure of matplotlib's takes a second to import and another to draw.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence as Ordered
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from gliomask.arrays import LabelMap
from gliomask.case import Case
from gliomask.colours import PALETTE
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region
from gliomask.report.sections import AXIAL, CORONAL, SAGITTAL, Plane
from gliomask.report.views import Views
from gliomask.report.volumes import Volumes, measure
from gliomask.sequences import Sequence

PANELS: tuple[tuple[tuple[Plane, Sequence], ...], ...] = (
    tuple((AXIAL, sequence) for sequence in (Sequence.T1, Sequence.T1CE, Sequence.T2, Sequence.FLAIR)),
    tuple((plane, sequence) for plane in (CORONAL, SAGITTAL) for sequence in (Sequence.T1CE, Sequence.FLAIR)),
)
"""Rows of panels."""

NOTICE = "Research use only. Not a medical device."
NOTHING_FOUND = "No tumour found"

# Sizes in pixels.
PANEL_WIDTH, MAX_PANEL_HEIGHT, MIN_PANEL_HEIGHT = 400, 480, 90
MARGIN, GAP, TICK = 28, 8, 10
HEADER, FLAG_LINE, LEGEND = 94, 26, 96
LARGE, MEDIUM, SMALL = 30, 20, 16
NAME_BELOW = 34
SIDE_AIR = 12
BACKGROUND, PANEL, TEXT, QUIET, WARNING = (16, 18, 22), (0, 0, 0), (240, 242, 245), (150, 156, 166), (255, 190, 92)

HALO: dict[str, Any] = {"stroke_width": 2, "stroke_fill": PANEL}
"""Keeps letters readable over a bright brain."""


def draw_preview(case: Case, label_map: LabelMap, path: Path, *, title: str = "", flags: Ordered[str] = ()) -> None:
    """Draws the four sequences at the tumour's largest axial section, and T1ce and FLAIR at its largest coronal and sagittal ones.

    Labels are tinted and outlined, with their volumes in a legend. Axes are re-ordered for display, never resampled, and scaled to the
    millimetre. Without any tumour the sections pass through the middle of the brain, and the picture says so.

    Args:
        case: the scans.
        label_map: (I, J, K) on the case's own grid.
        path: the PNG file; an existing one is replaced.
        title: a line under the case's id: which model, which post-processing.
        flags: warnings to show, one or more lines each.

    Raises:
        GeometryError: the label map does not have the shape of the case's grid.
    """
    picture = preview_picture(case, label_map, title, flags)
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    write_bytes(path, stream.getvalue())


def preview_picture(case: Case, label_map: LabelMap, title: str = "", flags: Ordered[str] = ()) -> Image.Image:
    """Returns the picture that `draw_preview` writes. Raises as it does."""
    volumes = measure(label_map, case.geometry)
    views = Views.of(case, label_map, PANEL_WIDTH - 2 * SIDE_AIR, MAX_PANEL_HEIGHT)
    width = 2 * MARGIN + 4 * PANEL_WIDTH + 3 * GAP
    lines = [line for flag in flags for line in _wrapped(flag, SMALL, width - 2 * MARGIN)]
    heights = [max(MIN_PANEL_HEIGHT, views.box.size(row[0][0])[1]) for row in PANELS]
    top = HEADER + len(lines) * FLAG_LINE
    picture = Image.new("RGB", (width, top + sum(heights) + GAP + LEGEND), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    _draw_header(pen, case, title, lines, width)
    for row, height in zip(PANELS, heights, strict=True):
        for column, (plane, sequence) in enumerate(row):
            corner = (MARGIN + column * (PANEL_WIDTH + GAP), top)
            picture.paste(_panel(views, plane, sequence, height), corner)
        top += height + GAP
    _draw_legend(pen, volumes, top + 16)
    pen.text((width - MARGIN, top + 16 + NAME_BELOW), NOTICE, QUIET, _font(SMALL), anchor="ra")
    return picture


def _panel(views: Views, plane: Plane, sequence: Sequence, height: int) -> Image.Image:
    """One section, in the middle of a panel of the given height, with its captions."""
    if sequence not in views.volumes:
        return _empty_panel(sequence, height)
    section = views.section(plane, sequence)
    panel = Image.new("RGB", (PANEL_WIDTH, height), PANEL)
    if section is None:
        ImageDraw.Draw(panel).text((PANEL_WIDTH / 2, height / 2), f"without {sequence.title}", QUIET, _font(MEDIUM), anchor="mm")
        return panel
    left, top = (PANEL_WIDTH - section.shape[1]) // 2, (height - section.shape[0]) // 2
    panel.paste(Image.fromarray(section), (left, top))
    pen = ImageDraw.Draw(panel)
    across, down = views.box.position(plane, views.centre)
    _draw_ticks(pen, left + across * section.shape[1], top + down * section.shape[0], height)
    _draw_marks(pen, plane, height)
    pen.text((12, 10), sequence.title, TEXT, _font(MEDIUM), **HALO)
    pen.text((12, height - 10), views.place(plane), QUIET, _font(SMALL), anchor="ls", **HALO)
    return panel


def _empty_panel(sequence: Sequence, height: int) -> Image.Image:
    panel = Image.new("RGB", (PANEL_WIDTH, height), PANEL)
    pen = ImageDraw.Draw(panel)
    pen.text((12, 10), sequence.title, TEXT, _font(MEDIUM), **HALO)
    pen.text((PANEL_WIDTH // 2, height // 2), "segmented without it", QUIET, _font(SMALL), anchor="mm")
    return panel


def _draw_header(pen: ImageDraw.ImageDraw, case: Case, title: str, flag_lines: list[str], width: int) -> None:
    grid = str(case.geometry)
    pen.text((MARGIN, 18), _shortened(case.case_id, LARGE, width - 2 * MARGIN), TEXT, _font(LARGE))
    pen.text((MARGIN, 60), _shortened(title, SMALL, width - 3 * MARGIN - round(_font(SMALL).getlength(grid))), QUIET, _font(SMALL))
    pen.text((width - MARGIN, 60), grid, QUIET, _font(SMALL), anchor="ra")
    for n, line in enumerate(flag_lines):
        pen.text((MARGIN, HEADER + n * FLAG_LINE), line, WARNING, _font(SMALL))


def _draw_ticks(pen: ImageDraw.ImageDraw, x: float, y: float, height: int) -> None:
    """Short lines at the edges where the other two sections pass."""
    for ends in (((x, 0), (x, TICK)), ((x, height - TICK), (x, height)), ((0, y), (TICK, y)), ((PANEL_WIDTH - TICK, y), (PANEL_WIDTH, y))):
        pen.line(ends, QUIET, 1)


def _draw_marks(pen: ImageDraw.ImageDraw, plane: Plane, height: int) -> None:
    left, right, _, _ = plane.marks
    for x, letter, anchor in ((16, left, "lm"), (PANEL_WIDTH - 16, right, "rm")):
        pen.text((x, height / 2), letter, TEXT, _font(MEDIUM), anchor=anchor, **HALO)


def _draw_legend(pen: ImageDraw.ImageDraw, volumes: Volumes, top: int) -> None:
    """Swatches with the labels' volumes, then the regions' volumes."""
    if volumes.of(Region.WT).voxels == 0:
        pen.text((MARGIN, top), NOTHING_FOUND, WARNING, _font(LARGE))
        return
    x = MARGIN
    for label, colour in PALETTE.labels.items():
        pen.rounded_rectangle((x, top + 3, x + 36, top + 49), 6, colour)
        x += 50
        x += _draw_amount(pen, (x, top), label.title, volumes.of(label).volume_ml) + 44
    pen.line(((x - 22, top + 3), (x - 22, top + 49)), QUIET, 1)
    for region in (Region.TC, Region.WT):
        x += _draw_amount(pen, (x, top), region.title, volumes.of(region).volume_ml) + 44


def _draw_amount(pen: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, volume_ml: float) -> int:
    """Writes an amount above its name; returns the width."""
    amount = f"{volume_ml:.1f} ml" if volume_ml >= 1 or volume_ml == 0 else f"{volume_ml:.3f} ml"
    x, y = corner
    pen.text((x, y), amount, TEXT, _font(LARGE - 4))
    pen.text((x, y + NAME_BELOW), name, QUIET, _font(SMALL))
    return round(max(_font(LARGE - 4).getlength(amount), _font(SMALL).getlength(name)))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and _font(size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _shortened(text: str, size: int, width: int) -> str:
    if _font(size).getlength(text) <= width:
        return text
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    fitting = bisect_right(range(len(text)), float(width), key=lambda count: float(_font(size).getlength(text[:count] + ellipsis)))
    return text[: max(fitting - 1, 0)] + ellipsis
