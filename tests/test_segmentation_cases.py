"""One case, from its source to its files: done, kept or refused, before a scan is read, never two at once."""

import io
import json
import threading
import zipfile
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from dicom_series import write_series

import gliomask
from gliomask.cli.main import run
from gliomask.errors import GliomaskError, QualityError, UsageError
from gliomask.files.lock import locked
from gliomask.flag import Flag
from gliomask.labels import Region
from gliomask.results.layout import CaseLayout
from gliomask.segmentation import Delivery, Options, Segmenter
from gliomask.segmentation.cases import Done, Kept, segment_or_keep, segment_to_files
from gliomask.segmentation.source import DicomSource, open_source
from gliomask.sequences import PAPER_ORDER, Sequence

PLAIN = Delivery(preview=False)


@pytest.fixture
def segmenter(fake_model):
    with Segmenter(Options(raw="never")) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    return write_brats_case(tmp_path / "cases", make_tiny_case())


@pytest.fixture
def examination(tmp_path):
    """A zip of DICOM files."""
    case = make_tiny_case()
    for number, sequence in enumerate(PAPER_ORDER, start=1):
        write_series(
            tmp_path / "dicom" / sequence.value,
            np.round(case.volumes[sequence]).astype(np.int64),
            case.geometry,
            sequence.value,
            number,
        )
    path = tmp_path / "examination.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "dicom").rglob("*.dcm")):
            archive.write(file, file.relative_to(tmp_path).as_posix())
    return path


def files_in(place):
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def no_reading(monkeypatch):
    """Lets a test fail where a scan is read."""

    def fail(*arguments, **more):
        raise AssertionError("a scan was read")

    def forbid():
        monkeypatch.setattr("gliomask.segmentation.source.read_begun", fail)
        monkeypatch.setattr("gliomask.io.dicom.read.read_scan", fail)

    return forbid


def test_a_case_is_done_then_kept_then_done_again_where_a_file_is_gone(segmenter, folder, tmp_path, no_reading):
    out = tmp_path / "out"
    done = segment_or_keep(segmenter, open_source(folder), out, PLAIN)
    assert isinstance(done, Done)
    assert done.files[-1] == out / "tiny_run.json"
    assert all(path.is_file() for path in done.files)
    assert {path.name for path in done.files} == set(files_in(out))
    (out / "tiny_volumes.tsv").unlink()
    assert isinstance(segment_or_keep(segmenter, open_source(folder), out, PLAIN, resume=True), Done)
    no_reading()
    kept = segment_or_keep(segmenter, open_source(folder), out, PLAIN, resume=True)
    assert isinstance(kept, Kept)
    assert kept.record.outputs["tiny_seg.nii.gz"] == done.record.outputs["tiny_seg.nii.gz"]


def corrected(path):
    """Changes one voxel, as a person does in an editor, and returns the file's new bytes."""
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(values, image.affine, image.header), path)
    return path.read_bytes()


