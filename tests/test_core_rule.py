"""What is core where hardly anything enhances: the rule itself, when it is applied, what is said of it, and how its
numbers are chosen.
"""

from __future__ import annotations

import csv
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from fakes import tiny_spec
from hand_model import MIXING
from pydantic import ValidationError
from test_phantom_et import load

import gliomask
from gliomask.case import Case
from gliomask.cli.main import run
from gliomask.engines.fake import FakeEngine
from gliomask.io.brats import find_cases, read_label_map
from gliomask.io.nifti import write_volume
from gliomask.labels import Label, Region
from gliomask.models.calibration import CoreNumbers
from gliomask.models.card import card
from gliomask.postprocess import CoreRule
from gliomask.quality import Estimate
from gliomask.sequences import PAPER_ORDER, Sequence
from gliomask.study.work import LABELS

RULE = CoreRule(0.1, 0.2)
NUMBERS = CoreNumbers(enhancing_share=0.1, core_probability=0.02, command="core_rule x")
NOT_ENHANCING = (3, 0, 0, -20)
"""A bias that leaves nothing to enhancing tumour."""


def label_map_of(*counts: int) -> np.ndarray:
    """(N, 1, 1): so many voxels of each label."""
    return np.repeat(np.arange(4, dtype=np.uint8), counts)[:, None, None]


@pytest.mark.parametrize(
    ("counts", "applies"),
    [
        ((5, 0, 91, 9), True),
        ((5, 0, 90, 10), False),
        ((5, 50, 41, 9), True),
        ((5, 0, 1, 0), True),
        ((5, 0, 0, 0), False),
    ],
)
def test_it_applies_where_less_than_a_share_of_the_tumour_enhances(counts, applies):
    assert RULE.applies(label_map_of(*counts)) == applies


def test_oedema_with_enough_probability_becomes_core_and_nothing_else_changes():
    label_map = np.array([[[Label.BACKGROUND, Label.OEDEMA, Label.OEDEMA, Label.NECROTIC, Label.ENHANCING]]], np.uint8)
    core = np.array([[[0.9, 0.2, 0.21, 0.1, 0.1]]], np.float32)
    widened = RULE.widen(label_map, core)
    assert widened.tolist() == [[[Label.BACKGROUND, Label.OEDEMA, Label.NECROTIC, Label.NECROTIC, Label.ENHANCING]]]
    assert label_map[0, 0, 2] == Label.OEDEMA


@pytest.fixture
def ruled_model(fake_model):
    """The model made by hand, which finds no enhancement, with a rule."""
    fake_model.open = lambda engine, threads: FakeEngine(MIXING, NOT_ENHANCING, radius=1)
    fake_model.change(core_rule=NUMBERS)
    fake_model.change(may_miss=PAPER_ORDER)
    return fake_model


def promise(model, estimates):
    """Lets a model promise this Dice, whatever it expects of itself."""
    quality = SimpleNamespace(calibration=lambda: SimpleNamespace(estimates=lambda expected: estimates))
    model.spec = model.spec.model_copy(update={"quality": quality})


def test_a_tumour_that_hardly_enhances_gets_a_wider_core(ruled_model, tiny_case):
    plain, ruled = gliomask.segment(tiny_case, core_rule=False), gliomask.segment(tiny_case)
    assert plain.core_rule is None
    assert ruled.core_rule == NUMBERS.rule()
    np.testing.assert_array_equal(Region.WT.mask(ruled.label_map), Region.WT.mask(plain.label_map))
    expected = Region.WT.mask(plain.label_map) & (
        (ruled.probabilities[..., Label.NECROTIC] > 0.02) | Region.TC.mask(plain.label_map)
    )
    np.testing.assert_array_equal(Region.TC.mask(ruled.label_map), expected)
    assert Region.TC.mask(ruled.label_map).sum() > Region.TC.mask(plain.label_map).sum()
    assert ruled.expected_dice[Region.TC] != plain.expected_dice[Region.TC]


def test_a_calibration_with_the_rule_says_nothing_of_a_core_without(ruled_model, tiny_case):
    estimates = {Region.TC: Estimate(0.9, 0.8, 1.0)}
    promise(ruled_model, estimates)
    assert gliomask.segment(tiny_case).estimates == estimates
    assert gliomask.segment(tiny_case, core_rule=False).estimates == {}


def test_it_is_left_alone_where_the_tumour_enhances(fake_model, tiny_case):
    fake_model.change(core_rule=NUMBERS)
    promise(fake_model, {Region.TC: Estimate(0.9, 0.8, 1.0)})
    for asked in (True, False):
        result = gliomask.segment(tiny_case, core_rule=asked)
        assert Region.ET.mask(result.label_map).any()
        assert result.core_rule is None
        assert result.estimates


def test_it_is_for_the_models_and_patients_that_it_was_chosen_with(ruled_model, tiny_case):
    volumes = {sequence: volume for sequence, volume in tiny_case.volumes.items() if sequence != Sequence.T1}
    assert (
        gliomask.segment(Case("tiny", volumes, tiny_case.geometry, without=frozenset({Sequence.T1}))).core_rule is None
    )
    assert gliomask.segment(tiny_case, ensemble_member="other").core_rule is None


