"""A quality flag: something that looks wrong about a case or its result, as a measurement held against a limit."""

from __future__ import annotations

from dataclasses import dataclass


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
