"""Names for the kinds of array that cross function borders, and how values that hold arrays are shown; the axis order
is in each name's description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.float32]
"""One sequence: (I, J, K)."""

LabelMap = npt.NDArray[np.uint8]
"""One `labels.Label` per voxel: (I, J, K)."""

Mask = npt.NDArray[np.bool_]
"""True inside: (I, J, K) unless said otherwise."""

Channels = npt.NDArray[np.float32]
"""Normalised sequences, channels last: (I, J, K, C)."""

Probabilities = npt.NDArray[np.float32]
"""One probability per `labels.Label`, channels last: (..., 4); each voxel's four sum to one."""

Affine = npt.NDArray[np.float64]
"""Voxel index to RAS millimetres: (4, 4)."""

SHOWN_ITEMS = 8
"""Most items of a collection that `short_repr` shows."""


def short_repr(value: Any) -> str:
    """Returns the repr of a dataclass that holds arrays: their kind and shape in place of their numbers.

    Assign it in the class: `__repr__ = short_repr`.
    """
    shown = (f"{field.name}={_brief(getattr(value, field.name))}" for field in fields(value) if field.repr)
    return f"{type(value).__qualname__}({', '.join(shown)})"


def _brief(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} array {value.shape}>"
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, Mapping):
        parts = [f"{key!r}: {_brief(part)}" for key, part in islice(value.items(), SHOWN_ITEMS)]
        return f"{{{', '.join(parts)}{_and_more(len(value))}}}"
    if isinstance(value, tuple | list):
        parts = [_brief(part) for part in value[:SHOWN_ITEMS]]
        return f"({', '.join(parts)}{_and_more(len(value))})"
    return repr(value)


def _and_more(count: int) -> str:
    return f", and {count - SHOWN_ITEMS} more" if count > SHOWN_ITEMS else ""
