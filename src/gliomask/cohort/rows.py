"""Row files: what became of each case, one small file each, written whole and flushed to disk.

They are the truth; the table is made from them.

No two processes write one file at a time by design of the runners, and if they do, the file is one or the other's,
never half of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from gliomask.errors import FileFormatError, GliomaskError, exit_code_of, message_of, ran_out_of_memory
from gliomask.files.atomic import make_folder, write_bytes
from gliomask.files.json import UNREADABLE, read_json
from gliomask.results.record import RunRecord
from gliomask.results.row import CaseRow, flag_names, measured_columns

Status = Literal["done", "failed", "waiting"]

MAX_ROW_BYTES = 1 << 20
MESSAGE_LETTERS = 2000
"""Of a message in a row; the longest of gliomask's own have some hundreds."""


@dataclass(frozen=True)
class CohortRow(CaseRow):
    """What became of a case: a row of `cohort.tsv`, whether `gliomask cohort` or `gliomask segment FOLDER` wrote it.

    Args:
        case: its id.
        status: `done`, `failed`, or `waiting` for one that has not ended yet.
        seconds: of work, the last attempt's.
        flags: names of quality flags, separated by spaces.
        message: why it failed, or what is special.
        reason: kind of failure in a word or two, see docs/clusters.md.
        exit_code: that `gliomask` gives such a failure.
        attempts: how often it was tried.
        peak_memory_mb: largest resident memory of the process while it did this case, 10^6 bytes.
        route: `prepared` or `native`.
        without: sequences that the case was done without.
        inputs_sha256: SHA-256 of the sorted SHA-256 of all inputs.
        model_sha256: of the model.
        options_sha256: of what was asked; empty where `gliomask segment FOLDER` did the case.
        label_map: path of the label map from the output folder.
        label_map_sha256: of that file.
        finished: ISO 8601, UTC; for people: no decision is made by it.
    """

    status: Status
    seconds: float = 0.0
    flags: str = ""
    message: str = ""
    reason: str = ""
    exit_code: int = 0
    attempts: int = 0
    peak_memory_mb: float | None = None
    route: str = ""
    without: str = ""
    inputs_sha256: str = ""
    model_sha256: str = ""
    options_sha256: str = ""
    label_map: str = ""
    label_map_sha256: str = ""
    finished: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a case: its row, and whether an earlier run had finished it with the same inputs, model and
    options.
    """

    row: CohortRow
    kept: bool = False


COLUMNS = tuple(field.name for field in fields(CohortRow))


def failed(
    case: str, reason: str, message: str, exit_code: int, options_sha256: str = "", seconds: float = 0.0
) -> CohortRow:
    """Returns the row of a case that could not be done."""
    text = message if len(message) <= MESSAGE_LETTERS else f"{message[:MESSAGE_LETTERS]} ..."
    return CohortRow(
        case,
        "failed",
        round(seconds, 2),
        message=text,
        reason=reason,
        exit_code=exit_code,
        options_sha256=options_sha256,
    )


def row_of_failure(case: str, error: Exception, options_sha256: str = "", seconds: float = 0.0) -> CohortRow:
    """Returns the row of a case that ended in an error."""
    message = message_of(error)
    reason = type(error).__name__ if isinstance(error, GliomaskError) else f"unexpected {type(error).__name__}"
    if ran_out_of_memory(error):
        reason, message = "memory limit", f"Case {case}: {message}"
    return failed(case, reason, message, exit_code_of(error), options_sha256, seconds)


def row_of_record(record: RunRecord, label_map: str, options_sha256: str) -> CohortRow:
    """Returns the row of a case whose results are complete, from its run record.

    Args:
        record: of the case.
        label_map: path of the label map from the output folder.
        options_sha256: of what was asked.
    """
    return CohortRow(
        record.case,
        "done",
        round(record.seconds.get("total", 0.0), 2),
        flag_names(record),
        peak_memory_mb=record.peak_memory_mb,
        route=record.route,
        without=" ".join(record.without),
        inputs_sha256=sha256("".join(sorted(record.inputs.values())).encode()).hexdigest(),
        model_sha256=record.model.sha256,
        options_sha256=options_sha256,
        label_map=label_map,
        label_map_sha256=(record.outputs or {}).get(label_map.rpartition("/")[2], ""),
        finished=record.finished,
        **measured_columns(record),  # type: ignore[arg-type]
    )


class RowStore:
    """The row files of a cohort.

    Args:
        folder: which holds them, in 256 folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, case: str) -> Path:
        """The file of a case; a hash, since a case's name may be as long as a file system allows."""
        digest = sha256(case.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:26]}.json"

    def write(self, row: CohortRow) -> None:
        """Writes a row whole or not at all, and flushes it to disk.

        Raises:
            UsageError: it cannot be written.
            LimitError: the disk is full.
        """
        path = self.path(row.case)
        make_folder(path.parent)
        write_bytes(path, to_bytes(row))

    def read(self, case: str) -> CohortRow | None:
        """Returns the row of a case; None where there is none, or where the file is damaged: then the case is asked for
        again, from its results.
        """
        path = self.path(case)
        if not path.is_file():
            return None
        try:
            row = parse_row(read_json(path, MAX_ROW_BYTES), str(path))
        except (*UNREADABLE, FileFormatError):
            return None
        return row if row.case == case else None

    def put_back(self, case: str, row: CohortRow | None) -> None:
        """Gives a case the row that it had before it was begun; where that cannot be written, it stays begun."""
        with suppress(GliomaskError, OSError):
            if row is None:
                self.path(case).unlink(missing_ok=True)
            else:
                self.write(row)

    def __iter__(self) -> Iterator[CohortRow]:
        for path in sorted(self.folder.glob("??/*.json")):
            try:
                yield parse_row(read_json(path, MAX_ROW_BYTES), str(path))
            except (*UNREADABLE, FileFormatError):
                continue


def to_bytes(row: CohortRow) -> bytes:
    """Returns a row as a line of JSON."""
    return (json.dumps(asdict(row), allow_nan=False) + "\n").encode()


_ROW: TypeAdapter[CohortRow] = TypeAdapter(CohortRow)


def parse_row(values: object, name: str) -> CohortRow:
    """Returns the row that JSON values hold.

    Raises:
        FileFormatError: they are none.
    """
    try:
        return _ROW.validate_python(values)
    except ValidationError as error:
        raise FileFormatError(f"{name}: is no row of a cohort ({error.error_count()} fields are wrong).") from error
