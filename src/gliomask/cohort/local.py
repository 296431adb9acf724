"""The runner of one machine: workers side by side, so that one reads or writes while another computes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

from gliomask.cohort.index import Entry
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import Result
from gliomask.cohort.settings import Asked
from gliomask.cohort.supervisor import CaseLimits, StoppedError, Supervisor
from gliomask.errors import UsageError
from gliomask.files.atomic import not_written

WAIT_SECONDS = 0.5
"""How long the main thread waits for a result before it looks for signals."""

ORPHANS_SECONDS = 10.0
"""How long a new run waits for workers of a killed one; they end as soon as they notice."""


@dataclass(frozen=True)
class LocalRunner:
    """Does cases on this machine.

    Args:
        workers: processes at a time; memory grows with them and not with the cohort.
        threads: of each worker's engine.
        limits: of each case.
        hold_name: of the file by which a later run knows that workers of a killed one still live; None for jobs of a
            cluster, of which many share a folder.
    """

    workers: int = 1
    threads: int = 1
    limits: CaseLimits = field(default_factory=CaseLimits)
    hold_name: str | None = "workers"

    def run(self, place: CohortPlace, asked: Asked, entries: Iterable[Entry]) -> Generator[Result]:
        """See `runner.Runner`.

        Raises:
            UsageError: the system is Windows, or workers of another run are still at work here.
        """
        if os.name == "nt":
            raise UsageError(
                "gliomask cohort needs Linux or macOS. On Windows there is gliomask segment FOLDER --resume."
            )
        source = iter(entries)
        first = next(source, None)
        if first is None:
            return
        stop = threading.Event()
        # Bounded, so that a slow reader holds the workers back.
        results: Queue[Result | BaseException | None] = Queue(2 * self.workers)
        with _held(place.hidden, self.hold_name) as hold:
            shared = _Shared(source, first)
            threads = [
                threading.Thread(target=self._work, args=(place, asked, shared, results, stop, hold), daemon=True)
                for _ in range(self.workers)
            ]
            for thread in threads:
                thread.start()
            try:
                yield from _results(results, len(threads))
            finally:
                stop.set()
                _drain(results, threads)

    def _work(
        self,
        place: CohortPlace,
        asked: Asked,
        shared: _Shared,
        results: Queue[Result | BaseException | None],
        stop: threading.Event,
        hold: tuple[int, ...],
    ) -> None:
        supervisor = Supervisor(place, asked, self.limits, self.threads, stop, hold)
        try:
            while not stop.is_set() and (entry := shared.next()) is not None:
                results.put(supervisor.do(entry))
        except StoppedError:
            pass
        except BaseException as error:
            results.put(error)
        finally:
            supervisor.close()
            results.put(None)


class _Shared:
    """An iterator that threads share."""

    def __init__(self, source: Iterator[Entry], first: Entry) -> None:
        self._source, self._first, self._lock = source, first, threading.Lock()
        self._begun = False

    def next(self) -> Entry | None:
        with self._lock:
            if not self._begun:
                self._begun = True
                return self._first
            return next(self._source, None)


def _results(results: Queue[Result | BaseException | None], threads: int) -> Iterator[Result]:
    working = threads
    while working:
        try:
            item = results.get(timeout=WAIT_SECONDS)
        except Empty:
            continue
        if item is None:
            working -= 1
        elif isinstance(item, BaseException):
            raise item
        else:
            yield item


def _drain(results: Queue[Result | BaseException | None], threads: list[threading.Thread]) -> None:
    """Waits for the threads to end; what they still want to put is taken from them, and rows of it are on disk."""
    while any(thread.is_alive() for thread in threads):
        with suppress(Empty):
            results.get(timeout=0.05)


@contextmanager
def _held(folder: Path, name: str | None) -> Iterator[tuple[int, ...]]:
    """A locked file whose descriptor the workers inherit, so that it stays locked until the last of them has ended,
    whatever became of their parent.

    Raises:
        UsageError: workers of another run live in this folder.
    """
    if name is None or os.name == "nt":
        yield ()
        return
    import fcntl

    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise not_written(path, error) from error
    try:
        until = time.monotonic() + ORPHANS_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise UsageError(
                        f"{folder.parent}: workers of another run are at work here. Wait for them, or give another "
                        "output folder."
                    ) from None
                time.sleep(0.1)
            except OSError:
                # A file system without locks: the run's own lock has to do.
                break
        yield (descriptor,)
    finally:
        os.close(descriptor)
