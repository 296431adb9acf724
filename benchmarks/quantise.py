"""Adds the int8 graph to a model:

    python benchmarks/quantise.py MODEL CASES -o FOLDER [--slices-per-plane 3] [--cases 50]

MODEL is a shipped model's name, a model folder, or a run folder of `gliomask train` that has finished. CASES is a
folder of BraTS cases; only those that the model was trained on are used, so that the scores of a fold's network stand
for its int8 graph, too. FOLDER becomes a copy of the model with `model.int8.onnx` and what model.json says of it; it
may be the model's own folder (--overwrite). Needs the extra `quantise`.

What is done to the graph, and what else was tried: docs/decisions/0017-int8.md. The graph is proved as every model is:
OpenVINO and ONNX Runtime reproduce the float32 golden pair within a tolerance in the mean, and another order of the
inputs does not pass.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from itertools import permutations
from pathlib import Path

import nncf
import numpy as np
import numpy.typing as npt
import onnx
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from onnx import numpy_helper

from gliomask.engines.choose import RUN_GRAPHS, open_engine
from gliomask.errors import EngineUnavailableError, ModelError, UsageError
from gliomask.files.atomic import refuse_existing, write_bytes
from gliomask.io.brats import CaseFiles, find_cases, read_case
from gliomask.models.content import INT8_GRAPH, SPEC_NAME, sha256
from gliomask.models.golden import int8_difference
from gliomask.models.graph import look_into_int8
from gliomask.models.registry import Model, load_model
from gliomask.models.spec import Int8, ModelSpec, spec_bytes
from gliomask.planes import Plane
from gliomask.predict.brain import NetworkShape, slice_batch
from gliomask.preprocess.channels import Prepared, prepare

MARGIN = 2.0
"""The tolerance is this many times the largest difference that an installed engine shows: processors without
instructions for int8 round otherwise.
"""

BLIND = 1.25
"""Another order of the inputs must move the golden probabilities by this many tolerances, so that it does not pass.
(The float32 pair tells it far better.)
"""

Slices = list[npt.NDArray[np.float32]]


def folded(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a graph whose batch normalisations are part of the convolutions before them, so that weights are
    quantised as they are used.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}
    kept = []
    for node in model.graph.node:
        before = made_by.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if before is None or before.op_type != "Conv":
            kept.append(node)
            continue
        scale, shift, mean, variance = (
            numpy_helper.to_array(tensors[name]).astype(np.float64) for name in node.input[1:5]
        )
        gain = scale / np.sqrt(variance + next(a.f for a in node.attribute if a.name == "epsilon"))
        kernel = numpy_helper.to_array(tensors[before.input[1]]).astype(np.float64)
        bias = numpy_helper.to_array(tensors[before.input[2]]) if len(before.input) > 2 else 0.0
        name = f"{before.output[0]}/bias"
        tensors[before.input[1]].CopyFrom(_tensor(kernel * gain.reshape(-1, *[1] * (kernel.ndim - 1)), before.input[1]))
        model.graph.initializer.append(_tensor((bias - mean) * gain + shift, name))
        before.input[:] = [*before.input[:2], name]
        before.output[0] = node.output[0]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    _drop_unused(model)
    return model


def _tensor(values: npt.NDArray[np.float64], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _drop_unused(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)


def unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Makes every activation's eight-bit type unsigned: the same values, zero point and all, moved by 128.

    OpenVINO 2026.4 computes wrongly where a graph's input is quantised to signed numbers (mean difference from float32
    .0016 in place of .0004).
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            zero = numpy_helper.to_array(tensors[node.input[2]])
            if zero.dtype == np.int8:
                tensors[node.input[2]].CopyFrom(
                    numpy_helper.from_array((zero.astype(np.int16) + 128).astype(np.uint8), node.input[2])
                )
    # They name the types of what lies between, some of which are others now; engines work them out.
    del model.graph.value_info[:]
    return model


def calibration_slices(spec: ModelSpec, cases: list[CaseFiles], each: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yields batches of one slice from the middle half of each case's brain, `each` along every plane of the model."""
    generator = np.random.default_rng(0)
    network = NetworkShape(spec.input_kind, spec.halo, spec.size_multiple, spec.neighbouring_slices)
    for files in cases:
        prepared = prepare(read_case(files), spec.inputs, spec.normalisation.method)
        for plane in spec.planes:
            yield from _slices_of(prepared, network, plane, each, generator)


