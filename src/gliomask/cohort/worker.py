"""The process that does cases: `python -m gliomask.cohort.worker`, started and watched by `supervisor`, spoken to in
lines of JSON.

The first line that it reads says what is asked; it answers `ready` or `refused`. Each further line is a case; the
answer is its row. When its standard input ends, whoever started it has ended: it then ends at once, so that no orphan
writes results.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from gliomask.cohort.index import Entry, entry_of_cells
from gliomask.cohort.rows import row_of_failure
from gliomask.errors import GliomaskError, InputError, LimitError
from gliomask.files.atomic import NO_ROOM
from gliomask.imports import import_without
from gliomask.report.run_record import peak_memory_mb

HIGH_WATER = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Writing 5 to the first sets back the peak that the second tells (proc(5)); elsewhere the peak is the process's whole
life's.
"""

FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of an output that takes nothing more, or of the folder of one case alone."""


def main() -> int:
    """Runs the worker until its standard input ends; returns the exit code."""
    # Libraries may print what they like: the answers have a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, lines), daemon=True).start()
    request = json.loads(lines.get())
    import_without("nibabel", "pydicom")
    try:
        from gliomask.cohort.job import CohortJob

        job = CohortJob(request["asked"], Path(request["output"]), request["threads"])
    except GliomaskError as error:
        _answer(answers, {"refused": str(error), "exit_code": error.exit_code})
        return error.exit_code
    with job:
        limit_memory(request["memory_mb"])
        _answer(answers, {"ready": True})
        while True:
            entry = entry_of_cells(json.loads(lines.get()))
            _answer(answers, do(job, entry, request["options_sha256"]))


def _read(stream: IO[str], lines: SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line)
    os._exit(0)


def _answer(stream: IO[str], value: dict[str, Any]) -> None:
    stream.write(json.dumps(value, allow_nan=False) + "\n")
    stream.flush()


def do(job: Any, entry: Entry, options_sha256: str) -> dict[str, Any]:
    """Does one case, and returns the answer: its row, or that nothing can be written any more (`stop`)."""
    start = time.perf_counter()
    forget_peak()
    kept = False
    try:
        ended = job.do(entry)
        row, kept = ended.row, ended.kept
    except Exception as error:
        if cannot_write(error, job.output):
            return {"stop": str(error), "exit_code": getattr(error, "exit_code", LimitError.exit_code)}
        row = row_of_failure(entry.case, error, options_sha256, time.perf_counter() - start)
    return {"row": asdict(row if kept else replace(row, peak_memory_mb=peak_mb())), "kept": kept}


def cannot_write(error: BaseException, output: Path) -> bool:
    """Whether an error means that no case's results can be written any more: a full disk, or an output that became
    read-only.
    """
    if isinstance(error, InputError):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return True
        if isinstance(cause, OSError) and cause.errno in FORBIDDEN:
            return not os.access(output, os.W_OK | os.X_OK)
        cause = cause.__cause__
    return False


def limit_memory(memory_mb: float | None) -> None:
    """Refuses this process more private memory than what is left of `memory_mb` beyond what it holds now, where the
    system can (Linux: RLIMIT_DATA).

    What a warm model reserves but does not touch is no fault of a case. `supervisor` watches the resident memory as
    well.
    """
    if memory_mb is None:
        return
    with suppress(ImportError, OSError, ValueError, StopIteration, KeyError):
        import resource

        status = {
            line.partition(":")[0]: line.split()[1]
            for line in HIGH_WATER[1].read_text(encoding="ascii", errors="replace").splitlines()
            if "kB" in line
        }
        left = max(memory_mb * 1e6 - int(status["VmRSS"]) * 1024, 0)
        limit = int(int(status["VmData"]) * 1024 + left)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def forget_peak() -> None:
    """Lets `peak_mb` tell the peak from now on, where the system can."""
    with suppress(OSError):
        HIGH_WATER[0].write_bytes(b"5")


def peak_mb() -> float | None:
    """Returns the largest resident memory since `forget_peak`, 10^6 bytes."""
    with suppress(OSError, ValueError, StopIteration):
        lines = HIGH_WATER[1].read_text(encoding="ascii", errors="replace").splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6, 1)
    return peak_memory_mb()


if __name__ == "__main__":
    sys.exit(main())
