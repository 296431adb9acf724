"""A training from the command's view: which cases, which folder, what is left in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import keras
from pydantic import BaseModel, Field

from gliomask import __version__
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.files.json import read_json_as, to_json
from gliomask.files.paths import as_given
from gliomask.flag import Flag
from gliomask.io.brats import CaseFiles, find_cases
from gliomask.io.nifti import write_bytes
from gliomask.models.files import SPEC_NAME
from gliomask.processors import thread_count
from gliomask.sampling import SliceStack
from gliomask.training.backend import accelerator, devices_in_use
from gliomask.training.checkpoint import Checkpoint
from gliomask.training.config import TrainConfig
from gliomask.training.curve import draw_learning_curve
from gliomask.training.dataset import Loaded, load_cases
from gliomask.training.examine import (
    fingerprint,
    refuse_examinations_twice,
    refuse_flagged,
    refuse_held_out_twice,
    refuse_unknown_weights,
)
from gliomask.training.folds import read_folds, set_aside, split
from gliomask.training.lock import locked
from gliomask.training.loop import CHECKPOINT_NAME, Trained, TrainingStep, finished, train
from gliomask.training.weights import WEIGHTS_NAME, save_weights

RECORD_NAME = "train_run.json"

FEW_CASES = 20
"""Below this a note is shown: the smallest set of patients on which a network of the paper was found useful had 26."""


class TrainingWatcher(Protocol):
    """What a training tells its user."""

    def read(self, case_id: str, done: int, total: int) -> None:
        """One case has been read."""

    def step(self, step: TrainingStep) -> None:
        """One step has been made."""

    def epoch(self, history: list[dict[str, float]]) -> None:
        """One epoch has ended; its row is the last."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training went.

    Args:
        weights: the file of weights.
        epochs: number of epochs, early stopping counted.
        hours: time spent in them.
        waiting_share: share of that time in which the network waited for patches.
    """

    weights: Path
    epochs: int
    hours: float
    waiting_share: float


def run_training(
    data: Path,
    folder: Path,
    config: TrainConfig,
    fold_table: Path | None,
    fold: int | None,
    display: TrainingWatcher,
    start: Path | None = None,
    *,
    strict: bool = False,
) -> TrainingSummary:
    """Trains on the labelled cases below `data`; leaves checkpoint.npz, log.csv, curve.png, weights.npz and
    train_run.json in `folder`.

    A folder that holds a checkpoint of the same training goes on from there; one whose training has finished is left as
    it is. `start` is a run folder or model folder whose weights a new training begins with; what those were trained on
    goes into the record. Cases are checked as `segment` checks them: what looks wrong is told and recorded, or with
    `strict` refused before the first epoch.

    Raises:
        UsageError: a fold without a table, or the other way round, the folder belongs to another training, one runs in
            it now, or `case_weights` names a case that is not there.
        CaseError: no labelled case, a case without reference or without a bare brain, or one examination under two
            names.
        QualityError: a case looks wrong and `strict` is set.
    """
    chosen, held_out = _choose_cases(data, fold_table, fold)
    refuse_unknown_weights(config.case_weights, [*chosen, *held_out])
    training, validation = set_aside(chosen, config.validation_share, config.seed)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Give a folder for the run.")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder) as lock:
        if not lock:
            display.note(
                f"{folder}: no locks on this file system; make sure that no second training writes to this folder."
            )
        history = _earlier_history(folder, config, training)
        if finished(history, config) and (folder / RECORD_NAME).exists():
            display.note(
                f"{folder}: this training has finished already, after {len(history)} epochs; nothing was done."
            )
            return _summary(folder, history)
        if history:
            display.note(f"{folder}: going on after epoch {len(history)}.")
        if len(training) < FEW_CASES:
            display.note(
                f"Training on {len(training)} cases: enough to try things out, too few for weights to be relied on."
            )
        origin = _origin(start, held_out)
        refuse_held_out_twice(chosen, held_out)
        examined = _Examined(display, len(chosen))
        stacks = [load_cases(cases, config, folder, examined.read) for cases in (training, validation)]
        examined.refuse(strict=strict)
        trained = _train(stacks[0], stacks[1], folder, config, display, start)
        cases = {"training": training, "validation": validation, "held_out": held_out}
        _write_record(folder, config, trained, cases, fold, origin, examined.flags)
        return _summary(folder, trained.history)


def _earlier_history(folder: Path, config: TrainConfig, training: list[CaseFiles]) -> list[dict[str, float]]:
    """Looks at what is in the folder before any case is read; returns the finished epochs."""
    for leftover in folder.glob(".*.part"):
        # Of a process that was killed while it wrote; the lock says that it is gone.
        leftover.unlink()
    path = folder / CHECKPOINT_NAME
    if path.exists():
        saved = Checkpoint.load(path)
        saved.refuse_other(
            path, config.model_dump(mode="json"), [case.case_id for case in training], keras.backend.backend()
        )
        return saved.history
    present = [name for name in (WEIGHTS_NAME, RECORD_NAME) if (folder / name).exists()]
    if present:
        raise UsageError(
            f"{folder} holds {' and '.join(present)} but no checkpoint to go on from. Give another folder."
        )
    return []


class _Earlier(BaseModel):
    """The training that another one began with."""

    cases: tuple[str, ...]


class _SeenBy(BaseModel):
    """What weights have seen, as the record of a run or the `training` of a model file says."""

    cases: tuple[str, ...] = ()
    training_cases: tuple[str, ...] = ()
    validation_cases: tuple[str, ...] = ()
    started_from: _Earlier | None = None
    patches: Annotated[int, Field(ge=0)] | None = None
    hours: Annotated[float, Field(ge=0)] | None = None


class _OfModel(BaseModel):
    """The part of a model file that is needed here."""

    training: _SeenBy


def _seen_by(path: Path) -> _SeenBy:
    """Reads what weights have seen. Raises FileFormatError where the file does not say it."""
    if path.name == SPEC_NAME:
        seen_by = read_json_as(path, _OfModel, "a model file that says what its weights were trained on").training
    else:
        seen_by = read_json_as(path, _SeenBy, "the record of a training")
    if not (seen_by.cases or seen_by.training_cases):
        raise FileFormatError(f"{path}: does not say what its weights were trained on. Start from another training.")
    return seen_by


def _origin(start: Path | None, held_out: list[CaseFiles]) -> dict[str, Any] | None:
    """What the weights that a training begins with were trained on.

    Raises:
        UsageError: they have seen a case that is held out now, or there is no record of what they have seen.
        FileFormatError: the record is none.
    """
    if start is None:
        return None
    for name in (RECORD_NAME, SPEC_NAME):
        if (start / name).is_file():
            seen_by = _seen_by(start / name)
            break
    else:
        raise UsageError(
            f"{start}: neither {RECORD_NAME} nor {SPEC_NAME} says what its weights were trained on. Give a run "
            "folder or a model folder."
        )
    seen = {*seen_by.cases, *seen_by.training_cases, *seen_by.validation_cases}
    seen |= set() if seen_by.started_from is None else set(seen_by.started_from.cases)
    leaked = sorted(seen & {case.case_id for case in held_out})
    if leaked:
        raise UsageError(
            f"{start}: its weights were trained on cases that are held out here: {', '.join(leaked[:5])}. Start from "
            "another training."
        )
    return {"name": as_given(start).name, "cases": sorted(seen), "patches": seen_by.patches, "hours": seen_by.hours}


class _Examined:
    """What was seen of the cases while they were read."""

    def __init__(self, display: TrainingWatcher, count: int) -> None:
        self.display, self.count = display, count
        self.flags: dict[str, tuple[Flag, ...]] = {}
        self.fingerprints: dict[str, str] = {}
        self.told: set[str] = set()

    def read(self, loaded: Loaded) -> None:
        """Tells a case's flags: what to do about each is said once, then only its name, since a whole cohort may have
        it.
        """
        case_id = loaded.stack.case_id
        self.flags[case_id] = loaded.flags
        self.fingerprints[case_id] = fingerprint(loaded.stack)
        for flag in loaded.flags:
            self.display.note(
                f"Warning: {case_id}: {flag.message}"
                if flag.name not in self.told
                else f"Warning: {case_id}: {flag.name}"
            )
            self.told.add(flag.name)
        self.display.read(case_id, len(self.flags), self.count)

    def refuse(self, *, strict: bool) -> None:
        """Raises what `refuse_examinations_twice` and, where `strict` is set, `refuse_flagged` raise."""
        refuse_examinations_twice(self.fingerprints)
        if strict:
            refuse_flagged(self.flags)


def _train(
    training: list[SliceStack],
    validation: list[SliceStack],
    folder: Path,
    config: TrainConfig,
    display: TrainingWatcher,
    start: Path | None,
) -> Trained:
    """Trains, writes the weights."""

    def epoch(history: list[dict[str, float]]) -> None:
        write_bytes(folder / "log.csv", _table(history))
        draw_learning_curve(history, folder / "curve.png")
        display.epoch(history)

    trained = train(training, validation, config, folder, display.step, epoch, start)
    save_weights(folder / WEIGHTS_NAME, trained.model)
    return trained


def _write_record(
    folder: Path,
    config: TrainConfig,
    trained: Trained,
    cases: dict[str, list[CaseFiles]],
    fold: int | None,
    origin: dict[str, Any] | None,
    flags: Mapping[str, Ordered[Flag]],
) -> None:
    record = {
        "gliomask": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "device": accelerator(),
        "devices": devices_in_use(),
        "threads": thread_count(config.threads),
        "config": config.model_dump(mode="json"),
        "fold": fold,
        "started_from": origin,
        **{f"{use}_cases": [case.case_id for case in chosen] for use, chosen in cases.items()},
        "quality_flags": {case_id: [flag.fields() for flag in raised] for case_id, raised in flags.items() if raised},
        "patches": trained.patches,
        "hours": round(_summary(folder, trained.history).hours, 3),
    }
    write_bytes(folder / RECORD_NAME, to_json(record))


def _summary(folder: Path, history: list[dict[str, float]]) -> TrainingSummary:
    seconds = sum(row["seconds"] for row in history)
    waited = sum(row["seconds"] * row["waiting_share"] for row in history)
    return TrainingSummary(folder / WEIGHTS_NAME, len(history), seconds / 3600, waited / seconds if seconds else 0.0)


def _choose_cases(data: Path, fold_table: Path | None, fold: int | None) -> tuple[list[CaseFiles], list[CaseFiles]]:
    if (fold_table is None) != (fold is None):
        raise UsageError("--folds and --fold go together: the table, and which of its folds to hold out.")
    cases = find_cases(data)
    unlabelled = [case.case_id for case in cases if case.reference is None]
    if unlabelled:
        raise CaseError(
            f"{data}: {len(unlabelled)} cases have no reference label map: {', '.join(unlabelled[:5])}. Add theirs "
            "or move them away."
        )
    if fold_table is None or fold is None:
        return cases, []
    return split(cases, read_folds(fold_table), fold)


def _table(history: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    # The first epochs may be an earlier version's, with fewer columns.
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in history for name in row)), restval="")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()
