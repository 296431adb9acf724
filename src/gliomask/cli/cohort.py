"""`gliomask cohort`: many cases in, results, a table of all and an account of every failure out."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gliomask.cli import options as shared
from gliomask.cli.say import echo

if TYPE_CHECKING:
    from gliomask.cohort.progress import State
    from gliomask.cohort.runner import Cohort
    from gliomask.cohort.supervisor import Result
    from gliomask.cohort.table import Summary

_OUTPUT = click.option("-o", "--output", type=shared.GivenPath(), required=True, help="Folder for the results; each case has a folder of its own in it.")
_WORKERS = click.option("--workers", type=click.IntRange(min=1), help="Cases at a time.  [default: by processors and memory]")
_MINUTES = click.option("--case-minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Longest time for a case.")
_MEMORY = click.option("--case-memory", type=click.IntRange(min=1), metavar="MB", help="Most memory of a worker, 10^6 bytes.  [default: no limit]")
_RETRY = click.option("--retry-failed", is_flag=True, help="Also try cases again that failed.")
_PROGRESS = click.option("--progress", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: a line of JSON for each case.")


class CohortGroup(click.Group):
    """A group whose first command need not be named: `gliomask cohort INPUT -o OUT` is `gliomask cohort run INPUT -o OUT`."""

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

    INPUT is a BraTS tree, Decathlon Task01, a BIDS dataset, a folder of DICOM examinations, or a table with the columns case, flair, t1, t1ce and t2.
    Give the same command again to go on: finished cases are kept where scans, model and options are the same by hash.
    `gliomask cohort run --help` lists the options. Research software, not a medical device.
    """


