"""DICOM to NIfTI: each sequence in its own grid, with a record of what was chosen and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.errors import CaseError, UsageError
from gliomask.io.dicom.archive import opened
from gliomask.io.dicom.describe import to_dict, to_text
from gliomask.io.dicom.read import case_name, read_scan
from gliomask.io.dicom.survey import choose, survey
from gliomask.io.nifti import all_or_none, refuse_unwritable, write_volume
from gliomask.sequences import Sequence, parse_sequence


@dataclass(frozen=True)
class Inspection:
    """What a place holds: `text` is the table for people, `values` the same for JSON."""

    text: str
    values: dict[str, Any]


def parse_overrides(options: tuple[str, ...]) -> dict[Sequence, str]:
    """Returns number or SeriesInstanceUID by sequence from words such as `t1=4`.

    Raises:
        UsageError: a word is not of that form, or names a sequence twice.
    """
    overrides: dict[Sequence, str] = {}
    for option in options:
        name, equals, wanted = option.partition("=")
        if not equals or not wanted:
            raise UsageError(f"--series {option}: write the sequence, = and the series' number or UID, as in --series t1=4.")
        sequence = parse_sequence(name)
        if sequence in overrides:
            raise UsageError(f"--series names {sequence.value} twice. Give it once.")
        overrides[sequence] = wanted
    return overrides


def inspect(place: Path, overrides: Mapping[Sequence, str] | None = None, *, include_identifiers: bool = False) -> Inspection:
    """Looks at every header of a folder or zip and says what each series is. Raises as `survey.survey`."""
    with opened(place) as folder:
        found = survey(folder)
        choice = choose(found, overrides)
        return Inspection(to_text(found, choice), to_dict(found, choice, include_identifiers=include_identifiers))


def convert(
    place: Path,
    output: Path,
    overrides: Mapping[Sequence, str] | None = None,
    *,
    needed: Iterable[Sequence] = (),
    include_identifiers: bool = False,
    overwrite: bool = False,
) -> tuple[dict[Sequence, Path], Inspection]:
    """Writes `<case>_<sequence>.nii.gz` for each sequence found; returns their paths and what was found.

    Every series is read before the first file is written.

    Args:
        place: a folder or a zip of DICOM files, or one enhanced multi-frame file.
        output: the folder; it is made where it does not exist.
        overrides: number or SeriesInstanceUID of the series to take, by sequence.
        needed: sequences without which nothing is to be written.
        include_identifiers: keep what names the patient.
        overwrite: replace files that exist.

    Raises:
        CaseError: no sequence was recognised, one that is needed is missing, or it cannot be told which series to take.
        UsageError: a file exists and `overwrite` is false.
        InputError: as `read.read_examination`.
    """
    refuse_unwritable(output)
    with opened(place) as folder:
        found = survey(folder)
        choice = choose(found, overrides)
        inspection = Inspection(to_text(found, choice), to_dict(found, choice, include_identifiers=include_identifiers))
        if choice.problems or not choice.chosen:
            what = "; ".join(choice.problems) or f"none of {len(found.series)} series is a T1, T1ce, T2 or FLAIR"
            raise CaseError(f"{place}: {what}. Name the series by --series; `gliomask dicom inspect` shows all of them.")
        missing = [sequence.value for sequence in needed if sequence not in choice.chosen]
        if missing:
            what = f"no series is a {' or a '.join(missing)}, `gliomask dicom inspect` says why"
            raise CaseError(f"{place}: {what}. Name the series by --series, or by --without what the patient does not have.")
        words = frozenset().union(*(series.tags.identifiers for series in found.series))
        name = case_name(place, frozenset() if include_identifiers else words)
        targets = {sequence: output / f"{name}_{sequence.value}.nii.gz" for sequence in choice.chosen}
        existing = [path for path in targets.values() if path.exists()]
        if existing and not overwrite:
            raise UsageError(f"{existing[0]} exists. Give --overwrite to replace it.")
        scans = {sequence: read_scan(series) for sequence, series in choice.chosen.items()}
    with all_or_none(targets.values()):
        for sequence, scan in scans.items():
            write_volume(targets[sequence], scan.volume, scan.geometry, overwrite=overwrite)
    return targets, inspection
