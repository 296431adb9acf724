"""The page of a study: one HTML file to look through hundreds of cases by keyboard and to write down what was decided.

It stands alone, but for the pictures of a very large cohort: those beyond `EMBEDDED_BYTES` are taken from the cases'
own files.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gliomask.errors import EngineUnavailableError
from gliomask.report.document import TableBlock
from gliomask.report.html import piece, script_source, table_html

if TYPE_CHECKING:
    from jinja2 import Template

EMBEDDED_BYTES = 60_000_000
"""Of pictures that the page holds itself, some 1,300 cases: browsers open a page of that size in seconds."""


@dataclass(frozen=True)
class PageCase:
    """A case on the page.

    Args:
        case: its id.
        status: `done`, `failed` or `waiting`.
        facts: short lines about it.
        attention: why to look at it: flags, outlier, failure; empty for others.
        picture: JPEG, or the path of a picture's file from the page, with slashes; None where there is none.
        label_map_sha256: what a decision is about; empty where there is no label map.
    """

    case: str
    status: str
    facts: tuple[str, ...]
    attention: tuple[str, ...]
    picture: bytes | str | None
    label_map_sha256: str = ""


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
        study: names the study among others, so that decisions of each are kept apart.
    """

    title: str
    facts: tuple[str, ...]
    failures: tuple[tuple[str, str, str, str], ...]
    pictures: tuple[tuple[str, bytes], ...]
    cases: tuple[PageCase, ...]
    table: TableBlock
    study: str = ""

    def html(self) -> bytes:
        """Returns the page; it needs no network, and what cases are called cannot become a part of the page.

        Raises:
            EngineUnavailableError: Jinja2 is not installed (extra `summary`).
        """
        from markupsafe import Markup

        scripts = [_piece("page.js"), piece("sort.js")]
        text = template().render(
            title=self.title,
            study=self.study,
            facts=self.facts,
            pictures=[(caption, _data("image/png", png)) for caption, png in self.pictures],
            failures=self.failures,
            # Ours, or escaped where they are made.
            table=Markup(table_html(self.table)),
            cases=Markup(_in_script([_values(case) for case in self.cases])),
            style=Markup(_piece("page.css") + piece("sort.css")),
            scripts=list(map(Markup, scripts)),
            script_sources=Markup(" ".join(map(script_source, scripts))),
        )
        return text.encode("utf-8", "backslashreplace")


@cache
def template() -> Template:
    """Returns the template of the page; every value in it is escaped.

    Raises:
        EngineUnavailableError: Jinja2 is not installed (extra `summary`).
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise EngineUnavailableError(
            f"The page needs Jinja2, which cannot be imported ({error}). Run: pip install 'gliomask[summary]'"
        ) from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_piece("page.html"))


def _values(case: PageCase) -> Mapping[str, Any]:
    return {
        "case": case.case,
        "status": case.status,
        "facts": case.facts,
        "attention": case.attention,
        "picture": _data("image/jpeg", case.picture) if isinstance(case.picture, bytes) else case.picture or "",
        "labelMap": case.label_map_sha256,
    }


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _in_script(values: Ordered[Any]) -> str:
    """JSON that cannot end the element it stands in (HTML standard, "Restrictions for contents of script elements")."""
    return json.dumps(values).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _piece(name: str) -> str:
    return files("gliomask.summary").joinpath(name).read_text(encoding="utf-8")
