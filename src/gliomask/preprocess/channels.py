"""From a case to the array a network sees: canonical axes, normalised sequences, channels last."""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import numpy as np

from gliomask.arrays import Channels, Mask, Volume, short_repr
from gliomask.case import Case
from gliomask.geometry import Reorientation
from gliomask.preprocess.normalise import normalisation
from gliomask.sequences import Sequence

NETWORK_ORIENTATION = "LPS"
"""Axes of every network input: I to the left, J to posterior, K to superior, as BraTS stores its volumes. Axial slices lie along K."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case in the form networks take.

    Args:
        channels: (I, J, K, C) float32, axes as `NETWORK_ORIENTATION`, channels in the order that was asked for.
        brain: (I, J, K), True inside the brain.
        background: the value that channels have outside the brain.
        reorientation: the way back to the case's own grid.
    """

    channels: Channels
    brain: Mask
    background: float
    reorientation: Reorientation

    __repr__ = short_repr


def prepare(case: Case, order: Ordered[Sequence], method: str) -> Prepared:
    """Re-orders the axes of a case, normalises its sequences and stacks them; one that the case is without is background everywhere.

    Args:
        case: the scans.
        order: which sequence goes into which channel.
        method: a name in `normalise.NORMALISATIONS`.

    Raises:
        UsageError: there is no such method.
    """
    normalise, background = normalisation(method)
    reorientation = case.geometry.reorientation_to(NETWORK_ORIENTATION)
    brain = np.ascontiguousarray(reorientation.apply(case.brain_mask))
    i, j, k = brain.shape
    # In memory slice after slice, since most networks take slices.
    channels = np.moveaxis(np.empty((k, i, j, len(order)), np.float32), 0, 2)
    for c, sequence in enumerate(order):
        missing = sequence in case.without
        channels[..., c] = background if missing else normalise(reorientation.apply(_with_air_of_0(case, sequence)), brain)
    return Prepared(channels, brain, background, reorientation)


def _with_air_of_0(case: Case, sequence: Sequence) -> Volume:
    """A sequence as it is, where its air is exact; else with 0 outside the brain, which is what methods that look beyond it expect there."""
    foreground, volume = case.foreground, case.volumes[sequence]
    if not foreground.faint and sequence not in foreground.not_bare:
        return volume
    return np.where(case.brain_mask, volume, np.float32(0))
