"""What was asked of a cohort, in plain values: written down beside its index, so that every job of a cluster is asked
the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

from gliomask.cohort.place import CohortPlace
from gliomask.errors import UsageError
from gliomask.files.atomic import write_bytes
from gliomask.files.json import read_json_as

Asked = Mapping[str, Any]
"""Options of segmenting, by name, in plain values; `job.DEFAULTS` lists them."""


@dataclass(frozen=True)
class CohortSettings:
    """What a cohort is.

    Args:
        source: the INPUT, as it was given.
        cases: how many the index holds.
        index_sha256: of the index file.
        asked: options of segmenting.
        version: of this file.
    """

    source: str
    cases: int
    index_sha256: str
    asked: dict[str, Any]
    version: Literal[1] = 1

    @property
    def options_sha256(self) -> str:
        """Names what was asked: rows with another one are of an earlier run with other options."""
        return asked_sha256(self.asked)


def asked_sha256(asked: Asked) -> str:
    """Returns the SHA-256 of options, whatever their order."""
    return sha256(json.dumps(dict(asked), sort_keys=True).encode()).hexdigest()


def write_settings(place: CohortPlace, settings: CohortSettings) -> None:
    """Writes them whole or not at all.

    Raises:
        UsageError: they cannot be written.
        LimitError: the disk is full.
    """
    write_bytes(place.settings, (json.dumps(asdict(settings), indent=1, allow_nan=False) + "\n").encode())


def read_settings(place: CohortPlace) -> CohortSettings:
    """Reads them.

    Raises:
        UsageError: the folder is no cohort.
        FileFormatError: the file is damaged.
    """
    if not place.exists:
        raise UsageError(
            f"{place.folder}: is no cohort: it holds no {place.settings.name}. Give the output folder of "
            "gliomask cohort."
        )
    return read_json_as(place.settings, CohortSettings, "the settings of a cohort")


def differences(earlier: Asked, asked: Asked) -> list[str]:
    """Returns the names of the options that differ."""
    return sorted(name for name in {*earlier, *asked} if earlier.get(name) != asked.get(name))
