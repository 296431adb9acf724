"""The study's pictures: box plots of a comparison, learning curves of all trainings."""

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

from gliomask.colours import LINES, PALETTE, in_hex
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region

BASELINE_COLOUR = "0.75"

Scores = Mapping[str, Mapping[Region, Ordered[float]]]
"""Dice by title of the experiment and by region, one value per patient."""


def draw_comparison(title: str, scores: Scores, baseline: str, picture: Path) -> None:
    """Draws one box per experiment, lying, in a panel for each region; writes a PNG.

    A box runs from the first to the third quartile, its line is the median, its diamond the mean; whiskers reach the
    furthest patient within 1.5 box lengths, and every patient is a dot. The dotted line is the baseline's median.

    Args:
        title: of the picture.
        scores: Dice; experiments come from top to bottom as they come here.
        baseline: the title of the one that the others are compared with, drawn in grey.
        picture: the file.
    """
    figure = Figure(figsize=(11, 1.5 + 0.55 * len(scores)), layout="constrained")
    for axes, region in zip(figure.subplots(1, len(Region), sharey=True), Region, strict=True):
        _draw_boxes(
            axes, {name: regions[region] for name, regions in scores.items()}, baseline, PALETTE.region_hex(region)
        )
        axes.set_title(f"{region.value}: {region.title}", fontsize=10)
        axes.set_xlabel("Dice")
    figure.suptitle(
        f"{title}   (line: median, diamond: mean, dot: a patient, dotted: median of '{baseline}')", fontsize=10
    )
    _save(figure, picture)


def _draw_boxes(axes: Axes, values: Mapping[str, Ordered[float]], baseline: str, colour: str) -> None:
    generator = np.random.default_rng(0)
    for at, (name, column) in enumerate(values.items()):
        cells = np.array([value for value in column if not math.isnan(value)])
        if not cells.size:
            axes.text(0.5, at, "not there yet", ha="center", va="center", color="0.5", fontsize=9)
            continue
        axes.boxplot(
            cells,
            positions=[at],
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            showmeans=True,
            patch_artist=True,
            boxprops={"facecolor": BASELINE_COLOUR if name == baseline else colour, "alpha": 0.5, "edgecolor": "0.25"},
            medianprops={"color": "black", "linewidth": 1.8},
            meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
        )
        # The jitter only keeps dots of equal score apart; its seed is fixed, so that the same scores give the same
        # picture.
        axes.plot(
            cells, at + generator.uniform(-0.2, 0.2, cells.size), ".", color="0.15", alpha=0.5, markersize=4, zorder=3
        )
        if name == baseline:
            axes.axvline(float(np.median(cells)), linestyle=":", color="0.3", linewidth=1)
    axes.set_yticks(
        range(len(values)),
        [f"{name}  (n = {sum(not math.isnan(v) for v in column)})" for name, column in values.items()],
    )
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(axis="x", alpha=0.3)


@dataclass(frozen=True)
class Curve:
    """The learning curve of one training.

    Args:
        title: in words.
        shares: share of the training that was over, after each epoch.
        losses: mean loss of the epoch.
    """

    title: str
    shares: Ordered[float]
    losses: Ordered[float]


def draw_curves(panels: Mapping[str, Ordered[Curve]], picture: Path) -> None:
    """Draws the learning curves, a panel for each comparison and a colour for each experiment, and writes a PNG."""
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, (title, curves) in zip(grid, panels.items(), strict=False):
        titles = list(dict.fromkeys(curve.title for curve in curves))
        for n, curve in enumerate(curves):
            first = next(m for m, other in enumerate(curves) if other.title == curve.title) == n
            colour = in_hex(LINES[titles.index(curve.title) % len(LINES)])
            axes.plot(
                curve.shares, curve.losses, marker=".", color=colour, alpha=0.8, label=curve.title if first else None
            )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("share of the training")
        axes.set_ylabel("loss of training patches")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _save(figure, picture)


def _save(figure: Figure, picture: Path) -> None:
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, dpi=130)
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(picture, stream.getvalue())
