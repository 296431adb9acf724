"""Many cases, one after the other: each case's results on disk, each failure a row, none of them hidden.

One case that cannot be segmented does not stop the others, and the table accounts for every case that was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gliomask.errors import FileFormatError, InputError, UsageError
from gliomask.files.lock import awaited
from gliomask.files.tables import read_table, to_tsv
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles
from gliomask.progress import Progress
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RunRecord
from gliomask.results.resume import earlier_record
from gliomask.results.row import CaseRow, flag_names, measured_columns
from gliomask.segmentation.cases import Done, Failed, Kept, Result, refuse_places, segment_case, wanted
from gliomask.segmentation.options import Delivery
from gliomask.segmentation.segmenter import Segmenter
from gliomask.segmentation.source import FileSource

KEPT = "finished by an earlier run"

TABLE_NAME = "cohort.tsv"


@dataclass(frozen=True, eq=False)
class CohortResult:
    """The rows of a cohort, and the first error, whose exit code is the cohort's."""

    rows: tuple[CaseRow, ...]
    first_error: BaseException | None


def segment_cohort(
    segmenter: Segmenter,
    cases: Iterable[CaseFiles | tuple[str, InputError]],
    output: Path,
    delivery: Delivery,
    on_row: Callable[[CaseRow], None] = lambda row: None,
    progress: Progress = lambda done, total: None,
    resume: bool = False,
) -> CohortResult:
    """Segments cases into one folder and writes `cohort.tsv` after each, a row per case.

    Args:
        segmenter: the model, opened once.
        cases: files of each case, or (id, error) of one that was found to be incomplete.
        output: the folder.
        delivery: what to write.
        on_row: called as each case ends.
        progress: within the case at work.
        resume: keep the cases that an earlier run has finished; what it left of others is replaced.
    """
    rows: list[CaseRow] = []
    first_error: BaseException | None = None
    cases = list(cases)
    refuse_cohort(segmenter, cases, output, delivery, resume=resume)
    nifti.make_folder(output)
    for files in cases:
        if isinstance(files, CaseFiles):
            result = segment_case(segmenter, FileSource(files), output, delivery, resume=resume, progress=progress)
        else:
            result = Failed(files[0], files[1], 0.0)
        if isinstance(result, Failed):
            first_error = first_error or result.error
        row = row_of(result)
        rows.append(row)
        write_table(output / TABLE_NAME, [row])
        on_row(row)
    return CohortResult(tuple(rows), first_error)


def row_of(result: Result) -> CaseRow:
    """Returns the row of a case."""
    match result:
        case Done():
            return replace(row_of_record(result.record), seconds=result.seconds)
        case Kept():
            return row_of_record(result.record, KEPT)
        case Failed():
            return CaseRow(result.case_id, "failed", result.seconds, "", result.message)


def row_of_record(record: RunRecord, message: str = "") -> CaseRow:
    """Returns the row of a finished case, from its record."""
    return CaseRow(record.case, "done", round(record.seconds.get("total", 0.0), 2), flag_names(record), message, **measured_columns(record))


def refuse_cohort(segmenter: Segmenter, cases: Iterable[CaseFiles | tuple[str, InputError]], output: Path, delivery: Delivery, *, resume: bool) -> None:
    """Refuses, before the first scan is read, what no case of a cohort could be written for: results that exist, or were finished otherwise.

    Raises:
        UsageError: the first case of which that is so; nothing has been touched.
    """
    _rows_there(output / TABLE_NAME)
    for files in cases:
        if not isinstance(files, CaseFiles):
            continue
        layout = CaseLayout.of(output, files.case_id)
        refuse_places(layout, FileSource(files), replace(delivery, overwrite=delivery.overwrite or resume), segmenter, files.case_id)
        if resume:
            earlier_record(layout.place(files.case_id), wanted(segmenter, delivery, files.without))


def write_table(table: Path, rows: Iterable[CaseRow]) -> None:
    """Writes rows into the table of a folder: they replace rows of the same cases, and rows of other cases stay.

    Raises:
        UsageError: the table that is there is none of ours, it cannot be written, or another process writes it now.
    """
    with awaited(table.parent, "writing of the table", f".{table.name}.lock"):
        columns = list(CaseRow.__dataclass_fields__)
        kept = _rows_there(table)
        kept |= {row.case: asdict(row) for row in rows}
        # A table of an earlier version may lack columns.
        nifti.write_bytes(table, to_tsv([dict.fromkeys(columns) | row for row in kept.values()], columns))


def _rows_there(table: Path) -> dict[str, dict[str, Any]]:
    """The rows of a table by case; none where there is no table. Raises as `write_table`."""
    if not table.exists():
        return {}
    try:
        there = read_table(table, ("case", "status"), "\t", "a table of cases")
    except FileFormatError as error:
        raise UsageError(f"{error} It is no table of gliomask, so no row is added to it. Move it away.") from error
    if there and set(there[0]) - set(CaseRow.__dataclass_fields__):
        raise UsageError(f"{table}: is no table of gliomask, so no row is added to it. Move it away.")
    return {row["case"]: dict(row) for row in there}
