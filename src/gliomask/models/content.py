"""The bytes of a model folder's files, read up to a limit.

Imports nothing that takes time: `gliomask models list` is made of it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from gliomask.errors import ModelError

SPEC_NAME = "model.json"
INT8_GRAPH = "model.int8.onnx"
"""Name of the same network's graph with numbers of eight bits."""

MAX_BYTES = {
    SPEC_NAME: 1 << 20,
    "model.onnx": 1 << 30,
    INT8_GRAPH: 1 << 30,
    "weights.npz": 1 << 28,
    "golden.npz": 1 << 24,
}
"""Largest file that is read. A graph may hold 250 million parameters: nnU-Net's largest plain network has 31 million,
Swin UNETR 62, and the paper's 0.2."""


def read_limited(path: Path, limit: int | None = None) -> bytes:
    """Returns a model file's bytes.

    Args:
        path: the file.
        limit: most bytes that it may have; None for what `MAX_BYTES` says of its name.

    Raises:
        ModelError: there is no such regular file, it cannot be read, or it is larger than it may be.
    """
    limit = MAX_BYTES[path.name] if limit is None else limit
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


def sha256(content: bytes) -> str:
    """Returns the SHA-256 of some bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
