"""Which DICOM series a label map was drawn on, as the records beside it tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.files.json import UNREADABLE, read_json
from gliomask.io.nifti import stem
from gliomask.sequences import Sequence

NAME = re.compile(r"(?P<case>.+?)(?:_space-(?P<space>[^_]+))?_seg")
"""The name of a label map that `gliomask segment` wrote, without its ending."""

CONVERSION = "dicom_run.json"
"""The record of `gliomask dicom convert`, beside the scans that it wrote."""


@dataclass(frozen=True)
class DrawnOn:
    """A series of an examination.

    Args:
        label: its number in the table of series, with a letter where several share it.
        sequence: what it was taken for.
        record: the record that says so.
    """

    label: str
    sequence: Sequence
    record: Path

    def is_series(self, label: str, number: int | None) -> bool:
        """Whether a series is this one; where its number is not shared it has no letter in another place."""
        return label == self.label or (label == str(number) and re.sub(r"[^0-9].*", "", self.label) == label)


def drawn_on(label_map: Path) -> DrawnOn | None:
    """Returns the series that a label map's records name.

    Asked are the run record beside the label map, for the sequence whose grid it lies in and, where the scans came from
    DICOM at once, the series; else the record of the conversion, beside the scans.

    Returns:
        The series; None where no record tells.
    """
    name = NAME.fullmatch(stem(label_map))
    if name is None:
        return None
    path = label_map.with_name(f"{name['case']}_run.json")
    record = _fields(path)
    sequence = _sequence(name["space"] or record.get("space") or _mapping(record.get("raw_route")).get("reference"))
    if sequence is None:
        return None
    for place, dicom in [(path, _mapping(record.get("dicom"))), *_conversions(label_map.parent, record)]:
        label = _mapping(dicom.get("chosen")).get(sequence.value)
        if isinstance(label, str) and label:
            return DrawnOn(label, sequence, place)
    return None


def _conversions(folder: Path, record: Mapping[str, Any]) -> list[tuple[Path, Mapping[str, Any]]]:
    """Records of conversions beside the scans that a run read, as the run names them or moved together with the label
    map.
    """
    scans = [Path(path).parent for path in _mapping(record.get("inputs"))]
    places = dict.fromkeys(place / CONVERSION for place in [*scans, folder / "scans"])
    return [(place, _mapping(_fields(place).get("dicom"))) for place in places]


def _sequence(value: object) -> Sequence | None:
    return next((sequence for sequence in Sequence if sequence.value == value), None)


def _fields(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        return _mapping(read_json(path))
    except UNREADABLE:
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
