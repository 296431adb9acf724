"""Walking a tree of cases: which folders hold NIfTI files, and what each case is called.

Finding cases and finding label maps both walk here, so that both give a case the same id.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection, Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import CaseError, LimitError
from gliomask.files.paths import as_given
from gliomask.io import nifti
from gliomask.sequences import Sequence, sequence_of_file_name

DEPTH = 4
"""Levels of folders searched: archives nest BraTS 2017-2019's HGG and LGG trees two deep."""

MAX_FOLDERS = 200_000
"""Folders looked into before the search is given up: the whole disk was given, not a cohort."""


IN_A_SPACE = re.compile(r"(.+)_space-[^_]+_[^_]+")
"""Names of what native-space preprocessing writes beside a label map: label maps, masks, scans in other spaces."""


@dataclass(frozen=True)
class Folder:
    """A folder that was looked into.

    Args:
        path: where it is, through the links that led there.
        parts: its name and those of the folders above it, from the searched folder down.
        files: its NIfTI files in order, hidden ones left out; a folder under a sequence's NIfTI name is among them.
        below_case: it lies below a folder that holds scans.
        error: why it could not be listed; empty where it could.
    """

    path: Path
    parts: tuple[str, ...]
    files: tuple[Path, ...] = ()
    below_case: bool = False
    error: str = ""

    @property
    def scans(self) -> tuple[Path, ...]:
        """The files that are named after a sequence."""
        stems = {nifti.stem(path) for path in self.files}
        return tuple(
            path for path in self.files if sequence_of_path(path) and not in_other_space(nifti.stem(path), stems)
        )


def sequence_of_path(path: Path) -> Sequence | None:
    """Returns the sequence that a NIfTI file is named after in its folder, or None; see `sequence_of_file_name`."""
    return sequence_of_file_name(nifti.stem(path), as_given(path.parent).name)


def in_other_space(stem: str, stems: Collection[str]) -> bool:
    """True for the name of a result that lies beside the case's own label map: the same, a mask or a scan in another
    space.

    Args:
        stem: name of a file without its ending.
        stems: those of all files of the folder.
    """
    named = IN_A_SPACE.fullmatch(stem)
    return named is not None and f"{named[1]}_seg" in stems


@dataclass(frozen=True)
class _Step:
    """A folder to look into, and the real folders on the way to it."""

    path: Path
    parts: tuple[str, ...]
    above: frozenset[tuple[int, int]]
    below_case: bool


def walk(top: Path) -> Iterator[Folder]:
    """Yields `top` and the folders up to `DEPTH` levels below it, level by level; hidden ones are left alone.

    Links are followed. A folder with scans counts under each name that leads to it, any other is searched once, and a
    link that leads back up is left alone, so that the work grows with the number of entries and not with the number of
    ways to them.

    Raises:
        LimitError: there are more than `MAX_FOLDERS`.
    """
    scans_in: dict[tuple[int, int], bool] = {}
    steps = deque([_Step(top, (as_given(top).name,), frozenset(), False)])
    count = 0
    while steps:
        step = steps.popleft()
        identity, entries, error = _look_into(step.path)
        if identity in step.above or scans_in.get(identity) is False:
            continue
        count += 1
        if count > MAX_FOLDERS:
            raise LimitError(f"{top}: holds more than {MAX_FOLDERS:,} folders. Give the folder of the cases.")
        # A folder may carry a sequence's NIfTI name; it is kept, so that reading it says what is wrong.
        named = (path for path in entries if nifti.is_nifti_name(path))
        files = tuple(path for path in named if sequence_of_path(path) or not _is_folder(path))
        folder = Folder(step.path, step.parts, files, step.below_case, error)
        yield folder
        new, scans_in[identity] = identity not in scans_in, bool(folder.scans)
        if new and len(step.parts) <= DEPTH:
            above, below_case = step.above | {identity}, step.below_case or bool(folder.scans)
            steps += [
                _Step(path, (*step.parts, path.name), above, below_case)
                for path in entries
                if path not in files and _is_folder(path)
            ]


def _look_into(path: Path) -> tuple[tuple[int, int], list[Path], str]:
    """Which folder it is on disk, what it holds, and why it cannot be listed."""
    try:
        status = path.stat()
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        return (-1, hash(path)), [], str(error.strerror or error)
    return (status.st_dev, status.st_ino), entries, ""


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def case_ids(folders: Ordered[Folder]) -> list[str]:
    """Returns the id of each folder's case: its own name, and where two would have the same, the names of folders above
    it before it.

    Where one of a folder's cases needs the longer name, all of that folder's cases get it: `Patient-001_week-000`
    stands beside `Patient-001_week-044`, also where `week-044` is there once.

    Raises:
        CaseError: names clash although all folders up to the searched one are part of them.
    """
    lengths = [1] * len(folders)
    while True:
        names = ["_".join(folder.parts[-length:]) for folder, length in zip(folders, lengths, strict=True)]
        counts = Counter(names)
        clashing = {
            (folder.parts[:-n], n) for folder, name, n in zip(folders, names, lengths, strict=True) if counts[name] > 1
        }
        longer = [
            n + 1 if (folder.parts[:-n], n) in clashing and n < len(folder.parts) else n
            for folder, n in zip(folders, lengths, strict=True)
        ]
        if not clashing:
            return names
        if longer == lengths:
            name = next(name for name in names if counts[name] > 1)
            places = ", ".join(str(folder.path) for folder, other in zip(folders, names, strict=True) if other == name)
            raise CaseError(f"Two folders hold a case named {name}: {places}. Give them one at a time.")
        lengths = longer
