"""Where time and memory go: seconds, processor seconds and peak memory by stage, and what each network did.

Code marks its stages with `stage`; that costs nothing where nobody measures. Stages nest: time counts for the
innermost.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MEASURING = "measuring"
"""Stage of what the profile itself costs; no part of the total."""

OTHER = "other"
"""What lies between stages."""

SGEMM_SIDE = 1536
SGEMM_SECONDS = 0.5
"""Square float32 matrices that are multiplied for about that long: large enough for the processor's full rate."""

_CLEAR_PEAK = "5"
"""Written to /proc/self/clear_refs it resets the peak of resident memory to what is resident (Linux 4.0, proc(5))."""


NETWORK_STAGES = ("first look", "network", "whole brain", "ensemble member")
"""Stages in which networks work."""


@dataclass
class Stage:
    """What one stage took.

    Args:
        seconds: by the clock.
        processor_seconds: of all threads of the process, whichever stage they work for.
        peak_mb: most resident memory while it ran; None where the system does not say.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_mb: float | None = None


@dataclass
class NetworkWork:
    """What one network was given.

    Args:
        voxels: that went through it, padding and overlap included; a network along three planes sees most voxels of a
            tumour three times.
        calls: batches.
        gmac: thousand million multiply-adds for them; None where the graph holds what cannot be counted.
    """

    voxels: int = 0
    calls: int = 0
    gmac: float | None = None


@dataclass
class Profile:
    """Measures a run; see `profiling`.

    Args:
        stages: in the order in which they first began.
        networks: by model.
        network_stages: names of the stages in which networks work.
    """

    stages: dict[str, Stage] = field(default_factory=dict)
    networks: dict[str, NetworkWork] = field(default_factory=dict)
    network_stages: tuple[str, ...] = NETWORK_STAGES
    sgemm_gmac_per_s: float | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[str] = []
        self._peak_mb = 0.0
        self._mark = (time.perf_counter(), time.process_time())
        started = seconds_since_start()
        if started is not None:
            self.stages["start-up"] = Stage(started, time.process_time(), _peak_mb())
        _forget_peak()

    def begin(self, name: str) -> None:
        """Enters a stage; the one that was open waits."""
        self._close()
        self._open.append(name)

    def end(self) -> None:
        """Leaves the innermost stage."""
        self._close()
        self._open.pop()

    def lap(self, name: str) -> None:
        """Says of the time since the last stage began or ended that it was this stage's."""
        self._close(name)

    def _close(self, name: str | None = None) -> None:
        now = (time.perf_counter(), time.process_time())
        entry = self.stages.setdefault(name or (self._open[-1] if self._open else OTHER), Stage())
        entry.seconds += now[0] - self._mark[0]
        entry.processor_seconds += now[1] - self._mark[1]
        peak = _peak_mb()
        if peak is not None:
            entry.peak_mb = max(entry.peak_mb or 0.0, peak)
            self._peak_mb = max(self._peak_mb, peak)
        _forget_peak()
        self._mark = (time.perf_counter(), time.process_time())

    def count(
        self, model: str, predict: Callable[..., npt.NDArray[np.float32]], channels: int, mac_per_pixel: float | None
    ) -> Callable[..., Any]:
        """Returns a network that is counted; safe to call from several threads.

        Args:
            model: its name.
            predict: the network.
            channels: of its input.
            mac_per_pixel: multiply-adds for each pixel of its input, see `models.operations`; None where nobody knows.
        """
        work = self.networks.setdefault(model, NetworkWork(gmac=None if mac_per_pixel is None else 0.0))

        def counted(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            pixels = batch.size // channels
            with self._lock:
                work.voxels += pixels
                work.calls += 1
                if work.gmac is not None and mac_per_pixel is not None:
                    work.gmac += pixels * mac_per_pixel / 1e9
            return predict(batch)

        return counted

    @property
    def network_seconds(self) -> float:
        """Of all networks together."""
        return sum(self.stages[name].seconds for name in self.network_stages if name in self.stages)

    @property
    def gmac_per_s(self) -> float | None:
        """Rate of the network stages; None where a network's work cannot be counted."""
        amounts = [work.gmac for work in self.networks.values()]
        counted = [amount for amount in amounts if amount is not None]
        return (
            sum(counted) / self.network_seconds
            if counted and len(counted) == len(amounts) and self.network_seconds
            else None
        )

    def measured(self) -> dict[str, Any]:
        """Returns what was measured so far, in plain values for the run record; measures the machine's sgemm rate the
        first time.
        """
        if self.sgemm_gmac_per_s is None:
            self.begin(MEASURING)
            self.sgemm_gmac_per_s = sgemm_gmac_per_s()
            self.end()
        self._close()
        rate = self.gmac_per_s
        return {
            "stages": {name: _rounded(asdict(stage)) for name, stage in self.stages.items() if name != MEASURING},
            "networks": {name: _rounded(asdict(work)) for name, work in self.networks.items()},
            "network_gmac_per_s": None if rate is None else round(rate, 1),
            "sgemm_gmac_per_s": round(self.sgemm_gmac_per_s, 1),
            "share_of_sgemm": None if rate is None else round(rate / self.sgemm_gmac_per_s, 2),
            "total_seconds": round(sum(stage.seconds for name, stage in self.stages.items() if name != MEASURING), 3),
            "peak_mb": round(self._peak_mb) if self._peak_mb else None,
        }

    def text(self) -> str:
        """Returns the profile as a table for people."""
        measured = self.measured()
        lines = [f"{'stage':<18} {'seconds':>8} {'processor':>10} {'peak MB':>8}"]
        for name, stage in measured["stages"].items():
            peak = "?" if stage["peak_mb"] is None else f"{stage['peak_mb']:.0f}"
            lines.append(f"{name:<18} {stage['seconds']:>8.3f} {stage['processor_seconds']:>10.3f} {peak:>8}")
        lines.append(f"{'total':<18} {measured['total_seconds']:>8.3f}")
        for name, work in measured["networks"].items():
            gmac = "" if work["gmac"] is None else f", {work['gmac']:,.0f} GMAC"
            lines.append(f"{name}: {work['voxels']:,} voxels in {work['calls']} batches{gmac}")
        if measured["network_gmac_per_s"] is not None:
            rate, sgemm = measured["network_gmac_per_s"], measured["sgemm_gmac_per_s"]
            lines.append(
                f"networks: {rate:g} GMAC/s, {measured['share_of_sgemm']:g} of this machine's sgemm ({sgemm:g} GMAC/s)"
            )
        return "\n".join(lines)


_current: ContextVar[Profile | None] = ContextVar("gliomask_profile", default=None)


def current() -> Profile | None:
    """Returns what measures this run; None where nothing does."""
    return _current.get()


@contextmanager
def profiling() -> Iterator[Profile]:
    """Measures what runs inside. From other threads only the work of networks counts, and their processor time."""
    profile = Profile()
    token = _current.set(profile)
    try:
        yield profile
    finally:
        _current.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Marks a stage of the work."""
    profile = _current.get()
    if profile is None:
        yield
        return
    profile.begin(name)
    try:
        yield
    finally:
        profile.end()


def sgemm_gmac_per_s(seconds: float = SGEMM_SECONDS) -> float:
    """Returns the rate of numpy's matrix product in float32 with all threads that it takes, thousand million
    multiply-adds a second.
    """
    matrix = np.random.default_rng(0).random((SGEMM_SIDE, SGEMM_SIDE), np.float32)
    matrix @ matrix
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return SGEMM_SIDE**3 / best / 1e9


def seconds_since_start() -> float | None:
    """Returns how long this process has run; None where the system does not say (to 10 ms, Linux)."""
    try:
        after_name = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return max(0.0, up - int(after_name[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def resident_mb() -> float | None:
    """Returns the memory that this process holds, in 1e6 bytes; None where the system does not say."""
    return _status_mb("VmRSS:")


def _peak_mb() -> float | None:
    return _status_mb("VmHWM:")


def _status_mb(name: str) -> float | None:
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError, IndexError):
        pass
    return None


def _forget_peak() -> None:
    if not sys.platform.startswith("linux"):
        return
    # Some containers forbid it: then each stage shows the peak so far.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
