"""Where DICOM files come from: a folder, one file, a zip archive, a list of files, or bytes in memory.

Zips are unpacked, and bytes laid down, in a temporary folder that is removed at the end, or by the next run where this
one is killed: compressed pixels are decoded by another process, which reads files. Every claim of an archive is held
against a limit. The names in an archive are never used as paths: its files are numbered, so no name can reach outside
the folder. Names that try are refused all the same, since an honest archive holds none. Sizes are counted while bytes
come out, not believed.
"""

from __future__ import annotations

import errno
import io
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from gliomask.errors import FileFormatError, GliomaskError, LimitError, UsageError
from gliomask.files.atomic import temporary_folder
from gliomask.files.paths import as_given

MAX_MEMBERS = 50_000
"""Files in an archive or folder: an examination has some hundreds to some thousands."""

MAX_TOTAL_BYTES = 8 << 30
"""Bytes that come out of one archive."""

MAX_RATIO = 200
"""Bytes out of the archive for each byte in it. Scans shrink two- to tenfold, an empty one a hundredfold; bombs reach a
thousandfold.
"""

RATIO_FREE_BYTES = 64 << 20
"""So much may come out whatever the ratio: it does no harm."""

DICOM_NAMES = (".dcm", ".ima", ".dicom")
"""A file with such a name must be DICOM."""

BLOCK_BYTES = 1 << 20
ENCRYPTED = 1
"""Bit of a member's flags (zip specification APPNOTE, section 4.4.4)."""


Source = Path | str | bytes | Iterable[Any]
"""A folder, a zip or a file by its path; the bytes of a zip or of one file; or several of a path, bytes, a binary
stream or a pydicom data set.
"""


@dataclass(frozen=True)
class Opened:
    """DICOM files that lie on disk for the time of a block.

    Args:
        folder: below which they lie, or the one file.
        title: how messages call the source.
        name: of the case, unless it identifies the patient.
        names: how messages call a file, by its path, where its own name says nothing.
        files: which files to read; None means all below `folder`.
    """

    folder: Path
    title: str
    name: str
    names: Mapping[Path, str] = field(default_factory=dict)
    files: tuple[Path, ...] | None = None

    def shown(self, path: Path) -> str:
        """How messages call a file; the caller strikes out what identifies the patient."""
        if path in self.names:
            return self.names[path]
        return path.name if self.folder == path or self.files is not None else str(path.relative_to(self.folder))


def at(folder: Path) -> Opened:
    """A folder or file as it lies on disk."""
    return Opened(folder, str(folder), as_given(folder).name)


@contextmanager
def opened(source: Source) -> Iterator[Opened]:
    """Gives the files to read; whatever had to be unpacked or laid down is removed at the end.

    Raises:
        UsageError: a path does not exist.
        FileFormatError: the archive is corrupt, encrypted, or holds links or names that reach outside; or it is no file
            at all.
        LimitError: more files, bytes or compression than the limits allow.
    """
    if isinstance(source, str | Path):
        with _opened_path(Path(source)) as place:
            yield place
        return
    with temporary_folder() as folder:
        if isinstance(source, bytes | bytearray | memoryview):
            path = folder / "000000"
            path.write_bytes(source)
            if path.is_file() and zipfile.is_zipfile(path):
                (folder / "unpacked").mkdir()
                yield Opened(
                    folder / "unpacked", IN_MEMORY, "examination", _unpack(path, folder / "unpacked", IN_MEMORY)
                )
                return
            yield Opened(folder, IN_MEMORY, "examination", {path: IN_MEMORY})
            return
        yield _laid_down(source, folder)


IN_MEMORY = "the data in memory"


@contextmanager
def _opened_path(place: Path) -> Iterator[Opened]:
    if not place.exists():
        raise UsageError(f"{place} does not exist. Give a folder or a zip archive of DICOM files.")
    if not place.is_dir() and not place.is_file():
        # A pipe would be waited for.
        raise FileFormatError(
            f"{place}: is no folder and no regular file. Give a folder or a zip archive of DICOM files."
        )
    if not place.is_file() or not zipfile.is_zipfile(place):
        if place.suffix.lower() == ".zip" and place.is_file():
            raise FileFormatError(f"{place}: is no zip archive, or a damaged one. Pack it again.")
        yield at(place)
        return
    name = as_given(place).name
    with temporary_folder() as folder:
        yield Opened(
            folder, str(place), name[:-4] if name.lower().endswith(".zip") else name, _unpack(place, folder, str(place))
        )


