"""The paper's qualitative panel: cases below each other; FLAIR, reference, network and its post-processed forms side by
side.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gliomask.colours import PALETTE
from gliomask.errors import UsageError
from gliomask.io.nifti import write_bytes

FLAIR_TITLE = "FLAIR"
LABEL_OPACITY = 0.75
WINDOW_PERCENTILES = (1.0, 99.7)
"""Intensities of the brain that become black and white."""
MARGIN_PIXELS = 4
COLUMN_INCHES = 2.1
LEGEND_INCHES = 0.35
TITLE_INCHES = 0.3


@dataclass(frozen=True, eq=False)
class PanelRow:
    """One case of the panel; slices are (I, J), I to the left, J to posterior.

    Args:
        case_id: written beside the row.
        flair: intensities, 0 outside the brain.
        labels: a `labels.Label` per pixel, by the title of its column; every row has the same titles in the same order.
        pixel_mm: size of a pixel along I and J.
        captions: a line below a column's picture, by title.
    """

    case_id: str
    flair: npt.NDArray[np.floating]
    labels: Mapping[str, npt.NDArray[np.integer]]
    pixel_mm: tuple[float, float] = (1.0, 1.0)
    captions: Mapping[str, str] = field(default_factory=dict)


def draw_panel(rows: Ordered[PanelRow], path: Path) -> None:
    """Draws the panel and writes a PNG. The patient's right is on the left of each picture.

    Raises:
        UsageError: there is no row, or rows have different columns, or a label slice has another shape than its FLAIR.
    """
    titles = _titles(rows)
    shapes = [_cropped(row).flair.shape for row in rows]
    heights = [
        COLUMN_INCHES * shape[1] * row.pixel_mm[1] / (shape[0] * row.pixel_mm[0])
        for shape, row in zip(shapes, rows, strict=True)
    ]
    captions = 0.22 if any(row.captions for row in rows) else 0.03
    size = (COLUMN_INCHES * (len(titles) + 1), sum(heights) + captions * len(rows) + TITLE_INCHES + LEGEND_INCHES)
    figure = Figure(figsize=size, facecolor="black")
    top = 1 - TITLE_INCHES / size[1]
    for row, height in zip(rows, heights, strict=True):
        for column, title in enumerate([FLAIR_TITLE, *titles]):
            share = 1 / (len(titles) + 1)
            axes = figure.add_axes((column * share, top - height / size[1], share * 0.985, height / size[1]))
            _draw(axes, _cropped(row), title)
        top -= (height + captions) / size[1]
    for column, title in enumerate([FLAIR_TITLE, *titles]):
        figure.text(
            (column + 0.49) / (len(titles) + 1),
            1 - 0.5 * TITLE_INCHES / size[1],
            title,
            color="white",
            ha="center",
            va="center",
            fontsize=10,
        )
    _draw_legend(figure, LEGEND_INCHES / size[1])
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, dpi=150, facecolor="black")
    write_bytes(path, stream.getvalue())


def _titles(rows: Ordered[PanelRow]) -> list[str]:
    if not rows:
        raise UsageError("A panel needs at least one case.")
    titles = list(rows[0].labels)
    for row in rows:
        if list(row.labels) != titles:
            raise UsageError(
                f"Case {row.case_id} has the columns {list(row.labels)}, the first case {titles}. Give all "
                "cases the same."
            )
        for title, labels in row.labels.items():
            if labels.shape != row.flair.shape:
                raise UsageError(
                    f"Case {row.case_id}: the slice '{title}' has the shape {labels.shape}, its FLAIR "
                    f"{row.flair.shape}."
                )
    return titles


def _cropped(row: PanelRow) -> PanelRow:
    """The same row without the air round the head."""
    shown = (row.flair != 0) | np.any([labels > 0 for labels in row.labels.values()], axis=0)
    if not shown.any():
        return row
    box = box_round(shown)
    return PanelRow(
        row.case_id,
        row.flair[box],
        {title: labels[box] for title, labels in row.labels.items()},
        row.pixel_mm,
        row.captions,
    )


def _draw(axes: Axes, row: PanelRow, title: str) -> None:
    picture = grey(row.flair, row.flair)
    if title in row.labels:
        picture = tinted(picture, row.labels[title])
    axes.imshow(picture.transpose(1, 0, 2), aspect=row.pixel_mm[1] / row.pixel_mm[0], interpolation="nearest")
    axes.set_axis_off()
    for at, letter, side in ((0.02, "R", "left"), (0.98, "L", "right")):
        axes.text(at, 0.5, letter, transform=axes.transAxes, color="white", ha=side, va="center", fontsize=8)
    caption = row.case_id if title == FLAIR_TITLE else row.captions.get(title, "")
    axes.text(0.5, -0.01, caption, transform=axes.transAxes, color="white", ha="center", va="top", fontsize=8)


def _draw_legend(figure: Figure, height: float) -> None:
    patches = label_patches()
    figure.legend(
        handles=patches,
        loc="center",
        bbox_to_anchor=(0.5, height / 2),
        ncols=len(patches),
        frameon=False,
        labelcolor="white",
        fontsize=10,
    )


def box_round(shown: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Returns the ranges of I and J that hold every true pixel of (I, J), of which there must be one, and a margin."""
    places = [np.flatnonzero(shown.any(axis=1 - axis)) for axis in (0, 1)]
    i, j = (slice(max(int(at[0]) - MARGIN_PIXELS, 0), int(at[-1]) + 1 + MARGIN_PIXELS) for at in places)
    return i, j


def grey(pixels: npt.NDArray[np.floating], window: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Returns a slice (I, J) as (I, J, 3) from 0 to 1; black and white are percentiles of what the array `window` holds
    inside the brain.
    """
    brain = window[window != 0]
    low, high = np.percentile(brain, WINDOW_PERCENTILES) if brain.size else (0.0, 1.0)
    return np.repeat(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1)[..., None], 3, axis=2)


def tinted(picture: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.floating]:
    """Returns a picture (I, J, 3) with the colours of the labels (I, J) over it."""
    picture = picture.copy()
    for label, colour in PALETTE.labels.items():
        inside = labels == label
        picture[inside] = (1 - LABEL_OPACITY) * picture[inside] + LABEL_OPACITY * np.array(colour) / 255
    return picture


def label_patches() -> list[Patch]:
    """Returns what a legend of the labels shows."""
    return [Patch(color=PALETTE.label_hex(label), label=label.title) for label in PALETTE.labels]
