"""The training itself: epochs of steps, a checkpoint after each, exact resumption, the weights worth keeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gliomask.errors import UsageError
from gliomask.labels import Label, Region
from gliomask.networks.catalogue import network
from gliomask.sampling import SliceStack
from gliomask.training.checkpoint import Arrays, Checkpoint
from gliomask.training.config import PAPER_WEIGHTS, TrainConfig
from gliomask.training.curve import dice_column
from gliomask.training.dataset import (
    VALIDATION_EPOCH,
    Waiting,
    epoch_batches,
    prefetched,
    steps_per_epoch,
    unenhanced_twins,
)
from gliomask.training.losses import SegmentationLoss, class_weights
from gliomask.training.weights import WEIGHTS_NAME, load_weights

CHECKPOINT_NAME = "checkpoint.npz"

WARM_UP_SHARE = 0.03
"""Share of all steps over which the learning rate rises to its peak; adaptive optimisers start with poor estimates of
scale.
"""


@dataclass(frozen=True)
class TrainingStep:
    """What the loop tells about each step, for a progress display."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training: the model, one row per epoch, and how many patches it saw in all."""

    model: keras.Model
    history: list[dict[str, float]]
    patches: int


OnStep = Callable[[TrainingStep], None]
OnEpoch = Callable[[list[dict[str, float]]], None]


def train(
    training: list[SliceStack],
    validation: list[SliceStack],
    config: TrainConfig,
    folder: Path,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    start: Path | None = None,
) -> Trained:
    """Trains a network, or goes on with a training that `folder` holds a checkpoint of.

    Args:
        training: patients to learn from.
        validation: patients, none of them in `training`, on whose loss the best epoch is chosen; may be empty.
        config: all choices.
        folder: an existing folder for the checkpoint.
        on_step: called after every step.
        on_epoch: called with the whole history after every epoch and its checkpoint; the newest row is last.
        start: a folder with weights to begin with, unless there is a checkpoint.

    Returns:
        The model with the weights to keep (of the epoch with the least validation loss, or, without validation, of the
            last epoch) and
        the history.

    Raises:
        UsageError: the patients are too few for one batch, the checkpoint belongs to another training, or the loss is
            no number any more.
        FileFormatError: the checkpoint cannot be read.
    """
    run = _Run(training, validation, config, folder)
    if start is not None and not run.history:
        load_weights(start / WEIGHTS_NAME, run.model, widen=True)
    while not finished(run.history, config):
        run.epoch(len(run.history), on_step)
        if on_epoch is not None:
            on_epoch(run.history)
    _assign(run.model.variables, run.best)
    return Trained(run.model, run.history, len(run.history) * run.steps * config.batch_size)


def finished(history: list[dict[str, float]], config: TrainConfig) -> bool:
    """True after the last epoch, or when the validation loss has not improved for `patience` epochs."""
    if len(history) >= config.epochs:
        return True
    if config.patience is None or not history:
        return False
    losses = [row["validation_loss"] for row in history]
    return len(losses) - 1 - int(np.argmin(losses)) >= config.patience


