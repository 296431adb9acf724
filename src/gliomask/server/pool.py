"""Runs waiting jobs: one process each, as many at a time as the machine has room for.

No job is lost, whichever process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from pathlib import Path

from pydantic import ValidationError

from gliomask.errors import FileFormatError
from gliomask.files.json import read_json_as
from gliomask.server.child import end, started
from gliomask.server.events import Watch
from gliomask.server.jobs import Failure, Job, JobOutcome, Progress, State
from gliomask.server.metrics import Metrics
from gliomask.server.settings import ServerSettings
from gliomask.server.store import CANCELLED, JobStore
from gliomask.server.worker import HINTS, OUTCOME

log = logging.getLogger("gliomask.server")

POLL_SECONDS = 5.0
"""Waiting jobs are looked for so often, though nobody told of one."""

MAX_OUTCOME_BYTES = 4 << 20


class Pool:
    """The workers.

    Args:
        settings: of the server.
        store: the table of jobs.
        jobs: the folder of all jobs.
        watch: told of every change.
        metrics: told of every end.
    """

    def __init__(self, settings: ServerSettings, store: JobStore, jobs: Path, watch: Watch, metrics: Metrics) -> None:
        self._settings, self._store, self._jobs, self._watch, self._metrics = settings, store, jobs, watch, metrics
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled: dict[str, asyncio.Event] = {}

    def start(self) -> None:
        """Begins to run jobs."""
        self._tasks = [asyncio.create_task(self._serve()) for _ in range(self._settings.jobs_at_once)]

    @property
    def is_alive(self) -> bool:
        """Whether all workers' tasks run."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def stop(self) -> None:
        """Ends; running jobs go back into the queue, for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """Tells that a job waits."""
        self._wake.set()

    async def cancel(self, job: Job) -> bool:
        """Cancels a job that waits or runs; False where it has ended."""
        if await asyncio.to_thread(self._store.cancel_waiting, job.id, self._settings.limits.keep_seconds):
            self._note_end(job, State.CANCELLED, "cancelled")
            return True
        if job.id in self._cancelled:
            self._cancelled[job.id].set()
            return True
        return False

    async def _serve(self) -> None:
        while True:
            try:
                job = await asyncio.to_thread(self._store.claim)
                if job is not None:
                    await self._take(job)
                    continue
            except Exception:
                # A full disk must not end the queue: it goes on as soon as there is room.
                log.exception("the queue failed; it goes on in %s s", POLL_SECONDS)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _take(self, job: Job) -> None:
        log.info("job %s begins, attempt %d", job.short, job.attempts)
        self._cancelled[job.id] = asyncio.Event()
        self._watch.tell(job.id, Progress(stage="starting"))
        try:
            try:
                state, outcome = await self._run(job)
            except Exception:
                log.exception("job %s could not be run", job.short)
                failure = Failure(code="unexpected", message="The job could not be run.", hint=HINTS["unexpected"])
                state, outcome = State.FAILED, JobOutcome(failure=failure)
            await self._finish(job, state, outcome)
        except asyncio.CancelledError:
            self._store.release(job.id)
            raise
        finally:
            del self._cancelled[job.id]
        self._note_end(job, state, outcome.failure.code if outcome.failure else "")

    async def _finish(self, job: Job, state: State, outcome: JobOutcome) -> None:
        """Notes how a job ended, as often as it takes: on a full disk nothing can be noted."""
        while True:
            try:
                await asyncio.to_thread(self._store.finish, job.id, state, outcome, self._settings.limits.keep_seconds)
            except sqlite3.OperationalError as error:
                log.error(
                    "the end of job %s could not be noted (%s); tried again in %s s", job.short, error, POLL_SECONDS
                )
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    def _note_end(self, job: Job, state: State, code: str) -> None:
        self._watch.tell(job.id, None)
        self._metrics.ended.labels(state.value, code).inc()
        if job.started is not None:
            self._metrics.seconds.observe(time.time() - job.started)
        log.info("job %s: %s %s", job.short, state.value, code)

    async def _run(self, job: Job) -> tuple[State, JobOutcome]:
        """Runs a job's process to its end, whatever that is."""
        folder = self._jobs / job.id
        (folder / OUTCOME).unlink(missing_ok=True)
        process = await started(self._settings.worker_command, folder)
        watching = asyncio.create_task(self._follow(job.id, process))
        cancelled = asyncio.create_task(self._cancelled[job.id].wait())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait(
                {ended, cancelled}, timeout=self._settings.limits.job_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                return await asyncio.to_thread(_read_outcome, folder, process.returncode or 0)
            if cancelled.done():
                return State.CANCELLED, CANCELLED
            minutes = self._settings.limits.job_seconds / 60
            failure = Failure(
                code="time_limit",
                message=f"The job took more than {minutes:g} minutes, the limit of this server.",
                hint=HINTS["limit"],
            )
            return State.FAILED, JobOutcome(failure=failure)
        finally:
            await end(process)
            for task in (watching, cancelled, ended):
                task.cancel()
            await asyncio.gather(watching, cancelled, ended, return_exceptions=True)

    async def _follow(self, job_id: str, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                # A line beyond the limit; what it says is not worth more memory.
                continue
            if not line:
                return
            with contextlib.suppress(ValidationError):
                self._watch.tell(job_id, Progress.model_validate_json(line))


def _read_outcome(folder: Path, code: int) -> tuple[State, JobOutcome]:
    """What a worker that has ended left."""
    if (folder / OUTCOME).is_file():
        try:
            outcome = read_json_as(folder / OUTCOME, JobOutcome, "an outcome of a job", MAX_OUTCOME_BYTES)
        except FileFormatError:
            outcome = JobOutcome(
                failure=Failure(
                    code="unexpected", message="The job left an outcome that cannot be read.", hint=HINTS["unexpected"]
                )
            )
        return (State.DONE if outcome.failure is None else State.FAILED), outcome
    if code < 0:
        message = f"The job's process was ended by signal {-code}; often the machine had no memory left."
        return State.FAILED, JobOutcome(failure=Failure(code="worker_ended", message=message, hint=HINTS["limit"]))
    return State.FAILED, JobOutcome(
        failure=Failure(code="unexpected", message="The job failed.", hint=HINTS["unexpected"])
    )
