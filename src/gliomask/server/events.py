"""Who watches a job hears of every change: the newest state only, so that a slow listener costs nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gliomask.server.jobs import Progress


class Watch:
    """Progress of running jobs, and those who wait for news of them. Used by one event loop."""

    def __init__(self) -> None:
        self._progress: dict[str, Progress] = {}
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def progress(self, job_id: str) -> Progress:
        """Returns how far a job is; nothing is known of one that does not run."""
        return self._progress.get(job_id, Progress())

    def tell(self, job_id: str, progress: Progress | None) -> None:
        """Notes how far a job is, None once it has ended, and wakes whoever watches it."""
        if progress is None:
            self._progress.pop(job_id, None)
        else:
            self._progress[job_id] = progress
        for event in self._waiting.get(job_id, ()):
            event.set()

    @property
    def watchers(self) -> int:
        """How many watch."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def watching(self, job_id: str) -> AsyncIterator[asyncio.Event]:
        """Gives an event that is set at every change of a job; the watcher clears it."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
