"""`gliomask cohort`: many cases in, results, a table of all and an account of every failure out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gliomask.cli import options as shared
from gliomask.cli.account import show_row, show_summary
from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo
from gliomask.imports import import_without
from gliomask.segmentation.options import Delivery, Options, words

if TYPE_CHECKING:
    from gliomask.cohort.dask import DaskRunner
    from gliomask.cohort.index import Entry
    from gliomask.cohort.local import LocalRunner
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.progress import RunState
    from gliomask.cohort.rows import CohortRow, Result
    from gliomask.cohort.runner import Cohort
    from gliomask.cohort.supervisor import CaseLimits
    from gliomask.cohort.table import CohortSummary

_OUTPUT = click.option(
    "-o",
    "--output",
    type=GivenPath(),
    required=True,
    help="Folder for the results; each case has a folder of its own in it.",
)
_WORKERS = click.option(
    "--workers", type=WholeNumber(min=1), help="Cases at a time.  [default: by processors and memory]"
)
_MINUTES = click.option(
    "--case-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Longest time for a case.",
)
_MEMORY = click.option(
    "--case-memory",
    type=WholeNumber(min=1),
    metavar="MB",
    help="Most memory of a worker, 10^6 bytes.  [default: no limit]",
)
_RETRY = click.option("--retry-failed", is_flag=True, help="Also try cases again that failed.")
_PROGRESS = click.option(
    "--progress",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: a line of JSON for each case.",
)


class CohortGroup(click.Group):
    """A group whose first command need not be named: `gliomask cohort INPUT -o OUT` is
    `gliomask cohort run INPUT -o OUT`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `run` before what is no command."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=CohortGroup, short_help="Segment many cases, each in isolation.")
def command() -> None:
    """Segment many cases: gliomask cohort INPUT -o OUT.

    \b
    Examples:
      gliomask cohort patients/ -o results/
      gliomask cohort patients/ -o results/ --workers 4 --case-minutes 20 --retry-failed
      gliomask cohort table.tsv -o results/ --progress json
      gliomask cohort status results/

    INPUT is a BraTS tree, Decathlon Task01, a BIDS dataset, a folder of DICOM examinations, or a table with the columns
    case, flair, t1, t1ce and t2. Give the same command again to go on: finished cases are kept where scans, model and
    options are the same by hash. `gliomask cohort run --help` lists the options. Research software, not a medical
    device.
    """


def segmenting(function: Any) -> Any:
    """Options of segmenting, as `gliomask segment` has them."""
    function = shared.options_of(Delivery, leave_out=("overwrite",))(function)
    function = shared.options_of(Options, leave_out=("threads", "brain_mask", "transforms", "max_memory_mb"))(function)
    return click.option(
        "--without", multiple=True, metavar="SEQUENCE", help="A sequence that no patient has; may be repeated."
    )(function)


