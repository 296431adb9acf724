"""A cohort: its index, its rows and table, and the runner of one machine with real worker processes."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case
from stub_cohort import HERE, PLAIN

from gliomask.cli.main import run
from gliomask.cohort import supervisor
from gliomask.cohort.allowance import default_workers, memory_mb
from gliomask.cohort.index import Entry, find_entries, read_index, write_index
from gliomask.cohort.job import complete, settled
from gliomask.cohort.local import LocalRunner
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.progress import Rate
from gliomask.cohort.rows import COLUMNS, CohortRow, RowStore, failed, row_of_failure
from gliomask.cohort.runner import begin, open_table, run_cohort
from gliomask.cohort.supervisor import CaseLimits
from gliomask.cohort.table import CohortSummary, CohortTable
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.files.lock import locked
from gliomask.files.tables import read_table
from gliomask.processors import usable_processors as processors
from gliomask.sequences import Sequence

ASKED = {"preview": False, "raw": "never", "precision": "fp32"}


def write_cases(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_brats_case(folder, make_tiny_case(name, seed=number), tiny_labels())
    return folder


@pytest.fixture
def stub(monkeypatch):
    """Workers are processes with the network made by hand."""
    monkeypatch.setattr(supervisor, "WORKER", HERE)


def table_of(out: Path) -> dict[str, dict[str, str]]:
    return {row["case"]: row for row in read_table(out / "cohort.tsv", ("case", "status"))}


def results_of(out: Path) -> dict[str, bytes]:
    """Every result but the run records, which hold times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.glob("*/*"))
        if path.is_file() and not path.name.endswith("_run.json") and ".cohort" not in path.parts
    }


# The index


def test_a_tree_of_cases_is_found_once_and_read_back_as_it_was(tmp_path):
    cases = write_cases(tmp_path / "in", "a", "=b")
    (cases / "broken").mkdir()
    shutil.copy(cases / "a" / "a_t1.nii.gz", cases / "broken" / "x_t1.nii.gz")
    entries, _ = find_entries(cases)
    assert [entry.case for entry in entries] == ["=b", "a", "broken"]
    assert "missing flair, t1ce, t2" in entries[2].error
    assert entries[1].files[Sequence.FLAIR] == cases / "a" / "a_flair.nii.gz"
    assert entries[1].reference == cases / "a" / "a_seg.nii.gz"
    write_index(tmp_path / "index.tsv", entries)
    assert read_index(tmp_path / "index.tsv") == entries
    assert b"\n'=b\t" in (tmp_path / "index.tsv").read_bytes()


def test_a_table_of_paths_is_a_cohort(tmp_path):
    cases = write_cases(tmp_path / "in", "a")
    names = ["flair", "t1", "t1ce", "t2"]
    lines = [
        "case\t" + "\t".join(names),
        "x\t" + "\t".join(f"in/a/a_{name}.nii.gz" for name in names),
        "y\tin/a/a_flair.nii.gz\t\t\t",
    ]
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n")
    entries, _ = find_entries(tmp_path / "table.tsv")
    assert entries[0].files[Sequence.T1CE] == cases / "a" / "a_t1ce.nii.gz"
    assert "missing t1, t1ce, t2" in entries[1].error
    with_less, _ = find_entries(tmp_path / "table.tsv", [Sequence.T1])
    assert "missing t1ce, t2." in with_less[1].error
    assert with_less[0].case_files().used() == (Sequence.FLAIR, Sequence.T1CE, Sequence.T2)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "cohort.tsv", "a\\b", "x" * 300])
def test_a_name_that_is_no_folder_of_results_is_refused_and_the_others_go_on(tmp_path, name):
    (tmp_path / "table.tsv").write_text(f"case\tchannels\n{name}\t/x.nii.gz\nfine\t/y.nii.gz\n")
    entries = read_index(tmp_path / "table.tsv")
    assert "cannot be named" in entries[0].error
    assert entries[1].error == ""


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("case\tflair\na\t1\na\t2\n", CaseError, "two cases are named a"),
        ("case\tage\na\t1\n", FileFormatError, "columns of files"),
        ("name\tflair\na\t1\n", FileFormatError, "case"),
        ("case\tflair\twithout\na\t1\tt9\n", FileFormatError, "line 2: 't9'"),
        ("case\tchannels\tlabels\na\t1\tmine\n", FileFormatError, "line 2: There is no label convention"),
    ],
)
def test_a_table_that_is_no_index_is_refused(tmp_path, text, error, words):
    (tmp_path / "table.tsv").write_text(text)
    with pytest.raises(error, match=words):
        read_index(tmp_path / "table.tsv")


