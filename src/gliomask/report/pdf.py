"""A report as PDF, A4, set by fpdf2 (the extra `report`): text is placed letter by letter, so that nothing in it can be
markup.

The fonts are the DejaVu family that comes with matplotlib, embedded as far as they are used. The same document gives
the same bytes.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from gliomask.colours import RGB
from gliomask.errors import EngineUnavailableError
from gliomask.report.document import (
    MAX_SUBJECT,
    NOTICE,
    Block,
    Card,
    Cards,
    Document,
    Heading,
    Notice,
    Paragraph,
    Pictures,
    SliceViewer,
    TableBlock,
    visible,
)

if TYPE_CHECKING:
    from fpdf import FPDF

# Millimetres and points on A4.
MARGIN, WIDTH, FOOT = 15.0, 180.0, 20.0
PAGE_HEIGHT = 297.0
BODY, SMALL, LARGE = 8.5, 7.2, 15.0
LINE = 4.4
GAP = 1.2
MOST_CARDS = 5
"""In a row."""

HEADING, ROW, PARAGRAPH, SHORT_SECTION = 11.0, 5.9, 12.0, 135.0
"""Heights of a heading, of a row of one line and of a paragraph; and up to which a section is kept on one page."""

INK, QUIET, RULE, BAND, ACCENT, WARNING = (
    (27, 36, 48),
    (91, 102, 117),
    (217, 222, 229),
    (244, 246, 248),
    (11, 92, 138),
    (138, 47, 0),
)
NOTICE_COLOURS = {True: ((255, 244, 230), (184, 92, 0)), False: ((238, 247, 241), (46, 125, 79))}
"""Ground and bar of a notice, by whether it warns."""

UNDATED = datetime(1980, 1, 1, tzinfo=UTC)
"""Creation date in the file where the run's is not known: the present would make each file another."""

FONTS = {("sans", ""): "DejaVuSans.ttf", ("sans", "B"): "DejaVuSans-Bold.ttf", ("mono", ""): "DejaVuSansMono.ttf"}


def require_fpdf() -> None:
    """Raises EngineUnavailableError where PDF cannot be written."""
    try:
        import fpdf  # noqa: F401
    except ImportError:
        raise EngineUnavailableError(
            "A PDF report needs fpdf2. Install it with: pip install 'gliomask[report]', or leave pdf out of the "
            "formats."
        ) from None


def to_pdf(document: Document) -> bytes:
    """Returns a report as the bytes of a PDF file.

    Raises:
        EngineUnavailableError: fpdf2 is not installed.
    """
    require_fpdf()
    page = _new_file(document)
    page.add_page()
    _head(page, document)
    for n, block in enumerate(document.blocks):
        if isinstance(block, Heading):
            section = takewhile(lambda later: not isinstance(later, Heading), document.blocks[n + 1 :])
            _heading(page, block, tuple(section))
        else:
            _block(page, block)
    return bytes(page.output())


def _new_file(document: Document) -> FPDF:
    from fpdf import FPDF

    subject = _shown(visible(document.subject, MAX_SUBJECT))

    class PdfPage(FPDF):
        """A4 with the notice, the subject and the page's number at the foot of every page."""

        def footer(self) -> None:
            self.set_y(-FOOT + 6)
            self.set_draw_color(*RULE)
            self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())
            self.set_y(-FOOT + 8)
            _font(self, SMALL, WARNING, "B")
            self.cell(WIDTH * 0.5, LINE, NOTICE)
            _font(self, SMALL, QUIET)
            number = f"   {self.page_no()}/{{nb}}"
            self.cell(WIDTH * 0.5, LINE, _fitted(self, subject, WIDTH * 0.5 - 14) + number, align="R")

    page = PdfPage(format="A4", unit="mm")
    for (family, style), name in FONTS.items():
        page.add_font(family, style, _font_folder() / name)
    page.set_margins(MARGIN, MARGIN, MARGIN)
    page.c_margin = 0
    page.set_auto_page_break(True, FOOT)
    page.set_title(f"{subject} - {document.title}")
    page.set_subject(document.title)
    page.set_creator("gliomask")
    page.set_producer("fpdf2")
    page.set_lang("en")
    page.set_creation_date(document.created or UNDATED)
    page.alias_nb_pages()
    return page


@cache
def _font_folder() -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf"


@cache
def _letters() -> frozenset[int]:
    """Letters that the fonts of running text have."""
    from fontTools.ttLib import TTFont

    letters = []
    for name in FONTS.values():
        with TTFont(_font_folder() / name, lazy=True) as font:
            letters.append(frozenset(font.getBestCmap()))
    return frozenset.intersection(*letters)


def _shown(text: str) -> str:
    """Text with letters that the fonts do not have written as their code."""
    known = _letters()
    return "".join(letter if ord(letter) in known else f"\\u{ord(letter):04x}" for letter in visible(text))


def _font(page: FPDF, size: float, colour: RGB = INK, style: str = "", family: str = "sans") -> None:
    page.set_font(family, style, size)
    page.set_text_color(*colour)


