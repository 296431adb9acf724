"""What every request passes before any other code sees it, and what every answer carries.

The order: number of connections, name of the host, other sites, token. All answers forbid other sites' content and
framing.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gliomask.server.access import may_enter
from gliomask.server.answers import refused, wants_html
from gliomask.server.metrics import Metrics
from gliomask.server.problems import RequestError
from gliomask.server.settings import ServerSettings

log = logging.getLogger("gliomask.server")

OPEN_PATHS = frozenset({"/healthz", "/login"})
"""Need no token; so do the files of pages, which hold nothing of anyone."""

OPEN_FOLDER = "/static/"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110, 9.2.1: they change nothing."""

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

SECURITY_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
"""Set unless an answer sets its own."""


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        settings: of the server.
        metrics: told of every answer.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._hosts = settings.allowed_hosts()
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._open += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._open -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                self._metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await refusal(scope, receive, sending)
            return
        try:
            await self._app(scope, receive, sending)
        except Exception:
            # The route's pattern, not its path, which holds the id of a job.
            log.exception("a request failed: %s", getattr(scope.get("route"), "path", "unknown"))
            if began:
                raise
            await refused(request, RequestError("unexpected"))(scope, receive, sending)

    def _refusal(self, request: Request) -> Response | None:
        headers = dict(request.headers.items())
        if self._open > self._settings.limits.connections:
            return refused(request, RequestError("busy"))
        if host_name(headers.get("host", "")) not in self._hosts:
            return refused(request, RequestError("wrong_host"))
        if request.method not in SAFE_METHODS and not same_site(headers):
            return refused(request, RequestError("cross_site"))
        path = request.url.path
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or may_enter(headers, self._settings.token):
            return None
        if request.method == "GET" and wants_html(request):
            return RedirectResponse("/login", status_code=303)
        return refused(request, RequestError("token_needed"))


def host_name(host: str) -> str:
    """The name in a Host header, without its port; empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def same_site(headers: dict[str, str]) -> bool:
    """Whether a request that changes something comes from the server's own pages or from no browser.

    Browsers send Sec-Fetch-Site (W3C Fetch Metadata), older ones Origin, with every such request; programs send
    neither. A cookie alone is not
    trusted: it is sent from pages of other ports of this machine, too.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
