"""Watches one worker process: starts it with a warm model, hands it cases, and ends it where a case hangs, eats memory
or takes the process down.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gliomask.cohort.allowance import THREAD_VARIABLES
from gliomask.cohort.index import Entry
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import CohortRow, Result, RowStore, failed, parse_row
from gliomask.cohort.settings import Asked, asked_sha256
from gliomask.errors import GliomaskError, LimitError, ModelError, UsageError

WORKER = (sys.executable, "-P", "-m", "gliomask.cohort.worker")
"""The command that starts a worker; -P, so that no module of the working folder is taken for one of Python's."""

LOOK_SECONDS = 0.1
"""How often the worker's memory and the clock are looked at."""

STARTS = 3
"""So often a worker that dies before its model is ready is started."""

LAST_LINES = 20
"""Lines of a worker's own messages that are kept for the case that it dies."""

_WORDS = {
    -9: "killed (SIGKILL: out of memory, or ended from outside)",
    -11: "crashed (SIGSEGV)",
    -6: "aborted (SIGABRT)",
    -7: "crashed (SIGBUS)",
}


BEGUN = "begun, and not ended yet or interrupted"
"""Message of the row of a case at work."""


class StoppedError(Exception):
    """The run is being ended; the case at work stays waiting."""


@dataclass(frozen=True)
class CaseLimits:
    """What one case may take.

    Args:
        seconds: of time; None for no limit.
        memory_mb: resident memory of the worker, 10^6 bytes; None for no limit.
        retries: how often a case is tried again in a fresh process after it took its process down; reaching a limit is
            no reason to try again.
    """

    seconds: float | None = 3600.0
    memory_mb: float | None = None
    retries: int = 1


class Supervisor:
    """One worker process and what is done about its faults.

    Args:
        place: of the cohort.
        asked: options.
        limits: of each case.
        threads: of the worker's engine.
        stop: ends the case at work when it is set.
        hold: file descriptors that the worker keeps open while it lives, such as a lock's.
        command: what starts a worker; None for `WORKER`.
    """

    def __init__(
        self,
        place: CohortPlace,
        asked: Asked,
        limits: CaseLimits,
        threads: int,
        stop: threading.Event,
        hold: tuple[int, ...] = (),
        command: tuple[str, ...] | None = None,
    ) -> None:
        self._command = command or WORKER
        self._place, self._asked, self._limits, self._threads, self._stop, self._hold = (
            place,
            asked,
            limits,
            threads,
            stop,
            hold,
        )
        self._store = RowStore(place.rows)
        self._sha256 = asked_sha256(asked)
        self._process: _Worker | None = None

    def do(self, entry: Entry) -> Result:
        """Does a case, whatever it does to its process, and writes its row file.

        Raises:
            StoppedError: the run is being ended.
            GliomaskError: no case can be done: the model cannot be used, or nothing can be written.
        """
        earlier = self._store.read(entry.case)
        before = 0 if earlier is None else earlier.attempts
        if earlier is None or (earlier.status, earlier.options_sha256) != ("done", self._sha256):
            # Where the machine goes down with this case, the next run knows at which case that was.
            self._store.write(
                CohortRow(entry.case, "waiting", message=BEGUN, attempts=before + 1, options_sha256=self._sha256)
            )
        try:
            return self._do(entry, earlier, before)
        except BaseException:
            self._store.put_back(entry.case, earlier)
            raise

    def _do(self, entry: Entry, earlier: CohortRow | None, before: int) -> Result:
        tries = 0
        while True:
            tries += 1
            result, crashed = self._once(entry)
            if not crashed or tries > self._limits.retries:
                break
        if result.kept:
            return Result(self._kept(earlier, result.row), kept=True)
        row = replace(result.row, attempts=before + tries)
        self._store.write(row)
        return Result(row)

    def _kept(self, earlier: CohortRow | None, row: CohortRow) -> CohortRow:
        """The row of a case that is kept: the one that is there, where it says the same."""
        if earlier is not None and (earlier.status, earlier.label_map_sha256, earlier.options_sha256) == (
            "done",
            row.label_map_sha256,
            row.options_sha256,
        ):
            return earlier
        row = replace(row, attempts=1 if earlier is None else max(1, earlier.attempts))
        self._store.write(row)
        return row

    def _once(self, entry: Entry) -> tuple[Result, bool]:
        """What one attempt came to, and whether the worker died of it."""
        process = self._ready()
        start = time.monotonic()
        process.send(entry.cells())
        limit = None if self._limits.seconds is None else start + self._limits.seconds
        answer, end = process.answer(self._stop, limit, self._limits.memory_mb)
        seconds = time.monotonic() - start
        if answer is not None and "stop" in answer:
            self.close()
            raise (
                LimitError(f"{answer['stop']}")
                if answer["exit_code"] == LimitError.exit_code
                else UsageError(answer["stop"])
            )
        if answer is not None:
            return Result(parse_row(answer["row"], entry.case), bool(answer["kept"])), False
        last = process.last_words()
        self.close()
        messages = {
            "time limit": f"Case {entry.case}: took longer than {self._limits.seconds:g} s and was ended. Give "
            "--case-minutes more, or look at its scans.",
            "memory limit": f"Case {entry.case}: took more than {self._limits.memory_mb or 0:,.0f} MB and was ended. "
            "Give --case-memory more.",
            "crash": f"Case {entry.case}: its process {_in_words(process.code)}.{last}",
        }
        row = failed(
            entry.case, end, messages[end], 1 if end == "crash" else LimitError.exit_code, self._sha256, seconds
        )
        return Result(replace(row, peak_memory_mb=process.peak_mb)), end == "crash"

    def _ready(self) -> _Worker:
        """The worker with its model open; started where there is none."""
        if self._process is not None and self._process.lives:
            return self._process
        for _ in range(STARTS):
            process = _Worker(self._command, self._threads, self._hold)
            self._process = process
            memory = self._limits.memory_mb
            sent = {
                "asked": dict(self._asked),
                "output": str(self._place.folder),
                "threads": self._threads,
                "memory_mb": memory,
            }
            process.send({**sent, "options_sha256": self._sha256})
            answer, _ = process.answer(self._stop, None, None)
            if answer is not None and "ready" in answer:
                return process
            if answer is not None:
                self.close()
                raise _error(answer["exit_code"])(answer["refused"])
            self.close()
        raise ModelError(
            f"The worker process {_in_words(process.code)} while it opened the model, {STARTS} "
            f"times.{process.last_words()}"
        )

    def close(self) -> None:
        """Ends the worker at once."""
        if self._process is not None:
            self._process.end()
            self._process = None


