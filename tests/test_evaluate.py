"""Evaluation: cases paired whichever way they are laid out, every reference case a row, nothing half-written, exit
codes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import TINY_AFFINE, TINY_SHAPE, make_tiny_case, tiny_labels, write_brats_case
from PIL import Image

from gliomask.cli.main import run
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.evaluate import Status, evaluate, write_evaluation
from gliomask.evaluate.panel import PAPER_COLUMNS, RESULT, panel_source, spread, write_panel
from gliomask.evaluate.results import FILES, describe
from gliomask.io.label_maps import find_label_maps
from gliomask.labels import CONVENTIONS, Region
from gliomask.report.run_record import write_record


def write(path: Path, labels: np.ndarray, convention: str = "brats2021", affine: np.ndarray = TINY_AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(CONVENTIONS[convention].to_disk(labels), affine), path)
    return path


def shifted(voxels: int = 1) -> np.ndarray:
    return np.roll(tiny_labels(), voxels, axis=0)


@pytest.fixture
def references(tmp_path: Path) -> Path:
    """A BraTS tree of four cases, of which the last has no tumour."""
    for case_id in ("a", "b", "c", "d"):
        labels = np.zeros(TINY_SHAPE, np.uint8) if case_id == "d" else tiny_labels()
        write_brats_case(tmp_path / "references", make_tiny_case(case_id), labels)
    return tmp_path / "references"


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """`a` perfect, `b` shifted, `c` missing, `d` rightly empty, `z` without reference."""
    folder = tmp_path / "predictions"
    write(folder / "a_seg.nii.gz", tiny_labels())
    write(folder / "b_seg.nii.gz", shifted())
    write(folder / "d.nii.gz", np.zeros(TINY_SHAPE, np.uint8))
    write(folder / "z_seg.nii", tiny_labels())
    write(folder / "a_probabilities.nii.gz", tiny_labels())
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines(), delimiter="\t"))


def test_every_reference_case_is_a_row_and_a_prediction_without_reference_is_listed(predictions, references):
    evaluation = evaluate(predictions, references)
    assert {row.case_id: row.status for row in evaluation.rows} == {
        "a": Status.SCORED,
        "b": Status.SCORED,
        "c": Status.MISSING,
        "d": Status.SCORED,
        "z": Status.NO_REFERENCE,
    }
    dice = evaluation.column(Region.WT, "dice")
    assert dice["a"] == dice["d"] == 1
    assert 0.7 < dice["b"] < 1
    assert dice["c"] == 0
    assert "z" not in dice
    assert evaluation.column(Region.WT, "hd95_mm") == pytest.approx({"a": 0, "b": 1, "c": 373.12866, "d": 0})
    assert evaluation.summary[Region.WT]["dice"].n == 4
    assert [row.case_id for row in evaluation.without_scores] == ["c"]


def test_a_missing_prediction_of_a_case_without_tumour_scores_nothing(predictions, references):
    (predictions / "d.nii.gz").unlink()
    assert evaluate(predictions, references).column(Region.ET, "dice")["d"] == 0


def test_predictions_that_cannot_be_used_are_rows_with_their_reason(predictions, references):
    (predictions / "a_seg.nii.gz").write_bytes(b"not a label map at all")
    write(predictions / "b_seg.nii.gz", tiny_labels()[:-1])
    moved = TINY_AFFINE.copy()
    moved[0, 3] += 5
    write(predictions / "c_seg.nii.gz", tiny_labels(), affine=moved)
    write(predictions / "d.nii.gz", tiny_labels(), "brats2023")
    by_case = {row.case_id: row for row in evaluate(predictions, references).rows}
    assert {by_case[case_id].status for case_id in "abcd"} == {Status.FAILED}
    assert "NIfTI" in by_case["a"].reason
    assert "another grid" in by_case["b"].reason
    assert "another grid" in by_case["c"].reason
    assert "brats2021" in by_case["d"].reason
    assert all(by_case[case_id].scores[Region.WT].dice == 0 for case_id in "abcd")


def test_a_reference_that_cannot_be_read_is_a_row_without_scores(predictions, references):
    (references / "a" / "a_seg.nii.gz").write_bytes(b"")
    evaluation = evaluate(predictions, references)
    assert evaluation.rows[0].status is Status.REFERENCE_FAILED
    assert evaluation.summary[Region.WT]["dice"].n == 3
    assert "a (reference failed)" in " ".join(f"{row.case_id} ({row.status})" for row in evaluation.without_scores)


def test_conventions_are_obeyed_on_each_side(tmp_path):
    """The same tumour in three conventions; read in a wrong one, Decathlon's oedema would be core."""
    for convention in CONVENTIONS:
        write(tmp_path / convention / "a.nii.gz", tiny_labels(), convention)
    for predicted in CONVENTIONS:
        for reference in CONVENTIONS:
            result = evaluate(tmp_path / predicted, tmp_path / reference, labels=predicted, reference_labels=reference)
            assert all(result.column(region, "dice") == {"a": 1} for region in Region)
    wrong = evaluate(tmp_path / "decathlon", tmp_path / "brats2023", labels="brats2023", reference_labels="brats2023")
    assert wrong.column(Region.TC, "dice")["a"] < 0.9


