"""The small picture of a result: what the page of the group level shows of each participant, and a quick look finds
beside the results.
"""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from gliomask.report.marks import HALO, QUIET, TEXT
from gliomask.report.pictures import png
from gliomask.report.sections import AXIAL
from gliomask.report.views import Views
from gliomask.segmentation import Prediction
from gliomask.sequences import Sequence

SHOWN = (Sequence.T1CE, Sequence.FLAIR)
"""The one shows the enhancing part, the other the whole tumour."""

WIDTH, HEIGHT, AIR = 260, 280, 10
"""Of one sequence, pixels: the same for all participants, so that they stand in rows."""

EDGE, LETTERS = 8, 16


def thumbnail(result: Prediction) -> bytes:
    """Returns T1ce and FLAIR at the axial section with most tumour, outlined, as the bytes of a PNG file."""
    views = Views.of(result.case, result.label_map, WIDTH - 2 * AIR, HEIGHT - 2 * AIR)
    strip = Image.new("RGB", (WIDTH * len(SHOWN), HEIGHT))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(LETTERS)
    right, left, _, _ = AXIAL.marks
    for n, sequence in enumerate(SHOWN):
        section, start = views.section(AXIAL, sequence), n * WIDTH
        if section is None:
            pen.text((start + WIDTH / 2, HEIGHT / 2), f"without {sequence.title}", QUIET, font, anchor="mm")
            continue
        strip.paste(
            Image.fromarray(section), (start + (WIDTH - section.shape[1]) // 2, (HEIGHT - section.shape[0]) // 2)
        )
        pen.text((start + EDGE, EDGE), sequence.title, TEXT, font, **HALO)
        pen.text((start + EDGE, HEIGHT / 2), right, TEXT, font, anchor="lm", **HALO)
        pen.text((start + WIDTH - EDGE, HEIGHT / 2), left, TEXT, font, anchor="rm", **HALO)
    # Grey and three tints need no more colours than a palette has; the file is a third as large.
    return png(strip.quantize(256))
