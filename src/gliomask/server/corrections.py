"""Corrections of results: received, checked and kept by a process of their own, noted in the table."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path

from starlette.requests import Request

from gliomask.errors import FileFormatError
from gliomask.files.atomic import flush_folder, write_bytes
from gliomask.files.json import read_json_as
from gliomask.server import training_copies
from gliomask.server.child import WORKER_LOG, end, started
from gliomask.server.correction_order import CORRECTIONS, FILES, ORDER, OUTCOME, SENT, CorrectionOrder
from gliomask.server.jobs import Correction, CorrectionOutcome, DeliveryState, Job, new_id
from gliomask.server.keeper import Folders
from gliomask.server.problems import RequestError
from gliomask.server.receive import Receiver
from gliomask.server.settings import ServerSettings
from gliomask.server.store import JobStore
from gliomask.view.sent import MAX_BODY_BYTES

log = logging.getLogger("gliomask.server")

JSON = "application/json"

MAX_OUTCOME_BYTES = 1 << 20


class Corrector:
    """Keeps corrections, one at a time.

    Args:
        settings: of the server.
        folders: of the server.
        store: the table.
        receiver: of uploads.
    """

    def __init__(self, settings: ServerSettings, folders: Folders, store: JobStore, receiver: Receiver) -> None:
        self._settings, self._folders, self._store, self._receiver = settings, folders, store, receiver
        self._turn = asyncio.Semaphore(1)

    async def receive(self, request: Request, job: Job) -> Correction:
        """Receives a correction of a job that is done; it is on disk and in the table when this returns.

        Raises:
            RequestError: it is refused.
        """
        most = self._settings.limits.corrections
        await self._refuse_too_many(job)
        async with self._receiver.body(request, JSON, MAX_BODY_BYTES) as body, self._turn:
            # Again: others may have been kept while this one was sent and waited.
            await self._refuse_too_many(job)
            name = new_id()
            place = self._folders.jobs / job.id / CORRECTIONS / name
            kept = False
            try:
                correction = self._to_be_sent(job, await self._made(job, place, body))
                noted = await asyncio.to_thread(self._store.corrected, job.id, name, correction, most)
                kept = noted is not None
            finally:
                if not kept:
                    await asyncio.to_thread(shutil.rmtree, place, True)
                    await asyncio.to_thread(training_copies.discard, self._settings.corrections, name)
            if kept:
                await asyncio.to_thread(training_copies.settle, self._settings.corrections, name, job.id)
        if noted is None:
            raise RequestError("expired")
        log.info("job %s: correction %d kept", job.short, noted.number)
        return noted

    def _to_be_sent(self, job: Job, correction: Correction) -> Correction:
        """Its objects go where those of its job went: jobs that came by DICOMweb alone are sent."""
        objects = any(file.name.endswith(".dcm") for file in correction.results)
        due = objects and self._settings.sends(job.study_uid)
        return correction.model_copy(update={"delivery": DeliveryState.DUE if due else DeliveryState.NONE})

    async def _refuse_too_many(self, job: Job) -> None:
        if len(await asyncio.to_thread(self._store.corrections, job.id)) >= self._settings.limits.corrections:
            raise RequestError("too_many_corrections")

    async def _made(self, job: Job, place: Path, body: Path) -> Correction:
        """Lets a worker check and keep what was sent.

        Raises:
            RequestError: it is no correction, or keeping it takes too long or fails.
        """
        case = training_copies.case_of(job.id)
        training = None if self._settings.corrections is None else self._settings.corrections.absolute()
        await asyncio.to_thread(_prepare, place, body, CorrectionOrder(case=case, training=training))
        process = await started(self._settings.worker_command, place.parent.parent, place.name)
        try:
            code = await asyncio.wait_for(process.wait(), self._settings.limits.correction_seconds)
        except TimeoutError:
            log.warning("job %s: keeping a correction took too long", job.short)
            raise RequestError(
                "no_correction", "Keeping the correction takes longer than this server allows."
            ) from None
        finally:
            await end(process)
        try:
            return await asyncio.to_thread(_outcome, place)
        except (FileFormatError, OSError) as error:
            log.error(
                "job %s: its process left no outcome of a correction (exit code %d, %s); see %s in the job's folder",
                job.short,
                code,
                type(error).__name__,
                WORKER_LOG,
            )
            raise RequestError("unexpected", "The correction could not be kept.") from None


def _prepare(place: Path, body: Path, order: CorrectionOrder) -> None:
    place.mkdir(parents=True, mode=0o700)
    body.rename(place / SENT)
    write_bytes(place / ORDER, (json.dumps(order.model_dump(mode="json")) + "\n").encode())


def _outcome(place: Path) -> Correction:
    """What the worker left: it has flushed its files, and here the folders that name them are flushed.

    Raises:
        FileFormatError: it left nothing that can be read.
        OSError: likewise.
        RequestError: what was sent is no correction.
    """
    outcome = read_json_as(place / OUTCOME, CorrectionOutcome, "an outcome of a correction", MAX_OUTCOME_BYTES)
    if outcome.correction is None:
        message = "" if outcome.failure is None else outcome.failure.message
        raise RequestError("no_correction", message)
    (place / SENT).unlink(missing_ok=True)
    for folder in (place / FILES, place, place.parent):
        flush_folder(folder)
    return outcome.correction
