"""`model.json`: everything that must be known to use a network rightly, checked field by field.

Training writes it, inference obeys it. Models that were trained elsewhere are described by the same fields
(`models.adopt` writes them); docs/models.md goes through them one by one.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from gliomask.engines.layout import Activation, TensorLayout
from gliomask.errors import UsageError
from gliomask.files.json_schema import json_schema
from gliomask.labels import LABEL_NAMES, REGION_NAMES, are_regions
from gliomask.models.calibration import CoreNumbers, EnhancementNumbers, Quality, Subsets
from gliomask.models.content import INT8_GRAPH
from gliomask.models.schema import StrictMapping, Text, parsed
from gliomask.planes import Plane
from gliomask.postprocess import CHAINS
from gliomask.preprocess.normalise import normalisation
from gliomask.sequences import Sequence

SCHEMA_VERSION: Final = 1
ORIENTATION: Final = "LPS"
"""The axes of gliomask's own networks: `preprocess.channels.NETWORK_ORIENTATION`."""

MODEL_FILES = ("model.onnx", "weights.npz", "golden.npz")
"""The files beside `model.json`, each held by its hash there; `content.INT8_GRAPH` may come as well."""

NEEDED_FILES = ("model.onnx", "golden.npz")
"""Those that every model has; the weights on their own are for Keras, which runs gliomask's own networks only."""

OUTPUT_NAMES = LABEL_NAMES
"""Names of the outputs of gliomask's own networks, in the order of `labels.Label`."""

FOREIGN: Final = "foreign"
"""What `network` says of a model that was trained elsewhere."""

AXIS_OF_LETTER = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
"""Axis of an array in LPS order that runs along each direction; R, A and I run against it."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Of a model."""


def _known_chain(chain: str) -> str:
    if chain not in CHAINS:
        raise ValueError(f"there is no post-processing '{chain}'; known ones: {', '.join(CHAINS)}")
    return chain


ChainName = Annotated[str, AfterValidator(_known_chain)]
"""Name of a post-processing."""


class Normalisation(StrictMapping):
    """How intensities become the network's input: a method of `preprocess.normalise` and the value that it gives to
    background.
    """

    method: str
    background: float

    @model_validator(mode="after")
    def _known(self) -> Normalisation:
        try:
            expected = normalisation(self.method)[1]
        except UsageError as error:
            raise ValueError(str(error)) from error
        if self.background != expected:
            raise ValueError(f"the method '{self.method}' gives background the value {expected}, not {self.background}")
        return self


class TrainingRecord(StrictMapping):
    """How the weights came about; `config` is the whole `training.config.TrainConfig`, `started_from` an earlier
    training that this one went on from.
    """

    recipe: Text
    config: dict[str, JsonValue]
    seed: int
    cases: Annotated[tuple[Text, ...], Field(min_length=1)]
    validation_cases: tuple[Text, ...]
    held_out_cases: tuple[Text, ...]
    started_from: dict[str, JsonValue] | None
    fold: int | None
    patches: Annotated[int, Field(ge=0)]
    hours: Annotated[float, Field(ge=0)]
    backend: Text
    device: Text
    gliomask: Text
    keras: Text


class Graph(StrictMapping):
    """How the ONNX graph takes its input and gives its answer.

    Args:
        layout: where the channels are, at both ends.
        size: the only height and width (and depth) that it takes, in the order of its own axes; null where sizes are
            open.
        batch: number of items that it takes at a time; null where that is open.
        activation: what turns its answer into probabilities; `none` where it answers with probabilities.
    """

    layout: Literal["channels_last", "channels_first"]
    size: Annotated[tuple[Annotated[int, Field(ge=2, le=1024)], ...], Field(min_length=2, max_length=3)] | None
    batch: Annotated[int, Field(ge=1, le=64)] | None
    activation: Activation


