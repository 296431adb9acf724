"""The picture of a result: what a person looks at first, and what shows a left-right flip or a wrong sequence at a
glance.

Drawn with Pillow, which matplotlib brings, since a figure of matplotlib's takes a second to import and another to draw.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from PIL import Image, ImageDraw

from gliomask.arrays import LabelMap
from gliomask.case import Case
from gliomask.colours import PALETTE, RGB
from gliomask.flag import Flag
from gliomask.in_words import dice, millilitres
from gliomask.io.nifti import write_bytes
from gliomask.judgement import doubted, doubts_first
from gliomask.labels import Region
from gliomask.quality import Estimate
from gliomask.report.marks import BLACK, HALO, QUIET, TEXT, draw_letters, draw_scale_bar, font
from gliomask.report.sections import AXIAL, CORONAL, FILL_ALPHA, SAGITTAL, SectionPlane
from gliomask.report.views import Views
from gliomask.report.volumes import Volumes, measure
from gliomask.sequences import Sequence

NOTICE = "Research use only. Not a medical device."
NOTHING_FOUND = "No tumour found"

COLUMNS, LEAST_COLUMNS = 5, 4
"""Panels side by side: as many as sequences, and the one that is shown without labels. The legend needs the room of
four.
"""

IN_THREE_PLANES = (Sequence.T1CE, Sequence.FLAIR)
"""Sequences that are shown in all planes: the one shows the core, the other the whole tumour."""

# Sizes in pixels.
PANEL_WIDTH, MAX_PANEL_HEIGHT, MIN_PANEL_HEIGHT = 344, 420, 110
MARGIN, GAP, TICK, EDGE = 28, 8, 8, 12
HEADER, FLAG_LINE, BELOW_FLAGS, LEGEND = 94, 26, 8, 96
LARGE, MEDIUM, SMALL = 30, 20, 16
NAME_BELOW = 34
SIDE_AIR = 12
BACKGROUND, PANEL, WARNING = (16, 18, 22), BLACK, (255, 190, 92)
TISSUE = 96
"""Grey over which the legend shows a label's tint."""


@dataclass(frozen=True)
class Shown:
    """One panel.

    Args:
        plane: how it is cut.
        sequence: what it shows.
        labels: False where the scan is shown by itself.
    """

    plane: SectionPlane
    sequence: Sequence
    labels: bool = True


def panels_for(present: Iterable[Sequence], *, tumour: bool = True) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
    """Returns the two rows of panels for a patient who has these sequences; a missing one takes no room.

    Above, the axial section of every sequence; below, the coronal and the sagittal one of T1ce and FLAIR. Each row
    begins with a section without labels beside the same one with them, and where sequences are missing more sections
    are shown so.

    Args:
        present: in any order.
        tumour: False where there are no labels to show; then no section is shown twice.
    """
    shown = [
        sequence for sequence in (Sequence.T1CE, Sequence.T1, Sequence.T2, Sequence.FLAIR) if sequence in set(present)
    ]
    detailed = [sequence for sequence in IN_THREE_PLANES if sequence in shown] or shown[:1]
    below = [(plane, sequence) for plane in (CORONAL, SAGITTAL) for sequence in detailed]
    above = [(AXIAL, sequence) for sequence in shown]
    return (
        _with_plain(above, COLUMNS - len(above) if tumour else 0),
        _with_plain(below, COLUMNS - len(below) if tumour else 0),
    )


def _with_plain(cuts: list[tuple[SectionPlane, Sequence]], room: int) -> tuple[Shown, ...]:
    row = list[Shown]()
    for plane, sequence in cuts:
        if room > 0:
            row.append(Shown(plane, sequence, labels=False))
            room -= 1
        row.append(Shown(plane, sequence))
    return tuple(row)


