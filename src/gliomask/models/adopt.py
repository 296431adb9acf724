"""Taking in a network that was trained elsewhere: an ONNX file and what a person says of it become a model folder that
proves itself.

What the graph says is read from the graph. What it cannot say, such as which channel is which sequence, has to be said;
nothing is guessed.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gliomask.engines.base import AGREEMENT_TOLERANCE, SPATIAL_AXES, InputKind
from gliomask.engines.choose import DEFAULT_ENGINE, RUN_GRAPHS, open_engine
from gliomask.errors import EngineUnavailableError, ModelError, UsageError
from gliomask.files.atomic import refuse_existing
from gliomask.io.nifti import write_bytes
from gliomask.models.content import MAX_BYTES
from gliomask.models.files import SPEC_NAME, Arrays, pack_arrays, read_limited, sha256
from gliomask.models.golden import (
    GOLDEN_SHAPES,
    PROBABILITIES,
    answer,
    as_given,
    check_channel_order_sensitivity,
    golden_input,
)
from gliomask.models.graph import FLOAT32, TensorEnd, look_into
from gliomask.models.registry import load_model, source_of
from gliomask.models.spec import FOREIGN, SCHEMA_VERSION, ForeignRecord, Graph, ModelSpec, Normalisation, spec_bytes
from gliomask.models.trial import try_out
from gliomask.planes import Plane
from gliomask.preprocess.normalise import normalisation
from gliomask.sequences import parse_sequence

KINDS: dict[int, InputKind] = {axes + 2: kind for kind, axes in SPATIAL_AXES.items()}
"""Number of axes of a batch to kind of input."""

QUESTIONS = {
    "inputs": "--inputs: which sequence goes into which channel, in order, such as t1,t1ce,t2,flair",
    "outputs": "--outputs: what each output channel is, in order: background,necrotic,oedema,enhancing or the "
    "regions WT,TC,ET",
    "activation": "--activation: what turns its answer into probabilities: none, softmax or sigmoid",
    "orientation": "--orientation: direction of each of its axes, such as LPS (gliomask), RAS (MONAI after "
    "Orientationd), SPL (nnU-Net on BraTS files)",
    "normalisation": "--normalisation: how intensities were normalised, such as z-score-brain (nnU-Net, masked) or "
    "z-score-nonzero (MONAI)",
    "size_multiple": "--size-multiple: what each side of its input must be a multiple of: 2 for each pooling",
    "halo": "--halo: pixels of surroundings that it needs round the brain's box; 0 for one that was trained on "
    "images cropped to the brain",
    "layout": "--layout: channels_first or channels_last, which its sizes do not tell",
    "licence": "--licence: of the weights",
    "origin": "--origin: where the weights come from: a paper, an address, a person",
    "training": "--training: in a sentence, what they were trained on",
}
"""What a graph does not say, with the option that says it."""


@dataclass(frozen=True)
class ModelDescription:
    """What a person says of a network; None where nothing was said.

    See `models.spec.ModelSpec` and `QUESTIONS` for each field.
    """

    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    activation: str | None = None
    orientation: str | None = None
    normalisation: str | None = None
    size_multiple: int | None = None
    halo: int | None = None
    layout: str | None = None
    licence: str | None = None
    origin: str | None = None
    training: str | None = None
    title: str | None = None
    attribution: tuple[str, ...] = ()
    postprocess: str = "none"
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tolerance: float = AGREEMENT_TOLERANCE


@dataclass(frozen=True)
class GraphReading:
    """What a graph says: its one input and output, whether items are slices or volumes, the fixed size and batch, and
    its number of parameters.
    """

    given: TensorEnd
    answer: TensorEnd
    kind: InputKind
    parameters: int

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """Of the input: batch, channels and space in the graph's order."""
        assert self.given.sizes is not None
        return self.given.sizes

    def layout(self, channels: int) -> str | None:
        """Where the channels are, if the sizes tell; None where they do not."""
        first, last = self.sizes[1], self.sizes[-1]
        if (first == channels) == (last == channels):
            return None
        return "channels_first" if first == channels else "channels_last"

    def space(self, layout: str) -> tuple[int | None, ...]:
        """Height and width (and depth), in the graph's order."""
        return self.sizes[2:] if layout == "channels_first" else self.sizes[1:-1]

    def __str__(self) -> str:
        """In words, for messages."""
        shapes = [
            ", ".join("open" if size is None else str(size) for size in end.sizes or ()) or "not stated"
            for end in (self.given, self.answer)
        ]
        names = self.given.name, self.answer.name
        return (
            f"takes '{names[0]}' ({shapes[0]}), which are {self.kind}, answers with '{names[1]}' ({shapes[1]}), has "
            f"{self.parameters:,} weights"
        )


