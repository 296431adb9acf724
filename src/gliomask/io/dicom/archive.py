"""Zip archives of DICOM files, unpacked into a temporary folder with every claim of the archive held against a limit.

The names in an archive are never used as paths: its files are numbered, so no name can reach outside the folder. Names that try are
refused all the same, since an honest archive holds none. Sizes are counted while bytes come out, not believed.
"""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gliomask.errors import FileFormatError, LimitError, UsageError

MAX_MEMBERS = 50_000
"""Files in an archive or folder: an examination has some hundreds to some thousands."""

MAX_TOTAL_BYTES = 8 << 30
"""Bytes that come out of one archive."""

MAX_RATIO = 200
"""Bytes out of the archive for each byte in it. Scans shrink two- to tenfold, an empty one a hundredfold; bombs reach a thousandfold."""

RATIO_FREE_BYTES = 64 << 20
"""So much may come out whatever the ratio: it does no harm."""

BLOCK_BYTES = 1 << 20
ENCRYPTED = 1
"""Bit of a member's flags (zip specification APPNOTE, section 4.4.4)."""


@contextmanager
def opened(place: Path) -> Iterator[Path]:
    """Gives the folder to read: `place` itself, or a temporary folder with the files of a zip, which is removed at the end.

    Raises:
        UsageError: `place` does not exist.
        FileFormatError: the archive is corrupt, encrypted, or holds links or names that reach outside.
        LimitError: more files, bytes or compression than the limits allow.
    """
    if not place.exists():
        raise UsageError(f"{place} does not exist. Give a folder or a zip archive of DICOM files.")
    if place.is_dir() or not zipfile.is_zipfile(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="gliomask-") as folder:
        _unpack(place, Path(folder))
        yield Path(folder)


def _unpack(archive: Path, folder: Path) -> None:
    room = min(MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * archive.stat().st_size))
    try:
        with zipfile.ZipFile(archive) as opened_zip:
            members = [member for member in opened_zip.infolist() if not member.is_dir()]
            _check_members(archive, members, room)
            for number, member in enumerate(members):
                with opened_zip.open(member) as stream, (folder / f"{number:06d}").open("wb") as target:
                    while block := stream.read(BLOCK_BYTES):
                        room -= len(block)
                        if room < 0:
                            raise LimitError(_too_large(archive))
                        target.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FileFormatError(f"{archive}: the zip archive is corrupt or of a kind that is not read ({type(error).__name__}). Pack it again.") from error


def _check_members(archive: Path, members: list[zipfile.ZipInfo], room: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise LimitError(f"{archive}: holds {len(members):,} files; the limit is {MAX_MEMBERS:,}. Give the examination alone.")
    if sum(member.file_size for member in members) > room:
        raise LimitError(_too_large(archive))
    for position, member in enumerate(members, start=1):
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise FileFormatError(f"{archive}: entry {position} is a link or a device, not a file. Pack the files themselves.")
        if member.flag_bits & ENCRYPTED:
            raise FileFormatError(f"{archive}: entry {position} is encrypted. Unpack it and give the folder.")
        if _reaches_outside(member.filename):
            raise FileFormatError(f"{archive}: the name of entry {position} reaches outside the archive. Do not trust where it came from.")


def _reaches_outside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":")


def _too_large(archive: Path) -> str:
    return (
        f"{archive}: would unpack to more than {MAX_TOTAL_BYTES >> 30} GiB, or to more than {MAX_RATIO} times its own size. "
        "Unpack it yourself if you trust it, and give the folder."
    )