def test_a_flat_folder_that_does_not_say_its_convention_is_refused(tmp_path):
    write(tmp_path / "flat" / "a.nii.gz", tiny_labels())
    with pytest.raises(UsageError, match="--reference-labels"):
        evaluate(tmp_path / "flat", tmp_path / "flat")


def test_names_of_a_layout_say_the_convention(tmp_path, references):
    assert find_label_maps(references)["a"].labels.name == "brats2021"
    write(tmp_path / "new" / "BraTS-GLI-00008-000" / "BraTS-GLI-00008-000-seg.nii.gz", tiny_labels(), "brats2023")
    write(tmp_path / "new" / "BraTS-GLI-00008-000" / "BraTS-GLI-00008-000-t2f.nii.gz", tiny_labels())
    write(tmp_path / "bare" / "BraTS-GLI-00009-000-seg.nii.gz", tiny_labels(), "brats2023")
    write(tmp_path / "old" / "HGG" / "Brats18_CBICA_AAM_1_seg.nii.gz", tiny_labels())
    write(tmp_path / "Task01" / "labelsTr" / "BRATS_001.nii.gz", tiny_labels(), "decathlon")
    found = {
        case_id: file.labels.name
        for place in ("new", "bare", "old", "Task01")
        for case_id, file in find_label_maps(tmp_path / place).items()
    }
    assert found == {
        "BraTS-GLI-00008-000": "brats2023",
        "BraTS-GLI-00009-000": "brats2023",
        "Brats18_CBICA_AAM_1": "brats2021",
        "BRATS_001": "decathlon",
    }
    assert list(find_label_maps(tmp_path / "Task01" / "labelsTr")) == ["BRATS_001"]


@pytest.mark.parametrize(
    "name", ["x_seg.nii.gz", "x-seg.nii", "x.nii.gz", "x/seg.nii.gz", "deep/er/x_segmentation.nii.gz"]
)
def test_label_maps_are_named_by_their_case(tmp_path, name):
    write(tmp_path / "place" / name, tiny_labels())
    assert list(find_label_maps(tmp_path / "place")) == ["x"]


def test_two_label_maps_of_one_case_are_refused(tmp_path):
    first, second = (
        write(tmp_path / "p" / "x.nii.gz", tiny_labels()),
        write(tmp_path / "p" / "x_seg.nii.gz", tiny_labels()),
    )
    with pytest.raises(CaseError) as refusal:
        find_label_maps(tmp_path / "p")
    assert str(first) in str(refusal.value)
    assert str(second) in str(refusal.value)


def test_two_files_are_paired_whatever_they_are_called(tmp_path):
    mine, theirs = (
        write(tmp_path / "mine.nii.gz", shifted()),
        write(tmp_path / "BraTS2021_00001_seg.nii.gz", tiny_labels()),
    )
    evaluation = evaluate(mine, theirs)
    assert [(row.case_id, row.status) for row in evaluation.rows] == [("BraTS2021_00001", Status.SCORED)]


