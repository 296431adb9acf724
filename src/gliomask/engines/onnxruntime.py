"""ONNX Runtime on the CPU: the portable second engine.

Since 1.29 its Linux and macOS builds report every use to their makers, and keep an identifier and a data base in the user's home (pull request 27379 of
microsoft/onnxruntime). gliomask works offline and says nothing to anyone: the switch must be set before the import.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

from gliomask.engines.base import Batch, EngineSource, running, thread_count
from gliomask.errors import ModelError

ERRORS_ONLY = 3
"""ONNX Runtime's log severity: 0 verbose, 1 information, 2 warnings, 3 errors."""


class OnnxRuntimeEngine:
    """Runs the ONNX graph through ONNX Runtime's CPU provider; see `base.Engine`.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
    """

    name = "onnxruntime"

    def __init__(self, source: EngineSource, threads: int | None = None) -> None:
        self._source = source
        ort.disable_telemetry_events()  # Windows has this switch only
        options = ort.SessionOptions()
        # A number that is given explicitly also keeps ONNX Runtime from binding its threads to processors.
        options.intra_op_num_threads = thread_count(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        options.use_deterministic_compute = True
        # Plans of memory are kept per input size; cases have many sizes.
        options.enable_mem_pattern = False
        try:
            session = ort.InferenceSession(source.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class
            raise ModelError(f"ONNX Runtime cannot run the network '{source.network}': {error}") from error
        self._session: Any = session
        self._input: str = session.get_inputs()[0].name

    def predict(self, batch: Batch) -> Batch:
        """Returns the probabilities of a batch; see `base.Engine.predict`."""
        session = running(self._session, self.name)
        return self._source.ends.through(self._source.checked(batch), lambda given: self._infer(session, given))

    def _infer(self, session: Any, given: Batch) -> Batch:
        try:
            answer: Batch = session.run(None, {self._input: given})[0]
        except Exception as error:
            raise ModelError(f"ONNX Runtime failed on the network '{self._source.network}' with input {given.shape}: {error}") from error
        return answer

    def close(self) -> None:
        """Frees the session and its threads."""
        self._session = None
