"""The golden pair: an input and its probabilities, which every engine must reproduce before it is trusted.

The input is stored by sequence name and stacked in the order that `model.json` gives, so a wrong order gives another answer.
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from typing import TYPE_CHECKING

import numpy as np

from gliomask.engines.base import SPATIAL_AXES, Batch, Engine
from gliomask.errors import ModelError
from gliomask.models.files import Arrays

if TYPE_CHECKING:
    from gliomask.models.spec import ModelSpec

PROBABILITIES = "probabilities"
"""Name of the expected output among the golden arrays; the others are named after their sequences."""


def golden_batch(golden: Arrays, inputs: Ordered[str]) -> Batch:
    """Returns the golden input as a batch of one, its sequences stacked in the given order: (1, H, W, C) or (1, I, J, K, C)."""
    return np.stack([golden[str(sequence)] for sequence in inputs], axis=-1)[None]


def check_golden(golden: Arrays, spec: ModelSpec, origin: str) -> None:
    """Checks that a golden pair fits its model.

    Raises:
        ModelError: a sequence is missing, one is unknown, or shapes do not fit.
    """
    expected = {*map(str, spec.inputs), PROBABILITIES}
    if set(golden) != expected:
        raise ModelError(f"{origin}: the golden pair holds {', '.join(sorted(golden))}; the model needs {', '.join(sorted(expected))}.")
    shapes = {golden[str(sequence)].shape for sequence in spec.inputs}
    shape = min(shapes)
    if len(shapes) > 1 or len(shape) != SPATIAL_AXES[spec.input_kind] or golden[PROBABILITIES].shape != (*shape, len(spec.outputs)):
        raise ModelError(f"{origin}: the golden arrays have the shapes {sorted(shapes)} and {golden[PROBABILITIES].shape}, which do not fit {spec.input_kind}.")


def prove(engine: Engine, golden: Arrays, spec: ModelSpec) -> float:
    """Runs the golden input through an engine and returns the largest difference from the golden probabilities.

    Raises:
        ModelError: the difference is above the model's tolerance, the answer has another shape, or there is none.
    """
    found = engine.predict(golden_batch(golden, spec.inputs))[0]
    expected = golden[PROBABILITIES]
    if found.shape != expected.shape:
        raise ModelError(f"Model '{spec.name}': {engine.name} answers with the shape {found.shape}, the golden pair has {expected.shape}.")
    difference = float(np.abs(found - expected).max())
    # Written so that a NaN fails too.
    if not difference <= spec.golden_tolerance:
        raise ModelError(
            f"Model '{spec.name}': {engine.name} does not reproduce its golden pair: probabilities differ by up to {difference:.2g}, "
            f"{spec.golden_tolerance:g} is allowed. The model file was altered (order of inputs?) or the engine is at fault; try another --engine."
        )
    return difference