def test_nothing_to_pair_is_an_error(tmp_path, references):
    write(tmp_path / "other" / "q_seg.nii.gz", tiny_labels())
    with pytest.raises(CaseError, match="predictions are q, references a, b, c"):
        evaluate(tmp_path / "other", references)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match="predictions are none"):
        evaluate(tmp_path / "empty", references)
    with pytest.raises(CaseError, match="no reference label map"):
        evaluate(references, tmp_path / "empty")
    with pytest.raises(UsageError, match="does not exist"):
        evaluate(tmp_path / "nowhere", references)


@pytest.mark.parametrize("expert", ["a_label.nii.gz", "expert_seg.nii.gz", "a_segmentation.nii.gz"])
def test_a_case_folder_that_also_holds_results_is_scored_by_the_experts_map(tmp_path, expert):
    """Both label maps were seen, and which one was the reference was nobody's guess."""
    cases = tmp_path / "cases"
    folder = write_brats_case(cases, make_tiny_case("a"))
    write(folder / expert, tiny_labels())
    result = write(folder / "a_seg.nii.gz", shifted())
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    (folder / "a_run.json").write_text(json.dumps({"outputs": {"a_seg.nii.gz": digest}}))
    assert find_label_maps(cases)["a"].path == result
    assert find_label_maps(cases, references=True)["a"].path == folder / expert
    (row,) = evaluate(cases, cases).rows
    assert row.status is Status.SCORED
    assert 0 < row.scores[Region.WT].dice < 1
    (folder / expert).unlink()
    with pytest.raises(CaseError, match=r"no reference label map found.*a_seg\.nii\.gz is a result, no reference"):
        evaluate(cases, cases)


def test_what_another_tool_predicted_beside_scans_is_no_reference(tmp_path):
    folder = write_brats_case(tmp_path / "cases", make_tiny_case("a"))
    expert, other = write(folder / "a_seg.nii.gz", tiny_labels()), write(folder / "a_pred.nii.gz", shifted())
    assert find_label_maps(tmp_path / "cases", references=True)["a"].path == expert
    assert find_label_maps(tmp_path / "cases")["a"].path == other


def test_two_references_of_a_case_are_refused_by_name(tmp_path):
    folder = write_brats_case(tmp_path / "cases", make_tiny_case("a"))
    for name in ("a_seg.nii.gz", "a_label.nii.gz"):
        write(folder / name, tiny_labels())
    with pytest.raises(CaseError, match=r"two label maps, .*a_label\.nii\.gz and .*a_seg\.nii\.gz"):
        evaluate(tmp_path / "cases", tmp_path / "cases")


