"""Gaps in the scans: voxels without a number, and parts of the brain that a sequence does not show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gliomask.arrays import Mask
from gliomask.case import Case
from gliomask.flag import Flag
from gliomask.nan import NAN_ISLANDS, Nan, at
from gliomask.sequences import Sequence

MISSING_LIMIT = 0.02
"""Share of the brain that a sequence may not show. Of 69 patients' sequences none lacks more than 0.0015: air is
exactly that value there, as where a field of view was padded."""


def nan_flags(nan: Mapping[Sequence, Nan], voxels: Mapping[Sequence, int], brain: Mask | None) -> list[Flag]:
    """Returns flags for the NaN that were mended.

    Args:
        nan: by sequence.
        voxels: of each sequence, in all.
        brain: (I, J, K), True inside, where all sequences lie on its grid; None where the brain is not known yet.
    """
    flags = []
    outside = {sequence: one.outside for sequence, one in nan.items() if one.outside}
    if outside:
        names = ", ".join(f"{sequence.value}: {count:,}" for sequence, count in outside.items())
        message = (
            f"Voxels that are NaN and reach the border of the field of view count as air ({names}). Check that no "
            "tissue is missing."
        )
        share = max(count / voxels[sequence] for sequence, count in outside.items())
        flags.append(Flag("nan_is_air", message, share, NAN_ISLANDS))
    filled = {sequence: one.filled for sequence, one in nan.items() if len(one.filled)}
    if filled:
        parts = []
        for sequence, places in filled.items():
            inside = 0 if brain is None else int(np.count_nonzero(brain[tuple(places.T)]))
            in_brain = "" if brain is None else f", {inside:,} of them in the brain"
            parts.append(f"{sequence.value}: {len(places):,}{in_brain}, {at(places)}")
        message = (
            "Voxels that are NaN away from the border of the field of view took the mean of their neighbours "
            f"({'; '.join(parts)}). Look at these places in a viewer."
        )
        flags.append(Flag("nan_filled", message, float(max(map(len, filled.values()))), 0.0))
    return flags


def part_missing(case: Case) -> Flag | None:
    """Returns a flag where a sequence shows nothing of a part of the brain, as the others show it."""
    brain, foreground = case.brain_mask, case.foreground
    voxels = int(np.count_nonzero(brain))
    lacking = {}
    for sequence in case.sequences:
        if sequence not in foreground.not_bare:
            nothing = case.volumes[sequence] == np.float32(foreground.airs[sequence].level)
            lacking[sequence] = int(np.count_nonzero(nothing & brain)) / max(1, voxels)
    large = {sequence: share for sequence, share in lacking.items() if share > MISSING_LIMIT}
    if not large:
        return None
    ml = voxels * case.geometry.voxel_ml
    names = ", ".join(f"{sequence.value}: {share:.0%}, {share * ml:,.0f} ml" for sequence, share in large.items())
    message = (
        f"Part of the brain, as the other sequences show it, is air here ({names}): it lies outside that field of "
        "view, or was cut away. Tumour there may be missed; give scans of the whole brain."
    )
    return Flag("part_missing", message, max(large.values()), MISSING_LIMIT)
