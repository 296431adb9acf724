"""`gliomask segment FOLDER`: a row for every case of a cohort, finished ones kept, and a table that several runs may
fill.
"""

from __future__ import annotations

import csv
import errno
import threading
from dataclasses import replace

import nibabel as nib
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case
from test_deliver import WRITING, names

from gliomask.cohort.here import FolderRun, segment_folder
from gliomask.cohort.rows import CohortRow
from gliomask.cohort.table import SharedTable
from gliomask.errors import CaseError, LimitError, UsageError
from gliomask.files.tables import read_table
from gliomask.io.brats import find_cases
from gliomask.labels import convention
from gliomask.results.row import KEPT
from gliomask.segmentation import Delivery, Segmenter
from gliomask.segmentation.source import FileSource

PLAIN = Delivery(preview=False)


def segment_all(segmenter, cases, output, delivery, **more):
    """The rows of cases, as they ended."""
    rows = []
    sources = dict(files if isinstance(files, tuple) else (files.case_id, FileSource(files)) for files in cases)
    segment_folder(
        FolderRun(segmenter, output, delivery, **more), sources, lambda result, state: rows.append(result.row)
    )
    return rows


def test_a_cohort_has_a_row_for_every_case_also_for_those_that_failed(segmenter, tiny_brats_folder, tmp_path):
    write_brats_case(tiny_brats_folder, make_tiny_case("second", seed=1), tiny_labels())
    broken = tiny_brats_folder / "second" / "second_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    cases = [*find_cases(tiny_brats_folder), ("third", CaseError("Case third: missing t2."))]
    seen = segment_all(segmenter, cases, tmp_path / "out", WRITING)
    rows = list(csv.DictReader((tmp_path / "out" / "cohort.tsv").read_text().splitlines(), delimiter="\t"))
    assert [(row["case"], row["status"]) for row in rows] == [
        ("second", "failed"),
        ("tiny", "done"),
        ("third", "failed"),
    ]
    assert "second_t2.nii.gz" in rows[0]["message"]
    assert float(rows[1]["wt_ml"]) > 0
    assert [(row["reason"], row["exit_code"]) for row in rows] == [
        ("FileFormatError", "3"),
        ("", "0"),
        ("CaseError", "3"),
    ]
    assert (rows[1]["label_map"], len(rows[1]["label_map_sha256"])) == ("tiny_seg.nii.gz", 64)
    assert [row.case for row in seen] == [row["case"] for row in rows]
    assert not any(name.startswith("second") for name in names(tmp_path / "out"))


# Going on after a kill.


@pytest.fixture
def two_cases(tiny_brats_folder):
    write_brats_case(tiny_brats_folder, make_tiny_case("second", seed=1), tiny_labels())
    return find_cases(tiny_brats_folder)


def test_finished_cases_are_kept_and_the_others_done(segmenter, two_cases, tmp_path, monkeypatch):
    out, plain = tmp_path / "out", Delivery()
    first = segment_all(segmenter, two_cases, out, plain)
    for path in out.glob("tiny_*"):
        path.unlink()
    kept = (out / "second_seg.nii.gz").stat().st_mtime_ns
    found = segment_all(segmenter, two_cases, out, plain, resume=True)
    assert [(row.case, row.status, row.message) for row in found] == [("second", "done", KEPT), ("tiny", "done", "")]
    assert [(row.wt_ml, row.tc_ml, row.et_ml, row.flags) for row in found] == [
        (row.wt_ml, row.tc_ml, row.et_ml, row.flags) for row in first
    ]
    assert (out / "second_seg.nii.gz").stat().st_mtime_ns == kept
    assert (out / "tiny_seg.nii.gz").is_file()
    monkeypatch.setattr(segmenter, "run", lambda *arguments: pytest.fail("nothing is left to do"))
    assert [row.message for row in segment_all(segmenter, two_cases, out, plain, resume=True)] == [KEPT] * 2
    assert (out / "cohort.tsv").read_text().count(KEPT) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, o: replace(s, labels=convention("brats2023")), "other --labels"),
        (lambda s, o: replace(s, probabilities=True), "other --probabilities"),
        (lambda s, o: replace(s, keep_images=True), "other --keep-images"),
        (lambda s, o: ((o / "tiny_run.json").write_text("{}"), s)[1], "is no run record"),
        (lambda s, o: ((o / "tiny_run.json").write_text("[1]"), s)[1], "is no run record: it holds no fields"),
    ],
)
def test_what_was_finished_otherwise_is_refused_before_any_work_and_stays(
    segmenter, case_files, tmp_path, change, message
):
    plain = Delivery()
    segment_all(segmenter, [case_files], tmp_path / "out", plain)
    writing = change(plain, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError, match=message):
        segment_all(segmenter, [case_files], tmp_path / "out", writing, resume=True)
    assert contents(tmp_path / "out") == before


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_scans_are_a_failed_row_and_the_results_stay(segmenter, case_files, tmp_path):
    plain = Delivery()
    segment_all(segmenter, [case_files], tmp_path / "out", plain)
    before = contents(tmp_path / "out")
    nib.save(nib.load(case_files.paths()[0]).slicer[:, :, ::-1], case_files.paths()[0])
    row = segment_all(segmenter, [case_files], tmp_path / "out", plain, resume=True)[0]
    assert (row.status, "other scans" in row.message) == ("failed", True)
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in before if name != "cohort.tsv"} == {
        name: before[name] for name in before if name != "cohort.tsv"
    }


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:100]), lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["tiny_seg.nii.gz", "tiny_preview.png", "tiny_volumes.json"])
def test_what_is_not_whole_any_more_is_done_again(segmenter, case_files, tmp_path, spoil, name):
    plain = Delivery()
    segment_all(segmenter, [case_files], tmp_path / "out", plain)
    label_map = (tmp_path / "out" / "tiny_seg.nii.gz").read_bytes()
    spoil(tmp_path / "out" / name)
    assert segment_all(segmenter, [case_files], tmp_path / "out", plain, resume=True)[0].message == ""
    assert (tmp_path / "out" / "tiny_seg.nii.gz").read_bytes() == label_map


