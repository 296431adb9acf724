"""The map of all tumours: how often each voxel of BraTS space belongs to one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomask.errors import InputError
from gliomask.geometry import Geometry
from gliomask.labels import Region
from gliomask.summary.cases import StudyCase


@dataclass(frozen=True, eq=False)
class FrequencyMap:
    """How often each voxel belongs to the whole tumour.

    Args:
        counts: (I, J, K) float32, cases.
        geometry: the grid, that of the first case.
        cases: how many were counted.
        left_out: why others were not, by case.
    """

    counts: npt.NDArray[np.float32]
    geometry: Geometry
    cases: int
    left_out: dict[str, str]


def frequency_map(cases: Iterable[StudyCase]) -> FrequencyMap | None:
    """Counts the whole tumours of all cases that lie in one grid of BraTS space; None where there is none.

    Prepared cases are taken to lie in BraTS space, as they must to be segmented. One label map is in memory at a time.
    """
    frequency: FrequencyMap | None = None
    left_out: dict[str, str] = {}
    for case in cases:
        if not case.done:
            continue
        try:
            label_map, geometry = case.label_map(in_frame=True)
        except InputError as error:
            left_out[case.case] = str(error)
            continue
        if frequency is None:
            frequency = FrequencyMap(np.zeros(geometry.shape, np.float32), geometry, 0, left_out)
        if not frequency.geometry.same_grid(geometry):
            left_out[case.case] = f"its grid is another: {geometry}"
            continue
        np.add(frequency.counts, Region.WT.mask(label_map), out=frequency.counts)
        frequency = FrequencyMap(frequency.counts, frequency.geometry, frequency.cases + 1, left_out)
    return frequency
