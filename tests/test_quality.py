"""What a network says of itself: entropies, expected Dice, and its mapping to what cases had."""

import csv
import json
import re

import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import gliomask
from gliomask.cli.main import run
from gliomask.errors import ModelError
from gliomask.in_words import dice
from gliomask.io.nifti import read_volume
from gliomask.judgement import self_doubt
from gliomask.labels import Region
from gliomask.models.calibration import Quality, parse_quality
from gliomask.quality import PLANES, SMOOTHING_VOXELS, Calibration, disagreement, entropy, expected_dice


def one_hot(label_map):
    return np.eye(4, dtype=np.float32)[label_map]


def test_entropy_is_nothing_where_certain_and_one_where_all_labels_are_as_likely():
    probabilities = np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]], np.float32)
    np.testing.assert_allclose(entropy(probabilities), [0, 1, 0.5], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sharpness=st.floats(0, 50))
def test_entropy_lies_between_and_falls_as_the_network_gets_surer(seed, sharpness):
    powers = np.exp(sharpness * np.random.default_rng(seed).random((20, 4)))
    softer = np.sqrt(powers)
    found, soft = (entropy((p / p.sum(axis=-1, keepdims=True)).astype(np.float32)) for p in (powers, softer))
    assert ((found >= 0) & (found <= 1)).all()
    assert (found <= soft + 1e-5).all()


def test_entropy_is_the_same_however_many_planes_there_are(rng):
    powers = rng.random((PLANES + 3, 4, 5, 4)).astype(np.float32)
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_array_equal(entropy(probabilities)[PLANES:], entropy(probabilities[PLANES:]))


def test_disagreement_tells_passes_that_differ_from_passes_that_all_hesitate():
    certain, hesitant = np.eye(4, dtype=np.float32), np.full((4, 4), 0.25, np.float32)
    for passes, expected in ((certain, 1), (hesitant, 0), (certain[[0, 0, 0, 0]], 0), (certain[[0, 0, 1, 1]], 0.5)):
        mean, mean_entropy = passes.mean(axis=0, keepdims=True), entropy(passes).mean(keepdims=True)
        np.testing.assert_allclose(disagreement(mean, mean_entropy), [expected], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sharpness=st.floats(0, 80))
def test_disagreement_lies_between_nothing_and_the_entropy(seed, sharpness):
    powers = np.exp(sharpness * np.random.default_rng(seed).random((4, 30, 4)))
    passes = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    mean = passes.mean(axis=0)
    found = disagreement(mean, np.mean([entropy(one) for one in passes], axis=0))
    assert (found >= 0).all()
    assert (found <= entropy(mean) + 1e-6).all()


def test_a_certain_network_expects_one(rng):
    label_map = rng.integers(0, 4, (6, 7, 8)).astype(np.uint8)
    assert expected_dice(one_hot(label_map), label_map) == dict.fromkeys(Region, 1.0)


def test_doubt_about_a_region_lowers_what_is_expected_of_it_alone():
    label_map = np.zeros((20, 20, 20), np.uint8)
    label_map[5:15, 5:15, 5:15] = 2
    label_map[8:12, 8:12, 8:12] = 3
    probabilities = one_hot(label_map)
    probabilities[label_map == 3] = (0, 0.4, 0, 0.6)
    found = expected_dice(probabilities, label_map)
    assert [found[Region.WT], found[Region.TC]] == pytest.approx([1, 1])
    # By hand: 64 voxels at 0.6, of 64 + 38.4.
    assert found[Region.ET] == pytest.approx((2 * 38.4 + SMOOTHING_VOXELS) / (64 + 38.4 + SMOOTHING_VOXELS), rel=1e-5)


def test_a_region_that_was_removed_though_suspected_is_in_doubt():
    label_map = np.zeros((20, 20, 20), np.uint8)
    probabilities = one_hot(label_map)
    assert expected_dice(probabilities, label_map)[Region.ET] == 1
    probabilities[:10] = (0.6, 0, 0, 0.4)
    assert expected_dice(probabilities, label_map)[Region.ET] < 0.1