def _slices_of(
    prepared: Prepared, network: NetworkShape, plane: Plane, each: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.float32]]:
    from gliomask.predict.planes import along

    view = along(prepared, plane)
    filled = np.flatnonzero(view.brain.any(axis=(0, 1)))
    middle = filled[len(filled) // 4 : -len(filled) // 4]
    for k in generator.choice(middle, each, replace=False):
        yield slice_batch(view, network, slice(int(k), int(k) + 1))


def quantised(graph: bytes, slices: Slices) -> bytes:
    """Returns the int8 graph of a float32 one."""
    float_graph = folded(onnx.load_from_string(graph))
    name = float_graph.graph.input[0].name
    found = nncf.quantize(
        float_graph,
        nncf.Dataset(slices, lambda batch: {name: batch}),
        subset_size=len(slices),
        preset=nncf.QuantizationPreset.MIXED,
        # Half the range for weights: sums of pairs must fit into 16 bits on processors without VNNI.
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE, disable_bias_correction=True
        ),
    )
    content = unsigned(found)
    onnx.checker.check_model(content)
    return bytes(content.SerializeToString())


def measured(model: Model, graph: bytes) -> float:
    """Returns the largest mean difference from the float32 golden pair that an installed engine shows with an int8
    graph.
    """
    differences = []
    for engine in RUN_GRAPHS:
        try:
            opened = open_engine(engine, replace(model.source, graph=graph))
        except EngineUnavailableError:
            print(f"{engine} is not installed, so it is not asked.")
            continue
        with closing(opened):
            differences.append(int8_difference(opened, model.golden, model.spec, model.spec.inputs))
            tolerance = MARGIN * differences[-1]
            for order in permutations(model.spec.inputs):
                moved = int8_difference(opened, model.golden, model.spec, order)
                if order != model.spec.inputs and moved < BLIND * tolerance:
                    raise ModelError(
                        f"{engine}: the order {', '.join(order)} moves the golden pair by only {moved:.2g}; the "
                        f"tolerance is {tolerance:.2g}."
                    )
        print(f"{engine}: {differences[-1]:.2g} from the float32 golden pair in the mean")
    return max(differences)


def opened_model(given: str, scratch: Path) -> tuple[Model, Path]:
    """Returns a model and its folder; a run folder is exported first."""
    from gliomask.models.available import find_model

    if not (Path(given) / "train_run.json").is_file():
        folder = find_model(given)
        return load_model(folder), folder
    from gliomask.training.export import export_model

    export_model(
        Path(given),
        scratch / "model",
        name="quantised",
        licence="not said",
        attribution=("not said",),
        postprocess="3d",
    )
    return load_model(scratch / "model"), scratch / "model"


def main() -> None:
    """Quantises, proves, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path, metavar="CASES")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--slices-per-plane", type=int, default=3)
    parser.add_argument("--cases", type=int, default=17, help="how many training cases, spread over all of them")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    refuse_existing(
        [options.output / SPEC_NAME], overwrite=options.overwrite, remedy="Give --overwrite to replace the model."
    )
    with tempfile.TemporaryDirectory() as scratch:
        model, folder = opened_model(options.model, Path(scratch))
        spec = model.spec
        if spec.training is None or spec.input_kind != "slices":
            raise UsageError(f"Model '{spec.name}' is no network of slices that was trained here.")
        known = [files for files in find_cases(options.folder) if files.case_id in spec.training.cases]
        chosen = (
            [
                known[n]
                for n in np.unique(np.linspace(0, len(known) - 1, min(options.cases, len(known))).round().astype(int))
            ]
            if known
            else []
        )
        if not chosen:
            raise UsageError(f"{options.folder} holds none of the cases that '{spec.name}' was trained on.")
        slices = list(calibration_slices(spec, chosen, options.slices_per_plane))
        graph = quantised(model.source.graph, slices)
        look_into_int8(graph, model.source.graph, INT8_GRAPH)
        int8 = Int8(
            tolerance=float(f"{MARGIN * measured(model, graph):.2g}"),
            cases=tuple(files.case_id for files in chosen),
            slices=len(slices),
            software=f"nncf {version('nncf')}, onnx {version('onnx')}",
            command=f"python benchmarks/quantise.py {options.model} CASES --cases {options.cases} --slices-per-plane "
            f"{options.slices_per_plane}",
        )
        files = {name: (folder / name).read_bytes() for name in spec.files if name != INT8_GRAPH} | {INT8_GRAPH: graph}
    # Checked as a whole, not copied field by field.
    fields = spec.model_dump() | {
        "files": {name: sha256(content) for name, content in files.items()},
        "int8": int8.model_dump(),
    }
    described = ModelSpec.model_validate(fields)
    options.output.mkdir(parents=True, exist_ok=True)
    # A folder without model.json is no model: what is interrupted leaves nothing that could be taken for one.
    (options.output / SPEC_NAME).unlink(missing_ok=True)
    for name, content in files.items():
        write_bytes(options.output / name, content)
    write_bytes(options.output / SPEC_NAME, spec_bytes(described))
    final = load_model(options.output)
    for engine in RUN_GRAPHS:
        try:
            final.in_int8().open(engine).close()
        except EngineUnavailableError:
            continue
    print(
        f"{options.output}: {len(slices)} slices of {len(chosen)} cases, {len(graph) / 1e6:.2f} MB, tolerance "
        f"{int8.tolerance:g}. {shlex.join(sys.argv)}"
    )


if __name__ == "__main__":
    main()
