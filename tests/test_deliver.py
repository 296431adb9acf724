"""Results on disk: all of a case or none of it, and no input replaced."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from gliomask.errors import QualityError, UsageError
from gliomask.flag import Flag
from gliomask.results.layout import CaseLayout
from gliomask.results.record import parse_record
from gliomask.segmentation import Delivery, deliver
from gliomask.segmentation.cases import segment_or_keep, segment_to_files
from gliomask.segmentation.source import FileSource

WRITING = Delivery(probabilities=True)


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
    assert list(record["seconds"]) == [
        "read",
        "check",
        "normalise",
        "network",
        "postprocess",
        "quality",
        "to input grid",
        "write",
        "total",
    ]
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
    with pytest.raises(QualityError, match="no Dice can be promised.*Also flagged: skull_on"):
        segment_to_files(
            segmenter, FileSource(case_files), CaseLayout.of(tmp_path / "strict", "tiny"), Delivery(strict=True)
        )
    assert names(tmp_path / "strict") == []


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


def test_nothing_that_was_written_is_read_again_for_report_and_record(segmenter, case_files, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        "gliomask.results.write.sha256_of",
        lambda path: (hashed.append(path.name), hashlib.sha256(path.read_bytes()).hexdigest())[1],
    )
    monkeypatch.setattr("gliomask.results.record.read_json", lambda *arguments: pytest.fail("no record is read"))
    done = segment_or_keep(
        segmenter, FileSource(case_files), CaseLayout.of(tmp_path, "tiny"), Delivery(preview=False, report="json")
    )
    assert "tiny_seg.nii.gz" not in hashed
    digest = hashlib.sha256((tmp_path / "tiny_seg.nii.gz").read_bytes()).hexdigest()
    assert done.record.outputs["tiny_seg.nii.gz"] == digest
    report = json.loads((tmp_path / "tiny_report.json").read_text())
    assert [file["sha256"] for file in report["provenance"]["inputs"] if file["role"] == "label map"] == [digest]
    assert done.record == read_as_written(tmp_path / "tiny_run.json")


def read_as_written(path):
    return parse_record(json.loads(path.read_text()), str(path))
