"""What models there are and what each says of itself, read as plain JSON: nothing is checked, opened or imported that
takes time.

`models.registry` finds models here, and checks them. `gliomask models verify` says whether what is shown can be
trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gliomask.errors import ModelError
from gliomask.files.json import parse_json
from gliomask.models.content import MAX_BYTES, SPEC_NAME, read_limited, sha256
from gliomask.networks.catalogue import NETWORKS

SHIPPED_FOLDER = Path(__file__).parent / "shipped"
SHIPPED = {
    "residual-unet": "unet",
    "sparse-multi-ocm": "sparse",
    "input-sparse-multi-ocm": "input-sparse",
    "dense-multi-ocm": "dense",
}
"""Shipped model to the network that it holds."""

DEFAULT_MODEL = "residual-unet"

CARDS = "docs/model-cards"
"""Where the cards of shipped models lie in the repository."""


@dataclass(frozen=True)
class ModelSummary:
    """What a model says of itself. None stands for what it does not say.

    Args:
        name: as typed after `--model`.
        shipped: whether it comes with gliomask.
        default: whether it is the one that is used unless another is named.
        folder: where it lies.
        title: of its network.
        network: of `networks.catalogue`, or `foreign`.
        kind: whether it takes slices or volumes.
        parameters: numbers in its weights.
        needs: sequences that it takes.
        may_miss: those of them that it can do without, one at least of FLAIR and T1ce staying.
        trained_on: its training data in a sentence.
        dice: by region, each figure of `scores` with its interval where there is one.
        scored_cases: how many patients the scores are of; models are comparable only where these are the same.
        protocol: how the scores came about.
        seconds: that a case takes.
        timing: what was measured there, on what machine.
        ensemble_member: the model that is asked as well where this one suspects tumour; empty for none.
        quality: how much its own estimates of a result's Dice are worth, by region, in a sentence each; empty where it
            makes none.
        lacking: median Dice of each region by what a patient lacks, such as `t1 t2`, segmented by this model alone;
            `nothing` for comparison.
        licence: of the weights.
        card: the model card, in the repository.
        sha256: of `model.json`, which holds the hashes of all other files.
        megabytes: size of the graph.
    """

    name: str
    shipped: bool
    default: bool
    folder: str
    title: str
    network: str
    kind: str
    parameters: int
    needs: tuple[str, ...]
    may_miss: tuple[str, ...]
    trained_on: str
    dice: dict[str, dict[str, float]]
    scored_cases: int | None
    protocol: str | None
    seconds: float | None
    timing: str | None
    ensemble_member: str
    quality: dict[str, str]
    lacking: dict[str, dict[str, float]]
    licence: str
    card: str | None
    sha256: str
    megabytes: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the summary for JSON."""
        return asdict(self)


def shipped_names() -> list[str]:
    """Returns the names of the shipped models that are there, the default first."""
    return [name for name in SHIPPED if (SHIPPED_FOLDER / name / SPEC_NAME).is_file()]