def read_graph(content: bytes, origin: str) -> GraphReading:
    """Returns what an ONNX file says of its network.

    Raises:
        ModelError: it is not an ONNX file that may be used, or not a network of one input and one output of the kinds
            that are known.
    """
    facts = look_into(content, origin)
    for what, ends in (("inputs", facts.inputs), ("outputs", facts.outputs)):
        if len(ends) != 1:
            names = ", ".join(end.name for end in ends) or "none"
            raise ModelError(
                f"{origin}: has {len(ends)} {what} ({names}), where one is needed. Export the network without deep "
                "supervision or other extras."
            )
        if ends[0].data_type != FLOAT32:
            raise ModelError(
                f"{origin}: '{ends[0].name}' is not float32 (ONNX data type {ends[0].data_type}). Export the "
                "network in float32."
            )
    sizes = facts.inputs[0].sizes
    if sizes is None or len(sizes) not in KINDS:
        rank = "no stated" if sizes is None else len(sizes)
        raise ModelError(
            f"{origin}: its input has {rank} axes; slices have 4 and volumes 5, batch and channels included."
        )
    return GraphReading(facts.inputs[0], facts.outputs[0], KINDS[len(sizes)], facts.parameters)


def adopt(graph: Path, folder: Path, name: str, said: ModelDescription, overwrite: bool = False) -> ModelSpec:
    """Makes a model folder of an ONNX file: reads the graph, runs it once for the golden pair, and proves it in every
    installed engine.

    Args:
        graph: the ONNX file; it is copied.
        folder: gets model.onnx, golden.npz and, last, model.json.
        name: the model's name.
        said: what the graph does not say.
        overwrite: replace a model that is there.

    Returns:
        What was written to model.json.

    Raises:
        UsageError: something has to be said, or what was said is impossible; or the folder holds a model already.
        ModelError: the graph cannot be used, does not answer as was said, or engines differ by more than the tolerance.
    """
    refuse_existing([folder / SPEC_NAME], overwrite=overwrite, remedy="Give --overwrite to replace the model.")
    content = read_limited(graph, MAX_BYTES["model.onnx"])
    reading = read_graph(content, str(graph))
    spec = _described(reading, name, said, graph)
    golden = _golden(content, spec)
    files = {"model.onnx": content, "golden.npz": pack_arrays(golden)}
    spec = spec.model_copy(update={"files": {file: sha256(data) for file, data in files.items()}})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC_NAME).unlink(missing_ok=True)
    for file, data in files.items():
        write_bytes(folder / file, data)
    write_bytes(folder / SPEC_NAME, spec_bytes(spec))
    try:
        _prove(folder)
    except BaseException:
        # Without model.json it is no model: nothing that has not been proved stays.
        (folder / SPEC_NAME).unlink(missing_ok=True)
        raise
    return spec


def _described(reading: GraphReading, name: str, said: ModelDescription, graph: Path) -> ModelSpec:
    layout = said.layout or (reading.layout(len(said.inputs)) if said.inputs else None)
    space = reading.space(layout) if layout else ()
    fixed = all(size is not None for size in space or reading.sizes[1:])
    if space and not fixed and any(size is not None for size in space):
        raise ModelError(
            f"{graph}: some sides of its input are fixed and others open: {reading}. Export it with all of them "
            "fixed, or all open."
        )
    # A network of one size is given windows inside the brain's box, so neither question arises.
    answered = {"layout": layout, **({"size_multiple": 1, "halo": 0} if fixed else {})}
    values = {field.name: getattr(said, field.name) for field in fields(said)}
    values |= {key: value for key, value in answered.items() if values[key] is None}
    _refuse_silence(values, reading, graph)
    channels = reading.sizes[1 if layout == "channels_first" else -1]
    if channels not in (None, len(values["inputs"])):
        raise UsageError(
            f"--inputs names {len(values['inputs'])} sequences, but {graph} has {channels} channels: {reading}."
        )
    return _spec(reading, name, values, tuple(size for size in space if size is not None) or None)


def _refuse_silence(values: dict[str, Any], reading: GraphReading, graph: Path) -> None:
    missing = [question for key, question in QUESTIONS.items() if values[key] is None]
    # Where the channels are follows from their number more often than not.
    if values["inputs"] is None:
        missing = [question for question in missing if not question.startswith("--layout")]
    if missing:
        raise UsageError(
            f"{graph} {reading}. What it does not say has to be said:\n  "
            + "\n  ".join(missing)
            + "\nSee docs/models.md for examples."
        )


