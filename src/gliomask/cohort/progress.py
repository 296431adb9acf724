"""How fast a cohort goes and how long it will take: counted, not printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Args:
        done: cases that have ended in this run or before it.
        total: cases of the cohort.
        failed: of those that have ended.
        per_hour: cases an hour that were worked on in this run; None before the first.
        left_s: seconds until the last one ends, at that rate; None before the first.
    """

    done: int
    total: int
    failed: int
    per_hour: float | None
    left_s: float | None


class Rate:
    """Counts cases as they end. Kept ones take no time, so they do not count for the rate.

    Args:
        total: cases of the cohort.
        done: those that have ended before.
        failed: of these.
        clock: monotonic, in seconds; a clock of the day may go backwards.
    """

    def __init__(self, total: int, done: int = 0, failed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._done, self._failed, self._clock = total, done, failed, clock
        self._start = clock()
        self._worked = 0

    def ended(self, *, failed: bool, kept: bool) -> RunState:
        """Takes up a case that ended; returns where the run stands."""
        self._done += 1
        self._failed += failed
        self._worked += not kept
        seconds = max(self._clock() - self._start, 1e-9)
        if not self._worked:
            return RunState(self._done, self._total, self._failed, None, None)
        rate = self._worked / seconds
        return RunState(self._done, self._total, self._failed, rate * 3600, max(self._total - self._done, 0) / rate)
