"""A picture of defaced scans, for a person to look at before the scans are shared."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from gliomask.arrays import Affine, Volume
from gliomask.colours import ORANGE
from gliomask.geometry import Geometry
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.deface import FacePlane
from gliomask.report.marks import BLACK, TEXT, font
from gliomask.sequences import Sequence

CUTS_MM = (-32.0, 0.0, 32.0)
"""To the right and left of the middle of BraTS space: the eyes; and the middle: the nose."""

MIDDLE_MM = -119.5
"""The middle of BraTS space between right and left, in RAS."""

FRONT_MM, BACK_MM, TOP_MM, BOTTOM_MM, STEP_MM = 275.0, -25.0, 165.0, -115.0, 1.0
"""What is shown of the world of BraTS space: the whole head, beyond the frame."""

BRIGHTEST_PERCENTILE = 99.5
NAME_HEIGHT = 26


def faces_picture(scans: Mapping[Sequence, tuple[Volume, Geometry, Affine]], plane: FacePlane) -> bytes:
    """Returns a PNG: for each sequence three sagittal sections of the head, and the plane as a line.

    Args:
        scans: of each sequence, what was written, (I, J, K), its grid, and BraTS space's world to its own.
        plane: where the face begins.
    """
    width, height = round((FRONT_MM - BACK_MM) / STEP_MM), round((TOP_MM - BOTTOM_MM) / STEP_MM)
    sheet = Image.new("RGB", (width * len(CUTS_MM), (height + NAME_HEIGHT) * len(scans)), BLACK)
    draw = ImageDraw.Draw(sheet)
    for row, (sequence, (volume, grid, matrix)) in enumerate(scans.items()):
        top = row * (height + NAME_HEIGHT)
        draw.text((8, top + 3), f"{sequence.title}, face taken off", fill=TEXT, font=font(16))
        for column, aside_mm in enumerate(CUTS_MM):
            section = Image.fromarray(_section(volume, grid, matrix, aside_mm))
            sheet.paste(section, (column * width, top + NAME_HEIGHT))
            _draw_plane(draw, plane, (column * width, top + NAME_HEIGHT), (width, height))
    stream = io.BytesIO()
    sheet.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _section(volume: Volume, grid: Geometry, matrix: Affine, aside_mm: float) -> npt.NDArray[np.uint8]:
    """A sagittal section as grey values, (height, width), front to the right."""
    shape = (1, round((FRONT_MM - BACK_MM) / STEP_MM), round((TOP_MM - BOTTOM_MM) / STEP_MM))
    affine = np.diag([1.0, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = MIDDLE_MM + aside_mm, BACK_MM, BOTTOM_MM
    low, high = float(volume.min()), float(np.percentile(volume, BRIGHTEST_PERCENTILE))
    cut = itk.resample(volume - np.float32(low), grid, Geometry(shape, affine), matrix)[0].T[::-1]
    return np.asarray(np.clip(cut / max(high - low, 1e-6) * 255, 0, 255), np.uint8)


def _draw_plane(draw: ImageDraw.ImageDraw, plane: FacePlane, corner: tuple[int, int], size: tuple[int, int]) -> None:
    _, forwards, upwards = plane.normal
    points = []
    for x in range(size[0]):
        up_mm = (plane.offset_mm - forwards * (BACK_MM + x * STEP_MM)) / upwards
        y = (TOP_MM - up_mm) / STEP_MM
        if 0 <= y < size[1]:
            points.append((corner[0] + x, corner[1] + y))
    if len(points) > 1:
        draw.line(points, fill=ORANGE, width=1)
