"""The runner of a SLURM cluster: plans and scripts as text, and a real SLURM on this machine where it is installed
(Debian: slurm-wlm, munge).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stub_cohort import HERE, PLAIN
from test_cohort import ASKED, results_of, table_of, write_cases

from gliomask.cli.cohort import pilot_of
from gliomask.cli.main import run
from gliomask.cohort import slurm, supervisor
from gliomask.cohort.index import Entry, read_index
from gliomask.cohort.local import LocalRunner
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import CohortRow
from gliomask.cohort.runner import begin, run_cohort
from gliomask.cohort.slurm import SlurmOptions, SlurmRunner, folders_of, make_plan, script, write_job
from gliomask.cohort.supervisor import CaseLimits
from gliomask.errors import EngineUnavailableError, GliomaskError, UsageError
from gliomask.sequences import Sequence

CASES = 40 if os.environ.get("GLIOMASK_LONG") else 20
"""Of the array whose tasks are killed: GLIOMASK_LONG takes a minute for it."""

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "slurm_here"


def entries(count: int) -> list[Entry]:
    return [Entry(f"c{number}", channels=Path(f"/data/c{number}.nii.gz")) for number in range(count)]


# Plans and scripts


def test_chunks_time_and_memory_come_from_the_pilot():
    pilot = [
        CohortRow("p", "done", 20.0, peak_memory_mb=2000.0),
        CohortRow("q", "done", 30.0, peak_memory_mb=1000.0),
        CohortRow("r", "failed", 900.0),
    ]
    plan = make_plan(entries(100), pilot, SlurmOptions(cpus=1))
    assert [len(chunk) for chunk in plan.chunks] == [90, 10]
    assert plan.minutes == 5 + 2 * 30 * 90 / 60
    assert plan.memory_mb == 1.3 * 2000 + 500
    # Two cases at a time on four processors.
    plan = make_plan(entries(200), pilot, SlurmOptions(cpus=4))
    assert ([len(chunk) for chunk in plan.chunks], plan.minutes) == ([180, 20], 5 + 2 * 30 * 90 / 60)
    assert plan.memory_mb == 1.3 * 2 * 2000 + 500
    given = make_plan(entries(100), pilot, SlurmOptions(chunk_size=25, minutes=7, memory_mb=8000))
    assert ([len(chunk) for chunk in given.chunks], given.minutes, given.memory_mb) == ([25] * 4, 7, 8000)
    assert make_plan(entries(3), [], SlurmOptions(chunk_size=3, cpus=1)).minutes == 5 + 12


def test_a_pilot_is_spread_over_the_cohort_and_not_done_twice():
    cases, rows = entries(9), [CohortRow("p", "done"), CohortRow("q", "failed")]
    assert [entry.case for entry in pilot_of(cases, [], 3)] == ["c0", "c3", "c6"]
    assert [entry.case for entry in pilot_of(cases, rows, 3)] == ["c0", "c4"]
    assert pilot_of(cases, rows, 1) == []
    assert pilot_of([], rows, 3) == []


def test_while_tasks_are_at_work_no_further_job_is_written_and_no_pilot_is_done(tmp_path, monkeypatch, capsys):
    cases = write_cases(tmp_path / "in", "a")
    command = ["cohort", str(cases), "-o", str(tmp_path / "out"), "--slurm", *PLAIN]
    assert run([*command, "--pilot", "0"]) == 0
    assert "Submit it with: sbatch" in capsys.readouterr().out
    monkeypatch.setattr(slurm, "tasks", lambda place: {"RUNNING": 2})
    assert run(command) == 2
    assert "2 SLURM tasks are at work" in capsys.readouterr().err
    assert [path.name for path in CohortPlace(tmp_path / "out").slurm.iterdir()] == ["1"]
    assert table_of(tmp_path / "out")["a"]["status"] == "waiting"


def test_where_nothing_is_left_the_exit_code_is_that_of_the_failures(tmp_path, capsys):
    (tmp_path / "table.tsv").write_text("case\tflair\na\tx.nii.gz\n")
    assert run(["cohort", str(tmp_path / "table.tsv"), "-o", str(tmp_path / "out"), "--slurm", *PLAIN]) == 3
    assert "0 of 1 cases done, 1 failed" in capsys.readouterr().out
    assert not CohortPlace(tmp_path / "out").slurm.exists()


def test_every_case_is_in_one_chunk_and_an_array_is_never_too_long():
    many = entries(25_000)
    begun = frozenset(entry.case for entry in many[:1500])
    for options, alone in ((SlurmOptions(chunk_size=1), frozenset()), (SlurmOptions(), begun)):
        plan = make_plan(many, [CohortRow("p", "done", 60.0)], options, alone)
        assert len(plan.chunks) <= slurm.MAX_TASKS
        assert sorted(entry.case for chunk in plan.chunks for entry in chunk) == sorted(entry.case for entry in many)


def test_a_case_at_which_a_task_ended_gets_a_task_of_its_own():
    plan = make_plan(entries(10), [], SlurmOptions(chunk_size=5), frozenset({"c3"}))
    assert [[entry.case for entry in chunk] for chunk in plan.chunks] == [
        ["c0", "c1", "c2", "c4", "c5"],
        ["c6", "c7", "c8", "c9"],
        ["c3"],
    ]


def test_the_script_quotes_paths_and_passes_options_through(tmp_path):
    place = CohortPlace(tmp_path / "my results; rm -rf 100%")
    options = SlurmOptions(limit=50, cpus=4, sbatch=("--account=neuro", "--qos=long"))
    path = write_job(place, make_plan(entries(3), [], options), options, CaseLimits(600, 5000))
    text = path.read_text()
    assert "#SBATCH --array=1-1%50\n" in text
    assert "#SBATCH --account=neuro\n#SBATCH --qos=long\n" in text
    assert "100%%" in text.partition("--output=")[2].partition("\n")[0]
    assert f"'{place.folder}' --workers 2 --threads 2 --case-minutes 10 --case-memory 5000" in text
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert [entry.case for entry in read_index(path.parent / "chunks" / "1.tsv")] == ["c0", "c1", "c2"]
    # The shell splits the command as it is meant, whatever the folder is called.
    printed = subprocess.run(
        ["bash", "-c", text.replace("exec ", "printf '%s\\n' ")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "1"},
    ).stdout.splitlines()
    assert printed[:6] == [sys.executable, "-P", "-m", "gliomask", "cohort", "work"]
    assert printed[-1] == str(path.parent / "chunks" / "1.tsv")
    assert Path(printed[-1]).is_file()


def test_a_line_break_in_an_option_is_refused(tmp_path):
    plan = make_plan(entries(1), [], SlurmOptions())
    with pytest.raises(UsageError, match="line break"):
        script(
            CohortPlace(tmp_path), tmp_path / "1", plan, SlurmOptions(sbatch=("--account=x\nrm -rf /",)), CaseLimits()
        )


def test_a_value_of_several_words_stays_one_value(tmp_path):
    given = ("--comment=it is mine", "--comment='it is mine'", "-p long", "--qos=long")
    text = script(
        CohortPlace(tmp_path),
        tmp_path / "1",
        make_plan(entries(1), [], SlurmOptions()),
        SlurmOptions(sbatch=given),
        CaseLimits(),
    )
    assert [line.removeprefix("#SBATCH ") for line in text.splitlines()[9:13]] == [
        "--comment='it is mine'",
        "--comment='it is mine'",
        "-p long",
        "--qos=long",
    ]


def test_a_container_sees_the_scans_and_the_results_alone(tmp_path):
    plan = make_plan(entries(1), [], SlurmOptions())
    text = script(
        CohortPlace(tmp_path / "out"),
        tmp_path / "1",
        plan,
        SlurmOptions(container=tmp_path / "g.sif"),
        CaseLimits(),
        [Path("/data")],
    )
    assert (
        f"apptainer exec --cleanenv --containall --bind /data:/data:ro --bind {tmp_path}/out:{tmp_path}/out "
        f"{tmp_path}/g.sif gliomask cohort work" in text
    )


def test_folders_of_scans_are_few():
    tree = [Entry(f"c{n}", {Sequence.T1: Path(f"/data/site/c{n}/t1.nii.gz")}) for n in range(50)]
    assert folders_of(tree) == [Path("/data/site")]
    assert folders_of([*tree, Entry("d", dicom=Path("/data/site/more/x"))]) == [Path("/data/site")]
    bids = [Entry(f"sub-{n}", {Sequence.T1: Path(f"/data/ds/sub-{n}/anat/t1.nii.gz")}) for n in range(5000)]
    assert folders_of(bids) == [Path("/data/ds")]
    assert folders_of([*tree, *bids[:3]]) == [
        Path("/data/ds/sub-0"),
        Path("/data/ds/sub-1"),
        Path("/data/ds/sub-2"),
        Path("/data/site"),
    ]


def test_what_scans_that_are_links_lead_to_is_seen_as_well(tmp_path):
    for folder in ("ds/sub-1/anat", "annex/objects/a"):
        (tmp_path / folder).mkdir(parents=True)
    link = tmp_path / "ds/sub-1/anat/t1.nii.gz"
    link.symlink_to(tmp_path / "annex/objects/a/t1.nii.gz")
    assert folders_of([Entry("a", {Sequence.T1: link})]) == [tmp_path / "annex/objects", tmp_path / "ds/sub-1"]


def test_without_slurm_it_is_said_where_to_go(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailableError, match="no squeue here"):
        slurm.tasks(CohortPlace(tmp_path))


def test_what_slurm_refuses_is_said(monkeypatch, tmp_path):
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: Invalid account' >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(GliomaskError, match="Invalid account"):
        slurm.submit(tmp_path / "job.sh")


# A real SLURM


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A controller and a node on the loopback address."""
    if shutil.which("slurmctld") is None or shutil.which("munged") is None:
        pytest.skip("needs Debian's slurm-wlm and munge")
    if os.geteuid() != 0:
        pytest.skip("starts daemons, as root")
    folder = tmp_path_factory.mktemp("slurm")
    monkeypatch.setenv("SLURM_HERE_PORT", str(random.SystemRandom().randrange(20_000, 30_000, 2)))
    subprocess.run([SCRIPT, "start", folder], check=True)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    yield folder
    subprocess.run(["scancel", "--full", "--state=RUNNING"], check=False)
    subprocess.run([SCRIPT, "stop", folder], check=True)


