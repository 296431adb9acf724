"""What no MR sequence of a head can be, whichever way it came: a CT, or one image that was given for two sequences."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from gliomask.arrays import Volume
from gliomask.errors import CaseError
from gliomask.sequences import Sequence

AIR_HU = (-5000.0, -500.0)
CT_SHARE = 0.1
"""In a CT air has -1000 Hounsfield units, what lies outside the scanner's circle down to -3024, and both fill more than
this share. MR scanners give no such numbers; programs give -32768 to what they call empty, which is no CT's."""


def refuse_ct_and_copies(case_id: str, volumes: Mapping[Sequence, Volume], sources: Mapping[Sequence, object]) -> None:
    """Refuses a CT, and one image for two sequences.

    Args:
        case_id: for the message.
        volumes: by sequence, on grids of their own.
        sources: where each came from, for the message.

    Raises:
        CaseError: one of them is so; the message says which.
    """
    names = {
        sequence: f"{sequence.value} ({sources[sequence]})" if sequence in sources else sequence.value
        for sequence in volumes
    }
    for sequence, volume in volumes.items():
        air = float(np.mean((volume > AIR_HU[0]) & (volume < AIR_HU[1])))
        if air > CT_SHARE:
            what = (
                f"{names[sequence]} looks like a CT: {air:.0%} of it is below {AIR_HU[1]:g}, as air is in "
                "Hounsfield units"
            )
            raise CaseError(f"Case {case_id}: {what}. Give the MR sequence.")
    for first, second in combinations(volumes, 2):
        if np.array_equal(volumes[first], volumes[second]):
            raise CaseError(
                f"Case {case_id}: {names[first]} and {names[second]} hold the same image. "
                "Give each sequence its own scan, and name by --without what the patient does not have."
            )
