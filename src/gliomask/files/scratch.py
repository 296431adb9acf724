"""A place for temporary files where the system has none: containers with a read-only root often have neither /tmp nor a
home.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OTHER_PLACES = ("/dev/shm", f"/run/user/{os.getuid() if hasattr(os, 'getuid') else 0}")
"""Folders in memory, which Linux also has where the root is read-only (shm_overview(7); user runtime folder)."""


VARIABLES = ("TMPDIR", "MPLCONFIGDIR")
"""What says where temporary files go, and where Matplotlib keeps its fonts' index: without a folder for that it does
not start.
"""


@contextmanager
def temporary_place(others: tuple[str, ...] = OTHER_PLACES) -> Iterator[None]:
    """Sees to it that `tempfile`, and libraries that keep settings there, find a folder for the time of the block; also
    in child processes.

    Where TMPDIR, /tmp, /var/tmp, /usr/tmp or the working folder will do, nothing is done; where no folder at all can be
    written to, neither.

    Args:
        others: folders to try then.
    """
    with suppress(FileNotFoundError):
        tempfile.gettempdir()
        yield
        return
    place = next((Path(other) for other in others if os.access(other, os.W_OK | os.X_OK)), None)
    if place is None:
        yield
        return
    folder = tempfile.mkdtemp(prefix="gliomask-", dir=place)
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update({name: folder for name in VARIABLES if name == "TMPDIR" or name not in os.environ})
    tempfile.tempdir = None
    try:
        yield
    finally:
        tempfile.tempdir = None
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
