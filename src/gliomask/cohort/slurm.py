"""The runner of a SLURM cluster: chunks of cases as tasks of a job array.

Tasks share nothing but the file system: no server, no lock, rows are files.

A job is written into a folder of its own, `.cohort/slurm/<number>`: its chunks (each an index of its own), the script,
the logs. Which tasks still run is asked of SLURM by the job's name, which stands for the cohort, so that a job is also
known whose number could not be written down any more.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from gliomask.cohort.allowance import workers_for
from gliomask.cohort.index import Entry, write_index
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import CohortRow, Result, RowStore
from gliomask.cohort.settings import Asked
from gliomask.cohort.supervisor import CaseLimits
from gliomask.errors import EngineUnavailableError, GliomaskError, UsageError
from gliomask.files.atomic import make_folder, write_bytes
from gliomask.files.paths import as_given

MAX_TASKS = 1000
"""Of one array: SLURM's own default of MaxArraySize is 1001 (slurm.conf)."""

TASK_MINUTES = 45.0
"""What a chunk is cut to take: long beside the start of a task, short beside the time limits of most queues."""

TIME_MARGIN, MEMORY_MARGIN = 2.0, 1.3
"""What is asked for beyond the slowest and the largest case of the pilot."""

START_MINUTES, TASK_MEMORY_MB = 5, 500
"""Of a task besides its cases: the start of Python, the model and its proof, on a file system that is at its limit; and
its own process's memory.
"""

MAX_BINDS = 8
"""Folders of scans that a container is given one by one; where there are more, those above them."""

GUESS = (120.0, 3000.0)
"""Seconds and 10^6 bytes of a case where there was no pilot."""

POLL_SECONDS = 15.0
ANSWER_SECONDS = 60.0
SHARE_OF_POLLING = 0.05
"""Of the time that may go into looking for rows: with 100,000 cases it is looked less often."""


