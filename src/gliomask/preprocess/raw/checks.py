"""What no step could mend: scans that are no MR scan of a head, or one sequence that was given for two."""

from __future__ import annotations

from gliomask.air import more_than_brain
from gliomask.arrays import Volume
from gliomask.errors import CaseError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.preprocess.fitness import refuse_ct_and_copies
from gliomask.sequences import PAPER_ORDER, Sequence

FEWEST_SLICES = 10
FEWEST_MM = 80.0
"""A brain is at least 100 mm high; what covers less is a slab."""


def refuse_unfit(examination: Examination, without: frozenset[Sequence] = frozenset()) -> None:
    """Checks that all sequences but those `without` are there, that each may be an MR scan of a head, and that no two
    are one.

    Raises:
        CaseError: one of them is not so; the message says which.
    """
    case_id, scans = examination.case_id, examination.scans
    missing = [sequence.value for sequence in PAPER_ORDER if sequence not in scans and sequence not in without]
    if missing:
        names = ", ".join(sequence.value for sequence in scans)
        raise CaseError(
            f"Case {case_id}: missing {', '.join(missing)}; found {names}. Name what the patient does not have "
            "by --without."
        )
    for sequence, scan in scans.items():
        problem = _problem(scan)
        if problem:
            raise CaseError(f"Case {case_id}: {sequence.value} ({scan.source}) {problem}")
    volumes = {sequence: scan.volume for sequence, scan in scans.items()}
    refuse_ct_and_copies(case_id, volumes, {sequence: scan.source for sequence, scan in scans.items()})


def _problem(scan: Scan) -> str | None:
    shape, extent_mm = (
        scan.geometry.shape,
        [n * mm for n, mm in zip(scan.geometry.shape, scan.geometry.spacing_mm, strict=True)],
    )
    if min(shape) < FEWEST_SLICES or min(extent_mm) < FEWEST_MM:
        return (
            f"is no whole head: {scan.geometry}. At least {FEWEST_SLICES} slices over {FEWEST_MM:g} mm are needed; "
            "give the whole series."
        )
    return None


def has_skull(volume: Volume, geometry: Geometry) -> bool:
    """True where more is not air than a bare brain can fill, of the field of view or in millilitres: as the flag
    `skull_on` has it.
    """
    return more_than_brain(volume, geometry.voxel_ml)
