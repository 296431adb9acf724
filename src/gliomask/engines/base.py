"""What an inference engine is: something that turns normalised batches into probabilities, whichever software does the sums.

Engines know nothing of files, cases or golden pairs: `models.registry` gives them a source and proves what they answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gliomask.engines.ends import GraphEnds
from gliomask.errors import UsageError

Batch = npt.NDArray[np.float32]
"""Slices, (N, H, W, C), or volumes, (N, I, J, K, C); what comes back has one probability per label in place of C."""

InputKind = Literal["slices", "volumes"]

SPATIAL_AXES: dict[InputKind, int] = {"slices": 2, "volumes": 3}
"""Number of axes between the batch axis and the channels."""

AGREEMENT_TOLERANCE = 1e-4
"""Largest difference between two engines' probabilities for one pixel. All compute in float32, each in its own order of summation;
measured on trained networks of the paper they differ by less than 1e-6, while weights rounded to half precision change it by more than 1e-3
(docs/decisions/0002-model-file.md)."""

T = TypeVar("T")


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
        ends: how the graph's input and output are laid out.
    """

    graph: bytes
    network: str
    weights: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    input_kind: InputKind = "slices"
    channels: int = 4
    size_multiple: int = 2
    build: Callable[[], Any] | None = None
    ends: GraphEnds = field(default_factory=GraphEnds)

    def checked(self, batch: Batch) -> Batch:
        """Returns the batch, contiguous, if the network can take it. Nothing is padded here: that is the caller's to choose.

        Raises:
            UsageError: it is not float32, has the wrong number of axes or channels, is empty, or its size is not one that the network takes.
        """
        axes = SPATIAL_AXES[self.input_kind]
        expected = f"Network '{self.network}' takes float32 {self.input_kind} of shape (N, {', '.join('HW' if axes == 2 else 'IJK')}, {self.channels})"
        if batch.dtype != np.float32 or batch.ndim != axes + 2 or batch.shape[-1] != self.channels or not batch.size:
            raise UsageError(f"{expected}; found {batch.dtype} of shape {batch.shape}.")
        if any(size % self.size_multiple for size in batch.shape[1:-1]):
            raise UsageError(f"{expected} with sizes that are multiples of {self.size_multiple}; found {batch.shape}. Pad it first.")
        if self.ends.size not in (None, batch.shape[1:-1]):
            raise UsageError(f"{expected} of the size {self.ends.size} alone; found {batch.shape}. Cut it into patches first.")
        return np.ascontiguousarray(batch)


class Engine(Protocol):
    """A network ready to run. Held by one caller at a time; `close` frees its memory and threads."""

    name: str

    def predict(self, batch: Batch) -> Batch:
        """Returns the probabilities of a batch as a fresh array: (N, H, W, 4) of slices, (N, I, J, K, 4) of volumes.

        The same batch gives the same bits each time. A batch of another size may follow at once.

        Raises:
            UsageError: the network cannot take the batch, see `EngineSource.checked`, or the engine has been closed.
            ModelError: the engine fails on it: the graph makes no sense, or memory is short.
        """

    def close(self) -> None:
        """Frees what the engine holds; closing twice does nothing."""


def running(handle: T | None, name: str) -> T:
    """Returns an engine's handle unless the engine has been closed.

    Raises:
        UsageError: it has.
    """
    if handle is None:
        raise UsageError(f"This {name} engine has been closed. Open another.")
    return handle


def thread_count(threads: int | None) -> int:
    """Returns `threads`, or the number of processors that this process may use (a cluster's scheduler often allows fewer than there are)."""
    if threads is not None:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
