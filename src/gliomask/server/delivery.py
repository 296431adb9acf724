"""Sends the DICOM objects of finished jobs to the archive, again and again until it has them or the tries are over."""

from __future__ import annotations

import logging
from pathlib import Path

from gliomask.errors import GliomaskError
from gliomask.server.jobs import DeliveryState, Job
from gliomask.server.pacs import Pacs
from gliomask.server.settings import ServerSettings
from gliomask.server.store import JobStore

log = logging.getLogger("gliomask.server")

TRIES = 20
"""With `PAUSE_SECONDS` between; an archive that is restarted is back by then."""

PAUSE_SECONDS = 60.0


def deliver(settings: ServerSettings, store: JobStore, job: Job, paths: list[Path]) -> DeliveryState:
    """Sends one job's objects, once, and notes how it went.

    Args:
        settings: of the server; `send_to` names the archive.
        store: the table.
        job: done, and due for delivery.
        paths: its objects; none is as good as sent.
    """
    state = DeliveryState.SENT
    if paths and settings.send_to is not None:
        try:
            with Pacs(settings.send_to, settings.send_login) as archive:
                answer = archive.store(paths)
            if answer.failures or answer.stored < len(paths):
                log.warning(
                    "job %s: the archive refused %d objects, reasons %s",
                    job.short,
                    len(paths) - answer.stored,
                    answer.failures,
                )
                state = DeliveryState.DUE
        except GliomaskError as error:
            log.warning("job %s: not sent to the archive: %s", job.short, error)
            state = DeliveryState.DUE
    if state is DeliveryState.DUE and job.deliveries + 1 >= TRIES:
        state = DeliveryState.FAILED
    store.delivered(job.id, state)
    return state
