"""What a study consists of: its folds, its budget, its experiments and what is compared with what.

`study.read` takes it from YAML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from gliomask.errors import UsageError
from gliomask.files.yaml import load_yaml_library
from gliomask.metrics.empty import POLICIES
from gliomask.models.spec import ChainName
from gliomask.postprocess import CHAINS
from gliomask.training.config import RECIPES, TrainConfig

BUDGET_PATCH = 64
"""The budget counts patches of this many pixels a side, so that every training sees as many pixels whatever its patches
measure.
"""

MACHINE_FIELDS = ("threads",)
"""Fields of a training that belong to the machine and not to the study."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+_-]*$", max_length=60)]
"""Names become file names: lower-case letters, digits, dot, plus, dash, underscore."""

Fields = dict[str, JsonValue]
"""Fields of `TrainConfig` by name."""


class _ConfigPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Inference(_ConfigPart):
    """How a slice is cut before it goes through the network; see `gliomask.predict.brain.PatchPlan`."""

    patches: Literal["whole", "adjacent", "overlapping"] = Field(
        default="whole", description="whole slices, patches side by side, or overlapping ones"
    )
    patch_size: int = Field(
        default=64, ge=2, le=512, multiple_of=2, description="side of a patch, pixels; not used by whole"
    )
    stride: int | None = Field(
        default=None,
        ge=2,
        multiple_of=2,
        description="between overlapping patches; null: the paper's offset of half a patch",
    )


class Experiment(_ConfigPart):
    """One row of the table: a training, a way of inference and a post-processing."""

    name: Name = Field(description="of the row; also of its files")
    title: str = Field(default="", description="in words, for tables and pictures; the name where it is empty")
    training: Fields = Field(
        default={},
        description="fields of a training that differ from the study's own, as `gliomask train "
        "--show-config` lists them",
    )
    inference: Inference = Field(default=Inference(), description="how slices are cut")
    postprocess: ChainName = Field(default="none", description=f"one of {', '.join(CHAINS)}")

    @property
    def label(self) -> str:
        """The title, or the name."""
        return self.title or self.name


class StudyComparison(_ConfigPart):
    """One question of the study: some experiments against one of them."""

    name: Name = Field(description="of the comparison; also of its picture")
    title: str = Field(description="heading")
    question: str = Field(default="", description="what is asked, for the page")
    baseline: Name | None = Field(
        default=None, description="what the others are compared with; null: the study's baseline"
    )
    experiments: tuple[Name, ...] = Field(min_length=1, description="the others, in the order of the table")


class StudyConfig(_ConfigPart):
    """A whole study: the same file, cases and seeds give the same tables on the same machine."""

    title: str = Field(default="The study of Ben Naceur et al. 2020, repeated", description="heading of the page")
    folds: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="folds that are held out in turn; null: every fold of the table"
    )
    patches: int | None = Field(
        default=26_000,
        ge=1,
        description="budget: patches of 64 x 64 pixels per training, from which the epochs follow (larger patches: "
        "fewer); null: epochs of the training fields",
    )
    training: Fields = Field(
        default={},
        description="fields of every training, as `gliomask train --show-config` lists them; the others have "
        "their defaults",
    )
    policy: str = Field(default="brats2020", description=f"what empty regions score: {', '.join(POLICIES)}")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="of the bootstrap; a training's own seed stands among its fields"
    )
    baseline: Name = Field(
        description="experiment that the others are compared with, unless a comparison names another"
    )
    experiments: tuple[Experiment, ...] = Field(
        min_length=1, description="the rows, in the order in which they are worked off"
    )
    comparisons: tuple[StudyComparison, ...] = Field(default=(), description="the questions, in the order of the page")

    @property
    def by_name(self) -> dict[str, Experiment]:
        """The experiments."""
        return {experiment.name: experiment for experiment in self.experiments}

    def baseline_of(self, comparison: StudyComparison) -> str:
        """The experiment that a comparison's others are compared with."""
        return comparison.baseline or self.baseline

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, policy: str) -> str:
        if policy not in POLICIES:
            raise ValueError(f"there is no policy '{policy}'; known ones: {', '.join(POLICIES)}")
        return policy

    @model_validator(mode="after")
    def _check(self) -> StudyConfig:
        _refuse_twice("experiments", [experiment.name for experiment in self.experiments])
        _refuse_twice("comparisons", [comparison.name for comparison in self.comparisons])
        _refuse_twice("folds", list(self.folds or ()))
        if self.baseline not in self.by_name:
            raise ValueError(f"baseline '{self.baseline}' is no experiment; there are {', '.join(self.by_name)}")
        for comparison in self.comparisons:
            named = [self.baseline_of(comparison), *comparison.experiments]
            _refuse_twice(f"comparison '{comparison.name}'", named)
            unknown = [name for name in named if name not in self.by_name]
            if unknown:
                raise ValueError(
                    f"comparison '{comparison.name}' names '{unknown[0]}', which is no experiment; there are "
                    f"{', '.join(self.by_name)}"
                )
        return self


