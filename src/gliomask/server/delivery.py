"""Sends the DICOM objects of finished jobs and corrections to the archive, until it has them or the tries are over."""

from __future__ import annotations

import logging
from pathlib import Path

from gliomask.errors import GliomaskError
from gliomask.server.jobs import DeliveryState
from gliomask.server.pacs import Pacs
from gliomask.server.settings import ServerSettings

log = logging.getLogger("gliomask.server")

TRIES = 20
"""With `PAUSE_SECONDS` between; an archive that is restarted is back by then."""

PAUSE_SECONDS = 60.0


def deliver(settings: ServerSettings, short: str, paths: list[Path], before: int) -> DeliveryState:
    """Sends the objects of a job or a correction, once, and returns how it went.

    Args:
        settings: of the server; `send_to` names the archive.
        short: what the log calls the job.
        paths: the objects; none is as good as sent.
        before: how often they were sent before.
    """
    if not paths or settings.send_to is None:
        return DeliveryState.SENT
    try:
        with Pacs(settings.send_to, settings.send_login) as archive:
            answer = archive.store(paths)
        if not answer.failures and answer.stored == len(paths):
            return DeliveryState.SENT
        log.warning(
            "job %s: the archive refused %d objects, reasons %s", short, len(paths) - answer.stored, answer.failures
        )
    except GliomaskError as error:
        log.warning("job %s: not sent to the archive: %s", short, error)
    return DeliveryState.FAILED if before + 1 >= TRIES else DeliveryState.DUE
