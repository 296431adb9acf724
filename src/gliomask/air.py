"""What is air in MR volumes, and what stands out from it: the mask of a bare brain, and whether a volume shows more
than a bare brain.

Scans as BraTS releases them hold exactly 0 outside the brain, and there the mask is every voxel that is not 0 in any
sequence. Other tools leave other air: B-splines leave ringing about the brain and 1e-28 far from it, normalisation
leaves one constant, scanners leave noise, SPM leaves NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import scipy

from gliomask.arrays import Mask, Volume, short_repr

BRAIN_LIMITS_ML = (700.0, 2200.0)
"""Volumes outside are no whole, bare brain. The brains of the 65 patients in use here, with their fluid, have 1,146 to
1,746 ml; a head has 3,000 and more.
"""

FILLED_LIMIT = 0.75
"""Share of the field of view that is not air. An ellipsoid in its tightest box fills 0.52; scans whose air is noise
fill 0.9 and more.
"""

CONSTANT_SHARE = 0.5
"""Share of the border voxels of the field of view from which on one and the same value is air, whatever it is."""

ROUGH_SHARE = 0.1
"""Where more of the border than this lies next to that value, the border is noise in whole numbers, not a constant."""

BRIGHT_PERCENTILE = 99.5
"""Of the whole volume, air included: about as bright as bright tissue, whether the brain fills a hundredth of the field
of view or half of it.
"""

TINY = 1e-3
"""Share of the bright level up to which a value is air that was computed with: no scanner's noise is so low."""

FAINT = 0.05
"""Share of the bright level up to which a value is not clearly above air. Ringing of cubic B-splines stays below, but
for the voxel next to the brain.
"""

FAINT_LIMIT = 0.01
"""Share of what is not exactly air that may be faint in all sequences. 68 releases of BraTS have up to 0.0019; ringing
makes 0.05 and more.
"""

NEGATIVE_LIMIT = 0.1
"""Share of what stands out that lies below air, from which on negative values are tissue, as in z-scores; below it they
are ringing.
"""

SAMPLED = 1_000_000
"""Levels and shares are measured on about that many voxels, on a regular grid."""


@dataclass(frozen=True)
class Air:
    """The air of one volume.

    Args:
        level: the value of air, 0 but for a constant that fills the border.
        bright: how far above that bright tissue is.
        signed: tissue lies on both sides of air, as in z-scores.
        filled: share of the field of view that is not air, computed air included in air.
    """

    level: float
    bright: float
    signed: bool
    filled: float

    def clearly_above(self, values: npt.NDArray[np.float32]) -> Mask:
        """Returns where values stand out from air beyond noise and ringing; same shape."""
        above = values - np.float32(self.level)
        return np.asarray((np.abs(above) if self.signed else above) > FAINT * self.bright)


Name = TypeVar("Name", bound=StrEnum)
"""What volumes are called by: sequences."""


@dataclass(frozen=True, eq=False)
class Foreground(Generic[Name]):
    """What stands out from air in the sequences of one patient on one grid.

    Args:
        mask: (I, J, K), True where there is tissue; read-only.
        airs: by sequence.
        not_bare: sequences that show more than a bare brain where others show no more; the mask is that of the others.
        faint: voxels that are not exactly air in a sequence that was looked at, and were yet counted as air.
        unclean: the sequences they are in.
    """

    mask: Mask
    airs: Mapping[Name, Air]
    not_bare: tuple[Name, ...]
    faint: int
    unclean: tuple[Name, ...]

    __repr__ = short_repr


def measure_air(volume: Volume) -> Air:
    """Measures the air of one volume, (I, J, K), finite."""
    thinned = _thinned(volume)
    level = _constant_border(volume, thinned)
    above = thinned - np.float32(level)
    size = np.abs(above)
    bright = float(np.percentile(size, BRIGHT_PERCENTILE)) or float(size.max())
    stands_out = size > FAINT * bright
    signed = float(np.mean(above[stands_out] < 0)) > NEGATIVE_LIMIT if stands_out.any() else False
    return Air(level, bright, signed, float(np.mean(size > TINY * bright)))