def _laid_down(items: Iterable[Any], folder: Path) -> Opened:
    """Files named in a list are read where they are; what is in memory is written into the folder."""
    files: list[Path] = []
    names: dict[Path, str] = {}
    room = MAX_TOTAL_BYTES
    for position, item in enumerate(items, start=1):
        if position > MAX_MEMBERS:
            raise LimitError(f"More than {MAX_MEMBERS:,} files were given. Give the examination alone.")
        if isinstance(item, str | Path):
            path = Path(item)
            if not path.is_file():
                raise UsageError(f"{path} is no file. Give paths of DICOM files, or one folder.")
            files.append(path)
            continue
        content = _content(item, position, room)
        room -= len(content)
        path = folder / f"{position:06d}"
        path.write_bytes(content)
        files.append(path)
        names[path] = f"item {position}"
    return Opened(folder, "the files given", "examination", names, tuple(files))


def _content(item: Any, position: int, room: int) -> bytes:
    if isinstance(item, bytes | bytearray | memoryview):
        content = bytes(item)
    elif hasattr(item, "read"):
        content = item.read(room + 1)
    elif hasattr(item, "save_as"):
        stream = io.BytesIO()
        try:
            item.save_as(stream, enforce_file_format=True)
        except Exception as error:
            # pydicom's words may quote the value of a tag.
            raise FileFormatError(
                f"item {position}: the pydicom data set cannot be written ({type(error).__name__}). Give the "
                "file's bytes."
            ) from None
        content = stream.getvalue()
    else:
        raise UsageError(
            f"item {position} is a {type(item).__name__}. Give a path, bytes, a binary stream or a pydicom data set."
        )
    if not isinstance(content, bytes) or len(content) > room:
        raise LimitError(f"The files given hold more than {MAX_TOTAL_BYTES >> 30} GiB. Give the examination alone.")
    return content


def _unpack(archive: Path, folder: Path, title: str) -> dict[Path, str]:
    """Unpacks a zip into numbered files; returns the names of its entries by the file's path."""
    room = min(MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * archive.stat().st_size))
    where, names = "", {}
    try:
        with zipfile.ZipFile(archive) as opened_zip:
            members = [member for member in opened_zip.infolist() if not member.is_dir()]
            _check_members(title, members, room)
            for number, member in enumerate(members):
                where, path = f"entry {number + 1} of ", folder / f"{number:06d}{_extension(member.filename)}"
                names[path] = member.filename
                with opened_zip.open(member) as stream, path.open("wb") as target:
                    while block := stream.read(BLOCK_BYTES):
                        room -= len(block)
                        if room < 0:
                            raise LimitError(_too_large(title))
                        target.write(block)
    except (GliomaskError, MemoryError):
        raise
    except Exception as error:
        # zipfile and the decompressors raise whatever a corrupt byte leads to, among it a seek to before the file; a
        # disk's errors have other numbers.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        what = f"{where}the zip archive is corrupt or of a kind that is not read ({type(error).__name__})"
        raise FileFormatError(f"{title}: {what}. Pack it again.") from error
    return names


def _extension(name: str) -> str:
    """The ending that says that an entry must be DICOM."""
    ending = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    return ending if ending in DICOM_NAMES else ""


def _check_members(archive: str, members: list[zipfile.ZipInfo], room: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise LimitError(
            f"{archive}: holds {len(members):,} files; the limit is {MAX_MEMBERS:,}. Give the examination alone."
        )
    if sum(member.file_size for member in members) > room:
        raise LimitError(_too_large(archive))
    for position, member in enumerate(members, start=1):
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise FileFormatError(
                f"{archive}: entry {position} is a link or a device, not a file. Pack the files themselves."
            )
        if member.flag_bits & ENCRYPTED:
            raise FileFormatError(f"{archive}: entry {position} is encrypted. Unpack it and give the folder.")
        if _reaches_outside(member.filename):
            raise FileFormatError(
                f"{archive}: the name of entry {position} reaches outside the archive. Do not trust where it came from."
            )


def _reaches_outside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":")


def _too_large(archive: str) -> str:
    return (
        f"{archive}: would unpack to more than {MAX_TOTAL_BYTES >> 30} GiB, or to more than {MAX_RATIO} times "
        "its own size. "
        "Unpack it yourself if you trust it, and give the folder."
    )