class _Run:
    """The moving parts of one training."""

    def __init__(
        self, training: list[SliceStack], validation: list[SliceStack], config: TrainConfig, folder: Path
    ) -> None:
        self.training, self.validation, self.config = training, validation, config
        self.twins = unenhanced_twins(training, config, folder)
        self.steps = steps_per_epoch(training, config)
        for use, cases in (("training", training), *([("validation", validation)] if validation else [])):
            if not steps_per_epoch(cases, config):
                raise UsageError(
                    f"The patches of {len(cases)} {use} cases do not fill one batch of {config.batch_size}. "
                    "Lower batch_size, raise patches_per_class, or give more cases."
                )
        self.checkpoint_path = folder / CHECKPOINT_NAME
        self.cases = [case.case_id for case in training]
        self.history: list[dict[str, float]] = []
        self.best: Arrays = []

        keras.utils.set_random_seed(config.seed)
        keras.mixed_precision.set_global_policy(_precision(config))
        self.model = network(config.network).build(sequences=len(config.sequences))
        counts = np.array([sum(len(case.centres[label]) for case in training) for label in Label])
        self.trainee = keras.Model(self.model.input, self.model.get_layer("logits").output)
        self.trainee.compile(
            optimizer=_optimiser(config, self.steps),
            loss=SegmentationLoss(
                class_weights(config.class_weights, counts, PAPER_WEIGHTS), config.dice_weight, config.cross_entropy
            ),
            jit_compile=config.compiled or keras.backend.backend() == "jax",
        )
        self.trainee.optimizer.build(self.trainee.trainable_variables)
        self.statistics: Arrays = []
        if self.checkpoint_path.exists():
            self._resume()

    def _resume(self) -> None:
        saved = Checkpoint.load(self.checkpoint_path)
        saved.refuse_other(
            self.checkpoint_path, self.config.model_dump(mode="json"), self.cases, keras.backend.backend()
        )
        variables, optimiser = self.trainee.variables, self.trainee.optimizer.variables
        parts = {"weights": variables, "optimiser": optimiser, "best": variables, "statistics": self._statistics()}
        saved.refuse_misfits(
            self.checkpoint_path, {kind: [tuple(variable.shape) for variable in part] for kind, part in parts.items()}
        )
        _assign(variables, saved.weights)
        _assign(optimiser, saved.optimiser)
        self.history, self.best, self.statistics = saved.history, saved.best, [mean.copy() for mean in saved.statistics]

    def epoch(self, epoch: int, on_step: OnStep | None) -> None:
        """Runs one epoch, validates, adds a row to the history, checkpoints."""
        start = time.perf_counter()
        waiting = Waiting()
        losses: list[float] = []
        rate = 0.0
        with prefetched(epoch_batches(self.training, self.config, epoch, self.twins), waiting) as batches:
            for step, (images, labels) in enumerate(batches, start=1):
                if step == self.steps:
                    rate = float(np.asarray(self.trainee.optimizer.learning_rate))
                losses.append(float(self.trainee.train_on_batch(images, labels)))
                self._average_statistics()
                self._refuse_diverged(losses[-1], f"epoch {epoch + 1}, step {step}")
                if on_step is not None:
                    on_step(TrainingStep(epoch + 1, self.config.epochs, step, self.steps, float(np.mean(losses))))
        seconds = time.perf_counter() - start
        row = {
            "epoch": epoch + 1,
            "loss": float(np.mean(losses)),
            "learning_rate": rate,
            "seconds": round(seconds, 2),
            "waiting_share": round(waiting.seconds / seconds, 4),
        }
        raw = [np.asarray(value) for value in self.trainee.variables]
        if self.config.average:
            self.trainee.optimizer.finalize_variable_values(self.trainee.trainable_variables)
            _assign(self._statistics(), self.statistics)
        if self.validation:
            row |= self._validate()
        if not self.validation or row["validation_loss"] <= min(
            (r["validation_loss"] for r in self.history), default=np.inf
        ):
            self.best = [np.asarray(value) for value in self.trainee.variables]
        _assign(self.trainee.variables, raw)
        self.history.append(row)
        optimiser = [np.asarray(value) for value in self.trainee.optimizer.variables]
        config = self.config.model_dump(mode="json")
        Checkpoint(
            raw, optimiser, self.best, self.history, config, self.cases, keras.backend.backend(), self.statistics
        ).save(self.checkpoint_path)

    def _statistics(self) -> list[keras.Variable]:
        """What batch normalisation has gathered: the network's numbers that the optimiser does not average.

        Not the states of random generators.
        """
        return [variable for variable in self.trainee.non_trainable_variables if variable.dtype == "float32"]

    def _average_statistics(self) -> None:
        """Averages them as the optimiser averages the weights: averaged weights go with statistics of the same age."""
        if not self.config.average:
            return
        now = [np.asarray(variable) for variable in self._statistics()]
        if not self.statistics:
            self.statistics = [value.copy() for value in now]
        for mean, value in zip(self.statistics, now, strict=True):
            mean += (1 - self.config.average) * (value - mean)

    def _refuse_diverged(self, loss: float, when: str) -> None:
        if not np.isfinite(loss):
            raise UsageError(
                f"The training diverged: its loss is {loss} in {when}. Train anew in another folder with a lower "
                "learning_rate "
                f"(it was {self.config.learning_rate:g}) or a lower clip_norm above 0 (it was "
                f"{self.config.clip_norm:g})."
            )

    def _validate(self) -> dict[str, float]:
        """The loss, and the Dice of each region over the pixels of all validation patches; 1 where neither side has the
        region.
        """
        losses: list[float] = []
        overlap, sizes = dict.fromkeys(Region, 0), dict.fromkeys(Region, 0)
        for images, labels in epoch_batches(self.validation, self.config, VALIDATION_EPOCH, vary=False):
            logits = self.trainee.predict_on_batch(images)
            losses.append(float(self.trainee.loss(labels, logits)))
            predicted = np.asarray(logits).argmax(axis=-1)
            for region in Region:
                truth, answer = region.mask(labels), region.mask(predicted)
                overlap[region] += int(np.count_nonzero(truth & answer))
                sizes[region] += int(np.count_nonzero(truth)) + int(np.count_nonzero(answer))
        loss = float(np.mean(losses))
        self._refuse_diverged(loss, "validation")
        dice = {region: 2 * overlap[region] / sizes[region] if sizes[region] else 1.0 for region in Region}
        return {"validation_loss": loss} | {dice_column(region): round(value, 4) for region, value in dice.items()}


def _precision(config: TrainConfig) -> str:
    """Keras's name for the arithmetic; float16 needs loss scaling, which Keras adds on TensorFlow, so JAX takes
    bfloat16.
    """
    if not config.mixed_precision:
        return "float32"
    return "mixed_float16" if keras.backend.backend() == "tensorflow" else "mixed_bfloat16"


def _optimiser(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    schedules = keras.optimizers.schedules
    if config.decay_per_epoch is not None:
        rate = schedules.ExponentialDecay(config.learning_rate, steps, config.decay_per_epoch, staircase=True)
    else:
        total = steps * config.epochs
        warm_up = (
            max(1, round(WARM_UP_SHARE * total))
            if config.warm_up_steps is None
            else min(config.warm_up_steps, total - 1)
        )
        rate = schedules.CosineDecay(
            0.0, max(1, total - warm_up), warmup_target=config.learning_rate, warmup_steps=warm_up
        )
    extras: dict[str, Any] = {"use_ema": True, "ema_momentum": config.average} if config.average else {}
    if config.clip_norm:
        # The networks have no normalisation layer: without a limit, one odd batch can undo an epoch.
        extras["global_clipnorm"] = config.clip_norm
    if config.optimiser == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **extras)
    return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **extras)


def _assign(variables: list[keras.Variable], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
