"""The files of a model folder: compared with their hashes, opened without pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomask.errors import ModelError
from gliomask.models.content import INT8_GRAPH, MAX_BYTES, SPEC_NAME, read_limited, sha256

Arrays = dict[str, npt.NDArray[np.float32]]

__all__ = ["INT8_GRAPH", "MAX_BYTES", "SPEC_NAME", "Arrays", "pack_arrays", "read_limited", "read_verified", "sha256", "unpack_arrays"]


def read_verified(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """Returns the bytes of each file named in `hashes`.

    Raises:
        ModelError: a file cannot be read, or its SHA-256 differs.
    """
    contents = {}
    for name, expected in hashes.items():
        contents[name] = read_limited(folder / name)
        found = sha256(contents[name])
        if found != expected:
            raise ModelError(f"{folder / name}: altered or damaged: its SHA-256 is {found}, {SPEC_NAME} says {expected}. Copy or export the model again.")
    return contents


def pack_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Returns arrays as an uncompressed `.npz`; the same arrays give the same bytes."""
    stream = io.BytesIO()
    np.savez(stream, **dict(arrays))  # type: ignore[arg-type]
    return stream.getvalue()


def unpack_arrays(content: bytes, origin: str) -> Arrays:
    """Returns the float32 arrays of an `.npz`, by name.

    No array is allocated before the bytes that it claims have been seen: an array's header can claim any shape.

    Args:
        content: the file's bytes.
        origin: the file's name, for messages.

    Raises:
        ModelError: it is not such a file, is compressed, or holds anything else than float32 arrays of finite numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in archive.infolist()}
    except (ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError, SyntaxError, zipfile.BadZipFile) as error:
        raise ModelError(f"{origin}: not a file of arrays that can be used ({error}). Export the model again.") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[np.float32]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    stream = io.BytesIO(archive.read(member))
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    data = stream.read()
    if dtype != np.dtype("<f4") or fortran or len(data) != 4 * int(np.prod(np.array(shape, object))):
        raise ValueError(f"{member.filename} is not a float32 array of {shape} in C order")
    array = np.frombuffer(data, np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{member.filename} holds numbers that are not finite")
    return array