def segmenting(function: Any) -> Any:
    """Options of segmenting, as `gliomask segment` has them."""
    options = (
        click.option("--without", multiple=True, metavar="SEQUENCE", help="A sequence that no patient has; may be repeated."),
        click.option("--model", "--network", "model", help="A shipped model, a network of the paper or a model folder."),
        click.option("--engine", type=click.Choice(["openvino", "onnxruntime", "keras"]), default="openvino", show_default=True, help="What runs the network."),
        shared.postprocess,
        shared.flips,
        shared.second_opinion,
        shared.core_rule,
        shared.keep_uncertain_enhancement,
        shared.single_plane,
        click.option("--labels", default="brats2021", show_default=True, help="brats2021 writes 4 for enhancing tumour, brats2023 writes 3."),
        click.option("--probabilities", is_flag=True, help="Also write the probability of each label, 4-D."),
        click.option("--uncertainty", is_flag=True, help="Also write how unsure the network is of each voxel."),
        click.option("--no-preview", is_flag=True, help="Do not draw the pictures."),
        click.option("--report", metavar="FORMATS", help="Also write reports: html, pdf, json; several separated by commas."),
        shared.strict,
        click.option("--raw", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="Register and strip raw scans first."),
        click.option("--skip", default="", metavar="STEPS", help="Steps of the raw route to leave out, with commas: coregister, frame, mask."),
        click.option("--space", "spaces", multiple=True, metavar="SEQUENCE", help="Also write a raw case's label map in this sequence's grid."),
        click.option("--keep-images", is_flag=True, help="Also write a raw case's sequences in the frame of BraTS."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("run", short_help="Segment a cohort, or go on with one.")
@click.argument("source", metavar="[INPUT]", type=shared.GivenPath(), required=False)
@_OUTPUT
@_WORKERS
@shared.threads("--threads")
@_MINUTES
@_MEMORY
@_RETRY
@click.option("--refresh", is_flag=True, help="Look for cases in INPUT again, where patients were added.")
@_PROGRESS
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
    progress: str,
    without: tuple[str, ...],
    **options: Any,
) -> int:
    """Segment all cases of INPUT into OUT; INPUT may be left out where OUT holds a cohort that was begun.

    OUT/cohort.tsv has a row for every case. The exit code is 0 where all are done, otherwise that of the commonest failure.
    """
    from gliomask.cohort.allowance import default_workers, memory_mb, processors
    from gliomask.cohort.local import LocalRunner
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.runner import begin, run_cohort
    from gliomask.cohort.supervisor import Limits
    from gliomask.files.lock import locked
    from gliomask.sequences import parse_sequence

    place = CohortPlace(output)
    place.begin()
    with locked(place.hidden, "gliomask cohort"):
        cohort = begin(source, place, asked_of(options), map(parse_sequence, without), refresh=refresh)
        count = workers or default_workers(processors(), memory_mb())
        runner = LocalRunner(count, threads or max(1, processors() // count), Limits(case_minutes * 60, case_memory))
        display = Display(progress, cohort)
        display.begin(f"{count} at a time, {runner.threads} thread{'s' if runner.threads > 1 else ''} each")
        summary = run_cohort(cohort, runner, display.case, retry_failed=retry_failed)
    display.end(summary)
    return summary.exit_code


def asked_of(options: dict[str, Any]) -> dict[str, Any]:
    """Turns options of the command line into those of `cohort.job`."""
    values = {name: value for name, value in options.items() if name not in ("no_preview", "model")}
    values |= {"preview": not options["no_preview"], "spaces": list(options["spaces"])}
    values["skip"] = [name.strip() for name in options["skip"].split(",") if name.strip()]
    return values | ({} if options["model"] is None else {"model": options["model"]})


class Display:
    """What a run shows: lines for people, or lines of JSON for programs.

    Args:
        form: `text` or `json`.
        cohort: whose run it is.
    """

    def __init__(self, form: str, cohort: Cohort) -> None:
        self._json, self._cohort = form == "json", cohort
        self._kept = 0

    def begin(self, how: str) -> None:
        """Says what is about to be done."""
        refused = sum(bool(entry.error) for entry in self._cohort.entries)
        if self._json:
            self._line({"event": "begin", "cases": len(self._cohort.entries), "unusable": refused, "notes": list(self._cohort.notes)})
            return
        for note in self._cohort.notes:
            echo(note, err=True)
        aside = f", of which {refused} cannot be used" if refused else ""
        echo(f"{len(self._cohort.entries)} cases{aside}; {how}. Index: {self._cohort.place.index}")

    def case(self, result: Result, state: State) -> None:
        """Says how a case ended."""
        row = result.row
        if self._json:
            values = {"case": row.case, "status": row.status, "kept": result.kept, "reason": row.reason, "message": row.message, "seconds": row.seconds}
            self._line({"event": "case", **values, **asdict(state)})
            return
        if result.kept:
            self._kept += 1
        how = "kept, finished by an earlier run" if result.kept else f"{row.status} in {row.seconds:.1f} s"
        words = row.message if row.status == "failed" else f"WT {row.wt_ml or 0:.1f} ml, TC {row.tc_ml or 0:.1f} ml, ET {row.et_ml or 0:.1f} ml"
        flags = f"  flags: {row.flags}" if row.flags else ""
        rate = "" if state.per_hour is None else f"  ({state.per_hour:.0f} an hour, {in_time(state.left_s or 0)} left)"
        echo(f"[{state.done}/{state.total}] {row.case}: {how}  {words}{flags}{rate}", err=row.status == "failed")

    def end(self, summary: Summary) -> None:
        """Says what became of all."""
        if self._json:
            failures = [{"reason": item.reason, "count": item.count, "example": item.example.case} for item in summary.failures]
            self._line({"event": "end", "done": summary.done, "failed": summary.failed, "waiting": summary.waiting, "failures": failures})
            return
        show_summary(summary, self._cohort.place.table)

    def _line(self, values: dict[str, Any]) -> None:
        echo(json.dumps({"time": round(time.time(), 3), **values}))


def show_summary(summary: Summary, table: Path) -> None:
    """Prints what became of a cohort, failures by reason."""
    total = summary.done + summary.failed + summary.waiting
    waiting = f", {summary.waiting} waiting" if summary.waiting else ""
    echo(f"{summary.done} of {total} cases done, {summary.failed} failed{waiting}. Table: {table}")
    for failure in summary.failures:
        echo(f"  {failure.count} x {failure.reason}, such as {failure.example.case}: {failure.example.message}", err=True)
    if summary.failures:
        echo("--retry-failed tries them again.", err=True)


def in_time(seconds: float) -> str:
    """A duration for people: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@command.command("status", short_help="Say where a cohort stands.")
@click.argument("output", type=shared.GivenPath())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(output: Path, as_json: bool) -> int:
    """Merge the rows of all jobs into OUTPUT/cohort.tsv and say how many cases are done, failed and waiting. Exit code 0 where all are done."""
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.runner import open_table, reopen
    from gliomask.cohort.table import Summary
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
    summary = Summary.of(table.rows.values())
    if as_json:
        failures = {failure.reason: failure.count for failure in summary.failures}
        echo(json.dumps({"done": summary.done, "failed": summary.failed, "waiting": summary.waiting, "failures": failures}))
    else:
        show_summary(summary, place.table)
    return summary.exit_code