def test_tables_and_json_hold_the_same_scores(tmp_path, predictions, references):
    evaluation = evaluate(predictions, references, policy="brats2018")
    write_evaluation(evaluation, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    table, content = rows(tmp_path / "out" / "scores.tsv"), json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [row["case"] for row in table] == ["a", "b", "c", "d", "z"]
    assert {row["policy"] for row in table} == {"brats2018"}
    assert not any("lesion" in column for column in table[0])
    by_case = {case["case"]: case for case in content["cases"]}
    for row in table[:4]:
        for region in Region:
            for metric, value in by_case[row["case"]]["scores"][region].items():
                cell = row[f"{region}_{metric}"]
                assert cell == "" if value is None else float(cell) == pytest.approx(value, rel=1e-5, abs=1e-9)
    assert by_case["d"]["scores"]["ET"]["hd95_mm"] is None
    assert table[2]["status"] == "missing"
    assert "c_seg.nii.gz" in table[2]["reason"]
    assert all(table[4][f"{region}_dice"] == "" for region in Region)
    assert content["policy"]["surface"] == "border voxels"
    summary = {(row["region"], row["metric"]): row for row in rows(tmp_path / "out" / "summary.tsv")}
    assert summary["WT", "dice"]["n"] == "4"
    assert summary["WT", "hd95_mm"]["n"] == "2"
    assert float(summary["WT", "dice"]["mean"]) == pytest.approx(
        np.mean(list(evaluation.column(Region.WT, "dice").values())), rel=1e-5
    )
    record = json.loads((tmp_path / "out" / "evaluate_run.json").read_text())
    assert record["quality_flags"] == ["c: missing", "z: no reference"]
    assert len(record["inputs"]) == 8


def test_lesions_have_columns_under_the_policy_that_scores_them(tmp_path, predictions, references):
    write_evaluation(evaluate(predictions, references, policy="brats2023"), tmp_path / "out")
    table = rows(tmp_path / "out" / "scores.tsv")
    assert table[0]["WT_lesion_dice"] == "1"
    assert table[2]["WT_lesions_missed"] == "1"
    assert "lesion HD95" in describe(evaluate(predictions, references, policy="brats2023"))


def test_results_are_not_overwritten_unasked(tmp_path, predictions, references):
    evaluation = evaluate(predictions, references)
    write_evaluation(evaluation, tmp_path / "out")
    before = (tmp_path / "out" / "scores.tsv").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        write_evaluation(evaluate(predictions, references, policy="brats2018"), tmp_path / "out")
    assert (tmp_path / "out" / "scores.tsv").read_bytes() == before
    write_evaluation(evaluation, tmp_path / "out", overwrite=True)


def test_the_command_writes_everything_and_then_exits_3_for_a_missing_case(tmp_path, predictions, references, capsys):
    out = tmp_path / "out"
    assert (
        run(
            [
                "evaluate",
                str(predictions),
                str(references),
                "-o",
                str(out),
                "--panel-scans",
                str(references),
                "--panel-count",
                "2",
            ]
        )
        == 3
    )
    said = capsys.readouterr()
    assert "1 of 4 reference cases could not be scored: c (missing)" in said.err
    assert "Policy brats2020" in said.out
    assert {path.name for path in out.iterdir()} == {*FILES, "panel.png"}
    write(predictions / "c_seg.nii.gz", tiny_labels())
    assert run(["evaluate", str(predictions), str(references), "-o", str(out)]) == 2
    assert run(["evaluate", str(predictions), str(references), "-o", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize("option", [["--policy", "brats1999"], ["--labels", "other"], ["--panel-case", "a"]])
def test_the_command_refuses_options_that_make_no_sense(tmp_path, predictions, references, option):
    assert run(["evaluate", str(predictions), str(references), "-o", str(tmp_path / "out"), *option]) == 2
    assert not (tmp_path / "out").exists()


def test_the_panel_shows_the_range_of_the_cohort(tmp_path, references):
    for case_id, voxels in (("a", 0), ("b", 3), ("c", 1), ("d", 2)):
        write(
            tmp_path / "p" / f"{case_id}_seg.nii.gz",
            np.zeros(TINY_SHAPE, np.uint8) if case_id == "d" else shifted(voxels),
        )
    evaluation = evaluate(tmp_path / "p", references)
    assert [row.case_id for row in spread(evaluation, 3, "abcd")] == ["b", "a", "d"]
    assert [row.case_id for row in spread(evaluation, 99, "abcd")] == ["b", "c", "a", "d"]
    assert [row.case_id for row in spread(evaluation, 99, "ad")] == ["a", "d"]
    with pytest.raises(UsageError, match="No case of the panel was scored"):
        spread(evaluation, 3, "q")
    write_panel(evaluation, panel_source(tmp_path / "p", references, references, cases=["c"]), tmp_path / "panel.png")
    assert (tmp_path / "panel.png").stat().st_size > 1000


def test_the_panel_shows_results_as_segment_writes_them_and_the_papers_steps_where_there_are_none(
    tmp_path, predictions, references
):
    """By default `segment` post-processes; then the panel shows what it wrote, and says nothing of steps that it did
    not take.
    """
    assert panel_source(predictions, references, references).columns == PAPER_COLUMNS
    fields = {"case": "a", "inputs": {}, "model": {"name": "m", "sha256": "s"}, "options": {"postprocess": "3d"}}
    write_record(predictions / "a_run.json", "segment", fields)
    source = panel_source(predictions, references, references, cases=["a"])
    assert source.columns == {RESULT: None}
    evaluation = evaluate(predictions, references)
    write_panel(evaluation, source, tmp_path / "panel.png")
    write(tmp_path / "raw" / "a_seg.nii.gz", tiny_labels())
    raw = panel_source(predictions, references, references, cases=["a"], shown=tmp_path / "raw")
    assert raw.columns == PAPER_COLUMNS
    write_panel(evaluation, raw, tmp_path / "raw.png")
    with Image.open(tmp_path / "panel.png") as result, Image.open(tmp_path / "raw.png") as steps:
        assert (result.width / 3, steps.width / 5) == pytest.approx((315, 315), abs=2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--panel-case", "q"], "--panel-case q: no case with a label map and a reference has this id"),
        (["--panel-case", "c"], "--panel-case c"),
        (["--panel-case", "z"], "--panel-case z"),
        (["--panel-case", "b", "--panel-predictions", "raw"], "cannot show case b: {raw} has no label map of it"),
    ],
)
def test_a_panel_that_cannot_be_drawn_is_refused_before_anything_is_scored(
    tmp_path, predictions, references, capsys, monkeypatch, more, message
):
    monkeypatch.setattr("gliomask.evaluate.scoring.evaluate", lambda *_, **__: pytest.fail("scored"))
    write(tmp_path / "raw" / "a_seg.nii.gz", tiny_labels())
    more = [str(tmp_path / word) if word == "raw" else word for word in more]
    assert run(
        [
            "evaluate",
            str(predictions),
            str(references),
            "-o",
            str(tmp_path / "out"),
            "--panel-scans",
            str(references),
            *more,
        ]
    ) in (2, 3)
    assert message.format(raw=tmp_path / "raw") in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_panel_needs_scans_of_the_cases_on_their_grid(tmp_path, predictions, references):
    others = write_brats_case(tmp_path / "others", make_tiny_case("other")).parent
    with pytest.raises(CaseError, match="cannot show case a: .*others has no scans of it"):
        panel_source(predictions, references, others)
    write(tmp_path / "raw" / "a_seg.nii.gz", tiny_labels()[:-1])
    with pytest.raises(CaseError, match=r"case a: its label map has \(\d+, \d+, \d+\) voxels, its scan a_flair.nii.gz"):
        panel_source(predictions, references, references, cases=["a"], shown=tmp_path / "raw")


def test_a_record_without_post_processing_is_none(tmp_path, predictions, references):
    write_record(
        predictions / "a_run.json",
        "segment",
        {"case": "a", "inputs": {}, "model": {"name": "m", "sha256": "s"}, "options": {}},
    )
    with pytest.raises(FileFormatError, match="names no post-processing"):
        panel_source(predictions, references, references)


@pytest.mark.data
def test_a_real_reference_against_itself_is_perfect(shared_data):
    case = shared_data / "brats" / "BraTS2021_00000"
    evaluation = evaluate(case, case, policy="brats2023")
    assert [row.case_id for row in evaluation.rows] == [case.name]
    for region in Region:
        assert set(evaluation.column(region, "dice").values()) == {1.0}
        assert set(evaluation.column(region, "hd95_mm").values()) == {0.0}
        assert not any(math.isnan(value) for value in evaluation.column(region, "lesion_dice").values())


def test_a_prediction_with_its_axes_in_another_order_scores_what_it_scores(predictions, references, tmp_path):
    """A label map that another program has brought to RAS is the same label map."""
    before = evaluate(predictions, references)
    image = nib.load(predictions / "b_seg.nii.gz")
    nib.save(
        nib.as_closest_canonical(nib.Nifti1Image(np.asarray(image.dataobj), image.affine)), predictions / "b_seg.nii.gz"
    )
    after = evaluate(predictions, references)
    for metric in ("dice", "hd95_mm"):
        assert after.column(Region.TC, metric) == before.column(Region.TC, metric)
    assert {row.case_id: bool(row.note) for row in after.rows if row.note} == {"b": True}
    write_evaluation(after, tmp_path / "out")
    assert any(
        "another order" in flag
        for flag in json.loads((tmp_path / "out" / "evaluate_run.json").read_text())["quality_flags"]
    )
