"""Every choice of a training, with the two recipes. `gliomask train --config FILE` reads these fields from YAML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gliomask import augment
from gliomask.errors import FileFormatError, UsageError
from gliomask.files.yaml import load_yaml_library, read_yaml
from gliomask.labels import Label
from gliomask.networks.catalogue import NETWORKS, network
from gliomask.planes import Plane
from gliomask.sequences import PAPER_ORDER, Sequence, droppable

PAPER_WEIGHTS = (0.28, 0.08, 0.43, 0.21)
"""Class weights of the authors' `training.py`, in the order background, 1, 2, 4."""


ClassWeights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=len(Label), max_length=len(Label))]
"""One weight per `Label`, background first."""


class AugmentConfig(BaseModel):
    """Largest change of each kind; see `gliomask.augment.Strength`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    flips: bool = Field(default=True, description="mirror each in-plane axis with probability one half")
    rotation_degrees: float = Field(default=20.0, ge=0, le=180, description="in-plane rotation, either way, degrees")
    scaling: float = Field(default=0.15, ge=0, lt=1, description="relative zoom of each axis")
    gain: float = Field(default=0.15, ge=0, lt=1, description="relative change of each sequence's contrast")
    offset: float = Field(default=0.15, ge=0, description="shift of each sequence, standard deviations of the brain")
    gamma: float = Field(default=0.2, ge=0, description="logarithm of the exponent of a contrast curve")
    bias: float = Field(default=0.15, ge=0, lt=1, description="height of a smooth multiplicative field")
    noise: float = Field(default=0.1, ge=0, description="standard deviation of added noise")
    shading: float = Field(
        default=0.0, ge=0, description="height of a smooth field that is added, standard deviations of the brain"
    )
    reverse: bool = Field(
        default=False, description="mirror the order of neighbouring slices with probability one half"
    )
    exchange_share: float = Field(default=0.0, ge=0, le=1, description="share of patches whose two axes are exchanged")
    warp_share: float = Field(default=1.0, ge=0, le=1, description="share of patches that are turned and scaled")
    gamma_share: float = Field(default=1.0, ge=0, le=1, description="share of patches with another contrast curve")
    shading_share: float = Field(default=1.0, ge=0, le=1, description="share of patches with a field that is added")
    noise_share: float = Field(default=1.0, ge=0, le=1, description="share of patches with added noise")
    thick_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of patches in which sequences are blurred as by thick slices seen from the side",
    )

    def strength(self) -> augment.Strength:
        """The same numbers as the augmentation code takes them."""
        return augment.Strength(**self.model_dump())


class TrainConfig(BaseModel):
    """One training, completely: the same file, data and seed give the same weights on the same machine and backend."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: str = Field(default="sparse", description=f"one of {', '.join(NETWORKS)}")
    recipe: Literal["paper", "default", "unet"] = Field(
        default="default", description="which recipe the values below started from"
    )
    sequences: tuple[Sequence, ...] = Field(
        default=PAPER_ORDER, min_length=1, description="channel order of the network's input"
    )
    normalisation: Literal["slice", "volume"] = Field(
        default="volume", description="intensity normalisation: the paper's per slice, or per volume"
    )
    planes: tuple[Plane, ...] = Field(
        default=(Plane.AXIAL,),
        min_length=1,
        description="planes along which patches are cut, one at random for each: axial, coronal, sagittal",
    )
    sampling: Literal["equal", "uniform", "regions"] = Field(
        default="equal",
        description="patches drawn equally per class, anywhere in the brain, or a quarter each for WT, TC, ET and "
        "anywhere in the brain's box",
    )
    case_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="how often a patient is drawn, by the id of the case; 1 for those not named; with the sampling "
        "'regions' only",
    )
    placement: Literal["centred", "jittered", "inside", "adjacent", "overlapping"] = Field(
        default="centred",
        description="where a patch lies about the pixel drawn: centred on it, up to `jitter` pixels away, the same "
        "but inside the brain's box, or the tile "
        "that holds it, of tiles side by side or overlapping by half",
    )
    jitter: int | None = Field(
        default=None,
        ge=0,
        description="for the placements jittered and inside, pixels along each axis; null: a quarter of a patch",
    )
    patch_size: int = Field(
        default=64, ge=8, le=512, multiple_of=2, description="height and width of a training patch, pixels"
    )
    patches_per_class: int = Field(default=5, ge=1, description="patches per patient, class (or region) and epoch")
    epochs: int = Field(
        default=25, ge=1, description="most epochs; a run may go on with another number, and the cosine then ends there"
    )
    batch_size: int = Field(default=8, ge=1, description="patches per step")
    optimiser: Literal["sgd", "adamw"] = Field(
        default="adamw", description="sgd: Nesterov momentum 0.9; adamw: decoupled weight decay"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="at the start; after a warm-up, at its peak")
    decay_per_epoch: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="factor of the learning rate per epoch; null: warm-up, then a cosine to zero over all epochs",
    )
    warm_up_steps: int | None = Field(
        default=None, ge=0, description="steps over which the rate rises to its peak; null: 3 % of all steps"
    )
    clip_norm: float = Field(default=1.0, ge=0, description="largest norm of the whole gradient; 0: no clipping")
    weight_decay: float = Field(default=1e-4, ge=0, description="adamw only")
    class_weights: Literal["uniform", "paper", "inverse-frequency"] | ClassWeights = Field(
        default="uniform",
        description="weights of the cross-entropy: uniform, paper, inverse-frequency, or four numbers (background, "
        "1, 2, enhancing); rescaled to a mean of one",
    )
    cross_entropy: Literal["labels", "regions"] = Field(
        default="labels",
        description="over the four labels, or binary and averaged over the nested regions WT, TC and ET "
        "(class_weights are then unused)",
    )
    dice_weight: float = Field(
        default=0.5, ge=0, description="weight of the soft Dice loss over WT, TC and ET, added to the cross-entropy"
    )
    average: float = Field(
        default=0.99, ge=0, lt=1, description="momentum of the moving average of the weights that is kept; 0 for none"
    )
    augmentation: AugmentConfig = Field(default=AugmentConfig(), description="random changes of every patch")
    sequence_dropout: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of patches in which a random set of sequences is missing; T1ce or FLAIR stays",
    )
    unenhanced_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of patches cut from a synthetic twin of the patient, whose tumour hardly enhances",
    )
    validation_share: float = Field(
        default=0.0, ge=0, lt=1, description="share of the training patients set aside to choose the best epoch"
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many epochs without a better validation loss; needs validation"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of the weights, the draws and the augmentation")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; null: all that this process may use")
    compiled: bool = Field(
        default=False,
        description="compile each step with XLA, on TensorFlow too (JAX always does); see docs/training.md for speeds",
    )
    mixed_precision: bool = Field(default=False, description="half-precision arithmetic, for a GPU")

    @field_validator("network")
    @classmethod
    def _short_name(cls, name: str) -> str:
        try:
            return network(name).name
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if len(set(self.sequences)) < len(self.sequences):
            raise ValueError("sequences names one sequence twice")
        if not isinstance(self.class_weights, str) and not any(self.class_weights):
            raise ValueError("class_weights needs a weight above 0")
        if self.sequence_dropout and not droppable(self.sequences):
            raise ValueError(f"sequence_dropout: none of {', '.join(self.sequences)} can be left out")
        if self.unenhanced_share and not {Sequence.T1, Sequence.T1CE} <= set(self.sequences):
            raise ValueError("unenhanced_share needs the sequences t1 and t1ce")
        if len(set(self.planes)) < len(self.planes):
            raise ValueError("planes names one plane twice")
        if self.case_weights and self.sampling != "regions":
            raise ValueError("case_weights go with the sampling 'regions' only")
        if self.cross_entropy == "regions" and self.class_weights != "uniform":
            raise ValueError("class_weights have no meaning with a cross_entropy over regions; leave them at uniform")
        multiple = network(self.network).size_multiple
        if self.patch_size % multiple:
            raise ValueError(
                f"patch_size must be a multiple of {multiple} for the network '{self.network}'; it is {self.patch_size}"
            )
        if self.patience is not None and self.validation_share == 0:
            raise ValueError("patience needs a validation_share above 0")
        return self


