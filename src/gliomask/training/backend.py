"""Choosing and setting up the software that Keras runs on. Must be called before Keras is first imported."""

from __future__ import annotations

import os
import sys

from gliomask.errors import EngineUnavailableError, UsageError
from gliomask.processors import usable_processors
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


def use_devices(count: int, batch_size: int) -> None:
    """Spreads every batch of the trainings to come over several devices of this machine: data parallelism as Keras does
    it, on JAX.

    Each device has a copy of the network; what they learn of their shares of a batch is averaged at every step. So the
    results are those of one device but for rounding.

    Args:
        count: of devices; 1 changes nothing.
        batch_size: patches in a batch, which the devices share equally.

    Raises:
        UsageError: Keras runs on something else, there are fewer devices, a batch cannot be shared, or the devices are
            parts of one processor that has too few threads for them: they would wait for each other for ever.
    """
    import keras

    if count == 1:
        return
    if keras.backend.backend() != "jax":
        raise UsageError("Several devices train together on JAX alone. Give --backend jax, or leave --devices out.")
    devices = keras.distribution.list_devices()
    if count > len(devices):
        raise UsageError(f"{count} devices were asked for; JAX finds {len(devices)}: {', '.join(devices)}.")
    if batch_size % count:
        raise UsageError(f"A batch of {batch_size} patches cannot be shared by {count} devices. Change batch_size.")
    if devices[0].startswith("cpu") and usable_processors() < count:
        raise UsageError(f"{count} devices on the processor need as many threads; there are {usable_processors()}.")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[:count]))


def devices_in_use() -> int:
    """Returns over how many devices batches are spread."""
    import keras

    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.device_mesh.devices.size)


def accelerator() -> str:
    """Returns what the backend computes on, for the run record: `cpu`, or the first accelerator's name."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return str(jax.devices()[0])
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return str(devices[0].name) if devices else "cpu"
