"""`gliomask segment` as typed: what it prints, what it writes, and for bad input a message, exit code 3 and no file."""

from __future__ import annotations

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from conftest import TINY_AFFINE, make_tiny_case, tiny_labels, write_brats_case

from gliomask.case import Case
from gliomask.cli.main import run
from gliomask.errors import LimitError
from gliomask.files.tables import read_table
from gliomask.io.brats import find_cases
from gliomask.sequences import Sequence

pytestmark = pytest.mark.usefixtures("fake_model")


def test_one_case_prints_the_mapping_and_the_volumes(tiny_brats_folder, tmp_path, capsys):
    assert run(["segment", str(tiny_brats_folder), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "t1ce   <- tiny_t1ce.nii.gz" in printed
    assert "WT" in printed
    assert "not a medical device" in printed
    assert (tmp_path / "out" / "tiny_seg.nii.gz").exists()


def test_four_files_in_any_order(tiny_brats_folder, tmp_path):
    folder = tiny_brats_folder / "tiny"
    options = [
        word for name in ("t2", "t1ce", "flair", "t1") for word in (f"--{name}", str(folder / f"tiny_{name}.nii.gz"))
    ]
    assert (
        run(["segment", *options, "-o", str(tmp_path / "tumour.nii.gz"), "--labels", "brats2023", "--no-preview"]) == 0
    )
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--labels", "brats2023"]) == 0
    explicit, found = nib.load(tmp_path / "tumour.nii.gz"), nib.load(tmp_path / "out" / "tiny_seg.nii.gz")
    np.testing.assert_array_equal(explicit.dataobj, found.dataobj)
    assert set(np.unique(explicit.dataobj)) == {0, 1, 2, 3}


def test_a_cohort_goes_on_after_a_bad_case_and_exits_with_its_code(tiny_brats_folder, tmp_path, capsys):
    write_brats_case(tiny_brats_folder, make_tiny_case("other", seed=2), tiny_labels())
    (tiny_brats_folder / "other" / "other_t1.nii.gz").unlink()
    assert run(["segment", str(tiny_brats_folder), "-o", str(tmp_path / "out")]) == 3
    printed = capsys.readouterr()
    assert "1 of 2 cases done" in printed.out
    assert "1 x CaseError, such as other: " in printed.err
    assert (tmp_path / "out" / "tiny_seg.nii.gz").exists()
    assert "missing t1" in (tmp_path / "out" / "cohort.tsv").read_text()


def test_results_in_the_folder_of_their_case_are_no_reference(tiny_brats_folder, capsys):
    """The second run said that two files match the reference; without an expert's map the result became one."""
    case = tiny_brats_folder / "tiny"
    renamed, words = case.rename(case.with_name("P1")), ["--no-preview"]
    expert = (renamed / "tiny_seg.nii.gz").read_bytes()
    for more in ([], ["--overwrite"], ["--resume"]):
        assert run(["segment", str(renamed), "-o", str(renamed), *words, *more]) == 0
        assert (renamed / "tiny_seg.nii.gz").read_bytes() == expert
    assert "labels <- tiny_seg.nii.gz" in capsys.readouterr().out
    further = (renamed / "tiny_seg.nii.gz").rename(renamed / "tiny_tumour_mask.nii.gz")
    assert find_cases(renamed)[0].reference == further
    further.unlink()
    assert find_cases(renamed)[0].reference is None
    # Once somebody has drawn in it, it is a reference.
    image = nib.load(renamed / "P1_seg.nii.gz")
    changed = np.asarray(image.dataobj).copy()
    changed[0, 0, 0] = 4
    nib.save(nib.Nifti1Image(changed, image.affine), renamed / "P1_seg.nii.gz")
    assert find_cases(renamed)[0].reference == renamed / "P1_seg.nii.gz"


def rows_of(folder):
    return {row["case"]: row for row in read_table(folder / "cohort.tsv", ("case", "status"), "\t", "a table")}


def test_a_case_by_itself_gets_its_row_where_there_is_a_table(tiny_brats_folder, tmp_path):
    out, other = tmp_path / "out", write_brats_case(tmp_path / "more", make_tiny_case("other", seed=2), tiny_labels())
    assert run(["segment", str(other), "-o", str(out), "--no-preview"]) == 0
    assert not (out / "cohort.tsv").exists()
    # A folder of cases has a table, however few there are; a case by itself is added to it.
    assert run(["segment", str(tiny_brats_folder), "-o", str(out), "--no-preview"]) == 0
    assert list(rows_of(out)) == ["tiny"]
    assert run(["segment", str(other), "-o", str(out), "--no-preview", "--overwrite"]) == 0
    found = rows_of(out)
    assert [(row["case"], row["status"], row["label_map"]) for row in found.values()] == [
        ("tiny", "done", "tiny_seg.nii.gz"),
        ("other", "done", "other_seg.nii.gz"),
    ]
    assert float(found["other"]["wt_ml"]) > 0
    # What makes no sense leaves the row; a case that cannot be read is a failed one.
    assert run(["segment", str(other), "-o", str(out)]) == 2
    assert rows_of(out) == found
    (other / "other_t1.nii.gz").write_bytes(b"cut")
    assert run(["segment", str(other), "-o", str(out), "--overwrite"]) == 3
    assert rows_of(out)["other"]["status"] == "failed"
    assert "other_t1.nii.gz" in rows_of(out)["other"]["message"]
    assert rows_of(out)["tiny"] == found["tiny"]


def test_a_table_that_cannot_be_written_hides_neither_a_result_nor_a_failure(
    tiny_brats_folder, tmp_path, capsys, monkeypatch
):
    def full(self, row):
        raise LimitError("cohort.tsv: the disk is full.")

    monkeypatch.setattr("gliomask.cohort.here.SharedTable.put", full)
    call = ["segment", str(tiny_brats_folder), "-o", str(tmp_path / "out"), "--no-preview"]
    assert run(call) == 5
    assert "tiny_seg.nii.gz" in capsys.readouterr().out
    monkeypatch.undo()
    assert run([*call, "--overwrite"]) == 0
    monkeypatch.setattr("gliomask.cohort.here.SharedTable.put", full)
    (tiny_brats_folder / "tiny" / "tiny_t1.nii.gz").write_bytes(b"cut")
    capsys.readouterr()
    assert run([*call, "--overwrite"]) == 3
    said = capsys.readouterr().err
    assert "tiny_t1.nii.gz" in said
    assert "has no row of this failure: cohort.tsv: the disk is full." in said


def test_a_table_of_somebody_elses_is_refused_before_any_work(tiny_brats_folder, tmp_path, capsys):
    (tmp_path / "cohort.tsv").write_text("participant\tage\n1\t50\n")
    assert run(["segment", str(tiny_brats_folder / "tiny"), "-o", str(tmp_path)]) == 2
    assert "is no table of gliomask" in capsys.readouterr().err
    assert not (tmp_path / "tiny_seg.nii.gz").exists()


def test_an_existing_result_is_kept_without_overwrite(tiny_brats_folder, tmp_path, capsys):
    call = ["segment", str(tiny_brats_folder), "-o", str(tmp_path / "out")]
    assert run(call) == 0
    before = (tmp_path / "out" / "tiny_run.json").read_bytes()
    assert run(call) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "tiny_run.json").read_bytes() == before
    assert run([*call, "--overwrite"]) == 0
    assert (tmp_path / "out" / "tiny_run.json").read_bytes() != before


def remove_a_sequence(path):
    path.unlink()


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-2000])


