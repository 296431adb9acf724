"""SHA-256 of files and of bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from gliomask.errors import FileFormatError
from gliomask.files.regular import open_regular, reason

BLOCK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal digits.

    Raises:
        FileFormatError: it cannot be read, or is no regular file.
    """
    digest = hashlib.sha256()
    try:
        with open_regular(path) as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be read ({reason(error)}). Check that the file exists and may be read."
        ) from error
    return digest.hexdigest()


def sha256(content: bytes) -> str:
    """Returns the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class HashedStream:
    """Writes into a stream, and hashes what it writes, so that a file need not be read again for its hash.

    Args:
        stream: open for writing.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest = stream, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        """Writes bytes; returns how many."""
        self._digest.update(content)
        return self._stream.write(content)

    def flush(self) -> None:
        """Passes on what is buffered."""
        self._stream.flush()

    @property
    def sha256(self) -> str:
        """Of everything that was written so far, in hexadecimal digits."""
        return self._digest.hexdigest()
