"""Connections that bring no request: they are closed, and there are never more than are allowed.

The web server waits for ever for the head of a request, and limits only requests; a stranger needs no token to open
connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from gliomask.server.settings import Limits

CHECKS = 4
"""How often, in the time that a connection may wait, it is looked at."""


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Returns the protocol that uvicorn is to use for each connection.

    Args:
        limits: `idle_seconds` that a connection may be without a request that is being answered, and `connections`
            that may be open.
    """
    pause = limits.idle_seconds / CHECKS

    class Patient(H11Protocol):
        """HTTP/1.1 with an end to patience."""

        _waited = 0.0
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Takes the connection, or closes it where too many are open."""
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.close()
                return
            self._timer = self.loop.call_later(pause, self._look)

        def connection_lost(self, exc: Exception | None) -> None:
            """Stops looking."""
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _look(self) -> None:
            cycle: Any = self.cycle
            # While a request is answered, the one who receives it looks after its pace.
            self._waited = self._waited + pause if cycle is None or cycle.response_complete else 0.0
            if self._waited >= limits.idle_seconds:
                self.transport.close()
                return
            self._timer = self.loop.call_later(pause, self._look)

    return Patient
