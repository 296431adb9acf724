"""Opens the port and serves until a signal ends it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import uvicorn

from gliomask.errors import GliomaskError, UsageError
from gliomask.server.app import create_app
from gliomask.server.connections import protocol
from gliomask.server.keeper import Folders, opened
from gliomask.server.settings import ServerSettings
from gliomask.server.store import JobStore

KEEP_ALIVE_SECONDS = 30

SHUTDOWN_SECONDS = 10
"""Streams of events and uploads may go on for so long after a signal."""

MAX_HEADER_BYTES = 32 << 10


def listen(settings: ServerSettings, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        settings: of the server.
        ready: called with the server's address once the port is open.

    Raises:
        UsageError: the port cannot be opened, the folder cannot be made, or another server uses it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with opened(settings) as (folders, store), _port(settings) as port:
        server = uvicorn.Server(_config(settings, folders, store))
        host, number = port.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{number}")
        server.run(sockets=[port])
        if not server.started:
            raise GliomaskError("The server could not start; the lines above say why.")


def _config(settings: ServerSettings, folders: Folders, store: JobStore) -> uvicorn.Config:
    # Web servers log paths, which hold ids of jobs; this one logs its own lines alone.
    return uvicorn.Config(
        create_app(settings, folders, store),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        http=protocol(settings.limits),
        ws="none",
        lifespan="on",
    )


def _port(settings: ServerSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        port = socket.socket(family, socket.SOCK_STREAM)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind((settings.host, settings.port))
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {settings.host}, port {settings.port} ({error.strerror}). Give another --host or --port."
        ) from error
    return port
