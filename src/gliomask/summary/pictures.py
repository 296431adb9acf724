"""The pictures of a study: volumes over the cohort, two runs against each other, the map of all tumours, and small
pictures of cases.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from gliomask.colours import PALETTE
from gliomask.labels import Region
from gliomask.summary.compare import RunComparison
from gliomask.summary.frequency import FrequencyMap

THUMBNAIL_WIDTH = 900
"""Pixels: the picture of a case holds several views side by side."""

THUMBNAIL_QUALITY = 60
MAX_PICTURE_PIXELS = 40_000_000

SLICES = 8
"""Axial slices of the map that are shown."""


def _colour(region: Region) -> tuple[float, ...]:
    return tuple(part / 255 for part in PALETTE.regions[region])


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gliomask"}):
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def volumes_picture(volumes_ml: Mapping[Region, Ordered[float]]) -> bytes:
    """Returns histograms of the regions' volumes, millilitres on a logarithmic axis with 0 at its left end, as PNG."""
    figure = Figure((10, 2.6), dpi=110, layout="constrained")
    for axes, (region, values) in zip(
        figure.subplots(1, len(volumes_ml), squeeze=False)[0], volumes_ml.items(), strict=True
    ):
        axes.hist(np.log10(1 + np.asarray(values)), bins=np.linspace(0, 3, 31), color=_colour(region))
        ticks = [0, 1, 10, 100, 999]
        axes.set_xticks(np.log10(1 + np.asarray(ticks)), [str(tick) for tick in ticks])
        axes.set_title(
            f"{region.title}: median {np.median(values):.1f} ml" if len(values) else region.title, fontsize=9
        )
        axes.set_xlabel("ml", fontsize=8)
        axes.set_ylabel("cases", fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
    return _png(figure)


def comparison_picture(comparison: RunComparison) -> bytes:
    """Returns a Bland-Altman plot for each region, as PNG."""
    figure = Figure((10, 3), dpi=110, layout="constrained")
    for axes, (region, agreement) in zip(
        figure.subplots(1, len(comparison.agreements), squeeze=False)[0], comparison.agreements.items(), strict=True
    ):
        pairs = np.asarray([pair.volumes_ml[region] for pair in comparison.pairs if pair.volumes_ml])
        axes.scatter(pairs.mean(axis=1), pairs[:, 1] - pairs[:, 0], s=9, color=_colour(region))
        for value, style in ((agreement.bias, "-"), (agreement.low, "--"), (agreement.high, "--")):
            if np.isfinite(value):
                axes.axhline(value, linestyle=style, linewidth=1, color="0.3")
        axes.set_title(
            f"{region.title}: bias {agreement.bias:+.2f} ml\nlimits {agreement.low:+.2f} to {agreement.high:+.2f}",
            fontsize=8,
        )
        axes.set_xlabel("mean of both, ml", fontsize=8)
        axes.set_ylabel("second less first, ml", fontsize=8)
        axes.tick_params(labelsize=8)
    return _png(figure)


def frequency_picture(frequency: FrequencyMap) -> bytes:
    """Returns axial slices of the map, from the feet upwards, as PNG; the patient's right is on the left."""
    reach = np.flatnonzero(frequency.counts.any(axis=(0, 1)))
    low, high = (int(reach[0]), int(reach[-1])) if len(reach) else (0, frequency.counts.shape[2] - 1)
    figure = Figure((12, 2.2), dpi=110, layout="constrained")
    most = float(frequency.counts.max()) or 1.0
    image: Any = None
    flip = -1 if frequency.geometry.affine[0, 0] > 0 else 1
    turn = -1 if frequency.geometry.affine[1, 1] > 0 else 1
    for axes, index in zip(figure.subplots(1, SLICES), np.linspace(low, high, SLICES).round().astype(int), strict=True):
        image = axes.imshow(frequency.counts[::flip, ::turn, index].T, cmap="inferno", vmin=0, vmax=most)
        axes.set_title(f"slice {index + 1}", fontsize=8)
        axes.set_axis_off()
    figure.colorbar(image, ax=figure.axes, label="cases", shrink=0.8, ticks=MaxNLocator(integer=True))
    return _png(figure)


def thumbnail(path: Path) -> bytes | None:
    """Returns a small JPEG of a case's picture; None where there is none, or where the file is no picture."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PICTURE_PIXELS:
                return None
            small = picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((THUMBNAIL_WIDTH, 4 * THUMBNAIL_WIDTH))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=THUMBNAIL_QUALITY)
    return stream.getvalue()
