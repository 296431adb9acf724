"""Quality flags: what looks wrong in a case that can be segmented, and what to do about it.

Flags warn; they change nothing. Each is a measurement of the scans held against a limit that was set on real cases, see docs/input.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from gliomask.case import Case

NOT_1MM_LIMIT = 0.05
"""Largest difference of a spacing from 1 mm, in mm, that is not flagged."""


@dataclass(frozen=True)
class Flag:
    """Something that looks wrong.

    Args:
        name: its short name, for tables.
        message: what was found and what to do, for people.
        value: what was measured.
        limit: what it was held against.
    """

    name: str
    message: str
    value: float
    limit: float


def check_case(case: Case) -> list[Flag]:
    """Returns the flags of a case; an empty list where nothing looks wrong."""
    return [flag for flag in (_not_1mm(case),) if flag is not None]


def _not_1mm(case: Case) -> Flag | None:
    spacing = case.geometry.spacing_mm
    off = max(abs(mm - 1) for mm in spacing)
    if off <= NOT_1MM_LIMIT:
        return None
    found = " x ".join(f"{mm:.3g}" for mm in spacing)
    return Flag("not_1mm", f"Voxels are {found} mm; the networks were trained on 1 x 1 x 1 mm. Resample all four sequences to 1 mm first.", off, NOT_1MM_LIMIT)
