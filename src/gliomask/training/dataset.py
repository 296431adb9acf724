"""From labelled cases to batches: cases are read and normalised once and kept on disk, mapped into memory; patches are
drawn in a thread of their own.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ordered
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomask import augment
from gliomask.flag import Flag
from gliomask.io.brats import CaseFiles, read_case, read_reference
from gliomask.labels import Region
from gliomask.networks.catalogue import network
from gliomask.preprocess.channels import prepare
from gliomask.sampling import SAMPLERS, Draw, SliceStack, cut_patch, place, region_draws
from gliomask.sequences import Sequence, droppable
from gliomask.training.config import TrainConfig
from gliomask.training.examine import examine
from gliomask.training.on_disk import StacksOnDisk
from gliomask.training.unenhanced import without_enhancement

QUEUED_BATCHES = 8
"""Batches kept ready; enough to ride out a slow draw, and small against the cases themselves."""

VALIDATION_EPOCH = 2**31
"""Epoch number that seeds the validation patches: the same ones every time, and none of a training epoch's."""

TWINS = 2**31 + 1
"""As an epoch's number, seeds what is random in the synthetic patients."""

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]
"""(N, H, W, C) float32 sequences and (N, H, W) uint8 labels."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A labelled case that has been read.

    Args:
        stack: laid out for drawing patches.
        flags: what looks wrong about its scans.
    """

    stack: SliceStack
    flags: tuple[Flag, ...]


def load_case(files: CaseFiles, config: TrainConfig) -> Loaded:
    """Reads one labelled case, looks whether something is wrong with it, and lays it out.

    Raises what `read_case`, `examine` and `read_reference` raise.
    """
    case = read_case(files)
    flags = examine(case)
    label_map = read_reference(files, case.geometry)
    prepared = prepare(case, config.sequences, config.normalisation)
    laid = prepared.reorientation.apply(label_map)
    return Loaded(
        SliceStack.of(case.case_id, np.asarray(prepared.channels), laid, prepared.brain, prepared.background), flags
    )


def load_cases(
    files: list[CaseFiles], config: TrainConfig, folder: Path, progress: Callable[[Loaded], None]
) -> list[SliceStack]:
    """Reads all cases; calls `progress` with each when it has been read.

    Args:
        files: where they are.
        config: sequences and normalisation.
        folder: on whose disk the cases are kept, see `StacksOnDisk`.
        progress: see above.
    """
    with StacksOnDisk(folder) as kept:
        for case_files in files:
            loaded = load_case(case_files, config)
            kept.add(loaded.stack)
            progress(loaded)
        return kept.stacks()


def unenhanced_twins(cases: list[SliceStack], config: TrainConfig, folder: Path) -> list[SliceStack | None]:
    """Returns for each case the synthetic patient whose tumour hardly enhances; all None if the configuration wants
    none.

    Args:
        cases: the patients.
        config: the share of such patients, and the seed.
        folder: on whose disk they are kept.
    """
    if not config.unenhanced_share:
        return [None] * len(cases)
    t1, t1ce = config.sequences.index(Sequence.T1), config.sequences.index(Sequence.T1CE)
    made = []
    with StacksOnDisk(folder) as kept:
        for n, case in enumerate(cases):
            twin = without_enhancement(case, t1, t1ce, np.random.default_rng([config.seed, TWINS, n]))
            made.append(twin is not None)
            if twin is not None:
                kept.add(twin)
        twins = iter(kept.stacks())
    return [next(twins) if has_twin else None for has_twin in made]


