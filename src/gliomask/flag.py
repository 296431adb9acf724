"""A quality flag: something that looks wrong about a case or its result, as a measurement held against a limit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


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

    def fields(self) -> dict[str, Any]:
        """Returns the fields for strict JSON, which has no infinity and no NaN: such a value becomes None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }
