"""What a study leaves on disk, and what of it is there already.

Results (`study.md`, `tables/`, `figures/`, `study.json`, `study_run.json`) are small and meant to be kept; `work/`
holds trainings, models and label maps, is left out of version control, and may be deleted once the rows that rest on it
are scored.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.errors import FileFormatError, UsageError
from gliomask.files.json import read_json
from gliomask.io.nifti import write_bytes
from gliomask.models.files import SPEC_NAME
from gliomask.results.layout import CaseLayout
from gliomask.study.config import StudyConfig, make_study
from gliomask.study.plan import StudyPlan, Task, TaskKind
from gliomask.study.tables import Cells, read_tsv, to_tsv
from gliomask.training.config import TrainConfig


@dataclass(frozen=True)
class StudyFolder:
    """The places in an output folder."""

    root: Path

    @property
    def definition(self) -> Path:
        """What is studied: the configuration, every experiment's complete definition, the fold of every case."""
        return self.root / "study.json"

    @property
    def record(self) -> Path:
        """The run record."""
        return self.root / "study_run.json"

    @property
    def page(self) -> Path:
        """The page for people."""
        return self.root / "study.md"

    @property
    def work(self) -> Path:
        """All that is large."""
        return self.root / "work"

    def table(self, name: str) -> Path:
        """One of the tables."""
        return self.root / "tables" / f"{name}.tsv"

    def cells(self, experiment: str) -> Path:
        """The scores of one experiment, case by case."""
        return self.root / "tables" / "cases" / f"{experiment}.tsv"

    def figure(self, name: str) -> Path:
        """One of the pictures."""
        return self.root / "figures" / f"{name}.png"

    def training(self, name: str, fold: int) -> Path:
        """The run folder of a training."""
        return self.work / "trainings" / name / f"fold{fold}"

    def model(self, name: str, fold: int) -> Path:
        """The model folder that it was exported to."""
        return self.work / "models" / name / f"fold{fold}"

    def prediction(self, name: str) -> Path:
        """Label maps without post-processing, of all folds: each case is held out once."""
        return self.work / "predictions" / name

    def log(self, task: Task) -> Path:
        """What a step's process wrote."""
        return self.work / "logs" / f"{task.kind}-{task.name}-fold{task.fold}.log"

    def prepare(self) -> None:
        """Makes the folders that every step needs, and keeps `work/` out of version control."""
        self.work.mkdir(parents=True, exist_ok=True)
        if not (self.work / ".gitignore").exists():
            write_bytes(self.work / ".gitignore", b"*\n")

    def read_cells(self, experiment: str) -> Cells:
        """Returns what is known of an experiment's cases; empty where it has not begun.

        Raises FileFormatError for a damaged table.
        """
        path = self.cells(experiment)
        return Cells.from_rows(read_tsv(path), path) if path.exists() else Cells({})

    def read_record(self) -> dict[str, Any]:
        """Returns the run record, of which `steps` and `failed` are always there.

        Raises:
            FileFormatError: it cannot be read.
        """
        if not self.record.exists():
            return {"steps": [], "failed": {}}
        try:
            record: dict[str, Any] = read_json(self.record)
            if isinstance(record["steps"], list) and isinstance(record["failed"], dict):
                return record
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"{self.record}: not the run record of a study ({error!r}). Move it away; no result is lost by that."
            ) from error
        raise FileFormatError(f"{self.record}: not the run record of a study. Move it away; no result is lost by that.")

    def done(self, plan: StudyPlan, task: Task) -> bool:
        """True where all results of a step are there."""
        if task.kind is TaskKind.SCORE:
            return self.read_cells(task.name).covers(plan.cases(task.fold))
        if task.kind is TaskKind.PREDICT:
            return all(
                CaseLayout.of(self.prediction(task.name), case).record.exists() for case in plan.cases(task.fold)
            )
        return (self.model(task.name, task.fold) / SPEC_NAME).exists()

    def learning_curve(self, training: str, fold: int) -> list[dict[str, str]]:
        """The finished epochs of a training, as its log has them."""
        log = self.training(training, fold) / "log.csv"
        return list(csv.DictReader(log.read_text(encoding="utf-8").splitlines())) if log.exists() else []

    def epochs_done(self, training: str, fold: int) -> int:
        """How many epochs of a training are finished."""
        return len(self.learning_curve(training, fold))

    def state(self, plan: StudyPlan, experiment: str, fold: int) -> str:
        """How far a cell of the study is, in a word or two."""
        row = plan.rows[experiment]
        if self.done(plan, Task(TaskKind.SCORE, experiment, fold)):
            return "done"
        cases = plan.cases(fold)
        predicted = sum(CaseLayout.of(self.prediction(row.prediction), case).record.exists() for case in cases)
        if predicted:
            return f"predicted {predicted} of {len(cases)}"
        if self.done(plan, Task(TaskKind.TRAIN, row.training, fold)):
            return "trained"
        epochs = self.epochs_done(row.training, fold)
        return f"epoch {epochs} of {row.config.epochs}" if epochs else "missing"


