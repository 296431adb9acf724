"""Which image of a session is which sequence: the rule, and how a user changes it where a session holds several.

The rule goes by the suffix and the entity `ce-` (contrast-enhancing agent): T1w without it is t1, with it t1ce. The
file that changes it is written as for fMRIPrep's `--bids-filter-file`: `{"t1ce": {"acquisition": "mprage", "run": 2}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gliomask.bids.names import BidsName
from gliomask.errors import UsageError
from gliomask.files.json import UNREADABLE, read_json
from gliomask.sequences import Sequence, parse_sequence

ANY = "*"
"""Stands for any label, as long as the entity is there."""

RULES: dict[Sequence, dict[str, Any]] = {
    Sequence.FLAIR: {"suffix": "FLAIR"},
    Sequence.T1: {"suffix": "T1w", "ce": None},
    Sequence.T1CE: {"suffix": "T1w", "ce": ANY},
    Sequence.T2: {"suffix": "T2w"},
}
"""What is asked of each sequence's name; None means that the entity is not there."""

MAGNITUDE = (None, "mag")
"""Values of `part-` that show anatomy; phase, real and imaginary parts do not."""

LONG_NAMES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "resolution": "res",
    "description": "desc",
    "direction": "dir",
    "inversion": "inv",
}
"""Names of entities in filter files written for other BIDS Apps, by which the short ones are also known."""

SHORT_NAMES = (
    "suffix",
    "acq",
    "ce",
    "rec",
    "run",
    "echo",
    "part",
    "chunk",
    "flip",
    "inv",
    "dir",
    "space",
    "res",
    "desc",
    "label",
)
"""What a filter may ask for."""


@dataclass(frozen=True)
class Filters:
    """What is asked of the name of each sequence's file."""

    asked: Mapping[Sequence, Mapping[str, Any]] = field(default_factory=lambda: RULES)

    def accepts(self, sequence: Sequence, name: BidsName) -> bool:
        """True where a file of that name may be the sequence."""
        asked = self.asked[sequence]
        part = True if "part" in asked else name.entities.get("part") in MAGNITUDE
        return part and all(
            _fits(wanted, name.suffix if key == "suffix" else name.entities.get(key)) for key, wanted in asked.items()
        )

    def in_words(self, sequence: Sequence) -> str:
        """What is asked, for messages: `suffix T1w, no ce-`."""
        return ", ".join(_in_words(key, wanted) for key, wanted in self.asked[sequence].items())


def _fits(wanted: Any, value: str | None) -> bool:
    if isinstance(wanted, list):
        return any(_fits(each, value) for each in wanted)
    if wanted is None or value is None:
        return wanted is None and value is None
    if wanted == ANY:
        return True
    text = str(wanted)
    # Indices may be written with leading zeros: run 1 is run-01.
    return text == value or (text.isdigit() and value.isdigit() and int(text) == int(value))


def _in_words(key: str, wanted: Any) -> str:
    if key == "suffix":
        return f"suffix {wanted}"
    if wanted is None:
        return f"no {key}-"
    return f"with {key}-" if wanted == ANY else f"{key}-{wanted}"


def read_filters(path: Path | None) -> Filters:
    """Reads a filter file; what it does not say stays as the rule has it. None gives the rule.

    Raises:
        UsageError: the file cannot be read, or names a sequence, an entity or a value that there is not.
    """
    if path is None:
        return Filters()
    try:
        content = read_json(path)
    except UNREADABLE as error:
        raise UsageError(
            f"{path}: cannot be read as a filter file ({error}). Write JSON such as {{'t1ce': {{'run': 2}}}}, with "
            "double quotes."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(
            f"{path}: a filter file holds one object with a sequence for each key, such as t1ce; found "
            f"{type(content).__name__}."
        )
    asked = {sequence: dict(rule) for sequence, rule in RULES.items()}
    for name, filters in content.items():
        asked[parse_sequence(name)].update(_checked(path, name, filters))
    return Filters(asked)


def _checked(path: Path, sequence: str, filters: Any) -> dict[str, Any]:
    if not isinstance(filters, dict):
        raise UsageError(
            f"{path}: {sequence}: an object of entities is needed, such as {{'run': 2}}; found {filters!r}."
        )
    asked: dict[str, Any] = {
        LONG_NAMES.get(key, str(key)): wanted for key, wanted in filters.items() if key != "datatype"
    }
    for key, wanted in asked.items():
        if key not in SHORT_NAMES:
            raise UsageError(
                f"{path}: {sequence}: there is no entity '{key}' to choose by. Known ones: {', '.join(SHORT_NAMES)}."
            )
        if not all(
            each is None or type(each) in (str, int) for each in (wanted if isinstance(wanted, list) else [wanted])
        ):
            raise UsageError(
                f"{path}: {sequence}: {key} is {wanted!r}; give a label, a number, null (not there), '{ANY}' (any) "
                "or a list of these."
            )
    return asked
