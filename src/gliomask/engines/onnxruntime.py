"""ONNX Runtime on the CPU: the portable second engine.

Since 1.29 its Linux and macOS builds report every use to their makers, and keep an identifier and a data base in the
user's home (pull request 27379 of microsoft/onnxruntime). gliomask works offline and says nothing to anyone: the switch
must be set before the import.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

from gliomask.engines.base import Batch, Engine, EngineSource, failure
from gliomask.processors import thread_count

FATAL_ONLY = 4
"""ONNX Runtime's log severity: 0 verbose, 1 information, 2 warnings, 3 errors, 4 fatal. Its errors are raised as well,
and are told once.
"""


class OnnxRuntimeEngine(Engine):
    """Runs the ONNX graph through ONNX Runtime's CPU provider; see `base.Engine`.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
        LimitError: memory is short.
    """

    name = "onnxruntime"

    def __init__(self, source: EngineSource, threads: int | None = None, requests: int = 1) -> None:
        super().__init__(source, thread_count(threads), requests)
        ort.disable_telemetry_events()  # Windows has this switch only
        options = ort.SessionOptions()
        # A number that is given explicitly also keeps ONNX Runtime from binding its threads to processors.
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_ONLY
        options.use_deterministic_compute = True
        # Plans of memory are kept per input size; cases have many sizes.
        options.enable_mem_pattern = False
        try:
            session = ort.InferenceSession(source.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class
            raise failure(error, f"ONNX Runtime cannot run the network '{source.network}'") from error
        self._session: Any = session
        self._input: str = session.get_inputs()[0].name

    def _infer(self, given: Batch) -> Batch:
        # Several threads may run one session at once, which is documented of ONNX Runtime's OrtSession.
        session = self._session
        self.refuse_closed()
        answer: Batch = session.run(None, {self._input: given})[0]
        return answer

    def _free(self) -> None:
        self._session = None
