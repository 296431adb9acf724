"""The one rule of `--resume`: a case is kept where its record is there and the hashes of inputs, outputs, models and
options are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.errors import FileFormatError, InputError, UsageError
from gliomask.files.hashing import sha256_of
from gliomask.io import nifti
from gliomask.results.record import RECORD_VERSION, RunRecord, read_record
from gliomask.results.write import Place, recover

NO_RESULT_DEPENDS_ON = frozenset({"model", "ensemble_member", "threads", "strict"})
"""Options that change no result by themselves: by which name a model was called (its hash counts), threads, and what is
refused.
"""

MADE_BY_HAND = ("_seg.nii.gz", "_dseg.nii.gz", "_mask.nii.gz")
"""How the names of those results end that people correct in an editor."""


@dataclass(frozen=True)
class Wanted:
    """What the results of a case depend on, apart from its scans.

    Args:
        model: SHA-256 of the model.
        ensemble_member: of the second ensemble member, or None.
        options: as the record holds them.
        without: sequences that the patient does not have.
    """

    model: str
    ensemble_member: str | None
    options: Mapping[str, Any]
    without: tuple[str, ...] = ()

    def differences(self, record: RunRecord) -> list[str]:
        """Returns what an earlier run was asked for differently, in words."""
        second = None if record.second_opinion is None else record.second_opinion.sha256
        names = [
            name
            for name in self.options
            if name not in NO_RESULT_DEPENDS_ON and self.options[name] != record.options.get(name)
        ]
        return [
            *(["model"] if record.model.sha256 != self.model else []),
            *(["ensemble member"] if second != self.ensemble_member else []),
            *(f"--{name.replace('_', '-')}" for name in names),
            *(["--without"] if sorted(record.without) != sorted(self.without) else []),
        ]


def earlier_record(place: Place, wanted: Wanted) -> RunRecord | None:
    """Returns the record of a case that an earlier run has finished with the same models and options; no scan is read.

    Returns:
        None where there is no record: the case is to be done.

    Raises:
        UsageError: it was finished with other models or options, by an earlier version, or its record is none.
    """
    recover(place)
    try:
        record = read_record(place.record_path)
    except FileFormatError as error:
        raise UsageError(f"{error} Or give --overwrite in place of --resume.") from error
    if record is None:
        return None
    remedy = "Give the earlier options, or another output folder, or --overwrite in place of --resume."
    if record.record_version < RECORD_VERSION:
        raise UsageError(
            f"Case {place.case_id} was finished by an earlier version of gliomask, whose records hold no hashes of "
            f"the results ({place.record_path}), "
            f"so --resume cannot keep it. {remedy}"
        )
    other = wanted.differences(record)
    if other:
        raise UsageError(
            f"Case {place.case_id} was finished earlier with other {', '.join(other)}, so --resume cannot keep "
            f"it. {remedy}"
        )
    return record


def damaged(outputs: Mapping[str, str], folder: Path) -> list[str]:
    """Returns the outputs that are gone or changed; none where every file that a record names is there, byte for byte.

    Args:
        outputs: SHA-256 by path from the folder.
        folder: the output folder.
    """
    return [
        name for name, digest in outputs.items() if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]


def refuse_corrected(
    names: Iterable[str], folder: Path, remedy: str = "Move it away, or give --overwrite in place of --resume."
) -> None:
    """Refuses to replace a label map or mask that somebody corrected by hand.

    A file that is gone, or that cannot be read to its end (cut short, damaged on disk), is no correction: it may be
    made anew.

    Args:
        names: what `damaged` found.
        folder: the output folder.
        remedy: what the user can do.

    Raises:
        UsageError: a label map or mask can be read, and is not the one that the record lists.
    """
    changed = [name for name in names if name.endswith(MADE_BY_HAND) and _readable(folder / name)]
    if changed:
        raise UsageError(
            f"{folder / changed[0]}: was changed after gliomask wrote it, and may be a correction, so it is not "
            f"replaced. {remedy}"
        )


def _readable(path: Path) -> bool:
    try:
        nifti.read_volume(path)
    except InputError:
        return False
    return True


def same_inputs(record: RunRecord, hashes: Mapping[str, str]) -> bool:
    """True where a case was finished with just these scans. Scans that only moved are the same.

    Args:
        record: of the earlier run.
        hashes: SHA-256 of the inputs of this one.
    """
    return sorted(record.inputs.values()) == sorted(hashes.values())


def refuse_other_inputs(record: RunRecord, hashes: Mapping[str, str], place: Place) -> None:
    """Raises UsageError where the case was finished with other scans, see `same_inputs`.

    Args:
        record: of the earlier run.
        hashes: SHA-256 of the inputs of this one.
        place: of the case.
    """
    if not same_inputs(record, hashes):
        raise UsageError(
            f"Case {place.case_id} was finished earlier with other scans, so --resume cannot keep it. "
            "Give --overwrite in place of --resume, or another output folder."
        )
