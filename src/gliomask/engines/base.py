"""What an inference engine is: something that turns normalised batches into probabilities, whichever software does the
sums.

Engines know nothing of files, cases or golden pairs: `models.registry` gives them a source and proves what they answer.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from gliomask.arrays import short_repr
from gliomask.engines.layout import TensorLayout
from gliomask.errors import GliomaskError, LimitError, ModelError, UsageError

Batch = npt.NDArray[np.float32]
"""Slices, (N, H, W, C), or volumes, (N, I, J, K, C); what comes back has one probability per label in place of C."""

InputKind = Literal["slices", "volumes"]

SPATIAL_AXES: dict[InputKind, int] = {"slices": 2, "volumes": 3}
"""Number of axes between the batch axis and the channels."""

AGREEMENT_TOLERANCE = 1e-4
"""Largest difference between two engines' probabilities for one pixel. All compute in float32, each in its own order of
summation; measured on trained networks of the paper they differ by less than 1e-6, while weights rounded to half
precision change it by more than 1e-3 (docs/decisions/0002-model-file.md)."""


@dataclass(frozen=True, eq=False)
class EngineSource:
    """Everything that any engine may need to run one network.

    Args:
        graph: the network as ONNX, weights included: one float32 input and one output.
        network: the network's name, for messages.
        weights: each variable of the network by its path, for engines that rebuild it.
        input_kind: whether one item of a batch is a slice or a volume.
        channels: number of input channels.
        size_multiple: height and width (and depth) of the input must be multiples of this.
        build: returns the Keras model without its weights; None where the network is not one of gliomask's own.
        layout: how the graph's input and output are laid out.
    """

    graph: bytes
    network: str
    weights: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    input_kind: InputKind = "slices"
    channels: int = 4
    size_multiple: int = 2
    build: Callable[[], Any] | None = None
    layout: TensorLayout = field(default_factory=TensorLayout)

    __repr__ = short_repr

    def checked(self, batch: Batch) -> Batch:
        """Returns the batch, contiguous, if the network can take it.

        Nothing is padded here: that is the caller's to choose.

        Raises:
            UsageError: it is not float32, has the wrong number of axes or channels, is empty, or its size is not one
                that the network takes.
        """
        axes = SPATIAL_AXES[self.input_kind]
        expected = (
            f"Network '{self.network}' takes float32 {self.input_kind} of shape (N, "
            f"{', '.join('HW' if axes == 2 else 'IJK')}, {self.channels})"
        )
        if batch.dtype != np.float32 or batch.ndim != axes + 2 or batch.shape[-1] != self.channels or not batch.size:
            raise UsageError(f"{expected}; found {batch.dtype} of shape {batch.shape}.")
        if any(size % self.size_multiple for size in batch.shape[1:-1]):
            raise UsageError(
                f"{expected} with sizes that are multiples of {self.size_multiple}; found {batch.shape}. Pad it first."
            )
        if self.layout.size not in (None, batch.shape[1:-1]):
            raise UsageError(
                f"{expected} of the size {self.layout.size} alone; found {batch.shape}. Cut it into patches first."
            )
        return np.ascontiguousarray(batch)


class Engine(ABC):
    """A network ready to run, safe to share between threads; `close` frees its memory and threads.

    An engine's module fills in `_infer` and `_free`. What every engine owes its callers stands here, so that no engine
    can forget it: what may go in, the shape and the numbers that come out, and which errors are raised.

    Args:
        source: the network.
        threads: CPU threads that it computes with.
        requests: most batches that it computes at the same time; each takes memory of its own. Callers beyond these
            wait.
    """

    name: ClassVar[str]

    def __init__(self, source: EngineSource, threads: int = 1, requests: int = 1) -> None:
        self.source = source
        self.threads = threads
        self.requests = requests
        self._closed = False
        self._slots = threading.BoundedSemaphore(requests)

    @property
    def in_flight(self) -> int:
        """Most tiles to have in flight: one more than it computes, so that the next is cut meanwhile; not where one
        thread was asked for.
        """
        return self.requests if self.threads == 1 else self.requests + 1

    def predict(self, batch: Batch) -> Batch:
        """Returns the probabilities of a batch as a fresh array: (N, H, W, 4) of slices, (N, I, J, K, 4) of volumes.

        The same batch gives the same bits each time, whatever other threads ask for meanwhile. A batch of another size
        may follow at once, also after one that failed.

        Raises:
            UsageError: the network cannot take the batch, see `EngineSource.checked`, or the engine has been closed.
            ModelError: the engine fails on it, or answers with another shape than the batch calls for or with what are
                no numbers.
            LimitError: memory is short.
        """
        self.refuse_closed()
        answer = self.source.layout.run(self.source.checked(batch), self._guarded)
        if not np.isfinite(answer).all():
            raise ModelError(
                f"The network '{self.source.network}' answers with numbers that are not finite on input {batch.shape}."
            )
        return answer

    def close(self) -> None:
        """Frees what the engine holds.

        Closing twice does nothing. What other threads are computing ends as usual; those that wait are refused.
        """
        self._closed = True
        self._free()

    def refuse_closed(self) -> None:
        """Refuses to go on once the engine has been closed.

        Raises:
            UsageError: it has.
        """
        if self._closed:
            raise UsageError(f"This {self.name} engine has been closed. Open another.")

    def _guarded(self, given: Batch) -> Batch:
        try:
            with self._slots:
                self.refuse_closed()
                answer = self._infer(given)
        except GliomaskError:
            raise
        except Exception as error:  # native libraries' exceptions share no base class
            raise failure(
                error, f"{self.name} failed on the network '{self.source.network}' with input {given.shape}"
            ) from error
        if answer.dtype != np.float32:
            raise ModelError(
                f"The network '{self.source.network}' answers with {answer.dtype}, not float32. Export it in float32."
            )
        return answer

    @abstractmethod
    def _infer(self, given: Batch) -> Batch:
        """Runs the graph on what it takes, laid out as it wants it, and returns its first output as an array that
        nobody else holds.

        Called by at most `requests` threads at a time.
        """

    @abstractmethod
    def _free(self) -> None:
        """Drops what the engine holds; may be called more than once, and while `_infer` runs in another thread."""


OUT_OF_MEMORY = (
    "failed to allocate",
    "bad_alloc",
    "bad allocation",
    "cannot allocate memory",
    "out of memory",
    "oom when allocating",
    "unable to allocate",
)
"""What native libraries say where memory is short: OpenVINO 2026.4, ONNX Runtime 1.32, TensorFlow 2.21 and numpy 2 with
`ulimit -v`.
"""


def failure(error: BaseException, what: str) -> GliomaskError:
    """Returns what to raise for an exception of a native library.

    Args:
        error: the library's exception.
        what: what failed, as the beginning of a sentence.

    Returns:
        A `LimitError` where memory was short, else a `ModelError`.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in said.lower() for words in OUT_OF_MEMORY):
        return LimitError(
            f"{what}: memory is short ({said}). Give fewer threads or smaller patches (--patches), or run on a "
            "machine with more memory."
        )
    return ModelError(f"{what}: {said}")
