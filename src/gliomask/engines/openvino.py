"""OpenVINO on the CPU, in float32: the default engine.

Importing `openvino` reports the import to its makers and leaves an identifier in the user's home
(openvino/tools/ovc/__init__.py of 2026.4, through the package openvino_telemetry). gliomask works offline and says
nothing to anyone, so that package is hidden during the import; OpenVINO has a stub for its absence.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gliomask.engines.base import Batch, Engine, EngineSource, failure
from gliomask.processors import thread_count


@contextmanager
def _without_telemetry() -> Iterator[None]:
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


with _without_telemetry():
    import openvino as ov


class _Lane:
    """A compiled graph with its one request, for one batch at a time."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self._request = compiled.create_infer_request()

    def run(self, given: Batch) -> Batch:
        """Runs the graph once. Where that raises anything, an interruption included, the lane is spent."""
        try:
            self._request.set_input_tensor(ov.Tensor(given, shared_memory=True))
            # Never `infer`: on one thread it raises nothing where the graph fails, see
            # docs/decisions/0014-engine-errors.md.
            self._request.start_async()
            self._request.wait()
            return np.array(self._request.get_output_tensor(0).data)
        except BaseException:
            # Now, for the exception's traceback holds this lane.
            self.compiled = self._request = None
            raise


class OpenVinoEngine(Engine):
    """Runs the ONNX graph through OpenVINO's CPU plugin; see `base.Engine`.

    The graph is compiled once with its sizes left open, so a batch of another size needs no compilation. Nothing is
    cached on disk. After a failure it is compiled anew: a request that has failed, and even a new one of the same
    compiled graph, may answer with garbage. For the same reason batches that run at the same time have a compiled graph
    each.

    Raises:
        ModelError: OpenVINO cannot read or compile the graph.
        LimitError: memory is short.
    """

    name = "openvino"

    def __init__(self, source: EngineSource, threads: int | None = None, requests: int = 1) -> None:
        super().__init__(source, thread_count(threads), requests)
        self._settings = _settings(max(1, self.threads // requests))
        self._lock = threading.Lock()
        self._idle = [self._compiled()]

    def _infer(self, given: Batch) -> Batch:
        with self._lock:
            lane = self._idle.pop() if self._idle else None
        lane = lane or self._compiled()
        answer = lane.run(given)
        with self._lock:
            if not self._closed:
                self._idle.append(lane)
        return answer

    def _compiled(self) -> _Lane:
        try:
            core = ov.Core()
            return _Lane(core.compile_model(core.read_model(self.source.graph), "CPU", self._settings))
        except Exception as error:  # RuntimeError, MemoryError, and what its bindings make of others
            raise failure(error, f"OpenVINO cannot run the network '{self.source.network}'") from error

    def _free(self) -> None:
        with self._lock:
            self._idle.clear()


def _settings(threads: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        # Without these two OpenVINO computes in bfloat16 where the processor can, which changes labels at borders.
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "INFERENCE_NUM_THREADS": threads,
        # Pinned, two processes on one machine would both take its first cores and leave the others idle.
        "ENABLE_CPU_PINNING": False,
    }
