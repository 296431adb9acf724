"""The script that chooses the numbers of chain `3d`: it finds what helps, tells no fold its own answer, and its short
cut equals the real thing.
"""

import csv
import importlib.util
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomask.postprocess import Cleaning, clean

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "choose_postprocess.py"
SPACING_MM = (2.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def script():
    if not SCRIPT.parent.is_dir():
        pytest.skip("the benchmarks are not part of this distribution")
    spec = importlib.util.spec_from_file_location("choose_postprocess", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["choose_postprocess"] = module
    spec.loader.exec_module(module)
    return module


def lesion(island: int, speck: bool) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its reference: a cube of tumour, a false island of so many voxels, and, if asked for, a false
    speck of enhancement.
    """
    reference = np.zeros((20, 20, 20), np.uint8)
    reference[2:12, 2:12, 2:12] = 2
    reference[4:9, 4:9, 4:9] = 1
    if not speck:
        reference[5:9, 5:9, 5:9] = 3
    prediction = reference.copy()
    prediction[15, 15, : min(island, 20)] = 2
    if speck:
        prediction[6, 6, 6:8] = 3
    return prediction, reference


def examples(script, islands):
    """Two cases a fold, one of them with a speck of enhancement that is not there; the island's size depends on the
    fold.
    """
    cases = []
    for fold, island in enumerate(islands):
        for speck in (False, True):
            cases.append(script.Example(f"case{fold}{speck}", fold, *lesion(island, speck), SPACING_MM))
    return cases


def test_finds_what_helps_in_its_mildest_form(script):
    rows = list(script.nested_rows(examples(script, (15, 15, 15))))
    # The island is 1.5 % of the lesion, the speck 0.024 ml and 0.2 % of it.
    assert rows[-1].cleaning == Cleaning(min_share=0.02, min_enhancing_ml=0.05)
    assert [row.scored_on for row in rows] == ["all", "fold 0", "fold 1", "fold 2", "all"]
    assert all(score == pytest.approx((1, 1, 1)) for score in rows[0].scores)


def test_changes_nothing_where_nothing_helps(script):
    perfect = [script.Example(str(n), n, lesion(0, False)[1], lesion(0, False)[1], SPACING_MM) for n in range(3)]
    assert list(script.nested_rows(perfect))[-1].cleaning == Cleaning(min_share=0)


def test_no_fold_takes_part_in_its_own_choice(script):
    """Only fold 0 has islands; chosen on the others, its setting is the mildest, and its islands stay."""
    cases = [e for e in examples(script, (15, 0, 0)) if "True" not in e.case_id]
    rows = list(script.nested_rows(cases))
    assert rows[1].cleaning.min_share == 0
    assert rows[1].scores[0][0] < 0.995
    assert rows[2].cleaning.min_share == 0.02


def test_the_short_cut_scores_as_the_real_chain_does(script, rng):
    label_map = np.where(rng.random((14, 14, 14)) < 0.4, rng.integers(1, 4, (14, 14, 14)), 0).astype(np.uint8)
    example = script.Example("random", 0, label_map, np.roll(label_map, 1, axis=0), SPACING_MM)
    scores = script.candidate_scores(example)
    for n in range(0, len(script.CANDIDATES), 37):
        real = script.dice(example, clean(label_map, SPACING_MM, script.CANDIDATES[n]))
        assert scores[n] == pytest.approx(real), script.CANDIDATES[n]


@pytest.fixture
def folders(tmp_path):
    """Predictions, references as a BraTS tree with other axes, and a table of folds."""
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    (tmp_path / "predictions").mkdir()
    lines = ["case,fold"]
    for n in range(3):
        case = f"BraTS2021_0000{n}"
        prediction, reference = (np.array([0, 1, 2, 4], np.uint8)[part] for part in lesion(15, speck=False))
        nib.save(nib.Nifti1Image(prediction, affine), tmp_path / "predictions" / f"{case}_seg.nii.gz")
        folder = tmp_path / "references" / case
        folder.mkdir(parents=True)
        for name in ("flair", "t1", "t1ce", "t2", "seg"):
            nib.save(nib.Nifti1Image(reference, affine), folder / f"{case}_{name}.nii.gz")
        lines.append(f"{case},{n}")
    (tmp_path / "folds.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(script, folders, monkeypatch, *extra):
    words = [
        "choose",
        folders / "predictions",
        folders / "references",
        "--folds",
        folders / "folds.csv",
        "-o",
        folders / "table.tsv",
        *extra,
    ]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    script.main()


def test_writes_a_row_for_every_chain(script, folders, monkeypatch):
    run(script, folders, monkeypatch)
    rows = list(csv.DictReader((folders / "table.tsv").read_text().splitlines(), delimiter="\t"))
    assert [row["chain"] for row in rows] == ["none", "1", "1+2", "legacy", "3d", "3d", "3d", "3d", "3d"]
    assert {row["cases"] for row in rows} == {"3", "1"}
    by_chain = {row["chain"]: row for row in rows[:5]}
    assert by_chain["none"]["mean_WT"] == "0.993"
    assert by_chain["1"]["mean_WT"] == by_chain["3d"]["mean_WT"] == "1.000"
    assert by_chain["3d"]["min_share"] == ""
    assert rows[-1]["min_share"] == "0.02"


def test_a_missing_prediction_ends_the_run_unless_told_otherwise(script, folders, monkeypatch):
    next((folders / "predictions").iterdir()).unlink()
    with pytest.raises(SystemExit, match="1 of 3 cases have no prediction"):
        run(script, folders, monkeypatch)
    assert not (folders / "table.tsv").exists()
    run(script, folders, monkeypatch, "--partial")
    assert (folders / "table.tsv").read_text().splitlines()[1].split("\t")[3] == "2"


def test_one_fold_is_not_enough(script, folders, monkeypatch):
    (folders / "folds.csv").write_text("case,fold\nBraTS2021_00000,1\n")
    with pytest.raises(SystemExit, match="two folds"):
        run(script, folders, monkeypatch)


def test_another_grid_is_refused(script, folders, monkeypatch):
    path = folders / "predictions" / "BraTS2021_00001_seg.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 20), np.uint8), np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    with pytest.raises(SystemExit, match="BraTS2021_00001.*different grids"):
        run(script, folders, monkeypatch)
