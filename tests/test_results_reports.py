"""Reports from files: `gliomask report`, `gliomask timeline` and `gliomask segment --report`, what they refuse and what
they leave.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case

from gliomask.cli.main import run
from gliomask.errors import CaseError, FileFormatError, GeometryError, UsageError
from gliomask.io.brats import find_cases
from gliomask.io.nifti import read_volume, write_volume
from gliomask.report.document import Pictures
from gliomask.results.layout import CaseLayout
from gliomask.results.reports import Reporting, read_timeline, write_report, write_timeline
from gliomask.segmentation import Delivery, Segmenter
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.source import FileSource
from gliomask.sequences import Sequence

HTML = Reporting(("html",))


@pytest.fixture
def result(fake_model, tiny_brats_folder, tmp_path):
    """The label map of a segmented case, with all that lies beside it."""
    results = CaseLayout.of(tmp_path / "out", "tiny")
    with Segmenter() as segmenter:
        segment_to_files(segmenter, FileSource(find_cases(tiny_brats_folder)[0]), results, Delivery(preview=False))
    return results.label_map


RAW_ROUTE = {"reference": "t1ce", "mode": "auto", "skip": [], "brain_mask": None, "grids": {}, "steps": []}
"""What a record says of a case that was registered from raw scans."""


def edit_record(label_map, **fields):
    path = CaseLayout(label_map).record
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_result_becomes_three_files(result):
    written = write_report(result, Reporting.of("html, PDF,json"))
    assert [path.name for path in written] == ["tiny_report.html", "tiny_report.pdf", "tiny_report.json"]
    figures = json.loads(written[2].read_text())
    assert figures["provenance"]["model"] == "by-hand"
    assert [file["role"] for file in figures["provenance"]["inputs"]] == ["flair", "t1", "t1ce", "t2", "label map"]
    # So small a brain has no plane of symmetry; test_location.py tells sides.
    assert figures["sides"] == dict.fromkeys(("WT", "TC", "ET"))
    volumes = json.loads(CaseLayout(result).volumes_json.read_text())
    assert figures["volumes"] == {kind: volumes[kind] for kind in ("labels", "regions")}
    assert figures["volumes"]["regions"]["WT"]["voxels"] > 0
    assert not [path for path in result.parent.iterdir() if path.name.endswith(".part")]


def test_segmenting_with_a_report_writes_the_same_one(fake_model, tiny_brats_folder, tmp_path):
    results = CaseLayout.of(tmp_path / "out", "tiny")
    with Segmenter() as segmenter:
        segment_to_files(
            segmenter, FileSource(find_cases(tiny_brats_folder)[0]), results, Delivery(preview=False, report="html")
        )
    at_once = (tmp_path / "out" / "tiny_report.html").read_bytes()
    (later,) = write_report(results.label_map, HTML, output=tmp_path / "later")
    assert later.read_bytes() == at_once


def test_scans_that_were_given_by_a_relative_path_are_found_from_any_folder(
    fake_model, tiny_brats_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tiny_brats_folder)
    assert run(["segment", "tiny", "-o", str(tmp_path / "out"), "--no-preview"]) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["report", str(tmp_path / "out"), "--format", "html"]) == 0
    record = json.loads((tmp_path / "out" / "tiny_run.json").read_text())
    assert set(record["sequences"].values()) == set(record["inputs"]), (
        "report compares the hashes of the scans by these names"
    )
    assert all(path.startswith(str(tiny_brats_folder)) for path in record["inputs"])


def test_a_report_that_exists_is_kept(result):
    mine = result.with_name("tiny_report.html")
    mine.write_text("mine")
    with pytest.raises(UsageError, match="Give --overwrite"):
        write_report(result, HTML)
    assert mine.read_text() == "mine"
    write_report(result, Reporting(("html",), overwrite=True))
    assert mine.read_text() != "mine"


def test_moved_scans_are_given_and_must_be_the_same(result, tiny_brats_folder, tmp_path):
    shutil.move(tiny_brats_folder, tmp_path / "moved")
    with pytest.raises(CaseError, match=r"tiny_flair.nii.gz, which is no longer there. Give the case's folder"):
        write_report(result, HTML)
    write_report(result, HTML, scans=tmp_path / "moved" / "tiny")
    other = write_brats_case(tmp_path / "other", make_tiny_case(seed=1))
    with pytest.raises(CaseError, match="is not the flair that was segmented"):
        write_report(result, Reporting(("html",), overwrite=True), scans=other)


def test_a_label_map_without_record_needs_its_convention_and_its_scans(tiny_brats_folder, tmp_path):
    label_map = tmp_path / "mine.nii.gz"
    scans = tiny_brats_folder / "tiny"
    shutil.copy(scans / "tiny_seg.nii.gz", label_map)
    with pytest.raises(UsageError, match="Give --labels"):
        write_report(label_map, HTML, scans=scans)
    named = Reporting(("html",), labels="brats2021")
    with pytest.raises(CaseError, match="Give the case's folder"):
        write_report(label_map, named)
    (page,) = write_report(label_map, named, scans=scans)
    assert "No run record" in page.read_text()
    assert "tiny_t1ce.nii.gz" in page.read_text()


def test_what_contradicts_the_record_is_refused(result):
    with pytest.raises(UsageError, match="Leave --labels out"):
        write_report(result, Reporting(("html",), labels="brats2023"))
    edit_record(result, raw_route=RAW_ROUTE)
    with pytest.raises(UsageError, match="made from raw scans"):
        write_report(result, HTML)


def test_another_grid_is_refused(result, tmp_path):
    case = make_tiny_case(affine=make_tiny_case().geometry.affine + 0.5 * (make_tiny_case().geometry.affine == 12))
    moved = write_brats_case(tmp_path / "moved", case, tiny_labels())
    edit_record(result, sequences={})
    with pytest.raises(GeometryError, match="another grid"):
        write_report(result, HTML, scans=moved)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1, 2]", "\x00\xff", "[" * 100000, '{"options": {"labels": "brats2021"}}', '{"record_version": 9}'],
)
def test_a_record_that_is_none_is_named(result, content):
    CaseLayout(result).record.write_text(content)
    with pytest.raises(FileFormatError, match="is (no|a) run record"):
        write_report(result, HTML)


def test_formats_are_checked_before_any_work():
    assert Reporting.of("pdf,html,pdf").formats == ("pdf", "html")
    for typed in ("docx", "", ",", "html,exe"):
        with pytest.raises(UsageError, match="report format"):
            Reporting.of(typed)


def test_the_command_reports_a_folder_and_goes_on_after_a_failure(result, tmp_path, capsys):
    second = result.with_name("gone_seg.nii.gz")
    shutil.copy(result, second)
    CaseLayout(second).record.write_text(CaseLayout(result).record.read_text().replace("_flair", "_gone"))
    assert run(["report", str(result.parent), "-o", str(tmp_path / "reports"), "--format", "html"]) == 3
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["tiny_report.html"]
    assert "gone: " in capsys.readouterr().err
    assert run(["report", str(tmp_path / "reports")]) == 2


def test_the_segment_command_writes_reports(fake_model, tiny_brats_folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["segment", str(tiny_brats_folder / "tiny"), "-o", str(out), "--raw", "never", "--no-preview"]
    assert run([*arguments, "--report", "docx"]) == 2
    assert not out.exists()
    assert run([*arguments, "--report", "html,json"]) == 0
    assert {"tiny_report.html", "tiny_report.json"} <= {path.name for path in out.iterdir()}


def write_table(folder, text):
    path = folder / "visits.tsv"
    path.write_text(text)
    return path


def test_a_timeline_from_a_table_and_from_files(result, tmp_path):
    shutil.copy(result, result.with_name("second_seg.nii.gz"))
    shutil.copy(CaseLayout(result).record, result.with_name("second_run.json"))
    table = write_table(
        result.parent,
        "timepoint\tlabel_map\tdate\nfirst\ttiny_seg.nii.gz\t2024-01-01\nlast\tsecond_seg.nii.gz\t2024-05-06\n",
    )
    assert (
        run(["timeline", str(table), "-o", str(tmp_path / "follow-up"), "--format", "html,json", "--patient", "P01"])
        == 0
    )
    figures = json.loads((tmp_path / "follow-up" / "P01_timeline.json").read_text())
    assert [(visit["time_point"], visit["date"], visit["brain_overlap"]) for visit in figures["visits"]] == [
        ("first", "2024-01-01", None),
        ("last", "2024-05-06", 1.0),
    ]
    files = [str(result), str(result.with_name("second_seg.nii.gz"))]
    assert run(["timeline", *files, "-o", str(tmp_path / "follow-up"), "--patient", "P01"]) == 2  # exists
    assert run(["timeline", *files, "-o", str(tmp_path / "other"), "--format", "html"]) == 0
    assert "tiny_seg" in (tmp_path / "other" / "other_timeline.html").read_text()


@pytest.mark.parametrize("patient", ["", "..", ".hidden", "a/b", "a\\b", "a\nb", "x" * 101, " a"])
def test_a_patient_that_no_file_can_be_named_after_is_refused(result, tmp_path, patient):
    points = [("a", result, None, None), ("b", result, None, None)]
    with pytest.raises(UsageError, match="none can have this name"):
        write_timeline(patient, points, tmp_path / "follow-up", HTML)
    assert not (tmp_path / "follow-up").exists()


def test_a_timeline_shows_each_visit_at_one_place(result, tmp_path):
    shutil.copy(result, result.with_name("second_seg.nii.gz"))
    shutil.copy(CaseLayout(result).record, result.with_name("second_run.json"))
    points = [("a", result, None, None), ("b", result.with_name("second_seg.nii.gz"), None, None)]
    report, (page,) = write_timeline("Müller 2", points, tmp_path / "follow-up", HTML)
    assert page.name == "Müller 2_timeline.html"
    text = page.read_text()
    assert "All visits are cut at one place" in text
    rows = [block for block in report.document().blocks if isinstance(block, Pictures)][1:]
    assert [len(block.rows[0]) for block in rows] == [4, 4]
    assert [picture.png for picture in rows[0].rows[0]] == [picture.png for picture in rows[1].rows[0]], (
        "the same scans, the same place"
    )


@pytest.mark.parametrize(("shift", "told"), [(0, True), (8, False), (None, False)])
def test_a_timeline_of_raw_cases_holds_the_masks_beside_the_label_maps(result, tmp_path, shift, told):
    """Two visits of one head that moved: one voxel's shift of the tumour must not make it new, and neither must a mask
    that is gone.
    """
    volume = read_volume(result)
    brain = read_volume(find_cases(result.parents[1])[0].sequences[Sequence.T1CE]).values != 0
    for name, moved in (("tiny", 0), ("second", shift)):
        label_map = result.with_name(f"{name}_seg.nii.gz")
        write_volume(label_map, volume.values.astype(np.uint8), volume.geometry, overwrite=True)
        shutil.copy(CaseLayout(result).record, result.with_name(f"{name}_run.json")) if name != "tiny" else None
        edit_record(label_map, raw_route=RAW_ROUTE)
        if moved is not None:
            mask = np.roll(brain, moved, axis=0).astype(np.uint8)
            write_volume(result.with_name(f"{name}_space-t1ce_mask.nii.gz"), mask, volume.geometry)
    points = [("a", result, None, None), ("b", result.with_name("second_seg.nii.gz"), None, None)]
    report, (page,) = write_timeline("P", points, tmp_path / "follow-up", HTML)
    assert (report.visits[1].fresh is not None) == told
    text = page.read_text()
    assert ("there is no second_space-t1ce_mask.nii.gz beside the label map" in text) == (shift is None)
    assert ("The images are not registered to each other" in text) == (shift == 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are"),
        ("timepoint\tfile\na\tb\n", "its columns are"),
        ("timepoint\tlabel_map\tage\na\tb\t3\n", "its columns are"),
        ("timepoint\tlabel_map\na\t\n", "line 2: timepoint or label_map is empty"),
        ("timepoint\tlabel_map\tdate\na\tb\t2024-01-01\nc\td\t3 May\n", "line 3: '3 May' is no date"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_timeline(write_table(tmp_path, text))
    with pytest.raises(UsageError, match="cannot be read as a table"):
        read_timeline(tmp_path)


def test_the_uncertainty_is_in_the_report_of_a_run_that_asked_for_it(fake_model, tiny_brats_folder, tmp_path):
    results = CaseLayout.of(tmp_path / "out", "tiny")
    with Segmenter() as segmenter:
        segment_to_files(
            segmenter,
            FileSource(find_cases(tiny_brats_folder)[0]),
            results,
            Delivery(preview=False, report="html", uncertainty=True),
        )
    at_once = (tmp_path / "out" / "tiny_report.html").read_text()
    assert "uncertainty of the labels, axial section" in at_once
    (later,) = write_report(results.label_map, HTML, output=tmp_path / "later")
    assert later.read_text() == at_once, "from the map on disk as from the one in memory"
    read = read_volume(results.uncertainty)
    write_volume(
        results.uncertainty, read.values[:-1], replace(read.geometry, shape=read.values[:-1].shape), overwrite=True
    )
    with pytest.raises(GeometryError, match="lies on another grid"):
        write_report(results.label_map, HTML, output=tmp_path / "again")
    results.uncertainty.unlink()
    (without,) = write_report(results.label_map, HTML, output=tmp_path / "without")
    assert "uncertainty of the labels" not in without.read_text()
