"""Plain arrays in one `.npz` file: written whole or not at all, read without pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.errors import FileFormatError
from gliomask.io.nifti import write_bytes


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes the arrays under their names; raises what `write_bytes` raises."""
    stream = io.BytesIO()
    np.savez(stream, **dict(arrays))  # type: ignore[arg-type]
    write_bytes(path, stream.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads all arrays by name.

    Raises:
        FileFormatError: the file is absent, truncated, changed, holds Python objects, or is something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return dict(file)
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path}: not a file of arrays that can be read ({error}). Copy it again from its source, or train anew.") from error
