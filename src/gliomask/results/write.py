"""Writing a case's results: all of them or none, whatever ends the process, and nothing but what belongs to the case.

Files are first written into a hidden folder in the output folder, flushed to disk and hashed. Renaming that folder
(`READY`) is the moment at which the new results count. Then the old record goes, then old files that the new results do
not replace, then the new files move to their places, the record last. A process that is killed before the renaming
leaves the old results as they were; one that is killed after it leaves a folder that the next run of the case moves to
its places first (`recover`). docs/decisions/0015-one-path.md says why.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from secrets import token_hex

from gliomask.errors import FileFormatError, UsageError
from gliomask.files import atomic
from gliomask.files.atomic import flush_folder, make_folder, refuse_other_kinds_of_target, refuse_unwritable
from gliomask.files.hashing import sha256_of
from gliomask.files.json import UNREADABLE, read_json
from gliomask.files.lock import HeldError, locked
from gliomask.results.record import read_record

FILES, MANIFEST = "files", "manifest.json"
"""In a hidden folder: the new files under their names, and what is to be done with them."""


@dataclass(frozen=True)
class Place:
    """Where the results of one case go, and what of it belongs to the case.

    Args:
        folder: the output folder.
        case_id: of whom.
        record: path of the run record from the folder.
        owns: True for names (paths from the folder) that this case's layout can have; nothing else is ever removed.
    """

    folder: Path
    case_id: str
    record: PurePosixPath
    owns: Callable[[PurePosixPath], bool]

    @property
    def record_path(self) -> Path:
        """The run record."""
        return self.folder / self.record

    @property
    def _hidden(self) -> str:
        # A hash, since a case's name may be as long as a file system allows.
        digest = hashlib.sha256(str(self.record).encode(errors="surrogateescape")).hexdigest()
        return f".gliomask-{digest[:16]}"

    @property
    def ready(self) -> Path:
        """The hidden folder of results that count, but have not been moved to their places."""
        return self.folder / f"{self._hidden}.ready"

    @property
    def lock_name(self) -> str:
        """The lock of this case, which lies in the folder while the case is worked on."""
        return f"{self._hidden}.lock"

    def new_folder(self) -> Path:
        """Makes an empty hidden folder."""
        make_folder(self.folder)
        folder = self.folder / f"{self._hidden}.{token_hex(4)}.part"
        make_folder(folder / FILES)
        return folder

    def leftovers(self) -> list[Path]:
        """Returns hidden folders that killed runs of this case left unfinished; only the owner of the lock may ask."""
        pattern = re.compile(re.escape(self._hidden) + r"\.[0-9a-f]{8}\.part")
        return [path for path in self.folder.iterdir() if pattern.fullmatch(path.name)] if self.folder.is_dir() else []


def write_case(
    place: Place,
    fill: Callable[[Path], Mapping[str, str] | None],
    compose: Callable[[dict[str, str]], bytes],
    earlier: Iterable[str] = (),
) -> tuple[Path, ...]:
    """Writes the results of a case: all of them, or, after an error, none; what was there before stays until all are
    complete.

    The caller holds the case's lock (`held`).

    Args:
        place: where.
        fill: writes every file but the record into the folder that it is given, which stands for the output folder; may
            return the SHA-256 of files that it knows, by name, and those are not read again.
        compose: makes the run record of the SHA-256 of every file by its name.
        earlier: names that an earlier record of the case lists; those that the case owns and that are not replaced are
            removed.

    Returns:
        The files that were written, the record last.

    Raises:
        UsageError: a file cannot be written.
        LimitError: the disk is full.
    """
    _finish(place)
    folder = place.new_folder()
    try:
        known = fill(folder / FILES) or {}
        written = {
            path.relative_to(folder / FILES).as_posix(): path
            for path in sorted((folder / FILES).rglob("*"))
            if path.is_file()
        }
        hashes = {name: known.get(name) or sha256_of(path) for name, path in written.items()}
        stale = sorted(name for name in set(earlier) - set(hashes) if _may_go(place, name))
        staged = folder / FILES / place.record
        make_folder(staged.parent)
        write_plain(staged, compose(hashes))
        names = [*hashes, str(place.record)]
        write_plain(folder / MANIFEST, json.dumps({"files": names, "stale": stale}).encode())
        _refuse_other_kinds(place, names)
        # Every name in it, before it counts: without the record's it would be taken for half moved.
        for inner in {inner for path in (*written.values(), staged) for inner in path.relative_to(folder).parents}:
            flush_folder(folder / inner)
        folder.rename(place.ready)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    flush_folder(place.folder)
    _finish(place)
    return tuple(place.folder / name for name in names)


@contextmanager
def held(place: Place) -> Iterator[None]:
    """Holds the lock of a case.

    Its folder is made, and taken away again where nothing came of it; the lock's file goes at the end.

    Raises:
        UsageError: another process works on this case, or the file cannot be written.
    """
    new = not place.folder.exists()
    make_folder(place.folder)
    try:
        with locked(place.folder, f"segmentation of case {place.case_id}", place.lock_name, transient=True):
            yield
    finally:
        if new:
            with suppress(OSError):
                # Only where it is empty.
                place.folder.rmdir()


def recover(place: Place) -> bool:
    """Moves results that count, but that a killed run did not move, to their places, and removes what killed runs left:
    unfinished files and their lock.

    What a process that works on the case now has in hand is left to it.

    Returns:
        True where there were such results.

    Raises:
        UsageError: a file cannot be moved, or the folder is none of ours.
    """
    if not (place.ready.is_dir() or place.leftovers() or (place.folder / place.lock_name).exists()):
        return False
    try:
        with held(place):
            return _finish(place)
    except HeldError:
        return False


def _finish(place: Place) -> bool:
    """As `recover`, for the holder of the case's lock."""
    for leftover in place.leftovers():
        shutil.rmtree(leftover, ignore_errors=True)
    if not place.ready.is_dir():
        return False
    names, stale = _manifest(place)
    try:
        if (place.ready / FILES / place.record).is_file():
            # Where it is gone, it has been moved: the record that lies in its place is the new one.
            place.record_path.unlink(missing_ok=True)
            flush_folder(place.folder)
            for name in stale:
                (place.folder / name).unlink(missing_ok=True)
        *results, record = names
        for name in results:
            _move(place, name)
        # Each folder once, and before the record: where that is found after a loss of power, so are the others.
        for folder in {(place.folder / name).parent for name in results}:
            flush_folder(folder)
        _move(place, record)
        flush_folder(place.record_path.parent)
        # Half of a ready folder would look like results, so it is given up in one step.
        done = place.ready.rename(place.folder / f"{place.ready.stem}.{token_hex(4)}.part")
    except OSError as error:
        raise UsageError(
            f"{place.folder}: results cannot be moved to their places ({error.strerror or error}). Mend that, and "
            "give the same command."
        ) from error
    shutil.rmtree(done, ignore_errors=True)
    return True


