"""The four MR sequences and every name under which they travel."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from enum import StrEnum
from itertools import chain, combinations

from gliomask.errors import UsageError
from gliomask.own_names import OwnNames


class Sequence(StrEnum, metaclass=OwnNames):
    """One of the four MR sequences of a glioma examination; the value is the name used in files and options."""

    FLAIR = "flair"
    T1 = "t1"
    T1CE = "t1ce"
    T2 = "t2"

    @property
    def title(self) -> str:  # type: ignore[override]
        """The sequence's name as it stands in pictures and tables."""
        return _TITLES[self]


_TITLES = {Sequence.FLAIR: "FLAIR", Sequence.T1: "T1", Sequence.T1CE: "T1ce", Sequence.T2: "T2"}

READING_ORDER = (Sequence.T1, Sequence.T1CE, Sequence.T2, Sequence.FLAIR)
"""The order in which pictures show the sequences."""

PAPER_ORDER = (Sequence.FLAIR, Sequence.T1, Sequence.T1CE, Sequence.T2)
"""Channel order of the paper's networks (authors' `prediction.py`)."""

INDISPENSABLE = frozenset({Sequence.FLAIR, Sequence.T1CE})
"""At least one of these must be there: FLAIR shows the whole tumour, T1ce the enhancing part; T1 and T2 alone show
neither well.
"""

ALIASES: dict[str, Sequence] = {
    # BraTS 2017 to 2021, BraTS 2023 and later, and the names seen in local archives.
    "t1": Sequence.T1,
    "t1n": Sequence.T1,
    "t1w": Sequence.T1,
    "t1ce": Sequence.T1CE,
    "t1c": Sequence.T1CE,
    "t1gd": Sequence.T1CE,
    "ct1": Sequence.T1CE,
    "t2": Sequence.T2,
    "t2w": Sequence.T2,
    "flair": Sequence.FLAIR,
    "fla": Sequence.FLAIR,
    "t2f": Sequence.FLAIR,
}
"""Lower-case name to sequence."""

COMPOUNDS: dict[tuple[str, str], Sequence] = {
    # One name written as two words.
    ("t1", "ce"): Sequence.T1CE,
    ("t1", "c"): Sequence.T1CE,
    ("t1", "gd"): Sequence.T1CE,
    ("t2", "flair"): Sequence.FLAIR,
    ("t2w", "flair"): Sequence.FLAIR,
}
"""The last two words of a file's stem, in lower case, to sequence."""


WORD_END = re.compile(r"[_\-. ]+")
"""What separates words in the names of files and folders."""


def refuse_too_few(without: Iterable[Sequence]) -> None:
    """Raises UsageError where neither FLAIR nor T1ce is left."""
    if set(without) >= INDISPENSABLE:
        raise UsageError("Without both FLAIR and T1ce a tumour cannot be segmented; one of them is needed.")


def droppable(sequences: Ordered[Sequence]) -> tuple[tuple[Sequence, ...], ...]:
    """Returns every set of sequences that may be missing from the given ones, smallest first: what stays holds one of
    `INDISPENSABLE`.
    """
    sets = chain.from_iterable(combinations(sequences, count) for count in range(1, len(sequences)))
    return tuple(missing for missing in sets if INDISPENSABLE.intersection(sequences).difference(missing))


def parse_sequence(name: str) -> Sequence:
    """Returns the sequence that `name` stands for, in any of its spellings and cases.

    Raises:
        UsageError: the name is not an alias of a sequence.
    """
    try:
        return ALIASES[name.strip().lower()]
    except KeyError:
        known = ", ".join(sorted(ALIASES))
        raise UsageError(f"'{name}' is not the name of a sequence. Known names: {known}.") from None


def sequence_of_file_name(stem: str, folder: str = "") -> Sequence | None:
    """Returns the sequence named by the end of a file's stem, or None.

    Words are separated by `_`, `-`, `.` or a space: `BraTS-GLI-00008-000-t1c` ends in `t1c`, `patient_t1ce` in `t1ce`
    and `patient_T1_Gd` in `t1 gd`. The BIDS entity `ce-` makes a T1 a T1ce (BIDS specification, "ce"). A stem that
    names two sequences (`flair_to_t1ce`) may be either, so it is None. What the stem has in common with its folder is
    the patient's name and says nothing: in the folder `T2-study_007` the file `T2-study_007_t1` is a T1, and `CE-12_t1`
    in `CE-12` is no T1ce.

    Args:
        stem: the file's name without its ending.
        folder: name of the folder that it lies in; empty: not known.
    """
    words = WORD_END.split(stem.lower())
    shared = WORD_END.split(folder.lower())
    if words[: len(shared)] == shared and len(words) > len(shared) and not all(word in ALIASES for word in shared):
        words = words[len(shared) :]
    compound = COMPOUNDS.get((words[-2], words[-1])) if len(words) > 1 else None
    named = compound or ALIASES.get(words[-1])
    rest = words[:-2] if compound else words[:-1]
    if any(ALIASES.get(word, named) != named for word in rest):
        return None
    return Sequence.T1CE if named == Sequence.T1 and "ce" in rest else named
