"""What routes work with: the table, the folders, the pool, and the few things that are done with them."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request

from gliomask.sequences import Sequence
from gliomask.server import incoming
from gliomask.server.correction_order import CORRECTIONS, FILES
from gliomask.server.corrections import Corrector
from gliomask.server.events import Watch
from gliomask.server.jobs import Correction, Job, ResultFile, State
from gliomask.server.keeper import Folders
from gliomask.server.metrics import Metrics
from gliomask.server.multipart import ReceivedPart
from gliomask.server.pool import Pool
from gliomask.server.problems import RequestError
from gliomask.server.receive import Receiver
from gliomask.server.settings import ServerSettings
from gliomask.server.store import JobStore
from gliomask.server.studies import Studies
from gliomask.server.view_files import VIEW, manifest_of

log = logging.getLogger("gliomask.server")

FORM = "multipart/form-data"


@dataclass(frozen=True)
class ServerContext:
    """Everything that belongs to one running server."""

    settings: ServerSettings
    folders: Folders
    store: JobStore
    pool: Pool
    watch: Watch
    metrics: Metrics
    receiver: Receiver
    studies: Studies
    corrector: Corrector

    async def accept(self, request: Request) -> Job:
        """Receives an upload and makes a job of it, which is on disk and in the table when this returns.

        Raises:
            RequestError: the upload is refused.
        """
        self.refuse_when_full()
        async with self.receiver.received(request, FORM) as (folder, parts):
            job = await asyncio.to_thread(self._made, folder, parts)
        self.pool.wake()
        return job

    def _made(self, folder: Path, parts: list[ReceivedPart]) -> Job:
        received = sum(part.path.stat().st_size for part in parts if part.path is not None)
        job = incoming.make_job(folder, parts, self.settings, self.folders.jobs)
        try:
            self.store.add(job)
        except BaseException:
            shutil.rmtree(self.folders.jobs / job.id, ignore_errors=True)
            raise
        self.metrics.received.inc(received)
        log.info("job %s waits: %s, %d bytes", job.short, job.kind.value, received)
        return job

    def refuse_when_full(self) -> None:
        """Raises RequestError where as many jobs wait as may."""
        if self.store.counts()[State.QUEUED] >= self.settings.limits.waiting_jobs:
            raise RequestError("queue_full")

    def job(self, job_id: str) -> Job:
        """Returns a job.

        Raises:
            RequestError: there is none, or it has expired.
        """
        job = self.store.get(job_id)
        if job is None:
            raise RequestError("no_such_job")
        if job.state is State.EXPIRED:
            raise RequestError("expired")
        return job

    def result(self, job_id: str, name: str) -> Path:
        """Returns the path of a result. The name is looked up among the results that the job has.

        It never becomes a path.

        Raises:
            RequestError: there is no such job or result, or the job has none yet.
        """
        job = self.job(job_id)
        if job.outcome is None:
            raise RequestError("not_finished")
        return _listed(self.folders.jobs / job.id / "results", job.outcome.results, name)

    def to_view(self, job_id: str) -> dict[str, Any]:
        """Returns what the viewer is told of a job's result.

        Raises:
            RequestError: there is no such job, or nothing of it to look at.
        """
        manifest = manifest_of(self.folders.jobs / self._done(job_id).id)
        if manifest is None:
            raise RequestError("no_such_result")
        return manifest

    def viewed_file(self, job_id: str, number: int) -> Path:
        """Returns the path of a file that the viewer is told of by number.

        Raises:
            RequestError: there is no such job or file.
        """
        path = self.folders.jobs / self._done(job_id).id / VIEW / str(number)
        if number < 0 or path.is_symlink() or not path.is_file():
            raise RequestError("no_such_result")
        return path

    def _done(self, job_id: str) -> Job:
        job = self.job(job_id)
        if not job.state.is_final:
            raise RequestError("not_finished")
        return job

    async def correct(self, request: Request, job_id: str) -> Correction:
        """Receives a correction of a job's label map.

        Raises:
            RequestError: there is no such job, it has no label map, or the correction is refused.
        """
        job = await asyncio.to_thread(self._done, job_id)
        if job.state is not State.DONE:
            raise RequestError("no_such_result", "The job has no label map, so there is nothing to correct.")
        return await self.corrector.receive(request, job)

    def corrections(self, job_id: str) -> tuple[Correction, ...]:
        """Returns a job's corrections, the oldest first."""
        return tuple(self.store.corrections(job_id).values())

    def corrected(self, job_id: str, number: int) -> Correction:
        """Returns one correction of a job.

        Raises:
            RequestError: there is no such job or correction.
        """
        return self._correction(self.job(job_id), number)[1]

    def correction_file(self, job_id: str, number: int, name: str) -> Path:
        """Returns the path of a file of a correction. The name is looked up among those that the correction has.

        Raises:
            RequestError: there is no such job, correction or file.
        """
        job = self.job(job_id)
        folder, correction = self._correction(job, number)
        return _listed(self.folders.jobs / job.id / CORRECTIONS / folder / FILES, correction.results, name)

    def _correction(self, job: Job, number: int) -> tuple[str, Correction]:
        for folder, correction in self.store.corrections(job.id).items():
            if correction.number == number:
                return folder, correction
        raise RequestError("no_such_result", "The job has no such correction.")

    def scan(self, job_id: str, sequence: Sequence) -> Path:
        """Returns the path of a scan that a job segments, as it came or as it was made of DICOM.

        Raises:
            RequestError: there is no such job or scan, or it was not made yet.
        """
        folder = self.folders.jobs / self.job(job_id).id
        for place, pattern in (("input", f"{sequence.value}.nii*"), ("scans", f"*_{sequence.value}.nii*")):
            path = next(iter(sorted((folder / place).glob(pattern))), None)
            if path is not None:
                return path
        raise RequestError("no_such_result")

    def objects(self, job: Job) -> list[Path]:
        """Returns the DICOM objects of a job that is done."""
        files = () if job.outcome is None else job.outcome.results
        return _objects(self.folders.jobs / job.id / "results", files)

    def corrected_objects(self, job: Job, folder: str, correction: Correction) -> list[Path]:
        """Returns the DICOM objects of a correction in the folder of that name."""
        return _objects(self.folders.jobs / job.id / CORRECTIONS / folder / FILES, correction.results)

    async def cancel(self, job_id: str) -> Job:
        """Cancels a job that waits or runs, and returns it.

        Raises:
            RequestError: there is none, or it has ended.
        """
        job = await asyncio.to_thread(self.job, job_id)
        if not await self.pool.cancel(job):
            raise RequestError("already_final")
        return await asyncio.to_thread(self.job, job_id)

    async def delete(self, job_id: str) -> None:
        """Removes a job's files, cancelling it first where it has not ended.

        Raises:
            RequestError: there is none.
        """
        job = await asyncio.to_thread(self.job, job_id)
        await self.pool.cancel(job)
        async with self.watch.watching(job_id) as changed:
            while not (job := await asyncio.to_thread(self.job, job_id)).state.is_final:
                await changed.wait()
                changed.clear()
        await asyncio.to_thread(self._remove, job)

    def _remove(self, job: Job) -> None:
        self.store.expire([job.id])
        shutil.rmtree(self.folders.jobs / job.id, ignore_errors=True)
        log.info("job %s removed", job.short)


def _listed(folder: Path, files: Iterable[ResultFile], name: str) -> Path:
    """Returns the path of a file that a job lists; the name that a client sent is compared, and never becomes a path.

    Raises:
        RequestError: no such file is listed, or it is gone.
    """
    for file in files:
        if file.name == name and (folder / file.name).is_file():
            return folder / file.name
    raise RequestError("no_such_result")


def _objects(folder: Path, files: Iterable[ResultFile]) -> list[Path]:
    paths = [folder / file.name for file in files if file.name.endswith(".dcm")]
    return [path for path in paths if path.is_file()]


def context_of(request: Request) -> ServerContext:
    """Returns the context of the server that a request came to."""
    context: ServerContext = request.app.state.context
    return context