def _refuse_twice(place: str, names: list[Any]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{place}: '{twice[0]}' stands twice")


def make_study(fields: dict[str, Any], source: str) -> StudyConfig:
    """Checks the fields of a study, each experiment's training among them.

    Args:
        fields: as read from YAML or JSON.
        source: where they come from, for messages.

    Raises:
        UsageError: unknown field, value out of range, a name that stands twice or is missing; the message names the
            field.
    """
    try:
        study = StudyConfig.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{source}: {_problems(error, fields)}. All fields: gliomask study --show-config.") from error
    for experiment in study.experiments:
        train_config(study, experiment, source=source)
    return study


def train_config(
    study: StudyConfig, experiment: Experiment, *, training_cases: float | None = None, source: str = "The study"
) -> TrainConfig:
    """Returns an experiment's training: the recipe, then the study's fields, then the experiment's, then the epochs
    that the budget buys.

    Args:
        study: the study.
        experiment: one of its experiments.
        training_cases: patients per training, which with the budget decides on the epochs; None leaves them as they
            are.
        source: where the study comes from, for messages.

    Raises:
        UsageError: a field does not exist, is out of range, or is not the experiment's to choose.
    """
    fields = study.training | experiment.training
    for name in MACHINE_FIELDS:
        if name in fields:
            raise UsageError(
                f"{source}: experiment '{experiment.name}': {name} belongs to the machine. Leave it out and "
                f"give --{name}."
            )
    if study.patches is not None and "epochs" in fields:
        raise UsageError(
            f"{source}: experiment '{experiment.name}': patches {study.patches} decides on the epochs already. Give "
            "patches or epochs, not both."
        )
    recipe = fields.get("recipe", "default")
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise UsageError(
            f"{source}: experiment '{experiment.name}': there is no recipe '{recipe}'. Known ones: "
            f"{', '.join(RECIPES)}."
        )
    try:
        config = TrainConfig.model_validate(RECIPES[recipe] | fields | {"recipe": recipe})
    except ValidationError as error:
        raise UsageError(
            f"{source}: experiment '{experiment.name}': training: {_problems(error, fields)}. All fields: gliomask "
            "train --show-config."
        ) from error
    if study.patches is None or training_cases is None:
        return config
    return config.model_copy(update={"epochs": _epochs(study.patches, config, training_cases)})


def _epochs(patches: int, config: TrainConfig, training_cases: float) -> int:
    # Every patient counts with four classes, also one that lacks a class: the budget is the same for all experiments,
    # not exact to the patch.
    pixels_per_epoch = training_cases * 4 * config.patches_per_class * config.patch_size**2
    return max(1, round(patches * BUDGET_PATCH**2 / pixels_per_epoch))


def _problems(error: ValidationError, fields: dict[str, Any]) -> str:
    return "; ".join(
        f"{_place(problem['loc'], fields)}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    )


def _place(location: tuple[int | str, ...], fields: dict[str, Any]) -> str:
    """`experiments.dense.postprocess` rather than `experiments.3.postprocess`."""
    words: list[str] = []
    value: Any = fields
    for key in location:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        name = value.get("name") if isinstance(key, int) and isinstance(value, dict) else None
        words.append(str(key if name is None else name))
    return ".".join(words) or "study"


def describe_study(study: StudyConfig) -> str:
    """Returns a study as YAML with every field's meaning; what `--show-config` prints and `--config` reads.

    Raises:
        EngineUnavailableError: PyYAML is not installed.
    """
    return "\n".join(_described(study)) + "\n"


def _described(study: StudyConfig) -> Iterator[str]:
    values = study.model_dump(mode="json")
    for name, field in StudyConfig.model_fields.items():
        yield f"# {field.description}"
        if name in ("experiments", "comparisons"):
            part: type[_ConfigPart] = Experiment if name == "experiments" else StudyComparison
            yield from (f"#   {inner}: {entry.description}" for inner, entry in part.model_fields.items())
            yield f"{name}:" if values[name] else f"{name}: []"
            yield from (
                f"  - {_flow(item.model_dump(mode='json', exclude_defaults=True))}" for item in getattr(study, name)
            )
        else:
            yield f"{name}: {_flow(values[name])}"


def _flow(value: Any) -> str:
    text: str = _yaml().safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.splitlines()[0]


def _yaml() -> ModuleType:
    return load_yaml_library("Reading or printing a study")
