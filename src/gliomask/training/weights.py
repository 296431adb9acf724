"""A network's weights on disk: plain arrays by the names of its variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from gliomask.errors import UsageError
from gliomask.files.atomic import write_bytes
from gliomask.files.npz import pack_npz, read_npz
from gliomask.models.content import MAX_BYTES

WEIGHTS_NAME = "weights.npz"
"""Of the file of weights, in run folders and model folders alike."""


def save_weights(path: Path, model: keras.Model) -> None:
    """Writes a model's weights as an `.npz` of plain arrays, named after its variables."""
    write_bytes(path, pack_npz({variable.path: np.asarray(variable) for variable in model.variables}))


def load_weights(path: Path, model: keras.Model, *, widen: bool = False) -> None:
    """Fills a model with weights that `save_weights` wrote.

    Args:
        path: the file.
        model: the network to fill.
        widen: also take weights of a network that lacks input channels which some of this one's convolutions have
            first, such as SparseMultiOCM's for InputSparseMultiOCM: the new channels get zeros, so that the wider
            network computes what the narrower did (function-preserving widening; Chen, Goodfellow and Shlens, Net2Net,
            ICLR 2016).

    Raises:
        FileFormatError: the file cannot be read.
        UsageError: the file lacks a variable of the model, or one has another shape.
    """
    arrays = read_npz(path, "a file of weights", MAX_BYTES[WEIGHTS_NAME])
    for variable in model.variables:
        shape = tuple(variable.shape)
        array = arrays.get(variable.path)
        if widen and array is not None:
            array = _with_new_channels_first(array, shape)
        if array is None or array.shape != shape:
            raise UsageError(
                f"{path}: no weights of shape {shape} for {variable.path}. The file belongs to another network."
            )
        variable.assign(array)


def _with_new_channels_first(kernel: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Returns a kernel, (..., input channels, filters), with zeros for input channels that it lacks."""
    same_but_inputs = (
        kernel.ndim == len(shape) > 1 and kernel.shape[:-2] == shape[:-2] and kernel.shape[-1] == shape[-1]
    )
    if not same_but_inputs or kernel.shape[-2] >= shape[-2]:
        return kernel
    width = [(0, 0)] * kernel.ndim
    width[-2] = (shape[-2] - kernel.shape[-2], 0)
    return np.pad(kernel, width)
