"""The runner of a Dask cluster.

Paths alone go through the scheduler: scans are read and results written by the workers, on the file system they share.

Each thread of a Dask worker watches a process of its own with a warm model (`supervisor`), so limits and crashes are as
on one machine. Where a Dask worker is lost, the scheduler gives its cases to others.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any

from gliomask.cohort import supervisor
from gliomask.cohort.index import Entry, entry_of_cells
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import Result, RowStore, failed, parse_row
from gliomask.cohort.settings import Asked, asked_sha256
from gliomask.cohort.supervisor import CaseLimits, StoppedError, Supervisor
from gliomask.errors import EngineUnavailableError, UsageError

LOCAL = "local"
IN_FLIGHT = 4
"""Cases a thread of a worker that are handed to the scheduler at a time: its memory does not grow with the cohort."""

CONNECT_SECONDS = 30

STOP_SECONDS = 30
"""How long the end of a run waits for Dask's workers to end theirs."""


@dataclass(frozen=True)
class _Warm:
    """The process with a warm model that a thread of a Dask worker watches.

    Args:
        key: what it was started for.
        supervisor: watches it.
        stop: ends the case at work.
        turn: held while a case is at work, and while the process is ended.
    """

    key: str
    supervisor: Supervisor
    stop: threading.Event
    turn: threading.Lock = field(default_factory=threading.Lock)

    def end(self) -> None:
        """Ends the case at work, then the process; no other case begins."""
        self.stop.set()
        with self.turn:
            self.supervisor.close()


_warm: dict[int, _Warm] = {}
"""By thread, in a Dask worker."""

_ended: set[str] = set()
"""Runs that have ended: a case of theirs that Dask starts late starts no process."""

_lock = threading.Lock()
"""Held while the two are changed."""


@dataclass(frozen=True)
class DaskRunner:
    """Does cases on a Dask cluster.

    Args:
        address: of the scheduler, such as `tcp://head:8786`, or `local` for workers on this machine.
        workers: of a local cluster.
        threads: of each model.
        limits: of each case.
    """

    address: str = LOCAL
    workers: int = 1
    threads: int = 1
    limits: CaseLimits = field(default_factory=CaseLimits)

    def run(self, place: CohortPlace, asked: Asked, entries: Iterable[Entry]) -> Generator[Result]:
        """See `runner.Runner`.

        Raises:
            EngineUnavailableError: distributed is not installed (extra `cluster`).
            UsageError: there is no scheduler at the address, or it has no worker.
        """
        try:
            from distributed import as_completed
        except ImportError as error:
            raise EngineUnavailableError(
                f"--dask needs distributed, which cannot be imported ({error}). Run: pip install 'gliomask[cluster]'"
            ) from error
        settings = {
            "folder": str(place.folder.absolute()),
            "asked": dict(asked),
            "limits": asdict(self.limits),
            "threads": self.threads,
            "command": supervisor.WORKER if self.address == LOCAL else None,
            "run": token_hex(8),
        }
        source = iter(entries)
        with self._client() as client:
            pending: dict[str, tuple[Any, str]] = {}

            def submit(entry: Entry) -> Any:
                future = client.submit(do_one, entry.cells(), settings, pure=False)
                pending[future.key] = future, entry.case
                return future

            slots = IN_FLIGHT * sum(client.nthreads().values())
            try:
                waiting = as_completed([submit(entry) for entry in islice(source, slots)])
                for future in waiting:
                    yield _result(future, pending.pop(future.key)[1], place, asked)
                    following = next(source, None)
                    if following is not None:
                        waiting.add(submit(following))
            finally:
                _end(client, [future for future, _ in pending.values()], _key(settings))

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A connection to the scheduler, which has a worker."""
        from distributed import Client, LocalCluster

        with ExitStack() as opened:
            cluster: Any = self.address
            if self.address == LOCAL:
                cluster = LocalCluster(
                    n_workers=self.workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
                )
                opened.callback(cluster.close)
            try:
                client = Client(cluster, timeout=CONNECT_SECONDS)
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"--dask {self.address}: no scheduler answers there ({error}). Start one: dask scheduler; dask "
                    "worker."
                ) from error
            opened.callback(client.close)
            try:
                client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            except TimeoutError:
                raise UsageError(
                    f"--dask {self.address}: the scheduler has no worker. Start some, on machines that see the same "
                    f"files: dask worker {self.address} --nthreads 1"
                ) from None
            yield client


def _end(client: Any, futures: list[Any], key: str) -> None:
    """Ends the cases at work and the processes that keep a model for this run; the cluster stays to others."""
    # A scheduler that is lost is no reason to fail: its workers end by themselves what they have begun. `Client.run`,
    # which is public, waits without a limit.
    with suppress(Exception):
        client.cancel(futures, force=True)
        client.sync(client._run, release, key, on_error="return", callback_timeout=STOP_SECONDS)


def _result(future: Any, case: str, place: CohortPlace, asked: Asked) -> Result:
    from distributed.scheduler import KilledWorker

    try:
        values = future.result()
    except KilledWorker:
        # Dask gave the case to several workers, and each was lost with it.
        row = failed(
            case,
            "worker lost",
            f"Case {case}: the Dask workers that did it were lost, one after the other.",
            1,
            asked_sha256(asked),
        )
        RowStore(place.rows).write(row)
        return Result(row)
    return Result(parse_row(values["row"], case), bool(values["kept"]))


def do_one(cells: dict[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Does a case; runs in a Dask worker, whose thread keeps its process with the warm model for the cases to come."""
    thread, key = threading.get_ident(), _key(settings)
    with _lock:
        if key in _ended:
            raise StoppedError
        before = _warm.get(thread)
        if before is None or before.key != key:
            _warm[thread] = _start(key, settings)
        warm = _warm[thread]
    if before is not None and before is not warm:
        before.end()
    with warm.turn:
        if warm.stop.is_set():
            raise StoppedError
        result: Result = warm.supervisor.do(entry_of_cells(cells))
    return {"row": asdict(result.row), "kept": result.kept}


def _start(key: str, settings: Mapping[str, Any]) -> _Warm:
    place, limits, stop = CohortPlace(Path(settings["folder"])), CaseLimits(**settings["limits"]), threading.Event()
    command = None if settings["command"] is None else tuple(settings["command"])
    return _Warm(key, Supervisor(place, settings["asked"], limits, settings["threads"], stop, command=command), stop)


def release(key: str) -> None:
    """Ends what this Dask worker keeps for a run; a case at work waits again."""
    with _lock:
        _ended.add(key)
        ending = [_warm.pop(thread) for thread, warm in list(_warm.items()) if warm.key == key]
    for warm in ending:
        warm.end()


def _key(settings: Mapping[str, Any]) -> str:
    """Names what a worker's process was started for."""
    return asked_sha256({**settings, "limits": str(settings["limits"])})