RECIPES: dict[str, dict[str, Any]] = {
    # The authors' training.py and model.py: SGD 1e-3, Nesterov 0.9, x 0.99 per epoch, batch 8, at most 100 epochs,
    # patience 10, no augmentation. Patch counts were not published. Keras's `decay=1e-6` per update is left out: 1 %
    # over 10,000 updates.
    "paper": {
        "normalisation": "slice",
        "epochs": 100,
        "batch_size": 8,
        "optimiser": "sgd",
        "learning_rate": 1e-3,
        "decay_per_epoch": 0.99,
        "clip_norm": 0.0,
        "class_weights": "paper",
        "dice_weight": 0.0,
        "average": 0.0,
        "augmentation": {name: getattr(augment.NONE, name) for name in AugmentConfig.model_fields},
        "validation_share": 0.1,
        "patience": 10,
    },
    "default": {},
    # For ResidualUNet: crops along all three planes, drawn by region, a loss over the nested regions, a high rate that
    # falls to nothing with strong decay of the weights, long averages. Changes of intensity are large but leave out
    # many crops. Some crops lack sequences, so that the network can do without. Measured against the recipe before it
    # in docs/accuracy.md.
    "unet": {
        "network": "unet",
        "planes": list(Plane),
        "sampling": "regions",
        "patch_size": 128,
        "placement": "inside",
        "jitter": 48,
        "patches_per_class": 10,
        "epochs": 60,
        "cross_entropy": "regions",
        "dice_weight": 1.0,
        "learning_rate": 2e-3,
        "warm_up_steps": 300,
        "clip_norm": 2.0,
        "weight_decay": 1e-2,
        "average": 0.999,
        "sequence_dropout": 0.12,
        "augmentation": {
            "rotation_degrees": 23.0,
            "scaling": 0.2,
            "warp_share": 0.5,
            "exchange_share": 0.2,
            "reverse": True,
            "gain": 0.25,
            "offset": 0.35,
            "gamma": 0.35,
            "gamma_share": 0.3,
            "bias": 0.0,
            "shading": 0.4,
            "shading_share": 0.4,
            "noise": 0.15,
            "noise_share": 0.3,
        },
    },
}
"""Values that differ from `TrainConfig`'s own defaults, by recipe."""


