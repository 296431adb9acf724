"""The table of a cohort, one row a case, merged from the row files by one reader."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gliomask.cohort.rows import COLUMNS, CohortRow
from gliomask.errors import FileFormatError, UsageError
from gliomask.files.atomic import write_bytes
from gliomask.files.lock import awaited
from gliomask.files.tables import read_table, to_tsv

SHARE_OF_TIME = 0.02
"""Of the run's time that may go into writing the table: a large one is written less often, a small one after every
case.
"""


class CohortTable:
    """The table in memory and on disk.

    Args:
        path: the file.
        cases: ids of all cases, in the order of the table; a case without a row is `waiting`.
        rows: those that are known already; rows of cases that are not in `cases` are left out.
    """

    def __init__(self, path: Path, cases: Iterable[str], rows: Iterable[CohortRow] = ()) -> None:
        self.path = path
        self.rows: dict[str, CohortRow] = {case: CohortRow(case, "waiting") for case in cases}
        for row in rows:
            if row.case in self.rows:
                self.rows[row.case] = row
        self._took = self._last = 0.0
        self._changed = True

    def put(self, row: CohortRow) -> None:
        """Takes up a row, and writes the table unless that was done a moment ago; `write` writes it in any case."""
        self.rows[row.case] = row
        self._changed = True
        if time.monotonic() - self._last >= self._took / SHARE_OF_TIME:
            self.write()

    def write(self) -> None:
        """Writes the table whole or not at all, where anything changed.

        Raises:
            UsageError: it cannot be written.
            LimitError: the disk is full.
        """
        if not self._changed:
            return
        start = time.monotonic()
        self._write()
        self._last = time.monotonic()
        self._took = self._last - start
        self._changed = False

    def _write(self) -> None:
        write_bytes(self.path, to_tsv([asdict(row) for row in self.rows.values()], COLUMNS))


class SharedTable(CohortTable):
    """A table that several runs may write into, at one time as well: rows of other cases stay, and so does an earlier
    row until its case has ended again.
    """

    def _write(self) -> None:
        with awaited(self.path.parent, "writing of the table", f".{self.path.name}.lock"):
            rows = self.others()
            # A table of an earlier version may lack columns.
            rows |= {
                case: asdict(row) for case, row in self.rows.items() if row.status != "waiting" or case not in rows
            }
            write_bytes(self.path, to_tsv([dict.fromkeys(COLUMNS) | row for row in rows.values()], COLUMNS))

    def others(self) -> dict[str, dict[str, Any]]:
        """Returns the rows on disk by case; none where there is no table.

        Raises:
            UsageError: the table is none of gliomask's.
        """
        if not self.path.exists():
            return {}
        try:
            rows = read_table(self.path, ("case", "status"), "\t", "a table of cases")
        except FileFormatError as error:
            raise UsageError(f"{error} It is no table of gliomask, so no row is added to it. Move it away.") from error
        if rows and set(rows[0]) - set(COLUMNS):
            raise UsageError(f"{self.path}: is no table of gliomask, so no row is added to it. Move it away.")
        return {row["case"]: dict(row) for row in rows}


@dataclass(frozen=True)
class FailureKind:
    """Failures of one kind: how many, and the first of them."""

    reason: str
    count: int
    example: CohortRow


@dataclass(frozen=True)
class CohortSummary:
    """What became of a cohort.

    Args:
        done: cases that are done.
        waiting: cases that have not ended.
        failures: by reason, the commonest first.
    """

    done: int
    waiting: int
    failures: tuple[FailureKind, ...]

    @classmethod
    def of(cls, rows: Iterable[CohortRow]) -> CohortSummary:
        """Counts rows."""
        rows = list(rows)
        status = Counter(row.status for row in rows)
        bad = [row for row in rows if row.status == "failed"]
        failures = [
            FailureKind(reason, count, next(row for row in bad if row.reason == reason))
            for reason, count in Counter(row.reason for row in bad).most_common()
        ]
        return cls(status["done"], status["waiting"], tuple(failures))

    @property
    def failed(self) -> int:
        """Cases that failed."""
        return sum(failure.count for failure in self.failures)

    @property
    def exit_code(self) -> int:
        """0 where all cases are done, else the code of the commonest failure; 1 where cases wait and none failed."""
        if self.failures:
            return self.failures[0].example.exit_code or 1
        return 1 if self.waiting else 0
