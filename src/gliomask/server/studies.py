"""Studies that come by DICOMweb, a few instances at a time: gathered until nothing more comes, then a job.

Archives send a study in several requests and never say which is the last, so silence has to.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import FileFormatError
from gliomask.files.atomic import flush_folder
from gliomask.server import incoming
from gliomask.server.instances import Instance, read_instance
from gliomask.server.jobs import Job, JobOptions, Kind, new_id
from gliomask.server.keeper import Folders
from gliomask.server.multipart import ReceivedPart
from gliomask.server.problems import RequestError
from gliomask.server.settings import ServerSettings
from gliomask.server.store import JobStore

log = logging.getLogger("gliomask.server")

CANNOT_UNDERSTAND, DOES_NOT_MATCH = 0xC000, 0xA900
"""Failure reasons (PS3.18, table 10.5.3-1, after PS3.4, annex B.2.3)."""


@dataclass(frozen=True)
class Stored:
    """What became of the instances of one request.

    Args:
        kept: those that are on disk.
        refused: the reason of each that is not.
    """

    kept: tuple[Instance, ...]
    refused: tuple[int, ...]


class Studies:
    """The studies that are not complete; safe to use from several threads.

    Args:
        settings: of the server.
        folders: of the server.
        store: the table.
    """

    def __init__(self, settings: ServerSettings, folders: Folders, store: JobStore) -> None:
        self._settings, self._folders, self._store = settings, folders, store
        self._lock = threading.Lock()

    def keep(self, parts: list[ReceivedPart], study_uid: str | None) -> Stored:
        """Moves the instances of a request to their studies; those that are kept are on disk when this returns.

        Args:
            parts: of the request, each one instance.
            study_uid: of the only study that they may belong to; None for any.

        Raises:
            RequestError: a study has more instances than it may have.
        """
        kept: list[Instance] = []
        refused: list[int] = []
        by_study: dict[str, list[tuple[Instance, Path]]] = {}
        for part in parts:
            if part.path is None:
                continue
            try:
                instance = read_instance(part.path)
            except FileFormatError:
                refused.append(CANNOT_UNDERSTAND)
                continue
            if study_uid is not None and instance.study_uid != study_uid:
                refused.append(DOES_NOT_MATCH)
                continue
            by_study.setdefault(instance.study_uid, []).append((instance, part.path))
            kept.append(instance)
        with self._lock:
            for uid, instances in by_study.items():
                self._add(uid, instances)
        return Stored(tuple(kept), tuple(refused))

    def _add(self, study_uid: str, instances: list[tuple[Instance, Path]]) -> None:
        open_studies = {study.study_uid: study for study in self._store.studies()}
        known = open_studies.get(study_uid)
        if (known.instances if known else 0) + len(instances) > self._settings.limits.files:
            raise RequestError("too_large", f"A study has more than {self._settings.limits.files:,} instances.")
        if known is None and len(open_studies) >= self._settings.limits.waiting_jobs:
            raise RequestError("queue_full")
        name = known.folder if known else new_id()
        folder = self._folders.studies / name / "input" / "dicom"
        folder.mkdir(parents=True, exist_ok=True)
        for instance, path in instances:
            # An instance that is sent again takes the place of the first.
            path.replace(folder / hashlib.sha256(instance.uid.encode()).hexdigest()[:32])
        for inner in (folder, folder.parent, folder.parent.parent, self._folders.studies):
            flush_folder(inner)
        self._store.arrived(study_uid, name, len(instances))

    def complete(self) -> list[Job]:
        """Makes jobs of the studies of which nothing more has come for long enough."""
        made = []
        with self._lock:
            for study in self._store.studies():
                if time.time() - study.received < self._settings.study_quiet_seconds:
                    continue
                folder = self._folders.studies / study.folder
                job = incoming.seal(
                    folder,
                    Kind.DICOM,
                    JobOptions(),
                    self._settings,
                    self._folders.jobs,
                    job_id=study.folder,
                    study_uid=study.study_uid,
                )
                self._store.study_becomes(study, job)
                log.info("job %s waits: a study of %d instances", job.short, study.instances)
                made.append(job)
        return made
