"""Results on disk: all of a case or none of it, and a row for every case of a cohort."""

from __future__ import annotations

import csv
import errno
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case

from gliomask import case_results
from gliomask.case_results import segment_cohort
from gliomask.errors import CaseError, QualityError, UsageError
from gliomask.files.tables import read_table
from gliomask.flag import Flag
from gliomask.io.brats import find_cases
from gliomask.labels import convention
from gliomask.results.layout import CaseLayout
from gliomask.results.row import CaseRow
from gliomask.segmentation import Delivery, Segmenter, deliver
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.source import FileSource

WRITING = Delivery(probabilities=True)


@pytest.fixture
def segmenter(fake_model):
    with Segmenter() as opened:
        yield opened


@pytest.fixture
def case_files(tiny_brats_folder):
    return find_cases(tiny_brats_folder)[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_every_result_is_written_beside_the_label_map(segmenter, case_files, tmp_path):
    results = CaseLayout.of(tmp_path / "out", case_files.case_id)
    segment_to_files(segmenter, FileSource(case_files), results, WRITING)
    expected = ["preview.png", "probabilities.nii.gz", "run.json", "seg.nii.gz", "volumes.json", "volumes.tsv"]
    assert names(tmp_path / "out") == [f"tiny_{name}" for name in expected]
    label_map = nib.load(results.label_map)
    scan = nib.load(case_files.paths()[0])
    assert label_map.get_data_dtype() == np.uint8
    assert set(np.unique(label_map.dataobj)) == {0, 1, 2, 4}
    np.testing.assert_array_equal(label_map.affine, scan.affine)
    assert nib.load(results.probabilities).shape == (*scan.shape, 4)


def test_a_file_name_as_output_names_all_results(segmenter, case_files, tmp_path):
    results = CaseLayout.of(tmp_path / "tumour.nii.gz", case_files.case_id)
    segment_to_files(segmenter, FileSource(case_files), results, Delivery("brats2023", preview=False))
    assert names(tmp_path) == ["cases", "tumour.nii.gz", "tumour_run.json", "tumour_volumes.json", "tumour_volumes.tsv"]
    assert set(np.unique(nib.load(tmp_path / "tumour.nii.gz").dataobj)) == {0, 1, 2, 3}


def test_the_run_record_says_what_was_done_with_what(segmenter, case_files, tmp_path):
    results = CaseLayout.of(tmp_path / "out", case_files.case_id)
    segment_to_files(segmenter, FileSource(case_files), results, WRITING)
    record = json.loads(results.record.read_text())
    assert record["model"] == {"name": "by-hand", "sha256": "0" * 64}
    assert set(record["inputs"]) == {str(path) for path in case_files.paths()}
    assert all(len(digest) == 64 for digest in record["inputs"].values())
    assert record["options"]["postprocess"] == "none"
    assert record["options"]["labels"] == "brats2021"
    assert list(record["seconds"]) == ["read", "check", "normalise", "network", "postprocess", "quality", "to input grid", "write", "total"]
    assert record["environment"]["gliomask"]
    assert record["peak_memory_mb"] > 0
    assert "not a medical device" in record["notice"]


def test_results_that_exist_are_kept_unless_overwriting_was_asked_for(segmenter, case_files, tmp_path):
    results = CaseLayout.of(tmp_path / "out", case_files.case_id)
    results.label_map.parent.mkdir()
    results.volumes_tsv.write_text("mine")
    with pytest.raises(UsageError, match=r"tiny_volumes.tsv exists. Give --overwrite"):
        segment_to_files(segmenter, FileSource(case_files), results, WRITING)
    assert results.volumes_tsv.read_text() == "mine"
    assert names(tmp_path / "out") == ["tiny_volumes.tsv"]
    segment_to_files(segmenter, FileSource(case_files), results, Delivery(overwrite=True))
    assert results.volumes_tsv.read_text() != "mine"


def test_nothing_stays_when_the_disk_is_full_half_way(segmenter, case_files, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(deliver, "draw_preview", full)
    with pytest.raises(OSError, match="No space"):
        segment_to_files(segmenter, FileSource(case_files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING)
    assert names(tmp_path / "out") == []


def test_a_flag_is_an_error_when_strict(segmenter, case_files, tmp_path, monkeypatch):
    flag = Flag("skull_on", "The skull seems to be on. Strip it first.", 0.9, 0.5)
    monkeypatch.setattr("gliomask.segmentation.segmenter.check_case", lambda case: [flag])
    result = segment_to_files(segmenter, FileSource(case_files), CaseLayout.of(tmp_path / "warned", "tiny"), WRITING)
    assert result.flags[0] == flag
    # No Dice is promised where scans look wrong.
    assert [found.name for found in result.flags[1:]] == ["doubtful"]
    with pytest.raises(QualityError, match="The skull seems to be on"):
        segment_to_files(segmenter, FileSource(case_files), CaseLayout.of(tmp_path / "strict", "tiny"), Delivery(strict=True))
    assert names(tmp_path / "strict") == []


def test_a_cohort_has_a_row_for_every_case_also_for_those_that_failed(segmenter, tiny_brats_folder, tmp_path):
    write_brats_case(tiny_brats_folder, make_tiny_case("second", seed=1), tiny_labels())
    broken = tiny_brats_folder / "second" / "second_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    cases = [*find_cases(tiny_brats_folder), ("third", CaseError("Case third: missing t2."))]
    seen = []
    result = segment_cohort(segmenter, cases, tmp_path / "out", WRITING, seen.append)
    rows = list(csv.DictReader((tmp_path / "out" / "cohort.tsv").read_text().splitlines(), delimiter="\t"))
    assert [(row["case"], row["status"]) for row in rows] == [("second", "failed"), ("tiny", "done"), ("third", "failed")]
    assert "second_t2.nii.gz" in rows[0]["message"]
    assert float(rows[1]["wt_ml"]) > 0
    assert result.first_error is not None
    assert result.first_error.exit_code == 3
    assert [row.case for row in seen] == [row["case"] for row in rows]
    assert not any(name.startswith("second") for name in names(tmp_path / "out"))


# Going on after a kill.


@pytest.fixture
def two_cases(tiny_brats_folder):
    write_brats_case(tiny_brats_folder, make_tiny_case("second", seed=1), tiny_labels())
    return find_cases(tiny_brats_folder)


def test_finished_cases_are_kept_and_the_others_done(segmenter, two_cases, tmp_path, monkeypatch):
    out, plain = tmp_path / "out", Delivery()
    first = segment_cohort(segmenter, two_cases, out, plain)
    (out / "tiny_run.json").unlink()  # as a kill leaves it: the record is written last
    kept, redone = (out / "second_seg.nii.gz").stat().st_mtime_ns, (out / "tiny_seg.nii.gz").stat().st_mtime_ns
    found = segment_cohort(segmenter, two_cases, out, plain, resume=True)
    assert [(row.case, row.status, row.message) for row in found.rows] == [("second", "done", case_results.KEPT), ("tiny", "done", "")]
    assert [(row.wt_ml, row.tc_ml, row.et_ml, row.flags) for row in found.rows] == [(row.wt_ml, row.tc_ml, row.et_ml, row.flags) for row in first.rows]
    assert (out / "second_seg.nii.gz").stat().st_mtime_ns == kept
    assert (out / "tiny_seg.nii.gz").stat().st_mtime_ns > redone
    monkeypatch.setattr(segmenter, "run", lambda *arguments: pytest.fail("nothing is left to do"))
    assert [row.message for row in segment_cohort(segmenter, two_cases, out, plain, resume=True).rows] == [case_results.KEPT] * 2
    assert (out / "cohort.tsv").read_text().count(case_results.KEPT) == 2


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
def test_what_was_finished_otherwise_is_refused_before_any_work_and_stays(segmenter, case_files, tmp_path, change, message):
    plain = Delivery()
    segment_cohort(segmenter, [case_files], tmp_path / "out", plain)
    writing = change(plain, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError, match=message):
        segment_cohort(segmenter, [case_files], tmp_path / "out", writing, resume=True)
    assert contents(tmp_path / "out") == before


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_scans_are_a_failed_row_and_the_results_stay(segmenter, case_files, tmp_path):
    plain = Delivery()
    segment_cohort(segmenter, [case_files], tmp_path / "out", plain)
    before = contents(tmp_path / "out")
    nib.save(nib.load(case_files.paths()[0]).slicer[:, :, ::-1], case_files.paths()[0])
    row = segment_cohort(segmenter, [case_files], tmp_path / "out", plain, resume=True).rows[0]
    assert (row.status, "other scans" in row.message) == ("failed", True)
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in before if name != "cohort.tsv"} == {name: before[name] for name in before if name != "cohort.tsv"}


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:100]), lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["tiny_seg.nii.gz", "tiny_preview.png", "tiny_volumes.json"])
def test_what_is_not_whole_any_more_is_done_again(segmenter, case_files, tmp_path, spoil, name):
    plain = Delivery()
    segment_cohort(segmenter, [case_files], tmp_path / "out", plain)
    label_map = (tmp_path / "out" / "tiny_seg.nii.gz").read_bytes()
    spoil(tmp_path / "out" / name)
    assert segment_cohort(segmenter, [case_files], tmp_path / "out", plain, resume=True).rows[0].message == ""
    assert (tmp_path / "out" / "tiny_seg.nii.gz").read_bytes() == label_map


