"""From the parts of an upload to a job: what they are is decided by their first bytes, which sequence a file holds by the form's field or the file's name."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from gliomask.errors import UsageError
from gliomask.files.atomic import flush_folder, write_bytes
from gliomask.io.dicom.headers import is_dicom
from gliomask.io.gunzip import GZIP_MAGIC
from gliomask.io.nifti import SINGLE_FILE_MAGIC, is_nifti_name, stem
from gliomask.models.shelf import shipped_names
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence, sequence_of_file_name
from gliomask.server.jobs import Delivery, Job, JobOptions, Kind, State, new_id
from gliomask.server.multipart import Part
from gliomask.server.problems import RequestError
from gliomask.server.settings import Settings
from gliomask.server.worker import ORDER, Order

FILES = "files"
"""The form's field for files whose sequence their names tell, for DICOM files, and for a zip."""

FILE_FIELDS = frozenset({FILES, *(sequence.value for sequence in PAPER_ORDER)})
"""All fields that take files."""

MAGIC_AT, HEAD_BYTES = 344, 352
"""Where a NIfTI-1 header says what it is, and its length (nifti1.h)."""

NIFTI_2_HEAD = (540).to_bytes(4, "little"), (540).to_bytes(4, "big")
"""A NIfTI-2 file begins with its header's length (nifti2.h)."""


def parse_options(values: Iterable[tuple[str, str]]) -> JobOptions:
    """Returns the options that a form's values give; empty values are not given.

    Raises:
        RequestError: a name is unknown or given twice, or a value is not valid.
    """
    found: dict[str, Any] = {}
    for name, value in values:
        if name in FILE_FIELDS:
            if value:
                raise RequestError("invalid", f"The field {name} takes a file.")
            continue
        if name not in JobOptions.model_fields:
            raise RequestError("invalid", f"There is no option of this name. There are: {', '.join(JobOptions.model_fields)}.")
        if not value.strip():
            continue
        if name == "without":
            found.setdefault(name, []).extend(_sequences(value))
        elif name in found:
            raise RequestError("invalid", f"The option {name} is given twice.")
        else:
            found[name] = value
    try:
        options = JobOptions.model_validate(found)
    except ValidationError as error:
        # What a value was is not repeated: it may be the name of a patient.
        told = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'options'}: {item['msg']}" for item in error.errors()[:3])
        raise RequestError("invalid", f"{told}.") from None
    if options.model and options.model not in shipped_names():
        raise RequestError("invalid", f"There is no such model. There are: {', '.join(shipped_names())}.")
    return options


def _sequences(value: str) -> list[Sequence]:
    try:
        return [parse_sequence(word) for word in value.replace(",", " ").split()]
    except UsageError:
        raise RequestError("invalid", f"`without` names something that is no sequence. There are: {', '.join(PAPER_ORDER)}.") from None


def make_job(folder: Path, parts: list[Part], settings: Settings, jobs: Path) -> Job:
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
    kind = _arranged(files, options, folder)
    for part in files:
        if part.path is not None:
            part.path.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    return seal(folder, kind, options, settings, jobs)


def seal(folder: Path, kind: Kind, options: JobOptions, settings: Settings, jobs: Path, *, job_id: str = "", study_uid: str = "") -> Job:
    """Gives a folder that holds `input` its order and its name among the jobs; returns the job. A study that is sent on later is due for that."""
    limits = settings.limits
    order = Order(kind=kind, options=options, threads=settings.threads_of_each, memory_bytes=limits.job_memory_bytes, file_bytes=limits.job_file_bytes)
    write_bytes(folder / ORDER, (json.dumps(order.model_dump(mode="json")) + "\n").encode())
    delivery = Delivery.DUE if study_uid and settings.send_to is not None else Delivery.NONE
    job = Job(job_id or new_id(), kind, State.QUEUED, options, time.time(), study_uid=study_uid, delivery=delivery)
    for inner in (folder / "input" / "dicom", folder / "input", folder):
        if inner.is_dir():
            flush_folder(inner)
    folder.rename(jobs / job.id)
    flush_folder(jobs)
    return job


def _refuse_other_fields(files: list[Part]) -> None:
    if any(part.name not in FILE_FIELDS for part in files):
        raise RequestError("invalid", f"A file is in a field of another name. Fields for files are: {', '.join(sorted(FILE_FIELDS))}.")


def _size(part: Part) -> int:
    return part.path.stat().st_size if part.path is not None else 0


def _arranged(files: list[Part], options: JobOptions, folder: Path) -> Kind:
    """Moves the files of an upload to where a worker looks for them."""
    (folder / "input").mkdir()
    kinds = [_kind(part) for part in files]
    if kinds == [Kind.ARCHIVE]:
        shutil.move(_path(files[0]), folder / "input" / "upload.zip")
        return Kind.ARCHIVE
    if all(kind is Kind.DICOM for kind in kinds) and all(part.name == FILES for part in files):
        (folder / "input" / "dicom").mkdir()
        for number, part in enumerate(files):
            shutil.move(_path(part), folder / "input" / "dicom" / f"{number:06d}")
        return Kind.DICOM
    if any(kind is not Kind.NIFTI for kind in kinds):
        raise RequestError("not_scans")
    found = _by_sequence(files)
    missing = [sequence.value for sequence in PAPER_ORDER if sequence not in found and sequence not in options.without]
    both = [sequence.value for sequence in options.without if sequence in found]
    if missing:
        raise RequestError("not_scans", f"The upload holds no file for {', '.join(missing)}.", "Send it, or name it in `without` if the patient has none.")
    if both:
        raise RequestError("not_scans", f"The upload holds a file for {', '.join(both)}, which is named in `without`.", "Leave one of the two out.")
    for sequence, part in found.items():
        path = _path(part)
        shutil.move(path, folder / "input" / f"{sequence.value}.nii{'.gz' if _head(path).startswith(GZIP_MAGIC) else ''}")
    return Kind.NIFTI


def _by_sequence(files: list[Part]) -> dict[Sequence, Part]:
    found: dict[Sequence, Part] = {}
    for part in files:
        sequence = Sequence(part.name) if part.name != FILES else sequence_of_file_name(stem(Path(_last_name(part.filename))))
        if sequence is None:
            raise RequestError("not_scans", "The name of a file does not tell its sequence.", "Use the fields flair, t1, t1ce and t2.")
        if sequence in found:
            raise RequestError("not_scans", f"The upload holds two files for {sequence.value}.", "Send one of each.")
        found[sequence] = part
    return found


def _last_name(filename: str | None) -> str:
    name = PurePosixPath((filename or "").replace("\\", "/").replace("\0", "")).name
    return name if is_nifti_name(Path(name)) else f"{name}.nii"


def _kind(part: Part) -> Kind:
    path = _path(part)
    head = _head(path)
    if head.startswith(GZIP_MAGIC) or head[:4] in NIFTI_2_HEAD or head[MAGIC_AT : MAGIC_AT + 3] in SINGLE_FILE_MAGIC:
        return Kind.NIFTI
    if zipfile.is_zipfile(path):
        return Kind.ARCHIVE
    if is_dicom(path):
        return Kind.DICOM
    raise RequestError("not_scans", "A file is neither NIfTI nor DICOM nor a zip archive.")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _path(part: Part) -> Path:
    if part.path is None:
        raise RequestError("not_scans")
    return part.path
