"""Pictures of each visit of a patient at the same places: where the tumour is largest over all visits."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from gliomask.arrays import LabelMap, Mask, Volume
from gliomask.geometry import Geometry
from gliomask.report.marks import BLACK, HALO, QUIET, TEXT, draw_letters, draw_scale_bar, font
from gliomask.report.sections import (
    AXIAL,
    CORONAL,
    DISPLAY_ORIENTATION,
    SectionBox,
    SectionPlane,
    draw_labels,
    draw_section,
    window,
)
from gliomask.sequences import Sequence

SHOWN = (Sequence.T1CE, Sequence.FLAIR)
"""Sequences of each visit; one that a visit does not have leaves its panels empty."""

PLANES = (AXIAL, CORONAL)

PANEL, LETTERS, SMALL = 420, 24, 19
"""Width and height of a panel, heights of letters, pixels."""

MARGIN_MM = 6.0

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class VisitScans:
    """Scans of a visit, as pictures need them.

    Args:
        greys: (I, J, K) by sequence, 0 black to 255 white, on the label map's grid.
    """

    greys: Mapping[Sequence, npt.NDArray[np.uint8]]

    @classmethod
    def of(cls, volumes: Mapping[Sequence, Volume], brain: Mask) -> VisitScans:
        """Keeps what is drawn of a visit's volumes (I, J, K), a byte a voxel, so that many visits fit in memory."""
        greys = {}
        for sequence in SHOWN:
            if sequence in volumes:
                low, high = window(volumes[sequence], brain)
                greys[sequence] = (
                    ((volumes[sequence] - np.float32(low)) * np.float32(255 / (high - low)))
                    .clip(0, 255)
                    .astype(np.uint8)
                )
        return cls(greys)


def common_place(label_maps: Ordered[tuple[LabelMap, Geometry]]) -> Point | None:
    """Returns the point, RAS mm, through which the visits are cut: where most tumour is, over all visits; None where
    there is none.

    Of the visit with the largest tumour it is, along each axis of the patient, the section with the largest area.

    Args:
        label_maps: (I, J, K) with its grid, of each visit; their grids lie on each other.
    """
    best: tuple[float, Point] | None = None
    for labels, grid in label_maps:
        turn = grid.reorientation_to(DISPLAY_ORIENTATION)
        turned = turn.apply(labels) > 0
        areas = [np.count_nonzero(turned, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        volume_ml = float(areas[0].sum()) * grid.voxel_ml
        if volume_ml and (best is None or volume_ml > best[0]):
            index = np.array([int(area.argmax()) for area in areas], float)
            right, anterior, superior = turn.target.affine[:3, :3] @ index + turn.target.affine[:3, 3]
            best = (volume_ml, (float(right), float(anterior), float(superior)))
    return None if best is None else best[1]


def draw_visit(scans: VisitScans, labels: LabelMap, grid: Geometry, place: Point) -> list[Image.Image]:
    """Returns a visit's panels: each sequence in each plane, cut at a place.

    Args:
        scans: of the visit.
        labels: (I, J, K) its label map.
        grid: of both.
        place: RAS mm; where it lies outside the grid, the nearest section is drawn.
    """
    turn = grid.reorientation_to(DISPLAY_ORIENTATION)
    turned, greys = turn.apply(labels), {sequence: turn.apply(grey) for sequence, grey in scans.greys.items()}
    shown = np.logical_or.reduce([grey > 0 for grey in greys.values()]) if greys else turned > 0
    box = _box(shown | (turned > 0), turn.target.spacing_mm)
    voxel = np.linalg.solve(turn.target.affine, (*place, 1.0))[:3]
    centre = [int(min(max(round(float(at)), 0), size - 1)) for at, size in zip(voxel, turned.shape, strict=True)]
    return [
        _panel(greys.get(sequence), sequence, plane, turned, box, centre[plane.normal])
        for plane in PLANES
        for sequence in SHOWN
    ]


def _box(shown: Mask, spacing_mm: tuple[float, float, float]) -> SectionBox:
    """What is drawn: the head with some air, at a scale at which both planes fit into a panel."""
    start, stop = [0, 0, 0], list(shown.shape)
    for axis in range(3):
        positions = np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis})))
        if len(positions):
            air = round(MARGIN_MM / spacing_mm[axis])
            start[axis], stop[axis] = (
                max(int(positions[0]) - air, 0),
                min(int(positions[-1]) + 1 + air, shown.shape[axis]),
            )
    longest_mm = max((high - low) * mm for low, high, mm in zip(start, stop, spacing_mm, strict=True))
    return SectionBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), spacing_mm, (PANEL - 4) / longest_mm)


def _panel(
    grey: npt.NDArray[np.uint8] | None,
    sequence: Sequence,
    plane: SectionPlane,
    labels: LabelMap,
    box: SectionBox,
    index: int,
) -> Image.Image:
    panel = Image.new("RGB", (PANEL, PANEL), BLACK)
    pen = ImageDraw.Draw(panel)
    if grey is None:
        pen.text((PANEL / 2, PANEL / 2), f"without {sequence.title}", QUIET, font(LETTERS), anchor="mm")
        return panel
    # A section beside the shown box would be an empty picture.
    index = min(max(index, box.start[plane.normal]), box.stop[plane.normal] - 1)
    section = draw_section(box, plane, index, grey, (0.0, 255.0))
    overlay = draw_labels(box, plane, index, labels)
    if overlay is not None:
        overlay.lay_over(section)
    panel.paste(Image.fromarray(section), ((PANEL - section.shape[1]) // 2, (PANEL - section.shape[0]) // 2))
    draw_letters(pen, plane, panel.size, LETTERS)
    pen.text((10, 10), sequence.title, TEXT, font(LETTERS), anchor="la", **HALO)
    pen.text(
        (10, PANEL - 10),
        f"{plane.name} {index + 1}/{labels.shape[plane.normal]}",
        QUIET,
        font(SMALL),
        anchor="ls",
        **HALO,
    )
    draw_scale_bar(pen, box.pixels_per_mm, panel.size, SMALL)
    return panel
