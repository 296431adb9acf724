"""The runner of a Dask cluster.

Paths alone go through the scheduler: scans are read and results written by the workers, on the file system they share.

Each thread of a Dask worker watches a process of its own with a warm model (`supervisor`), so limits and crashes are as
on one machine. Where a Dask worker is lost, the scheduler gives its cases to others.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gliomask.cohort import supervisor
from gliomask.cohort.index import Entry, entry_of_cells
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import Result, RowStore, failed, parse_row
from gliomask.cohort.settings import Asked, asked_sha256
from gliomask.cohort.supervisor import Limits, Supervisor
from gliomask.errors import EngineUnavailableError, UsageError

LOCAL = "local"
IN_FLIGHT = 4
"""Cases a thread of a worker that are handed to the scheduler at a time: its memory does not grow with the cohort."""

CONNECT_SECONDS = 30

_warm = threading.local()


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
    limits: Limits = field(default_factory=Limits)

    def run(self, place: CohortPlace, asked: Asked, entries: Iterable[Entry]) -> Generator[Result]:
        """See `runner.Runner`.

        Raises:
            EngineUnavailableError: distributed is not installed (extra `cluster`).
            UsageError: there is no scheduler at the address.
        """
        try:
            from distributed import Client, LocalCluster, as_completed
        except ImportError as error:
            raise EngineUnavailableError(
                f"--dask needs distributed, which cannot be imported ({error}). Run: pip install 'gliomask[cluster]'"
            ) from error
        command = None
        cluster: Any = self.address
        if self.address == LOCAL:
            command = supervisor.WORKER
            cluster = LocalCluster(
                n_workers=self.workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
        try:
            client = Client(cluster, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--dask {self.address}: no scheduler answers there ({error}). Start one: dask scheduler; dask worker."
            ) from error
        try:
            settings = {
                "folder": str(place.folder.absolute()),
                "asked": dict(asked),
                "limits": asdict(self.limits),
                "threads": self.threads,
                "command": command,
            }
            source = iter(entries)
            slots = IN_FLIGHT * max(1, sum(client.nthreads().values()))
            cases: dict[str, str] = {}

            def submit(entry: Entry) -> Any:
                future = client.submit(do_one, entry.cells(), settings, pure=False)
                cases[future.key] = entry.case
                return future

            waiting = as_completed([submit(entry) for entry in islice(source, slots)])
            for future in waiting:
                yield _result(future, cases.pop(future.key), place, asked)
                following = next(source, None)
                if following is not None:
                    waiting.add(submit(following))
        finally:
            client.close()
            if self.address == LOCAL:
                cluster.close()


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
    key = asked_sha256(
        {name: value for name, value in settings.items() if name != "limits"} | {"limits": str(settings["limits"])}
    )
    if getattr(_warm, "key", None) != key:
        if hasattr(_warm, "supervisor"):
            _warm.supervisor.close()
        place = CohortPlace(Path(settings["folder"]))
        command = None if settings["command"] is None else tuple(settings["command"])
        limits = Limits(**settings["limits"])
        _warm.supervisor = Supervisor(
            place, settings["asked"], limits, settings["threads"], threading.Event(), command=command
        )
        _warm.key = key
    result: Result = _warm.supervisor.do(entry_of_cells(cells))
    return {"row": asdict(result.row), "kept": result.kept}
