"""Which engines there are, without importing one until it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from gliomask.engines.base import Engine, EngineSource
from gliomask.errors import EngineUnavailableError, UsageError


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine lives, what must be installed for it, and what it is good for."""

    opener: str
    package: str
    install: str
    description: str


ENGINES: dict[str, EngineEntry] = {
    "openvino": EngineEntry(
        "gliomask.engines.openvino:OpenVinoEngine", "openvino", "openvino", "the default, fastest on x86 processors"
    ),
    "onnxruntime": EngineEntry(
        "gliomask.engines.onnxruntime:OnnxRuntimeEngine", "onnxruntime", "gliomask[onnx]", "the portable second"
    ),
    "keras": EngineEntry(
        "gliomask.engines.keras:KerasEngine",
        "keras",
        "gliomask[train]",
        "what the network was trained with, for comparison",
    ),
}
"""Every engine by name."""

DEFAULT_ENGINE = "openvino"

RUN_GRAPHS = ("openvino", "onnxruntime")
"""Those that run a model's ONNX graph; Keras builds gliomask's own networks, and nothing of the graph."""


def open_engine(name: str, source: EngineSource, threads: int | None = None, requests: int = 1) -> Engine:
    """Returns an engine ready to run the network of `source`.

    Args:
        name: one of `ENGINES`.
        source: the network.
        threads: most CPU threads; None for all that this process may use.
        requests: most batches computed at the same time, see `base.Engine`.

    Raises:
        UsageError: there is no such engine, or `threads` or `requests` is not positive.
        EngineUnavailableError: its software is not installed.
        ModelError: it cannot run the network.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no engine '{name}'. Known ones: {', '.join(ENGINES)}.")
    if threads is not None and threads < 1:
        raise UsageError(f"An engine needs at least one thread; {threads} were asked for.")
    if requests < 1:
        raise UsageError(f"An engine computes at least one batch at a time; {requests} were asked for.")
    entry = ENGINES[name]
    module, kind = entry.opener.split(":")
    try:
        opener = getattr(import_module(module), kind)
    except ImportError as error:
        raise EngineUnavailableError(
            f"The engine '{name}' needs {entry.package}, which cannot be imported ({error}). Run: pip install "
            f"'{entry.install}'"
        ) from error
    engine: Engine = opener(source, threads, requests)
    return engine