def test_an_entry_with_two_kinds_of_files_or_none_says_so(tmp_path):
    (tmp_path / "table.tsv").write_text("case\tchannels\tdicom\na\tx.nii.gz\ty\nb\t\t\n")
    assert all("no two of these" in entry.error for entry in read_index(tmp_path / "table.tsv"))


def test_a_path_that_no_table_can_hold_is_an_error_of_its_case(tmp_path):
    cases = write_cases(tmp_path / "in", "a")
    (cases / "a" / "a_flair.nii.gz").rename(cases / "a" / "a\tb_flair.nii.gz")
    entries, _ = find_entries(cases)
    assert "no table can" in entries[0].error


def test_a_bids_dataset_is_a_cohort(tmp_path):
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    for name in ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR"):
        (anat / f"sub-01_{name}.nii.gz").write_bytes(b"")
    (tmp_path / "sub-02" / "anat").mkdir(parents=True)
    (tmp_path / "sub-02" / "anat" / "sub-02_T1w.nii.gz").write_bytes(b"")
    entries, _ = find_entries(tmp_path)
    assert [entry.case for entry in entries] == ["sub-01", "sub-02"]
    assert entries[0].files[Sequence.T1CE] == anat / "sub-01_ce-gadolinium_T1w.nii.gz"
    assert "missing flair" in entries[1].error


# Rows and the table


def test_a_row_is_read_back_and_a_damaged_one_is_none(tmp_path):
    store = RowStore(tmp_path)
    row = CohortRow("a", "done", 1.5, wt_ml=3.25, label_map="a/a_seg.nii.gz")
    store.write(row)
    assert store.read("a") == row
    assert list(store) == [row]
    store.path("a").write_bytes(store.path("a").read_bytes()[:20])
    assert store.read("a") is None
    assert list(store) == []
    store.path("a").write_text('{"case": "a", "status": "splendid"}')
    assert store.read("a") is None


def test_a_row_of_another_case_under_a_file_is_not_believed(tmp_path):
    store = RowStore(tmp_path)
    store.write(CohortRow("a", "done"))
    store.path("b").parent.mkdir(exist_ok=True)
    store.path("a").rename(store.path("b"))
    assert store.read("b") is None


def test_the_table_has_a_row_for_every_case_and_no_formulas(tmp_path):
    table = CohortTable(tmp_path / "cohort.tsv", ["=x", "b"], [CohortRow("gone", "done")])
    table.put(failed("=x", "CaseError", "=1+1", 3))
    table.write()
    lines = list(csv.reader((tmp_path / "cohort.tsv").read_text().splitlines(), delimiter="\t"))
    assert tuple(lines[0]) == COLUMNS
    assert [line[:2] for line in lines[1:]] == [["'=x", "failed"], ["b", "waiting"]]
    assert "'=1+1" in lines[1]


def test_columns_begin_with_those_of_segment():
    from gliomask.results.row import CaseRow as Older

    assert COLUMNS[: len(Older.__dataclass_fields__)] == tuple(Older.__dataclass_fields__)


def test_a_summary_counts_by_reason_and_its_code_is_that_of_the_commonest():
    rows = [
        CohortRow("a", "done"),
        failed("b", "crash", "", 1),
        failed("c", "CaseError", "x", 3),
        failed("d", "CaseError", "y", 3),
        CohortRow("e", "waiting"),
    ]
    summary = CohortSummary.of(rows)
    assert (summary.done, summary.failed, summary.waiting, summary.exit_code) == (1, 3, 1, 3)
    assert [(item.reason, item.count, item.example.case) for item in summary.failures] == [
        ("CaseError", 2, "c"),
        ("crash", 1, "b"),
    ]
    assert CohortSummary.of(rows[:1]).exit_code == 0
    assert CohortSummary.of(rows[4:]).exit_code == 1


