"""How many processors a process may use: the least of what binds it."""

import os

import pytest

from gliomask import processors
from gliomask.engines.base import thread_count
from gliomask.processors import allowed_processors


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sixteen processors, and control groups that the test writes."""

    def make(membership, files):
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(processors, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.delenv(processors.SLURM, raising=False)
    return make


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/job/step\n", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, 3),
        ("5:cpu,cpuacct:/docker/x\n2:memory:/y\n", {"cpu/docker/x/cpu.cfs_quota_us": "400000", "cpu/docker/x/cpu.cfs_period_us": "100000"}, 4),
        ("5:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        ("0::/\n", {"cpu.max": "nonsense\n"}, 16),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 16),
        ("", {}, 16),
    ],
)
def test_a_quota_of_time_counts_as_so_many_processors(machine, membership, files, expected):
    machine(membership, files)
    assert allowed_processors({}) == expected


@pytest.mark.parametrize(("asked", "expected"), [("4", 4), ("64", 16), ("0", 1), ("", 16), ("4(x2)", 16)])
def test_slurm_counts_where_it_says_a_number(machine, asked, expected):
    machine("", {})
    assert allowed_processors({processors.SLURM: asked}) == expected


def test_the_least_counts_and_what_was_asked_for_stands(machine, monkeypatch):
    machine("0::/\n", {"cpu.max": "800000 100000\n"})
    monkeypatch.setenv(processors.SLURM, "3")
    assert thread_count(None) == 3
    assert thread_count(12) == 12


def test_without_control_groups_the_binding_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert allowed_processors({}) == 1
