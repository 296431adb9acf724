"""How many processors this process may use: what the system, a container and a cluster's scheduler allow, whichever is least."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

SLURM = "SLURM_CPUS_PER_TASK"
"""Set by Slurm inside a job that asked for processors; the job may see more of the node's than it may use."""


def allowed_processors(environment: Mapping[str, str] = os.environ) -> int:
    """Returns the number of processors, at least 1.

    The least of: the processors that the process is bound to (`taskset`, Slurm's binding, Docker's `--cpuset-cpus`); the quota of time of its control
    group, rounded up (Docker's `--cpus`, Kubernetes' limits); and Slurm's `--cpus-per-task`.

    Args:
        environment: variables of the process.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = environment.get(SLURM, "")
    limits = [bound, *_quotas(), *([int(asked)] if asked.isdecimal() else [])]
    return max(1, min(limits))


def _quotas() -> Iterator[int]:
    """Quotas of the process's control group and of those that hold it, in whole processors."""
    try:
        memberships = MEMBERSHIP.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in memberships:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS
        inside = PurePosixPath(place.lstrip("/"))
        for group in (inside, *inside.parents):
            quota = _quota_v1(root / group) if controllers else _quota_v2(root / group)
            if quota is not None:
                yield quota


def _quota_v2(group: Path) -> int | None:
    """Of version 2: `cpu.max` holds microseconds of processor time, or max, and the period (Linux, Documentation/admin-guide/cgroup-v2.rst)."""
    words = _words(group / "cpu.max")
    return _whole(words[0], words[1]) if len(words) == 2 else None


def _quota_v1(group: Path) -> int | None:
    """Of version 1: two files; -1 is no limit (Linux, Documentation/scheduler/sched-bwc.rst)."""
    quota, period = _words(group / "cpu.cfs_quota_us"), _words(group / "cpu.cfs_period_us")
    return _whole(quota[0], period[0]) if quota and period else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []


def _whole(quota: str, period: str) -> int | None:
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return max(1, math.ceil(int(quota) / int(period)))
