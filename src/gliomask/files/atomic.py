"""Files written whole or not at all, and temporary ones that are cleared away also when the process that wrote them was
killed.

A file is written under a temporary name in the folder where it will lie, flushed to disk and renamed. The temporary
name carries its owner (`files.owner`): the next run that writes into the folder clears away what dead processes left,
and never what a living one writes.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from gliomask.errors import GliomaskError, LimitError, UsageError
from gliomask.files.owner import Owner, this_process
from gliomask.files.regular import NotRegularError, refuse_other_kinds

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file that is full."""

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
"""Errors of a file system without hard links."""

REPLACE = "Give --overwrite to replace it."
"""What to do where a file exists, unless a caller says more."""

PREFIX, SUFFIX = ".gliomask-", ".part"
"""Names of temporary files are PREFIX, owner, `_`, random letters, SUFFIX; never longer than 80 letters, whatever the
name of the result.
"""

FOLDER_PREFIX = "gliomask-"
"""Names of temporary folders are FOLDER_PREFIX, owner, `_`, random letters."""

UNKNOWN_OWNER_SECONDS = 2 * 24 * 3600
"""Age from which on a leftover is cleared away although its owner cannot be asked: it ran on another machine or in
another container.
"""

_swept: set[str] = set()
_sweeping = threading.Lock()

Identity = tuple[int, int]
_written: ContextVar[dict[Path, Identity] | None] = ContextVar("gliomask_written", default=None)
"""The files that the current `all_or_none` has put in place, and which files they are."""


@contextmanager
def replacing(path: Path, *, exclusive: bool = False) -> Iterator[BinaryIO]:
    """Opens a temporary file in the same folder; at the end flushes it to disk and gives it the name `path`, or removes
    it after an error.

    Args:
        path: the file; what stands under this name is replaced in one step.
        exclusive: refuse to replace. Of two processes that write one path one is refused, whenever they ask.

    Raises:
        UsageError: the file cannot be written, or exists and `exclusive` is true.
        LimitError: the disk is full.
    """
    refuse_other_kinds_of_target(path)
    temporary = None
    try:
        sweep(path.parent)
        descriptor, name = tempfile.mkstemp(SUFFIX, f"{PREFIX}{this_process()}_", path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            _share(descriptor)
            os.fsync(descriptor)
            status = os.fstat(descriptor)
        if _put_in_place(temporary, path, exclusive):
            temporary = None
        flush_folder(path.parent)
        written = _written.get()
        if written is not None:
            written[path] = (status.st_dev, status.st_ino)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _share(descriptor: int) -> None:
    """Gives a file the rights that any new file has: `mkstemp` makes it its owner's alone, and results are read by
    colleagues.
    """
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o666 & ~_mask())


def _mask() -> int:
    # The mask can only be read by setting it, for which other threads must not see a moment without it; Linux tells it.
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    with _sweeping:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def _put_in_place(temporary: Path, path: Path, exclusive: bool) -> bool:
    """Gives a file its name; returns whether its temporary name is gone with that."""
    if not exclusive:
        temporary.replace(path)
        return True
    try:
        os.link(temporary, path)
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise _exists(path) from None
        if error.errno not in NO_LINKS:
            raise
        refuse_existing([path], overwrite=False)
        temporary.replace(path)
        return True
    return False


def _exists(path: Path, remedy: str = REPLACE) -> UsageError:
    return UsageError(f"{path} exists. {remedy}")


def refuse_existing(paths: Iterable[Path], *, overwrite: bool, remedy: str = REPLACE) -> None:
    """Refuses to replace.

    Args:
        paths: every file that may be written.
        overwrite: replacing was asked for.
        remedy: how the message ends.

    Raises:
        UsageError: one of the files exists and may not be replaced; also a link that leads nowhere counts.
    """
    existing = None if overwrite else next((path for path in paths if os.path.lexists(path)), None)
    if existing is not None:
        raise _exists(existing, remedy)


def refuse_other_kinds_of_target(path: Path) -> None:
    """Refuses to put a file in the place of a folder, a pipe or a device, links followed: `-o /dev/null` by root would
    remove the device.

    Raises:
        UsageError: such a thing stands there.
    """
    try:
        refuse_other_kinds(path.stat())
    except NotRegularError as error:
        raise UsageError(f"{path}: no file can be written there ({error.strerror}). Give another name.") from error
    except OSError:
        # Nothing is there, or writing will say what is wrong.
        return


