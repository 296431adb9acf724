"""What a process may use is the least of affinity, control groups and the scheduler."""

import os

import pytest

from gliomask.processors import control_groups, thread_count, usable_processors


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch):
    """The process may run on eight processors, as far as its affinity goes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def group(root, line, folder, **files):
    """Lays out a control group as Linux shows it."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(line)
    place = root / "sys/fs/cgroup" / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)


def test_affinity_counts_where_nothing_else_limits(tmp_path):
    assert usable_processors({}, tmp_path) == 8


def test_a_system_without_affinity_is_asked_for_its_processors(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_processors({}, tmp_path) == 3


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),
        ("50000 100000\n", 1),
        ("max 100000\n", 8),
        ("1600000 100000\n", 8),
        ("garbage", 8),
        ("1 0\n", 8),
    ],
)
def test_a_containers_quota_counts(tmp_path, quota, expected):
    group(tmp_path, "0::/job\n", "job", cpu__max=quota)
    assert usable_processors({}, tmp_path) == expected


def test_a_quota_of_a_group_above_counts(tmp_path):
    group(tmp_path, "0::/user/job\n", "user/job", cpu__max="max 100000\n")
    group(tmp_path, "0::/user/job\n", "user", cpu__max="300000 100000\n")
    assert usable_processors({}, tmp_path) == 3


@pytest.mark.parametrize(("quota", "expected"), [("400000\n", 4), ("-1\n", 8)])
def test_a_quota_of_the_first_version_counts(tmp_path, quota, expected):
    group(tmp_path, "4:cpu,cpuacct:/job\n", "cpu,cpuacct/job", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000\n")
    assert usable_processors({}, tmp_path) == expected


@pytest.mark.parametrize(("given", "expected"), [("2", 2), ("64", 8), ("0", 1), ("-3", 1), ("", 8), ("two", 8)])
def test_slurms_share_counts(tmp_path, given, expected):
    assert usable_processors({"SLURM_CPUS_PER_TASK": given}, tmp_path) == expected


def test_the_least_of_all_counts(tmp_path):
    group(tmp_path, "0::/\n", ".", cpu__max="500000 100000\n")
    assert usable_processors({"SLURM_CPUS_PER_TASK": "6"}, tmp_path) == 5


def test_a_group_of_another_controller_is_none(tmp_path):
    group(tmp_path, "3:memory:/job\n", "memory/job")
    assert list(control_groups("cpu", tmp_path)) == []
    assert list(control_groups("memory", tmp_path)) == [
        tmp_path / "sys/fs/cgroup/memory/job",
        tmp_path / "sys/fs/cgroup/memory",
    ]


def test_a_number_that_was_asked_for_is_taken(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert thread_count(5) == 5
    assert thread_count(None) <= 2
