"""What long work shows: a live bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gliomask.cli.say import echo
from gliomask.errors import printable
from gliomask.in_words import duration

if TYPE_CHECKING:
    from gliomask.study.plan import Task as StudyTask
    from gliomask.training.loop import TrainingStep


class Described(TextColumn):
    """What is being done, its names letter by letter: they come from disks and could steer a terminal."""

    def __init__(self) -> None:
        super().__init__("{task.description}", markup=False)

    def render(self, task: Task) -> Text:
        """The words of one bar."""
        return Text(printable(task.description))


def progress_bar(console: Console) -> Progress:
    """A bar with counts, elapsed and remaining time; nothing where there is no terminal."""
    return Progress(
        Described(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class TrainingDisplay:
    """Shows the reading of cases, every step and every epoch of a training."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = progress_bar(self.console)
        self.task = self.progress.add_task("starting", total=None) if self.console.is_terminal else None
        self.started: float | None = None
        self.first_step = 0
        self.left_s = 0.0

    def __enter__(self) -> Self:
        if self.task is not None:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.task is not None:
            self.progress.stop()
        if kind is KeyboardInterrupt and self.started is not None:
            self.note("Stopping; the last finished epoch is kept. The same command goes on from there.")

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    def read(self, case_id: str, done: int, total: int) -> None:
        """One case has been read."""
        if self.task is not None:
            self.progress.update(self.task, description=f"reading {printable(case_id)}", completed=done, total=total)
        elif done == total:
            self.note(f"read {total} cases")

    def step(self, step: TrainingStep) -> None:
        """One step has been made."""
        done, total = (step.epoch - 1) * step.steps + step.step, step.epochs * step.steps
        now = time.monotonic()
        if self.started is None:
            self.first_step, self.started = done, now
            if self.task is not None:
                # Steps that an earlier process made, and cases that were read, say nothing about the speed of this one.
                self.progress.reset(self.task, completed=done, total=total)
        self.left_s = (now - self.started) / max(done - self.first_step, 1) * (total - done)
        if self.task is not None:
            self.progress.update(
                self.task, description=f"epoch {step.epoch}/{step.epochs}  loss {step.loss:.4f}", completed=done
            )

    def epoch(self, history: list[dict[str, float]]) -> None:
        """One epoch has ended; on a terminal the bar stays below the line."""
        words = "  ".join(f"{name} {value:g}" for name, value in history[-1].items())
        self.note(f"{words}  left {self.left_s / 60:.1f} min")


class StudyDisplay:
    """Shows the steps of a study as they begin and end, a line each: a study runs for hours, and often where nobody
    watches.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    def started(self, task: StudyTask, left: int) -> None:
        """A step has begun."""
        self.note(f"{time.strftime('%H:%M:%S')} {task} begun, {left} left")

    def finished(self, task: StudyTask, seconds: float) -> None:
        """A step is done."""
        self.note(f"{time.strftime('%H:%M:%S')} {task} done in {seconds / 60:.1f} min")

    def failed(self, task: StudyTask, message: str) -> None:
        """A step could not be done."""
        self.note(f"{time.strftime('%H:%M:%S')} {task} FAILED: {message}")


LINE_SECONDS = 20.0
"""Where there is no terminal, a line is written so often: a log tells that the work goes on, and is still read."""


TOLD_SHARE = 0.05
"""Share of the work from which on the time left is told: before, it is guessed from too little to be of use."""


class Lines:
    """Progress where nobody watches a terminal: a line now and then; none at all for work of a few seconds.

    Args:
        name: of what is worked on.
        clock: monotonic, in seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._clock = name, clock
        self._start = self._last = clock()

    def __call__(self, done: int, total: int) -> None:
        """Takes up how far the work is."""
        now = self._clock()
        if now - self._last < LINE_SECONDS or not 0 < done < total:
            return
        self._last = now
        left = round((now - self._start) * (total - done) / done)
        told = f", about {duration(left)} left" if done >= TOLD_SHARE * total else ""
        echo(f"{self.name}: {done / total:.0%} done{told}", err=True)


def work_bar(console: Console) -> Progress:
    """A bar for work whose parts are of no interest by number: a percentage, elapsed and remaining time."""
    return Progress(
        Described(),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def work_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how far the work on one case is: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(printable(name))
        return
    with work_bar(console) as progress:
        task = progress.add_task(printable(name), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class CohortDisplay:
    """Shows how far many cases are: on a terminal a bar, within the case at work too.

    Args:
        total: how many cases there are.
        bar: on a terminal.
    """

    def __init__(self, total: int, bar: Progress | None = None) -> None:
        self._bar, self._done = bar, 0
        self._task = None if bar is None else bar.add_task("cases", total=total)

    def within(self, done: int, total: int) -> None:
        """Takes up how far the case at work is."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done + done / max(total, 1))

    def ended(self) -> None:
        """Takes up a case that ended."""
        self._done += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)


@contextmanager
def cohort_progress(total: int) -> Iterator[CohortDisplay]:
    """Shows how far many cases are for as long as the context lasts."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield CohortDisplay(total)
        return
    with progress_bar(console) as bar:
        yield CohortDisplay(total, bar)