def break_the_gzip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def write_text(path):
    path.write_text("patient 7, T2")


def rewritten(change):
    """A change of the image that nibabel holds."""

    def apply(path):
        image = nib.load(path)
        values, affine = np.asarray(image.dataobj).copy(), image.affine.copy()
        values, affine = change(values, affine)
        image.uncache()
        nib.save(nib.Nifti1Image(values, affine), path)

    return apply


def not_a_number(values, affine):
    values[12, 14, 10] = np.nan
    return values, affine


def infinite(values, affine):
    values[12, 14, 10] = np.inf
    return values, affine


def claim_absurd_dimensions(path):
    header = bytearray(gzip.decompress(path.read_bytes())[:348])
    header[40:48] = np.array([3, 30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(header)))


def singular_affine(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[252:256] = np.array([0, 1], "<i2").tobytes()
    content[280:328] = np.zeros(12, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def affine_of_nan(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[252:256] = np.array([0, 1], "<i2").tobytes()
    content[280:328] = np.full(12, np.nan, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


BAD_INPUT = {
    "a sequence is missing": (remove_a_sequence, "missing t2"),
    "truncated": (cut_short, "truncated"),
    "corrupt gzip": (break_the_gzip, "corrupt"),
    "not NIfTI": (write_text, "NIfTI"),
    "NaN": (rewritten(not_a_number), "NaN"),
    "infinity": (rewritten(infinite), "infinite"),
    "empty": (rewritten(lambda values, affine: (np.zeros_like(values), affine)), "empty"),
    "another shape": (rewritten(lambda values, affine: (values[:-1], affine)), "another grid"),
    "another place": (rewritten(lambda values, affine: (values, affine + np.eye(4, k=3) * 5)), "another grid"),
    "4-D": (rewritten(lambda values, affine: (np.stack([values, values], axis=-1), affine)), "4"),
    "absurd dimensions": (claim_absurd_dimensions, "30000"),
    "singular affine": (singular_affine, "affine"),
    "affine of NaN": (affine_of_nan, "affine"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gives_a_message_that_names_the_file_exit_code_3_and_no_output(
    name, tiny_brats_folder, tmp_path, capsys
):
    spoil, words = BAD_INPUT[name]
    path = tiny_brats_folder / "tiny" / "tiny_t2.nii.gz"
    spoil(path)
    assert run(["segment", str(tiny_brats_folder), "-o", str(tmp_path / "out")]) == 3
    message = capsys.readouterr().err
    assert message.startswith("Error: ")
    assert words in message
    assert "tiny" in message
    assert not (tmp_path / "out").exists()


def test_two_files_for_one_sequence_are_listed(tiny_brats_folder, tmp_path, capsys):
    folder = tiny_brats_folder / "tiny"
    shutil.copy(folder / "tiny_t1ce.nii.gz", folder / "tiny_t1c.nii.gz")
    assert run(["segment", str(tiny_brats_folder), "-o", str(tmp_path / "out")]) == 3
    message = capsys.readouterr().err
    assert "tiny_t1ce.nii.gz" in message
    assert "tiny_t1c.nii.gz" in message


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["segment", "-o", "out"], 2, "Give either a CASE folder or the four files"),
        (["segment", "CASE", "-o", "out", "--t1", "x.nii.gz"], 2, "Give either"),
        (["segment", "--t1", "x.nii.gz", "-o", "out"], 2, "Missing --flair, --t1ce, --t2"),
        (["segment", "CASE", "-o", "out", "--labels", "brats1999"], 2, "brats1999"),
        (["segment", "CASE", "-o", "out", "--postprocess", "7"], 2, "'7'"),
        (["segment", "CASE", "-o", "out", "--patches", "round"], 2, "round"),
        (["segment", "CASE", "-o", "out", "--threads", "0"], 2, "threads"),
        (["segment", "nowhere", "-o", "out"], 3, "nowhere"),
        (["segmnt"], 2, "segmnt"),
    ],
)
def test_requests_that_make_no_sense(words, code, message, tiny_brats_folder, capsys):
    assert run([str(tiny_brats_folder) if word == "CASE" else word for word in words]) == code
    assert message in capsys.readouterr().err


def test_flags_warn_and_strict_refuses(tmp_path, capsys):
    case = make_tiny_case("thick", affine=np.diag([-1.0, -1.0, 5.0, 1.0]))
    write_brats_case(tmp_path / "cases", case)
    assert run(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "out")]) == 0
    assert "Warning: thick:" in capsys.readouterr().err
    flags = [flag["name"] for flag in json.loads((tmp_path / "out" / "thick_run.json").read_text())["quality_flags"]]
    assert "not_1mm" in flags
    assert run(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "strict"), "--strict"]) == 6
    assert not (tmp_path / "strict").exists()


