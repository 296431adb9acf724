"""The course of a training as a picture: loss, Dice by region, learning rate and time, epoch by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gliomask.colours import BLUE, PALETTE, VERMILION, in_hex
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region

TRAINING, VALIDATION = in_hex(BLUE), in_hex(VERMILION)

Row = Mapping[str, float]


def dice_column(region: Region) -> str:
    """Returns the name under which a row of the history holds a region's Dice on the validation patches."""
    return f"validation_dice_{region.value.lower()}"


def draw_learning_curve(history: Ordered[Row], picture: Path) -> None:
    """Draws a training's history and writes a PNG: four panels over the same epochs.

    Args:
        history: a row for each epoch with `epoch`, `loss` and `seconds`; `validation_loss`, `learning_rate` and the
            regions' Dice are drawn for the epochs that have them (checkpoints of earlier versions have not).
        picture: the PNG file.
    """
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    (loss, dice), (rate, seconds) = figure.subplots(2, 2, sharex=True)
    _draw_loss(loss, history)
    _draw_dice(dice, history)
    _draw(rate, history, "learning_rate", "learning rate", "0.3")
    _draw(seconds, history, "seconds", "time an epoch, s", "0.3")
    for axes in (loss, dice, rate, seconds):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (rate, seconds):
        axes.set_xlabel("epoch")
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    write_bytes(picture, stream.getvalue())


def _draw_loss(axes: Axes, history: Ordered[Row]) -> None:
    axes.set_title("loss", fontsize=10)
    _line(axes, history, "loss", color=TRAINING, label="training (patches as augmented)")
    rows = _line(axes, history, "validation_loss", color=VALIDATION, label="validation (weights as kept)")
    if rows:
        best = min(rows, key=lambda row: row["validation_loss"])
        place = ([best["epoch"]], [best["validation_loss"]])
        axes.plot(
            *place,
            marker="*",
            markersize=13,
            color=VALIDATION,
            linestyle="none",
            label=f"best: epoch {best['epoch']:g}",
        )
    if history:
        axes.legend(fontsize=8, frameon=False)


def _draw_dice(axes: Axes, history: Ordered[Row]) -> None:
    axes.set_title("Dice of the validation patches", fontsize=10)
    axes.set_ylim(0, 1)
    drawn = [
        _line(axes, history, dice_column(region), color=PALETTE.region_hex(region), label=region.title)
        for region in Region
    ]
    if any(drawn):
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    else:
        axes.text(0.5, 0.5, "no validation cases", transform=axes.transAxes, ha="center", va="center", color="0.4")


def _draw(axes: Axes, history: Ordered[Row], column: str, title: str, colour: str) -> None:
    axes.set_title(title, fontsize=10)
    _line(axes, history, column, color=colour)


def _line(axes: Axes, history: Ordered[Row], column: str, *, color: str, label: str | None = None) -> list[Row]:
    """Draws a column over the epochs that have it; returns their rows."""
    rows = [row for row in history if column in row]
    if rows:
        axes.plot([row["epoch"] for row in rows], [row[column] for row in rows], marker=".", color=color, label=label)
    return rows
