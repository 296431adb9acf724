"""The learning curve as a picture."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gliomask.io.nifti import write_bytes


def draw_learning_curve(history: list[dict[str, float]], picture: Path) -> None:
    """Draws the loss, and the validation loss where there is one, over epochs; writes a PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss", title="Learning curve")
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row["loss"] for row in history], marker=".", label="training (patches as augmented)")
    if history and "validation_loss" in history[0]:
        losses = [row["validation_loss"] for row in history]
        axes.plot(epochs, losses, marker=".", label="validation (weights as kept)")
        best = min(range(len(losses)), key=losses.__getitem__)
        axes.plot(epochs[best], losses[best], marker="*", markersize=14, linestyle="none", label=f"best: epoch {epochs[best]:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    write_bytes(picture, stream.getvalue())