class Int8(StrictMapping):
    """The same network in eight bits, in the file `content.INT8_GRAPH`: weights and activations are whole numbers, each
    with a scale.

    Args:
        tolerance: largest mean difference from the float32 golden probabilities that an engine may show with it. The
            mean, because a value that rounds the other way in one layer may move a single pixel far.
        cases: whose slices the ranges of the activations were measured on; training cases of the model, so that a score
            on others stands.
        slices: how many slices these were.
        software: what quantised it, with its version.
        command: that made it.
    """

    tolerance: Annotated[float, Field(gt=0, le=0.05)]
    cases: Annotated[tuple[Text, ...], Field(min_length=1)]
    slices: Annotated[int, Field(ge=1)]
    software: Text
    command: Text


class Timing(StrictMapping):
    """How long a case takes: seconds from the scans to the results, what was measured on what machine, and the command
    that measured it.
    """

    seconds: Annotated[float, Field(gt=0)]
    conditions: Text
    command: Text


class ForeignRecord(StrictMapping):
    """Where a model that was trained elsewhere comes from, and what there is to say of its training."""

    origin: Text
    training: Text


class ModelSpec(StrictMapping):
    """One model, completely.

    Args:
        schema_version: of this file's format.
        name: as typed after `--network` or `--model`, and the folder's name.
        title: the network's name in its paper.
        network: name in `networks.catalogue`, or `foreign`.
        parameters: numbers in the network's weights.
        inputs: which sequence goes into which channel.
        input_kind: whether the network takes axial slices or whole volumes.
        receptive_field: height and width (and depth), in pixels, of what one output pixel depends on; null where nobody
            knows, in a foreign model.
        size_multiple: each size of the input must be a multiple of this.
        neighbouring_slices: slices on each side of the one being segmented that a network of slices also sees, as
            further channels; the lowest slice's sequences come first.
        planes: planes along which it may be asked, the axial one first; their probabilities are averaged where a first
            look suspects tumour, see `predict.planes`. More than one only for a network of slices that learned from all
            of them.
        halo: pixels of surroundings to keep round a box that is cut out.
        may_miss: sequences that it was trained to do without: any of them, while one of `sequences.INDISPENSABLE`
            stays. A missing sequence is given as background everywhere.
        orientation: direction in which each axis of the graph's slices or volumes runs, as in `LPS`; slices are axial,
            and the letter of the axis that they lie along may stand in any place.
        graph: layout of the graph's input and output.
        spacing_mm: voxel size that the network was trained at.
        normalisation: of the intensities.
        outputs: label of each output channel, or the region where they are the three nested ones.
        second_opinion: the second ensemble member, a model that is asked as well where this one suspects tumour, see
            `predict.ensemble.consult`, unless another is asked for; null for none.
        postprocess: name of the post-processing that is applied unless another is asked for.
        core_rule: what is core where hardly any of the tumour enhances; null where that is decided as everywhere.
            Applied where the models that it was chosen with are asked about a patient who has all sequences.
        enhancement_rule: what makes enhancement believable, see `postprocess.EnhancementRule`; null where every
            enhancing voxel stands.
        training: how the weights came about; null for a foreign model.
        foreign: where they come from; null for gliomask's own.
        scores: measured results; may be empty.
        timing: how long a case takes; null where it was not measured.
        quality: how to read the doubts of the model, with its second ensemble member where it has one, about patients
            who have all sequences; null where that was not calibrated.
        subsets: what it is worth alone for each set of sequences that a patient may lack, and how to read its doubts
            there; null where that was not measured.
        licence: of the weights, as an SPDX expression or in words.
        attribution: works and data that must be named with every use.
        files: SHA-256 of each of `MODEL_FILES`, and of the int8 graph where there is one.
        golden_tolerance: largest difference from the golden probabilities that an engine may show.
        int8: the same network in eight bits; null where there is none. May be left out, for it says nothing about the
            model itself.
    """

    schema_version: Literal[1]
    name: Name
    title: Text
    network: Text
    parameters: Annotated[int, Field(ge=1)]
    inputs: Annotated[tuple[Sequence, ...], Field(min_length=1)]
    input_kind: Literal["slices", "volumes"]
    receptive_field: Annotated[int, Field(ge=1)] | None
    size_multiple: Annotated[int, Field(ge=1, le=256)]
    neighbouring_slices: Annotated[int, Field(ge=0, le=32)]
    halo: Annotated[int, Field(ge=0, le=1024)]
    planes: Annotated[tuple[Plane, ...], Field(min_length=1, max_length=3)]
    may_miss: tuple[Sequence, ...]
    orientation: Text
    graph: Graph
    spacing_mm: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    normalisation: Normalisation
    outputs: tuple[str, ...]
    second_opinion: Name | None
    postprocess: ChainName
    core_rule: CoreNumbers | None
    enhancement_rule: EnhancementNumbers | None
    training: TrainingRecord | None
    foreign: ForeignRecord | None
    scores: dict[str, JsonValue]
    timing: Timing | None
    quality: Quality | None
    subsets: Subsets | None
    licence: Text
    attribution: tuple[Text, ...]
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    golden_tolerance: Annotated[float, Field(gt=0, le=1e-2)]
    int8: Int8 | None = None

    @property
    def slices(self) -> int:
        """How many slices the network sees at once."""
        return 2 * self.neighbouring_slices + 1

    @property
    def channels(self) -> int:
        """Of the network's input."""
        return self.slices * len(self.inputs)

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        if self.neighbouring_slices and self.input_kind != "slices":
            raise ValueError("neighbouring_slices must be 0 for a network of volumes")
        if self.planes[0] != Plane.AXIAL or len(set(self.planes)) < len(self.planes):
            raise ValueError("planes begins with axial and names each plane once")
        if len(self.planes) > 1 and (self.input_kind != "slices" or self.orientation != ORIENTATION):
            raise ValueError(f"more than one of planes needs a network of slices of orientation {ORIENTATION}")
        if unknown := set(self.may_miss) - set(self.inputs):
            raise ValueError(f"may_miss names {', '.join(sorted(unknown))}, which is no input")
        return self

    @field_validator("inputs")
    @classmethod
    def _each_once(cls, inputs: tuple[Sequence, ...]) -> tuple[Sequence, ...]:
        if len(set(inputs)) < len(inputs):
            raise ValueError("a sequence is named twice")
        return inputs

    @field_validator("outputs")
    @classmethod
    def _every_label(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(outputs) not in (sorted(LABEL_NAMES), sorted(REGION_NAMES)):
            names = f"{', '.join(LABEL_NAMES)}, or {', '.join(REGION_NAMES)}"
            raise ValueError(
                f"the outputs must be {names}, each once, in the graph's order; found {', '.join(outputs)}"
            )
        return outputs

    @field_validator("orientation")
    @classmethod
    def _three_axes(cls, letters: str) -> str:
        if sorted(AXIS_OF_LETTER.get(letter, -1) for letter in letters) != [0, 1, 2]:
            raise ValueError(
                f"an orientation is one letter each of L or R, P or A, S or I, such as LPS, RAS or SPL; found {letters}"
            )
        return letters

    @model_validator(mode="after")
    def _graph_fits(self) -> ModelSpec:
        if self.graph.activation == "softmax" and are_regions(self.outputs):
            raise ValueError(
                "graph.activation: a softmax goes with labels; regions overlap, so each has its own sigmoid"
            )
        if self.graph.activation == "sigmoid" and not are_regions(self.outputs):
            raise ValueError(
                "graph.activation: a sigmoid goes with the regions WT, TC, ET; labels exclude each other, so they "
                "share a softmax"
            )
        if self.graph.size is not None:
            if len(self.graph.size) != len(self.graph_axes):
                raise ValueError(
                    f"graph.size: {self.input_kind} have {len(self.graph_axes)} sizes; found {len(self.graph.size)}"
                )
            if any(size % self.size_multiple for size in self.graph.size):
                raise ValueError(
                    f"graph.size: {self.graph.size} are not all multiples of size_multiple, {self.size_multiple}"
                )
        if self.neighbouring_slices and (self.orientation != ORIENTATION or self.graph.size is not None):
            raise ValueError(f"neighbouring_slices are for networks of orientation {ORIENTATION} and open sizes")
        return self

    @model_validator(mode="after")
    def _own_or_foreign(self) -> ModelSpec:
        if (self.training is None) == (self.foreign is None):
            raise ValueError("one of training and foreign says where the weights come from, and the other is null")
        if (self.network == FOREIGN) != (self.foreign is not None):
            raise ValueError(f"network is '{FOREIGN}' in a model that was trained elsewhere, and in no other")
        if self.foreign is None and (self.receptive_field is None or "weights.npz" not in self.files):
            raise ValueError("a model of gliomask's own has a receptive_field and weights.npz")
        return self

    @model_validator(mode="after")
    def _int8_as_its_file(self) -> ModelSpec:
        if (self.int8 is None) == (INT8_GRAPH in self.files):
            raise ValueError(f"int8 describes the file {INT8_GRAPH}: both are there, or neither is")
        if (
            self.training is not None
            and self.int8 is not None
            and (unknown := set(self.int8.cases) - set(self.training.cases))
        ):
            raise ValueError(
                f"int8.cases: {', '.join(sorted(unknown)[:5])} are no training cases of the model, so scores on them "
                "would be too good"
            )
        return self

    @property
    def graph_axes(self) -> tuple[int, ...]:
        """Which axis of the slice or volume in LPS order is the graph's first, second (and third)."""
        axes = [AXIS_OF_LETTER[letter] for letter in self.orientation]
        return tuple(axis for axis in axes if self.input_kind == "volumes" or axis != AXIS_OF_LETTER["S"])

    @property
    def window(self) -> tuple[int, ...] | None:
        """The only size that the network takes, in LPS order; None for any."""
        if self.graph.size is None:
            return None
        return tuple(self.graph.size[self.graph_axes.index(axis)] for axis in range(len(self.graph_axes)))

    @property
    def tensor_layout(self) -> TensorLayout:
        """The same, as engines take it."""
        letters = [letter for letter in self.orientation if AXIS_OF_LETTER[letter] in self.graph_axes]
        plain = self.graph_axes == tuple(range(len(self.graph_axes)))
        flips = tuple(letter not in ORIENTATION for letter in letters)
        return TensorLayout(
            channels_first=self.graph.layout == "channels_first",
            axes=None if plain else self.graph_axes,
            flips=flips if any(flips) else (),
            batch=self.graph.batch,
            size=self.window,
            activation=self.graph.activation,
            outputs=self.outputs,
        )

    @field_validator("files")
    @classmethod
    def _known_files(cls, files: dict[str, str]) -> dict[str, str]:
        if not set(NEEDED_FILES) <= set(files) <= {*MODEL_FILES, INT8_GRAPH}:
            names = (
                f"{', '.join(MODEL_FILES)} (weights.npz only where Keras can use it), {INT8_GRAPH} where int8 "
                "is described"
            )
            raise ValueError(f"the files must be {names}, and no path; found {', '.join(files) or 'none'}")
        return files


def model_schema() -> dict[str, Any]:
    """Returns the JSON Schema of `model.json`, which docs/schemas/model.schema.json holds.

    What fields must be together is said in words only.
    """
    return json_schema(ModelSpec, "gliomask model.json")


def parse_spec(content: bytes, origin: str) -> ModelSpec:
    """Returns the specification that a `model.json` holds.

    Args:
        content: the file's bytes.
        origin: the file's name, for messages.

    Raises:
        ModelError: it is not JSON, a field is missing, unknown or impossible; the message names each.
    """
    return parsed(
        ModelSpec, content, f"{origin}: not a model file that can be used", "Export the model again, or use another."
    )


def spec_bytes(spec: ModelSpec) -> bytes:
    """Returns the content of `model.json`: one field a line, the same specification always the same bytes."""
    return (json.dumps(spec.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