def epoch_batches(
    cases: list[SliceStack],
    config: TrainConfig,
    epoch: int,
    twins: Ordered[SliceStack | None] = (),
    *,
    vary: bool = True,
) -> Iterator[Batch]:
    """Yields the batches of one epoch.

    The epoch's number and the seed decide everything, so an epoch can be repeated alone.

    Args:
        cases: the patients.
        config: patch size, batch size, sampler, augmentation and seed.
        epoch: its number.
        twins: what `unenhanced_twins` returned; nothing: none are mixed in.
        vary: apply the augmentation; False for validation.
    """
    generator = np.random.default_rng([config.seed, epoch])
    strength = config.augmentation.strength() if vary else augment.NONE
    neighbours = network(config.network).neighbours
    dropped = [tuple(map(config.sequences.index, missing)) for missing in droppable(config.sequences)]
    images, labels = [], []
    for draw in _draws(cases, config, generator):
        case = cases[draw.case]
        if twins and config.unenhanced_share and generator.random() < config.unenhanced_share:
            case = twins[draw.case] or case
        plane = (
            config.planes[int(generator.integers(len(config.planes)))] if len(config.planes) > 1 else config.planes[0]
        )
        case, draw = case.along(plane), draw.along(plane)
        centre = place(draw, case, config.placement, config.patch_size, generator, config.jitter).centre
        patch, target = cut_patch(case, centre, config.patch_size, augment.draw_matrix(strength, generator), neighbours)
        patch = augment.reverse_slices(patch, strength, generator, 2 * neighbours + 1)
        patch = augment.thicken(patch, case.background, strength, generator, 2 * neighbours + 1)
        patch = augment.vary_intensity(patch, case.background, strength, generator, 2 * neighbours + 1)
        if vary and config.sequence_dropout and generator.random() < config.sequence_dropout:
            patch = augment.drop_sequences(patch, case.background, dropped, len(config.sequences), generator)
        images.append(patch)
        labels.append(target)
        if len(images) == config.batch_size:
            yield np.stack(images), np.stack(labels)
            images, labels = [], []
    # A last batch that is not full is left out: JAX compiles for each new shape, and its patches come again in other
    # epochs.


def _draws(cases: list[SliceStack], config: TrainConfig, generator: np.random.Generator) -> Iterator[Draw]:
    if config.sampling == "regions":
        weights = np.array([config.case_weights.get(case.case_id, 1.0) for case in cases])
        return region_draws(cases, config.patches_per_class, generator, weights)
    return SAMPLERS[config.sampling](cases, config.patches_per_class, generator)


def steps_per_epoch(cases: list[SliceStack], config: TrainConfig) -> int:
    """Number of full batches that `epoch_batches` yields."""
    if config.sampling == "regions":
        return config.patches_per_class * (len(Region) + 1) * len(cases) // config.batch_size
    patches = sum(config.patches_per_class for case in cases for centres in case.centres if len(centres))
    return patches // config.batch_size


@dataclass
class Waiting:
    """Seconds that the consumer spent waiting for batches."""

    seconds: float = 0.0


@contextmanager
def prefetched(batches: Iterator[Batch], waiting: Waiting) -> Iterator[Iterator[Batch]]:
    """Runs an iterator of batches in a thread, some batches ahead. An error in the thread is raised in the consumer."""
    ready: _Queue = queue.Queue(QUEUED_BATCHES)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(batches, ready, stop), name="patches", daemon=True)
    thread.start()
    try:
        yield _consume(ready, waiting)
    finally:
        stop.set()
        thread.join()


_Queue = queue.Queue[Batch | BaseException | None]
"""Batches, then None at the end or the error that ended it."""


def _produce(batches: Iterator[Batch], ready: _Queue, stop: threading.Event) -> None:
    try:
        for batch in batches:
            if not _offer(batch, ready, stop):
                return
        _offer(None, ready, stop)
    except BaseException as error:
        # Handed to the consumer, which raises it.
        _offer(error, ready, stop)


def _offer(item: Batch | BaseException | None, ready: _Queue, stop: threading.Event) -> bool:
    """Waits for room in the queue; False if the consumer stopped meanwhile."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _consume(ready: _Queue, waiting: Waiting) -> Iterator[Batch]:
    while True:
        start = time.perf_counter()
        item = ready.get()
        waiting.seconds += time.perf_counter() - start
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item
