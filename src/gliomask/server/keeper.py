"""Order in the server's folder: what a dead server left behind, and what has expired."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import FileFormatError
from gliomask.files.atomic import make_folder
from gliomask.files.json import read_json_as
from gliomask.files.lock import locked
from gliomask.server import training_copies
from gliomask.server.correction_order import CORRECTIONS
from gliomask.server.jobs import Failure, JobOutcome, State
from gliomask.server.settings import Limits, ServerSettings
from gliomask.server.store import JobStore
from gliomask.server.worker import OUTCOME

log = logging.getLogger("gliomask.server")

PRIVATE = 0o700
"""Folders of patients' scans are the server's alone."""


@dataclass(frozen=True)
class Folders:
    """Where a server keeps what.

    Args:
        top: of all.
    """

    top: Path

    @property
    def jobs(self) -> Path:
        """A folder for each job, named by its id."""
        return self.top / "jobs"

    @property
    def incoming(self) -> Path:
        """Uploads that are not complete."""
        return self.top / "incoming"

    @property
    def studies(self) -> Path:
        """Studies that arrive by DICOMweb."""
        return self.top / "studies"

    @property
    def table(self) -> Path:
        """The table of jobs."""
        return self.top / "jobs.sqlite3"

    def make(self) -> None:
        """Makes them, for the server's user alone.

        Raises:
            UsageError: one cannot be made.
        """
        for folder in (self.top, self.jobs, self.incoming, self.studies):
            fresh = not folder.exists()
            make_folder(folder)
            if fresh:
                folder.chmod(PRIVATE)


@contextmanager
def opened(settings: ServerSettings) -> Iterator[tuple[Folders, JobStore]]:
    """Opens a server's folder for the one server that uses it, and brings it into order.

    Raises:
        UsageError: another server uses it, or it cannot be made or written.
        FileFormatError: its table is of another version, or none.
    """
    folders = Folders(settings.folder)
    folders.make()
    with locked(settings.folder, "server"):
        store = JobStore(folders.table)
        try:
            recover(folders, store, settings.limits, settings.corrections)
            yield folders, store
        finally:
            store.close()


def recover(folders: Folders, store: JobStore, limits: Limits, training: Path | None = None) -> None:
    """Brings table and folders back together after the end of a server, however it ended.

    Jobs that ran are finished if their worker had left an outcome, begun again if they have an attempt left, and
    failed otherwise. Workers of a dead
    server end with it. Uploads that were not complete were never confirmed to a client; they go.
    """
    for job in store.running():
        path = folders.jobs / job.id / OUTCOME
        if path.is_file() and _finished(store, job.id, path, limits):
            continue
        if job.attempts < limits.attempts:
            store.again(job.id)
            log.info("job %s was interrupted and waits again", job.short)
            continue
        message = f"The server ended in the middle of the job, {job.attempts} times."
        failure = Failure(
            code="interrupted",
            message=message,
            hint="Send the scans again; if the server ends again, tell whoever runs it.",
        )
        store.finish(job.id, State.FAILED, JobOutcome(failure=failure), limits.keep_seconds)
        log.warning("job %s was interrupted %d times and failed", job.short, job.attempts)
    _sweep(folders, store, training)


def _sweep(folders: Folders, store: JobStore, training: Path | None) -> None:
    """Removes folders that nothing in the table stands for."""
    known, studies = store.ids(), {study.folder for study in store.studies()}
    for name in studies:
        # The server ended between giving the study's folder its place and noting the job.
        if (folders.jobs / name).is_dir() and not (folders.studies / name).exists():
            (folders.jobs / name).rename(folders.studies / name)
    for left in folders.incoming.iterdir():
        _remove(left)
    for folder in folders.jobs.iterdir():
        if folder.name not in known:
            _remove(folder)
        elif (folder / CORRECTIONS).is_dir():
            _sweep_corrections(folder, store, training)
    for folder in folders.studies.iterdir():
        if folder.name not in studies:
            _remove(folder)


def _sweep_corrections(job: Path, store: JobStore, training: Path | None) -> None:
    kept = store.corrections(job.name)
    for name in kept:
        training_copies.settle(training, name, job.name)
    for left in [path for path in (job / CORRECTIONS).iterdir() if path.name not in kept]:
        training_copies.discard(training, left.name)
        _remove(left)


def _finished(store: JobStore, job_id: str, path: Path, limits: Limits) -> bool:
    try:
        outcome = read_json_as(path, JobOutcome, "an outcome of a job")
    except FileFormatError:
        return False
    state = State.DONE if outcome.failure is None else State.FAILED
    return store.finish(job_id, state, outcome, limits.keep_seconds)


def expire(folders: Folders, store: JobStore, limits: Limits) -> int:
    """Removes the files of jobs whose time is over; returns how many."""
    overdue = store.overdue()
    # The table first: whoever asks from now on hears that it has expired, instead of finding half of it.
    store.expire(job.id for job in overdue)
    for job in overdue:
        _remove(folders.jobs / job.id)
        log.info("job %s expired", job.short)
    store.forget(limits.remember_seconds)
    return len(overdue)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def free_bytes(folders: Folders) -> int:
    """Free bytes of the disk."""
    return shutil.disk_usage(folders.top).free


def writable(folders: Folders) -> bool:
    """Whether the server can write to its folder."""
    return os.access(folders.incoming, os.W_OK)