@pytest.mark.slurm
@pytest.mark.slow
def test_an_array_whose_tasks_are_killed_and_whose_node_is_drained_does_every_case_once(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "WORKER", HERE)
    names = [f"slow{number:02}" for number in range(CASES)]
    cases = write_cases(tmp_path / "in", *names)
    serial = CohortPlace(tmp_path / "serial")
    run_cohort(begin(cases, serial, ASKED), LocalRunner(2))
    cohort = begin(cases, CohortPlace(tmp_path / "out"), ASKED)
    options = SlurmOptions(chunk_size=CASES // 5, cpus=1, minutes=5, memory_mb=500, command=HERE[:2])
    said: list[str] = []
    runner = SlurmRunner(options, CaseLimits(), rounds=6, tell=said.append, poll_seconds=0.3)
    stop = threading.Event()
    killed: list[str] = []
    havoc = threading.Thread(target=_make_havoc, args=(cohort.place, stop, killed))
    havoc.start()
    given: list[str] = []
    try:
        summary = run_cohort(cohort, runner, lambda result, state: given.append(result.row.case))
    finally:
        stop.set()
        havoc.join()
    assert (summary.done, summary.failed, summary.waiting) == (CASES, 0, 0), said
    assert sorted(given) == names
    rows = table_of(tmp_path / "out")
    assert sorted(rows) == sorted(given)
    assert results_of(tmp_path / "out") == results_of(tmp_path / "serial")
    assert len(killed) == 3


def _make_havoc(place: CohortPlace, stop: threading.Event, killed: list[str]) -> None:
    """Kills three tasks at random moments of their work, and drains the node for a while."""
    name = slurm.job_name(place)
    while len(killed) < 3 and not stop.wait(0.2):
        running = _said("squeue", "--noheader", "--array", f"--name={name}", "--states=RUNNING", "--format=%i").split()
        if running and len(list(place.rows.glob("??/*.json"))) > CASES // 5 * len(killed):
            time.sleep(random.random())
            killed.append(random.choice(running))
            subprocess.run(["scancel", "--full", "--signal=KILL", killed[-1]], check=False)
            if len(killed) == 2:
                node = _said("sinfo", "--noheader", "--format=%N").strip()
                subprocess.run(["scontrol", "update", f"nodename={node}", "state=drain", "reason=test"], check=True)
                time.sleep(2)
                subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=True)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