def test_the_screen_the_record_and_the_report_say_so(ruled_model, tmp_path, capsys):
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    words = ["segment", str(folder), "--report", "html", "--no-preview", "-o"]
    assert run([*words, str(tmp_path / "out")]) == 0
    sentence = (
        "Less than 10 % of the tumour enhances, so all of it to which the network gives core more than 2 % is "
        "called core."
    )
    assert sentence in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "tiny_run.json").read_text())["core_rule"] == {
        "enhancing_share": 0.1,
        "core_probability": 0.02,
    }
    assert sentence in (tmp_path / "out" / "tiny_report.html").read_text()
    assert run([*words, str(tmp_path / "off"), "--no-core-rule"]) == 0
    assert sentence not in capsys.readouterr().out
    assert sentence not in (tmp_path / "off" / "tiny_report.html").read_text()
    assert run([*words, str(tmp_path / "off"), "--resume"]) == 2
    assert "--core-rule" in "".join(capsys.readouterr())


def test_its_numbers_are_shares():
    for change in ({"enhancing_share": 0.0}, {"core_probability": 0.5}, {"command": ""}):
        with pytest.raises(ValidationError):
            CoreNumbers.model_validate(NUMBERS.model_dump() | change)
    text = card(tiny_spec("slices", core_rule=NUMBERS))
    assert (
        "Where less than 0.1 of the tumour enhances, its core is all of it to which the networks give core "
        "more than 0.02" in " ".join(text.split())
    )


@pytest.fixture(scope="module")
def script():
    return load("case_rules")


@pytest.fixture
def folders(script, tmp_path, monkeypatch):
    """Nine patients in three folds: in one of each fold nothing enhances, the core is all tumour, and the network gives
    it .06.
    """
    kept = load("region_probabilities")
    folds = ["case,fold"]
    for n in range(9):
        case = make_tiny_case(f"BraTS2021_0000{n}", np.diag([-1.0, -1, 1, 1]))
        reference, enhances = np.zeros(case.brain_mask.shape, np.uint8), n % 3 > 0
        reference[8:14, 8:14, 4:10] = Label.OEDEMA if enhances else Label.NECROTIC
        found = np.where(reference > 0, np.uint8(Label.OEDEMA), reference)
        if enhances:
            reference[9:12, 9:12, 5:8] = found[9:12, 9:12, 5:8] = Label.ENHANCING
        probabilities = np.zeros((*found.shape, 4), np.float32)
        probabilities[..., Label.BACKGROUND] = 1
        probabilities[found == Label.OEDEMA] = (0, 0.06, 0.94, 0)
        probabilities[found == Label.ENHANCING] = (0, 0, 0, 1)
        write_brats_case(tmp_path / "references", case, reference)
        kept.RegionProbabilities.of(probabilities).write(tmp_path / "probabilities" / f"{case.case_id}.npz")
        (tmp_path / "3d").mkdir(exist_ok=True)
        write_volume(tmp_path / "3d" / f"{case.case_id}_seg.nii.gz", LABELS.to_disk(found), case.geometry)
        (tmp_path / "3d" / f"{case.case_id}_run.json").write_text(
            json.dumps({"case": case.case_id, "expected_dice": {}})
        )
        folds.append(f"{case.case_id},{n // 3}")
    (tmp_path / "folds.csv").write_text("\n".join(folds) + "\n")
    words = [
        "case_rules",
        "core",
        "3d",
        "references",
        "--probabilities",
        "probabilities",
        "--folds",
        "folds.csv",
        "-o",
        "rule.tsv",
        "--write",
        "core",
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_rule_that_helps_is_found_and_the_label_maps_under_it_are_written(script, folders):
    script.main()
    nothing, nested, everywhere = csv.DictReader((folders / "rule.tsv").read_text().splitlines(), delimiter="\t")
    assert (nothing["mean_TC"], nothing["rules"]) == ("0.667", "none")
    for row in (nested, everywhere):
        assert (row["mean_TC"], row["rules"], row["better"], row["worse"]) == (
            "1.000",
            "below 0.01: core from 0.05",
            "3",
            "0",
        )
    for files in find_cases(folders / "references"):
        reference, _ = read_label_map(files.reference, files.labels)
        found, _ = read_label_map(folders / "core" / f"{files.case_id}_seg.nii.gz", LABELS)
        np.testing.assert_array_equal(found, reference)
        assert set(json.loads((folders / "core" / f"{files.case_id}_run.json").read_text())["expected_dice"]) == set(
            Region
        )


def test_no_fold_takes_part_in_its_own_choice(script):
    """Fold 0 alone has tumours that gain by a rule; the other folds would not choose it, so it goes without."""
    rules = script.KINDS["core"].rules
    helped = tuple(1.0 if rule is not None and rule.core_probability == 0.05 else 0.5 for rule in rules)
    cases = [script.Example(f"a{n}", n % 3, helped if n % 3 == 0 else (0.8,) * len(rules)) for n in range(6)]
    assert rules[script.choose(cases)].core_probability == 0.05
    assert rules[script.choose([case for case in cases if case.fold != 0])] is None
