"""The files of a model folder: compared with their hashes, opened without pickle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.errors import ModelError
from gliomask.files.npz import pack_npz, parse_npz
from gliomask.models.content import INT8_GRAPH, MAX_BYTES, SPEC_NAME, read_limited, sha256

Arrays = dict[str, npt.NDArray[np.float32]]

__all__ = [
    "INT8_GRAPH",
    "MAX_BYTES",
    "SPEC_NAME",
    "Arrays",
    "pack_arrays",
    "read_limited",
    "read_verified",
    "sha256",
    "unpack_arrays",
]


def read_verified(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    """Returns the bytes of each file named in `hashes`.

    Raises:
        ModelError: a file cannot be read, or its SHA-256 differs.
    """
    contents = {}
    for name, expected in hashes.items():
        contents[name] = read_limited(folder / name)
        digest = sha256(contents[name])
        if digest != expected:
            raise ModelError(
                f"{folder / name}: altered or damaged: its SHA-256 is {digest}, {SPEC_NAME} says {expected}. Copy or "
                "export the model again."
            )
    return contents


def pack_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Returns arrays as an uncompressed `.npz`; the same arrays give the same bytes."""
    return pack_npz(arrays)


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
        return {name: _of_floats(name, array) for name, array in parse_npz(io.BytesIO(content)).items()}
    except ValueError as error:
        raise ModelError(
            f"{origin}: not a file of arrays that can be used ({error}). Export the model again."
        ) from error


def _of_floats(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if array.dtype != np.dtype("<f4") or not array.flags.c_contiguous:
        raise ValueError(f"{name} is not a float32 array of {array.shape} in C order")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return array
