"""The script that asks whether a tumour enhances, and the small files of probabilities that it and others read."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomask.labels import Region
from gliomask.quality import expected_dice

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str):
    if not BENCHMARKS.is_dir():
        pytest.skip("the benchmarks are not part of this distribution")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def script():
    return load("phantom_et")


@pytest.fixture(scope="module")
def kept():
    return load("region_probabilities")


def probabilities(rng, shape=(12, 10, 8)) -> np.ndarray:
    """Doubtful inside a box, background for certain outside."""
    result = np.zeros((*shape, 4), np.float32)
    result[..., 0] = 1
    inside = rng.random((5, 6, 4, 4)).astype(np.float32) ** 3
    result[3:8, 2:8, 2:6] = inside / inside.sum(axis=-1, keepdims=True)
    return result


def test_kept_probabilities_are_those_that_were_given_to_a_step(kept, rng, tmp_path):
    given = probabilities(rng)
    label_map = np.argmax(given, axis=-1).astype(np.uint8)
    kept.RegionProbabilities.of(given).write(tmp_path / "sub" / "case.npz")
    found = kept.RegionProbabilities.read(tmp_path / "sub" / "case.npz")
    assert found.box == (slice(3, 8), slice(2, 8), slice(2, 6))
    np.testing.assert_allclose(found.volume(Region.ET), given[..., 3], atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(found.volume(Region.TC), given[..., 1] + given[..., 3], atol=0.5 / 255 + 1e-6)
    real = expected_dice(given, label_map)
    assert found.expected_dice(label_map) == pytest.approx(real, abs=0.002)


def test_certain_air_keeps_an_empty_box(kept, tmp_path):
    air = np.zeros((3, 4, 5, 4), np.float32)
    air[..., 0] = 1
    kept.RegionProbabilities.of(air).write(tmp_path / "air.npz")
    found = kept.RegionProbabilities.read(tmp_path / "air.npz")
    assert not found.volume(Region.WT).any()
    assert found.expected_dice(np.zeros((3, 4, 5), np.uint8)) == dict.fromkeys(Region, 1.0)


def example(script, case: str, fold: int, reference: float, prediction: float, certainty: float, dice: float = 0.8):
    score = 0.0 if reference == 0 and prediction else dice
    measures = (
        {"volume_ml": prediction, "certainty": certainty}
        if prediction
        else {"volume_ml": math.inf, "certainty": math.inf}
    )
    return script.Example(case, fold, reference, prediction, score, measures)


def cohort(script, phantom_folds):
    cases = [example(script, f"true{n}", n % 3, 10.0, 9.0, 0.9) for n in range(6)]
    return cases + [example(script, f"phantom{fold}", fold, 0.0, 11.0, 0.6) for fold in phantom_folds]


def test_a_rule_that_tells_phantoms_is_found_and_one_that_does_not_is_none(script):
    lines = {(line["measure"], line["chosen_on"][:3]): line for line in script.table(cohort(script, (0, 1, 2)))}
    assert lines["none", ""]["phantoms"] == "3"
    certain = lines["certainty", "the"]
    assert (certain["phantoms"], certain["lost"], certain["mean_ET"]) == ("0", "0", "0.867")
    assert certain["thresholds"] == "certainty 0.65, certainty 0.65, certainty 0.65"
    # The phantoms are larger than true enhancement: a rule about volume would lose more than it gains.
    assert lines["volume_ml", "the"]["thresholds"] == "none, none, none"
    assert lines["volume_ml", "the"]["change_of_mean"] == "+0.000"
    assert lines["the best of these", "the"]["phantoms"] == "0"


def test_no_fold_takes_part_in_its_own_choice(script):
    """Only fold 0 has a phantom; the other folds know of none, so it stays."""
    lines = {(line["measure"], line["chosen_on"][:3]): line for line in script.table(cohort(script, (0,)))}
    assert lines["certainty", "the"]["phantoms"] == "1"
    assert lines["certainty", "all"]["phantoms"] == "0"


def test_what_a_rule_takes_from_true_enhancement_is_counted(script):
    before = [example(script, "a", 0, 2.5, 2.0, 0.5)]
    after = [before[0].under("certainty", 0.7)]
    line = script.row("certainty", "", "", before, after)
    assert (line["lost"], line["lost_ml"], line["mean_ET"], line["change_of_mean"]) == ("1", "2.500", "0.000", "-0.800")
    nothing = example(script, "b", 0, 0.0, 0.0, 0.0, dice=1.0)
    assert nothing.under("certainty", 0.9) is nothing


def test_label_maps_and_probabilities_are_read(script, kept, tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    (tmp_path / "predictions").mkdir()
    folds = ["case,fold"]
    for n in range(2):
        case = f"BraTS2021_0000{n}"
        label_map = np.zeros((12, 10, 8), np.uint8)
        label_map[3:8, 2:8, 2:6] = 2
        label_map[4:6, 3:5, 3:5] = 4
        nib.save(nib.Nifti1Image(label_map, np.eye(4)), tmp_path / "predictions" / f"{case}_seg.nii.gz")
        folder = tmp_path / "references" / case
        folder.mkdir(parents=True)
        for name in ("flair", "t1", "t1ce", "t2", "seg"):
            content = np.where(label_map == 4, 0, label_map).astype(np.uint8) if n else label_map
            nib.save(nib.Nifti1Image(content, np.eye(4)), folder / f"{case}_{name}.nii.gz")
        kept.RegionProbabilities.of(probabilities(generator)).write(tmp_path / "probabilities" / f"{case}.npz")
        folds.append(f"{case},{n}")
    (tmp_path / "folds.csv").write_text("\n".join(folds) + "\n")
    words = [
        "phantom_et",
        tmp_path / "predictions",
        tmp_path / "references",
        "--folds",
        tmp_path / "folds.csv",
        "-o",
        tmp_path / "t.tsv",
    ]
    for extra, measures in (([], 3), (["--probabilities", tmp_path / "probabilities"], 6)):
        monkeypatch.setattr(sys, "argv", [str(word) for word in (*words, *extra)])
        script.main()
        lines = (tmp_path / "t.tsv").read_text().splitlines()
        assert len(lines) == 2 + 2 * (measures + 1)
        first = dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))
        assert (first["without_enhancement"], first["phantoms"], first["false_positive_ml"], first["mean_ET"]) == (
            "1",
            "1",
            "0.008",
            "0.500",
        )
    assert "BraTS2021_00001: reference 0.000 ml" in capsys.readouterr().out


def test_a_chain_leaves_a_record_of_what_is_then_to_be_expected(kept, tmp_path, rng):
    cross_validate = load("cross_validate")
    given = probabilities(rng)
    label_map = np.zeros((12, 10, 8), np.uint8)
    label_map[3:8, 2:8, 2:6] = 2
    label_map[10:, 9:, 7:] = 2
    (tmp_path / "predictions").mkdir()
    nib.save(nib.Nifti1Image(label_map, np.diag([-1.0, -1, 1, 1])), tmp_path / "predictions" / "a_seg.nii.gz")
    record = {"case": "a", "expected_dice": {"WT": 0.1, "TC": 0.1, "ET": 0.1}, "options": {"postprocess": "none"}}
    (tmp_path / "predictions" / "a_run.json").write_text(json.dumps(record))
    kept.RegionProbabilities.of(given).write(tmp_path / "probabilities" / "a.npz")
    cross_validate.apply_chain("3d", tmp_path)
    cleaned = np.asanyarray(nib.load(tmp_path / "3d" / "a_seg.nii.gz").dataobj)
    assert not cleaned[10:].any()
    written = json.loads((tmp_path / "3d" / "a_run.json").read_text())
    assert written["options"]["postprocess"] == "3d"
    expected = expected_dice(given, np.where(cleaned, 2, 0).astype(np.uint8))
    assert written["expected_dice"] == pytest.approx(
        {region.value: dice for region, dice in expected.items()}, abs=0.002
    )


def enhancing_lump() -> tuple[np.ndarray, np.ndarray]:
    label_map = np.zeros((8, 8, 8), np.uint8)
    label_map[2:6, 2:6, 2:6] = 2
    label_map[3:5, 3:5, 3:5] = 3
    probability = np.zeros((8, 8, 8), np.float32)
    probability[label_map == 3] = np.linspace(0.5, 0.9, 8)
    # What the network thinks elsewhere is no part of the question.
    probability[0, 0, 0] = 0.99
    return label_map, probability


def test_certainty_is_the_mean_over_what_is_labelled_so():
    post = load("phantom_et")
    label_map, probability = enhancing_lump()
    assert post.mean_certainty(label_map, probability) == pytest.approx(0.7)
    assert post.mean_certainty(np.zeros_like(label_map), probability) == np.inf
