"""Working off a study: what is missing, step by step or several steps at once, each in a process of its own.

A step's process ends when the one that started it ends, however that ends, so that nothing goes on behind the back of
whoever killed it; what is finished is never done again, and a training goes on after its last epoch.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gliomask.errors import CaseError, UsageError
from gliomask.io.brats import find_cases
from gliomask.report.run_record import write_record
from gliomask.study.config import StudyConfig
from gliomask.study.folder import StudyFolder, read_definition, write_definition
from gliomask.study.plan import StudyPlan, Task, TaskKind, make_plan
from gliomask.study.read import read_study
from gliomask.study.report import write_report
from gliomask.training.folds import read_folds
from gliomask.training.lock import locked

POLL_SECONDS = 0.2
STOP_SECONDS = 20.0
"""How long a process may take to end when it is asked to, before it is killed."""


class Running(Protocol):
    """A step at work."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def message(self) -> str:
        """What went wrong, after an exit code other than 0."""

    def stop(self) -> None:
        """Ends it."""


Launch = Callable[[Task], Running]
"""Starts a step."""


class StudyWatcher(Protocol):
    """What a study tells its user."""

    def started(self, task: Task, left: int) -> None:
        """A step has begun; `left` steps are not finished, this one among them."""

    def finished(self, task: Task, seconds: float) -> None:
        """A step is done."""

    def failed(self, task: Task, message: str) -> None:
        """A step could not be done."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True)
class StudySettings:
    """How the work is done, which changes no result but its timing.

    Args:
        jobs: steps at once.
        threads: of each step; None: all, or one where several steps run at once.
        backend: what Keras runs on.
    """

    jobs: int = 1
    threads: int | None = None
    backend: str = "tensorflow"

    @property
    def threads_each(self) -> int | None:
        """Threads of one step."""
        return 1 if self.threads is None and self.jobs > 1 else self.threads


@dataclass
class StudyOutcome:
    """What came of the steps: seconds of those that were done, a message and an exit code for each that failed."""

    seconds: dict[Task, float] = field(default_factory=dict)
    failed: dict[Task, str] = field(default_factory=dict)
    exit_code: int = 0


def plan_study(study: StudyConfig, data: Path, folds: dict[str, int]) -> StudyPlan:
    """Returns the plan of a study on the cases below `data`.

    Raises:
        CaseError: a case has no reference or is not in the table of folds, or there is no case.
        UsageError: a fold is missing.
    """
    cases = find_cases(data)
    unlabelled = [case.case_id for case in cases if case.reference is None]
    if unlabelled:
        raise CaseError(
            f"{data}: {len(unlabelled)} cases have no reference label map: {', '.join(unlabelled[:5])}. Add theirs "
            "or move them away."
        )
    return make_plan(study, folds, [case.case_id for case in cases])


def open_study(output: Path, data: Path | None, fold_table: Path | None, config_file: Path | None) -> StudyPlan:
    """Returns the plan of a study that begins, or of one that goes on.

    Args:
        output: the study's folder; what was declared when it began holds where nothing else is given.
        data: the labelled cases; None: those with which it began.
        fold_table: fold of each case.
        config_file: the declaration; None, where the study begins: the default one.

    Raises:
        UsageError: nothing says in which fold the cases are, or what `plan_study` and `read_study` refuse.
        CaseError: what `plan_study` refuses.
    """
    folder = StudyFolder(output)
    if data is None or (folder.definition.exists() and (fold_table is None or config_file is None)):
        study, folds = read_definition(folder)
    elif fold_table is None:
        raise UsageError(
            f"{output} holds no study yet. Give --folds: a table (CSV, TSV) with the columns case and fold."
        )
    else:
        study, folds = read_study(config_file), {}
    study = study if config_file is None else read_study(config_file)
    folds = folds if fold_table is None else read_folds(fold_table)
    return make_plan(study, folds, list(folds)) if data is None else plan_study(study, data, folds)


def run_study(
    plan: StudyPlan,
    data: Path,
    output: Path,
    settings: StudySettings,
    display: StudyWatcher,
    *,
    only: tuple[str, ...] = (),
    launch: Launch | None = None,
) -> StudyOutcome:
    """Does what is missing of a study and writes its tables and its page after every row that gets scores.

    A step that fails takes along those that need it; all others are done.

    Args:
        plan: the study.
        data: its cases.
        output: the study's folder.
        settings: how to work.
        display: what to tell.
        only: experiments to work on; all of them where it is empty.
        launch: how to start a step; a process for each where it is None.

    Raises:
        UsageError: the folder belongs to another study, or one runs in it now.
    """
    folder = StudyFolder(output)
    folder.prepare()
    with locked(folder.work) as lock:
        if not lock:
            display.note(
                f"{folder.work}: no locks on this file system; make sure that no second study writes to this folder."
            )
        write_definition(folder, plan)
        log = _Log(folder, plan, settings, only)
        tasks = plan.missing(lambda task: folder.done(plan, task), only)
        if not tasks:
            display.note("Nothing is missing; the tables and the page are written again.")

        def done(task: Task) -> None:
            log.write(outcome)
            if task.kind is TaskKind.SCORE:
                write_report(folder, plan, data, changed=(task.name,))

        outcome = StudyOutcome()
        # What failed the last time is tried again, and is no failure until then.
        log.write(outcome)
        try:
            work_off(plan, tasks, launch or processes(folder, data, settings), settings.jobs, display, outcome, done)
        finally:
            log.write(outcome)
        write_report(folder, plan, data)
        return outcome


def work_off(
    plan: StudyPlan,
    tasks: list[Task],
    launch: Launch,
    jobs: int,
    display: StudyWatcher,
    outcome: StudyOutcome,
    done: Callable[[Task], None],
) -> None:
    """Runs steps, at most `jobs` at once, the first that can begin first; fills `outcome` as they end."""
    waiting, running = list(tasks), dict[Task, tuple[Running, float]]()
    try:
        while waiting or running:
            while len(running) < jobs and (task := _next(plan, waiting, running)) is not None:
                waiting.remove(task)
                display.started(task, len(waiting) + len(running) + 1)
                running[task] = (launch(task), time.monotonic())
            for task, (process, start) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[task]
                if code == 0:
                    outcome.seconds[task] = round(time.monotonic() - start, 1)
                    display.finished(task, outcome.seconds[task])
                    done(task)
                else:
                    _fail(plan, task, process.message(), waiting, outcome, display)
                    outcome.exit_code = outcome.exit_code or code
            if running:
                time.sleep(POLL_SECONDS)
    finally:
        for process, _ in running.values():
            process.stop()


def _next(plan: StudyPlan, waiting: list[Task], running: dict[Task, tuple[Running, float]]) -> Task | None:
    return next(
        (
            task
            for task in waiting
            if (need := plan.need(task)) is None or (need not in waiting and need not in running)
        ),
        None,
    )


def _fail(
    plan: StudyPlan, task: Task, message: str, waiting: list[Task], outcome: StudyOutcome, display: StudyWatcher
) -> None:
    outcome.failed[task] = message
    display.failed(task, message)
    for other in [other for other in waiting if plan.need(other) == task]:
        waiting.remove(other)
        _fail(plan, other, f"{task} failed", waiting, outcome, display)


class _StudyProcess:
    """A step as `gliomask study --task` in a process of its own."""

    def __init__(self, command: list[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as stream:
            self.begin = stream.tell()
            # A session of its own: Ctrl-C reaches this process alone, which then closes the pipe that the step listens
            # to.
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=stream, stderr=stream, start_new_session=True
            )

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.process.poll()

    def message(self) -> str:
        """The last error in its log, or else its last line."""
        text = self.log.read_bytes()[self.begin :].decode("utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        return (errors or lines or [f"exit code {self.process.returncode}"])[-1]

    def stop(self) -> None:
        """Ends it: closing its input is the sign."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def processes(folder: StudyFolder, data: Path, settings: StudySettings) -> Launch:
    """Returns a way to start each step as a process."""
    threads = [] if settings.threads_each is None else ["--threads", str(settings.threads_each)]

    def launch(task: Task) -> Running:
        command = [
            sys.executable,
            "-m",
            "gliomask",
            "study",
            str(data),
            "-o",
            str(folder.root),
            "--backend",
            settings.backend,
            *threads,
            "--task",
            str(task),
        ]
        return _StudyProcess(command, folder.log(task))

    return launch


class _Log:
    """The run record: every step ever done in the folder, with its seconds, and what failed the last time."""

    def __init__(self, folder: StudyFolder, plan: StudyPlan, settings: StudySettings, only: tuple[str, ...]) -> None:
        self.folder, self.plan, self.settings, self.only = folder, plan, settings, only
        self.earlier: list[dict[str, Any]] = folder.read_record()["steps"]

    def write(self, outcome: StudyOutcome) -> None:
        """Replaces the record."""
        threads = self.settings.threads_each
        steps = [
            *self.earlier,
            *({"step": str(task), "seconds": seconds, "threads": threads} for task, seconds in outcome.seconds.items()),
        ]
        fields: dict[str, Any] = {
            "options": {"jobs": self.settings.jobs, "backend": self.settings.backend, "only": list(self.only)},
            "threads": threads,
            "folds": list(self.plan.folds),
            "cases": len(self.plan.fold_of),
            "definition_sha256": hashlib.sha256(self.folder.definition.read_bytes()).hexdigest(),
            "steps": steps,
            "hours": round(sum(step["seconds"] for step in steps) / 3600, 3),
            "failed": {str(task): message for task, message in outcome.failed.items()},
        }
        write_record(self.folder.record, "study", fields)
