"""A model as the browser takes it: the graph, the golden pair as plain numbers, and what the pipeline must know, in one
JSON file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gliomask import __version__
from gliomask.errors import ModelError
from gliomask.labels import LABEL_NAMES
from gliomask.models.files import INT8_GRAPH, sha256
from gliomask.models.golden import PROBABILITIES, golden_batch
from gliomask.models.registry import Model
from gliomask.planes import Plane
from gliomask.preprocess.shape import OUTLINE_MM, OUTLINE_SHAPE, packed_outline

GRAPH, GOLDEN, OUTLINE, MANIFEST = "model.onnx", "golden.f32", "brain_outline.bin", "model.json"

NORMALISATIONS, CHAINS = ("volume",), ("none", "3d")
"""What `web/src/pipeline` can do; a model that needs more is refused here, not in the browser."""


def browser_files(model: Model, precision: str = "auto") -> dict[str, bytes]:
    """Returns the files of a model for the browser, by name.

    Args:
        model: any; see `refuse_unfit`.
        precision: of the network in WebAssembly, one of `engines.precision.PRECISIONS`; `auto` is int8 where the model
            has it. WebGPU computes in float32 always.

    Raises:
        ModelError: the browser's pipeline cannot run this model; the message says why.
        UsageError: int8 was asked for and the model has none.
    """
    refuse_unfit(model)
    if precision == "int8":
        model.in_int8()
    int8 = None if precision == "fp32" else model.int8
    graph = model.source.graph
    batch = golden_batch(model.golden, model.spec.inputs, model.spec.slices)
    answer = model.golden[PROBABILITIES][None]
    golden = b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in (batch, answer))
    manifest = _manifest(model, graph, int8, golden, batch.shape, answer.shape)
    return {
        **({} if int8 is None else {INT8_GRAPH: int8}),
        GRAPH: graph,
        GOLDEN: golden,
        OUTLINE: packed_outline(),
        MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode(),
    }


def refuse_unfit(model: Model) -> None:
    """Refuses a model that the browser's pipeline cannot run.

    Raises:
        ModelError: it is so; the message names everything that does not fit.
    """
    spec = model.spec
    reasons = {
        "it takes volumes, not slices": spec.input_kind != "slices",
        f"its normalisation is {spec.normalisation.method}": spec.normalisation.method not in NORMALISATIONS,
        f"its post-processing is {spec.postprocess}": spec.postprocess not in CHAINS,
        "it has a second ensemble member": spec.second_opinion is not None,
        "its graph is laid out otherwise": not model.source.layout.plain or spec.window is not None,
        f"it answers with {', '.join(spec.outputs)}": tuple(spec.outputs) != LABEL_NAMES,
        "its first plane is not axial": bool(spec.planes) and spec.planes[0] != Plane.AXIAL,
    }
    wrong = [what for what, is_so in reasons.items() if is_so]
    if wrong:
        raise ModelError(
            f"Model '{spec.name}' does not run in the browser: {'; '.join(wrong)}. Choose another by --model."
        )


def _manifest(
    model: Model,
    graph: bytes,
    int8: bytes | None,
    golden: bytes,
    given: tuple[int, ...],
    answered: tuple[int, ...],
) -> Mapping[str, Any]:
    spec = model.spec
    core, enhancement, quality = spec.core_rule, spec.enhancement_rule, spec.quality
    return {
        "name": spec.name,
        "title": spec.title,
        "gliomask": __version__,
        "inputs": [str(sequence) for sequence in spec.inputs],
        "mayMiss": sorted(map(str, spec.may_miss)),
        "halo": spec.halo,
        "multiple": spec.size_multiple,
        "neighbours": spec.neighbouring_slices,
        "planes": [str(plane) for plane in spec.planes] or [Plane.AXIAL.value],
        "normalisation": spec.normalisation.method,
        "outputs": list(spec.outputs),
        "postprocess": spec.postprocess,
        "coreRule": core and {"enhancingShare": core.enhancing_share, "coreProbability": core.core_probability},
        "enhancementRule": enhancement and {"probability": enhancement.probability, "seedMl": enhancement.seed_ml},
        "quality": quality and {name: _line(line) for name, line in quality.regions.items()},
        "graph": {"file": GRAPH, "sha256": sha256(graph), "bytes": len(graph)},
        "int8": int8
        and spec.int8
        and {"file": INT8_GRAPH, "sha256": sha256(int8), "bytes": len(int8), "tolerance": spec.int8.tolerance},
        "golden": {
            "file": GOLDEN,
            "sha256": sha256(golden),
            "input": given,
            "output": answered,
            "tolerance": spec.golden_tolerance,
        },
        "outline": {
            "file": OUTLINE,
            "sha256": sha256(packed_outline()),
            "shape": OUTLINE_SHAPE,
            "mm": OUTLINE_MM,
        },
        "licence": spec.licence,
        "attribution": list(spec.attribution),
    }


def _line(line: Any) -> dict[str, float]:
    return {name: getattr(line, name) for name in ("intercept", "slope", "below", "above")}
