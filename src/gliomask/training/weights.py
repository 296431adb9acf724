"""A network's weights on disk: plain arrays by the names of its variables."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from gliomask.errors import UsageError
from gliomask.training.npz import read_arrays, write_arrays

WEIGHTS_NAME = "weights.npz"
"""Of the file of weights, in run folders and model folders alike."""


def save_weights(path: Path, model: keras.Model) -> None:
    """Writes a model's weights as an `.npz` of plain arrays, named after its variables."""
    write_arrays(path, {variable.path: np.asarray(variable) for variable in model.variables})


def load_weights(path: Path, model: keras.Model) -> None:
    """Fills a model with weights that `save_weights` wrote.

    Raises:
        FileFormatError: the file cannot be read.
        UsageError: the file lacks a variable of the model, or one has another shape.
    """
    arrays = read_arrays(path)
    for variable in model.variables:
        if variable.path not in arrays or arrays[variable.path].shape != tuple(variable.shape):
            raise UsageError(f"{path}: no weights of shape {tuple(variable.shape)} for {variable.path}. The file belongs to another network.")
        variable.assign(arrays[variable.path])
