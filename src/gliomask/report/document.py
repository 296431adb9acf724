"""What a report says, without how it looks: a list of blocks that `report.html` and `report.pdf` set, each in its own
way.

Text here is plain. It may come from files, so nothing in it is markup, and the two setters show it letter by letter.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from gliomask.colours import RGB

NOTICE = "Research use only, not a medical device."
"""On every page."""

SCOPE = (
    "For gliomas before treatment: the networks learned from such scans only. After surgery or radiotherapy a "
    "cavity, blood or treatment effects "
    "may be taken for tumour, and volumes do not hold."
)
"""Which patients the numbers hold for; on the first page of every report."""

MAX_CHARACTERS = 1500
"""Longest piece of text that is shown in full."""

MAX_SUBJECT = 120
"""Longest subject that is; no data set's case ids come near."""

HIDDEN_CATEGORIES = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
"""Unicode categories that show nothing, or turn what follows round: shown by their code."""


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text; `quiet` sets it smaller."""

    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Notice:
    """Something to be seen first: a warning, or that there is none."""

    lines: tuple[str, ...]
    warning: bool = True


@dataclass(frozen=True)
class Card:
    """One figure, large, with what it is and a remark."""

    value: str
    title: str
    remark: str = ""


@dataclass(frozen=True)
class Cards:
    """Figures side by side."""

    cards: tuple[Card, ...]


@dataclass(frozen=True)
class TableBlock:
    """Rows of cells.

    Args:
        rows: each as long as the others.
        header: empty for none.
        numbers: columns that are set to the right.
        widths: relative widths of the columns; equal if empty.
        swatches: colour shown before the first cell, by row.
        code: columns of hashes and file names, set in fixed width and broken anywhere.
        caption: what it shows.
        links: address to which the first cell of each row leads, relative and encoded; empty for none. Setters without
            links leave them out.
        sortable: rows can be sorted by a column, where the setter can do that.
    """

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    widths: tuple[float, ...] = ()
    swatches: tuple[RGB | None, ...] = ()
    code: tuple[int, ...] = ()
    caption: str = ""
    links: tuple[str, ...] = ()
    sortable: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG file's bytes, with words for those who cannot see it."""

    png: bytes
    words: str


@dataclass(frozen=True)
class Pictures:
    """Rows of pictures, set as wide as the page, or as a share of it."""

    rows: tuple[tuple[Picture, ...], ...]
    caption: str = ""
    width_share: float = 1.0
    legend: tuple[tuple[RGB, str], ...] = ()


@dataclass(frozen=True)
class SliceViewer:
    """All axial slices, to scroll through and to enlarge; for setters that can move, others leave it out.

    Args:
        sheets: title and JPEG of each sequence, tiles in rows.
        labels: PNG of as many tiles, transparent where there is no label.
        tile: width and height of a tile, pixels.
        columns: tiles side by side.
        slices: number of each tile's slice in the volume, counted from 1.
        slices_in_all: of the volume.
        first: tile that is shown first.
        first_sheet: title of the sequence that is shown first.
        pixel_mm: size of a pixel.
        marks: letters of the directions at the left, right, top and bottom edge.
    """

    sheets: tuple[tuple[str, bytes], ...]
    labels: bytes
    tile: tuple[int, int]
    columns: int
    slices: tuple[int, ...]
    slices_in_all: int
    first: int
    first_sheet: str
    pixel_mm: tuple[float, float]
    marks: tuple[str, str, str, str]


Block = Heading | Paragraph | Notice | Cards | TableBlock | Pictures | SliceViewer


@dataclass(frozen=True)
class Document:
    """A report.

    Args:
        title: what kind of report.
        subject: of whom: the case's id.
        facts: short pairs for the head of the first page.
        blocks: the content.
        created: date for the file's metadata; None where none is known.
    """

    title: str
    subject: str
    facts: tuple[tuple[str, str], ...] = ()
    blocks: tuple[Block, ...] = field(default_factory=tuple)
    created: datetime | None = None


def visible(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Returns text with every letter that shows nothing, or changes the direction of others, written as its code, and
    cut at `limit`.
    """
    shown = "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in HIDDEN_CATEGORIES else letter
        for letter in text[:limit]
    )
    return shown if len(text) <= limit else shown + "\N{HORIZONTAL ELLIPSIS}"