def test_rows_of_other_cases_stay_in_the_table(segmenter, two_cases, tmp_path):
    plain, out = Delivery(preview=False), tmp_path / "out"
    for case in two_cases:
        segment_all(segmenter, [case], out, plain)
    segment_all(segmenter, two_cases[:1], out, replace(plain, overwrite=True))
    rows = list(csv.DictReader((out / "cohort.tsv").read_text().splitlines(), delimiter="\t"))
    assert [(row["case"], row["status"]) for row in rows] == [("second", "done"), ("tiny", "done")]


def test_a_table_of_someone_else_is_not_touched(segmenter, case_files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cohort.tsv").write_text("name\tage\na\t3\n")
    with pytest.raises(UsageError, match="is no table of gliomask"):
        segment_all(segmenter, [case_files], tmp_path / "out", WRITING)
    assert (tmp_path / "out" / "cohort.tsv").read_text() == "name\tage\na\t3\n"


def test_another_model_or_option_is_not_taken_for_the_same(segmenter, case_files, tmp_path, fake_model):
    plain = Delivery()
    segment_all(segmenter, [case_files], tmp_path / "out", plain)
    with (
        Segmenter(replace(segmenter.options, patches="adjacent", threads=1)) as other,
        pytest.raises(UsageError, match="other --patches,"),
    ):
        segment_all(other, [case_files], tmp_path / "out", plain, resume=True)
    fake_model.sha256 = "1" * 64
    with pytest.raises(UsageError, match="other model,"):
        segment_all(segmenter, [case_files], tmp_path / "out", plain, resume=True)


def written(table, *rows):
    """Writes rows as a run does whose cases they are."""
    shared = SharedTable(table, [row.case for row in rows])
    for row in rows:
        shared.put(row)
    shared.write()


def test_names_that_a_spreadsheet_would_calculate_are_text_and_stay_the_same_case(tmp_path):
    table = tmp_path / "cohort.tsv"
    for seconds in (1.0, 2.0):
        written(table, CohortRow("=1+1", "failed", seconds, message='@SUM(A1)\t"quoted"'))
    written(table, CohortRow("other", "done", 1.0, "not_1mm", wt_ml=-0.5))
    header, first, second = table.read_text().splitlines()
    assert first.split("\t")[:3] == ["'=1+1", "failed", "2"]
    assert "'@SUM(A1)" in first
    assert second.split("\t")[5] == "-0.5"
    assert [row["case"] for row in read_table(table)] == ["=1+1", "other"]
    assert header.startswith("case\tstatus")


def test_what_has_not_ended_waits_in_the_table_and_takes_no_earlier_row_away(tmp_path):
    table = tmp_path / "cohort.tsv"
    written(table, CohortRow("a", "done", 5.0))
    SharedTable(table, ["a", "b"]).write()
    assert [(row["case"], row["status"], row["seconds"]) for row in read_table(table)] == [
        ("a", "done", "5"),
        ("b", "waiting", "0"),
    ]


def test_a_table_of_an_earlier_version_is_filled_up(tmp_path):
    (tmp_path / "cohort.tsv").write_text("case\tstatus\tseconds\tflags\tmessage\nold\tdone\t3\t\t\n")
    written(tmp_path / "cohort.tsv", CohortRow("new", "done", 1.0, label_map="new_seg.nii.gz"))
    assert [(row["case"], row["seconds"], row["label_map"]) for row in read_table(tmp_path / "cohort.tsv")] == [
        ("old", "3", ""),
        ("new", "1", "new_seg.nii.gz"),
    ]


def test_runs_that_fill_one_table_at_a_time_lose_no_row(tmp_path):
    runs = [
        threading.Thread(
            target=written, args=(tmp_path / "cohort.tsv", *(CohortRow(f"{run}-{n}", "done") for n in range(5)))
        )
        for run in range(4)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert {row["case"] for row in read_table(tmp_path / "cohort.tsv")} == {
        f"{run}-{n}" for run in range(4) for n in range(5)
    }


def test_a_table_is_not_written_anew_for_every_case_of_a_large_cohort(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("gliomask.cohort.table.time.monotonic", lambda: now[0])
    writes = []

    def write(self):
        writes.append(len(self.rows))
        now[0] += 1.0

    monkeypatch.setattr(SharedTable, "_write", write)
    table = SharedTable(tmp_path / "cohort.tsv", [str(n) for n in range(1000)])
    table.write()
    for n in range(1000):
        now[0] += 1.0
        table.put(CohortRow(str(n), "done"))
    table.write()
    assert len(writes) < 25


def test_a_disk_that_is_full_ends_the_run_and_blames_no_case(segmenter, two_cases, tmp_path, monkeypatch):
    def full(*arguments):
        raise LimitError("no room") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gliomask.segmentation.deliver._write_volumes", full)
    with pytest.raises(LimitError, match="no room"):
        segment_all(segmenter, two_cases, tmp_path / "out", PLAIN)
    assert [row["status"] for row in read_table(tmp_path / "out" / "cohort.tsv")] == ["waiting", "waiting"]


# Two cases at once: read and write while the networks are busy.


def test_the_next_case_is_read_while_one_is_in_the_networks_and_rows_keep_their_order(
    segmenter, two_cases, tmp_path, monkeypatch
):
    both, real, reported = threading.Barrier(2, timeout=20), segmenter.run, []

    def run(case, progress):
        # Passed only where the other case has come as far meanwhile.
        both.wait()
        return real(case, progress)

    monkeypatch.setattr(segmenter, "run", run)
    together = segment_all(segmenter, two_cases, tmp_path / "two", PLAIN, progress=lambda *done: reported.append(done))
    assert [row.case for row in together] == ["second", "tiny"]
    assert reported
    monkeypatch.setattr(segmenter, "run", real)
    for case in two_cases:
        segment_all(segmenter, [case], tmp_path / "one", PLAIN)
    for name in ("second_seg.nii.gz", "tiny_seg.nii.gz"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("limits", [{"threads": 1}, {"max_memory_mb": 100_000}])
def test_one_case_at_a_time_where_threads_or_memory_are_limited(segmenter, two_cases, tmp_path, monkeypatch, limits):
    at_work, most, real = [], [], segmenter.run

    def run(case, progress):
        at_work.append(case)
        most.append(len(at_work))
        found = real(case, progress)
        at_work.remove(case)
        return found

    segmenter.options = replace(segmenter.options, **limits)
    monkeypatch.setattr(segmenter, "run", run)
    monkeypatch.setattr(segmenter, "_within_memory", lambda member, prepared: member.plan)
    segment_all(segmenter, two_cases, tmp_path / "out", PLAIN)
    assert most == [1, 1]


def test_an_interruption_does_not_wait_for_the_other_case(segmenter, two_cases, tmp_path, monkeypatch):
    closed = threading.Event()
    monkeypatch.setattr(segmenter, "close", closed.set)

    def run(case, progress):
        if case.case_id == "second":
            raise KeyboardInterrupt
        assert closed.wait(20), "the networks go on"
        raise UsageError("closed")

    monkeypatch.setattr(segmenter, "run", run)
    with pytest.raises(KeyboardInterrupt):
        segment_all(segmenter, two_cases, tmp_path / "out", PLAIN)
    assert closed.is_set()
