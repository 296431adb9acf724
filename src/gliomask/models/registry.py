"""Opening models so that they can be trusted: every file is checked, and an engine must reproduce the golden pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gliomask.arrays import short_repr
from gliomask.engines.base import Engine, EngineSource
from gliomask.engines.choose import DEFAULT_ENGINE, RUN_GRAPHS, open_engine
from gliomask.engines.precision import Precision
from gliomask.errors import ModelError, UsageError
from gliomask.models.available import DEFAULT_MODEL, SHIPPED, SHIPPED_FOLDER, find_model
from gliomask.models.available import shipped_names as shipped_models
from gliomask.models.files import INT8_GRAPH, SPEC_NAME, Arrays, read_limited, read_verified, sha256, unpack_arrays
from gliomask.models.golden import as_given, check_golden, prove, prove_int8
from gliomask.models.graph import look_into, look_into_int8
from gliomask.models.trial import try_out
from gliomask.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from gliomask.models.spec import ModelSpec

__all__ = ["DEFAULT_MODEL", "SHIPPED", "SHIPPED_FOLDER", "Model", "load_model", "shipped_models", "source_of"]


@dataclass(frozen=True, eq=False)
class Model:
    """A model whose files have been checked.

    Args:
        spec: what `model.json` says.
        source: what engines need.
        golden: the golden pair's arrays by name.
        sha256: hash of `model.json`, which holds the hashes of all other files.
        shipped: whether it came with gliomask. Another's graph runs in a process of its own first, see `trial`.
        int8: the int8 graph; None where there is none.
        precision: that of `source`, see `in_int8`.
    """

    spec: ModelSpec
    source: EngineSource
    golden: Arrays
    sha256: str
    shipped: bool = False
    int8: bytes | None = None
    precision: Precision = "fp32"

    __repr__ = short_repr

    def in_int8(self) -> Model:
        """Returns the model with its int8 graph in place of the float32 one; `open` then proves that.

        Raises:
            UsageError: it has none.
        """
        if self.int8 is None:
            raise UsageError(f"Model '{self.spec.name}' has no int8 graph. Give --precision fp32 or auto.")
        return replace(self, source=replace(self.source, graph=self.int8), precision="int8")

    def open(self, engine: str = DEFAULT_ENGINE, threads: int | None = None) -> Engine:
        """Returns an engine that has reproduced the golden pair.

        Args:
            engine: one of `engines.choose.ENGINES`.
            threads: most CPU threads; None for all that this process may use.

        Raises:
            UsageError: there is no such engine, or it cannot compute in int8 and should.
            EngineUnavailableError: its software is not installed.
            ModelError: it cannot run the model, or its answer differs by more than the model's tolerance.
            LimitError: it needs more memory than there is, or a model that is not shipped needs more memory or time
                than a trial may take.
        """
        if self.precision == "int8" and engine not in RUN_GRAPHS:
            raise UsageError(
                f"The engine '{engine}' does not compute in int8. Give --precision fp32, or one of the engines "
                f"{', '.join(RUN_GRAPHS)}."
            )
        if not self.shipped and engine in RUN_GRAPHS:
            try_out(self.source, engine, as_given(self.golden, self.spec, self.spec.inputs), threads)
        opened = open_engine(engine, self.source, threads)
        try:
            (prove_int8 if self.precision == "int8" else prove)(opened, self.golden, self.spec)
        except BaseException:
            opened.close()
            raise
        return opened


def load_model(name_or_path: str | Path) -> Model:
    """Returns a model after checking its files; no engine is opened.

    Args:
        name_or_path: a shipped model's name, its network's name or title in any case, or a model folder or a file in
            it; see `available.find_model`.

    Raises:
        ModelError: there is no such model, or it is incomplete, altered or makes no sense.
    """
    return _load(find_model(name_or_path))


def _load(folder: Path) -> Model:
    # Imported here: pydantic takes longer than all else that finding a model needs.
    from gliomask.models.spec import parse_spec

    content = read_limited(folder / SPEC_NAME)
    spec = parse_spec(content, str(folder / SPEC_NAME))
    files = read_verified(folder, spec.files)
    facts = look_into(files["model.onnx"], str(folder / "model.onnx"))
    golden = unpack_arrays(files["golden.npz"], str(folder / "golden.npz"))
    check_golden(golden, spec, str(folder / "golden.npz"))
    weights = _weights(folder, spec, files, facts.parameters)
    int8 = files.get(INT8_GRAPH)
    if int8 is not None:
        look_into_int8(int8, files["model.onnx"], str(folder / INT8_GRAPH))
    return Model(
        spec,
        source_of(spec, files["model.onnx"], weights),
        golden,
        sha256(content),
        folder.parent == SHIPPED_FOLDER,
        int8,
    )


def _weights(folder: Path, spec: ModelSpec, files: Mapping[str, bytes], in_graph: int) -> Arrays:
    weights, count, holder = {}, in_graph, "model.onnx"
    if "weights.npz" in files:
        holder = "weights.npz"
        weights = unpack_arrays(files[holder], str(folder / holder))
        count = sum(array.size for array in weights.values())
    if count != spec.parameters:
        raise ModelError(f"{folder / holder}: holds {count:,} parameters, {SPEC_NAME} says {spec.parameters:,}.")
    return weights


def source_of(spec: ModelSpec, graph: bytes, weights: Arrays) -> EngineSource:
    """Returns what engines need of a model whose files have been read."""
    network = NETWORKS.get(spec.network)
    build = None if network is None else partial(network.build, sequences=len(spec.inputs), classes=len(spec.outputs))
    return EngineSource(
        graph, spec.network, weights, spec.input_kind, spec.channels, spec.size_multiple, build, spec.tensor_layout
    )
