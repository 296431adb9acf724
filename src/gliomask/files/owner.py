"""Who wrote a temporary file or holds a lock: a process, told apart from a later one of the same number.

A process number alone is no owner: numbers come again, and every container has a process 1. With the running kernel,
the process namespace and the time at which the process started it is one, and whether it still runs can be asked on the
same machine.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process.

    Args:
        place: eight letters for the running kernel and its process namespace.
        pid: its number there.
        started: when it started, in the kernel's ticks; 0 where the platform does not tell.
    """

    place: str
    pid: int
    started: int

    def __str__(self) -> str:
        """As it stands in names of temporary files."""
        return f"{self.place}-{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The inverse of `str`; None for anything else."""
        place, _, numbers = text.partition("-")
        pid, _, started = numbers.partition("-")
        if len(place) != PLACE_LETTERS or not (_is_number(pid) and _is_number(started)):
            return None
        return cls(place, int(pid), int(started))

    @property
    def is_dead(self) -> bool | None:
        """True where the process has ended, False where it runs, None where that cannot be told from here."""
        if self.place != _place() or sys.platform == "win32":
            # On Windows asking with signal 0 would end the process.
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return None if self.started == 0 else self.started != _started(self.pid)
        return self.started != 0 and self.started != _started(self.pid)


PLACE_LETTERS = 8
MAX_DIGITS = 20


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def this_process() -> Owner:
    """The process that asks; never cached, since a process may fork."""
    return Owner(_place(), os.getpid(), _started(os.getpid()))


def host() -> str:
    """The machine's name, for messages."""
    return platform.node() or "an unnamed machine"


@cache
def machine() -> str:
    """Names the running kernel: containers on one machine share it, two machines or two starts of one do not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return host()


@cache
def _place() -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path, a name such as pid:[4026531836]
    except OSError:
        namespace = host()
    return sha256(f"{machine()} {namespace}".encode()).hexdigest()[:PLACE_LETTERS]


def _started(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)); the second field is a name in brackets that may hold spaces."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
