"""The golden pair: an input and its probabilities, which every engine must reproduce before it is trusted.

The input is stored by sequence name and stacked in the order that `model.json` gives, so a wrong order gives another
answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gliomask.engines.base import SPATIAL_AXES, Batch, Engine, InputKind
from gliomask.errors import ModelError
from gliomask.labels import LABEL_NAMES
from gliomask.models.files import Arrays

if TYPE_CHECKING:
    from gliomask.models.spec import ModelSpec

GOLDEN_SEED = 20200101
GOLDEN_SHAPES: dict[InputKind, tuple[int, ...]] = {"slices": (32, 48), "volumes": (16, 24, 32)}
"""Small, with sides that differ, so that a transposed axis shows; multiples of 16, or of 8 for volumes."""

GOLDEN_MARGIN = 20
"""A golden pair must tell another order of inputs from the right one by this many tolerances."""

PROBABILITIES = "probabilities"
"""Name of the expected output among the golden arrays; the others are named after their sequences."""


def golden_batch(golden: Arrays, inputs: Ordered[str], slices: int = 1) -> Batch:
    """Returns the golden input as a batch of one, its sequences stacked in the given order: (1, H, W, slices x C) or
    (1, I, J, K, C).
    """
    stack = np.stack([golden[str(sequence)] for sequence in inputs], axis=-1)
    if slices > 1:
        # Those of a sequence lie along its third axis.
        stack = stack.reshape(*stack.shape[:2], -1)
    return stack[None]


def check_golden(golden: Arrays, spec: ModelSpec, origin: str) -> None:
    """Checks that a golden pair fits its model.

    Raises:
        ModelError: a sequence is missing, one is unknown, or shapes do not fit.
    """
    expected = {*map(str, spec.inputs), PROBABILITIES}
    if set(golden) != expected:
        raise ModelError(
            f"{origin}: the golden pair holds {', '.join(sorted(golden))}; the model needs "
            f"{', '.join(sorted(expected))}."
        )
    shapes = {golden[str(sequence)].shape for sequence in spec.inputs}
    axes = SPATIAL_AXES[spec.input_kind]
    shape, depth = min(shapes)[:axes], min(shapes)[axes:]
    slices = (spec.slices,) if spec.slices > 1 else ()
    if spec.window is not None and any(size > side for size, side in zip(shape, spec.window, strict=False)):
        raise ModelError(
            f"{origin}: the golden arrays of shape {shape} are larger than the network's only size, {spec.window}."
        )
    if (
        len(shapes) > 1
        or len(shape) != axes
        or depth != slices
        or golden[PROBABILITIES].shape != (*shape, len(LABEL_NAMES))
    ):
        raise ModelError(
            f"{origin}: the golden arrays have the shapes {sorted(shapes)} and {golden[PROBABILITIES].shape}, which "
            f"do not fit {spec.input_kind}."
        )


def golden_input(sequences: Iterable[str], shape: tuple[int, ...], background: float) -> Arrays:
    """Returns made-up normalised sequences: smooth blobs and noise, each sequence its own, with a strip of background
    on one side.
    """
    # Imported here: finding and opening a model does without it.
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(GOLDEN_SEED)
    arrays = {}
    for n, sequence in enumerate(sequences):
        blobs = gaussian_filter(generator.standard_normal(shape), 3)
        values = (1 + 0.2 * n) * blobs / blobs.std() + 0.3 * generator.standard_normal(shape)
        values[: shape[0] // 8] = background
        arrays[str(sequence)] = values.astype(np.float32)
    return arrays


def check_channel_order_sensitivity(engine: Engine, golden: Arrays, spec: ModelSpec) -> None:
    """Checks that a golden pair tells every other order of the inputs from the right one; for a foreign model, which
    may take minutes, every exchange of two.

    Raises:
        ModelError: another order gives nearly the same answer.
    """
    for order in permutations(spec.inputs):
        moved = sum(one != other for one, other in zip(order, spec.inputs, strict=True))
        if moved == 0 or (spec.foreign is not None and moved > 2):
            continue
        difference = np.abs(answer(engine, golden, spec, order) - golden[PROBABILITIES]).max()
        if difference < GOLDEN_MARGIN * spec.golden_tolerance:
            raise ModelError(
                f"Model '{spec.name}': the inputs in the order {', '.join(order)} change its golden probabilities by "
                f"only {difference:.2g}. "
                f"{'Was it trained?' if spec.foreign else 'The network hardly looks at its input; train it longer.'}"
            )


def as_given(golden: Arrays, spec: ModelSpec, order: Ordered[str]) -> Batch:
    """Returns the golden input as an engine takes it, its sequences in the given order.

    A network of one size gets the golden input repeated until it fills the window, so that a golden pair can be small.
    (A window that is background otherwise would not do: where an input is constant, instance normalisation divides by
    next to nothing, and engines differ by 4e-3.)
    """
    batch = golden_batch(golden, order, spec.slices)
    if spec.window is None:
        return batch
    more = [(0, side - size) for side, size in zip(spec.window, batch.shape[1:-1], strict=True)]
    return np.pad(batch, [(0, 0), *more, (0, 0)], mode="wrap")


def answer(engine: Engine, golden: Arrays, spec: ModelSpec, order: Ordered[str]) -> npt.NDArray[np.float32]:
    """Returns what an engine says of the golden input, its sequences in the given order: (H, W, 4) or (I, J, K, 4)."""
    shape = golden_batch(golden, order, spec.slices).shape[1:-1]
    part: tuple[int | slice, ...] = (0, *(slice(0, size) for size in shape))
    return engine.predict(as_given(golden, spec, order))[part]


def prove_int8(engine: Engine, golden: Arrays, spec: ModelSpec) -> float:
    """Runs the golden input through an engine that holds the int8 graph; returns the mean difference from the float32
    golden probabilities.

    Raises:
        ModelError: it is above `spec.int8.tolerance`, or the answer has another shape.
    """
    assert spec.int8 is not None
    difference = int8_difference(engine, golden, spec, spec.inputs)
    # Written so that a NaN fails too.
    if not difference <= spec.int8.tolerance:
        raise ModelError(
            f"Model '{spec.name}': {engine.name} does not reproduce its golden pair in int8: probabilities differ by "
            f"{difference:.2g} in the mean, "
            f"{spec.int8.tolerance:g} is allowed. The model file was altered, or the engine is at fault; try "
            "--precision fp32."
        )
    return difference


def int8_difference(engine: Engine, golden: Arrays, spec: ModelSpec, order: Ordered[str]) -> float:
    """Returns the mean difference of an engine's answer, the sequences in the given order, from the golden
    probabilities.

    Raises:
        ModelError: the answer has another shape.
    """
    answered = answer(engine, golden, spec, order)
    if answered.shape != golden[PROBABILITIES].shape:
        raise ModelError(
            f"Model '{spec.name}': {engine.name} answers with the shape {answered.shape}, the golden pair has "
            f"{golden[PROBABILITIES].shape}."
        )
    return float(np.abs(answered - golden[PROBABILITIES]).mean())


def prove(engine: Engine, golden: Arrays, spec: ModelSpec) -> float:
    """Runs the golden input through an engine and returns the largest difference from the golden probabilities.

    Raises:
        ModelError: the difference is above the model's tolerance, the answer has another shape, or there is none.
    """
    answered = answer(engine, golden, spec, spec.inputs)
    expected = golden[PROBABILITIES]
    if answered.shape != expected.shape:
        raise ModelError(
            f"Model '{spec.name}': {engine.name} answers with the shape {answered.shape}, the golden pair has "
            f"{expected.shape}."
        )
    difference = float(np.abs(answered - expected).max())
    # Written so that a NaN fails too.
    if not difference <= spec.golden_tolerance:
        raise ModelError(
            f"Model '{spec.name}': {engine.name} does not reproduce its golden pair: probabilities differ by up to "
            f"{difference:.2g}, "
            f"{spec.golden_tolerance:g} is allowed. The model file was altered (order of inputs?) or the engine is "
            "at fault; try another --engine."
        )
    return difference
