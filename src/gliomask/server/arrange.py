"""The files of an upload, laid out for a worker.

What they are is decided by their first bytes, which sequence one holds by its field or its name.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gliomask.io.dicom.headers import is_dicom
from gliomask.io.gunzip import GZIP_MAGIC
from gliomask.io.nifti import SINGLE_FILE_MAGIC, is_nifti_name, stem
from gliomask.sequences import PAPER_ORDER, Sequence, sequence_of_file_name
from gliomask.server.jobs import Kind
from gliomask.server.multipart import ReceivedPart
from gliomask.server.problems import RequestError

FILES = "files"
"""The form's field for files whose sequence their names tell, for DICOM files, and for a zip."""

FILE_FIELDS = frozenset({FILES, *(sequence.value for sequence in PAPER_ORDER)})
"""All fields that take files."""

MAGIC_AT, HEAD_BYTES = 344, 352
"""Where a NIfTI-1 header says what it is, and its length (nifti1.h)."""

NIFTI_2_HEAD = (540).to_bytes(4, "little"), (540).to_bytes(4, "big")
"""A NIfTI-2 file begins with its header's length (nifti2.h)."""


@dataclass(frozen=True)
class Arranged:
    """What an upload is.

    Args:
        kind: what the folder holds now.
        notes: what was left out, in sentences.
    """

    kind: Kind
    notes: tuple[str, ...] = ()


def arrange(files: list[ReceivedPart], without: Iterable[Sequence], folder: Path) -> Arranged:
    """Moves the files of an upload to where a worker looks for them.

    Args:
        files: one or more.
        without: sequences that the patient does not have.
        folder: made here: `upload.zip`, the folder `dicom`, or a file for each sequence.

    Raises:
        RequestError: the files are not the scans of one patient.
    """
    folder.mkdir()
    kinds = [kind_of(_path(part)) for part in files]
    if kinds == [Kind.ARCHIVE]:
        shutil.move(_path(files[0]), folder / "upload.zip")
        return Arranged(Kind.ARCHIVE)
    if (
        Kind.DICOM in kinds
        and not {Kind.NIFTI, Kind.ARCHIVE} & set(kinds)
        and all(part.name == FILES for part in files)
    ):
        # Whatever else lies in a folder of DICOM files goes along: the reader leaves it out, and says so.
        (folder / "dicom").mkdir()
        for number, part in enumerate(files):
            shutil.move(_path(part), folder / "dicom" / f"{number:06d}")
        return Arranged(Kind.DICOM)
    if Kind.NIFTI not in kinds or Kind.DICOM in kinds or Kind.ARCHIVE in kinds:
        raise RequestError("not_scans")
    return _nifti(files, kinds, frozenset(without), folder)


def kind_of(path: Path) -> Kind | None:
    """What a file is by its first bytes; None for none of what is known."""
    head = _head(path)
    if head.startswith(GZIP_MAGIC) or head[:4] in NIFTI_2_HEAD or head[MAGIC_AT : MAGIC_AT + 3] in SINGLE_FILE_MAGIC:
        return Kind.NIFTI
    if zipfile.is_zipfile(path):
        return Kind.ARCHIVE
    return Kind.DICOM if is_dicom(path) else None


def _nifti(files: list[ReceivedPart], kinds: list[Kind | None], without: frozenset[Sequence], folder: Path) -> Arranged:
    parts, left_out = _by_sequence(files, kinds)
    missing = [sequence.value for sequence in PAPER_ORDER if sequence not in parts and sequence not in without]
    both = [sequence.value for sequence in PAPER_ORDER if sequence in without and sequence in parts]
    if missing:
        hint = (
            "Use the fields flair, t1, t1ce and t2, name the files after their sequences, or name in `without` what "
            "the patient does not have."
        )
        raise RequestError("not_scans", f"The upload holds no file for {', '.join(missing)}.", hint)
    if both:
        raise RequestError(
            "not_scans",
            f"The upload holds a file for {', '.join(both)}, which is named in `without`.",
            "Leave one of the two out.",
        )
    for sequence, part in parts.items():
        path = _path(part)
        shutil.move(path, folder / f"{sequence.value}.nii{'.gz' if _head(path).startswith(GZIP_MAGIC) else ''}")
    return Arranged(Kind.NIFTI, left_out_note(left_out))


def left_out_note(count: int) -> tuple[str, ...]:
    """Says how many files were left out; nothing where none was."""
    if count == 0:
        return ()
    return (
        f"{count} file{'s were' if count > 1 else ' was'} left out: by name or content no scan of the four sequences.",
    )


def _by_sequence(files: list[ReceivedPart], kinds: list[Kind | None]) -> tuple[dict[Sequence, ReceivedPart], int]:
    """The file of each sequence, and how many files of the field `files` are of none, such as a reference label map."""
    parts: dict[Sequence, ReceivedPart] = {}
    left_out = 0
    for part, kind in zip(files, kinds, strict=True):
        if part.name != FILES:
            if kind is None:
                raise RequestError(
                    "not_scans", f"The file for {part.name} is neither NIfTI nor DICOM nor a zip archive."
                )
            sequence: Sequence | None = Sequence(part.name)
        else:
            sequence = None if kind is None else sequence_of_file_name(stem(Path(_last_name(part.filename))))
        if sequence is None:
            left_out += 1
        elif sequence in parts:
            raise RequestError("not_scans", f"The upload holds two files for {sequence.value}.", "Send one of each.")
        else:
            parts[sequence] = part
    return parts, left_out


def _last_name(filename: str | None) -> str:
    name = PurePosixPath((filename or "").replace("\\", "/").replace("\0", "")).name
    return name if is_nifti_name(Path(name)) else f"{name}.nii"


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _path(part: ReceivedPart) -> Path:
    if part.path is None:
        raise RequestError("not_scans")
    return part.path
