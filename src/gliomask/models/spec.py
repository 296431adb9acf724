"""`model.json`: everything that must be known to use a network rightly, checked field by field.

Training writes it, inference obeys it. No field has a default: what is not said would have to be guessed.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from gliomask.errors import ModelError, UsageError
from gliomask.labels import Label
from gliomask.postprocess import CHAINS
from gliomask.preprocess.normalise import normalisation
from gliomask.sequences import Sequence

SCHEMA_VERSION: Final = 1
ORIENTATION: Final = "LPS"
"""The only axes that networks are given: `preprocess.channels.NETWORK_ORIENTATION`."""

MODEL_FILES = ("model.onnx", "weights.npz", "golden.npz")
"""The files beside `model.json`, each held by its hash there."""

OUTPUT_NAMES = tuple(label.name.lower() for label in Label)
"""Names of a network's outputs, in the order of `labels.Label`."""

Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    # Strict: "2" is not the number 2. Numbers that are not finite have no place in a model file.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Normalisation(_Part):
    """How intensities become the network's input: a method of `preprocess.normalise` and the value that it gives to background."""

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


class TrainingRecord(_Part):
    """How the weights came about; `config` is the whole `training.config.TrainConfig`, `started_from` an earlier training that this one went on from."""

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


class ModelSpec(_Part):
    """One model, completely.

    Args:
        schema_version: of this file's format.
        name: as typed after `--network` or `--model`, and the folder's name.
        title: the network's name in its paper.
        network: name in `networks.catalogue`.
        parameters: number of trainable parameters.
        inputs: which sequence goes into which channel.
        input_kind: whether the network takes axial slices or whole volumes.
        receptive_field: height and width (and depth), in pixels, of what one output pixel depends on.
        size_multiple: each size of the input must be a multiple of this.
        orientation: axes of the input; slices lie along the third.
        spacing_mm: voxel size that the network was trained at.
        normalisation: of the intensities.
        outputs: label of each output channel.
        postprocess: name of the post-processing that is applied unless another is asked for.
        training: how the weights came about.
        scores: measured results; may be empty.
        licence: of the weights, as an SPDX expression or in words.
        attribution: works and data that must be named with every use.
        files: SHA-256 of each of `MODEL_FILES`.
        golden_tolerance: largest difference from the golden probabilities that an engine may show.
    """

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: Text
    network: Text
    parameters: Annotated[int, Field(ge=1)]
    inputs: Annotated[tuple[Sequence, ...], Field(min_length=1)]
    input_kind: Literal["slices", "volumes"]
    receptive_field: Annotated[int, Field(ge=1)]
    size_multiple: Annotated[int, Field(ge=1, le=256)]
    orientation: Literal["LPS"]
    spacing_mm: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    normalisation: Normalisation
    outputs: tuple[str, ...]
    postprocess: Text
    training: TrainingRecord
    scores: dict[str, JsonValue]
    licence: Text
    attribution: tuple[Text, ...]
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    golden_tolerance: Annotated[float, Field(gt=0, le=1e-2)]

    @field_validator("inputs")
    @classmethod
    def _each_once(cls, inputs: tuple[Sequence, ...]) -> tuple[Sequence, ...]:
        if len(set(inputs)) < len(inputs):
            raise ValueError("a sequence is named twice")
        return inputs

    @field_validator("outputs")
    @classmethod
    def _every_label(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        if outputs != OUTPUT_NAMES:
            raise ValueError(f"the outputs must be {', '.join(OUTPUT_NAMES)}, in this order; found {', '.join(outputs)}")
        return outputs

    @field_validator("postprocess")
    @classmethod
    def _known_chain(cls, chain: str) -> str:
        if chain not in CHAINS:
            raise ValueError(f"there is no post-processing '{chain}'; known ones: {', '.join(CHAINS)}")
        return chain

    @field_validator("files")
    @classmethod
    def _the_three(cls, files: dict[str, str]) -> dict[str, str]:
        if set(files) != set(MODEL_FILES):
            raise ValueError(f"the files must be {', '.join(MODEL_FILES)}, and no path; found {', '.join(files) or 'none'}")
        return files


def parse_spec(content: bytes, origin: str) -> ModelSpec:
    """Returns the specification that a `model.json` holds.

    Args:
        content: the file's bytes.
        origin: the file's name, for messages.

    Raises:
        ModelError: it is not JSON, a field is missing, unknown or impossible; the message names each.
    """
    try:
        return ModelSpec.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])
        raise ModelError(f"{origin}: not a model file that can be used: {problems}. Export the model again, or use another.") from error


def spec_bytes(spec: ModelSpec) -> bytes:
    """Returns the content of `model.json`: one field a line, the same specification always the same bytes."""
    return (json.dumps(spec.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
