"""What this process may use: processors and memory as affinity, control groups and the scheduler allow, not as the
machine has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gliomask.processors import control_groups

MEMORY_OF_WORKER_MB = 3000
"""What a worker is reckoned to need at its peak with the default model on a case of BraTS's size; only the default
number of workers rests on it.
"""

PROCESSORS_OF_WORKER = 2
"""More would wait for each other: half of a case's work (reading, regions, writing) uses one processor."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""What OpenMP, OpenBLAS, MKL and ITK read for the number of their threads."""


def memory_mb(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> float | None:
    """Returns how much memory this process may use, 10^6 bytes: the least of what is free, its control groups' limits,
    and what SLURM gave; None where the system tells nothing.

    Args:
        environment: variables.
        root: of the file system, for tests.
    """
    limits: list[float] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 / 1e6)
    for folder in control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text(encoding="ascii")) / 1e6)
    with suppress(ValueError):
        # SLURM counts in MiB.
        limits.append(int(environment.get("SLURM_MEM_PER_NODE", "")) * 1.048576)
    return min(limits) if limits else None


def workers_for(count: int) -> int:
    """Returns how many workers keep processors busy: at least two where there are two processors, so that reading and
    writing of one case overlap with the network of another.

    Args:
        count: processors.
    """
    return max(1, count // PROCESSORS_OF_WORKER, min(count, 2))


def default_workers(count: int, memory: float | None) -> int:
    """Returns how many workers to start.

    Args:
        count: processors that may be used.
        memory: memory that may be used, 10^6 bytes; None where unknown.
    """
    by_memory = count if memory is None else int(memory // MEMORY_OF_WORKER_MB)
    return max(1, min(workers_for(count), by_memory))