def _move(place: Place, name: PurePosixPath) -> None:
    """Moves a result to its place, unless that was done before the process was killed."""
    staged, target = place.ready / FILES / name, place.folder / name
    if staged.is_file():
        make_folder(target.parent)
        staged.replace(target)


def _manifest(place: Place) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """What is to be moved and removed; of a folder that anyone may have put there only what the case owns."""
    try:
        content = read_json(place.ready / MANIFEST)
        names, stale = list(map(str, content["files"])), list(map(str, content["stale"]))
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise UsageError(f"{place.ready}: is no folder of results that gliomask left ({error}). Remove it.") from error
    if names[-1:] != [str(place.record)] or not all(_may_go(place, name) for name in [*names, *stale]):
        raise UsageError(f"{place.ready}: holds files that do not belong to case {place.case_id}. Remove it.")
    return [PurePosixPath(name) for name in names], [PurePosixPath(name) for name in stale]


def _may_go(place: Place, name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and (path == place.record or place.owns(path))


def write_plain(path: Path, content: bytes) -> None:
    """Writes a file and flushes it to disk. For files in hidden folders: elsewhere a reader could see half of it."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _refuse_other_kinds(place: Place, names: Iterable[str]) -> None:
    """A folder, pipe or device of a result's name is not replaced: said before anything counts."""
    for name in names:
        refuse_other_kinds_of_target(place.folder / name)


def refuse_existing(paths: Iterable[Path], whose: str, *, overwrite: bool) -> None:
    """Refuses results that exist, and folders that cannot be written to.

    Args:
        paths: every file that may be written.
        whose: what would be replaced, such as `the results of case 7`.
        overwrite: replacing was asked for.

    Raises:
        UsageError: one of the files exists and may not be replaced, or its folder cannot be written to.
    """
    paths = list(paths)
    for folder in {path.parent for path in paths}:
        refuse_unwritable(folder)
    atomic.refuse_existing(
        paths, overwrite=overwrite, remedy=f"Give --overwrite to replace {whose}, or another output folder."
    )


def refuse_unknown(place: Place, label_map: Path) -> None:
    """Refuses to replace a label map that no run wrote here: where scans of a patient lie apart from the experts' maps,
    theirs has the same name.

    Args:
        place: of the case; what a killed run left there has been moved to its place (`recover`).
        label_map: the file that would be replaced, below the place's folder.

    Raises:
        UsageError: the file exists, and there is no record of the case, or one that does not list it.
    """
    if not os.path.lexists(label_map):
        return
    try:
        record = read_record(place.record_path)
    except FileFormatError:
        # A run wrote it, and something damaged it since: that is what --overwrite is for.
        return
    if record is not None and (
        record.outputs is None or label_map.relative_to(place.folder).as_posix() in record.outputs
    ):
        return
    raise UsageError(
        f"{label_map}: exists, and no run record beside it lists it, so it may be a reference and is not replaced, "
        "not with --overwrite or --resume either. "
        "Move it away, or give another output."
    )


def refuse_inputs(paths: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuses to write where scans or references lie: by real path and by inode, so that links hide nothing.

    Args:
        paths: every file that may be written.
        inputs: files that are read, and references that belong to them; folders stand for all that is in them.

    Raises:
        UsageError: a result would replace one of them.
    """
    known = {identity: path for path in inputs for identity in _identities(path)}
    for path in paths:
        input_path = next((known[identity] for identity in _identities(path) if identity in known), None)
        if input_path is not None:
            raise UsageError(
                f"{path}: is an input ({input_path}), and no result is ever written over one, not with --overwrite "
                "either. Give another output."
            )


def _identities(path: Path) -> list[object]:
    identities: list[object] = [os.path.realpath(path)]
    with suppress(OSError):
        status = path.stat()
        identities.append((status.st_dev, status.st_ino))
    return identities
