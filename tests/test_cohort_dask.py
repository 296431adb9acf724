"""The runner of a Dask cluster: local workers, one of which is lost, and an address where nobody answers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest
from stub_cohort import HERE, PLAIN
from test_cohort import ASKED, results_of, table_of, write_cases

from gliomask.cohort import dask, supervisor
from gliomask.cohort.dask import DaskRunner
from gliomask.cohort.local import LocalRunner
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import RowStore
from gliomask.cohort.runner import begin, open_table, run_cohort
from gliomask.cohort.supervisor import CaseLimits, StoppedError
from gliomask.errors import UsageError


def dask_workers(parent: int) -> list[int]:
    """Processes of Dask's workers that a process has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words, state = (
                    (folder / "cmdline").read_bytes(),
                    (folder / "stat").read_text().rpartition(")")[2].split(),
                )
            except OSError:
                continue
            if int(state[1]) == parent and b"spawn_main" in words:
                found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_lost_worker_loses_no_case_and_results_are_those_of_one_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "WORKER", HERE)
    cases = write_cases(tmp_path / "in", *(f"slow{number}" for number in range(5)), "x-crash")
    run_cohort(begin(cases, CohortPlace(tmp_path / "serial"), ASKED), LocalRunner(2))
    command = [*HERE[:2], str(cases), "-o", str(tmp_path / "out"), "--workers", "2", "--dask", "local", *PLAIN]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rows = tmp_path / "out" / ".cohort" / "rows"
    until = time.monotonic() + 200
    while time.monotonic() < until and len(list(rows.glob("??/*.json"))) < 2:
        time.sleep(0.05)
    assert run.poll() is None
    os.kill(dask_workers(run.pid)[0], signal.SIGKILL)
    said, complained = run.communicate(timeout=120)
    assert run.returncode == 1, complained
    assert "5 of 6 cases done, 1 failed" in said
    table = table_of(tmp_path / "out")
    assert {case: row["status"] for case, row in table.items() if row["status"] != "done"} == {"x-crash": "failed"}
    assert table["x-crash"]["reason"] == "crash"
    assert results_of(tmp_path / "out") == results_of(tmp_path / "serial")


def test_a_cluster_with_an_address_does_a_cohort_keeps_what_is_done_and_is_left_as_it_was(tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(supervisor, "WORKER", HERE)
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1)
    cases = write_cases(tmp_path / "in", "a", "b", "c-hang")
    place = CohortPlace(tmp_path / "out")
    # Workers are threads of this process, so that theirs is the network made by hand; the way to them is a socket.
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None, silence_logs=50
    ) as cluster:
        assert cluster.scheduler_address.startswith("tcp://")
        runner = DaskRunner(cluster.scheduler_address)
        cohort = begin(cases, place, ASKED)
        with pytest.raises(UsageError, match="has no worker"):
            run_cohort(cohort, runner)
        cluster.scale(1)
        monkeypatch.setattr(dask, "CONNECT_SECONDS", 30)
        for kept in (False, True):
            results = runner.run(place, cohort.settings.asked, cohort.entries)
            assert {result.row.case: result.kept for result in islice(results, 2)} == {"a": kept, "b": kept}
            # The case at work is ended with the run, and waits again; no process of it is left.
            results.close()
            assert dask._warm == {}
            assert RowStore(place.rows).read("c-hang") is None
    assert {case: row.status for case, row in open_table(cohort).rows.items()} == {
        "a": "done",
        "b": "done",
        "c-hang": "waiting",
    }


def test_a_case_that_dask_begins_after_the_end_of_its_run_starts_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "WORKER", HERE)
    (tmp_path / "out").mkdir()
    settings = {
        "folder": str(tmp_path / "out"),
        "asked": dict(ASKED),
        "limits": asdict(CaseLimits()),
        "threads": 1,
        "command": None,
        "run": "a",
    }
    (entry,) = begin(write_cases(tmp_path / "in", "a"), CohortPlace(tmp_path / "out"), ASKED).entries
    dask.release(dask._key(settings))
    with pytest.raises(StoppedError):
        dask.do_one(entry.cells(), settings)
    assert dask._warm == {}


def test_a_case_at_work_ends_its_process_also_where_it_was_just_being_started(tmp_path, monkeypatch):
    started, ended = threading.Event(), []

    class Slow:
        def __init__(self, *arguments, **options):
            self.stop = arguments[4]

        def do(self, entry):
            started.set()
            # A process is being started while the run ends.
            assert self.stop.wait(10)
            ended.append("do")
            raise StoppedError

        def close(self):
            ended.append("close")

    monkeypatch.setattr(dask, "Supervisor", Slow)
    monkeypatch.setattr(dask, "entry_of_cells", lambda cells: cells)
    settings = {"folder": str(tmp_path), "asked": {}, "limits": asdict(CaseLimits()), "threads": 1, "command": None}
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(dask.do_one, {}, settings)
        assert started.wait(10)
        dask.release(dask._key(settings))
        assert isinstance(working.exception(), StoppedError)
    assert ended == ["do", "close"]


def test_an_address_where_nobody_answers_is_said(tmp_path):
    cases = write_cases(tmp_path / "in", "a")
    command = [*HERE[:2], str(cases), "-o", str(tmp_path / "out"), "--dask", "tcp://127.0.0.1:9", *PLAIN]
    script = (
        "import gliomask.cohort.dask as d; d.CONNECT_SECONDS = 1; import sys, runpy; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [command[0], "-c", script, *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 2, done.stderr
    assert "no scheduler answers there" in done.stderr