def on_slurm(function: Any) -> Any:
    """Options of `--slurm`."""
    options = (
        click.option(
            "--slurm", is_flag=True, help="Write a SLURM job array instead of working here; see docs/clusters.md."
        ),
        click.option("--submit", is_flag=True, help="Also submit it."),
        click.option(
            "--follow", is_flag=True, help="Also submit it, wait, and submit again what tasks did not get to."
        ),
        click.option(
            "--pilot",
            type=WholeNumber(min=0),
            default=3,
            show_default=True,
            help="Cases done here first, to estimate time and memory, unless so many are done already.",
        ),
        click.option(
            "--chunk-size",
            type=WholeNumber(min=1),
            help="Cases of a task.  [default: as many as take 45 minutes]",
        ),
        click.option("--limit", type=WholeNumber(min=1), help="Most tasks at a time."),
        click.option("--cpus", type=WholeNumber(min=1), default=4, show_default=True, help="Processors of a task."),
        click.option(
            "--task-minutes",
            "minutes",
            type=WholeNumber(min=1),
            help="Time of a task.  [default: from the pilot]",
        ),
        click.option(
            "--task-memory",
            "memory_mb",
            type=WholeNumber(min=1),
            metavar="MB",
            help="Memory of a task.  [default: from the pilot]",
        ),
        click.option("--account", help="Passed to sbatch."),
        click.option("--partition", help="Passed to sbatch."),
        click.option(
            "--sbatch",
            multiple=True,
            metavar="OPTION",
            help="Passed to sbatch, as in --sbatch=--qos=long; may be repeated.",
        ),
        click.option(
            "--container",
            type=GivenPath(),
            help="Apptainer image that the tasks run in.  [default: this Python]",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


SLURM_OPTIONS = (
    "slurm",
    "submit",
    "follow",
    "pilot",
    "chunk_size",
    "limit",
    "cpus",
    "minutes",
    "memory_mb",
    "account",
    "partition",
    "sbatch",
    "container",
)


@command.command("run", cls=shared.SegmentingCommand, short_help="Segment a cohort, or go on with one.")
@click.argument("source", metavar="[INPUT]", type=GivenPath(), required=False)
@_OUTPUT
@_WORKERS
@shared.threads("--threads")
@_MINUTES
@_MEMORY
@_RETRY
@click.option("--refresh", is_flag=True, help="Look for cases in INPUT again, where patients were added.")
@click.option(
    "--dask", metavar="local|ADDRESS", help="Work on a Dask cluster, such as tcp://head:8786 (extra cluster)."
)
@_PROGRESS
@on_slurm
@segmenting
def run_command(
    source: Path | None,
    output: Path,
    workers: int | None,
    threads: int | None,
    case_minutes: float,
    case_memory: int | None,
    retry_failed: bool,
    refresh: bool,
    dask: str | None,
    progress: str,
    without: tuple[str, ...],
    **options: Any,
) -> int:
    """Segment all cases of INPUT into OUT; INPUT may be left out where OUT holds a cohort that was begun.

    OUT/cohort.tsv has a row for every case. The exit code is 0 where all are done, otherwise that of the commonest
    failure.
    """
    import_without("nibabel", "pydicom")
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.runner import begin, run_cohort
    from gliomask.cohort.supervisor import CaseLimits
    from gliomask.sequences import parse_sequence

    cluster = {name: options.pop(name) for name in SLURM_OPTIONS}
    limits = CaseLimits(case_minutes * 60, case_memory)
    place = CohortPlace(output)
    with place.held():
        cohort = begin(source, place, asked_of(options), map(parse_sequence, without), refresh=refresh)
        display = AccountDisplay(progress, cohort)
        if cluster["slurm"]:
            return submit_cohort(cohort, cluster, limits, display, retry_failed=retry_failed)
        refuse_cluster_at_work(place)
        local = local_runner(workers, threads, limits)
        runner = local if dask is None else dask_runner(dask, local)
        display.begin(f"{runner.workers} at a time, {runner.threads} thread{'s' if runner.threads > 1 else ''} each")
        summary = run_cohort(cohort, runner, display.case, retry_failed=retry_failed)
    display.end(summary)
    return summary.exit_code


def local_runner(workers: int | None, threads: int | None, limits: CaseLimits) -> LocalRunner:
    """The runner of this machine, with as many workers and threads as it has room for."""
    from gliomask.cohort.allowance import default_workers, memory_mb
    from gliomask.cohort.local import LocalRunner
    from gliomask.processors import usable_processors

    count = workers or default_workers(usable_processors(), memory_mb())
    return LocalRunner(count, threads or max(1, usable_processors() // count), limits)


def dask_runner(address: str, local: LocalRunner) -> DaskRunner:
    """The runner of a Dask cluster, with the limits and threads of the one of this machine."""
    from gliomask.cohort.dask import DaskRunner

    return DaskRunner(address, local.workers, local.threads, local.limits)


def refuse_cluster_at_work(place: CohortPlace) -> None:
    """Raises UsageError where tasks of a cluster are at work on this cohort."""
    from gliomask.cohort.slurm import tasks
    from gliomask.errors import EngineUnavailableError, UsageError

    if not place.slurm.is_dir():
        return
    try:
        running = tasks(place)
    except EngineUnavailableError as error:
        echo(f"Whether tasks of a cluster are at work here cannot be asked: {error}", err=True)
        return
    if running:
        raise UsageError(
            f"{place.folder}: {sum(running.values())} SLURM tasks are at work on this cohort. Wait for them, follow "
            "them (--slurm --follow), or scancel them."
        )


def submit_cohort(
    cohort: Cohort, cluster: dict[str, Any], limits: CaseLimits, display: AccountDisplay, *, retry_failed: bool
) -> int:
    """Writes a job for what is left of a cohort, and submits and follows it where that was asked for."""
    from gliomask.cohort.runner import left_to_do, open_table, run_cohort
    from gliomask.cohort.slurm import SlurmOptions, SlurmRunner, make_plan, submit, tasks, write_job
    from gliomask.cohort.table import CohortSummary

    passed = [f"--{name}={cluster[name]}" for name in ("account", "partition") if cluster[name]]
    names = ("chunk_size", "limit", "cpus", "minutes", "memory_mb", "container")
    options = SlurmOptions(**{name: cluster[name] for name in names}, sbatch=(*passed, *cluster["sbatch"]))
    following = cluster["follow"] and bool(tasks(cohort.place))
    if not following:
        # Before the pilot: it would do cases that a task may be doing.
        refuse_cluster_at_work(cohort.place)
    rows = open_table(cohort).rows
    todo = left_to_do(cohort, rows, retry_failed=retry_failed, verify=False)
    pilot = [] if following else pilot_of(todo, of_options(cohort, rows), cluster["pilot"])
    if pilot:
        display.begin(f"{len(pilot)} here first, as a pilot")
        run_cohort(cohort, local_runner(options.workers, options.threads, limits), display.case, entries=pilot)
        rows = open_table(cohort).rows
        todo = [entry for entry in todo if entry not in pilot]
    if cluster["follow"]:
        runner = SlurmRunner(options, limits, of_options(cohort, rows), tell=lambda line: echo(line, err=True))
        summary = run_cohort(cohort, runner, display.case, entries=todo)
        display.end(summary)
        return summary.exit_code
    if not todo:
        summary = CohortSummary.of(rows.values())
        display.end(summary)
        return summary.exit_code
    plan = make_plan(
        todo,
        of_options(cohort, rows),
        options,
        frozenset(case for case, row in rows.items() if row.status == "waiting" and row.attempts),
    )
    path = write_job(cohort.place, plan, options, limits)
    echo(f"{len(todo)} cases in {plan}: {path}")
    if cluster["submit"]:
        echo(f"Submitted job {submit(path)}. Then: gliomask cohort status {cohort.place.folder}")
    else:
        echo(f"Submit it with: sbatch {path}")
    return 0


def of_options(cohort: Cohort, rows: Mapping[str, CohortRow]) -> tuple[CohortRow, ...]:
    """The rows that were made with what is asked now: others tell nothing about the time that a case takes."""
    return tuple(row for row in rows.values() if row.options_sha256 == cohort.settings.options_sha256)


def pilot_of(todo: Ordered[Entry], rows: Iterable[CohortRow], count: int) -> list[Entry]:
    """The cases to do here first, so that `count` tell how long a case takes; those of `rows` that are done count among
    them.

    They are spread over the cohort: neighbours often come from one scanner.
    """
    size = min(max(count - sum(row.status == "done" for row in rows), 0), len(todo))
    return [todo[at * len(todo) // size] for at in range(size)]


@command.command("work", short_help="Do one chunk of a cluster's job.", hidden=True)
@click.argument("output", type=GivenPath())
@click.option("--chunk", type=GivenPath(), required=True, help="Table of the cases to do.")
@_WORKERS
@shared.threads("--threads")
@_MINUTES
@_MEMORY
def work_command(
    output: Path, chunk: Path, workers: int | None, threads: int | None, case_minutes: float, case_memory: int | None
) -> int:
    """Do the cases of a chunk; only their row files and results are written.

    Exit code 0 also where cases failed: their rows say so.
    """
    from contextlib import closing
    from dataclasses import replace

    from gliomask.cohort.index import read_index
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.settings import read_settings
    from gliomask.cohort.supervisor import CaseLimits

    place = CohortPlace(output)
    settings, entries = read_settings(place), read_index(chunk)
    runner = replace(local_runner(workers or 1, threads, CaseLimits(case_minutes * 60, case_memory)), hold_name=None)
    with closing(runner.run(place, settings.asked, entries)) as results:
        for result in results:
            echo(f"{result.row.case}: {'kept' if result.kept else result.row.status} {result.row.message}")
    return 0


def asked_of(options: dict[str, Any]) -> dict[str, Any]:
    """Turns options of the command line into those of `cohort.job`."""
    values = {name: value for name, value in options.items() if value is not None}
    return values | {"spaces": list(options["spaces"]), "skip": list(words(options["skip"] or ""))}


class AccountDisplay:
    """What a run shows: lines for people, or lines of JSON for programs.

    Args:
        form: `text` or `json`.
        cohort: whose run it is.
    """

    def __init__(self, form: str, cohort: Cohort) -> None:
        self._json, self._cohort = form == "json", cohort

    def begin(self, how: str) -> None:
        """Says what is about to be done."""
        refused = sum(bool(entry.error) for entry in self._cohort.entries)
        if self._json:
            self._line(
                {
                    "event": "begin",
                    "cases": len(self._cohort.entries),
                    "unusable": refused,
                    "notes": list(self._cohort.notes),
                }
            )
            return
        for note in self._cohort.notes:
            echo(note, err=True)
        aside = f", of which {refused} cannot be used" if refused else ""
        echo(f"{len(self._cohort.entries)} cases{aside}; {how}. Index: {self._cohort.place.index}")

    def case(self, result: Result, state: RunState) -> None:
        """Says how a case ended."""
        row = result.row
        if self._json:
            values = {
                "case": row.case,
                "status": row.status,
                "kept": result.kept,
                "reason": row.reason,
                "message": row.message,
                "seconds": row.seconds,
            }
            self._line({"event": "case", **values, **asdict(state)})
            return
        show_row(row, state, kept=result.kept)

    def end(self, summary: CohortSummary) -> None:
        """Says what became of all."""
        if self._json:
            failures = [
                {"reason": item.reason, "count": item.count, "example": item.example.case} for item in summary.failures
            ]
            self._line(
                {
                    "event": "end",
                    "done": summary.done,
                    "failed": summary.failed,
                    "waiting": summary.waiting,
                    "failures": failures,
                }
            )
            return
        show_summary(summary, self._cohort.place.table, hints(summary))

    def _line(self, values: dict[str, Any]) -> None:
        echo(json.dumps({"time": round(time.time(), 3), **values}))


def hints(summary: CohortSummary) -> Iterator[str]:
    """What may be done about the failures of a cohort."""
    if any(failure.example.attempts for failure in summary.failures):
        yield "--retry-failed tries them again."
    if any(not failure.example.attempts for failure in summary.failures):
        yield "--refresh looks again at the files of cases that were never tried."


def cluster_tasks(place: CohortPlace) -> dict[str, int] | None:
    """Tasks of a SLURM job that have not ended, by state; None where there was no job, or SLURM cannot be asked."""
    from gliomask.cohort.slurm import tasks
    from gliomask.errors import GliomaskError

    if not place.slurm.is_dir():
        return None
    try:
        return tasks(place)
    except GliomaskError as error:
        echo(str(error), err=True)
        return None


@command.command("status", short_help="Say where a cohort stands.")
@click.argument("output", type=GivenPath())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(output: Path, as_json: bool) -> int:
    """Merge the rows of all jobs into OUTPUT/cohort.tsv and say how many cases are done, failed and waiting.

    Exit code 0 where all are done.
    """
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.runner import open_table, reopen
    from gliomask.cohort.table import CohortSummary
    from gliomask.errors import UsageError
    from gliomask.files.lock import locked

    place = CohortPlace(output)
    cohort = reopen(place)
    try:
        with locked(place.hidden, "gliomask cohort"):
            table = open_table(cohort)
    except UsageError:
        # A run is at work, and it writes the table itself.
        table = open_table(cohort, write=False)
    summary = CohortSummary.of(table.rows.values())
    running = cluster_tasks(place)
    if as_json:
        failures = {failure.reason: failure.count for failure in summary.failures}
        echo(
            json.dumps(
                {
                    "done": summary.done,
                    "failed": summary.failed,
                    "waiting": summary.waiting,
                    "failures": failures,
                    "tasks": running,
                }
            )
        )
        return summary.exit_code
    show_summary(summary, place.table, hints(summary))
    if running:
        echo(f"SLURM: {', '.join(f'{count} {state}' for state, count in running.items())}")
    elif summary.waiting and running is not None:
        echo("No task of a cluster is at work. The same command with --slurm writes a job for what waits.")
    return summary.exit_code