def _spec(reading: GraphReading, name: str, values: dict[str, Any], size: tuple[int, ...] | None) -> ModelSpec:
    try:
        return ModelSpec(
            schema_version=SCHEMA_VERSION,
            name=name,
            title=values["title"] or name,
            network=FOREIGN,
            parameters=reading.parameters,
            inputs=tuple(parse_sequence(sequence) for sequence in values["inputs"]),
            input_kind=reading.kind,
            receptive_field=None,
            size_multiple=values["size_multiple"],
            neighbouring_slices=0,
            halo=values["halo"],
            may_miss=(),
            orientation=values["orientation"],
            graph=Graph(layout=values["layout"], size=size, batch=reading.sizes[0], activation=values["activation"]),
            spacing_mm=values["spacing_mm"],
            normalisation=Normalisation(
                method=values["normalisation"], background=normalisation(values["normalisation"])[1]
            ),
            outputs=values["outputs"],
            second_opinion=None,
            postprocess=values["postprocess"],
            training=None,
            foreign=ForeignRecord(origin=values["origin"], training=values["training"]),
            scores={},
            timing=None,
            core_rule=None,
            enhancement_rule=None,
            planes=(Plane.AXIAL,),
            quality=None,
            subsets=None,
            licence=values["licence"],
            attribution=values["attribution"],
            files=dict.fromkeys(("model.onnx", "golden.npz"), "0" * 64),
            golden_tolerance=values["tolerance"],
        )
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'model'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"The model cannot be described so: {problems}.") from error


def golden_shape(spec: ModelSpec) -> tuple[int, ...]:
    """Returns the shape of a golden input, in LPS order: small, sides that differ where they may, and sizes that the
    network takes.
    """
    base = GOLDEN_SHAPES[spec.input_kind]
    if spec.window is not None:
        return tuple(min(size, side) for size, side in zip(base, spec.window, strict=True))
    # Two multiples at the least in a slice: instance normalisation of one pixel at the bottom of a U-Net would blow up
    # rounding.
    least = 2 if spec.input_kind == "slices" else 1
    return tuple(max(-(-size // spec.size_multiple), least + n) * spec.size_multiple for n, size in enumerate(base))


def _golden(content: bytes, spec: ModelSpec) -> Arrays:
    background = spec.normalisation.background
    golden = golden_input(map(str, spec.inputs), golden_shape(spec), background)
    golden[PROBABILITIES] = np.zeros((*golden_shape(spec), 4), np.float32)
    try_out(source_of(spec, content, {}), DEFAULT_ENGINE, as_given(golden, spec, spec.inputs))
    if spec.graph.activation != "none":
        _refuse_second_activation(content, spec, golden)
    with closing(open_engine(DEFAULT_ENGINE, source_of(spec, content, {}))) as engine:
        golden[PROBABILITIES] = answer(engine, golden, spec, spec.inputs)
        _refuse_nonsense(golden, spec)
        check_channel_order_sensitivity(engine, golden, spec)
    return golden


def _refuse_second_activation(content: bytes, spec: ModelSpec, golden: Arrays) -> None:
    bare = spec.model_copy(update={"graph": spec.graph.model_copy(update={"activation": "none"})})
    with closing(open_engine(DEFAULT_ENGINE, source_of(bare, content, {}))) as engine:
        answered = answer(engine, golden, bare, spec.inputs)
    # Regions come back as differences of each other; what they were made of is within 0 and 1 when the sums are.
    parts = (
        [answered]
        if spec.graph.activation == "softmax"
        else [answered[..., 0], answered[..., 3], answered[..., 1] + answered[..., 3]]
    )
    if min(part.min() for part in parts) >= 0 and max(part.max() for part in parts) <= 1:
        raise ModelError(
            f"Model '{spec.name}': the graph answers with numbers between 0 and 1, so they seem to be probabilities "
            f"already, and a {spec.graph.activation} "
            "would be the second one. Give --activation none."
        )


def _refuse_nonsense(golden: Arrays, spec: ModelSpec) -> None:
    probabilities = golden[PROBABILITIES]
    low, high = float(probabilities.min()), float(probabilities.max())
    sums = probabilities.sum(axis=-1)
    # Written so that a NaN fails too.
    if not (low > -1e-3 and high < 1 + 1e-3 and np.abs(sums - 1).max() < 1e-2):
        raise ModelError(
            f"Model '{spec.name}': with activation {spec.graph.activation} its answer lies between {low:.3g} and "
            f"{high:.3g} and sums to between "
            f"{sums.min():.3g} and {sums.max():.3g} over the labels; probabilities lie between 0 and 1 and sum to 1. "
            "Is --activation right?"
        )


def _prove(folder: Path) -> None:
    model = load_model(folder)
    for engine in RUN_GRAPHS:
        try:
            model.open(engine).close()
        except EngineUnavailableError:
            continue