def test_a_second_focus_that_post_processing_removes_is_said_recorded_and_flagged(tmp_path, capsys):
    affine = TINY_AFFINE @ np.diag([4.0, 4.0, 4.0, 1.0])
    case = make_tiny_case("tiny", affine=affine)
    volumes = {sequence: volume.copy() for sequence, volume in case.volumes.items()}
    # 27 voxels of oedema, 1.7 ml, and two voxels of it elsewhere, .1 ml.
    volumes[Sequence.FLAIR][3:6, 13:16, 9:12] = 2000
    volumes[Sequence.FLAIR][4:6, 18, 10] = 2000
    write_brats_case(tmp_path / "cases", Case("tiny", volumes, case.geometry))
    words = [
        "segment",
        str(tmp_path / "cases"),
        "-o",
        str(tmp_path / "out"),
        "--no-preview",
        "--raw",
        "never",
        "--report",
        "json",
    ]

    assert run([*words, "--postprocess", "none"]) == 0
    assert "removed" not in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "tiny_run.json").read_text())
    assert record["removed"] == []

    assert run([*words, "--postprocess", "3d", "--overwrite"]) == 0
    printed = capsys.readouterr()
    record = json.loads((tmp_path / "out" / "tiny_run.json").read_text())
    largest = record["removed"][0]
    volumes_ml = [part["volume_ml"] for part in record["removed"]]
    assert volumes_ml == sorted(volumes_ml, reverse=True)
    assert largest["volume_ml"] == pytest.approx(largest["voxels"] * 0.064)
    assert largest["volume_ml"] > 1
    np.testing.assert_allclose(largest["centre_ras_mm"], (affine @ [4, 14, 10, 1])[:3], atol=4)
    flag = next(flag for flag in record["quality_flags"] if flag["name"] == "part_removed")
    assert flag["value"] == pytest.approx(largest["volume_ml"], abs=1e-3)
    assert f"removed what may be a second focus ({largest['volume_ml']:.1f} ml at " in printed.err
    assert f"Post-processing removed {len(volumes_ml)} separate part" in printed.out
    assert "removed what may be a second focus" in (tmp_path / "out" / "tiny_report.json").read_text()

    assert run([*words, "--postprocess", "3d", "--overwrite", "--strict"]) == 6


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--network", "nobody"], 4, "no model 'nobody'"),
        (["--ensemble-member", "nobody"], 4, "no model 'nobody'"),
        (["--postprocess", "7"], 2, "'7'"),
        (["--skip", "everything"], 2, "no step 'everything'"),
        ([], 2, "exists. Give --overwrite"),
    ],
)
def test_what_can_be_refused_is_refused_before_the_first_scan_is_read(
    words, code, message, tiny_brats_folder, tmp_path, capsys, monkeypatch
):
    if not words:
        (tmp_path / "tiny_seg.nii.gz").write_bytes(b"of an earlier run")
        (tmp_path / "tiny_run.json").write_text("{")
    monkeypatch.setattr("gliomask.io.brats.read_ahead", lambda files: pytest.fail("a scan was read"))
    assert run(["segment", str(tiny_brats_folder), "-o", str(tmp_path), *words]) == code
    assert message in " ".join(capsys.readouterr().err.split())