def _fitted(page: FPDF, text: str, width: float) -> str:
    """As much of a text as a line holds."""
    if page.get_string_width(text) <= width:
        return text
    while text and page.get_string_width(text + "\N{HORIZONTAL ELLIPSIS}") > width:
        text = text[:-1]
    return text + "\N{HORIZONTAL ELLIPSIS}"


def _write(page: FPDF, text: str, width: float = WIDTH, line: float = LINE) -> None:
    """A paragraph at the present place; the next begins below it."""
    page.multi_cell(width, line, _shown(text), align="L", new_x="LEFT", new_y="NEXT")


def _lines(page: FPDF, text: str, width: float, *, anywhere: bool = False) -> list[str]:
    """A text broken into lines; `anywhere`, or at spaces where there are some."""
    from fpdf.enums import WrapMode

    wrap = WrapMode.CHAR if anywhere else WrapMode.WORD
    lines = page.multi_cell(width, LINE, _shown(text), align="L", dry_run=True, output="LINES", wrapmode=wrap)
    return lines if isinstance(lines, list) and lines else [""]


def _room(page: FPDF, height: float) -> None:
    """Begins a new page where fewer millimetres are left."""
    if page.get_y() + height > PAGE_HEIGHT - FOOT and page.get_y() > MARGIN + 1:
        page.add_page()
    page.set_x(MARGIN)


def _head(page: FPDF, document: Document) -> None:
    _font(page, SMALL, ACCENT, "B")
    _write(page, document.title.upper())
    _font(page, LARGE, INK, "B")
    for line in _lines(page, visible(document.subject, MAX_SUBJECT), WIDTH, anywhere=True):
        page.cell(WIDTH, 7, line, new_x="LMARGIN", new_y="NEXT")
    page.ln(1)
    width = WIDTH / max(1, len(document.facts))
    top = bottom = page.get_y()
    for n, (name, value) in enumerate(document.facts):
        page.set_xy(MARGIN + n * width, top)
        _font(page, SMALL, QUIET)
        _write(page, name, width - 2, 3.6)
        _font(page, SMALL)
        _write(page, value, width - 2, 3.6)
        bottom = max(bottom, page.get_y())
    page.set_draw_color(*ACCENT)
    page.set_line_width(0.8)
    page.line(MARGIN, bottom + 1.5, MARGIN + WIDTH, bottom + 1.5)
    page.set_line_width(0.2)
    page.set_xy(MARGIN, bottom + 4)


def _block(page: FPDF, block: Block) -> None:
    page.set_x(MARGIN)
    match block:
        case Paragraph():
            _font(page, SMALL if block.quiet else BODY, QUIET if block.quiet else INK)
            _write(page, block.text, line=3.7 if block.quiet else LINE)
            page.ln(1.5)
        case Notice():
            _notice(page, block)
        case Cards():
            for start in range(0, len(block.cards), MOST_CARDS):
                _cards(page, block.cards[start : start + MOST_CARDS])
        case TableBlock():
            _table(page, block)
        case Pictures():
            _pictures(page, block)
        case SliceViewer():
            # Paper does not scroll.
            pass


def _heading(page: FPDF, heading: Heading, section: tuple[Block, ...]) -> None:
    """A heading stays with what follows; a short section without pictures is kept on one page."""
    height = HEADING + sum(map(_height, section))
    whole = height <= SHORT_SECTION and not any(isinstance(block, Pictures) for block in section)
    _room(page, height if whole else 30.0)
    page.ln(2)
    _font(page, 11, INK, "B")
    page.cell(WIDTH, 6, _shown(heading.text), new_x="LMARGIN", new_y="NEXT")
    page.set_draw_color(*RULE)
    page.line(MARGIN, page.get_y() + 0.5, MARGIN + WIDTH, page.get_y() + 0.5)
    page.ln(2.5)


def _height(block: Block) -> float:
    """About how many millimetres a block takes."""
    if isinstance(block, SliceViewer):
        return 0.0
    return (len(block.rows) + 2) * ROW if isinstance(block, TableBlock) else PARAGRAPH


def _notice(page: FPDF, notice: Notice) -> None:
    _font(page, BODY)
    height = sum(len(_lines(page, line, WIDTH - 8)) for line in notice.lines) * LINE + 3
    _room(page, height)
    ground, bar = NOTICE_COLOURS[notice.warning]
    left, top = MARGIN, page.get_y()
    page.set_fill_color(*ground)
    page.rect(left, top, WIDTH, height, "F")
    page.set_fill_color(*bar)
    page.rect(left, top, 1.2, height, "F")
    page.set_xy(left + 4, top + 1.5)
    for line in notice.lines:
        _write(page, line, WIDTH - 8)
    page.set_xy(MARGIN, top + height + 2.5)


