"""A case turned to the axes of display, and where it is cut: what every picture of a result starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gliomask.arrays import LabelMap, Mask, Volume
from gliomask.case import Case
from gliomask.report.sections import (
    AXIAL,
    CORONAL,
    DISPLAY_ORIENTATION,
    SAGITTAL,
    Overlay,
    Picture,
    SectionBox,
    SectionPlane,
    draw_labels,
    draw_section,
    window,
)
from gliomask.sequences import Sequence

PLANES = (AXIAL, CORONAL, SAGITTAL)

MARGIN_MM = 4.0
"""Air left around the brain."""

Point = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Views:
    """A case on display axes, and where it is cut.

    Args:
        volumes: (I, J, K) by sequence, on `DISPLAY_ORIENTATION` axes.
        labels: (I, J, K) `labels.Label` on the same axes.
        box: what is shown, and how large.
        centre: voxel where the three sections meet.
        levels: intensities of black and white, by sequence.
        overlays: the labels of each section, ready to lay over; None where it has none.
    """

    volumes: dict[Sequence, Volume]
    labels: LabelMap
    box: SectionBox
    centre: Point
    levels: dict[Sequence, tuple[float, float]]
    overlays: dict[SectionPlane, Overlay | None]

    @classmethod
    def of(cls, case: Case, label_map: LabelMap, width: int, height: int) -> Views:
        """Cuts a case where its tumour is largest along each axis; without tumour, through the middle of the brain.

        Args:
            case: the scans.
            label_map: (I, J, K) on the case's own grid.
            width: largest width of a section's picture, pixels.
            height: likewise.
        """
        turn = case.geometry.reorientation_to(DISPLAY_ORIENTATION)
        brain, labels = turn.apply(case.brain_mask), turn.apply(label_map)
        box = _box(brain | (labels > 0), turn.target.spacing_mm, width, height)
        volumes = {sequence: turn.apply(volume) for sequence, volume in case.volumes.items()}
        centre = _centre(labels, box)
        levels = {sequence: window(volume, brain) for sequence, volume in volumes.items()}
        overlays = {plane: draw_labels(box, plane, centre[plane.normal], labels) for plane in PLANES}
        return cls(volumes, labels, box, centre, levels, overlays)

    def section(self, plane: SectionPlane, sequence: Sequence, *, labels: bool = True) -> Picture | None:
        """Returns one section, with the labels laid over unless told otherwise; None where the patient does not have
        the sequence.
        """
        if sequence not in self.volumes:
            return None
        picture = draw_section(
            self.box, plane, self.centre[plane.normal], self.volumes[sequence], self.levels[sequence]
        )
        overlay = self.overlays[plane] if labels else None
        if overlay is not None:
            overlay.lay_over(picture)
        return picture

    def place(self, plane: SectionPlane) -> str:
        """Which section it is, for captions, counted from 1."""
        return f"{plane.name} {self.centre[plane.normal] + 1}/{self.labels.shape[plane.normal]}"


def _box(shown: Mask, spacing_mm: tuple[float, float, float], width: int, height: int) -> SectionBox:
    """The brain's box with some air, at the largest scale at which every section fits."""
    start, stop = [], []
    for axis in range(3):
        positions = np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis})))
        air = round(MARGIN_MM / spacing_mm[axis])
        start.append(max(int(positions[0]) - air, 0))
        stop.append(min(int(positions[-1]) + 1 + air, shown.shape[axis]))
    size_mm = [(high - low) * mm for low, high, mm in zip(start, stop, spacing_mm, strict=True)]
    scale = min(width / max(size_mm[0], size_mm[1]), height / max(size_mm[1], size_mm[2]))
    return SectionBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), spacing_mm, scale)


def _centre(label_map: LabelMap, box: SectionBox) -> Point:
    """The section with most tumour along each axis; without tumour, the middle of the box."""
    i, j, k = (np.count_nonzero(label_map, axis=tuple({0, 1, 2} - {axis})) for axis in range(3))
    if not i.any():
        middle = [(low + high) // 2 for low, high in zip(box.start, box.stop, strict=True)]
        return middle[0], middle[1], middle[2]
    return int(i.argmax()), int(j.argmax()), int(k.argmax())
