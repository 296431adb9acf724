"""How a server is set up: where it listens, who may use it, and every limit."""

from __future__ import annotations

import ipaddress
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gliomask.errors import UsageError
from gliomask.processors import thread_count

LEAST_TOKEN_LETTERS = 16
"""Shorter tokens can be guessed over a network."""

WORKER_COMMAND = (sys.executable, "-P", "-m", "gliomask.server.worker")
"""What runs a job.

`-P` keeps the job's folder, which holds what a client sent, out of the places that Python imports from.
"""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """What one server takes and gives at most. Requests beyond are refused with a code that says which limit.

    Args:
        upload_bytes: of one request.
        files: of one request.
        uploads: that are received at the same moment; further ones wait for their turn.
        waiting_jobs: in the queue.
        connections: open at the same moment, waiting uploads among them.
        event_streams: open at the same moment.
        upload_seconds: that one request may take, once it is its turn.
        idle_seconds: without a byte from the client.
        least_bytes_per_second: that an upload must bring on average, after its first `idle_seconds`.
        job_seconds: by the clock, of one job.
        job_memory_bytes: of address space, for each process of a job.
        job_file_bytes: of any file that a job writes.
        keep_seconds: that a finished job's files stay.
        remember_seconds: that a job whose files are gone is still known as expired.
        free_disk_bytes: that must stay free; below, uploads are refused.
        attempts: how often a job is begun, where the server ended in the middle of it.
        corrections: of one job.
        correction_seconds: by the clock, to check and keep one correction.
    """

    upload_bytes: int = 4 << 30
    files: int = 20_000
    uploads: int = 4
    waiting_jobs: int = 200
    connections: int = 300
    event_streams: int = 100
    upload_seconds: float = 3600.0
    idle_seconds: float = 30.0
    least_bytes_per_second: int = 8192
    job_seconds: float = 1800.0
    job_memory_bytes: int = 8 << 30
    job_file_bytes: int = 8 << 30
    keep_seconds: float = 24 * 3600.0
    remember_seconds: float = 30 * 24 * 3600.0
    free_disk_bytes: int = 1 << 30
    attempts: int = 2
    corrections: int = 20
    correction_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0 and name != "free_disk_bytes":
                raise UsageError(f"The limit {name} is {value}; it must be more than 0.")


@dataclass(frozen=True)
class ServerSettings:
    """One server.

    Args:
        folder: for uploads, results and the table of jobs; only one server at a time uses it.
        host: address to listen on.
        port: 0 for any that is free.
        token: what clients must send; None for none, on loopback only.
        workers: jobs that run at the same moment; None for as many as the machine has room for.
        threads: of each job; None for an equal share of the processors.
        host_names: names under which browsers may call the server, besides those of loopback and `host`.
        study_quiet_seconds: without a further instance, until a study that came by DICOMweb is taken as complete.
        send_to: DICOMweb service that gets the DICOM objects of each job that came by DICOMweb; None for none.
        send_login: user and password there.
        corrections: folder that gets a copy of each correction with its scans, for training; it does not expire. None
            for none.
        limits: see `Limits`.
        worker_command: what runs a job; a job's folder is its last argument.

    Raises:
        UsageError: the server would listen to others without a token, or a value makes no sense.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    workers: int | None = None
    threads: int | None = None
    host_names: tuple[str, ...] = ()
    study_quiet_seconds: float = 30.0
    send_to: str | None = None
    send_login: tuple[str, str] | None = field(default=None, repr=False)
    corrections: Path | None = None
    limits: Limits = Limits()
    worker_command: tuple[str, ...] = WORKER_COMMAND

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"Listening on {self.host} lets others in, so a token is needed. Give --token-file, or listen "
                "on 127.0.0.1."
            )
        if self.token is not None and (
            len(self.token) < LEAST_TOKEN_LETTERS or not self.token.isascii() or not self.token.isprintable()
        ):
            raise UsageError(
                f"The token must have at least {LEAST_TOKEN_LETTERS} printable ASCII letters. Make one: openssl "
                "rand -hex 32."
            )
        if not 0 <= self.port <= 65535:
            raise UsageError(f"There is no port {self.port}. Give one from 1 to 65535, or 0 for any that is free.")
        if self.send_to is not None and not self.send_to.startswith(("http://", "https://")):
            raise UsageError(
                f"{self.send_to} is no address of a DICOMweb service. Give one such as "
                "https://pacs.example.org/dicom-web."
            )
        if self.workers is not None and self.workers < 1:
            raise UsageError("At least one job must be able to run.")

    def sends(self, study_uid: str) -> bool:
        """Returns True where the DICOM objects of a job go to the archive: only what came by DICOMweb names a study."""
        return bool(study_uid) and self.send_to is not None

    @property
    def jobs_at_once(self) -> int:
        """Jobs that run at the same moment: one for two processors, as far as memory goes."""
        if self.workers is not None:
            return self.workers
        by_memory = _memory_bytes() // self.limits.job_memory_bytes
        return max(1, min(thread_count(None) // 2, by_memory))

    @property
    def threads_of_each(self) -> int:
        """Threads of each job."""
        return self.threads or max(1, thread_count(None) // self.jobs_at_once)

    def allowed_hosts(self) -> frozenset[str]:
        """Names that a request's Host header may hold.

        Another name is that of a page that wants to reach in (DNS rebinding).
        """
        return frozenset(name.lower() for name in (*LOOPBACK_NAMES, self.host, *self.host_names))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