def find_model(name_or_path: str | Path) -> Path:
    """Returns the folder of a model.

    Args:
        name_or_path: a shipped model's name, its network's name or title in any case, or a model folder or the
            model.json or ONNX file in it. A name is taken before a folder of the same name; write `./name` for the
            folder.

    Raises:
        ModelError: there is no such model.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str):
        for name, network in SHIPPED.items():
            if name_or_path.lower() in (name, network, NETWORKS[network].title.lower()):
                path = SHIPPED_FOLDER / name
    if path.name in MAX_BYTES and (path.parent / SPEC_NAME).is_file():
        return path.parent
    if path.is_file():
        what = (
            "A network alone does not say what its inputs and outputs are; describe it once: gliomask models adopt "
            f"{path} --help"
        )
        raise ModelError(
            f"{path}: a file without {SPEC_NAME} beside it is no model. "
            f"{what if path.suffix == '.onnx' else 'Give a model folder.'}"
        )
    if not path.is_dir():
        known = ", ".join(f"{name} ({SHIPPED[name]})" for name in shipped_names()) or "none in this installation"
        raise ModelError(
            f"There is no model '{name_or_path}'. Shipped models: {known}; or give a model folder, as gliomask "
            "export writes it."
        )
    return path


def summaries() -> list[ModelSummary]:
    """Returns what each shipped model says of itself, the default first."""
    return [summarise(SHIPPED_FOLDER / name) for name in shipped_names()]


def summarise(folder: Path) -> ModelSummary:
    """Returns what a model says of itself.

    Raises:
        ModelError: its `model.json` is missing, is not JSON or lacks what every model must say.
    """
    content = read_limited(folder / SPEC_NAME)
    try:
        return _summary(folder, parse_json(content), sha256(content))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{folder / SPEC_NAME}: not a model file that can be read ({type(error).__name__}: {error}). Export the "
            "model again."
        ) from error


def _summary(folder: Path, fields: Mapping[str, Any], digest: str) -> ModelSummary:
    shipped = folder.parent == SHIPPED_FOLDER
    timing = fields["timing"] or {}
    graph = folder / "model.onnx"
    return ModelSummary(
        name=str(fields["name"]),
        shipped=shipped,
        default=shipped and folder.name == DEFAULT_MODEL,
        folder=str(folder),
        title=str(fields["title"]),
        network=str(fields["network"]),
        kind=_kind(fields),
        parameters=int(fields["parameters"]),
        needs=tuple(map(str, fields["inputs"])),
        may_miss=tuple(map(str, fields["may_miss"])),
        trained_on=_trained_on(fields),
        dice=dict(_dice(fields["scores"])),
        scored_cases=fields["scores"].get("cases"),
        protocol=fields["scores"].get("protocol"),
        seconds=timing.get("seconds"),
        timing=timing.get("conditions"),
        ensemble_member=str(fields["second_opinion"] or ""),
        quality=dict(_quality(fields["quality"] or {})),
        lacking=dict(_lacking(fields["subsets"] or {})),
        licence=str(fields["licence"]),
        card=f"{CARDS}/{fields['name']}.md" if shipped else None,
        sha256=digest,
        megabytes=round(graph.stat().st_size / 1e6, 2) if graph.is_file() else None,
    )


def _kind(fields: Mapping[str, Any]) -> str:
    neighbours = int(fields["neighbouring_slices"])
    size = fields["graph"]["size"]
    kind = f"slices with {neighbours} neighbours on each side" if neighbours else str(fields["input_kind"])
    return kind + (f", in windows of {' x '.join(map(str, size))}" if size else "")


def _trained_on(fields: Mapping[str, Any]) -> str:
    if fields["foreign"]:
        return f"{fields['foreign']['training']} Origin: {fields['foreign']['origin']}"
    training = fields["training"]
    return (
        f"{len(training['cases'])} patients, {training['patches']:,} patches, {training['hours']:.2f} hours on "
        f"{training['device']}"
    )


def _dice(scores: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    for region, metrics in (scores.get("regions") or {}).items():
        figures = {
            name: float(value)
            for name, value in metrics.get("dice", {}).items()
            if re.fullmatch("(median|mean)(_low|_high)?", name)
        }
        if figures:
            yield region, figures


def _quality(quality: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for region, line in quality.get("regions", {}).items():
        spearman = "not measured" if line["spearman"] is None else f"{float(line['spearman']):.2f}"
        yield (
            region,
            f"rank correlation {spearman}; {float(line['held']):.0%} of {int(quality['cases'])} cases in the interval, "
            f"which is {float(line['width']):.2f} wide (median)",
        )


def _lacking(subsets: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    for one in subsets.get("sets", ()):
        yield (
            " ".join(map(str, one["without"])) or "nothing",
            {str(region): float(line["median"]) for region, line in one["regions"].items()},
        )