def test_rows_of_other_cases_stay_in_the_table(segmenter, two_cases, tmp_path):
    plain, out = Delivery(preview=False), tmp_path / "out"
    for case in two_cases:
        segment_cohort(segmenter, [case], out, plain)
    segment_cohort(segmenter, two_cases[:1], out, replace(plain, overwrite=True))
    rows = list(csv.DictReader((out / "cohort.tsv").read_text().splitlines(), delimiter="\t"))
    assert [(row["case"], row["status"]) for row in rows] == [("second", "done"), ("tiny", "done")]


def test_a_table_of_someone_else_is_not_touched(segmenter, case_files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cohort.tsv").write_text("name\tage\na\t3\n")
    with pytest.raises(UsageError, match="is no table of gliomask"):
        segment_cohort(segmenter, [case_files], tmp_path / "out", WRITING)
    assert (tmp_path / "out" / "cohort.tsv").read_text() == "name\tage\na\t3\n"


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_no_input_and_no_reference_is_ever_replaced(segmenter, case_files, tmp_path, link):
    over = replace(WRITING, overwrite=True)
    reference = case_files.reference.read_bytes()
    for results in (CaseLayout.of(case_files.reference.parent, "tiny"), CaseLayout.of(case_files.paths()[0], "tiny")):
        with pytest.raises(UsageError, match="is an input"):
            segment_to_files(segmenter, FileSource(case_files), results, over)
    (tmp_path / "out").mkdir()
    getattr(tmp_path / "out" / "tiny_preview.png", link)(case_files.paths()[1])
    with pytest.raises(UsageError, match="is an input"):
        segment_to_files(segmenter, FileSource(case_files), CaseLayout.of(tmp_path / "out", "tiny"), over)
    assert case_files.reference.read_bytes() == reference


def test_an_empty_output_is_refused():
    with pytest.raises(UsageError, match="output is empty"):
        CaseLayout.of("", "tiny")


def test_another_model_or_option_is_not_taken_for_the_same(segmenter, case_files, tmp_path, fake_model):
    plain = Delivery()
    segment_cohort(segmenter, [case_files], tmp_path / "out", plain)
    with Segmenter(replace(segmenter.options, patches="adjacent", threads=1)) as other, pytest.raises(UsageError, match="other --patches,"):
        segment_cohort(other, [case_files], tmp_path / "out", plain, resume=True)
    fake_model.sha256 = "1" * 64
    with pytest.raises(UsageError, match="other model,"):
        segment_cohort(segmenter, [case_files], tmp_path / "out", plain, resume=True)


def test_names_that_a_spreadsheet_would_calculate_are_text_and_stay_the_same_case(tmp_path):
    table = tmp_path / "cohort.tsv"
    for seconds in (1.0, 2.0):
        case_results.write_table(table, [CaseRow("=1+1", "failed", seconds, "", '@SUM(A1)\t"quoted"')])
    case_results.write_table(table, [CaseRow("other", "done", 1.0, "not_1mm", "", wt_ml=-0.5)])
    header, first, second = table.read_text().splitlines()
    assert first.split("\t")[:3] == ["'=1+1", "failed", "2"]
    assert "'@SUM(A1)" in first
    assert second.split("\t")[5] == "-0.5"
    assert [row["case"] for row in read_table(table)] == ["=1+1", "other"]
    assert header.startswith("case\tstatus")
