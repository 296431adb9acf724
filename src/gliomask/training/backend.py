"""Choosing and setting up the software that Keras runs on. Must be called before Keras is first imported."""

from __future__ import annotations

import os
import sys

from gliomask.errors import EngineUnavailableError, UsageError
from gliomask.training.quiet import without_startup_lines

BACKENDS = ("tensorflow", "jax")


def use_backend(name: str, threads: int | None) -> None:
    """Makes Keras run on `name` with at most `threads` CPU threads.

    Raises:
        UsageError: unknown backend, or Keras already runs on another.
        EngineUnavailableError: the packages are not installed.
    """
    if name not in BACKENDS:
        raise UsageError(f"There is no training backend '{name}'. Known ones: {', '.join(BACKENDS)}.")
    running = sys.modules.get("keras")
    if running is not None and running.backend.backend() != name:
        raise UsageError(
            f"Keras already runs on {running.backend.backend()} in this process; {name} needs a fresh one."
        )
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with without_startup_lines():
            if name == "tensorflow":
                _limit_tensorflow(threads)
            else:
                _limit_jax(threads)
            import keras  # noqa: F401 - fails here, with a clear message, if it is missing
    except ImportError as error:
        extra = "train" if name == "tensorflow" else "train,jax"
        raise EngineUnavailableError(
            f"Training on {name} needs packages that are not installed ({error}). Run: pip install 'gliomask[{extra}]'"
        ) from error


def _limit_tensorflow(threads: int | None) -> None:
    import tensorflow as tf

    if threads is not None:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise UsageError(
                f"TensorFlow already runs in this process and its threads cannot be set to {threads} any more."
            ) from error
    # The devices say what they are when they are first set up: here, where what they say is held back.
    tf.config.list_logical_devices()


def _limit_jax(threads: int | None) -> None:
    if threads is not None:
        if sys.platform != "linux":
            raise UsageError(f"The number of threads cannot be set for JAX on {sys.platform}. Leave threads out.")
        # XLA's CPU client sizes its thread pool by the processors that the process may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import jax  # noqa: F401


def accelerator() -> str:
    """Returns what the backend computes on, for the run record: `cpu`, or the first accelerator's name."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return str(jax.devices()[0])
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return str(devices[0].name) if devices else "cpu"