def test_a_corrected_label_map_is_replaced_only_where_that_is_asked_for(segmenter, folder, tmp_path):
    out = tmp_path / "out"
    segment_to_files(segmenter, open_source(folder), out, PLAIN)
    label_map = out / "tiny_seg.nii.gz"
    first, mine = label_map.read_bytes(), corrected(label_map)
    (out / "tiny_volumes.tsv").unlink()
    before = files_in(out)
    with pytest.raises(UsageError, match="tiny_seg.nii.gz: was changed after gliomask wrote it.*--overwrite"):
        segment_or_keep(segmenter, open_source(folder), out, PLAIN, resume=True)
    assert files_in(out) == before
    label_map.write_bytes(mine[: len(mine) // 2])
    assert isinstance(segment_or_keep(segmenter, open_source(folder), out, PLAIN, resume=True), Done), (
        "a torn file is no correction"
    )
    assert label_map.read_bytes() == first
    corrected(label_map)
    assert isinstance(segment_or_keep(segmenter, open_source(folder), out, replace(PLAIN, overwrite=True)), Done)
    assert label_map.read_bytes() == first


def test_other_options_other_scans_and_results_that_exist_are_refused_and_touch_nothing(segmenter, folder, tmp_path):
    out = tmp_path / "out"
    segment_or_keep(segmenter, open_source(folder), out, PLAIN)
    before = files_in(out)
    with pytest.raises(UsageError, match="Give --overwrite"):
        segment_or_keep(segmenter, open_source(folder), out, PLAIN)
    with pytest.raises(UsageError, match="with other --probabilities"):
        segment_or_keep(segmenter, open_source(folder), out, Delivery(preview=False, probabilities=True), resume=True)
    nib.save(
        nib.Nifti1Image(make_tiny_case(seed=3).volumes[Sequence.T2], make_tiny_case().geometry.affine),
        folder / "tiny_t2.nii.gz",
    )
    with pytest.raises(UsageError, match="with other scans"):
        segment_or_keep(segmenter, open_source(folder), out, PLAIN, resume=True)
    assert files_in(out) == before


@pytest.mark.parametrize("kind", ["folder", "examination"])
def test_results_that_exist_are_refused_before_a_scan_is_read(
    segmenter, folder, examination, tmp_path, no_reading, kind
):
    source, out = open_source({"folder": folder, "examination": examination}[kind]), tmp_path / "out"
    segment_to_files(segmenter, source, out, PLAIN)
    before = files_in(out)
    no_reading()
    with pytest.raises(UsageError, match="exist.*--overwrite"):
        segment_to_files(segmenter, source, out, PLAIN)
    assert files_in(out) == before


def test_a_case_that_another_works_on_is_refused_and_named(segmenter, folder, tmp_path, no_reading):
    out = tmp_path / "out"
    out.mkdir()
    place = CaseLayout.of(out, "tiny").place("tiny")
    no_reading()
    with (
        locked(out, "segmentation of case tiny", place.lock_name),
        pytest.raises(UsageError, match=r"another segmentation of case tiny runs.*process \d+ on"),
    ):
        segment_to_files(segmenter, open_source(folder), out, PLAIN)
    assert not [name for name in files_in(out) if not name.startswith(".")]


def test_nothing_but_results_stays_behind(segmenter, folder, tmp_path):
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", PLAIN)
    assert not [name for name in files_in(tmp_path / "out") if name.startswith(".")]


def test_two_at_once_end_with_one_whole_result(segmenter, folder, tmp_path):
    out, results = tmp_path / "out", []

    def work():
        try:
            results.append(segment_or_keep(segmenter, open_source(folder), out, PLAIN))
        except UsageError as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [result for result in results if isinstance(result, Done)]
    assert len(done) == 1
    assert len(results) == 4
    assert sum(isinstance(result, UsageError) for result in results) == 3
    assert isinstance(segment_or_keep(segmenter, open_source(folder), out, PLAIN, resume=True), Kept)


def test_threads_that_share_a_segmenter_get_their_own_answers(segmenter):
    cases = [make_tiny_case(f"case{seed}", seed=seed) for seed in range(4)]
    alone = [segmenter.run(case).probabilities for case in cases]
    found = {}
    threads = [
        threading.Thread(target=lambda case=case: found.update({case.case_id: segmenter.run(case)})) for case in cases
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for case, expected in zip(cases, alone, strict=True):
        assert found[case.case_id].case is case
        np.testing.assert_array_equal(found[case.case_id].probabilities, expected)


def test_strict_writes_nothing(segmenter, folder, tmp_path):
    with pytest.raises(QualityError, match="--strict"):
        segment_to_files(segmenter, open_source(folder), tmp_path / "out", Delivery(preview=False, strict=True))
    assert not (tmp_path / "out").exists()


def test_dicom_is_read_in_memory_recorded_resumed_and_left_alone(fake_model, examination, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["segment", str(examination), "-o", str(out), "--raw", "never", "--no-preview"]
    before = examination.read_bytes()
    assert run(arguments) == 0
    assert not (out / "scans").exists()
    record = json.loads((out / "examination_run.json").read_text())
    assert record["inputs"].keys() == {str(examination)}
    assert record["dicom"]
    assert record["sequences"]["t1ce"].startswith("series ")
    written = files_in(out)
    assert run(arguments) == 2
    assert run([*arguments, "--resume"]) == 0
    assert "kept, finished by an earlier run" in capsys.readouterr().out
    assert files_in(out) == written
    assert run([*arguments, "--resume", "--series", "t1ce=3"]) == 2, "other series may have been taken"
    assert "with other --series" in capsys.readouterr().err
    assert files_in(out) == written
    assert run([*arguments, "--overwrite"]) == 0
    assert (out / "examination_seg.nii.gz").read_bytes() == written["examination_seg.nii.gz"]
    assert examination.read_bytes() == before


def test_another_patient_of_the_same_name_is_not_replaced_by_resuming(segmenter, examination, tmp_path):
    """A place that names the patient becomes `examination`, as another may have done before."""
    out = tmp_path / "out"
    segment_to_files(segmenter, open_source(examination.read_bytes()), out, PLAIN)
    before = files_in(out)
    assert isinstance(segment_or_keep(segmenter, open_source(examination.read_bytes()), out, PLAIN, resume=True), Kept)
    paths = sorted((tmp_path / "dicom").rglob("*.dcm"))
    for items, why in (
        (paths, "with other scans"),
        ([io.BytesIO(path.read_bytes()) for path in paths], "scans in memory cannot be compared"),
    ):
        with pytest.raises(UsageError, match=why):
            segment_or_keep(segmenter, DicomSource(items), out, PLAIN, resume=True)
    assert files_in(out) == before


def test_saving_writes_what_the_command_writes(fake_model, folder, tmp_path):
    assert (
        run(
            [
                "segment",
                str(folder),
                "-o",
                str(tmp_path / "command"),
                "--raw",
                "never",
                "--no-preview",
                "--report",
                "json",
                "--probabilities",
            ]
        )
        == 0
    )
    result = gliomask.segment(folder, raw="never")
    written = result.save(tmp_path / "python", preview=False, report="json", probabilities=True)
    command, python = files_in(tmp_path / "command"), files_in(tmp_path / "python")
    assert {path.name for path in written} == set(python) == set(command)
    timed = {"tiny_run.json", "tiny_report.json"}
    assert {name: content for name, content in python.items() if name not in timed} == {
        name: command[name] for name in command if name not in timed
    }
    ours, theirs = json.loads(python["tiny_run.json"]), json.loads(command["tiny_run.json"])
    volatile = {"finished", "seconds", "peak_memory_mb", "environment", "outputs"}
    assert {name: ours[name] for name in ours if name not in volatile} == {
        name: theirs[name] for name in theirs if name not in volatile
    }


def test_saving_refuses_what_the_command_refuses(fake_model, folder, tmp_path):
    result = gliomask.segment(folder, raw="never")
    result.save(tmp_path / "out", preview=False)
    with pytest.raises(UsageError, match="--overwrite"):
        result.save(tmp_path / "out", preview=False)
    with pytest.raises(UsageError, match="is an input"):
        result.save(folder / "tiny_t1.nii.gz", overwrite=True)
    with pytest.raises(UsageError, match="Unknown options: previews"):
        result.save(tmp_path / "other", previews=False)
    with pytest.raises(UsageError, match="empty"):
        result.save(" ")
    assert not (tmp_path / "other").exists()


def test_a_result_shows_itself_in_a_line_and_a_picture(fake_model, folder):
    result = gliomask.segment(folder, raw="never")
    volume = result.volumes.region_ml(Region.WT)
    assert repr(result).startswith(f"Segmentation('tiny', prepared, WT {volume:.1f} ml, TC ")
    assert "array" not in repr(result)
    assert result._repr_png_().startswith(b"\x89PNG")
    np.testing.assert_array_equal(result.label_map_in("t2"), result.label_map)
    with pytest.raises(GliomaskError, match="pet"):
        result.label_map_in("pet")


# What no run wrote, and what is doubted


@pytest.mark.parametrize(("overwrite", "resume"), [(False, False), (True, False), (False, True)])
def test_a_label_map_that_no_run_wrote_is_never_replaced(segmenter, folder, tmp_path, overwrite, resume):
    references = tmp_path / "references"
    references.mkdir()
    (references / "tiny_seg.nii.gz").write_bytes(b"the expert's")
    delivery = Delivery(preview=False, overwrite=overwrite)
    with pytest.raises(UsageError, match="no run record beside it lists it, so it may be a reference"):
        segment_or_keep(segmenter, open_source(folder), references, delivery, resume=resume)
    assert [path.read_bytes() for path in references.iterdir()] == [b"the expert's"]


def test_results_are_replaced_where_their_record_lists_them_or_is_damaged(segmenter, folder, tmp_path):
    again = Delivery(preview=False, overwrite=True)
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", PLAIN)
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", again)
    record = tmp_path / "out" / "tiny_run.json"
    record.write_bytes(record.read_bytes()[:50])
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", again)
    record.unlink()
    with pytest.raises(UsageError, match="no run record beside it lists it"):
        segment_to_files(segmenter, open_source(folder), tmp_path / "out", again)


def test_strict_tells_the_gravest_flag_and_names_the_others(fake_model, folder, tmp_path):
    outcome = gliomask.segment(folder, raw="never")
    assert [flag.name for flag in outcome.flags] == ["brain_small"]
    doubtful = replace(
        outcome,
        prediction=replace(
            outcome.prediction, flags=(*outcome.prediction.flags, Flag("doubtful", "The network doubts.", 0.5, 0.75))
        ),
    )
    with pytest.raises(
        QualityError, match=r"Case tiny: The network doubts. \(Also flagged: brain_small.\) Nothing was written"
    ):
        doubtful.save(tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()