@dataclass(frozen=True)
class SlurmOptions:
    """How to use the cluster.

    Args:
        chunk_size: cases of a task; None for so many as take about `TASK_MINUTES`.
        limit: most tasks at a time; None for no limit.
        cpus: processors of a task.
        minutes: of a task; None for an estimate from the pilot.
        memory_mb: of a task, 10^6 bytes; None for an estimate.
        sbatch: further options, each as it stands behind `#SBATCH`.
        container: an Apptainer image that the tasks run in; None for this Python.
        command: what runs gliomask; None for this Python or the container.
    """

    chunk_size: int | None = None
    limit: int | None = None
    cpus: int = 2
    minutes: int | None = None
    memory_mb: int | None = None
    sbatch: tuple[str, ...] = ()
    container: Path | None = None
    command: tuple[str, ...] | None = None

    @property
    def workers(self) -> int:
        """Cases of a task at a time."""
        return workers_for(self.cpus)

    @property
    def threads(self) -> int:
        """Processors of each."""
        return max(1, self.cpus // self.workers)


@dataclass(frozen=True)
class ArrayPlan:
    """What is asked of the cluster.

    Args:
        chunks: the cases of each task.
        minutes: of each task.
        memory_mb: of each task, 10^6 bytes.
    """

    chunks: tuple[tuple[Entry, ...], ...]
    minutes: int
    memory_mb: int

    def __str__(self) -> str:
        return f"{len(self.chunks)} tasks of {self.minutes} min and {self.memory_mb} MB"


def make_plan(
    entries: Ordered[Entry], pilot: Iterable[CohortRow], options: SlurmOptions, begun: frozenset[str] = frozenset()
) -> ArrayPlan:
    """Cuts cases into chunks and estimates what each takes.

    Args:
        entries: what is to be done.
        pilot: rows of cases that were done, for the estimate.
        options: what is given and need not be estimated.
        begun: cases at which an earlier task ended; each gets a task of its own, so that it takes no other case with
            it.
    """
    rows = [row for row in pilot if row.status == "done" and row.seconds]
    seconds = max((row.seconds for row in rows), default=GUESS[0])
    memory = max((row.peak_memory_mb or 0.0 for row in rows), default=0.0) or GUESS[1]
    plain = [entry for entry in entries if entry.case not in begun]
    alone = [(entry,) for entry in entries if entry.case in begun]
    room = max(MAX_TASKS - len(alone), 1)
    size = options.chunk_size or max(1, int(TASK_MINUTES * 60 / seconds)) * options.workers
    size = max(size, math.ceil(len(plain) / room))
    chunks = [tuple(plain[at : at + size]) for at in range(0, len(plain), size)] + alone
    if len(chunks) > MAX_TASKS:
        chunks = [*chunks[: MAX_TASKS - 1], tuple(entry for chunk in chunks[MAX_TASKS - 1 :] for entry in chunk)]
    longest = math.ceil(max(map(len, chunks), default=1) / options.workers)
    minutes = options.minutes or START_MINUTES + math.ceil(TIME_MARGIN * seconds * longest / 60)
    memory_mb = options.memory_mb or math.ceil(MEMORY_MARGIN * memory * options.workers + TASK_MEMORY_MB)
    return ArrayPlan(tuple(chunks), minutes, memory_mb)


def job_name(place: CohortPlace) -> str:
    """Returns the name of all jobs of a cohort."""
    return f"gliomask-{sha256(str(as_given(place.folder)).encode(errors='surrogateescape')).hexdigest()[:12]}"


def script(
    place: CohortPlace,
    folder: Path,
    plan: ArrayPlan,
    options: SlurmOptions,
    limits: CaseLimits,
    binds: Iterable[Path] = (),
) -> str:
    """Returns the batch script of a job.

    Args:
        place: of the cohort.
        folder: of the job.
        plan: what is asked.
        options: how to use the cluster.
        limits: of each case.
        binds: folders that a container must see.

    Raises:
        UsageError: a path or an option holds a line break.
    """
    limit = "" if options.limit is None else f"%{options.limit}"
    log = str(as_given(folder) / "logs").replace("%", "%%") + "/%a.log"
    lines = [
        f"--job-name={job_name(place)}",
        f"--array=1-{len(plan.chunks)}{limit}",
        f"--time={plan.minutes}",
        f"--mem={plan.memory_mb}M",
        f"--cpus-per-task={options.cpus}",
        f"--output={shlex.quote(log)}",
        "--open-mode=append",
        "--requeue",
        *map(_directive, options.sbatch),
    ]
    if any("\n" in line or "\r" in line for line in lines):
        raise UsageError("An option of sbatch, or the output folder, holds a line break.")
    given = [
        "cohort",
        "work",
        str(as_given(place.folder)),
        "--workers",
        str(options.workers),
        "--threads",
        str(options.threads),
        "--case-minutes",
        f"{(limits.seconds or 86_400 * 7) / 60:g}",
    ]
    given += [] if limits.memory_mb is None else ["--case-memory", f"{limits.memory_mb:.0f}"]
    chunk = f'{shlex.quote(str(as_given(folder) / "chunks"))}/"$SLURM_ARRAY_TASK_ID".tsv'
    words = " ".join(map(shlex.quote, (*_launch(place, options, binds), *given)))
    head = "\n".join(f"#SBATCH {line}" for line in lines)
    about = f"# Written by gliomask cohort --slurm: {len(plan.chunks)} tasks. Research software, not a medical device."
    return f"#!/bin/bash\n{head}\n{about}\nexec {words} --chunk {chunk}\n"


def _directive(option: str) -> str:
    """An option as it stands in an `#SBATCH` line, which sbatch splits at blanks as a shell does. The value of
    `--comment=two words` gets quotes; what has quotes already, or its value after a blank (`-p long`), stays.
    """
    name, equals, value = option.partition("=")
    if not equals or set(value) & set("'\"") or not set(value) & set(" \t#\\"):
        return option
    return f"{name}={shlex.quote(value)}"


def _launch(place: CohortPlace, options: SlurmOptions, binds: Iterable[Path]) -> tuple[str, ...]:
    if options.command is not None:
        return options.command
    if options.container is None:
        return (sys.executable, "-P", "-m", "gliomask")
    folder = as_given(place.folder)
    bound = [word for path in binds for word in ("--bind", f"{path}:{path}:ro")]
    # No home, no environment and no /tmp of the node: what a task does depends on the image and on the cohort alone.
    return (
        "apptainer",
        "exec",
        "--cleanenv",
        "--containall",
        *bound,
        "--bind",
        f"{folder}:{folder}",
        str(as_given(options.container)),
        "gliomask",
    )


def folders_of(entries: Iterable[Entry]) -> list[Path]:
    """Returns the folders that a container must see to read the scans, at most `MAX_BINDS` where that is possible, and
    none inside another of them. Where scans are links (DataLad), what they lead to is among them.
    """
    scans = [path for entry in entries for path in (*entry.files.values(), entry.channels, entry.dicom) if path]
    parents = {parent for scan in scans for parent in (scan.parent, scan.resolve().parent)}
    # Cases of one tree lie in folders beside each other: one mount a case is too many.
    folders = _outermost(parent.parent if len(parent.parts) > 2 else parent for parent in parents)
    while len(folders) > MAX_BINDS and (deepest := max(len(folder.parts) for folder in folders)) > 2:
        folders = _outermost(folder.parent if len(folder.parts) == deepest else folder for folder in folders)
    return sorted(folders)


def _outermost(folders: Iterable[Path]) -> set[Path]:
    every = set(folders)
    return {folder for folder in every if every.isdisjoint(folder.parents)}


def write_job(place: CohortPlace, plan: ArrayPlan, options: SlurmOptions, limits: CaseLimits) -> Path:
    """Writes the chunks and the script of a job; returns the script.

    Raises:
        UsageError: a file cannot be written.
        LimitError: the disk is full.
    """
    number = 1 + max((int(path.name) for path in place.slurm.glob("*") if path.name.isdigit()), default=0)
    folder = place.slurm / str(number)
    make_folder(folder / "chunks")
    make_folder(folder / "logs")
    for task, chunk in enumerate(plan.chunks, 1):
        write_index(folder / "chunks" / f"{task}.tsv", chunk)
    binds = folders_of(entry for chunk in plan.chunks for entry in chunk)
    path = folder / "job.sh"
    write_bytes(path, script(place, folder, plan, options, limits, binds).encode())
    return path


def submit(path: Path) -> str:
    """Submits a script; returns the job's number.

    Raises:
        EngineUnavailableError: there is no sbatch.
        GliomaskError: SLURM refuses it.
    """
    number = _ask("sbatch", "--parsable", str(path)).strip().partition(";")[0]
    write_bytes(path.with_name("job.json"), (json.dumps({"job": number}) + "\n").encode())
    return number


def tasks(place: CohortPlace) -> dict[str, int]:
    """Returns how many tasks of a cohort SLURM knows that have not ended, by state.

    Raises:
        EngineUnavailableError: there is no squeue.
        GliomaskError: SLURM does not answer.
    """
    counts: dict[str, int] = {}
    for line in _ask("squeue", "--noheader", "--array", f"--name={job_name(place)}", "--format=%T").split():
        counts[line] = counts.get(line, 0) + 1
    return counts


def _ask(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        raise EngineUnavailableError(
            f"There is no {program} here. Give this command where SLURM's commands are, such as on a login node."
        )
    # Options that a user set for jobs of their own would change what is submitted and listed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SBATCH_", "SQUEUE_"))}
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=ANSWER_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise GliomaskError(
            f"{program} did not answer within {ANSWER_SECONDS:.0f} s. Give the command again when SLURM answers."
        ) from None
    if done.returncode:
        raise GliomaskError(f"{program}: {' '.join(done.stderr.split())[:500] or f'exit code {done.returncode}'}")
    return done.stdout


@dataclass(frozen=True)
class SlurmRunner:
    """Does cases on a cluster: submits, follows, and submits again what a task did not get to.

    Args:
        options: how to use the cluster.
        limits: of each case.
        pilot: rows of cases that were done, for the estimate.
        rounds: how often is submitted, at most.
        tell: called with a line of text as jobs are submitted and end.
        poll_seconds: how often it is looked.
    """

    options: SlurmOptions = field(default_factory=SlurmOptions)
    limits: CaseLimits = field(default_factory=CaseLimits)
    pilot: tuple[CohortRow, ...] = ()
    rounds: int = 3
    tell: Callable[[str], None] = lambda line: None
    poll_seconds: float = POLL_SECONDS

    def run(self, place: CohortPlace, asked: Asked, entries: Iterable[Entry]) -> Generator[Result]:  # noqa: ARG002
        """See `runner.Runner`.

        Closing the iterator leaves the job to the cluster, and the same command follows it again.
        """
        store = RowStore(place.rows)
        left = {entry.case: entry for entry in entries}
        seen = {case: _stamp(store, case) for case in left}
        for _ in range(self.rounds):
            if not left:
                return
            if not tasks(place):
                begun = frozenset(
                    case
                    for case in left
                    if (row := store.read(case)) is not None and row.status == "waiting" and row.attempts
                )
                plan = make_plan(list(left.values()), self.pilot, self.options, begun)
                path = write_job(place, plan, self.options, self.limits)
                self.tell(f"{len(left)} cases in {plan}: {path}")
                self.tell(f"Submitted job {submit(path)}.")
            yield from self._follow(place, store, left, seen)
        if left:
            self.tell(f"{len(left)} cases were not done in {self.rounds} jobs. The logs say why: {place.slurm}")

    def _follow(
        self, place: CohortPlace, store: RowStore, left: dict[str, Entry], seen: dict[str, object]
    ) -> Generator[Result]:
        """Gives back rows as they come, until no task is left."""
        while True:
            # Asked before the rows are looked at: a task that has ended has written them all.
            running = tasks(place)
            start = time.monotonic()
            for case in list(left):
                stamp = _stamp(store, case)
                if stamp == seen[case]:
                    continue
                seen[case] = stamp
                row = store.read(case)
                if row is not None and row.status != "waiting":
                    del left[case]
                    yield Result(row)
            if not running:
                return
            time.sleep(max(self.poll_seconds, (time.monotonic() - start) / SHARE_OF_POLLING))


def _stamp(store: RowStore, case: str) -> object:
    """Tells whether a row file was replaced: times are only compared for equality, never for which is later."""
    try:
        status = store.path(case).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
