"""The one gate for files of arrays (`.npz`): what others wrote is read bounded, without pickle, and no header is
evaluated as code.

An array's header is a Python literal, which numpy evaluates; damaged ones then fail in the parser in many ways. Here it
is held against the only form in which numpy writes it ("NPY format", numpy.lib.format). Members are stored, not
compressed, so the size of the file bounds what is read.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gliomask.errors import FileFormatError
from gliomask.files.regular import open_regular, reason

MAX_MEMBERS = 20_000
"""Arrays in a file; a checkpoint of the largest network here has some hundreds."""

MAX_HEADER_BYTES = 4096
"""A header has 118 bytes, more only with many dimensions."""

MAX_DIMENSIONS = 32
"""As in numpy before version 2."""

MAGIC = b"\x93NUMPY"

HEADER = re.compile(
    rb"\{'descr': '([<|](?:f[248]|[iu][1248]|b1))', 'fortran_order': (False|True), 'shape': \(((?:\d{1,18},? "
    rb"?)*)\), ?\}[ ]*\n?"
)

NPZ_ERRORS = (OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile)
"""What `zipfile` raises for archives that are damaged."""

Arrays = dict[str, npt.NDArray[Any]]


def read_npz(path: Path, what: str, max_bytes: int) -> Arrays:
    """Returns the arrays of a file by name; they are read-only.

    Args:
        path: the file.
        what: what it should be, for the message, such as `a checkpoint`.
        max_bytes: most bytes that it may have.

    Raises:
        FileFormatError: it cannot be read, is larger, or is no such file.
    """
    try:
        with open_regular(path) as stream:
            size = stream.seek(0, io.SEEK_END)
            if size > max_bytes:
                raise ValueError(f"it has {size:,} bytes, and no more than {max_bytes:,} are read")
            return parse_npz(stream)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not {what} that can be read ({reason(error)}).") from error


def parse_npz(stream: BinaryIO) -> Arrays:
    """Returns the arrays in a stream by name; they are read-only.

    Raises:
        ValueError: it is no archive of arrays of numbers, a member is compressed, or it does not hold what its header
            says.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"it has {len(members):,} members")
            arrays = {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except NPZ_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if len(arrays) < len(members):
        raise ValueError("it holds two arrays of one name")
    return arrays


def pack_npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Returns arrays as a file that `read_npz` reads; the same arrays give the same bytes."""
    stream = io.BytesIO()
    np.savez(stream, **dict(arrays))  # type: ignore[arg-type]
    return stream.getvalue()


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    name = member.filename[:100]
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    content = archive.read(member)
    # Version 1.0 has two bytes for the length of the header, the later ones four.
    wide = 4 if content[6:7] in (b"\x02", b"\x03") else 2
    begin = 8 + wide
    length = int.from_bytes(content[8:begin], "little")
    if not content.startswith(MAGIC) or content[6:7] not in (b"\x01", b"\x02", b"\x03") or length > MAX_HEADER_BYTES:
        raise ValueError(f"{name} is no array")
    header = HEADER.fullmatch(content, begin, begin + length)
    if header is None:
        raise ValueError(f"{name} has a header that numpy does not write")
    dtype, shape = np.dtype(header[1].decode()), tuple(map(int, re.findall(rb"\d+", header[3])))
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{name} has {len(shape)} dimensions")
    count, given_bytes = math.prod(shape), len(content) - begin - length
    if count * dtype.itemsize != given_bytes:
        raise ValueError(f"{name} has {given_bytes:,} bytes of numbers, and its header says {count * dtype.itemsize:,}")
    values = np.frombuffer(content, dtype, count, begin + length) if count else np.empty(0, dtype)
    return values.reshape(shape, order="F" if header[2] == b"True" else "C")
