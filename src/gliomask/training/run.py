"""A training from the command's view: which cases, which folder, what is left in it."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from gliomask import __version__
from gliomask.errors import CaseError, UsageError
from gliomask.io.brats import CaseFiles, find_cases
from gliomask.io.nifti import write_bytes
from gliomask.training.backend import accelerator
from gliomask.training.config import TrainConfig
from gliomask.training.curve import draw_learning_curve
from gliomask.training.dataset import load_cases, steps_per_epoch
from gliomask.training.folds import read_folds, set_aside, split
from gliomask.training.loop import Step, train


class Display(Protocol):
    """What a training tells its user."""

    def read(self, case_id: str, done: int, total: int) -> None:
        """One case has been read."""

    def step(self, step: Step) -> None:
        """One step has been made."""

    def epoch(self, history: list[dict[str, float]]) -> None:
        """One epoch has ended; its row is the last."""


def run_training(data: Path, folder: Path, config: TrainConfig, fold_table: Path | None, fold: int | None, display: Display) -> None:
    """Trains on the labelled cases below `data`; leaves checkpoint.npz, log.csv, curve.png, weights.npz and train_run.json in `folder`.

    Raises:
        UsageError: a fold without a table, or the other way round, or the folder's checkpoint is of another training.
        CaseError: no labelled case, or a case without reference.
    """
    training, held_out = _choose_cases(data, fold_table, fold)
    training, validation = set_aside(training, config.validation_share, config.seed)
    folder.mkdir(parents=True, exist_ok=True)
    count = len(training) + len(validation)
    done: list[str] = []

    def read(case_id: str) -> None:
        done.append(case_id)
        display.read(case_id, len(done), count)

    def epoch(history: list[dict[str, float]]) -> None:
        display.epoch(history)
        write_bytes(folder / "log.csv", _table(history))
        draw_learning_curve(history, folder / "curve.png")

    stacks = load_cases(training, config, read)
    run = train(stacks, load_cases(validation, config, read), config, folder, display.step, epoch)
    save_weights(folder / "weights.npz", run.model)
    record = {
        "gliomask": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "device": accelerator(),
        "threads": config.threads or len(os.sched_getaffinity(0)),
        "config": config.model_dump(mode="json"),
        "fold": fold,
        "training_cases": [case.case_id for case in training],
        "validation_cases": [case.case_id for case in validation],
        "held_out_cases": [case.case_id for case in held_out],
        "patches": len(run.history) * steps_per_epoch(stacks, config) * config.batch_size,
        "hours": round(sum(row["seconds"] for row in run.history) / 3600, 3),
    }
    write_bytes(folder / "train_run.json", (json.dumps(record, indent=1) + "\n").encode())


def _choose_cases(data: Path, fold_table: Path | None, fold: int | None) -> tuple[list[CaseFiles], list[CaseFiles]]:
    if (fold_table is None) != (fold is None):
        raise UsageError("--folds and --fold go together: the table, and which of its folds to hold out.")
    cases = find_cases(data)
    unlabelled = [case.case_id for case in cases if case.reference is None]
    if unlabelled:
        raise CaseError(f"{data}: {len(unlabelled)} cases have no reference label map: {', '.join(unlabelled[:5])}. Add theirs or move them away.")
    if fold_table is None or fold is None:
        return cases, []
    return split(cases, read_folds(fold_table), fold)


def _table(history: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()


def save_weights(path: Path, model: keras.Model) -> None:
    """Writes a model's weights as an `.npz` of plain arrays, named after its variables."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {variable.path: np.asarray(variable) for variable in model.variables}
    np.savez(stream, **arrays)
    write_bytes(path, stream.getvalue())


def load_weights(path: Path, model: keras.Model) -> None:
    """Fills a model with weights that `save_weights` wrote.

    Raises:
        UsageError: the file lacks a variable of the model, or one has another shape.
    """
    with np.load(path, allow_pickle=False) as file:
        for variable in model.variables:
            if variable.path not in file or file[variable.path].shape != tuple(variable.shape):
                raise UsageError(f"{path}: no weights of shape {tuple(variable.shape)} for {variable.path}. The file belongs to another network.")
            variable.assign(file[variable.path])
