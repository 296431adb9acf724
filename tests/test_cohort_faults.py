"""What docs/reliability.md promises of a cohort, a test for each: killed runs, full disks, vanished files, two runs,
odd clocks, lost power.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stub_cohort import HERE, PLAIN
from test_cohort import ASKED, results_of, table_of, write_cases

import gliomask.files.atomic as atomic
from gliomask.cohort import supervisor, worker
from gliomask.cohort.local import LocalRunner
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import CohortRow, RowStore
from gliomask.cohort.runner import begin, open_table, run_cohort
from gliomask.cohort.supervisor import CaseLimits
from gliomask.cohort.table import CohortTable
from gliomask.errors import FileFormatError, LimitError, UsageError
from gliomask.files.lock import locked

ROOT = Path(__file__).resolve().parents[1]
HELPER = Path(__file__).with_name("stub_kills.py")


@pytest.fixture
def stub(monkeypatch):
    """Workers are processes with the network made by hand."""
    monkeypatch.setattr(supervisor, "WORKER", HERE)


def serial_results(cases: Path, place: Path) -> dict[str, bytes]:
    run_cohort(begin(cases, CohortPlace(place), ASKED), LocalRunner(2))
    return results_of(place)


@pytest.mark.slow
def test_killed_a_hundred_times_nothing_is_lost_and_nothing_is_half(stub, tmp_path):
    cases = write_cases(tmp_path / "in", *(f"c{number}" for number in range(8)))
    command = [sys.executable, HELPER, cases, tmp_path / "out", "100", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["wrong"] == []
    assert said["killed"] == 100
    assert {row["status"] for row in table_of(tmp_path / "out").values()} == {"done"}
    assert results_of(tmp_path / "out") == serial_results(cases, tmp_path / "serial")
    assert not list((tmp_path / "out").rglob(".gliomask-*.ready"))


@pytest.mark.slow
def test_the_whole_command_is_killed_at_random_and_goes_on(stub, tmp_path):
    cases = write_cases(tmp_path / "in", *(f"slow{number}" for number in range(6)))
    command = [*HERE[:2], str(cases), "-o", str(tmp_path / "out"), "--workers", "2", *PLAIN]
    generator = random.Random(3)
    rows = tmp_path / "out" / ".cohort" / "rows"
    for begun in (1, 4):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Not before there is work to lose, however slowly the machine starts a process.
        until = time.monotonic() + 60
        while time.monotonic() < until and run.poll() is None and len(list(rows.glob("??/*.json"))) < begun:
            time.sleep(0.02)
        time.sleep(generator.uniform(0, 0.5))
        run.send_signal(signal.SIGKILL)
        run.wait()
    # The next run waits for orphans to end, and none of them writes any more.
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert {row["status"] for row in table_of(tmp_path / "out").values()} == {"done"}
    assert results_of(tmp_path / "out") == serial_results(cases, tmp_path / "serial")


def test_a_terminated_run_leaves_its_table_and_what_was_at_work_waits(stub, tmp_path):
    cases = write_cases(tmp_path / "in", "a", "b-hang")
    command = [*HERE[:2], str(cases), "-o", str(tmp_path / "out"), "--workers", "1", *PLAIN]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(
        row.status == "done" for row in RowStore(tmp_path / "out" / ".cohort" / "rows")
    ):
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == 143
    run.communicate()
    rows = table_of(tmp_path / "out")
    assert {case: row["status"] for case, row in rows.items()} == {"a": "done", "b-hang": "waiting"}
    assert RowStore(tmp_path / "out" / ".cohort" / "rows").read("b-hang") is None


def test_no_orphan_outlives_its_parent(tmp_path):
    """A worker whose parent was killed ends at once, also in the middle of a case."""
    cases = write_cases(tmp_path / "in", "hang")
    entry = begin(cases, CohortPlace(tmp_path / "out"), ASKED).entries[0]
    request = {"asked": ASKED, "output": str(tmp_path / "out"), "threads": 1, "memory_mb": None, "options_sha256": "x"}
    parent = f"""