def _thinned(volume: Volume) -> Volume:
    step = max(1, round((volume.size / SAMPLED) ** (1 / 3)))
    return volume[tuple(slice(min(step // 2, n - 1), None, step) for n in volume.shape)]


def _constant_border(volume: Volume, thinned: Volume) -> float:
    border = np.concatenate([face[::2, ::2].ravel() for face in faces(volume)])
    values, counts = np.unique(border, return_counts=True)
    most = int(counts.argmax())
    level = float(values[most])
    if level == 0 or counts[most] <= CONSTANT_SHARE * border.size:
        return 0.0
    bright = float(np.percentile(np.abs(thinned - np.float32(level)), BRIGHT_PERCENTILE))
    distance = np.abs(border - np.float32(level))
    beside = np.mean((distance > 0) & (distance < FAINT * bright))
    return level if beside < ROUGH_SHARE else 0.0


def faces(volume: npt.NDArray[np.generic]) -> list[npt.NDArray[np.generic]]:
    """Returns the six faces of the field of view."""
    return [volume[0], volume[-1], volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1]]


def more_than_brain(volume: Volume, voxel_ml: float) -> bool:
    """Returns True where a volume, (I, J, K), shows more than a bare brain can: air that is noise, or more tissue than
    a brain has.
    """
    return _more_than_brain(measure_air(volume), volume.size, voxel_ml)


def _more_than_brain(air: Air, voxels: int, voxel_ml: float) -> bool:
    return air.filled > FILLED_LIMIT or air.filled * voxels * voxel_ml > BRAIN_LIMITS_ML[1]


def find_foreground(volumes: Mapping[Name, Volume], voxel_ml: float) -> Foreground[Name]:
    """Finds what stands out from air in volumes on one grid.

    Where every sequence's air is exact, that is every voxel that is not exactly air in any of them. Where some
    sequences show more than a bare brain and others do not, the others decide. Where more than `FAINT_LIMIT` of what is
    not exactly air is faint in all sequences, tissue is what is clearly above air in at least half of them, holes
    filled, its largest piece.

    Args:
        volumes: by sequence, each (I, J, K), finite.
        voxel_ml: of the grid.
    """
    if all(volume.flags.f_contiguous and not volume.flags.c_contiguous for volume in volumes.values()):
        # As NIfTI's voxels lie; numpy picks by a mask in C order, four times as quickly where the array lies so, and
        # nothing here depends on the axes.
        foreground = find_foreground({sequence: volume.T for sequence, volume in volumes.items()}, voxel_ml)
        return replace(foreground, mask=foreground.mask.T)
    airs = {sequence: measure_air(volume) for sequence, volume in volumes.items()}
    heads = tuple(
        sequence for sequence, volume in volumes.items() if _more_than_brain(airs[sequence], volume.size, voxel_ml)
    )
    not_bare = heads if len(heads) < len(volumes) else ()
    used = {sequence: volume for sequence, volume in volumes.items() if sequence not in not_bare}
    mask: Mask = np.zeros(next(iter(used.values())).shape, bool)
    for sequence, volume in used.items():
        mask |= volume != np.float32(airs[sequence].level)
    clear = np.zeros(int(np.count_nonzero(mask)), np.uint8)
    for sequence, volume in used.items():
        clear += airs[sequence].clearly_above(volume[mask])
    faint, unclean = 0, tuple[Name, ...]()
    if np.count_nonzero(clear == 0) > FAINT_LIMIT * clear.size and (clear >= len(used) / 2).any():
        tissue = mask.copy()
        tissue[mask] = clear >= len(used) / 2
        tissue = _whole(tissue)
        air = mask & ~tissue
        # Faint voxels inside, such as those that fell below 0, are no air.
        if np.count_nonzero(air) > FAINT_LIMIT * clear.size:
            mask, faint, limit = tissue, int(np.count_nonzero(air)), FAINT_LIMIT * np.count_nonzero(tissue)
            unclean = tuple(
                name
                for name, volume in used.items()
                if np.count_nonzero(volume[air] != np.float32(airs[name].level)) > limit
            )
    mask.setflags(write=False)
    return Foreground(mask, airs, not_bare, faint, unclean)


def _whole(mask: Mask) -> Mask:
    """The largest piece of a mask, its holes filled."""
    labelled, count = scipy.ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(labelled.ravel())
        sizes[0] = 0
        mask = labelled == sizes.argmax()
    return np.asarray(scipy.ndimage.binary_fill_holes(mask))


def without_far_air(volume: Volume, air: Air) -> Volume:
    """Returns a volume with its air raised to the darkest tissue where a constant lies far from all tissue, such as
    -32768 for "empty".

    The brain's mask is that of all sequences, so some air of each lies in it, and one such value would be most of a
    mean and a deviation.

    Args:
        volume: (I, J, K), finite.
        air: what `measure_air` found in it.

    Returns:
        The same object where air is 0 or lies beside the tissue, as after a z-score.
    """
    if air.level == 0:
        return volume
    empty = volume == np.float32(air.level)
    tissue = volume[~empty]
    if not tissue.size:
        return volume
    low, high = float(tissue.min()), float(tissue.max())
    return np.where(empty, np.float32(low), volume) if air.level < low - (high - low) or air.level > high else volume