def flush_folder(folder: Path) -> None:
    """Makes names that were given in a folder outlive a loss of power; where folders cannot be opened (Windows) the
    system sees to it.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Writes a file whole or not at all; see `replacing`.

    Raises:
        UsageError: the file cannot be written, or exists and `exclusive` is true.
        LimitError: the disk is full.
    """
    with replacing(path, exclusive=exclusive) as stream:
        stream.write(content)


def not_written(path: Path, error: OSError) -> GliomaskError:
    """The error that tells why a file was not written: LimitError for a full disk, otherwise UsageError."""
    why = f"{path}: cannot be written ({error.strerror or error})."
    if error.errno in NO_ROOM:
        return LimitError(f"{why} Make room there and give the same command again.")
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(f"{why} Give a shorter name, or rename the case's folder.")
    return UsageError(f"{why} Check that the folder exists and may be written to, or give another one.")


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, where they do not exist.

    Raises:
        UsageError: it cannot be made.
        LimitError: the disk is full.
    """
    try:
        # Asking first spares a file server that many workers share a request that changes nothing.
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error


def refuse_unwritable(folder: Path) -> None:
    """Raises UsageError where nothing could be written into a folder, which need not exist yet.

    Writes nothing: it is asked before any work.
    """
    place = Path(folder)
    try:
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        is_folder = place.is_dir()
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: cannot be written to ({error}). Give another output folder.") from error
    if not is_folder:
        raise UsageError(f"{folder}: cannot be written to: {place} is no folder. Give another output folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: cannot be written to: {place} is read-only for you. Give another output folder.")


@contextmanager
def all_or_none(paths: Iterable[Path]) -> Iterator[None]:
    """Makes the files' folders; after an error removes those of the files that this block wrote anew.

    Only what `replacing` put in place inside the block, and what nobody has replaced since, is removed: never a file of
    another run.
    """
    paths = list(paths)
    existing = {path for path in paths if os.path.lexists(path)}
    for folder in {path.parent for path in paths}:
        make_folder(folder)
    written: dict[Path, Identity] = {}
    token = _written.set(written)
    try:
        yield
    except BaseException:
        for path in set(written) - existing:
            with suppress(OSError):
                if _identity(path) == written[path]:
                    path.unlink()
        raise
    finally:
        _written.reset(token)
        outer = _written.get()
        if outer is not None:
            outer.update(written)


def _identity(path: Path) -> Identity:
    status = path.lstat()
    return status.st_dev, status.st_ino


@contextmanager
def temporary_folder(where: Path | None = None) -> Iterator[Path]:
    """A folder of one's own for the time of a block, removed at its end, and by the next run where this one is killed.

    Args:
        where: the folder to make it in; None takes the system's, which TMPDIR names.

    Raises:
        UsageError: it cannot be made.
        LimitError: the disk is full.
    """
    place = Path(where or tempfile.gettempdir())
    try:
        sweep(place)
        folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{this_process()}_", dir=place))
    except OSError as error:
        raise not_written(place, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, *, again: bool = False) -> list[Path]:
    """Removes the temporary files and folders that dead runs left in a folder; returns what was removed.

    Args:
        folder: where to look, not below.
        again: look also where this process has looked before.
    """
    key = os.path.abspath(folder)  # noqa: PTH100 - no path, a key
    with _sweeping:
        if key in _swept and not again:
            return []
        _swept.add(key)
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_left_over(entry):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        Path(entry.path).unlink()
                    removed.append(Path(entry.path))
    return removed


def _is_left_over(entry: os.DirEntry[str]) -> bool:
    owner = _owner(entry.name)
    if owner is None:
        return False
    with suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return False
        dead = owner.is_dead
        return time.time() - status.st_mtime > UNKNOWN_OWNER_SECONDS if dead is None else dead
    return False


def _owner(name: str) -> Owner | None:
    """The owner in the name of a temporary file or folder; None for any other name."""
    if name.startswith(PREFIX) and name.endswith(SUFFIX):
        return Owner.parse(name.removeprefix(PREFIX).partition("_")[0])
    return Owner.parse(name.removeprefix(FOLDER_PREFIX).partition("_")[0]) if name.startswith(FOLDER_PREFIX) else None
