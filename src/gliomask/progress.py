"""How far a piece of work is, put together from its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Progress = Callable[[int, int], None]
"""Called with (done, in all), in units of no meaning of their own; `done` never falls."""

ALL = 1000
"""Units of a work that has parts."""


def parts(progress: Progress, shares: Sequence[float]) -> tuple[Progress, ...]:
    """Returns a callback for each of several parts that are done one after the other, which together move one bar.

    Args:
        progress: gets (0 to 1000, 1000).
        shares: how much of the time each part takes, in any unit; estimates.
    """
    whole = sum(shares)

    def part(before: float, share: float) -> Progress:
        return lambda done, total: progress(round(ALL * (before + share * done / max(total, 1)) / whole), ALL)

    return tuple(part(sum(shares[:n]), share) for n, share in enumerate(shares))
