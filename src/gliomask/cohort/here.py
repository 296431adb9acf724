"""Many cases in this process, results side by side in one folder: `gliomask segment FOLDER`.

Rows, table, progress and summary are those of `gliomask cohort`; what that command has besides (an index, worker
processes, limits) this one does without, so it also runs on Windows, and several commands may fill one folder. While
the networks work on one case, the next is read and the one before is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gliomask.cohort.place import TABLE
from gliomask.cohort.progress import Rate, RunState
from gliomask.cohort.rows import CohortRow, Result, row_of_failure, row_of_record
from gliomask.cohort.runner import follow
from gliomask.cohort.table import CohortSummary, SharedTable
from gliomask.cohort.worker import cannot_write
from gliomask.errors import InputError
from gliomask.files.atomic import make_folder
from gliomask.predict.schedule import in_order
from gliomask.progress import Progress
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RunRecord
from gliomask.results.resume import earlier_record
from gliomask.results.row import KEPT
from gliomask.segmentation.cases import Kept, refuse_places, segment_or_keep, wanted
from gliomask.segmentation.options import Delivery
from gliomask.segmentation.segmenter import Segmenter
from gliomask.segmentation.source import Source

CASES_AT_ONCE = 2
"""More would take memory and gain nothing: the networks use all processors for most of the time."""

Cases = Mapping[str, Source | InputError]
"""What is to be segmented, by case; an error for a case that was found to be incomplete."""


@dataclass(frozen=True)
class FolderRun:
    """What is done with every case alike.

    Args:
        segmenter: the models, opened once.
        output: the folder.
        delivery: what to write, and how.
        resume: keep the cases that an earlier run has finished; what it left of others is replaced.
        progress: called within the case whose row comes next.
    """

    segmenter: Segmenter
    output: Path
    delivery: Delivery
    resume: bool = False
    progress: Progress = lambda done, total: None

    @property
    def _replacing(self) -> Delivery:
        return replace(self.delivery, overwrite=self.delivery.overwrite or self.resume)

    def refuse(self, cases: Cases) -> None:
        """Refuses, before the first scan is read, what no case could be written for: results that exist, or were
        finished otherwise.

        Raises:
            UsageError: the first case of which that is so, or a table that is none of ours; nothing has been touched.
        """
        SharedTable(self.output / TABLE, ()).others()
        for case, source in cases.items():
            if isinstance(source, InputError):
                continue
            layout = CaseLayout.of(self.output, case)
            refuse_places(layout, source, self._replacing, self.segmenter, case)
            if self.resume:
                earlier_record(layout.place(case), wanted(self.segmenter, self.delivery, source.without))

    def results(self, cases: Cases) -> Generator[Result]:
        """Does the cases; one that fails does not stop the others.

        Raises:
            GliomaskError: nothing can be written any more.
        """
        turns = [threading.Event() for _ in range(len(cases) + 1)]
        items = zip(cases.items(), turns, strict=False)
        with closing(in_order(items, self._row, self._at_once, abandon=self.segmenter.close)) as stream:
            turns[0].set()
            for following, (_, result) in zip(turns[1:], stream, strict=True):
                following.set()
                yield result

    @property
    def _at_once(self) -> int:
        options = self.segmenter.options
        return 1 if options.max_memory_mb is not None or options.threads == 1 else CASES_AT_ONCE

    def _row(self, item: tuple[tuple[str, Source | InputError], threading.Event]) -> Result:
        (case, source), turn = item
        start = time.perf_counter()

        def progress(done: int, total: int) -> None:
            if turn.is_set():
                self.progress(done, total)

        try:
            result = self._result(case, source, progress)
        except Exception as error:
            if cannot_write(error, self.output):
                raise
            result = Result(row_of_failure(case, error))
        return result if result.kept else Result(replace(result.row, seconds=round(time.perf_counter() - start, 2)))

    def _result(self, case: str, source: Source | InputError, progress: Progress) -> Result:
        if isinstance(source, InputError):
            raise source
        ended = segment_or_keep(
            self.segmenter, source, self.output, self.delivery, resume=self.resume, progress=progress
        )
        kept = isinstance(ended, Kept)
        return Result(_row_of(self.output, case, ended.record, kept=kept), kept=kept)


def segment_folder(
    run: FolderRun, cases: Cases, on_case: Callable[[Result, RunState], Any] = lambda result, state: None
) -> CohortSummary:
    """Segments cases into one folder, and keeps `cohort.tsv` in it, a row per case.

    Args:
        run: how.
        cases: which.
        on_case: called as each case ends.

    Returns:
        What became of these cases.

    Raises:
        UsageError: results exist or were finished otherwise (see `FolderRun.refuse`), or nothing can be written.
        LimitError: the disk is full.
    """
    run.refuse(cases)
    make_folder(run.output)
    return follow(SharedTable(run.output / TABLE, cases), run.results(cases), Rate(len(cases)), on_case)


def _row_of(folder: Path, case: str, record: RunRecord, *, kept: bool) -> CohortRow:
    """The row of a case whose results lie in the folder itself."""
    row = replace(row_of_record(record, CaseLayout.of(folder, case).label_map.name, ""), attempts=1)
    return replace(row, message=KEPT) if kept else row


@dataclass(frozen=True)
class OneRow:
    """The row of a case that is segmented by itself into a folder of results that has a table, or is to have one.

    Args:
        folder: which holds, or will hold, the table.
        case: as far as its name is known before it is read.
    """

    folder: Path
    case: str

    def refuse(self) -> None:
        """Raises UsageError where the table that is there is none of gliomask's."""
        SharedTable(self.folder / TABLE, ()).others()

    def done(self, record: RunRecord, *, kept: bool = False) -> None:
        """Adds the row of a case that is done, or was."""
        self._put(_row_of(self.folder, record.case, record, kept=kept))

    def failed(self, error: Exception, seconds: float) -> None:
        """Adds the row of a case that could not be done to a table that is there; a refusal alone leaves no file."""
        if (self.folder / TABLE).exists():
            self._put(row_of_failure(self.case, error, seconds=seconds))

    def _put(self, row: CohortRow) -> None:
        SharedTable(self.folder / TABLE, (row.case,)).put(row)