def test_the_expectation_is_right_for_a_network_that_is_right(rng):
    # Truth drawn from the probabilities themselves: the mean Dice of many draws is what was expected.
    inside = rng.random((24, 24, 24)) * (np.arange(24) < 12)
    probabilities = np.stack([1 - inside, np.zeros_like(inside), inside, np.zeros_like(inside)], axis=-1).astype(
        np.float32
    )
    label_map = np.where(inside > 0.5, 2, 0).astype(np.uint8)
    drawn = [rng.random(inside.shape) < inside for _ in range(50)]
    dice = np.mean([2 * (truth & (label_map > 0)).sum() / (truth.sum() + (label_map > 0).sum()) for truth in drawn])
    assert expected_dice(probabilities, label_map)[Region.WT] == pytest.approx(dice, abs=0.01)


def test_a_calibration_is_a_line_with_its_spread_within_bounds():
    lines = {Region.WT: (-1.0, 2.0), Region.ET: (0.0, 1.0)}
    calibration = Calibration(lines, {Region.WT: (0.2, 0.1), Region.ET: (0.5, 0.5)}, 0.8)
    found = calibration.estimates({Region.WT: 0.95, Region.TC: 0.1, Region.ET: 0.3})
    assert set(found) == {Region.WT, Region.ET}
    assert (found[Region.WT].dice, found[Region.WT].low, found[Region.WT].high) == (0.9, 0.7, 1.0)
    assert (found[Region.ET].dice, found[Region.ET].low, found[Region.ET].high) == (0.3, 0.0, 0.8)
    assert calibration.estimates(dict.fromkeys(Region, 0.2))[Region.WT].dice == 0


LINE = {"intercept": 0.0, "slope": 0.5, "below": 0.1, "above": 0.2, "spearman": 0.7, "held": 0.8, "width": 0.25}
QUALITY = {
    "regions": dict.fromkeys(("WT", "TC", "ET"), LINE),
    "coverage": 0.8,
    "cases": 5,
    "flagged": 2,
    "worst": 3,
    "worst_flagged": 1,
    "protocol": "Made up.",
    "command": "python calibrate.py",
}


def test_a_doubtful_result_is_flagged_and_the_doubts_are_written(fake_model, tmp_path, capsys):
    fake_model.change(quality=Quality.model_validate(QUALITY))
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--uncertainty", "--flips"]) == 0
    said = capsys.readouterr()
    assert "The network doubts its own answer" in said.err
    assert re.search(r"Whole tumour \(WT\) +\d\.\d\d +0\.\d\d  0\.\d\d to 0\.\d\d\n", said.out)
    record = json.loads((tmp_path / "out" / "tiny_run.json").read_text())
    assert record["options"]["flips"] is True
    assert "doubtful" in [flag["name"] for flag in record["quality_flags"]]
    volumes = json.loads((tmp_path / "out" / "tiny_volumes.json").read_text())
    assert volumes["predicted_dice"] == record["predicted_dice"]
    for region, expected in record["expected_dice"].items():
        assert record["predicted_dice"][region]["dice"] == pytest.approx(expected / 2, abs=1e-3)
    uncertainty = read_volume(tmp_path / "out" / "tiny_uncertainty.nii.gz").values
    assert 0 < uncertainty.max() <= 1
    assert uncertainty[0, 0, 0] == 0
    apart = read_volume(tmp_path / "out" / "tiny_disagreement.nii.gz").values
    assert apart.max() > 0
    assert (apart <= uncertainty + 1e-6).all()
    assert run(["segment", str(folder), "-o", str(tmp_path / "strict"), "--strict"]) == 6
    assert not (tmp_path / "strict").exists()


def test_without_mirror_images_nothing_is_said_of_disagreement(fake_model, tmp_path):
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--uncertainty", "--no-preview"]) == 0
    assert (tmp_path / "out" / "tiny_uncertainty.nii.gz").is_file()
    assert not (tmp_path / "out" / "tiny_disagreement.nii.gz").exists()


