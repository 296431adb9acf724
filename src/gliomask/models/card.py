"""Model cards: what a person should know before trusting a model, written out of its `model.json` so that no number can
drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gliomask.files.markdown import wrapped

if TYPE_CHECKING:
    from gliomask.models.calibration import Quality, Subsets
    from gliomask.models.spec import ModelSpec, TrainingRecord

SCORE_COLUMNS = {
    ("dice", "median"): "Dice, median",
    ("dice", "mean"): "Dice, mean",
    ("sensitivity", "mean"): "sensitivity, mean",
    ("specificity_grid", "mean"): "specificity (whole grid), mean",
    ("hd95_mm", "median"): "HD95 mm, median",
    ("hd95_mm", "mean"): "HD95 mm, mean",
}
"""Figures of `scores["regions"][region][metric]` that a card shows, with their headings."""

DICE_INTERVALS = {"median": ("median_low", "median_high"), "mean": ("mean_low", "mean_high")}
"""Where a summary keeps the 95 % interval of each."""

INTENDED_USE = """\
Research on glioma in adults before treatment: segmenting the tumour's parts in four MR sequences (FLAIR, T1, T1ce, T2)
that are co-registered, skull-stripped and at 1 mm, as BraTS prepares them. It is research software, not a medical
device: it must not be used to diagnose or to plan a treatment, and a person has to look at every result."""

LIMITS = """\
- The training patients are few, and mostly glioblastoma. Low-grade tumours, children, treated tumours with resection
  cavities, and other lesions (metastasis, stroke, multiple sclerosis) are outside what the network has learned; it will
  mark something anyway.
- Known weak spots: enhancement found where a tumour has none, small lesions, core taken for oedema, and low-grade
  cores.
- {reach} It has no notion of anatomy.
- Scans with skull, swapped sequences or other spacing are flagged where that can be seen, but the flags are heuristics.
- Scores were measured on patients of the same archives as the training patients; other scanners may do worse."""

ENSEMBLE_MEMBER = """\
Where it suspects tumour, `{name}` is asked as well, unless `--ensemble-member none` is given or the patient lacks a
sequence that `{name}` needs, and the two networks' probabilities are averaged. Scores, times and the judgement of its
own results are those of both together."""

CORE_RULE = """\
Where less than {enhancing_share:g} of the tumour enhances, its core is all of it to which the networks give core more
than {core_probability:g} (`--no-core-rule` leaves that out). Command: `{command}`."""

PLANES = """\
It is asked along {planes} slices, and the probabilities are averaged: near what a first look at every third axial slice
suspects, and over the whole brain where that leaves it unsure (`--whole-brain`: always; `--single-plane`: axial slices
alone)."""

ENHANCEMENT_RULE = """\
A connected component of enhancement is called core where the voxels to which the network gives enhancement more than
{probability:g} do not fill {seed_ml:g} ml (`--keep-uncertain-enhancement` leaves that out). Numbers: {command}."""

FOREIGN_LIMITS = """\
- gliomask did not train this network and has not scored it. That its engines agree on the golden pair says nothing of
  its quality.
