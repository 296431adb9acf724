"""Every choice of a training, with the two recipes. `gliomask train --config FILE` reads these fields from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gliomask import augment
from gliomask.errors import UsageError
from gliomask.networks.catalogue import NETWORKS
from gliomask.sequences import PAPER_ORDER, Sequence

PAPER_WEIGHTS = (0.28, 0.08, 0.43, 0.21)
"""Class weights of the authors' `training.py`, in the order background, 1, 2, 4."""


class AugmentConfig(BaseModel):
    """Largest change of each kind; see `gliomask.augment.Strength`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flips: bool = Field(True, description="mirror each in-plane axis with probability one half")
    rotation_degrees: float = Field(20.0, ge=0, le=180, description="in-plane rotation, either way, degrees")
    scaling: float = Field(0.15, ge=0, lt=1, description="relative zoom of each axis")
    gain: float = Field(0.15, ge=0, lt=1, description="relative change of each sequence's contrast")
    offset: float = Field(0.15, ge=0, description="shift of each sequence, standard deviations of the brain")
    gamma: float = Field(0.2, ge=0, description="logarithm of the exponent of a contrast curve")
    bias: float = Field(0.15, ge=0, lt=1, description="height of a smooth multiplicative field")
    noise: float = Field(0.1, ge=0, description="standard deviation of added noise")

    def strength(self) -> augment.Strength:
        """The same numbers as the augmentation code takes them."""
        return augment.Strength(**self.model_dump())


class TrainConfig(BaseModel):
    """One training, completely: the same file, data and seed give the same weights on the same machine and backend."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field("sparse", description=f"one of {', '.join(NETWORKS)}")
    recipe: Literal["paper", "default"] = Field("default", description="which recipe the values below started from")
    sequences: tuple[Sequence, ...] = Field(PAPER_ORDER, description="channel order of the network's input")
    normalisation: Literal["slice", "volume"] = Field("volume", description="intensity normalisation: the paper's per slice, or per volume")
    sampling: Literal["equal", "uniform"] = Field("equal", description="patches drawn equally per class, or anywhere in the brain")
    patch_size: int = Field(64, ge=8, le=512, multiple_of=2, description="height and width of a training patch, pixels")
    patches_per_class: int = Field(5, ge=1, description="patches per patient, class and epoch")
    epochs: int = Field(25, ge=1, description="most epochs")
    batch_size: int = Field(8, ge=1, description="patches per step")
    optimiser: Literal["sgd", "adamw"] = Field("adamw", description="sgd: Nesterov momentum 0.9; adamw: decoupled weight decay")
    learning_rate: float = Field(1e-3, gt=0, description="at the start (sgd) or at its peak (adamw)")
    decay_per_epoch: float | None = Field(None, gt=0, le=1, description="factor per epoch; null: warm-up, then a cosine to zero over all epochs")
    clip_norm: float = Field(1.0, ge=0, description="largest norm of the whole gradient; 0: no clipping")
    weight_decay: float = Field(1e-4, ge=0, description="adamw only")
    class_weights: Literal["uniform", "paper", "inverse-frequency"] | Annotated[tuple[float, ...], Field(min_length=4, max_length=4)] = Field(
        "uniform", description="weights of the cross-entropy by class (background, 1, 2, enhancing); rescaled to a mean of one"
    )
    dice_weight: float = Field(0.5, ge=0, description="weight of the soft Dice loss over WT, TC and ET, added to the cross-entropy")
    average: float = Field(0.99, ge=0, lt=1, description="momentum of the moving average of the weights that is kept; 0 for none")
    augmentation: AugmentConfig = Field(AugmentConfig(), description="random changes of every patch")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of the training patients set aside to choose the best epoch")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation loss; needs validation")
    seed: int = Field(0, ge=0, description="of the weights, the draws and the augmentation")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: all that this process may use")
    mixed_precision: bool = Field(False, description="half-precision arithmetic, for a GPU")

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.network not in NETWORKS:
            raise ValueError(f"there is no network '{self.network}'; known ones: {', '.join(NETWORKS)}")
        if self.patience is not None and self.validation_share == 0:
            raise ValueError("patience needs a validation_share above 0")
        return self


RECIPES: dict[str, dict[str, Any]] = {
    # The authors' training.py and model.py: SGD 1e-3, Nesterov 0.9, x 0.99 per epoch, batch 8, at most 100 epochs, patience 10, no
    # augmentation. Patch counts were not published. Keras's `decay=1e-6` per update is left out: 1 % over 10,000 updates.
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
}
"""Values that differ from `TrainConfig`'s own defaults, by recipe."""


def make_config(recipe: str, file: Path | None = None, **overrides: Any) -> TrainConfig:
    """Returns the configuration: the recipe, then the file's fields, then the overrides that are not None.

    Raises:
        UsageError: unknown recipe, unreadable file, unknown field or value out of range; the message names the field.
    """
    if recipe not in RECIPES:
        raise UsageError(f"There is no recipe '{recipe}'. Known ones: {', '.join(RECIPES)}.")
    values: dict[str, Any] = {"recipe": recipe, **RECIPES[recipe]}
    if file is not None:
        values |= _read_fields(file)
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'configuration'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{file or 'The training configuration'}: {problems}. All fields: gliomask train --show-config.") from error


def _read_fields(file: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: cannot be read as YAML ({error}).") from error
    if not isinstance(fields, dict):
        raise UsageError(f"{file}: a mapping of field names to values is needed; found {type(fields).__name__}.")
    return fields


def describe_config(config: TrainConfig) -> str:
    """Returns the configuration as YAML with every field's meaning beside it; what `--show-config` prints and `--config` reads."""
    lines = []
    values = config.model_dump(mode="json")
    for name, field in TrainConfig.model_fields.items():
        text = yaml.safe_dump({name: values[name]}, default_flow_style=name not in ("augmentation",), sort_keys=False, width=200).strip()
        text = text.removeprefix("{").removesuffix("}")
        lines += [f"# {field.description}", text]
    return "\n".join(lines) + "\n"
