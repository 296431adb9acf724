"""The table of jobs.

SQLite with a write-ahead log, flushed at every change, so that it survives the end of the server and of the power.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.errors import FileFormatError
from gliomask.server.jobs import Correction, DeliveryState, Failure, Job, JobOptions, JobOutcome, Kind, State

VERSION = 1
"""Of the table; written into the file (`PRAGMA user_version`)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, options TEXT NOT NULL, created REAL NOT NULL,
  started REAL, finished REAL, expires REAL, attempts INTEGER NOT NULL DEFAULT 0, outcome TEXT,
  study_uid TEXT NOT NULL DEFAULT '', delivery TEXT NOT NULL DEFAULT 'none', deliveries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created);
CREATE INDEX IF NOT EXISTS jobs_by_study ON jobs (study_uid) WHERE study_uid != '';
CREATE TABLE IF NOT EXISTS studies (
  study_uid TEXT PRIMARY KEY, folder TEXT NOT NULL, instances INTEGER NOT NULL, received REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS corrections (
  job_id TEXT NOT NULL, number INTEGER NOT NULL, folder TEXT NOT NULL, correction TEXT NOT NULL,
  PRIMARY KEY (job_id, number)
) STRICT;
"""

_COLUMNS = (
    "id, kind, state, options, created, started, finished, expires, attempts, outcome, study_uid, delivery, deliveries"
)


@dataclass(frozen=True)
class Study:
    """A study that arrives by DICOMweb and is not complete yet.

    Args:
        study_uid: StudyInstanceUID; identifies an examination.
        folder: name of the folder with its instances.
        instances: how many have come.
        received: when the last came, seconds since 1970.
    """

    study_uid: str
    folder: str
    instances: int
    received: float


class JobStore:
    """The table; safe to use from several threads of one process.

    Args:
        path: the database file, made where it does not exist.

    Raises:
        FileFormatError: the file is no such table, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        # Made before SQLite makes it: UIDs of studies are for the server's user alone. The log beside it gets the same
        # rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        try:
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise FileFormatError(
                    f"{path}: a table of jobs of version {version}; this program reads {VERSION}. Give another folder."
                )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            # What is deleted is overwritten: names and UIDs do not stay in free pages.
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.executescript(_SCHEMA + f"PRAGMA user_version={VERSION};")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise FileFormatError(
                f"{path}: no table of jobs ({error}). Give another folder, or remove the file."
            ) from error

    def close(self) -> None:
        """Closes the table; the object cannot be used any more."""
        with self._lock:
            self._db.close()

    def add(self, job: Job) -> None:
        """Adds a new job; it is on disk when this returns."""
        with self._transaction() as db:
            db.execute(f"INSERT INTO jobs ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", _values(job))

    def get(self, job_id: str) -> Job | None:
        """Returns one job, or None."""
        return next(iter(self._jobs("WHERE id = ?", job_id)), None)

    def newest(self, state: State | None = None, limit: int = 100, study_uid: str | None = None) -> list[Job]:
        """Returns jobs, the newest first."""
        wanted = {"state": None if state is None else state.value, "study_uid": study_uid}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(f'{name} = ?' for name in given)}" if given else ""
        return self._jobs(f"{where} ORDER BY created DESC LIMIT ?", *given.values(), limit)

    def due(self) -> list[Job]:
        """Returns jobs whose objects are to be sent to the archive, the oldest first."""
        return self._jobs(
            "WHERE delivery = ? AND state = ? ORDER BY finished", DeliveryState.DUE.value, State.DONE.value
        )

    def delivered(self, job_id: str, delivery: DeliveryState) -> None:
        """Notes how sending a job's objects went."""
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET delivery = ?, deliveries = deliveries + 1 WHERE id = ?", (delivery.value, job_id)
            )

    def due_corrections(self) -> list[tuple[Job, str, Correction]]:
        """Returns corrections whose objects are to be sent to the archive, with their jobs and the names of their
        folders; the oldest job first.
        """
        sql = f"""SELECT {_COLUMNS}, folder, correction FROM corrections JOIN jobs ON id = job_id
                  WHERE json_extract(correction, '$.delivery') = ? AND state = ? ORDER BY created, number"""
        with self._transaction() as db:
            rows = db.execute(sql, (DeliveryState.DUE.value, State.DONE.value)).fetchall()
        return [(_job(row[:-2]), row[-2], Correction.model_validate_json(row[-1])) for row in rows]

    def correction_delivered(self, job_id: str, number: int, delivery: DeliveryState) -> None:
        """Notes how sending a correction's objects went."""
        sql = """UPDATE corrections SET correction = json_set(correction, '$.delivery', ?, '$.deliveries',
                 json_extract(correction, '$.deliveries') + 1) WHERE job_id = ? AND number = ?"""
        with self._transaction() as db:
            db.execute(sql, (delivery.value, job_id, number))

    def counts(self) -> dict[State, int]:
        """Returns how many jobs stand where."""
        with self._transaction() as db:
            by_state = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return {state: by_state.get(state.value, 0) for state in State}

    def waiting_before(self, created: float) -> int:
        """Returns how many jobs that wait are older."""
        with self._transaction() as db:
            sql = "SELECT count(*) FROM jobs WHERE state = ? AND created < ?"
            return int(db.execute(sql, (State.QUEUED.value, created)).fetchone()[0])

    def claim(self) -> Job | None:
        """Begins the oldest job that waits: it is running when this returns. None where none waits."""
        where = "WHERE id = (SELECT id FROM jobs WHERE state = ? ORDER BY created, rowid LIMIT 1)"
        sql = f"UPDATE jobs SET state = ?, started = ?, attempts = attempts + 1 {where} RETURNING {_COLUMNS}"
        with self._transaction() as db:
            row = db.execute(sql, (State.RUNNING.value, time.time(), State.QUEUED.value)).fetchone()
        return None if row is None else _job(row)

    def release(self, job_id: str) -> None:
        """Puts a running job back into the queue, as if it had not been begun."""
        sql = "UPDATE jobs SET state = ?, started = NULL, attempts = attempts - 1 WHERE id = ? AND state = ?"
        with self._transaction() as db:
            db.execute(sql, (State.QUEUED.value, job_id, State.RUNNING.value))

    def again(self, job_id: str) -> None:
        """Puts a job whose attempt was lost back into the queue; the attempt counts."""
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET state = ? WHERE id = ? AND state = ?",
                (State.QUEUED.value, job_id, State.RUNNING.value),
            )

    def finish(self, job_id: str, state: State, outcome: JobOutcome, keep_seconds: float) -> bool:
        """Ends a job that waits or runs; False where it had ended already, and then nothing is changed."""
        now = time.time()
        sql = """UPDATE jobs SET state = ?, outcome = ?, finished = ?, expires = ?,
                 delivery = iif(? = 'done', delivery, 'none') WHERE id = ? AND state IN (?, ?)"""
        values = (
            state.value,
            outcome.model_dump_json(),
            now,
            now + keep_seconds,
            state.value,
            job_id,
            State.QUEUED.value,
            State.RUNNING.value,
        )
        with self._transaction() as db:
            return db.execute(sql, values).rowcount == 1

    def cancel_waiting(self, job_id: str, keep_seconds: float) -> bool:
        """Cancels a job that has not begun; False where it has, or has ended."""
        now = time.time()
        sql = "UPDATE jobs SET state = ?, outcome = ?, finished = ?, expires = ? WHERE id = ? AND state = ?"
        values = (
            State.CANCELLED.value,
            CANCELLED.model_dump_json(),
            now,
            now + keep_seconds,
            job_id,
            State.QUEUED.value,
        )
        with self._transaction() as db:
            return db.execute(sql, values).rowcount == 1

    def expire(self, job_ids: Iterable[str]) -> None:
        """Marks ended jobs as expired: their files are to go, and their names, study and corrections with them."""
        final = (State.DONE.value, State.FAILED.value, State.CANCELLED.value)
        sql = (
            "UPDATE jobs SET state = ?, options = '{}', outcome = NULL, study_uid = '', expires = ? WHERE id = ? AND "
            "state IN (?, ?, ?)"
        )
        job_ids = list(job_ids)
        with self._transaction() as db:
            db.executemany("DELETE FROM corrections WHERE job_id = ?", [(job_id,) for job_id in job_ids])
            db.executemany(sql, [(State.EXPIRED.value, time.time(), job_id, *final) for job_id in job_ids])
        if job_ids:
            # Nor in the log, whose older pages would hold them until it is full.
            with self._lock:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def corrected(self, job_id: str, folder: str, correction: Correction, most: int) -> Correction | None:
        """Notes a correction of a job that is done, and gives it its number; it is on disk when this returns.

        Args:
            job_id: of the job.
            folder: name of the folder with its files.
            correction: without its number.
            most: corrections that a job may have.

        Returns:
            The correction; None where the job is not done or has expired, or has as many already.
        """
        with self._transaction() as db:
            state = db.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
            count = int(db.execute("SELECT count(*) FROM corrections WHERE job_id = ?", (job_id,)).fetchone()[0])
            if state != (State.DONE.value,) or count >= most:
                return None
            numbered = correction.model_copy(update={"number": count + 1})
            values = (job_id, numbered.number, folder, numbered.model_dump_json())
            db.execute("INSERT INTO corrections VALUES (?, ?, ?, ?)", values)
        return numbered

    def corrections(self, job_id: str) -> dict[str, Correction]:
        """Returns a job's corrections by the names of their folders, the oldest first."""
        sql = "SELECT folder, correction FROM corrections WHERE job_id = ? ORDER BY number"
        with self._transaction() as db:
            rows = db.execute(sql, (job_id,)).fetchall()
        return {folder: Correction.model_validate_json(text) for folder, text in rows}

    def overdue(self) -> list[Job]:
        """Returns ended jobs whose time is over."""
        return self._jobs("WHERE expires < ? AND state != ?", time.time(), State.EXPIRED.value)

    def forget(self, older_than_seconds: float) -> None:
        """Removes what is known of jobs that expired long ago."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM jobs WHERE state = ? AND expires < ?",
                (State.EXPIRED.value, time.time() - older_than_seconds),
            )

    def ids(self) -> set[str]:
        """Returns the ids of all jobs that have files."""
        with self._transaction() as db:
            return {row[0] for row in db.execute("SELECT id FROM jobs WHERE state != ?", (State.EXPIRED.value,))}

    def running(self) -> list[Job]:
        """Returns jobs that run, or ran when the server ended."""
        return self._jobs("WHERE state = ?", State.RUNNING.value)

    def arrived(self, study_uid: str, folder: str, instances: int) -> Study:
        """Notes instances of a study; the folder stays the one that it was given first."""
        sql = """INSERT INTO studies VALUES (?, ?, ?, ?)
                 ON CONFLICT (study_uid) DO UPDATE SET instances = instances + excluded.instances,
                 received = excluded.received RETURNING *"""
        with self._transaction() as db:
            return Study(*db.execute(sql, (study_uid, folder, instances, time.time())).fetchone())

    def studies(self) -> list[Study]:
        """Returns the studies that are not complete yet."""
        with self._transaction() as db:
            return [Study(*row) for row in db.execute("SELECT study_uid, folder, instances, received FROM studies")]

    def study_becomes(self, study: Study, job: Job) -> None:
        """Turns a study into a job, in one step."""
        with self._transaction() as db:
            db.execute(f"INSERT INTO jobs ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", _values(job))
            db.execute("DELETE FROM studies WHERE study_uid = ?", (study.study_uid,))

    def _jobs(self, where: str, *values: Any) -> list[Job]:
        with self._transaction() as db:
            return [_job(row) for row in db.execute(f"SELECT {_COLUMNS} FROM jobs {where}", values)]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


CANCELLED = JobOutcome(failure=Failure(code="cancelled", message="The job was cancelled."))


def _values(job: Job) -> tuple[Any, ...]:
    outcome = None if job.outcome is None else job.outcome.model_dump_json()
    times = (job.created, job.started, job.finished, job.expires)
    return (
        job.id,
        job.kind.value,
        job.state.value,
        job.options.model_dump_json(),
        *times,
        job.attempts,
        outcome,
        job.study_uid,
        job.delivery.value,
        job.deliveries,
    )


def _job(row: tuple[Any, ...]) -> Job:
    (
        job_id,
        kind,
        state,
        options,
        created,
        started,
        finished,
        expires,
        attempts,
        outcome,
        study_uid,
        delivery,
        deliveries,
    ) = row
    return Job(
        job_id,
        Kind(kind),
        State(state),
        JobOptions.model_validate_json(options),
        created,
        started,
        finished,
        expires,
        attempts,
        None if outcome is None else JobOutcome.model_validate_json(outcome),
        study_uid,
        DeliveryState(delivery),
        deliveries,
    )
