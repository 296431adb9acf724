"""From a case to the array a network sees: canonical axes, normalised sequences, channels last."""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from gliomask.arrays import Channels, Mask, Volume, short_repr
from gliomask.case import Case
from gliomask.geometry import Reorientation
from gliomask.preprocess.normalise import FITS, Score, normalisation, values_inside
from gliomask.sequences import Sequence

NETWORK_ORIENTATION = "LPS"
"""Axes of every network input: I to the left, J to posterior, K to superior, as BraTS stores its volumes. Axial slices
lie along K.
"""


Region = tuple[slice, slice, slice]


class ChannelSource(Protocol):
    """Channels, (I, J, K, C) float32, of which parts are asked for: an array, or `OnDemand`."""

    def __getitem__(self, region: Region, /) -> Channels:
        """Returns a part."""
        ...

    def transpose(self, first: int, second: int, third: int, fourth: int, /) -> ChannelSource:
        """Returns the same with its axes in another order; the channels stay last."""
        ...


@dataclass(frozen=True, eq=False)
class OnDemand:
    """Channels that are normalised part by part, as they are asked for; only the scans themselves are held.

    Args:
        volumes: of each channel, (I, J, K); None for a sequence that the case is without.
        scores: of each channel, see `normalise.FITS`.
        brain: (I, J, K), True inside the brain.
        background: the value outside it.
    """

    __repr__ = short_repr

    volumes: tuple[Volume | None, ...]
    scores: tuple[Score | None, ...]
    brain: Mask
    background: float

    def __getitem__(self, region: Region, /) -> Channels:
        """Returns a part, (i, j, k, C), in memory slice after slice."""
        inside = self.brain[region]
        i, j, k = inside.shape
        part = np.moveaxis(np.empty((k, i, j, len(self.volumes)), np.float32), 0, 2)
        for c, (volume, score) in enumerate(zip(self.volumes, self.scores, strict=True)):
            part[..., c] = (
                self.background
                if volume is None or score is None
                else np.where(inside, score(volume[region]), np.float32(self.background))
            )
        return part

    def transpose(self, first: int, second: int, third: int, fourth: int, /) -> OnDemand:
        """Returns the same with its axes in another order; the channels stay last."""
        if fourth != 3:
            raise ValueError("channels stay last")
        axes = (first, second, third)
        return replace(
            self,
            volumes=tuple(None if one is None else one.transpose(axes) for one in self.volumes),
            brain=self.brain.transpose(axes),
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case in the form networks take.

    Args:
        channels: (I, J, K, C) float32, axes as `NETWORK_ORIENTATION`, channels in the order that was asked for; an
            array from `prepare`.
        brain: (I, J, K), True inside the brain.
        background: the value that channels have outside the brain.
        reorientation: the way back to the case's own grid.
    """

    channels: ChannelSource
    brain: Mask
    background: float
    reorientation: Reorientation

    __repr__ = short_repr


def prepare(case: Case, order: Ordered[Sequence], method: str) -> Prepared:
    """Re-orders the axes of a case, normalises its sequences and stacks them; one that the case is without is
    background everywhere.

    Args:
        case: the scans.
        order: which sequence goes into which channel.
        method: a name in `normalise.NORMALISATIONS`.

    Raises:
        UsageError: there is no such method.
    """
    normalise, background = normalisation(method)
    reorientation = case.geometry.reorientation_to(NETWORK_ORIENTATION)
    brain = reorientation.apply(case.brain_mask)
    i, j, k = brain.shape
    across, along, up = _box(brain)
    # In memory slice after slice, since most networks take slices. Where background is 0 the system gives memory only
    # to the rows that hold brain.
    channels = np.moveaxis(_filled((k, i, j, len(order)), background), 0, 2)
    for c, sequence in enumerate(order):
        if sequence not in case.without:
            normalised = normalise(reorientation.apply(_with_air_of_0(case, sequence)), brain)
            channels[across, along, up, c] = normalised[across, along, up]
    return Prepared(channels, brain, background, reorientation)


def prepare_on_demand(case: Case, order: Ordered[Sequence], method: str) -> Prepared:
    """As `prepare`, the same numbers to the bit; but where the method allows it (`normalise.FITS`), channels are
    normalised part by part as they are needed.

    That takes the memory of one slab in place of all channels'.
    """
    fit = FITS.get(method)
    if fit is None:
        return prepare(case, order, method)
    background = normalisation(method)[1]
    reorientation = case.geometry.reorientation_to(NETWORK_ORIENTATION)
    brain = reorientation.apply(case.brain_mask)
    volumes = tuple(
        None if sequence in case.without else reorientation.apply(case.tissue(sequence)) for sequence in order
    )
    scores = tuple(
        None if volume is None or not brain.any() else fit(values_inside(volume, brain)) for volume in volumes
    )
    return Prepared(OnDemand(volumes, scores, brain, background), brain, background, reorientation)


def _filled(shape: tuple[int, ...], value: float) -> Channels:
    return np.full(shape, value, np.float32) if value else np.zeros(shape, np.float32)


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """The box of a mask's True voxels; nothing where there are none. Outside it every method leaves background."""
    filled = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    across, along, up = (
        slice(int(positions[0]), int(positions[-1]) + 1) if len(positions) else slice(0) for positions in filled
    )
    return across, along, up


def _with_air_of_0(case: Case, sequence: Sequence) -> Volume:
    """A sequence as it is, where its air is exact; else with 0 outside the brain, which is what methods that look
    beyond it expect there.
    """
    foreground, volume = case.foreground, case.tissue(sequence)
    if not foreground.faint and sequence not in foreground.not_bare:
        return volume
    return np.where(case.brain_mask, volume, np.float32(0))
