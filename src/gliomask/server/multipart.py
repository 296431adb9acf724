"""Bodies in parts, read as they come: every file goes to disk under a number, and nothing of it stays in memory.

For forms (`multipart/form-data`, RFC 7578) and for DICOM instances (`multipart/related`, RFC 2387 and DICOM PS3.18,
8.7.1).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser

from gliomask.errors import FileFormatError, LimitError

MAX_VALUE_BYTES = 4096
"""Of one field of a form that is no file."""

MAX_VALUES = 64

MAX_HEADERS, MAX_HEADER_BYTES = 16, 4096
"""Of one part."""

MAX_BOUNDARY_LETTERS = 200
"""RFC 2046, 5.1.1 allows 70, but Orthanc writes 73."""


@dataclass(frozen=True)
class ReceivedPart:
    """One part of a body.

    Args:
        name: the form's field, or empty.
        filename: what the client called the file: data, never a path; None for a value.
        path: where the file lies; None for a value.
        value: of a field that is no file.
    """

    name: str
    filename: str | None
    path: Path | None
    value: str = ""


def boundary_of(content_type: str, kind: str) -> str:
    """Returns the boundary that a header Content-Type names.

    Args:
        content_type: the header's value.
        kind: the type that is needed, such as `multipart/form-data`.

    Raises:
        FileFormatError: it is of another type, or names no boundary.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if (
        header.get_content_type() != kind
        or not isinstance(boundary, str)
        or not 0 < len(boundary) <= MAX_BOUNDARY_LETTERS
        or not boundary.isascii()
    ):
        raise FileFormatError(f"The body must be {kind} with a boundary.")
    return boundary


class PartWriter:
    """Takes a body piece by piece and writes its files into a folder.

    Args:
        boundary: between the parts.
        folder: an existing, empty folder.
        max_bytes: of the body.
        max_files: in the body.
        files_only: every part is a file, as DICOM instances are.
    """

    def __init__(
        self, boundary: str, folder: Path, *, max_bytes: int, max_files: int, files_only: bool = False
    ) -> None:
        self.parts: list[ReceivedPart] = []
        self.received = 0
        self._folder, self._max_bytes, self._max_files, self._files_only = folder, max_bytes, max_files, files_only
        self._files = self._values = 0
        self._stream: BinaryIO | None = None
        self._headers: dict[str, str] = {}
        self._field, self._text = bytearray(), bytearray()
        self._current = ReceivedPart("", None, None)
        self._value = bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary.encode("ascii"),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._text.extend(data[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._close,
                "on_end": self._finish,
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )

    def write(self, piece: bytes) -> None:
        """Takes the next piece.

        Raises:
            FileFormatError: the body is not in parts.
            LimitError: it has more bytes, files or values than it may have.
        """
        self.received += len(piece)
        if self.received > self._max_bytes:
            raise LimitError(f"The upload has more than {self._max_bytes:,} bytes.")
        try:
            self._parser.write(piece)
        except (MultipartParseError, FormParserError) as error:
            raise FileFormatError("The body is not in parts as its Content-Type says.") from error

    def finish(self) -> list[ReceivedPart]:
        """Returns the parts, in their order; all files are on disk.

        Raises:
            FileFormatError: the body ended before its last part did.
        """
        if not self._ended:
            raise FileFormatError("The upload ended before its last part did. Send it again.")
        return self.parts

    def close(self) -> None:
        """Closes the file that is open, where a body breaks off."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _begin(self) -> None:
        self._headers = {}

    def _header(self) -> None:
        self._headers[self._field.decode("latin-1").strip().lower()] = self._text.decode("utf-8", "replace").strip()
        self._field.clear()
        self._text.clear()

    def _open(self) -> None:
        name, filename = _names(self._headers.get("content-disposition", ""))
        if filename is None and not self._files_only:
            self._values += 1
            if self._values > MAX_VALUES:
                raise LimitError(f"The form has more than {MAX_VALUES} values.")
            self._current = ReceivedPart(name, None, None)
            return
        self._files += 1
        if self._files > self._max_files:
            raise LimitError(f"The upload has more than {self._max_files:,} files.")
        path = self._folder / f"{self._files - 1:06d}"
        self._current = ReceivedPart(name, filename or "", path)
        self._stream = path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._stream is not None:
            self._stream.write(memoryview(data)[start:end])
            return
        self._value.extend(data[start:end])
        if len(self._value) > MAX_VALUE_BYTES:
            raise LimitError(f"A value of the form has more than {MAX_VALUE_BYTES:,} bytes.")

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None
            self.parts.append(self._current)
            return
        self.parts.append(ReceivedPart(self._current.name, None, None, self._value.decode("utf-8", "replace")))
        self._value.clear()

    def _finish(self) -> None:
        self._ended = True


def _names(disposition: str) -> tuple[str, str | None]:
    """The field's name and the file's, from a header Content-Disposition; a file without a name has an empty one."""
    header = Message()
    header["content-disposition"] = disposition or "form-data"
    name = header.get_param("name", "", "content-disposition")
    filename = header.get_filename()
    return (name if isinstance(name, str) else ""), filename