import subprocess, sys, time, os
child = subprocess.Popen({list(HERE)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write({json.dumps(request).encode()!r} + b"\\n")
child.stdin.flush()
child.stdout.readline()
child.stdin.write({json.dumps(entry.cells()).encode()!r} + b"\\n")
child.stdin.flush()
print(child.pid, flush=True)
time.sleep(600)
"""
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    pid = int(started.stdout.readline())
    started.kill()
    started.wait()
    started.stdout.close()
    until = time.monotonic() + 10
    while time.monotonic() < until and _lives(pid):
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_case_that_took_its_machine_down_comes_last(tmp_path):
    cases = write_cases(tmp_path / "in", "a", "b")
    cohort = begin(cases, CohortPlace(tmp_path / "out"), ASKED)
    RowStore(cohort.place.rows).write(
        CohortRow("a", "waiting", message=supervisor.BEGUN, attempts=1, options_sha256=cohort.settings.options_sha256)
    )
    from gliomask.cohort.runner import left_to_do

    assert [entry.case for entry in left_to_do(cohort, open_table(cohort).rows, retry_failed=False)] == ["b", "a"]


def test_a_full_disk_ends_the_run_blames_no_case_and_leaves_no_half_file(stub, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounts a small disk, as root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        cases = write_cases(tmp_path / "in", *(f"c{number}" for number in range(12)))
        cohort = begin(cases, CohortPlace(disk / "out"), {**ASKED, "probabilities": True})
        with pytest.raises(LimitError, match="No space left|cannot be written"):
            run_cohort(cohort, LocalRunner())
        rows = {row.case: row for row in RowStore(cohort.place.rows)}
        assert not any(row.status == "failed" for row in rows.values())
        for case, row in rows.items():
            if row.status == "done":
                assert (disk / "out" / row.label_map).is_file()
            else:
                assert not (disk / "out" / case / f"{case}_run.json").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("number", "free", "ends"), [(errno.ENOSPC, True, True), (errno.EROFS, False, True), (errno.EACCES, True, False)]
)
def test_an_output_that_takes_nothing_more_is_told_from_one_case_that_cannot_be_written(
    tmp_path, monkeypatch, number, free, ends
):
    error = UsageError("x")
    error.__cause__ = OSError(number, "no")
    monkeypatch.setattr(os, "access", lambda path, mode: free)
    assert worker.cannot_write(error, tmp_path) is ends
    unreadable = FileFormatError("x")
    unreadable.__cause__ = OSError(number, "no")
    assert not worker.cannot_write(unreadable, tmp_path)


def test_a_read_only_output_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="read-only"):
        CohortPlace(tmp_path / "out").begin()


def test_a_scan_or_a_result_that_vanishes_is_that_cases_matter(stub, tmp_path):
    cases = write_cases(tmp_path / "in", "a", "b", "c")
    cohort = begin(cases, CohortPlace(tmp_path / "out"), ASKED)
    (cases / "b" / "b_t2.nii.gz").unlink()
    summary = run_cohort(cohort, LocalRunner())
    assert (summary.done, summary.failed) == (2, 1)
    assert table_of(tmp_path / "out")["b"]["reason"] == "FileFormatError"
    (tmp_path / "out" / "a" / "a_seg.nii.gz").unlink()
    RowStore(cohort.place.rows).path("c").unlink()
    got = {}
    run_cohort(cohort, LocalRunner(), lambda result, state: got.update({result.row.case: result}))
    assert got["a"].row.message == "done again: a result was gone or changed"
    assert got["c"].kept
    assert table_of(tmp_path / "out")["c"]["status"] == "done"


def test_a_second_run_on_the_same_output_is_refused_and_changes_nothing(stub, tmp_path, capsys):
    from gliomask.cli.main import run

    cases = write_cases(tmp_path / "in", "hang")
    command = [*HERE[:2], "cohort", str(cases), "-o", str(tmp_path / "out"), "--workers", "1", *PLAIN]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*") if path.is_file()}
        assert run(command[2:]) == 2
        assert "another gliomask cohort runs in this folder" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in before} == before
    finally:
        first.send_signal(signal.SIGTERM)
        first.wait(timeout=30)
        first.stdout.close()


def test_workers_of_a_killed_run_keep_a_new_one_out_until_they_end(tmp_path, monkeypatch):
    import fcntl

    from gliomask.cohort import local

    monkeypatch.setattr(local, "ORPHANS_SECONDS", 0.3)
    with (tmp_path / "workers").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run are at work"), local._held(tmp_path, "workers"):
            pass
    with local._held(tmp_path, "workers") as descriptors:
        assert len(descriptors) == 1


def test_a_clock_that_goes_backwards_changes_nothing(stub, tmp_path, monkeypatch):
    cases = write_cases(tmp_path / "in", "a", "b")
    cohort = begin(cases, CohortPlace(tmp_path / "out"), ASKED)
    now = [2e9]

    def backwards() -> float:
        now[0] -= 86_400
        return now[0]

    monkeypatch.setattr(time, "time", backwards)
    with locked(cohort.place.hidden):
        assert run_cohort(cohort, LocalRunner(limits=CaseLimits(60))).done == 2
    # Files from the future are no reason to do anything again.
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (4e9, 4e9))
    kept = []
    run_cohort(cohort, LocalRunner(), lambda result, state: kept.append(result.kept))
    assert kept == [True, True]


def test_a_row_survives_a_loss_of_power(tmp_path, monkeypatch):
    """The order of system calls: the content is flushed before the name counts, and the folder after it."""
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append(("fsync", str(Path(f"/proc/self/fd/{fd}").readlink()))), fsync(fd))[1]
    )
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (calls.append(("rename", str(target))), replace(self, target))[1]
    )
    store = RowStore(tmp_path)
    store.write(CohortRow("a", "done"))
    path = store.path("a")
    assert [kind for kind, _ in calls] == ["fsync", "rename", "fsync"]
    assert re.fullmatch(rf"{path.parent}/\.gliomask-.*\.part", calls[0][1])
    assert calls[1] == ("rename", str(path))
    assert calls[2] == ("fsync", str(path.parent))
    calls.clear()
    table = CohortTable(tmp_path / "cohort.tsv", ["a"])
    table.write()
    assert [kind for kind, _ in calls] == ["fsync", "rename", "fsync"]


def test_a_row_that_cannot_be_flushed_is_an_error_and_the_earlier_row_stays(tmp_path, monkeypatch):
    store = RowStore(tmp_path)
    store.write(CohortRow("a", "done", 1.0))

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(LimitError, match="No space left"):
        store.write(CohortRow("a", "done", 2.0))
    assert store.read("a") == CohortRow("a", "done", 1.0)
    assert [path.name for path in store.path("a").parent.iterdir()] == [store.path("a").name]


def test_a_damaged_row_or_table_is_made_again_from_the_results(stub, tmp_path):
    cases = write_cases(tmp_path / "in", "a")
    cohort = begin(cases, CohortPlace(tmp_path / "out"), ASKED)
    run_cohort(cohort, LocalRunner())
    before = table_of(tmp_path / "out")["a"]
    RowStore(cohort.place.rows).path("a").write_bytes(b"\0" * 100)
    cohort.place.table.write_bytes(b"\0" * 100)
    results = []
    run_cohort(cohort, LocalRunner(), lambda result, state: results.append(result.kept))
    assert results == [True]
    after = table_of(tmp_path / "out")["a"]
    assert {name: after[name] for name in ("status", "wt_ml", "label_map_sha256", "inputs_sha256", "finished")} == {
        name: before[name] for name in ("status", "wt_ml", "label_map_sha256", "inputs_sha256", "finished")
    }


def test_every_promise_names_a_test_that_exists():
    lines = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    first = lines.index("| promise | test |")
    promises = list(itertools.takewhile(lambda line: line.startswith("|"), lines[first + 2 :]))
    assert len(promises) > 15
    for promise in promises:
        last_cell = promise.split("|")[-2]
        names = re.findall(r"`(test_\w+)`", last_cell)
        file = (re.findall(r"`(test_\w+\.py)`", last_cell) or ["test_cohort_faults.py"])[0]
        assert names, promise
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert [name for name in names if f"\ndef {name}(" not in text] == [], promise