def _error(exit_code: int) -> type[GliomaskError]:
    kinds = {kind.exit_code: kind for kind in (UsageError, ModelError, LimitError)}
    return kinds.get(exit_code, GliomaskError)


def _in_words(code: int | None) -> str:
    return _WORDS.get(code or 0, f"ended with code {code}") if code is not None else "ended"


class _Worker:
    """A worker process, its answers, its last words and its memory."""

    def __init__(self, command: tuple[str, ...], threads: int, hold: tuple[int, ...]) -> None:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=hold,
            start_new_session=True,
        )
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._buffer = b""
        self.peak_mb: float | None = None
        self.code: int | None = None

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, value: dict[str, Any]) -> None:
        """Writes a line; a worker that has died meanwhile is noticed by its answer."""
        stream = self._process.stdin
        assert stream is not None
        with suppress(BrokenPipeError):
            stream.write(json.dumps(value).encode() + b"\n")
            stream.flush()

    def answer(
        self, stop: threading.Event, until: float | None, memory_mb: float | None
    ) -> tuple[dict[str, Any] | None, str]:
        """Waits for a line; returns it, or None and why there is none: `crash`, `time limit` or `memory limit`."""
        stream = self._process.stdout
        assert stream is not None
        self.peak_mb = None
        while b"\n" not in self._buffer:
            if stop.is_set():
                raise StoppedError
            readable, _, _ = select.select([stream], [], [], LOOK_SECONDS)
            if readable:
                block = os.read(stream.fileno(), 1 << 16)
                if not block:
                    return None, "crash"
                self._buffer += block
                continue
            resident = _resident_mb(self._process.pid)
            if resident is not None:
                self.peak_mb = max(self.peak_mb or 0.0, resident)
            if memory_mb is not None and resident is not None and resident > memory_mb:
                return None, "memory limit"
            if until is not None and time.monotonic() > until:
                return None, "time limit"
        line, _, self._buffer = self._buffer.partition(b"\n")
        values: dict[str, Any] = json.loads(line)
        return values, ""

    def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        with suppress(ValueError, OSError):
            for line in stream:
                self._said.append(line.decode(errors="replace").rstrip())

    def last_words(self) -> str:
        """The last line that it wrote on its own account, as a sentence that can follow another; empty where it wrote
        none.
        """
        said = [line for line in self._said if line]
        return f" Its last words: {said[-1][:300]}" if said else ""

    def end(self) -> None:
        """Ends it and all that it started, and waits until it is gone."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self.code = self._process.wait()
        self._listener.join(timeout=1)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError, BrokenPipeError):
                if stream is not None:
                    stream.close()


def _resident_mb(pid: int) -> float | None:
    """Resident memory of a process, 10^6 bytes (proc(5), statm); None where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return None
