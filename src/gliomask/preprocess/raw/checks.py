"""What no step could mend: scans that are no MR scan of a head, or one sequence that was given for two."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from gliomask.air import more_than_brain
from gliomask.arrays import Volume
from gliomask.errors import CaseError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.sequences import PAPER_ORDER, Sequence

FEWEST_SLICES = 10
FEWEST_MM = 80.0
"""A brain is at least 100 mm high; what covers less is a slab."""

AIR_HU = -500.0
CT_SHARE = 0.1
"""In a CT air has -1000 Hounsfield units, and fills more than this share. MR scanners give no such numbers."""


def refuse_unfit(examination: Examination, without: frozenset[Sequence] = frozenset()) -> None:
    """Checks that all sequences but those `without` are there, that each may be an MR scan of a head, and that no two are one.

    Raises:
        CaseError: one of them is not so; the message says which.
    """
    case_id, scans = examination.case_id, examination.scans
    missing = [sequence.value for sequence in PAPER_ORDER if sequence not in scans and sequence not in without]
    if missing:
        found = ", ".join(sequence.value for sequence in scans)
        raise CaseError(f"Case {case_id}: missing {', '.join(missing)}; found {found}. Name what the patient does not have by --without.")
    for sequence, scan in scans.items():
        problem = _problem(scan)
        if problem:
            raise CaseError(f"Case {case_id}: {sequence.value} ({scan.source}) {problem}")
    for first, second in combinations(scans, 2):
        if np.array_equal(scans[first].volume, scans[second].volume):
            raise CaseError(
                f"Case {case_id}: {first.value} ({scans[first].source}) and {second.value} ({scans[second].source}) hold the same image. "
                "Give each sequence its own scan."
            )


def _problem(scan: Scan) -> str | None:
    shape, extent_mm = scan.geometry.shape, [n * mm for n, mm in zip(scan.geometry.shape, scan.geometry.spacing_mm, strict=True)]
    if min(shape) < FEWEST_SLICES or min(extent_mm) < FEWEST_MM:
        return f"is no whole head: {scan.geometry}. At least {FEWEST_SLICES} slices over {FEWEST_MM:g} mm are needed; give the whole series."
    air = float(np.mean(scan.volume < AIR_HU))
    if air > CT_SHARE:
        return f"looks like a CT: {air:.0%} of it is below {AIR_HU:g}, as air is in Hounsfield units. Give the MR sequence."
    return None


def has_skull(volume: Volume, geometry: Geometry) -> bool:
    """True where more is not air than a bare brain can fill, of the field of view or in millilitres: as the flag `skull_on` has it."""
    return more_than_brain(volume, geometry.voxel_ml)
