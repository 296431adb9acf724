"""One training per folder: a lock that the operating system drops when its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gliomask.errors import UsageError

LOCK_NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Holds the lock of an existing folder; the file stays behind, empty of meaning once its process is gone.

    Yields:
        True; False where the file system or the platform has no such locks, and nothing keeps a second process out.

    Raises:
        UsageError: another process holds it.
    """
    with (folder / LOCK_NAME).open("a+", encoding="utf-8") as file:
        try:
            held = _take(file.fileno())
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise UsageError(f"{folder}: another training runs in this folder (process {owner}). Wait for it, or give another folder.") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield held


def _take(descriptor: int) -> bool:
    """Returns False where there are no locks; raises BlockingIOError when another process holds this one."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        # Not a file that exists or not: that would outlive a killed process and lock its owner out.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        # Some network file systems are mounted without locks.
        return False
    return True