- Scans with skull, swapped sequences or other spacing are flagged where that can be seen, but the flags are
  heuristics."""


def card(spec: ModelSpec) -> str:
    """Returns the model card of a model as Markdown."""
    sections = [
        f"# {spec.title} (`{spec.name}`)",
        f"{spec.parameters:,} parameters, receptive field {_field(spec.receptive_field)}, {_kind(spec)}; "
        f"inputs {', '.join(spec.inputs)}; outputs {', '.join(spec.outputs)}.",
        "## Intended use",
        INTENDED_USE,
        "## Scores",
        _scores(spec.scores),
        *(
            [f"A case takes {spec.timing.seconds:g} s: {spec.timing.conditions} (`{spec.timing.command}`)."]
            if spec.timing
            else []
        ),
        *([ENSEMBLE_MEMBER.format(name=spec.second_opinion)] if spec.second_opinion else []),
        *([PLANES.format(planes=", ".join(spec.planes))] if len(spec.planes) > 1 else []),
        *([ENHANCEMENT_RULE.format_map(spec.enhancement_rule.model_dump())] if spec.enhancement_rule else []),
        *([CORE_RULE.format_map(spec.core_rule.model_dump())] if spec.core_rule else []),
        *(["## How sure it is", _quality(spec.quality)] if spec.quality else []),
        *(["## Patients who lack sequences", _subsets(spec.subsets)] if spec.subsets else []),
        "## Training",
        *(_training(spec, spec.training) if spec.training else []),
        *([f"Not by gliomask. {spec.foreign.training} Origin: {spec.foreign.origin}"] if spec.foreign else []),
        "## Limits",
        LIMITS.format(reach=_reach(spec)) if spec.training else FOREIGN_LIMITS,
        "## Licence and attribution",
        f"Weights: {spec.licence}. With every use, name:" if spec.attribution else f"Weights: {spec.licence}.",
        *([_bullets(spec.attribution)] if spec.attribution else []),
    ]
    return wrapped("\n\n".join(sections)) + "\n"


def _field(pixels: int | None) -> str:
    return "not known" if pixels is None else f"{pixels} x {pixels} pixels"


def _reach(spec: ModelSpec) -> str:
    if spec.receptive_field is None:
        return "How far the network sees is not known."
    seen = "one slice" if spec.slices == 1 else f"{spec.slices} slices"
    return f"The network sees {seen} at a time, and of it {spec.receptive_field} pixels about each pixel."


def _kind(spec: ModelSpec) -> str:
    seen = f", {spec.neighbouring_slices} neighbours on each side" if spec.neighbouring_slices else ""
    size = f" in windows of {' x '.join(map(str, spec.graph.size))}" if spec.graph.size else ""
    return spec.input_kind + seen + size


def _training(spec: ModelSpec, training: TrainingRecord) -> list[str]:
    return [
        f"{len(training.cases)} patients, {training.patches:,} patches of {training.config.get('patch_size')} x "
        f"{training.config.get('patch_size')} pixels, "
        f"recipe `{training.recipe}`, seed {training.seed}, {training.hours:.2f} hours on {training.backend} "
        f"({training.device}), "
        f"Keras {training.keras}, gliomask {training.gliomask}. Normalisation `{spec.normalisation.method}`, "
        f"post-processing `{spec.postprocess}`. "
        "Every choice is in `model.json`.",
        *([_origin(training.started_from)] if training.started_from else []),
        "Patients trained on: " + ", ".join(training.cases) + ".",
        *(["Patients held out: " + ", ".join(training.held_out_cases) + "."] if training.held_out_cases else []),
    ]


def _origin(origin: Mapping[str, Any]) -> str:
    patches = origin["patches"] or 0
    before = f"{patches:,} patches of {len(origin['cases'])} of these patients, {origin['hours'] or 0:.2f} hours"
    return f"It began with the weights of `{origin['name']}` ({before})."


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _scores(scores: Mapping[str, Any]) -> str:
    regions = scores.get("regions")
    if not isinstance(regions, Mapping):
        return "None were measured."
    header = ["region", *SCORE_COLUMNS.values()]
    rows = [[region, *(_figure(metrics, *key) for key in SCORE_COLUMNS)] for region, metrics in regions.items()]
    table = _table(header, rows)
    commands = _bullets(f"`{line}`" for line in scores.get("commands", []))
    return f"{scores.get('protocol', '')}\n\n{table}\n\n{scores.get('reading', '')}\n\nCommands:\n\n{commands}"


def _quality(quality: Quality) -> str:
    header = [
        "region",
        "Dice to be expected",
        "interval",
        "rank correlation with the Dice had",
        "cases in the interval",
        "median width",
    ]
    rows = [
        [
            region,
            f"{line.intercept:+.3f} + {line.slope:.3f} x what the network expects",
            f"-{line.below:.3f}, +{line.above:.3f}",
            "-" if line.spearman is None else f"{line.spearman:.2f}",
            f"{line.held:.0%}",
            f"{line.width:.2f}",
        ]
        for region, line in quality.regions.items()
    ]
    table = _table(header, rows)
    flags = (
        f"Of {quality.cases} cases {quality.flagged} would have been flagged `doubtful`, among them "
        f"{quality.worst_flagged} of the {quality.worst} worst "
        "(by the mean of the three Dice)."
    )
    aim = (
        "Every result comes with the Dice that is to be expected and an interval meant to hold "
        f"{quality.coverage:.0%} of the cases."
    )
    return f"{aim} {quality.protocol}\n\n{table}\n\n{flags}\n\nCommand: `{quality.command}`"


def _subsets(subsets: Subsets) -> str:
    header = ["without", *(f"{region}: median, mean, in the interval" for region in subsets.sets[0].regions), "flagged"]
    rows = [
        [
            ", ".join(one.without) or "nothing",
            *(f"{line.median:.3f}, {line.mean:.3f}, {line.held:.0%}" for line in one.regions.values()),
            str(one.flagged),
        ]
        for one in subsets.sets
    ]
    about = (
        "Dice of the network alone, without a second ensemble member, which is not asked about such patients, and how "
        "many of the intervals given with it held."
    )
    return f"{about} {subsets.protocol}\n\n{_table(header, rows)}\n\nCommand: `{subsets.command}`"


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def _figure(metrics: Mapping[str, Any], metric: str, statistic: str) -> str:
    summary = metrics.get(metric, {})
    if summary.get(statistic) is None:
        return "-"
    if metric != "dice":
        return f"{summary[statistic]:.4g}"
    low, high = (summary[name] for name in DICE_INTERVALS[statistic])
    return f"{summary[statistic]:.3f} ({low:.3f} to {high:.3f})"
