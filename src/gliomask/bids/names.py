"""File names of BIDS: entities, suffix, extension.

`sub-01_ce-gadolinium_T1w.nii.gz` has the entities sub and ce and the suffix T1w.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

ENTITY_ORDER = ("sub", "ses", "acq", "ce", "rec", "run", "from", "to", "mode", "space", "desc")
"""Order of the entities that are written here (BIDS specification 1.10, appendix "Entity table"; `from`, `to` and
`mode` as fMRIPrep writes them).
"""

_ENTITY = re.compile(r"([a-z]+)-([0-9a-zA-Z+]+)")
_SUFFIX = re.compile(r"[0-9a-zA-Z]+")
_LABEL = re.compile(r"[0-9a-zA-Z+]+")


@dataclass(frozen=True)
class BidsName:
    """A file's name, taken apart.

    Args:
        entities: label by short entity name, `sub` and so on.
        suffix: such as `T1w`.
        extension: with its dot, such as `.nii.gz`.
    """

    entities: Mapping[str, str]
    suffix: str
    extension: str

    def __str__(self) -> str:
        """The name as it is written on disk."""
        return (
            "_".join([*(f"{key}-{self.entities[key]}" for key in ENTITY_ORDER if key in self.entities), self.suffix])
            + self.extension
        )


def parse_name(name: str) -> BidsName | None:
    """Takes a file's name apart; None where it is not one of BIDS.

    An entity that comes twice, or words that are no entities, make a name that BIDS does not know.
    """
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    matches = [_ENTITY.fullmatch(pair) for pair in pairs]
    entities = {match[1]: match[2] for match in matches if match}
    if not dot or not pairs or len(entities) < len(pairs) or not _SUFFIX.fullmatch(suffix):
        return None
    return BidsName(entities, suffix, dot + extension)


def is_label(text: str) -> bool:
    """True for what may stand behind the hyphen of an entity: letters and digits (and `+`, since BIDS 1.10)."""
    return _LABEL.fullmatch(text) is not None
