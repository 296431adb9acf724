"""Handing a page out on this computer alone: loopback, under a path that nobody can guess, to one browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import compare_digest, token_urlsafe
from typing import Any

from gliomask.errors import GliomaskError, UsageError
from gliomask.io import nifti
from gliomask.view.corrections import Corrections
from gliomask.view.exams import Exam
from gliomask.view.page import SCRIPT, STYLE, Page, served_html
from gliomask.view.sent import MAX_BODY_BYTES, read_sent

LOOPBACK = "127.0.0.1"

CORRECTIONS_PATH = "corrections"
"""Where the page sends corrections, from its own path."""

CONNECTION_SECONDS = 60.0
"""A connection that says nothing for so long is ended."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self' blob: data:; "
        "font-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class ViewerContent:
    """What the server hands out and takes in.

    Args:
        page: to look at.
        exam: whose segmentation may be corrected; None where nothing may.
        corrections: where corrections go.
    """

    page: Page
    exam: Exam | None
    corrections: Corrections | None


class ViewServer(ThreadingHTTPServer):
    """Serves one page; `url` is where.

    Args:
        content: what is handed out.
        port: 0 takes any that is free.

    Raises:
        UsageError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, content: ViewerContent, port: int = 0) -> None:
        self.content = content
        self.token = token_urlsafe(16)
        self.saving = threading.Lock()
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"Port {port} of {LOOPBACK} cannot be used ({error.strerror}). Give another with --port, or 0 for any."
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in mid-answer is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    timeout = CONNECTION_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "gliomask"
    sys_version = ""

    def do_GET(self) -> None:
        self._guarded(self._hand_out)

    def do_POST(self) -> None:
        self._guarded(self._take_in)

    def log_message(self, format: str, *args: Any) -> None:
        """Addresses hold the token, so none is written down."""

    def _guarded(self, answer: Callable[[str], None]) -> None:
        # Another site may have its name point to this computer, and then read answers: so the name is asked for as well
        # as the token.
        names = {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}
        token, _, path = self.path.removeprefix("/").partition("/")
        if self.headers.get("Host") not in names or not compare_digest(token.encode(), self.server.token.encode()):
            self.close_connection = True
            return self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in names:
            self.close_connection = True
            return self._answer(HTTPStatus.FORBIDDEN, b"forbidden\n", "text/plain")
        return answer(path)

    def _hand_out(self, path: str) -> None:
        page = self.server.content.page
        if path == "":
            return self._answer(HTTPStatus.OK, served_html(page), "text/html; charset=utf-8")
        if path == SCRIPT:
            return self._answer(HTTPStatus.OK, page.script, "text/javascript; charset=utf-8")
        if path == STYLE:
            return self._answer(HTTPStatus.OK, page.style, "text/css; charset=utf-8")
        number = path.removeprefix("files/")
        if (
            path.startswith("files/")
            and number.isascii()
            and number.isdecimal()
            and len(number) < 5
            and int(number) < len(page.contents)
        ):
            try:
                return self._answer(HTTPStatus.OK, page.content(int(number)), "application/octet-stream")
            except GliomaskError:
                return self._answer(HTTPStatus.GONE, b"gone\n", "text/plain")
        return self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")

    def _take_in(self, path: str) -> None:
        length = self.headers.get("Content-Length", "")
        too_long = not (length.isascii() and length.isdecimal()) or int(length) > MAX_BODY_BYTES
        if path != CORRECTIONS_PATH or too_long or self.headers.get("Content-Type") != "application/json":
            self.close_connection = True
            return self._answer_json(HTTPStatus.BAD_REQUEST, {"error": "This is no correction."})
        body = self.rfile.read(int(length))
        try:
            with self.server.saving:
                folder = keep(self.server.content, body)
        except GliomaskError as error:
            return self._answer_json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        return self._answer_json(HTTPStatus.OK, {"folder": folder})

    def _answer_json(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        self._answer(status, json.dumps(values).encode(), "application/json")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in SECURITY_HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def keep(content: ViewerContent, body: bytes) -> str:
    """Keeps the correction that a request holds; returns its folder.

    Raises:
        UsageError: nothing may be corrected here, or as `Corrections.keep`.
        InputError: the request is no correction, or as `Corrections.keep`.
    """
    if content.exam is None or content.corrections is None or content.exam.segmentation is None:
        raise UsageError("This page takes no corrections.")
    shape = nifti.read_shape(content.exam.segmentation.path)
    sent = read_sent(body, (shape[0], shape[1], shape[2]))
    return str(content.corrections.keep(content.exam, sent.labels, sent.who, sent.steps))
