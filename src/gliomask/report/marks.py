"""What stands in a picture besides the anatomy: letters of directions, a scale bar, titles."""

from __future__ import annotations

from functools import cache
from typing import Any

from PIL import ImageDraw, ImageFont

from gliomask.report.sections import SectionPlane

TEXT, QUIET, BLACK = (245, 246, 248), (190, 196, 204), (0, 0, 0)

HALO: dict[str, Any] = {"stroke_width": 2, "stroke_fill": BLACK}
"""Keeps letters readable over a bright brain."""

BAR_LENGTHS_MM = (50.0, 20.0, 10.0, 5.0)
"""The longest that takes no more than a third of the picture is drawn."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns the font that comes with Pillow, in pixels."""
    return ImageFont.load_default(size)


def draw_letters(
    pen: ImageDraw.ImageDraw, plane: SectionPlane, size: tuple[int, int], letters: int, edge: int = 10
) -> None:
    """Writes the directions (R, L, A, P, S, I) at the four edges of a panel.

    Args:
        pen: of the panel.
        plane: whose directions.
        size: width and height of the panel, pixels.
        letters: height of the letters, pixels.
        edge: distance of the letters from the edges, pixels.
    """
    width, height = size
    left, right, top, bottom = plane.marks
    places = (
        (edge, height / 2, left, "lm"),
        (width - edge, height / 2, right, "rm"),
        (width / 2, edge, top, "mt"),
        (width / 2, height - edge, bottom, "mb"),
    )
    for x, y, letter, anchor in places:
        pen.text((x, y), letter, TEXT, font(letters), anchor=anchor, **HALO)


def draw_scale_bar(
    pen: ImageDraw.ImageDraw, pixels_per_mm: float, size: tuple[int, int], letters: int, thick: int = 6, edge: int = 12
) -> None:
    """Draws a bar of 50, 20, 10 or 5 mm with its length into the lower right corner; none where even the shortest is
    too long.

    Args:
        pen: of the panel.
        pixels_per_mm: scale of the section.
        size: width and height of the panel, pixels.
        letters: height of the letters, pixels.
        thick: of the bar, pixels.
        edge: distance from the edges, pixels.
    """
    width, height = size
    length_mm = next((mm for mm in BAR_LENGTHS_MM if mm * pixels_per_mm <= width / 3), None)
    if length_mm is None:
        return
    right, bottom = width - edge, height - edge
    left = right - length_mm * pixels_per_mm
    pen.rectangle((left - 2, bottom - thick - 2, right + 2, bottom + 2), BLACK)
    pen.rectangle((left, bottom - thick, right, bottom), TEXT)
    pen.text((right, bottom - thick - 6), f"{length_mm:g} mm", TEXT, font(letters), anchor="rs", **HALO)
