"""From the parts of an upload to a job that waits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gliomask.errors import UsageError
from gliomask.files.atomic import flush_folder, write_bytes
from gliomask.models.available import shipped_names
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence
from gliomask.server.arrange import FILE_FIELDS, arrange
from gliomask.server.jobs import DeliveryState, Job, JobOptions, Kind, State, new_id
from gliomask.server.multipart import ReceivedPart
from gliomask.server.problems import RequestError
from gliomask.server.settings import ServerSettings
from gliomask.server.worker import ORDER, Order


def parse_options(values: Iterable[tuple[str, str]]) -> JobOptions:
    """Returns the options that a form's values give; empty values are not given.

    Raises:
        RequestError: a name is unknown or given twice, or a value is not valid.
    """
    fields: dict[str, Any] = {}
    for name, value in values:
        if name in FILE_FIELDS:
            if value:
                raise RequestError("invalid", f"The field {name} takes a file.")
            continue
        if name not in JobOptions.model_fields:
            raise RequestError(
                "invalid", f"There is no option of this name. There are: {', '.join(JobOptions.model_fields)}."
            )
        if not value.strip():
            continue
        if name == "without":
            fields.setdefault(name, []).extend(_sequences(value))
        elif name in fields:
            raise RequestError("invalid", f"The option {name} is given twice.")
        else:
            fields[name] = value
    try:
        options = JobOptions.model_validate(fields)
    except ValidationError as error:
        # What a value was is not repeated: it may be the name of a patient.
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'options'}: {item['msg']}" for item in error.errors()[:3]
        )
        raise RequestError("invalid", f"{problems}.") from None
    if options.model and options.model not in shipped_names():
        raise RequestError("invalid", f"There is no such model. There are: {', '.join(shipped_names())}.")
    return options


def _sequences(value: str) -> list[Sequence]:
    try:
        return [parse_sequence(word) for word in value.replace(",", " ").split()]
    except UsageError:
        raise RequestError(
            "invalid", f"`without` names something that is no sequence. There are: {', '.join(PAPER_ORDER)}."
        ) from None


def make_job(folder: Path, parts: list[ReceivedPart], settings: ServerSettings, jobs: Path) -> Job:
    """Makes the folder of a job from an upload: all of it, on disk, or nothing.

    Args:
        folder: of the upload; moved away.
        parts: of the upload.
        settings: of the server.
        jobs: the folder of all jobs.

    Returns:
        The job, which waits; it is not in the table yet.

    Raises:
        RequestError: the parts are not the scans of one patient.
    """
    options = parse_options((part.name, part.value) for part in parts if part.path is None)
    files = [part for part in parts if part.path is not None]
    _refuse_other_fields(files)
    # A browser sends a field of files that was left empty as one file without name and content.
    files = [part for part in files if part.filename or _size(part) > 0]
    if not files:
        raise RequestError("not_scans", "The upload holds no file.")
    arranged = arrange(files, options.without, folder / "input")
    for path in folder.iterdir():
        if path.is_file():
            # What was left out, and the empty fields of a form.
            path.unlink()
    return seal(folder, arranged.kind, options, settings, jobs, notes=arranged.notes)


def seal(
    folder: Path,
    kind: Kind,
    options: JobOptions,
    settings: ServerSettings,
    jobs: Path,
    *,
    notes: tuple[str, ...] = (),
    job_id: str = "",
    study_uid: str = "",
) -> Job:
    """Gives a folder that holds `input` its order and its name among the jobs; returns the job.

    A study that is sent on later is due for that.
    """
    limits = settings.limits
    order = Order(
        kind=kind,
        options=options,
        threads=settings.threads_of_each,
        memory_bytes=limits.job_memory_bytes,
        file_bytes=limits.job_file_bytes,
        notes=notes,
    )
    write_bytes(folder / ORDER, (json.dumps(order.model_dump(mode="json")) + "\n").encode())
    delivery = DeliveryState.DUE if settings.sends(study_uid) else DeliveryState.NONE
    job = Job(job_id or new_id(), kind, State.QUEUED, options, time.time(), study_uid=study_uid, delivery=delivery)
    for inner in (folder / "input" / "dicom", folder / "input", folder):
        if inner.is_dir():
            flush_folder(inner)
    folder.rename(jobs / job.id)
    flush_folder(jobs)
    return job


def _refuse_other_fields(files: list[ReceivedPart]) -> None:
    if any(part.name not in FILE_FIELDS for part in files):
        raise RequestError(
            "invalid", f"A file is in a field of another name. Fields for files are: {', '.join(sorted(FILE_FIELDS))}."
        )


def _size(part: ReceivedPart) -> int:
    return part.path.stat().st_size if part.path is not None else 0
