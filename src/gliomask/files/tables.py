"""The one reader and the one writer of tables (TSV and CSV), with limits on the way in and no formulas on the way out.

A cell that begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet, and case ids and file names can begin so.
Such text is written with an apostrophe before it, which spreadsheets show or hide but never calculate (OWASP, "CSV
Injection"), and read back without it. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from pathlib import Path
from typing import Any

from gliomask.errors import FileFormatError
from gliomask.files.regular import read_text

MAX_TABLE_BYTES = 64 << 20
"""A cohort of 10,000 cases has some megabytes."""

MAX_FIELD_LETTERS = 32_767
"""Of one cell, as in spreadsheets."""

MAX_COLUMNS = 2048
"""The widest table that is written has some dozens."""

FORMULA = re.compile(r"'*[=+\-@]")
"""Text that has to be written with an apostrophe before it: a formula, or what would be taken for one after reading."""

WRITTEN_FORMULA = re.compile(r"'+[=+\-@]")

NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
"""What is a number to everybody, and no formula."""


def read_table(
    path: Path, required: Iterable[str] = (), delimiter: str | None = None, what: str = "a table"
) -> list[dict[str, str]]:
    """Returns the rows of a table by the names in its first line.

    Args:
        path: a TSV or CSV file in UTF-8.
        required: columns that must be there.
        delimiter: None takes the tab where the first line has one, otherwise the comma.
        what: what it should be, for messages.

    Raises:
        FileFormatError: it cannot be read, is too large, has no rows, lacks a column or has one twice, or a row has
            other columns than the first.
    """
    return parse_table(read_text(path, MAX_TABLE_BYTES, what), str(path), required, delimiter)


def parse_table(
    text: str, source: str, required: Iterable[str] = (), delimiter: str | None = None
) -> list[dict[str, str]]:
    """As `read_table`, for text; `source` names it in messages."""
    if delimiter is None:
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if line]
    except csv.Error as error:
        raise FileFormatError(f"{source}: cannot be read as a table ({error}).") from error
    if not lines:
        raise FileFormatError(f"{source}: cannot be read as a table (it has no rows).")
    names = [_read_cell(cell) for cell in lines[0]]
    _refuse_columns(names, list(required), source)
    return [_row(names, line, number, source) for number, line in enumerate(lines[1:], 2)]


def _refuse_columns(names: list[str], required: list[str], source: str) -> None:
    if len(names) > MAX_COLUMNS:
        raise FileFormatError(f"{source}: a table of {len(names):,} columns; up to {MAX_COLUMNS:,} are read.")
    missing = [name for name in required if name not in names]
    if missing:
        raise FileFormatError(
            f"{source}: a table with the columns {' and '.join(map(repr, required))} is needed; found "
            f"{str(names)[:200]}."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FileFormatError(f"{source}: the column {twice[:100]!r} stands twice.")


def _row(names: list[str], cells: list[str], number: int, source: str) -> dict[str, str]:
    if len(cells) != len(names):
        raise FileFormatError(
            f"{source}: line {number} of the table has {len(cells)} cells, its first line {len(names)}."
        )
    longest = max(map(len, cells))
    if longest > MAX_FIELD_LETTERS:
        raise FileFormatError(
            f"{source}: line {number} of the table has a cell of {longest:,} letters; up to "
            f"{MAX_FIELD_LETTERS:,} are read."
        )
    return dict(zip(names, map(_read_cell, cells), strict=True))


def to_tsv(rows: Ordered[Mapping[str, Any]], columns: Ordered[str] | None = None) -> bytes:
    """Returns rows as a table with tabs between its columns.

    NaN and None are blank cells, other floats have six digits. Text is read back by `read_table` as it was, but for
    line breaks and tabs, which become spaces.

    Args:
        rows: cells by column.
        columns: their names in order; None takes those of the first row.
    """
    names = list(rows[0]) if columns is None else list(columns)
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = re.sub(r"[\t\r\n\v\f]+", " ", str(value)).strip()
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def _read_cell(text: str) -> str:
    return text[1:] if WRITTEN_FORMULA.match(text) else text
