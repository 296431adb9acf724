"""The files of a model folder: read up to a limit, compared with their hashes, opened without pickle."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomask.errors import ModelError

SPEC_NAME = "model.json"
MAX_BYTES = {SPEC_NAME: 1 << 20, "model.onnx": 1 << 28, "weights.npz": 1 << 28, "golden.npz": 1 << 24}
"""Largest file that is read: room for networks of 60 million parameters; the paper's have 0.2."""

Arrays = dict[str, npt.NDArray[np.float32]]


def read_limited(path: Path) -> bytes:
    """Returns a model file's bytes.

    Raises:
        ModelError: there is no such regular file, it cannot be read, or it is larger than `MAX_BYTES` allows.
    """
    limit = MAX_BYTES[path.name]
    if not path.is_file():
        raise ModelError(f"{path}: missing, or not a regular file. A model folder holds {', '.join(MAX_BYTES)}.")
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if len(content) > limit:
        raise ModelError(f"{path}: larger than the {limit:,} bytes that such a file may have.")
    return content


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


def sha256(content: bytes) -> str:
    """Returns the SHA-256 of some bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


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
