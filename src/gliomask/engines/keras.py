"""The network as it was trained, in Keras: slower than the other engines, and what they are compared with."""

from __future__ import annotations

import os
import sys
from typing import Any

# Keras reads its backend from the environment, once, when it is first imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from gliomask.engines.base import Batch, Engine, EngineSource, failure
from gliomask.errors import ModelError, UsageError
from gliomask.processors import thread_count


class KerasEngine(Engine):
    """Builds the network and fills in its weights; see `base.Engine`.

    Threads belong to the whole process here: a number can be given only before the backend has computed anything.

    Raises:
        ModelError: the network is not one of gliomask's own, or the weights are another network's.
        UsageError: `threads` differs from what the backend already runs with.
    """

    name = "keras"

    def __init__(self, source: EngineSource, threads: int | None = None, requests: int = 1) -> None:
        # One at a time whatever was asked for: Keras keeps global state while a model is called, and nothing says that
        # two threads may.
        super().__init__(source, thread_count(threads), min(requests, 1))
        if source.build is None:
            raise ModelError(
                f"Keras cannot run the network '{source.network}': gliomask has no builder for it. Use "
                "--engine openvino."
            )
        if threads is not None:
            _limit_threads(threads)
        try:
            model = source.build()
            _fill(model, source)
        except ModelError:
            raise
        except Exception as error:  # the backends' exceptions share no base class
            raise failure(error, f"Keras cannot run the network '{source.network}'") from error
        self._model: Any = model

    def _infer(self, given: Batch) -> Batch:
        model = self._model
        self.refuse_closed()
        # Called directly: `model.predict` would trace anew for each size.
        return np.array(keras.ops.convert_to_numpy(model(given, training=False)))

    def _free(self) -> None:
        """Frees the model; the backend's own threads stay until the process ends."""
        self._model = None


def _fill(model: Any, source: EngineSource) -> None:
    expected = {variable.path: tuple(variable.shape) for variable in model.variables}
    shapes = {path: array.shape for path, array in source.weights.items()}
    if expected != shapes:
        wrong = sorted(path for path in expected.keys() | shapes.keys() if expected.get(path) != shapes.get(path))
        raise ModelError(
            f"The weights do not fit the network '{source.network}': missing, unknown or of another shape are "
            f"{', '.join(wrong[:5])}."
        )
    for variable in model.variables:
        variable.assign(source.weights[variable.path])


def _limit_threads(threads: int) -> None:
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"With Keras on {keras.backend.backend()} the number of threads cannot be set. Leave --threads out, or "
            "set KERAS_BACKEND=tensorflow."
        )
    settings = sys.modules["tensorflow"].config.threading
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        if settings.get_intra_op_parallelism_threads() != threads:
            raise UsageError(
                f"TensorFlow already runs in this process, and its threads cannot be set to {threads} any more."
            ) from error