RECIPE_OF = {"unet": "unet", "residualunet": "unet", "plain-unet": "unet", "plainunet": "unet"}
"""Names of networks with a recipe of their own; the others begin from `default`."""


def make_config(recipe: str | None = None, file: Path | None = None, **overrides: Any) -> TrainConfig:
    """Returns the configuration: the recipe, then the file's fields, then the overrides that are not None.

    Args:
        recipe: one of `RECIPES`; None: the one that the file names, else the network's own.
        file: YAML, as `describe_config` writes it; any subset of the fields.
        overrides: values by field name; None leaves a field as it is.

    Raises:
        UsageError: unknown recipe, unreadable file, unknown field or value out of range; the message names the field.
        EngineUnavailableError: there is a file and PyYAML is not installed.
    """
    fields = {} if file is None else _read_fields(file)
    named = fields.get("recipe", recipe)
    if recipe is not None and named != recipe:
        raise UsageError(f"{file}: its recipe is '{named}', but '{recipe}' was asked for. Leave one of them out.")
    named = (
        RECIPE_OF.get(str(overrides.get("network") or fields.get("network")).lower(), "default")
        if named is None
        else named
    )
    if named not in RECIPES:
        raise UsageError(f"There is no recipe '{named}'. Known ones: {', '.join(RECIPES)}.")
    chosen = {name: value for name, value in overrides.items() if value is not None}
    try:
        return TrainConfig.model_validate(RECIPES[named] | fields | chosen | {"recipe": named})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'configuration'}: {e['msg']}" for e in error.errors())
        raise UsageError(
            f"{file or 'The training configuration'}: {problems}. All fields: gliomask train --show-config."
        ) from error


def _read_fields(file: Path) -> dict[str, Any]:
    try:
        fields = read_yaml(file, "Reading or printing a training configuration")
    except FileFormatError as error:
        raise UsageError(f"{error} Example: gliomask train --show-config.") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise UsageError(
            f"{file}: a mapping of field names to values is needed; found {type(fields).__name__}. Example: gliomask "
            "train --show-config."
        )
    return fields


def describe_config(config: TrainConfig) -> str:
    """Returns the configuration as YAML with every field's meaning above it; what `--show-config` prints and `--config`
    reads.

    Raises:
        EngineUnavailableError: PyYAML is not installed.
    """
    return "\n".join(_described(config, config.model_dump(mode="json"), "")) + "\n"


def _described(model: BaseModel, values: dict[str, Any], indent: str) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        yield f"{indent}# {field.description}"
        inner = getattr(model, name)
        if isinstance(inner, BaseModel):
            yield f"{indent}{name}:"
            yield from _described(inner, values[name], indent + "  ")
        else:
            text = _yaml().safe_dump(values[name], default_flow_style=True, width=10_000)
            yield f"{indent}{name}: {text.splitlines()[0]}"


def _yaml() -> ModuleType:
    return load_yaml_library("Reading or printing a training configuration")
