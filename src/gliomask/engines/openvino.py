"""OpenVINO on the CPU, in float32: the default engine.

Importing `openvino` reports the import to its makers and leaves an identifier in the user's home (openvino/tools/ovc/__init__.py of 2026.4, through the
package openvino_telemetry). gliomask works offline and says nothing to anyone, so that package is hidden during the import; OpenVINO has
a stub for its absence.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gliomask.engines.base import Batch, EngineSource, running, thread_count
from gliomask.errors import ModelError


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


class OpenVinoEngine:
    """Runs the ONNX graph through OpenVINO's CPU plugin; see `base.Engine`.

    The graph is compiled once with its sizes left open, so a batch of another size needs no compilation. Nothing is cached on disk.

    Raises:
        ModelError: OpenVINO cannot read or compile the graph.
    """

    name = "openvino"

    def __init__(self, source: EngineSource, threads: int | None = None) -> None:
        self._source = source
        core = ov.Core()
        try:
            compiled = core.compile_model(core.read_model(source.graph), "CPU", _settings(threads))
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run the network '{source.network}': {error}") from error
        self._request: Any = compiled.create_infer_request()

    def predict(self, batch: Batch) -> Batch:
        """Returns the probabilities of a batch; see `base.Engine.predict`."""
        request = running(self._request, self.name)
        return self._source.ends.through(self._source.checked(batch), lambda given: self._infer(request, given))

    def _infer(self, request: Any, given: Batch) -> Batch:
        try:
            answer: Batch = request.infer([given], share_inputs=True, share_outputs=False)[0]
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed on the network '{self._source.network}' with input {given.shape}: {error}") from error
        return answer

    def close(self) -> None:
        """Frees the compiled network."""
        self._request = None


def _settings(threads: int | None) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        # Without these two OpenVINO computes in bfloat16 where the processor can, which changes labels at borders.
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "INFERENCE_NUM_THREADS": thread_count(threads),
        # Pinned, two processes on one machine would both take its first cores and leave the others idle.
        "ENABLE_CPU_PINNING": False,
    }
