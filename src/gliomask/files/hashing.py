"""SHA-256 of files and of bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

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
        raise FileFormatError(f"{path}: cannot be read ({reason(error)}). Check that the file exists and may be read.") from error
    return digest.hexdigest()


def sha256(content: bytes) -> str:
    """Returns the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
