"""What this process may use: processors and memory as affinity, control groups and the scheduler allow, not as the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from gliomask.engines.base import thread_count

MEMORY_OF_WORKER_MB = 3000
"""What a worker is reckoned to need at its peak with the default model on a case of BraTS's size; only the default number of workers rests on it."""

PROCESSORS_OF_WORKER = 2
"""So that reading and writing of one case overlap with the network of another."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""What OpenMP, OpenBLAS, MKL and ITK read for the number of their threads."""


def processors(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> int:
    """Returns how many processors this process may use: the least of affinity, the quota of its control groups, and what SLURM gave the task.

    Args:
        environment: variables.
        root: of the file system, for tests.
    """
    limits = [thread_count(None), *(max(1, int(quota)) for quota in _quotas(root))]
    with suppress(ValueError):
        limits.append(max(1, int(environment.get("SLURM_CPUS_PER_TASK", ""))))
    return min(limits)


def memory_mb(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> float | None:
    """Returns how much memory this process may use, 10^6 bytes: the least of what is free, its control groups' limits, and what SLURM gave; None where
    the system tells nothing.

    Args:
        environment: variables.
        root: of the file system, for tests.
    """
    limits: list[float] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 / 1e6)
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text(encoding="ascii")) / 1e6)
    with suppress(ValueError):
        # SLURM counts in MiB.
        limits.append(int(environment.get("SLURM_MEM_PER_NODE", "")) * 1.048576)
    return min(limits) if limits else None


def _quotas(root: Path) -> Iterator[float]:
    """Processors that the control groups of this process allow (version 2: `cpu.max`; version 1: quota and period; kernel.org, cgroup-v2)."""
    for folder in _groups(root, "cpu"):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
            if int(quota) > 0:
                yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, each with those above it: a limit of any of them holds."""
    lines: list[str] = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" if number == "0" else root / "sys/fs/cgroup" / controllers
        folder = top / path.strip("/")
        yield from (at for at in (folder, *folder.parents) if at == top or top in at.parents)


def default_workers(count: int, memory: float | None) -> int:
    """Returns how many workers to start.

    Args:
        count: processors that may be used.
        memory: memory that may be used, 10^6 bytes; None where unknown.
    """
    by_memory = count if memory is None else int(memory // MEMORY_OF_WORKER_MB)
    return max(1, min(count // PROCESSORS_OF_WORKER, by_memory))
