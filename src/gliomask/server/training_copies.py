"""Copies of corrections for training: each gets its place once the table knows the correction, also after a power cut.

A worker leaves its copy complete and hidden. The table then decides: what it knows gets its place, all else goes.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from gliomask.errors import GliomaskError
from gliomask.view.corrections import Corrections

log = logging.getLogger("gliomask.server")


def case_of(job_id: str) -> str:
    """Returns what a job's case is called in corrections and in folders for training: told from all others."""
    return f"case-{hashlib.sha256(job_id.encode()).hexdigest()[:12]}"


def settle(folder: Path | None, name: str, job_id: str) -> None:
    """Gives the copy of a correction its place, in which it replaces that of an earlier one of the job.

    Args:
        folder: for training; None for none.
        name: of the correction's folder.
        job_id: of its job.
    """
    if folder is None:
        return
    try:
        Corrections(folder, overwrite=True).settle(name, case_of(job_id))
    except (GliomaskError, OSError) as error:
        log.error("a correction's copy for training waits in %s until the next start: %s", folder, error)


def discard(folder: Path | None, name: str) -> None:
    """Removes the copy of a correction that the table does not know."""
    if folder is not None:
        Corrections(folder).discard(name)
