"""One process at a time in a folder: a lock that ends with its process, however it ends, and says who holds it and
since when.

The kernel's lock (`flock`; `msvcrt` on Windows) decides on one machine and between its containers. A network file
system may keep such locks on each machine for itself or have none, so the holder also leaves its record and renews its
time; a record of another machine that was renewed within `STALE_SECONDS` keeps others out as well.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from gliomask.errors import UsageError
from gliomask.files.atomic import not_written
from gliomask.files.json import parse_json, to_json
from gliomask.files.owner import Owner, host, machine, this_process

LOCK_NAME = ".lock"

RENEWAL_SECONDS = 30.0
STALE_SECONDS = 300.0
"""A holder renews its time every so often; a record on another machine that is older is a dead one's. Clocks may differ
by minutes.
"""

MAX_RECORD_BYTES = 4096

LOCKED_BYTE = 1 << 20
"""On Windows a locked byte cannot be read by others, so it lies behind the record."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Args:
        what: what it does, such as `training`.
        host: the name of its machine or container.
        machine: its kernel.
        owner: its process.
        pid: the process's number, for people.
        since: when it took the lock, local time.
    """

    what: str
    host: str
    machine: str
    owner: str
    pid: int
    since: str

    def __str__(self) -> str:
        """For messages."""
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_dead(self) -> bool | None:
        """Whether its process has ended; None where that cannot be told from here."""
        owner = Owner.parse(self.owner)
        return None if owner is None else owner.is_dead


class HeldError(UsageError):
    """Another process holds the lock."""


@contextmanager
def awaited(folder: Path, what: str, name: str, seconds: float = 60.0) -> Iterator[None]:
    """Holds a lock for a moment's work, and waits for others who do the same; the lock's file goes at the end.

    Args:
        folder: the folder.
        what: what is done, for the message.
        name: the lock's file.
        seconds: how long to wait.

    Raises:
        HeldError: another process held it all that time.
        UsageError: the file cannot be written; said at once.
    """
    end = time.monotonic() + seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder, what, name, transient=True))
                break
            except HeldError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        yield


@contextmanager
def locked(folder: Path, what: str = "run", name: str = LOCK_NAME, *, transient: bool = False) -> Iterator[bool]:
    """Holds the lock of an existing folder.

    Args:
        folder: the folder.
        what: what is done, for the message to others: `another {what} runs in this folder`.
        name: the lock's file.
        transient: remove the file at the end; otherwise it stays behind, empty. Who takes the lock makes sure that the
            file is still in its place.

    Yields:
        True.

    Raises:
        HeldError: another process holds it; the message says who and since when.
        UsageError: the file cannot be written.
        LimitError: the disk is full.
    """
    path = folder / name
    descriptor = _opened(path)
    acquired = False
    try:
        by_kernel = _take(descriptor)
        while by_kernel is not False and not _in_place(descriptor, path):
            # Its last holder removed the file after this process had opened it.
            os.close(descriptor)
            descriptor = _opened(path)
            by_kernel = _take(descriptor)
        if by_kernel is False:
            raise _held(folder, what, _read(descriptor))
        _refuse_living(descriptor, folder, what, by_kernel is True)
        # By the kernel it is ours from here, also where no record can be written, as on a full disk.
        acquired = by_kernel is True
        me = Holder(
            what,
            host(),
            machine(),
            str(this_process()),
            os.getpid(),
            f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}",
        )
        _write(descriptor, me, path)
        if by_kernel is None:
            _refuse_overtaken(descriptor, me, folder, what)
        acquired = True
        with _renewing(path):
            yield True
    finally:
        # Empty only what is ours: a lock that is refused belongs to another.
        with suppress(OSError):
            if acquired:
                os.ftruncate(descriptor, 0)
                if transient and sys.platform != "win32":
                    # While it is held: another who waits for this file finds that it is gone.
                    path.unlink()
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        raise not_written(path, error) from error


def _in_place(descriptor: int, path: Path) -> bool:
    """Whether the file that was opened is the one that lies there."""
    try:
        opened, named = os.fstat(descriptor), path.stat()
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


def _held(folder: Path, what: str, holder: Holder | None) -> HeldError:
    doing, who = (holder.what, str(holder)) if holder is not None else (what, "process unknown")
    return HeldError(f"{folder}: another {doing} runs in this folder ({who}). Wait for it, or give another folder.")


def _refuse_living(descriptor: int, folder: Path, what: str, by_kernel: bool) -> None:
    """Refuses where the record in the lock is that of a process that the kernel's lock did not answer for and that may
    run.
    """
    holder = _read(descriptor)
    if holder is None or (by_kernel and holder.machine == machine()) or holder.is_dead:
        return
    if holder.is_dead is False or time.time() - os.fstat(descriptor).st_mtime < STALE_SECONDS:
        raise _held(folder, what, holder)


def _refuse_overtaken(descriptor: int, me: Holder, folder: Path, what: str) -> None:
    """Without the kernel's lock two may write their records at once; the later one stays, and the other sees it after a
    moment.
    """
    time.sleep(0.05)
    holder = _read(descriptor)
    if holder is not None and holder != me:
        raise _held(folder, what, holder)


def _read(descriptor: int) -> Holder | None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return TypeAdapter(Holder).validate_python(parse_json(os.read(descriptor, MAX_RECORD_BYTES)))
    except (OSError, ValueError):
        return None


def _write(descriptor: int, holder: Holder, path: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, to_json(asdict(holder)))
        os.fsync(descriptor)
    except OSError as error:
        raise not_written(path, error) from error


@contextmanager
def _renewing(path: Path) -> Iterator[None]:
    """Renews the lock's time from a thread of its own, as long as the block runs."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(RENEWAL_SECONDS):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=renew, name="lock", daemon=True)
    with suppress(RuntimeError):
        # Where no thread can be started the lock holds on this machine all the same.
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


def _take(descriptor: int) -> bool | None:
    """Takes the kernel's lock: True, or False where another holds it, or None where the file system has none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Windows says EACCES or EDEADLOCK for a lock that another holds.
        already_locked = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        return False if error.errno in already_locked else None
    return True