def test_resume_wants_the_map_that_is_asked_for(fake_model, tmp_path, capsys):
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    words = ["segment", str(folder), "-o", str(tmp_path / "out"), "--no-preview", "--flips", "--uncertainty"]
    assert run(words) == 0
    assert run([*words, "--resume"]) == 0
    capsys.readouterr()
    (tmp_path / "out" / "tiny_disagreement.nii.gz").unlink()
    assert run([*words, "--resume"]) == 0
    assert "kept" not in capsys.readouterr().out
    assert (tmp_path / "out" / "tiny_disagreement.nii.gz").is_file()
    assert run([*words, "--resume"]) == 0
    assert "tiny: kept, finished by an earlier run" in capsys.readouterr().out


def test_without_a_calibration_nothing_is_claimed(fake_model, tiny_case):
    result = gliomask.segment(tiny_case)
    assert result.estimates == {}
    assert set(result.expected_dice) == set(Region)
    assert "doubtful" not in [flag.name for flag in result.flags]


def test_a_calibration_needs_every_region():
    with pytest.raises(ValidationError, match="a line is needed for each of"):
        Quality.model_validate(QUALITY | {"regions": {"WT": LINE}})


def test_a_file_that_is_no_calibration_is_refused_by_name():
    assert parse_quality(json.dumps(QUALITY).encode(), "quality.json") == Quality.model_validate(QUALITY)
    for content, words in (
        (b"{", "JSON"),
        (json.dumps(QUALITY | {"coverage": 1.5}).encode(), "coverage"),
        (b"{}", "regions: Field required"),
    ):
        with pytest.raises(ModelError, match=rf"quality\.json: not a calibration: .*{words}"):
            parse_quality(content, "quality.json")


def test_a_slope_that_falls_is_no_calibration():
    with pytest.raises(ValidationError, match="slope"):
        Quality.model_validate(QUALITY | {"regions": dict.fromkeys(("WT", "TC", "ET"), LINE | {"slope": -0.1})})


def test_a_cohort_tells_what_is_to_be_expected_of_each_case_and_so_does_its_resumption(fake_model, tmp_path):
    fake_model.change(quality=Quality.model_validate(QUALITY))
    for name in ("first", "second"):
        write_brats_case(tmp_path / "cases", make_tiny_case(name))
    words = ["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "out"), "--no-preview"]
    assert run(words) == 0
    table = tmp_path / "out" / "cohort.tsv"
    rows = list(csv.DictReader(table.read_text().splitlines(), delimiter="\t"))
    record = json.loads((tmp_path / "out" / "first_run.json").read_text())
    for region, estimate in record["predicted_dice"].items():
        column = f"expected_dice_{region.lower()}"
        assert [float(rows[0][column + ending]) for ending in ("", "_low", "_high")] == [
            estimate[name] for name in ("dice", "low", "high")
        ]
    assert run([*words, "--resume"]) == 0
    again = list(csv.DictReader(table.read_text().splitlines(), delimiter="\t"))
    assert [row["expected_dice_wt_low"] for row in again] == [row["expected_dice_wt_low"] for row in rows]


def test_the_report_shows_what_is_to_be_expected_with_its_interval(fake_model, tmp_path):
    fake_model.change(quality=Quality.model_validate(QUALITY))
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--no-preview", "--report", "html,json"]) == 0
    estimate = json.loads((tmp_path / "out" / "tiny_run.json").read_text())["predicted_dice"]["TC"]
    page = (tmp_path / "out" / "tiny_report.html").read_text()
    assert "Expected Dice (80 % interval)" in page
    assert f"{dice(estimate['dice'])} ({dice(estimate['low'])} to {dice(estimate['high'])})" in page
    assert "The network doubts its own answer" in page


@pytest.mark.parametrize(("expected", "flagged"), [(0.79, True), (0.81, False)])
def test_without_a_calibration_the_networks_own_doubt_is_told(expected, flagged):
    flags = self_doubt({Region.WT: expected, Region.TC: 0.1, Region.ET: 0.1})
    assert [flag.name for flag in flags] == ["doubtful"] * flagged
    assert all(f"a Dice of {expected:.2f} of its own whole tumour" in flag.message for flag in flags)
