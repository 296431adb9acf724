"""What the scores of a study come to: every experiment on its own, and every comparison patient by patient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from gliomask.evaluate.scoring import METRICS
from gliomask.labels import Region
from gliomask.metrics.summary import MetricSummary, summarise
from gliomask.study.config import StudyComparison
from gliomask.study.folder import StudyFolder
from gliomask.study.plan import StudyPlan, Task, TaskKind
from gliomask.study.statistics import Paired, holm, paired
from gliomask.study.tables import Cells

COMPARED = ("dice", "sensitivity", "specificity_grid", "hd95_mm")
"""Metrics of the paper, which experiments are compared in."""


@dataclass(frozen=True)
class Difference:
    """One experiment against its comparison's baseline in one metric of one region.

    Args:
        comparison: name of the comparison.
        experiment: name of the experiment.
        baseline: name of the baseline.
        region: where.
        metric: what.
        paired: difference and p value.
        p_holm: the p value corrected for the comparison's experiments and regions.
    """

    comparison: str
    experiment: str
    baseline: str
    region: Region
    metric: str
    paired: Paired
    p_holm: float = math.nan


@dataclass(frozen=True)
class Results:
    """All scores that are there.

    Args:
        plan: the study.
        cells: scores by experiment, of the study's folds alone.
        states: how far each (experiment, fold) is.
        failed: why, by step, for steps that failed the last time.
    """

    plan: StudyPlan
    cells: dict[str, Cells]
    states: dict[tuple[str, int], str]
    failed: dict[str, str]

    @classmethod
    def read(cls, folder: StudyFolder, plan: StudyPlan) -> Results:
        """Reads what is in a study's folder."""
        held_out = [case for fold in plan.folds for case in plan.cases(fold)]
        cells = {name: folder.read_cells(name).of(held_out) for name in plan.rows}
        states = {(name, fold): folder.state(plan, name, fold) for name in plan.rows for fold in plan.folds}
        failed: dict[str, str] = folder.read_record()["failed"]
        states |= {
            (name, fold): "failed"
            for name, fold in states
            if str(Task(TaskKind.SCORE, name, fold)) in failed and states[name, fold] != "done"
        }
        # Steps that failed only because another did say nothing new.
        return cls(
            plan,
            cells,
            states,
            {step: why for step, why in failed.items() if why.removesuffix(" failed") not in failed},
        )

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The (experiment, fold) that have no scores yet."""
        return [cell for cell, state in self.states.items() if state != "done"]

    def describe(self) -> str:
        """Returns how far every experiment and fold is, as a table in text."""
        folds = self.plan.folds
        width = max(len("experiment"), *map(len, self.plan.rows)) + 2
        lines = ["experiment".ljust(width) + "".join(f"fold {fold}".ljust(20) for fold in folds)]
        lines += [
            name.ljust(width) + "".join(self.states[name, fold].ljust(20) for fold in folds) for name in self.plan.rows
        ]
        lines += [f"{step} failed: {why}" for step, why in self.failed.items()]
        return "\n".join(
            line.rstrip()
            for line in [*lines, f"{len(self.states) - len(self.missing)} of {len(self.states)} cells are there."]
        )

    def summary(self, experiment: str, region: Region, metric: str) -> MetricSummary:
        """What a column of an experiment comes to."""
        return _summary(tuple(_filled(self.cells[experiment].column(region, metric).values())), self.plan.study.seed)

    def compare(self, comparison: StudyComparison, metric: str) -> list[Difference]:
        """Every experiment of a comparison against its baseline, region by region, with p values corrected together."""
        baseline = self.plan.study.baseline_of(comparison)
        differences = [
            self._difference(comparison.name, name, baseline, region, metric)
            for name in comparison.experiments
            for region in Region
        ]
        corrected = holm([difference.paired.p for difference in differences])
        return [replace(difference, p_holm=p) for difference, p in zip(differences, corrected, strict=True)]

    def _difference(self, comparison: str, experiment: str, baseline: str, region: Region, metric: str) -> Difference:
        values, others = (self.cells[name].column(region, metric) for name in (experiment, baseline))
        return Difference(
            comparison,
            experiment,
            baseline,
            region,
            metric,
            _paired(_frozen(values), _frozen(others), self.plan.study.seed),
        )

    @cached_property
    def differences(self) -> list[Difference]:
        """Of all comparisons and metrics."""
        return [
            difference
            for comparison in self.plan.study.comparisons
            for metric in COMPARED
            for difference in self.compare(comparison, metric)
        ]

    def summary_rows(self) -> list[dict[str, Any]]:
        """A row per experiment, region and metric that has values."""
        return [
            {"experiment": name, "region": region.value, "metric": metric, **vars(summary)}
            for name in self.plan.rows
            for region in Region
            for metric in METRICS
            if (summary := self.summary(name, region, metric)).n
        ]

    def paired_rows(self) -> list[dict[str, Any]]:
        """A row per difference that rests on a patient at least."""
        return [
            {
                **{name: getattr(difference, name) for name in ("comparison", "experiment", "baseline")},
                "region": difference.region.value,
                "metric": difference.metric,
                "n": difference.paired.difference.n,
                **{
                    name: getattr(difference.paired.difference, name)
                    for name in ("mean", "mean_low", "mean_high", "median", "median_low", "median_high")
                },
                "p": difference.paired.p,
                "p_holm": difference.p_holm,
            }
            for difference in self.differences
            if difference.paired.difference.n
        ]

    def state_rows(self) -> list[dict[str, Any]]:
        """A row per experiment: how far each fold is."""
        return [
            {"experiment": name} | {f"fold {fold}": self.states[name, fold] for fold in self.plan.folds}
            for name in self.plan.rows
        ]


Frozen = tuple[tuple[str, float], ...]


def _filled(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _frozen(column: dict[str, float]) -> Frozen:
    return tuple((case, value) for case, value in column.items() if not math.isnan(value))


# The tables are written after every row, and most columns are the ones of the time before.
@cache
def _summary(values: tuple[float, ...], seed: int) -> MetricSummary:
    return summarise(values, seed)


@cache
def _paired(values: Frozen, baseline: Frozen, seed: int) -> Paired:
    return paired(dict(values), dict(baseline), seed)
