"""Opening files that others gave: only regular files, and no further than a stated size."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gliomask.errors import FileFormatError


class NotRegularError(OSError):
    """A folder, a pipe, a socket or a device stands where a file was expected; `strerror` says which."""

    def __init__(self, kind: str) -> None:
        super().__init__(None, f"it is {kind}")


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file for reading, links followed.

    Raises:
        OSError: it cannot be opened.
        NotRegularError: it is something else, from which a read might never return.
    """
    # Asked before opening, since opening a pipe that nobody writes to waits for ever; and again of what was opened.
    refuse_other_kinds(path.stat())
    with path.open("rb") as stream:
        refuse_other_kinds(os.fstat(stream.fileno()))
        yield stream


def refuse_other_kinds(status: os.stat_result) -> None:
    """Raises NotRegularError where a status is not a regular file's."""
    if stat.S_ISDIR(status.st_mode):
        raise NotRegularError("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError("not a regular file")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Returns the bytes of a regular file.

    Args:
        path: the file.
        max_bytes: no more than so many are read.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it has more bytes.
    """
    with open_regular(path) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return content


def read_text(path: Path, max_bytes: int, what: str = "text") -> str:
    """Returns the text of a regular file in UTF-8, with or without a byte order mark; `what` it should be, for the
    message.

    Raises:
        FileFormatError: it cannot be read, is no regular file, has more bytes, or is not UTF-8.
    """
    try:
        return read_regular(path, max_bytes).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read as {what} ({reason(error)}).") from error


def reason(error: Exception) -> str:
    """What an error of reading says, without the path that the message already names."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
