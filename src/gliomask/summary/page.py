"""The page of a study: one HTML file without any other, to look through hundreds of cases by keyboard and to write down
what was decided.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from gliomask.report.document import TableBlock
from gliomask.report.html import piece, table_html


@dataclass(frozen=True)
class PageCase:
    """A case on the page.

    Args:
        case: its id.
        status: `done`, `failed` or `waiting`.
        facts: short lines about it.
        attention: why to look at it: flags, outlier, failure; empty for others.
        picture: JPEG; None where there is none.
    """

    case: str
    status: str
    facts: tuple[str, ...]
    attention: tuple[str, ...]
    picture: bytes | None


@dataclass(frozen=True)
class StudyPage:
    """The page.

    Args:
        title: its title.
        facts: lines under the title.
        failures: reason, count, example and message of each kind of failure.
        pictures: caption and PNG of each figure.
        cases: those that ask for attention first.
        table: a line for each case.
    """

    title: str
    facts: tuple[str, ...]
    failures: tuple[tuple[str, str, str, str], ...]
    pictures: tuple[tuple[str, bytes], ...]
    cases: tuple[PageCase, ...]
    table: TableBlock

    def html(self) -> bytes:
        """Returns the page; it needs no other file and no network, and what cases are called cannot become a part of
        the page.
        """
        parts = {
            "TITLE": escape(self.title),
            "FACTS": "".join(f"<p>{escape(line)}</p>" for line in self.facts),
            "FAILURES": _table(self.failures),
            "PICTURES": "".join(_figure(text, png) for text, png in self.pictures),
            "TABLE": table_html(self.table),
            "STYLE": _piece("page.css") + piece("sort.css"),
            "SCRIPT": _piece("page.js"),
            "SORT": piece("sort.js"),
            "CASES": _in_script([_values(case) for case in self.cases]),
        }
        text = _piece("page.html")
        # In one pass, so that a case called @SCRIPT@ stays a case's name.
        pieces = text.split("@")
        return "".join(parts.get(piece, piece) if number % 2 else piece for number, piece in enumerate(pieces)).encode(
            "utf-8", "backslashreplace"
        )


def _values(case: PageCase) -> Mapping[str, Any]:
    picture = "" if case.picture is None else _data("image/jpeg", case.picture)
    return {
        "case": case.case,
        "status": case.status,
        "facts": case.facts,
        "attention": case.attention,
        "picture": picture,
    }


def _figure(caption: str, png: bytes) -> str:
    return f'<figure><img alt="" src="{_data("image/png", png)}"><figcaption>{escape(caption)}</figcaption></figure>'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _in_script(values: Ordered[Any]) -> str:
    """JSON that cannot end the element it stands in (HTML standard, "Restrictions for contents of script elements")."""
    return json.dumps(values).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(rows: Ordered[Ordered[str]]) -> str:
    if not rows:
        return "<p>No case failed.</p>"
    head = "".join(f"<th>{name}</th>" for name in ("Why", "Cases", "Such as", "Message"))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _piece(name: str) -> str:
    return files("gliomask.summary").joinpath(name).read_text(encoding="utf-8")
