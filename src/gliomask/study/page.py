"""The study's page for people: what was done, what came out, what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

from gliomask.labels import Region
from gliomask.metrics.empty import policy
from gliomask.metrics.summary import RESAMPLES, MetricSummary
from gliomask.study.config import BUDGET_PATCH, StudyComparison
from gliomask.study.results import Results


@dataclass(frozen=True)
class Facts:
    """What is known of the work besides scores, as the tables hold it.

    Args:
        trainings: a row per finished training.
        predictions: a row per finished prediction.
        curves: a row per epoch.
    """

    trainings: list[dict[str, str]]
    predictions: list[dict[str, str]]
    curves: list[dict[str, str]]


def page(results: Results, facts: Facts, figures: set[str]) -> str:
    """Returns the page as Markdown.

    Args:
        results: all scores.
        facts: seeds, hours and the like.
        figures: names of the pictures that exist.
    """
    study = results.plan.study
    parts = [f"# {study.title}", *_introduction(results), *_missing(results), "## All experiments", *_overview(results)]
    for n, comparison in enumerate(study.comparisons, start=1):
        parts += [f"## {n}. {comparison.title}", *_comparison(results, comparison, figures)]
    if "learning_curves" in figures:
        parts += [
            "## Learning curves",
            "![learning curves](figures/learning_curves.png)",
            "Losses of differently weighted trainings are on different scales.",
        ]
    if "panel" in figures:
        caption = (
            "Patients of the baseline from the lowest to the highest whole-tumour Dice, at even ranks: nobody "
            "picked them."
        )
        parts += ["## Panel", "![FLAIR, reference, network, post-processing 1, 1 and 2](figures/panel.png)", caption]
    parts += ["## Trainings", *_trainings(results, facts), "## How to read this", *_reading(results)]
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results) -> Iterator[str]:
    plan = results.plan
    study = plan.study
    held_out = sum(len(plan.cases(fold)) for fold in plan.folds)
    yield (
        f"{len(plan.rows)} experiments, each cross-validated on {len(plan.folds)} of "
        f"{len(set(plan.fold_of.values()))} folds: {held_out} patients, each "
        "segmented by a network that never saw them and was trained on all patients of the other folds "
        f"({len(plan.fold_of)} patients in all)."
    )
    if study.patches is not None:
        yield (
            f"Every training sees about {study.patches:,} patches of {BUDGET_PATCH} x {BUDGET_PATCH} pixels, or as "
            "many pixels in larger or smaller ones. "
            "What follows holds for that budget."
        )
    yield (
        f"Baseline: `{study.baseline}`. Empty regions: policy {study.policy} ({policy(study.policy).description}). "
        f"Seed of the bootstrap: {study.seed}. "
        "Numbers behind this page: `tables/`; what exactly each experiment is: `study.json`."
    )


def _missing(results: Results) -> Iterator[str]:
    cells, missing = len(results.states), results.missing
    if not missing:
        yield f"All {cells} cells (experiment and fold) are there."
        return
    yield (
        f"**Unfinished: {len(missing)} of {cells} cells are missing.** Numbers below rest on the patients that are "
        "there (column n)."
    )
    folds = results.plan.folds
    waiting = dict.fromkeys(name for name, _ in missing)
    rows = [[f"`{name}`", *(results.states[name, fold] for fold in folds)] for name in waiting]
    yield markdown(["experiment", *(f"fold {fold}" for fold in folds)], rows)
    if results.failed:
        yield "\n".join(f"- `{step}` failed: {why}" for step, why in results.failed.items())


def _overview(results: Results) -> Iterator[str]:
    scored = [name for name in results.plan.rows if _n(results, name)]
    if not scored:
        yield "No patient is scored yet."
        return
    yield "Dice: mean, then median, each with its 95 % interval."
    heads = [f"{region.value} {kind}" for kind in ("mean", "median") for region in Region]
    rows = []
    for name in scored:
        summaries = [results.summary(name, region, "dice") for region in Region]
        rows.append(
            [
                _name(results, name),
                str(_n(results, name)),
                *(_interval(one, kind) for kind in ("mean", "median") for one in summaries),
            ]
        )
    yield markdown(["experiment", "n", *heads], rows)
    yield "Means of sensitivity and specificity (over the whole grid, air included), median HD95 in mm:"
    columns = [("sensitivity", "mean", 3), ("specificity_grid", "mean", 5), ("hd95_mm", "median", 1)]
    heads = [f"{region.value} {title}" for title in ("sensitivity", "specificity", "HD95") for region in Region]
    rows = []
    for name in scored:
        values = [
            (getattr(results.summary(name, region, metric), kind), digits)
            for metric, kind, digits in columns
            for region in Region
        ]
        rows.append([f"`{name}`", *(f"{value:.{digits}f}" for value, digits in values)])
    yield markdown(["experiment", *heads], rows)


def _comparison(results: Results, comparison: StudyComparison, figures: set[str]) -> Iterator[str]:
    baseline = results.plan.study.baseline_of(comparison)
    if comparison.question:
        yield comparison.question
    yield f"Difference of Dice from `{baseline}`, patient by patient: mean, 95 % interval, p after Holm's correction."
    by_region = {(d.experiment, d.region): d for d in results.compare(comparison, "dice")}
    rows = []
    for name in comparison.experiments:
        differences = [by_region[name, region] for region in Region]
        cells = [
            f"{_signed(d.paired.difference)} {_p(d.p_holm)}" if d.paired.difference.n else "missing"
            for d in differences
        ]
        medians = [
            f"{_signed(d.paired.difference, 'median')}" if d.paired.difference.n else "missing" for d in differences
        ]
        rows.append([_name(results, name), str(differences[0].paired.difference.n), *cells, *medians])
    yield markdown(
        ["experiment", "n", *(f"{r.value} mean" for r in Region), *(f"{r.value} median" for r in Region)], rows
    )
    if comparison.name in figures:
        yield f"![{comparison.title}](figures/{comparison.name}.png)"


def _trainings(results: Results, facts: Facts) -> Iterator[str]:
    if not facts.trainings:
        yield "None has finished yet."
        return
    columns = ["fold", "seed", "cases", "patches", "epochs", "hours", "threads", "backend", "device", "machine"]
    names = results.plan.experiments_of
    yield markdown(
        ["training", "experiments", *columns],
        [
            [
                row["training"],
                ", ".join(f"`{name}`" for name in names(row["training"])),
                *(row[column] for column in columns),
            ]
            for row in facts.trainings
        ],
    )
    yield f"{sum(float(row['hours']) for row in facts.trainings):.2f} hours of training in all, counted per process."
    if facts.predictions:
        yield "Seconds a case, median (network alone, and with reading, checks and writing):"
        columns = ["fold", "cases", "network_seconds", "total_seconds", "threads"]
        yield markdown(
            ["prediction", *columns],
            [[row["prediction"], *(row[column] for column in columns)] for row in facts.predictions],
        )


def _reading(results: Results) -> Iterator[str]:
    patients = sum(len(results.plan.cases(fold)) for fold in results.plan.folds)
    yield (
        f"- Intervals are the 2.5th and 97.5th percentile of {RESAMPLES:,} bootstrap samples over patients. That the "
        "patients of one fold share a network, and "
        "the networks most of their training patients, they do not count.\n"
        "- p is of Wilcoxon's signed-rank test on the patients' differences, two-sided, corrected by Holm's method "
        "for the experiments and regions of its "
        "comparison; comparisons are not corrected for each other.\n"
        "- A difference whose interval holds 0 has not been shown here, which is not the same as there being none: "
        f"with {patients} patients only large ones can be.\n"
        "- Each training has one seed. What another seed would change is in none of the intervals."
    )
    yield "Research software, not a medical device."


def markdown(head: Ordered[str], rows: Ordered[Ordered[str]]) -> str:
    """Returns a table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def _n(results: Results, name: str) -> int:
    return len(results.cells[name].scores)


def _name(results: Results, name: str) -> str:
    title = results.plan.rows[name].experiment.title
    return f"`{name}` {title}" if title else f"`{name}`"


def _interval(summary: MetricSummary, kind: str) -> str:
    value, low, high = (getattr(summary, name) for name in (kind, f"{kind}_low", f"{kind}_high"))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _signed(summary: MetricSummary, kind: str = "mean") -> str:
    value, low, high = (getattr(summary, name) for name in (kind, f"{kind}_low", f"{kind}_high"))
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _p(value: float) -> str:
    if math.isnan(value):
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
