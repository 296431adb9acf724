"""One training at a time in a folder; see `gliomask.files.lock`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gliomask.files.lock import LOCK_NAME
from gliomask.files.lock import locked as locked_for

__all__ = ["LOCK_NAME", "locked"]


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Holds the lock of a folder that trainings are written into.

    Yields:
        True.

    Raises:
        UsageError: another process holds it; the message says who and since when.
    """
    with locked_for(folder, "training") as lock:
        yield lock
