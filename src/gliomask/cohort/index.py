"""The index of a cohort: every case with its files, found once, written down, and never searched for again.

It is a table that people can read and write themselves: `gliomask cohort` takes such a table as INPUT, with the columns
`case`, `flair`, `t1`, `t1ce` and `t2`, or `case` and `dicom`. Relative paths are read from the table's folder. A case
that cannot be used stands in it with the reason (`error`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gliomask.bids.filters import Filters
from gliomask.bids.layout import DESCRIPTION, find_sessions, open_dataset, session_files
from gliomask.cohort.place import HIDDEN, INDEX, SETTINGS, TABLE
from gliomask.errors import CaseError, FileFormatError, InputError, UsageError, printable
from gliomask.files.atomic import write_bytes
from gliomask.files.paths import as_given
from gliomask.files.tables import read_table, to_tsv
from gliomask.io import decathlon
from gliomask.io.brats import CaseFiles, holds_dicom, survey
from gliomask.labels import convention
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence, refuse_too_few

SEQUENCE_COLUMNS = tuple(sequence.value for sequence in PAPER_ORDER)
COLUMNS = ("case", *SEQUENCE_COLUMNS, "channels", "order", "dicom", "reference", "labels", "without", "error")

MAX_NAME_BYTES = 200
"""Of a case: file systems allow 255 for a name, and the longest ending of a result has 30."""

CAPITALS_ARE_ONE = sys.platform in ("darwin", "win32")
"""Whether names that differ in capitals alone are one name to the usual file systems of this system."""

TAKEN = (TABLE, INDEX, SETTINGS, HIDDEN)


@dataclass(frozen=True)
class Entry:
    """One case of an index.

    Args:
        case: its id; also the name of its folder of results.
        files: path by sequence.
        channels: a 4-D file that holds all sequences, in place of `files`.
        order: the sequences in `channels`.
        dicom: a folder or zip of DICOM files, in place of `files`.
        reference: the reference label map.
        labels: the convention of the reference.
        without: sequences to do without.
        error: why the case cannot be used.
    """

    case: str
    files: Mapping[Sequence, Path] = field(default_factory=dict)
    channels: Path | None = None
    order: tuple[Sequence, ...] = decathlon.CHANNEL_ORDER
    dicom: Path | None = None
    reference: Path | None = None
    labels: str = "brats2021"
    without: tuple[Sequence, ...] = ()
    error: str = ""

    @classmethod
    def of(cls, files: CaseFiles) -> Entry:
        """The entry of a case that was found."""
        paths = {sequence: as_given(path) for sequence, path in files.sequences.items()}
        channels, reference = (None if path is None else as_given(path) for path in (files.channels, files.reference))
        without = tuple(sorted(files.without))
        return cls(files.case_id, paths, channels, files.channel_order, None, reference, files.labels.name, without)

    def case_files(self) -> CaseFiles:
        """The files of a case that is not DICOM."""
        labels, without = convention(self.labels), frozenset(self.without)
        return CaseFiles(self.case, dict(self.files), self.reference, labels, self.channels, self.order, without)

    def cells(self) -> dict[str, str]:
        """The entry as a row of the index."""
        paths = {sequence.value: _text(self.files.get(sequence)) for sequence in PAPER_ORDER}
        order = " ".join(self.order) if self.channels is not None else ""
        others = {
            "channels": _text(self.channels),
            "order": order,
            "dicom": _text(self.dicom),
            "reference": _text(self.reference),
        }
        return {
            "case": self.case,
            **paths,
            **others,
            "labels": self.labels,
            "without": " ".join(self.without),
            "error": self.error,
        }


def _text(path: Path | None) -> str:
    return "" if path is None else str(path)


def find_entries(place: Path, without: Iterable[Sequence] = ()) -> tuple[list[Entry], list[str]]:
    """Finds every case at a place: a BraTS tree, Decathlon Task01, a BIDS dataset, a folder of DICOM examinations, or a
    table of paths.

    Args:
        place: where to look.
        without: sequences to do without in all cases.

    Returns:
        The entries, sorted by case but for those of a table, and what was left alone, in words.

    Raises:
        CaseError: nothing was found, or two cases have one id.
        FileFormatError: the table is none.
        UsageError: too little is left.
    """
    absent = tuple(sorted(without))
    refuse_too_few(frozenset(absent))
    notes: list[str] = []
    if place.is_file() and place.suffix.lower() in (".tsv", ".csv"):
        entries = read_index(place, absent)
    elif (place / DESCRIPTION).is_file():
        entries = _bids(place, absent)
    elif place.exists() and holds_dicom(place):
        entries = _dicom(place, absent)
    else:
        surveyed = survey(place, without=absent)
        notes = surveyed.notes
        refused = [Entry(case, error=str(error)) for case, error in surveyed.refused.items()]
        entries = sorted([*map(Entry.of, surveyed.cases), *refused], key=lambda entry: entry.case)
    return _checked(entries, place), notes


def _bids(place: Path, without: tuple[Sequence, ...]) -> list[Entry]:
    dataset = open_dataset(place)
    entries = []
    for session in find_sessions(dataset):
        try:
            entries.append(Entry.of(session_files(dataset, session, Filters(), frozenset(without))))
        except InputError as error:
            entries.append(Entry(session.case_id, error=str(error)))
    return entries


def _dicom(place: Path, without: tuple[Sequence, ...]) -> list[Entry]:
    """Each folder or zip with DICOM files is an examination; where `place` holds no such, it is one itself."""
    inner = sorted(path for path in place.iterdir() if not path.name.startswith(".")) if place.is_dir() else []
    examinations = [path for path in inner if (path.is_dir() or path.suffix.lower() == ".zip") and holds_dicom(path)]
    return [
        Entry(path.stem if path.is_file() else path.name, dicom=as_given(path), without=without)
        for path in examinations or [place]
    ]


def _checked(entries: list[Entry], place: Path) -> list[Entry]:
    """Refuses names that no folder of results can have, and entries that the table cannot hold; the others go on."""
    if not entries:
        raise CaseError(f"{place}: holds no case.")
    named = [entry.case.casefold() if CAPITALS_ARE_ONE else entry.case for entry in entries]
    twice = next((name for name, count in Counter(named).items() if count > 1), None)
    if twice is not None:
        raise CaseError(f"{place}: two cases are named {printable(twice)}. Rename one of them.")
    return [_that_survives(_well_named(entry, place)) for entry in entries]


def _well_named(entry: Entry, place: Path) -> Entry:
    """The entry, or, where its name cannot be the name of a folder inside the output folder, one that says so and is
    never done.
    """
    if not entry.case.strip():
        raise CaseError(f"{place}: a case has no name.")
    case, size = entry.case, len(entry.case.encode(errors="backslashreplace"))
    fine = case.isprintable() and case == case.strip() and not set(case) & {"/", "\\"} and size <= MAX_NAME_BYTES
    if fine and not case.startswith(".") and case not in TAKEN:
        return entry
    name = printable(case)
    return Entry(
        name,
        error=f"A case cannot be named {name[:MAX_NAME_BYTES]!r}: that is to be a folder of results. Give it "
        "another name.",
    )


def _that_survives(entry: Entry) -> Entry:
    """The entry, or, where the table cannot hold one of its paths (line breaks, tabs, bytes that are no text), one that
    says so.
    """
    odd = next((text for text in entry.cells().values() if not text.isprintable() or text != text.strip()), None)
    if odd is None or odd == entry.error:
        return replace(entry, error=printable(entry.error))
    return Entry(entry.case, error=f"The path {printable(odd)} holds what no table can. Rename the file or folder.")


def write_index(path: Path, entries: Iterable[Entry]) -> bytes:
    """Writes an index whole or not at all; returns its bytes.

    Raises:
        UsageError: it cannot be written.
        LimitError: the disk is full.
    """
    content = to_tsv([entry.cells() for entry in entries], COLUMNS)
    write_bytes(path, content)
    return content


def read_index(path: Path, without: Iterable[Sequence] = ()) -> list[Entry]:
    """Reads an index, or a table of paths that a user wrote.

    Args:
        path: the table.
        without: sequences to do without in all cases, besides those that the table names.

    Raises:
        FileFormatError: it is none; the message names the line.
        CaseError: a case's name cannot be used, or stands twice.
    """
    rows = read_table(path, ("case",), what="a table of cases")
    known = set(COLUMNS)
    if rows and not (set(rows[0]) & {*SEQUENCE_COLUMNS, "channels", "dicom", "error"}):
        raise FileFormatError(
            f"{path}: a table of cases has columns of files beside `case`: {', '.join(SEQUENCE_COLUMNS)}, "
            "channels or dicom."
        )
    folder, absent = as_given(path).parent, " ".join(without)
    for row in rows:
        row["without"] = f"{row.get('without', '')} {absent}"
    entries = [
        _entry({name: cell for name, cell in row.items() if name in known}, folder, f"{path}, line {n}")
        for n, row in enumerate(rows, 2)
    ]
    return _checked(entries, path)


def _entry(cells: Mapping[str, str], folder: Path, where: str) -> Entry:
    def at(name: str) -> Path | None:
        return as_given(folder / cells[name]) if cells.get(name) else None

    try:
        files = {sequence: path for sequence in PAPER_ORDER if (path := at(sequence.value)) is not None}
        without = tuple(sorted({parse_sequence(name) for name in cells.get("without", "").split()}))
        order = tuple(map(parse_sequence, cells.get("order", "").split())) or decathlon.CHANNEL_ORDER
        labels = convention(cells.get("labels") or "brats2021").name
    except (UsageError, InputError) as error:
        raise FileFormatError(f"{where}: {error}") from error
    entry = Entry(
        cells["case"],
        files,
        at("channels"),
        order,
        at("dicom"),
        at("reference"),
        labels,
        without,
        cells.get("error", ""),
    )
    return entry if entry.error else replace(entry, error=_lacks(entry))


def entry_of_cells(cells: Mapping[str, str]) -> Entry:
    """Returns the entry whose `cells` these are; paths are absolute."""
    return _entry(cells, Path("/"), "a case")


def _lacks(entry: Entry) -> str:
    """What the entry lacks to be segmented, in words; nothing where it is whole."""
    given = [entry.channels is not None, entry.dicom is not None, bool(entry.files)]
    if sum(given) != 1:
        return f"Case {entry.case}: give the files of the sequences, or channels, or dicom, and no two of these."
    missing = [s.value for s in PAPER_ORDER if s not in entry.files and s not in entry.without] if entry.files else []
    return (
        f"Case {entry.case}: missing {', '.join(missing)}. Name the file, or write the sequence under `without`."
        if missing
        else ""
    )
