"""A report as one HTML file that needs no other: no font, no picture and no script from elsewhere, so that it opens
anywhere, offline.

Pages without moving parts have no script at all. The viewer of slices and tables that can be sorted have one each,
whose hashes stand in the page's policy: a browser runs these and no other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files

from gliomask.colours import RGB
from gliomask.report.document import (
    MAX_SUBJECT,
    NOTICE,
    Block,
    Cards,
    Document,
    Heading,
    Notice,
    Paragraph,
    Picture,
    Pictures,
    SliceViewer,
    TableBlock,
    visible,
)

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content security policy: should a name from a file ever get past the escaping, the browser still runs and fetches
nothing. With moving parts it also allows the scripts whose hashes it names."""

MOVING: dict[str, Callable[[Block], bool]] = {
    "viewer": lambda block: isinstance(block, SliceViewer),
    "sort": lambda block: isinstance(block, TableBlock) and block.sortable,
}
"""Scripts, each with a style sheet of its name, and which blocks need them."""


def escaped(text: str) -> str:
    """Returns a text that people read as it may stand in HTML, between tags and in attributes.

    Letters that show nothing become visible, and a very long text is cut, see `document.visible`. Every text in HTML
    that the core makes goes through here (decision 0024).
    """
    return escape(visible(text), quote=True)