def draw_preview(
    case: Case,
    label_map: LabelMap,
    path: Path,
    *,
    title: str = "",
    flags: Ordered[Flag] = (),
    estimates: Mapping[Region, Estimate] = MappingProxyType({}),
    volumes: Volumes | None = None,
) -> None:
    """Draws the patient's sequences at the tumour's largest axial section, and T1ce and FLAIR at its largest coronal
    and sagittal ones.

    Labels are tinted and outlined, with their volumes in a legend; beside them stands the same section without labels.
    Axes are re-ordered for display, never resampled, and scaled to the millimetre. Without any tumour the sections pass
    through the middle of the brain, and the picture says so. What questions the whole result stands first, before any
    number.

    Args:
        case: the scans.
        label_map: (I, J, K) on the case's own grid.
        path: the PNG file; an existing one is replaced.
        title: a line under the case's id: which model, which post-processing.
        flags: warnings to show, one or more lines each.
        estimates: the Dice to be expected, by region; empty where none can be promised.
        volumes: of the label map as it is delivered, where that is another grid; measured here if None.

    Raises:
        GeometryError: the label map does not have the shape of the case's grid.
    """
    picture = preview_picture(case, label_map, title, flags, estimates, volumes)
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    write_bytes(path, stream.getvalue())


def preview_picture(
    case: Case,
    label_map: LabelMap,
    title: str = "",
    flags: Ordered[Flag] = (),
    estimates: Mapping[Region, Estimate] = MappingProxyType({}),
    volumes: Volumes | None = None,
) -> Image.Image:
    """Returns the picture that `draw_preview` writes. Raises as it does."""
    volumes = volumes or measure(label_map, case.geometry)
    views = Views.of(case, label_map, PANEL_WIDTH - 2 * SIDE_AIR, MAX_PANEL_HEIGHT)
    rows = panels_for(case.volumes, tumour=bool(label_map.any()))
    columns = max(LEAST_COLUMNS, *map(len, rows))
    width = 2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP
    ordered = doubts_first(flags)
    lines = [line for flag in ordered for line in _wrapped(flag.message, SMALL, width - 2 * MARGIN)]
    heights = [max(MIN_PANEL_HEIGHT, views.box.size(row[0].plane)[1]) for row in rows]
    banner = LARGE + 22 if doubted(ordered) else 0
    top = HEADER + banner + len(lines) * FLAG_LINE + (BELOW_FLAGS if lines else 0)
    picture = Image.new("RGB", (width, top + sum(heights) + GAP + LEGEND), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    _draw_header(pen, case, title, width)
    if banner:
        _draw_banner(pen, ordered[0], width)
    for n, line in enumerate(lines):
        pen.text((MARGIN, HEADER + banner + n * FLAG_LINE), line, WARNING, font(SMALL))
    for row, height in zip(rows, heights, strict=True):
        for column, shown in enumerate(row):
            corner = (MARGIN + column * (PANEL_WIDTH + GAP), top)
            picture.paste(_panel(views, shown, height), corner)
        top += height + GAP
    _draw_legend(pen, volumes, top + 16, in_doubt=bool(banner))
    _draw_foot(pen, estimates, (width - MARGIN, top + 16))
    return picture


def _panel(views: Views, shown: Shown, height: int) -> Image.Image:
    """One section, in the middle of a panel of the given height, with its captions."""
    plane = shown.plane
    section = views.section(plane, shown.sequence, labels=shown.labels)
    panel = Image.new("RGB", (PANEL_WIDTH, height), PANEL)
    assert section is not None, "only sequences that are there have panels"
    left, top = (PANEL_WIDTH - section.shape[1]) // 2, (height - section.shape[0]) // 2
    panel.paste(Image.fromarray(section), (left, top))
    pen = ImageDraw.Draw(panel)
    if shown.labels:
        across, down = views.box.position(plane, views.centre)
        _draw_ticks(pen, left + across * section.shape[1], top + down * section.shape[0], height)
    draw_letters(pen, plane, panel.size, MEDIUM, EDGE)
    pen.text((EDGE, 10), shown.sequence.title, TEXT, font(MEDIUM), **HALO)
    pen.text((EDGE, height - 10), views.place(plane), QUIET, font(SMALL), anchor="ls", **HALO)
    draw_scale_bar(pen, views.box.pixels_per_mm, panel.size, SMALL, thick=4)
    return panel


def _draw_header(pen: ImageDraw.ImageDraw, case: Case, title: str, width: int) -> None:
    grid = str(case.geometry)
    pen.text((MARGIN, 18), _shortened(case.case_id, LARGE, width - 2 * MARGIN), TEXT, font(LARGE))
    pen.text(
        (MARGIN, 60),
        _shortened(title, SMALL, width - 3 * MARGIN - round(font(SMALL).getlength(grid))),
        QUIET,
        font(SMALL),
    )
    pen.text((width - MARGIN, 60), grid, QUIET, font(SMALL), anchor="ra")


def _draw_banner(pen: ImageDraw.ImageDraw, doubt: Flag, width: int) -> None:
    """A band that cannot be overlooked, above the reasons."""
    words = NOTHING_FOUND if doubt.name == "nothing_found" else "This result is doubtful"
    pen.rectangle((MARGIN, HEADER - 4, width - MARGIN, HEADER + LARGE + 8), WARNING)
    pen.text(
        (MARGIN + 14, HEADER + LARGE / 2 + 2),
        f"{words}. Look at the scans before using a number.",
        BACKGROUND,
        font(LARGE - 6),
        anchor="lm",
    )


def _draw_ticks(pen: ImageDraw.ImageDraw, x: float, y: float, height: int) -> None:
    """Short lines at the edges where the other two sections pass."""
    far = PANEL_WIDTH - TICK
    for ends in (
        ((x, 0), (x, TICK)),
        ((x, height - TICK), (x, height)),
        ((0, y), (TICK, y)),
        ((far, y), (PANEL_WIDTH, y)),
    ):
        pen.line(ends, QUIET, 1)


def _draw_legend(pen: ImageDraw.ImageDraw, volumes: Volumes, top: int, *, in_doubt: bool) -> None:
    """Swatches with the labels' volumes, then the regions' volumes."""
    if volumes.of(Region.WT).voxels == 0:
        pen.text((MARGIN, top), NOTHING_FOUND, WARNING, font(LARGE))
        return
    x, ink = MARGIN, WARNING if in_doubt else TEXT
    for label, colour in PALETTE.labels.items():
        # As seen in the panels: the outline in full, the inside a tint over tissue.
        tint = tuple(round(TISSUE * (1 - FILL_ALPHA) + part * FILL_ALPHA) for part in colour)
        pen.rounded_rectangle((x, top + 3, x + 36, top + 49), 6, tint, colour, 3)
        x += 50
        x += _draw_amount(pen, (x, top), label.title, volumes.of(label).volume_ml, ink) + 44
    pen.line(((x - 22, top + 3), (x - 22, top + 49)), QUIET, 1)
    for region in (Region.TC, Region.WT):
        x += _draw_amount(pen, (x, top), region.title, volumes.of(region).volume_ml, ink) + 44


def _draw_amount(pen: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, volume_ml: float, ink: RGB) -> int:
    """Writes an amount above its name; returns the width."""
    amount = millilitres(volume_ml)
    x, y = corner
    pen.text((x, y), amount, ink, font(LARGE - 4))
    pen.text((x, y + NAME_BELOW), name, QUIET, font(SMALL))
    return round(max(font(LARGE - 4).getlength(amount), font(SMALL).getlength(name)))


def _draw_foot(pen: ImageDraw.ImageDraw, estimates: Mapping[Region, Estimate], corner: tuple[int, int]) -> None:
    """The Dice to be expected, and the notice, at the right."""
    x, y = corner
    if estimates:
        words = ", ".join(f"{region.value} {dice(estimate.dice)}" for region, estimate in estimates.items())
        pen.text((x, y + 4), f"Expected Dice: {words}", TEXT, font(MEDIUM), anchor="ra")
    pen.text((x, y + NAME_BELOW), NOTICE, QUIET, font(SMALL), anchor="ra")


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font(size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _shortened(text: str, size: int, width: int) -> str:
    if font(size).getlength(text) <= width:
        return text
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    fitting = bisect_right(
        range(len(text)), float(width), key=lambda count: float(font(size).getlength(text[:count] + ellipsis))
    )
    return text[: max(fitting - 1, 0)] + ellipsis
