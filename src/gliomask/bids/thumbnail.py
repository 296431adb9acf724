"""The small picture of a result: what the page of the group level shows of each participant, and a quick look finds beside the results."""

from __future__ import annotations

from PIL import Image

from gliomask.report.pictures import PANEL_HEIGHT, PANEL_WIDTH, SIDE_AIR, draw_views, png
from gliomask.report.sections import AXIAL
from gliomask.report.views import Views
from gliomask.segmentation import Segmentation
from gliomask.sequences import Sequence

SHOWN = (Sequence.T1CE, Sequence.FLAIR)
"""The one shows the enhancing part, the other the whole tumour."""

WIDTH = 260
"""Of one sequence, pixels."""

COLOURS = 128
"""Grey and three tints: the file is a third as large as with all colours, and looks the same."""


def thumbnail(result: Segmentation) -> bytes:
    """Returns T1ce and FLAIR at the axial section with most tumour, outlined, as the bytes of a PNG file."""
    views = Views.of(result.case, result.label_map, PANEL_WIDTH - 2 * SIDE_AIR, PANEL_HEIGHT)
    panels = dict(draw_views(views, AXIAL))
    height = round(panels[SHOWN[0]].height * WIDTH / PANEL_WIDTH)
    strip = Image.new("RGB", (WIDTH * len(SHOWN), height))
    for n, sequence in enumerate(SHOWN):
        strip.paste(panels[sequence].resize((WIDTH, height), Image.Resampling.LANCZOS), (n * WIDTH, 0))
    return png(strip.quantize(COLOURS).convert("P"))