def _cards(page: FPDF, cards: tuple[Card, ...]) -> None:
    height, gap = 17.5, 3.0
    _room(page, height + 2)
    width = (WIDTH - gap * (len(cards) - 1)) / len(cards)
    top = page.get_y()
    for n, card in enumerate(cards):
        left = MARGIN + n * (width + gap)
        page.set_draw_color(*RULE)
        page.rect(left, top, width, height)
        page.set_fill_color(*ACCENT)
        page.rect(left, top, width, 0.8, "F")
        for text, size, colour, style, down in (
            (card.value, 12.5, INK, "B", 2.2),
            (card.title, SMALL, INK, "", 8.2),
            (card.remark, 6.3, QUIET, "", 12.2),
        ):
            _font(page, size, colour, style)
            page.set_xy(left + 2, top + down)
            page.cell(width - 3, 5, _fitted_to(page, _shown(text), width - 4.5, size))
    page.set_xy(MARGIN, top + height + 3)


def _fitted_to(page: FPDF, text: str, width: float, size: float) -> str:
    """A line made to fit, by a smaller size first and by cutting after that."""
    while page.get_string_width(text) > width and size > 5.5:
        size -= 0.5
        page.set_font_size(size)
    return _fitted(page, text, width)


def _table(page: FPDF, table: TableBlock) -> None:
    columns = len(table.rows[0]) if table.rows else len(table.header)
    shares = table.widths or (1.0,) * columns
    widths = [WIDTH * share / sum(shares) for share in shares]
    if table.header:
        _room(page, 3 * LINE)
        _row(page, table, table.header, widths, None, heading=True)
    for n, row in enumerate(table.rows):
        if n == len(table.rows) - 1 and table.caption:
            # The caption is not left alone on the next page.
            _room(page, 4 * LINE)
        _row(page, table, row, widths, table.swatches[n] if table.swatches else None)
    if table.caption:
        page.ln(1)
        _font(page, SMALL, QUIET)
        _write(page, table.caption, line=3.7)
    page.ln(2.5)


def _row(
    page: FPDF,
    table: TableBlock,
    cells: tuple[str, ...],
    widths: list[float],
    swatch: RGB | None,
    *,
    heading: bool = False,
) -> None:
    indents = [5.0 if swatch and n == 0 else 0.0 for n in range(len(cells))]
    lines = []
    for n, cell in enumerate(cells):
        _cell_font(page, table, n, heading=heading)
        width = widths[n] - 2 * GAP - indents[n]
        lines.append(_lines(page, cell, width, anywhere=n in table.code and not heading))
    height = max(map(len, lines)) * 3.9 + 1.8
    _room(page, height)
    top, left = page.get_y(), MARGIN
    if heading:
        page.set_fill_color(*BAND)
        page.rect(MARGIN, top, WIDTH, height, "F")
    if swatch:
        page.set_fill_color(*swatch)
        page.rect(left + GAP, top + 1.5, 3, 3, "F")
    for n, pieces in enumerate(lines):
        _cell_font(page, table, n, heading=heading)
        for row, piece in enumerate(pieces):
            page.set_xy(left + GAP + indents[n], top + 0.9 + row * 3.9)
            page.cell(widths[n] - 2 * GAP - indents[n], 3.9, piece, align="R" if n in table.numbers else "L")
        left += widths[n]
    page.set_draw_color(*RULE)
    page.line(MARGIN, top + height, MARGIN + WIDTH, top + height)
    page.set_xy(MARGIN, top + height)


def _cell_font(page: FPDF, table: TableBlock, column: int, *, heading: bool) -> None:
    if heading:
        _font(page, SMALL, QUIET, "B")
    elif column in table.code:
        _font(page, 6.6, family="mono")
    else:
        _font(page, 8)


def _pictures(page: FPDF, pictures: Pictures) -> None:
    from PIL import Image

    width = WIDTH * pictures.width_share
    for row in pictures.rows:
        images = [Image.open(io.BytesIO(picture.png)) for picture in row]
        # All pictures of a row get one height, at which they fill its width.
        height = (width - GAP * (len(row) - 1)) / sum(image.width / image.height for image in images)
        _room(page, height + GAP)
        top, left = page.get_y(), MARGIN
        for picture, image in zip(row, images, strict=True):
            across = height * image.width / image.height
            page.image(io.BytesIO(picture.png), left, top, across, height, alt_text=visible(picture.words))
            left += across + GAP
        page.set_xy(MARGIN, top + height + GAP)
    if pictures.legend:
        _legend(page, pictures.legend)
    if pictures.caption:
        _font(page, SMALL, QUIET)
        _write(page, pictures.caption, line=3.7)
    page.ln(2)


def _legend(page: FPDF, legend: tuple[tuple[RGB, str], ...]) -> None:
    _font(page, SMALL)
    _room(page, 6)
    top, left = page.get_y() + 0.8, MARGIN
    for colour, name in legend:
        page.set_fill_color(*colour)
        page.rect(left, top + 0.6, 3, 3, "F")
        text = _shown(name)
        page.set_xy(left + 4.5, top)
        page.cell(page.get_string_width(text) + 2, LINE, text)
        left += page.get_string_width(text) + 12
    page.set_xy(MARGIN, top + LINE + 1)
