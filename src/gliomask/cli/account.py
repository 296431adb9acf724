"""What commands over many cases show: a line as each case ends, and what became of all at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gliomask.cli.say import echo

if TYPE_CHECKING:
    from pathlib import Path

    from gliomask.cohort.progress import RunState
    from gliomask.cohort.table import CohortSummary
    from gliomask.results.row import CaseRow


def show_row(row: CaseRow, state: RunState, *, kept: bool) -> None:
    """Shows a line about a case of many, with how many are done, how fast, and how long the others will take."""
    from gliomask.in_words import duration, millilitres
    from gliomask.results.row import KEPT

    volumes = (("WT", row.wt_ml), ("TC", row.tc_ml), ("ET", row.et_ml))
    words = ", ".join(f"{name} {millilitres(ml)}" for name, ml in volumes if ml is not None) or row.message
    flags = f"  flags: {row.flags}" if row.flags else ""
    how = f"kept, {KEPT}" if kept else f"{row.status} in {duration(row.seconds)}"
    rate = f"{state.per_hour:.0f} an hour, " if state.per_hour else ""
    left = f"  ({rate}{duration(round(state.left_s))} left)" if state.left_s else ""
    echo(f"[{state.done}/{state.total}] {row.case}: {how}  {words}{flags}{left}", err=row.status == "failed")


def show_summary(summary: CohortSummary, table: Path, hints: Iterable[str] = ()) -> None:
    """Shows what became of all cases, failures by reason.

    Args:
        summary: what became of them.
        table: where every case has a row.
        hints: what may be done about failures, in sentences.
    """
    total = summary.done + summary.failed + summary.waiting
    waiting = f", {summary.waiting} waiting" if summary.waiting else ""
    echo(f"{summary.done} of {total} cases done, {summary.failed} failed{waiting}. Table: {table}")
    for failure in summary.failures:
        echo(
            f"  {failure.count} x {failure.reason}, such as {failure.example.case}: {failure.example.message}", err=True
        )
    if summary.failures:
        for hint in hints:
            echo(hint, err=True)
