"""What every runner does: take cases, and give back a row for each as it ends; and what is to be done around that,
whichever runner it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from collections.abc import Sequence as Ordered
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from gliomask.cohort.index import Entry, find_entries, read_index, write_index
from gliomask.cohort.job import complete, settled
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.progress import Rate, RunState
from gliomask.cohort.rows import CohortRow, Result, RowStore, failed
from gliomask.cohort.settings import Asked, CohortSettings, differences, read_settings, write_settings
from gliomask.cohort.table import CohortSummary, CohortTable
from gliomask.errors import CaseError, FileFormatError, GliomaskError, UsageError
from gliomask.files.hashing import sha256
from gliomask.files.paths import as_given
from gliomask.sequences import Sequence


class Runner(Protocol):
    """Spreads cases over processes or machines."""

    def run(self, place: CohortPlace, asked: Asked, entries: Iterable[Entry]) -> Generator[Result]:
        """Does cases in any order, each in isolation, and gives back what became of each; its row file is written
        before.

        A case that is not given back stays waiting. Closing the iterator ends the cases at work.

        Raises:
            GliomaskError: no case can be done: the model cannot be used, or nothing can be written.
        """
        ...


@dataclass(frozen=True)
class Cohort:
    """A cohort that was begun: its index, what is asked, and what was to be said of it.

    Args:
        place: where its results go.
        settings: what is asked.
        entries: all cases.
        notes: what was found out on the way, in words.
    """

    place: CohortPlace
    settings: CohortSettings
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def begin(
    source: Path | None, place: CohortPlace, asked: Asked, without: Iterable[Sequence] = (), *, refresh: bool = False
) -> Cohort:
    """Finds the cases and writes the index, or reads the one that is there; writes down what is asked.

    Args:
        source: where the cases are; None for a cohort that was begun.
        place: the output.
        asked: options of segmenting.
        without: sequences to do without in all cases.
        refresh: look for cases again.

    Raises:
        UsageError: the output is no cohort but holds other things, or was begun with another source.
        InputError: no case was found, or the index was changed.
    """
    earlier = read_settings(place) if place.exists else None
    values = settled(complete(asked), None if earlier is None else earlier.asked)
    if source is None and earlier is None:
        raise UsageError(f"{place.folder}: no cohort was begun here. Give INPUT.")
    notes: list[str] = []
    if earlier is not None and not refresh:
        if source is not None and str(as_given(source)) != earlier.source:
            raise UsageError(
                f"{place.folder}: this cohort was begun with {earlier.source}, not {as_given(source)}. Give that, or "
                "--refresh to look for cases anew, or "
                "another output folder."
            )
        entries = read_entries(place, earlier)
        settings = replace(earlier, asked=values)
    else:
        at = Path(earlier.source) if source is None and earlier is not None else as_given(source or Path())
        place.begin()
        entries, notes = find_entries(at, without)
        settings = CohortSettings(str(at), len(entries), sha256(write_index(place.index, entries)), values)
    if earlier is not None and (other := differences(earlier.asked, values)):
        notes.append(f"Other options than in the last run ({', '.join(other)}): finished cases are done again.")
    write_settings(place, settings)
    return Cohort(place, settings, tuple(entries), tuple(notes))


def reopen(place: CohortPlace) -> Cohort:
    """Returns a cohort that was begun, as it was asked for last.

    Raises:
        UsageError: the folder is none.
        InputError: its index was changed.
    """
    settings = read_settings(place)
    return Cohort(place, settings, tuple(read_entries(place, settings)))


def read_entries(place: CohortPlace, settings: CohortSettings) -> list[Entry]:
    """Returns the entries of the index.

    Raises:
        FileFormatError: it is gone, or is not the one that the settings name.
    """
    try:
        content = place.index.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"{place.index}: cannot be read ({error.strerror or error}). Give --refresh to look for cases again."
        ) from error
    if sha256(content) != settings.index_sha256:
        raise FileFormatError(
            f"{place.index}: was changed since the cohort was begun. Give --refresh to look for cases again, or "
            "begin a new cohort."
        )
    return read_index(place.index)


def left_to_do(cohort: Cohort, rows: dict[str, CohortRow], *, retry_failed: bool, verify: bool = True) -> list[Entry]:
    """Returns the cases to hand to a runner.

    Args:
        cohort: all cases.
        rows: those that are known, by case.
        retry_failed: try failed ones again. Cases that cannot be used, as the index says, are never tried.
        verify: hand over finished ones as well, so that their hashes are checked.
    """
    asked = cohort.settings.options_sha256

    def is_left(entry: Entry) -> bool:
        row = rows.get(entry.case)
        if entry.error:
            return False
        if row is None or row.options_sha256 != asked:
            return True
        return verify if row.status == "done" else retry_failed or row.status != "failed"

    def begun(entry: Entry) -> bool:
        row = rows.get(entry.case)
        return row is not None and row.status == "waiting" and row.attempts > 0

    # What was begun and never ended may have taken its process or machine down: it comes last.
    return sorted(filter(is_left, cohort.entries), key=begun)


def run_cohort(
    cohort: Cohort,
    runner: Runner,
    on_case: Callable[[Result, RunState], Any] = lambda result, state: None,
    *,
    retry_failed: bool = False,
    entries: Ordered[Entry] | None = None,
) -> CohortSummary:
    """Does what is left of a cohort, and keeps its table.

    Args:
        cohort: which.
        runner: spreads the cases.
        on_case: called as each case ends.
        retry_failed: try failed ones again.
        entries: what to do; None for all that is left.

    Returns:
        What became of all cases. The table on disk says the same, also where an error is raised.

    Raises:
        GliomaskError: no further case can be done.
    """
    table = open_table(cohort)
    todo = left_to_do(cohort, table.rows, retry_failed=retry_failed) if entries is None else list(entries)
    doing = {entry.case for entry in todo}
    ended = [row for row in table.rows.values() if row.status != "waiting" and row.case not in doing]
    rate = Rate(len(table.rows), len(ended), sum(row.status == "failed" for row in ended))
    try:
        return follow(table, runner.run(cohort.place, cohort.settings.asked, todo), rate, on_case)
    except BaseException:
        # Rows that were written and not given back any more stand in their files. The error that ends the run is the
        # one to tell.
        with suppress(GliomaskError):
            open_table(cohort)
        raise


def follow(
    table: CohortTable, results: Generator[Result], rate: Rate, on_case: Callable[[Result, RunState], Any]
) -> CohortSummary:
    """Takes up results as cases end, and keeps the table; returns what became of the cases of the table.

    Args:
        table: of all cases.
        results: closed at the end.
        rate: counts them.
        on_case: called with each.
    """
    table.write()
    with closing(results):
        for result in results:
            table.put(result.row)
            on_case(result, rate.ended(failed=result.row.status == "failed", kept=result.kept))
    table.write()
    return CohortSummary.of(table.rows.values())


def open_table(cohort: Cohort, *, write: bool = True) -> CohortTable:
    """Returns the table of a cohort, merged from all row files.

    Args:
        cohort: which.
        write: write the table, and rows of cases that cannot be used; only one process may do so at a time.
    """
    store = RowStore(cohort.place.rows)
    table = CohortTable(cohort.place.table, [entry.case for entry in cohort.entries], store)
    for entry in cohort.entries:
        row = table.rows[entry.case]
        if entry.error and row.message != entry.error:
            row = failed(entry.case, "CaseError", entry.error, CaseError.exit_code, cohort.settings.options_sha256)
            if write:
                store.write(row)
            table.rows[entry.case] = row
        elif not entry.error and row.reason == "CaseError" and row.attempts == 0 and row.status == "failed":
            # An earlier index could not use it, this one can.
            table.rows[entry.case] = CohortRow(entry.case, "waiting")
    if write:
        table.write()
    return table