def to_html(document: Document) -> str:
    """Returns a report as the text of one HTML file."""
    subject = escaped(visible(document.subject, MAX_SUBJECT))
    title = f"{subject} \N{EN DASH} {escaped(document.title)}"
    facts = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in document.facts)
    blocks = "\n".join(_block(block) for block in document.blocks)
    moving = [name for name, needed in MOVING.items() if any(needed(block) for block in document.blocks)]
    scripts = [piece(f"{name}.js") for name in moving]
    policy = f"{POLICY}; script-src {' '.join(map(script_source, scripts))}" if moving else POLICY
    style = "".join(piece(f"{name}.css") for name in ("report", *moving)).replace("NOTICE", NOTICE)
    script = "".join(f"<script>{text}</script>\n" for text in scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="gliomask">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<p class="kind">{escaped(document.title)}</p>
<h1 dir="auto">{subject}</h1>
<dl class="facts">{facts}</dl>
</header>
{blocks}
</main>
<footer>{NOTICE}</footer>
{script}</body>
</html>
"""


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h2>{escaped(block.text)}</h2>"
        case Paragraph():
            return f"<p{' class=quiet' if block.quiet else ''}>{escaped(block.text)}</p>"
        case Notice():
            lines = "".join(f"<p>{escaped(line)}</p>" for line in block.lines)
            return f'<div class="notice{" warning" if block.warning else ""}">{lines}</div>'
        case Cards():
            cards = "".join(_card(card.value, card.title, card.remark) for card in block.cards)
            return f'<div class="cards">{cards}</div>'
        case TableBlock():
            return table_html(block)
        case Pictures():
            return _pictures(block)
        case SliceViewer():
            return _viewer(block)


def _card(value: str, title: str, remark: str) -> str:
    return (
        f'<div class="card"><div class="value">{escaped(value)}</div><div class="title">{escaped(title)}</div><div '
        f'class="remark">{escaped(remark)}</div></div>'
    )


def table_html(table: TableBlock) -> str:
    """Returns a table as HTML; one that can be sorted needs `piece("sort.js")` after it."""
    caption = f"<caption>{escaped(table.caption)}</caption>" if table.caption else ""
    header = "".join(f"<th{_class(table, column)}>{escaped(cell)}</th>" for column, cell in enumerate(table.header))
    rows = []
    for n, row in enumerate(table.rows):
        colour = table.swatches[n] if table.swatches else None
        texts = [escaped(cell) for cell in row]
        if table.links and table.links[n]:
            texts[0] = f'<a href="{escape(table.links[n], quote=True)}">{texts[0]}</a>'
        cells = [
            f"<td{_class(table, column)}>{_swatch(colour) if column == 0 else ''}{text}</td>"
            for column, text in enumerate(texts)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    columns = "".join(f'<col style="width:{100 * width / sum(table.widths):.1f}%">' for width in table.widths)
    head = f"<thead><tr>{header}</tr></thead>" if header else ""
    parts = (caption, f"<colgroup>{columns}</colgroup>" if columns else "", head, f"<tbody>{''.join(rows)}</tbody>")
    return f"<table{' class=sortable' if table.sortable else ''}>{''.join(parts)}</table>"


def _class(table: TableBlock, column: int) -> str:
    names = [name for name, columns in (("number", table.numbers), ("code", table.code)) if column in columns]
    return f' class="{" ".join(names)}"' if names else ""


def _swatch(colour: RGB | None) -> str:
    return "" if colour is None else f'<span class="swatch" style="background:rgb{colour}"></span>'


def _pictures(pictures: Pictures) -> str:
    rows = "".join(f'<div class="row">{"".join(_image(picture) for picture in row)}</div>' for row in pictures.rows)
    legend = "".join(f"<span>{_swatch(colour)}{escaped(name)}</span>" for colour, name in pictures.legend)
    caption = f'<figcaption class="caption">{escaped(pictures.caption)}</figcaption>' if pictures.caption else ""
    below = f"<div class=legend>{legend}</div>" if legend else ""
    width = f"max-width:{100 * pictures.width_share:.0f}%"
    return f'<figure style="{width}">{rows}{below}{caption}</figure>'


def _image(picture: Picture) -> str:
    return f'<img alt="{escaped(picture.words)}" src="{_data("png", picture.png)}">'


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


KEYS = (
    "Wheel or arrow keys up and down: slice. Arrow keys left and right: sequence. Ctrl and wheel, + and -: enlarge. "
    "Drag: move. L: labels. 0 or "
    "double click: as before. Pictures are compressed; measure on the scans themselves."
)
"""How the viewer is used, below it."""


def _viewer(viewer: SliceViewer) -> str:
    """All slices; hidden until its script runs, so that nothing is shown that does not work."""
    facts = {
        "tile": viewer.tile,
        "columns": viewer.columns,
        "slices": viewer.slices,
        "slicesInAll": viewer.slices_in_all,
        "first": viewer.first,
        "sheet": viewer.first_sheet,
        "pixelMm": viewer.pixel_mm,
        "marks": viewer.marks,
    }
    buttons = "".join(
        f'<button type="button" data-sheet="{n}">{escaped(title)}</button>'
        for n, (title, _) in enumerate(viewer.sheets)
    )
    sheets = "".join(
        f'<img class="sheet" hidden alt="{escaped(title)}" src="{_data("jpeg", jpeg)}">'
        for title, jpeg in viewer.sheets
    )
    zoom = "".join(
        f'<button type="button" data-zoom="{name}">{sign}</button>'
        for name, sign in (("in", "+"), ("out", "&minus;"), ("reset", "Reset"))
    )
    ranges = "".join(
        f'<label>{title} <input type="range" name="{name}" min="{low}" max="{high}" value="{value}"></label>'
        for title, name, low, high, value in (
            ("Labels", "labels", 0, 100, 45),
            ("Brightness", "brightness", 30, 250, 100),
            ("Contrast", "contrast", 30, 300, 100),
        )
    )
    return f"""<div class="viewer" id="viewer" hidden data-facts="{escape(json.dumps(facts), quote=True)}">
<h2>All slices</h2>
<div class="tools">{buttons}{zoom}<output aria-live="polite"></output></div>
<canvas width="760" height="760" tabindex="0"
  aria-label="Axial slices; arrow keys up and down change the slice"></canvas>
<div class="tools"><label class="slice">Slice <input type="range" name="slice" min="0" max="0" value="0"></label></div>
<div class="tools">{ranges}</div>
<p class="quiet">{KEYS}</p>
{sheets}<img class="labels" hidden alt="labels" src="{_data("png", viewer.labels)}">
</div>"""


def script_source(script: str) -> str:
    """Returns how a content security policy names a script (CSP level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def piece(name: str) -> str:
    """Returns a script or a style sheet that lies beside this module."""
    return files("gliomask.report").joinpath(name).read_text(encoding="utf-8")
