"""Reading linear transforms that ITK, ANTs, SimpleITK and 3D Slicer write: `.tfm` and `.txt` (text), `.mat` (MATLAB,
version 4, as ANTs writes `0GenericAffine.mat`).

ITK's transform of a registration takes points of the fixed image (the target) to points of the moving image, in LPS
millimetres: the direction in which the moving image is resampled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from gliomask.arrays import Affine, short_repr
from gliomask.errors import FileFormatError
from gliomask.files.regular import read_regular, reason
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.transforms import inverse

MAX_BYTES = 1 << 16
"""A linear transform takes some hundred bytes; fields of displacements take megabytes."""

MOST_PARTS = 16
"""Transforms in one file."""

ENDINGS = (".tfm", ".txt", ".mat")

_NAME = re.compile(r"^(\w+?)_(?:double|float)_3_3$")


@dataclass(frozen=True, eq=False)
class TransformFile:
    """What a file holds.

    Args:
        matrix: (4, 4), the target's world to the moving image's, RAS millimetres.
        sha256: of the bytes that were read.
    """

    matrix: Affine
    sha256: str

    __repr__ = short_repr


def read_transform(path: Path) -> TransformFile:
    """Reads a linear transform.

    Raises:
        FileFormatError: it cannot be read, is no transform of ITK, or none that is linear, in three dimensions and has
            a way back.
        EngineUnavailableError: SimpleITK is not installed (extra `raw`).
    """
    if path.suffix.lower() not in ENDINGS:
        raise FileFormatError(
            f"{path}: transforms of ITK end in {', '.join(ENDINGS)}. Write one there; for FSL and FreeSurfer see "
            "docs/raw.md."
        )
    try:
        content = read_regular(path, MAX_BYTES)
        parts = _from_matlab(content) if path.suffix.lower() == ".mat" else _from_text(content.decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path}: cannot be read as a linear transform of ITK ({reason(error)}). Give the file that the "
            "registration wrote; a field of displacements is none."
        ) from error
    matrix = np.eye(4)
    try:
        # Of several, ITK applies the last to a point first.
        for name, parameters, fixed in parts:
            matrix = matrix @ itk.linear(name, parameters, fixed)
        if not np.isfinite(inverse(matrix)).all():
            raise ValueError("it has no way back")
    except (ValueError, np.linalg.LinAlgError) as error:
        raise FileFormatError(f"{path}: is no linear transform that can be used ({error}).") from error
    return TransformFile(matrix, sha256(content).hexdigest())


Part = tuple[str, list[float], list[float]]
"""Name of the kind without its numbers' kind and dimensions, parameters, fixed parameters."""


def _from_text(text: str) -> list[Part]:
    if not text.startswith("#Insight Transform File"):
        raise ValueError("it does not begin with '#Insight Transform File'")
    parts: list[Part] = []
    for block in re.split(r"^Transform:", text, flags=re.MULTILINE)[1:]:
        name = _kind(block.split("\n", 1)[0].strip())
        # A composite announces the transforms that follow it.
        if name != "CompositeTransform":
            parts.append((name, _numbers("Parameters", block), _numbers("FixedParameters", block)))
    return _some(parts)


def _numbers(key: str, block: str) -> list[float]:
    match = re.search(rf"^{key}:(.*)$", block, re.MULTILINE)
    return [float(word) for word in match.group(1).split()] if match else []


def _from_matlab(content: bytes) -> list[Part]:
    # Imported here: nobody else needs it.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if content.startswith(b"MATLAB"):
        raise ValueError("it is of a later version than 4, in which ITK writes no transforms")
    try:
        variables: dict[str, Any] = loadmat(BytesIO(content))  # type: ignore[arg-type]
    except (MatReadError, TypeError, NotImplementedError, MemoryError, LookupError) as error:
        raise ValueError(f"no MATLAB file: {error}") from error
    arrays = {name: values for name, values in variables.items() if isinstance(values, np.ndarray)}
    fixed = arrays.pop("fixed", np.zeros(0))
    if any(values.dtype.kind not in "fiu" for values in (fixed, *arrays.values())):
        raise ValueError("it holds something else than numbers")
    return _some([(_kind(name), values.ravel().tolist(), fixed.ravel().tolist()) for name, values in arrays.items()])


def _kind(name: str) -> str:
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"a transform '{name[:60]}' is not known, or is not of three dimensions")
    return match.group(1)


def _some(parts: list[Part]) -> list[Part]:
    if not 1 <= len(parts) <= MOST_PARTS:
        raise ValueError(f"it holds {len(parts)} transforms; 1 to {MOST_PARTS} are read")
    return parts
