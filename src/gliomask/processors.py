"""How many processors this process may use: as affinity, control groups and the scheduler allow, not as the machine
has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path


def thread_count(threads: int | None) -> int:
    """Returns `threads` where a number was asked for; otherwise `usable_processors`."""
    return usable_processors() if threads is None else threads


def usable_processors(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> int:
    """Returns how many processors this process may use, at least 1.

    That is the least of its affinity, the CPU quota of its control groups (a container's limit), and what SLURM gave
    the task. More threads than that only wait for each other.

    Args:
        environment: variables; of them `SLURM_CPUS_PER_TASK` is read, which SLURM sets where `--cpus-per-task` was
            given (sbatch(1)).
        root: of the file system, for tests.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Half a processor more is not worth a thread that the kernel stops half of the time.
    limits = [affinity, *(int(quota) for quota in _quotas(root))]
    with suppress(ValueError):
        limits.append(int(environment.get("SLURM_CPUS_PER_TASK", "")))
    return max(1, min(limits))


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """The folders of this process's control groups, each with those above it: a limit of any of them holds.

    Args:
        controller: `cpu` or `memory`, as version 1 names them (cgroups(7)); in version 2 one group has all controllers.
        root: of the file system, for tests.
    """
    lines: list[str] = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup"
        top = mounted if number == "0" else mounted / controllers
        folder = top / path.strip("/")
        yield from (at for at in (folder, *folder.parents) if at == top or top in at.parents)


def _quotas(root: Path) -> Iterator[float]:
    """Processors that the control groups allow: `cpu.max` in version 2, quota and period in version 1 (kernel.org,
    Control Group v2 and CFS Bandwidth).
    """
    for folder in control_groups("cpu", root):
        with suppress(OSError, ValueError, ZeroDivisionError):
            # "max" in place of a number is no limit.
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
            if int(quota) > 0:
                yield int(quota) / int(period)
