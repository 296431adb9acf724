"""Finding models, by name among the shipped ones or by folder, and opening them so that they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gliomask.engines.base import Engine, EngineSource
from gliomask.engines.choose import DEFAULT_ENGINE, open_engine
from gliomask.errors import ModelError
from gliomask.models.files import SPEC_NAME, Arrays, read_limited, read_verified, sha256, unpack_arrays
from gliomask.models.golden import check_golden, prove
from gliomask.models.graph import refuse_external_data
from gliomask.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from gliomask.models.spec import ModelSpec

SHIPPED_FOLDER = Path(__file__).parent / "shipped"
SHIPPED = {"sparse-multi-ocm": "sparse", "input-sparse-multi-ocm": "input-sparse", "dense-multi-ocm": "dense"}
"""Shipped model to the network that it holds."""

DEFAULT_MODEL = "sparse-multi-ocm"


@dataclass(frozen=True, eq=False)
class Model:
    """A model whose files have been checked.

    Args:
        spec: what `model.json` says.
        source: what engines need.
        golden: the golden pair's arrays by name.
        sha256: hash of `model.json`, which holds the hashes of all other files.
    """

    spec: ModelSpec
    source: EngineSource
    golden: Arrays
    sha256: str

    def open(self, engine: str = DEFAULT_ENGINE, threads: int | None = None) -> Engine:
        """Returns an engine that has reproduced the golden pair.

        Raises:
            UsageError: there is no such engine.
            EngineUnavailableError: its software is not installed.
            ModelError: it cannot run the model, or its answer differs by more than the model's tolerance.
        """
        opened = open_engine(engine, self.source, threads)
        try:
            prove(opened, self.golden, self.spec)
        except BaseException:
            opened.close()
            raise
        return opened


def shipped_models() -> list[str]:
    """Returns the names of the models that are there, the default first."""
    return [name for name in SHIPPED if (SHIPPED_FOLDER / name / SPEC_NAME).is_file()]


def load_model(name_or_path: str | Path) -> Model:
    """Returns a model after checking its files; no engine is opened.

    Args:
        name_or_path: a shipped model's name, its network's name or title in any case, or a model folder. A name is taken before a
            folder of the same name; write `./name` for the folder.

    Raises:
        ModelError: there is no such model, or it is incomplete, altered or makes no sense.
    """
    return _load(_find(name_or_path))


def _find(name_or_path: str | Path) -> Path:
    folder = Path(name_or_path)
    if isinstance(name_or_path, str):
        for name, network in SHIPPED.items():
            if name_or_path.lower() in (name, network, NETWORKS[network].title.lower()):
                folder = SHIPPED_FOLDER / name
    if not folder.is_dir():
        known = ", ".join(f"{name} ({SHIPPED[name]})" for name in shipped_models()) or "none in this installation"
        raise ModelError(f"There is no model '{name_or_path}'. Shipped models: {known}; or give a model folder, as gliomask export writes it.")
    return folder


def _load(folder: Path) -> Model:
    # Imported here: pydantic takes longer than all else that finding a model needs.
    from gliomask.models.spec import parse_spec

    content = read_limited(folder / SPEC_NAME)
    spec = parse_spec(content, str(folder / SPEC_NAME))
    files = read_verified(folder, spec.files)
    refuse_external_data(files["model.onnx"], str(folder / "model.onnx"))
    golden = unpack_arrays(files["golden.npz"], str(folder / "golden.npz"))
    check_golden(golden, spec, str(folder / "golden.npz"))
    weights = unpack_arrays(files["weights.npz"], str(folder / "weights.npz"))
    count = sum(array.size for array in weights.values())
    if count != spec.parameters:
        raise ModelError(f"{folder / 'weights.npz'}: holds {count:,} parameters, {SPEC_NAME} says {spec.parameters:,}.")
    return Model(spec, _source(spec, files["model.onnx"], weights), golden, sha256(content))


def _source(spec: ModelSpec, graph: bytes, weights: Arrays) -> EngineSource:
    network = NETWORKS.get(spec.network)
    build = None if network is None else partial(network.build, channels=len(spec.inputs), classes=len(spec.outputs))
    return EngineSource(graph, spec.network, weights, spec.input_kind, len(spec.inputs), spec.size_multiple, build)
