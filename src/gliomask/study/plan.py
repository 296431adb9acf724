"""Which trainings, predictions and scores a study needs: experiments that train alike share the training, those that
predict alike the prediction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gliomask.errors import CaseError, UsageError
from gliomask.study.config import MACHINE_FIELDS, Experiment, Inference, StudyConfig, train_config
from gliomask.training.config import TrainConfig


class TaskKind(StrEnum):
    """What a step of the work is."""

    TRAIN = "train"
    PREDICT = "predict"
    SCORE = "score"


@dataclass(frozen=True)
class Task:
    """One step of the work: a training, a prediction or an experiment (`name`), with one fold held out."""

    kind: TaskKind
    name: str
    fold: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}/{self.fold}"

    @classmethod
    def parse(cls, text: str) -> Task:
        """The inverse of `str`.

        Raises:
            UsageError: it is no task.
        """
        try:
            kind, name, fold = text.split("/")
            return cls(TaskKind(kind), name, int(fold))
        except ValueError:
            raise UsageError(f"'{text}' is no step of a study. One is written like train/sparse-0123abcd/0.") from None


@dataclass(frozen=True)
class StudyRow:
    """An experiment with all that it rests on.

    Args:
        experiment: as declared.
        config: its training, complete.
        training: name of the training, the same for all rows that train alike.
        prediction: name of the prediction, likewise.
    """

    experiment: Experiment
    config: TrainConfig
    training: str
    prediction: str

    def definition(self) -> dict[str, Any]:
        """Everything that its scores depend on, as JSON values."""
        training = {
            name: value for name, value in self.config.model_dump(mode="json").items() if name not in MACHINE_FIELDS
        }
        return {
            "training": training,
            "inference": self.experiment.inference.model_dump(mode="json"),
            "postprocess": self.experiment.postprocess,
        }


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """A study as work to do.

    Args:
        study: as declared.
        rows: by name of the experiment, in the study's order.
        folds: that are held out, in order.
        fold_of: fold of every case, held out or not.
    """

    study: StudyConfig
    rows: dict[str, StudyRow]
    folds: tuple[int, ...]
    fold_of: dict[str, int]

    def cases(self, fold: int) -> list[str]:
        """The cases that a fold holds out."""
        return [case for case, of in self.fold_of.items() if of == fold]

    def config(self, training: str) -> TrainConfig:
        """The configuration of a training."""
        return next(row.config for row in self.rows.values() if row.training == training)

    def row_of_prediction(self, prediction: str) -> StudyRow:
        """The first row that rests on a prediction."""
        return next(row for row in self.rows.values() if row.prediction == prediction)

    def experiments_of(self, training: str) -> list[str]:
        """Names of the rows that rest on a training."""
        return [name for name, row in self.rows.items() if row.training == training]

    def need(self, task: Task) -> Task | None:
        """The step that must be done before this one."""
        if task.kind is TaskKind.SCORE:
            return Task(TaskKind.PREDICT, self.rows[task.name].prediction, task.fold)
        if task.kind is TaskKind.PREDICT:
            return Task(TaskKind.TRAIN, self.row_of_prediction(task.name).training, task.fold)
        return None

    def missing(self, done: Callable[[Task], bool], only: tuple[str, ...] = ()) -> list[Task]:
        """Returns what must still be done, in the order of the experiments, each step after the one that it needs.

        Args:
            done: says whether a step's results are there; what a finished step rested on is not asked for.
            only: experiments to work on; all of them where it is empty.

        Raises:
            UsageError: there is no such experiment.
        """
        unknown = [name for name in only if name not in self.rows]
        if unknown:
            raise UsageError(f"There is no experiment '{unknown[0]}'. There are: {', '.join(self.rows)}.")
        tasks: dict[Task, None] = {}
        for name in only or self.rows:
            for fold in self.folds:
                chain: list[Task] = []
                task: Task | None = Task(TaskKind.SCORE, name, fold)
                while task is not None and not done(task):
                    chain.append(task)
                    task = self.need(task)
                tasks |= dict.fromkeys(reversed(chain))
        return list(tasks)


def make_plan(study: StudyConfig, folds: Mapping[str, int], cases: list[str]) -> StudyPlan:
    """Works out what a study rests on.

    Args:
        study: as declared.
        folds: fold of each case, from the table; it may hold cases that are not there.
        cases: ids of the cases that are there.

    Raises:
        CaseError: a case is not in the table of folds.
        UsageError: a fold has no case, or leaves none to train on, or an experiment's training is impossible.
    """
    unknown = [case for case in cases if case not in folds]
    if unknown:
        raise CaseError(
            f"{len(unknown)} cases are not in the table of folds: {', '.join(unknown[:5])}. Add them or move them away."
        )
    fold_of = {case: folds[case] for case in sorted(cases)}
    present = sorted(set(fold_of.values()))
    held_out = tuple(present) if study.folds is None else study.folds
    absent = [fold for fold in held_out if fold not in present]
    if absent:
        raise UsageError(
            f"Fold {absent[0]} is to be held out, but no case is in it. The cases that are there are in the "
            f"folds {present}."
        )
    if len(present) < 2:
        raise UsageError(
            f"All {len(cases)} cases are in fold {present[0]}, which leaves none to train on. Cross-validation needs "
            "two folds at least."
        )
    held_out_cases = [case for case in fold_of if fold_of[case] in held_out]
    training_cases = len(cases) - len(held_out_cases) / len(held_out)
    rows = [_row(study, experiment, training_cases) for experiment in study.experiments]
    return StudyPlan(study, {row.experiment.name: row for row in rows}, held_out, fold_of)


def _row(study: StudyConfig, experiment: Experiment, training_cases: float) -> StudyRow:
    config = train_config(study, experiment, training_cases=training_cases)
    # Fields at their defaults are left out, so that a name outlives fields that later versions add.
    choices = config.model_dump(mode="json", exclude_defaults=True, exclude=set(MACHINE_FIELDS))
    training = f"{config.network}-{_digest(choices)}"
    return StudyRow(experiment, config, training, f"{training}-{_cut_name(experiment.inference)}")


def _cut_name(inference: Inference) -> str:
    if inference.patches == "whole":
        return "whole"
    stride = "" if inference.patches == "adjacent" or inference.stride is None else f"-{inference.stride}"
    return f"{inference.patches}-{inference.patch_size}{stride}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