def test_a_row_says_what_ended_its_case():
    said = {
        "memory": row_of_failure("a", MemoryError()),
        "ours": row_of_failure("a", CaseError("Case a: no t1.")),
        "unforeseen": row_of_failure("a", ValueError("x"), seconds=2.345),
    }
    assert {name: (row.reason, row.exit_code) for name, row in said.items()} == {
        "memory": ("memory limit", 5),
        "ours": ("CaseError", 3),
        "unforeseen": ("unexpected ValueError", 1),
    }
    assert said["memory"].message.startswith("Case a: Memory ran out.")
    assert (said["ours"].message, said["unforeseen"].message) == ("Case a: no t1.", "ValueError: x")
    assert said["unforeseen"].seconds == 2.35


def test_the_rate_counts_work_and_not_what_is_kept():
    now = [0.0]
    rate = Rate(10, 2, clock=lambda: now[0])
    assert rate.ended(failed=False, kept=True).left_s is None
    now[0] = 10.0
    state = rate.ended(failed=True, kept=False)
    assert (state.done, state.failed, state.per_hour, state.left_s) == (4, 1, 360.0, 60.0)


# What may be used


def test_processors_follow_control_groups_and_slurm(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    (tmp_path / "sys/fs/cgroup/job/step").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/job/cpu.max").write_text("150000 100000\n")
    (tmp_path / "sys/fs/cgroup/job/step/cpu.max").write_text("max 100000\n")
    (tmp_path / "sys/fs/cgroup/job/memory.max").write_text("2000000000\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 8000000 kB\n")
    assert processors({}, tmp_path) == 1
    assert memory_mb({}, tmp_path) == 2000
    assert memory_mb({"SLURM_MEM_PER_NODE": "1000"}, tmp_path) == pytest.approx(1048.576)
    assert processors({"SLURM_CPUS_PER_TASK": "1"}, tmp_path / "none") == 1
    assert default_workers(16, 7000.0) == 2
    assert [default_workers(count, None) for count in (1, 2, 3, 4, 9)] == [1, 2, 2, 2, 4]
    assert default_workers(2, 4000.0) == 1


# Running


def test_a_cohort_is_done_in_isolation_and_every_case_accounted_for(stub, tmp_path):
    cases = write_cases(tmp_path / "in", "a", "b", "c-crash", "d-hang", "e-eat")
    (cases / "f").mkdir()
    shutil.copy(cases / "a" / "a_t1.nii.gz", cases / "f" / "f_t1.nii.gz")
    cohort = begin(cases, CohortPlace(tmp_path / "out"), ASKED)
    seen = []
    summary = run_cohort(
        cohort, LocalRunner(2, 1, CaseLimits(8.0, 600)), lambda result, state: seen.append((result.row.case, state))
    )
    assert summary.done == 2
    rows = table_of(tmp_path / "out")
    assert {case: row["reason"] for case, row in rows.items()} == {
        "a": "",
        "b": "",
        "c-crash": "crash",
        "d-hang": "time limit",
        "e-eat": "memory limit",
        "f": "CaseError",
    }
    assert rows["c-crash"]["attempts"] == "2"
    assert "SIGSEGV" in rows["c-crash"]["message"]
    assert sorted(case for case, _ in seen) == ["a", "b", "c-crash", "d-hang", "e-eat"]
    assert (seen[-1][1].done, seen[-1][1].total, seen[-1][1].failed) == (6, 6, 4)
    assert float(rows["a"]["peak_memory_mb"]) > 10
    assert nib.load(tmp_path / "out" / rows["a"]["label_map"]).shape == (24, 28, 20)
    assert len(rows["a"]["label_map_sha256"]) == 64
    assert not list((tmp_path / "out").rglob("*.part"))


def test_finished_cases_are_kept_changed_ones_redone_and_failed_ones_retried_on_request(stub, tmp_path):
    cases = write_cases(tmp_path / "in", "a", "b", "c")
    place = CohortPlace(tmp_path / "out")
    shutil.move(cases / "c" / "c_t2.nii.gz", tmp_path / "c_t2.nii.gz")
    (cases / "c" / "c_t2.nii.gz").write_bytes(b"no scan")

    def again(**how):
        got = {}
        asked = how.pop("asked", ASKED)
        run_cohort(
            begin(cases, place, asked),
            LocalRunner(),
            lambda result, state: got.update({result.row.case: result}),
            **how,
        )
        return got

    first = again()
    assert {case: result.row.status for case, result in first.items()} == {"a": "done", "b": "done", "c": "failed"}
    assert first["c"].row.reason == "FileFormatError"
    before = results_of(tmp_path / "out")
    kept = again()
    assert {case: result.kept for case, result in kept.items()} == {"a": True, "b": True}
    assert results_of(tmp_path / "out") == before
    # A result is changed, a scan is changed, and the failed one can be read now.
    (tmp_path / "out" / "a" / "a_seg.nii.gz").write_bytes(b"cut")
    write_brats_case(cases, make_tiny_case("b", seed=77), tiny_labels())
    shutil.move(tmp_path / "c_t2.nii.gz", cases / "c" / "c_t2.nii.gz")
    mended = again(retry_failed=True)
    assert {case: result.row.message for case, result in mended.items()} == {
        "a": "done again: a result was gone or changed",
        "b": "done again: its scans have changed",
        "c": "",
    }
    assert mended["c"].row.attempts == 2
    assert results_of(tmp_path / "out")["a/a_seg.nii.gz"] == before["a/a_seg.nii.gz"]
    other = again(asked={**ASKED, "labels": "brats2023"})
    assert all(result.row.message == "done again: earlier with other --labels" for result in other.values())
    # A label map that somebody corrected stays, whatever else has changed.
    label_map = tmp_path / "out" / "a" / "a_seg.nii.gz"
    label_map.write_bytes((tmp_path / "out" / "b" / "b_seg.nii.gz").read_bytes())
    mine = results_of(tmp_path / "out")
    refused = again(asked={**ASKED, "postprocess": "none"})
    assert (refused["a"].row.status, refused["a"].row.reason) == ("failed", "UsageError")
    assert "a_seg.nii.gz: was changed after gliomask wrote it" in refused["a"].row.message
    assert {name: content for name, content in results_of(tmp_path / "out").items() if name.startswith("a/")} == {
        name: content for name, content in mine.items() if name.startswith("a/")
    }


def test_a_cohort_of_another_source_or_a_changed_index_is_refused(tmp_path):
    cases = write_cases(tmp_path / "in", "a")
    place = CohortPlace(tmp_path / "out")
    begin(cases, place, ASKED)
    with pytest.raises(UsageError, match="was begun with"):
        begin(tmp_path, place, ASKED)
    write_cases(cases, "b")
    assert len(begin(cases, place, ASKED).entries) == 1
    assert len(begin(None, place, ASKED, refresh=True).entries) == 2
    place.index.write_bytes(place.index.read_bytes().replace(b"a_flair", b"b_flair"))
    with pytest.raises(FileFormatError, match="was changed"):
        begin(cases, place, ASKED)


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        CohortPlace(tmp_path / "out").begin()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_unknown_options_are_refused_before_any_work():
    with pytest.raises(UsageError, match="Unknown options: nonsense"):
        complete({"nonsense": 1})
    with pytest.raises(UsageError, match="no label convention"):
        complete({"labels": "mine"})


def test_the_precision_is_settled_once_for_all_nodes(monkeypatch):
    from types import SimpleNamespace

    from gliomask.cohort import job

    monkeypatch.setattr(job, "load_model", lambda name: SimpleNamespace(int8=object()))
    monkeypatch.setattr(job, "pays", lambda engine: True)
    monkeypatch.setattr("gliomask.engines.precision.pays", lambda engine: True)
    first = settled(complete({}))
    assert first["precision"] == "int8"
    # Another node, whose processor would gain nothing, goes on as it was settled.
    monkeypatch.setattr(job, "pays", lambda engine: False)
    assert settled(complete({}))["precision"] == "fp32"
    assert settled(complete({}), first)["precision"] == "int8"
    assert settled(complete({"precision": "fp32"}), first)["precision"] == "fp32"
    assert settled(complete({"model": "dense"}), first)["precision"] == "fp32"


def test_a_model_that_cannot_be_used_ends_the_run_and_blames_no_case(tmp_path):
    cases = write_cases(tmp_path / "in", "a")
    cohort = begin(cases, CohortPlace(tmp_path / "out"), {**ASKED, "model": str(tmp_path / "nowhere")})
    with pytest.raises(Exception, match="nowhere"):
        run_cohort(cohort, LocalRunner())
    assert table_of(tmp_path / "out")["a"]["status"] == "waiting"


def test_a_case_that_the_index_refused_waits_again_once_a_new_index_takes_it(tmp_path):
    place = CohortPlace(tmp_path / "out")
    cases = write_cases(tmp_path / "in", "a", "b")
    shutil.move(cases / "b" / "b_t2.nii.gz", tmp_path / "t2.nii.gz")
    assert open_table(begin(cases, place, ASKED)).rows["b"].status == "failed"
    shutil.move(tmp_path / "t2.nii.gz", cases / "b" / "b_t2.nii.gz")
    assert open_table(begin(cases, place, ASKED, refresh=True)).rows["b"].status == "waiting"


# The command


def test_the_command_shows_progress_as_json_and_its_status_and_refuses_a_second_run(stub, tmp_path, capsys):

    cases = write_cases(tmp_path / "in", "a", "b")
    out = tmp_path / "out"
    plain = [*PLAIN, "--workers", "1"]
    assert run(["cohort", str(cases), "-o", str(out), *plain, "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["begin", "case", "case", "end"]
    assert lines[2]["done"] == lines[2]["total"] == 2
    assert lines[2]["per_hour"] > 0
    assert run(["cohort", "status", str(out)]) == 0
    assert "2 of 2 cases done, 0 failed" in capsys.readouterr().out
    with locked(out / ".cohort", "gliomask cohort"):
        assert run(["cohort", str(cases), "-o", str(out), *plain]) == 2
        assert "another gliomask cohort runs" in capsys.readouterr().err
        assert run(["cohort", "status", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["done"] == 2
    assert run(["cohort", "-o", str(out), *plain]) == 0
    assert "kept" in capsys.readouterr().out
    assert run(["cohort", "status", str(tmp_path)]) == 2


def test_every_option_of_a_job_can_be_given_on_the_command_line_with_the_same_default():
    from gliomask.cli.cohort import asked_of, run_command
    from gliomask.cohort.job import DEFAULTS

    context = run_command.make_context("run", ["in", "-o", "out"])
    assert set(DEFAULTS) <= set(context.params)
    asked = asked_of({name: value for name, value in context.params.items() if name in DEFAULTS})
    assert complete(asked) == dict(DEFAULTS)


def test_an_entry_is_the_same_after_its_way_to_a_worker(tmp_path):
    from gliomask.cohort.index import entry_of_cells

    entry = Entry(
        "a",
        {Sequence.FLAIR: Path("/x/f.nii.gz"), Sequence.T1CE: Path("/x/c.nii.gz")},
        without=(Sequence.T1, Sequence.T2),
    )
    assert entry_of_cells(entry.cells()) == entry
    assert entry_of_cells(replace(entry, files={}, dicom=Path("/d")).cells()).dicom == Path("/d")


# DICOM


def test_a_folder_of_dicom_examinations_is_a_cohort(fake_model, tmp_path):
    import numpy as np
    from dicom_series import write_series

    from gliomask.cohort.job import CohortJob

    case = make_tiny_case("x")
    for name in ("P1", "P2"):
        for number, sequence in enumerate(Sequence if name == "P1" else [Sequence.FLAIR], 1):
            write_series(
                tmp_path / "in" / name / sequence.value,
                np.rint(case.volumes[sequence]),
                case.geometry,
                sequence.value,
                number,
            )
    entries, _ = find_entries(tmp_path / "in")
    assert [(entry.case, entry.dicom) for entry in entries] == [
        ("P1", tmp_path / "in" / "P1"),
        ("P2", tmp_path / "in" / "P2"),
    ]
    archive = Path(shutil.make_archive(str(tmp_path / "P3"), "zip", tmp_path / "in" / "P1"))
    assert [(entry.case, entry.dicom) for entry in find_entries(archive)[0]] == [("P3", archive)]
    with CohortJob(ASKED, tmp_path / "out") as job:
        ended = job.do(entries[0])
        assert (ended.kept, ended.row.status, ended.row.label_map) == (False, "done", "P1/P1_seg.nii.gz")
        assert ended.row.wt_ml > 0
        again = job.do(entries[0])
        assert again.kept
        with pytest.raises(CaseError, match="t1"):
            job.do(entries[1])
    assert not (tmp_path / "out" / "P2" / "P2_run.json").exists()


@pytest.mark.parametrize("source", ["none", "empty", "note.txt"])
def test_a_refused_cohort_leaves_no_folder_behind(tmp_path, source):
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("no scan")
    before = sorted(tmp_path.rglob("*"))
    assert run(["cohort", str(tmp_path / source), "-o", str(tmp_path / "out")]) in (2, 3)
    assert run(["cohort", str(tmp_path / "empty"), "-o", str(tmp_path / "empty")]) == 3
    assert sorted(tmp_path.rglob("*")) == before
