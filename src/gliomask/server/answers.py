"""How a refusal is told: as JSON to programs, as a page to people."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from gliomask import __version__
from gliomask.server.problems import RequestError


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("gliomask.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    return environment


def page(
    name: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Returns a page; every value in it is escaped."""
    return HTMLResponse(_templates().get_template(name).render(values), status, headers=dict(headers or {}))


def wants_html(request: Request) -> bool:
    """Whether a person's browser asks, and not for the API."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
        ("/api/", "/dicomweb/", "/static/")
    )


def refused(request: Request, problem: RequestError) -> Response:
    """Returns the answer to a request that is refused."""
    if wants_html(request):
        return page("problem.html", {"problem": problem}, problem.status, problem.headers)
    return JSONResponse(problem.failure.model_dump(), problem.status, headers=problem.headers)
