"""The pictures of a report: sections with orientation letters and a scale bar, and the slice that was measured with its
two diameters.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from gliomask.arrays import Volume
from gliomask.colours import REDDISH_PURPLE
from gliomask.labels import Label
from gliomask.metrics.diameters import LesionDiameters, Segment
from gliomask.report.marks import BLACK, HALO, QUIET, TEXT, draw_letters, draw_scale_bar, font
from gliomask.report.sections import AXIAL, SectionBox, SectionPlane, draw_labels, draw_section
from gliomask.report.sections import Picture as Section
from gliomask.report.views import Views
from gliomask.sequences import READING_ORDER, Sequence

# Sizes in pixels, at which a quarter of a page's width has 300 dots an inch.
PANEL_WIDTH, PANEL_HEIGHT, SIDE_AIR = 520, 560, 10
LETTERS, SMALL = 30, 24

LINE = (255, 255, 255)
HEAT = REDDISH_PURPLE
"""Of uncertainty: no label has a colour like it."""


def draw_views(views: Views, plane: SectionPlane) -> list[tuple[Sequence, Image.Image]]:
    """Returns the four sequences in one plane, all of one size."""
    height = views.box.size(plane)[1] + 2 * SIDE_AIR
    place = views.place(plane)
    return [
        (sequence, _panel(views.section(plane, sequence), views.box, plane, sequence.title, place, height))
        for sequence in READING_ORDER
    ]


def draw_uncertainty(views: Views, plane: SectionPlane, uncertainty: Volume) -> Image.Image:
    """Returns one section of T1ce (FLAIR without it) with how unsure the network is laid over.

    Args:
        views: the case on display axes.
        plane: how to cut.
        uncertainty: (I, J, K) on the same axes, 0 certain to 1 undecided.
    """
    box, index = views.box, views.centre[plane.normal]
    sequence = Sequence.T1CE if Sequence.T1CE in views.volumes else next(iter(views.volumes))
    section = draw_section(box, plane, index, views.volumes[sequence], views.levels[sequence])
    cut = np.ascontiguousarray(box.cut(uncertainty, plane, index), np.float32)
    alpha = np.asarray(
        Image.fromarray(cut).resize((section.shape[1], section.shape[0]), Image.Resampling.BILINEAR)
    ).clip(0, 1)[..., None]
    heated = (section * (1 - alpha) + np.array(HEAT, np.float32) * alpha).round().astype(np.uint8)
    return _panel(heated, box, plane, sequence.title, views.place(plane), section.shape[0] + 2 * SIDE_AIR)


def draw_diameters(views: Views, lesion: LesionDiameters) -> Image.Image:
    """Returns the T1ce slice in which a lesion was measured (FLAIR without it), the enhancing tumour outlined and the
    two diameters drawn as a and b.
    """
    box, index = views.box, lesion.slice_index
    sequence = Sequence.T1CE if Sequence.T1CE in views.volumes else Sequence.FLAIR
    section = draw_section(box, AXIAL, index, views.volumes[sequence], views.levels[sequence])
    enhancing = np.where(views.labels == Label.ENHANCING, views.labels, 0).astype(np.uint8)
    overlay = draw_labels(box, AXIAL, index, enhancing)
    if overlay is not None:
        overlay.lay_over(section)
    height = section.shape[0] + 2 * SIDE_AIR
    panel = _panel(section, box, AXIAL, sequence.title, f"axial {index + 1}/{views.labels.shape[2]}", height)
    pen = ImageDraw.Draw(panel)
    for number, segment in enumerate((lesion.diameters.longest, lesion.diameters.perpendicular), start=1):
        ends = _on_panel(segment, box, section.shape)
        pen.line(ends, BLACK, 7)
        pen.line(ends, LINE, 3)
        for x, y in ends:
            pen.ellipse((x - 6, y - 6, x + 6, y + 6), LINE, BLACK, 1)
        x, y = max(ends) if number == 1 else min(ends)
        pen.text(
            (x + 14, y) if number == 1 else (x - 14, y),
            "ab"[number - 1],
            TEXT,
            font(LETTERS),
            anchor="lm" if number == 1 else "rm",
            **HALO,
        )
    return panel


def _on_panel(segment: Segment, box: SectionBox, shape: tuple[int, ...]) -> list[tuple[float, float]]:
    """Ends of a line in an axial slice, in pixels of its panel."""
    left = (PANEL_WIDTH - shape[1]) // 2
    sizes = [box.stop[axis] - box.start[axis] for axis in (0, 1)]
    return [
        (
            left + (i + 0.5 - box.start[0]) / sizes[0] * shape[1],
            SIDE_AIR + (j + 0.5 - box.start[1]) / sizes[1] * shape[0],
        )
        for i, j in segment
    ]


def _panel(
    section: Section | None, box: SectionBox, plane: SectionPlane, title: str, place: str, height: int
) -> Image.Image:
    panel = Image.new("RGB", (PANEL_WIDTH, height), BLACK)
    if section is None:
        middle = (PANEL_WIDTH / 2, height / 2)
        ImageDraw.Draw(panel).text(middle, f"without {title}", QUIET, font(LETTERS), anchor="mm")
        return panel
    panel.paste(Image.fromarray(section), ((PANEL_WIDTH - section.shape[1]) // 2, (height - section.shape[0]) // 2))
    pen = ImageDraw.Draw(panel)
    edge = 10
    draw_letters(pen, plane, panel.size, LETTERS, edge)
    pen.text((edge, edge), title, TEXT, font(LETTERS), anchor="la", **HALO)
    pen.text((edge, height - edge), place, QUIET, font(SMALL), anchor="ls", **HALO)
    draw_scale_bar(pen, box.pixels_per_mm, panel.size, SMALL)
    return panel


def png(picture: Image.Image) -> bytes:
    """Returns a picture as the bytes of a PNG file; the same picture gives the same bytes."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()