def write_definition(folder: StudyFolder, plan: StudyPlan) -> None:
    """Writes down what is studied, after making sure that the results which are there belong to it.

    Raises:
        UsageError: results are there that were made under another definition; the message says what differs.
    """
    if folder.definition.exists():
        refuse_other(folder, plan)
    elif folder.record.exists() or folder.table("summary").exists():
        raise UsageError(
            f"{folder.root} holds tables of a study but no {folder.definition.name} that says what they are of. Give "
            "another folder."
        )
    content = {
        "schema_version": 1,
        "config": plan.study.model_dump(mode="json"),
        "definitions": {name: row.definition() for name, row in plan.rows.items()},
        "folds": plan.fold_of,
    }
    write_bytes(folder.definition, (json.dumps(content, indent=1) + "\n").encode())


def read_definition(folder: StudyFolder) -> tuple[StudyConfig, dict[str, int]]:
    """Returns the configuration and the fold of every case, as `write_definition` left them.

    Raises:
        UsageError: there is no study in the folder.
        FileFormatError: its definition cannot be read.
    """
    content = _read(folder)
    return make_study(content["config"], str(folder.definition)), content["folds"]


def _read(folder: StudyFolder) -> dict[str, Any]:
    if not folder.definition.exists():
        raise UsageError(
            f"{folder.root} holds no study: {folder.definition.name} is missing. Give its output folder, or DATA "
            "to begin one."
        )
    try:
        content: dict[str, Any] = read_json(folder.definition)
        if set(content) >= {"config", "definitions", "folds"} and content["schema_version"] == 1:
            return content
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{folder.definition}: not the definition of a study ({error!r}). Give another folder."
        ) from error
    raise FileFormatError(
        f"{folder.definition}: not the definition of a study that this version knows. Give another folder."
    )


def refuse_other(folder: StudyFolder, plan: StudyPlan) -> None:
    """Compares a plan with the definitions that the results in the folder were made under; experiments without results
    may change.

    Raises:
        UsageError: they differ.
    """
    content = _read(folder)
    begun = [name for name in content["definitions"] if folder.read_cells(name).scores]
    if not begun:
        return
    for name in begun:
        if name in plan.rows:
            before, now = _complete(content["definitions"][name]), plan.rows[name].definition()
            differing = _differences(before, now)
            if differing:
                raise UsageError(
                    f"{folder.root}: experiment '{name}' has results under another definition: "
                    f"{'; '.join(differing)}. {_WAYS_OUT}"
                )
    made_with = {"policy": content["config"]["policy"], "cases and folds": content["folds"]}
    for what, now_with in {"policy": plan.study.policy, "cases and folds": plan.fold_of}.items():
        differing = _differences({what: made_with[what]}, {what: now_with})
        if differing:
            raise UsageError(
                f"{folder.root}: its results were made with other {what}: {'; '.join(differing[:5])}. {_WAYS_OUT}"
            )


_WAYS_OUT = "Give another output folder, another name to the experiment, or what was given before."


def _complete(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition from before a field was added, with the default that stands for what was done then."""
    defaults = TrainConfig().model_dump(mode="json")
    return definition | {
        "training": {name: definition["training"].get(name, defaults[name]) for name in defaults if name != "threads"}
    }


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    differences = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            differences += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            differences.append(f"{prefix}{name} was {_word(old)}, now {_word(new)}")
    return differences


def _word(value: Any) -> str:
    return "nothing" if value is None else str(value)


def merge_rows(path: Path, rows: list[dict[str, Any]], key: tuple[str, ...]) -> list[dict[str, Any]]:
    """Adds rows to a table on disk, in place of those with the same key, so that what a deleted `work/` said is not
    lost; returns all of them.
    """
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in [*(read_tsv(path) if path.exists() else []), *rows]:
        known[tuple(str(row[name]) for name in key)] = row
    if rows:
        write_bytes(path, to_tsv(list(known.values())))
    return list(known.values())
