"""Box plots of scores, one box per region with every case as a dot."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gliomask.colours import PALETTE
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region

LINEAR_UP_TO_MM = 10.0
"""Distances are drawn linearly up to here and logarithmically beyond, so that 2 mm and a penalty of 374 mm can both be
read.
"""


@dataclass(frozen=True)
class BoxPlot:
    """One panel of boxes.

    Args:
        title: what is shown, with its unit.
        values: by name of the box; NaN cells are left out and counted below the box.
        distance: the values are distances and may spread over orders of magnitude; otherwise they lie between 0 and 1.
    """

    title: str
    values: Mapping[str, Ordered[float]]
    distance: bool = False


def draw_box_plots(plots: Ordered[BoxPlot], picture: Path) -> None:
    """Draws panels side by side and writes a PNG.

    A box runs from the first to the third quartile, its line is the median, its diamond the mean; whiskers reach the
    furthest case within 1.5 box lengths.
    """
    figure = Figure(figsize=(3.4 * len(plots), 4.4), layout="constrained")
    for axes, plot in zip(np.atleast_1d(figure.subplots(1, len(plots))), plots, strict=True):
        _draw(axes, plot)
    figure.supxlabel("line: median   diamond: mean   box: quartiles   dot: a case", fontsize=9, color="0.35")
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, dpi=150)
    write_bytes(picture, stream.getvalue())


def _draw(axes: Axes, plot: BoxPlot) -> None:
    generator = np.random.default_rng(0)
    labels = []
    for at, (name, values) in enumerate(plot.values.items()):
        cells = np.array([value for value in values if not math.isnan(value)])
        labels.append(f"{name}\nn = {cells.size}")
        if cells.size == 0:
            continue
        colour = PALETTE.region_hex(Region(name)) if name in list(Region) else "0.6"
        axes.boxplot(
            cells,
            positions=[at],
            widths=0.6,
            showfliers=False,
            showmeans=True,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.45, "edgecolor": "0.25"},
            medianprops={"color": "black", "linewidth": 1.8},
            meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
        )
        # The jitter only keeps dots of equal score apart; its seed is fixed, so that the same scores give the same
        # picture.
        axes.plot(
            at + generator.uniform(-0.18, 0.18, cells.size),
            cells,
            ".",
            color="0.15",
            alpha=0.55,
            markersize=5,
            zorder=3,
        )
    axes.set_title(plot.title, fontsize=11)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", alpha=0.3)
    _scale(axes, plot)


def _scale(axes: Axes, plot: BoxPlot) -> None:
    if not plot.distance:
        axes.set_ylim(-0.03, 1.03)
        return
    highest = max((value for values in plot.values.values() for value in values if not math.isnan(value)), default=1.0)
    if highest > 3 * LINEAR_UP_TO_MM:
        axes.set_yscale("symlog", linthresh=LINEAR_UP_TO_MM)
        ticks = [0, 2, 4, 6, 8, 10, 20, 50, 100, 200, 400]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.axhline(LINEAR_UP_TO_MM, color="0.45", linestyle=":", linewidth=1)
        words = f"logarithmic above {LINEAR_UP_TO_MM:g} mm"
        axes.text(
            1.0,
            LINEAR_UP_TO_MM,
            words,
            transform=axes.get_yaxis_transform(),
            color="0.35",
            fontsize=7,
            ha="right",
            va="bottom",
        )
    axes.set_ylim(-0.03 * min(highest, LINEAR_UP_TO_MM), max(highest * 1.2, 1.0))
