"""A second network, asked where the first suspects tumour: what it changes, where it is not asked, and what the record
says of it.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from fakes import tiny_subsets
from hand_model import MIXING, model_by_hand
from test_cohort_here import segment_all

import gliomask
from gliomask.case import Case
from gliomask.cli.main import run
from gliomask.engines.fake import FakeEngine
from gliomask.errors import ModelError, UsageError
from gliomask.io.brats import find_cases
from gliomask.labels import Label, Region
from gliomask.models.registry import load_model
from gliomask.models.spec import Normalisation
from gliomask.predict.brain import NetworkShape, PatchPlan, predict_brain
from gliomask.predict.ensemble import SUSPICION, consult
from gliomask.preprocess.channels import prepare
from gliomask.quality import Estimate
from gliomask.results.layout import CaseLayout
from gliomask.results.row import KEPT
from gliomask.segmentation import Delivery, Options, Segmenter
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.source import FileSource
from gliomask.sequences import PAPER_ORDER, Sequence

SHAPE = NetworkShape("slices", 2, 2)
SHY = (5, 0, 0, 0)


def answer(bias):
    return FakeEngine(MIXING, bias, radius=1).predict


@pytest.fixture
def two_models(monkeypatch):
    """The model made by hand with another one, shyer and with another name and hash, as the second ensemble member."""
    first, second = model_by_hand(), model_by_hand()
    first.change(second_opinion="shy")
    second.change(name="shy")
    second.sha256 = "1" * 64
    second.open = lambda engine, threads: FakeEngine(MIXING, SHY, radius=1)
    monkeypatch.setattr("gliomask.segmentation.segmenter.load_model", lambda name: second if name == "shy" else first)
    return first, second


def test_the_mean_is_taken_where_the_first_suspects_tumour_and_nowhere_else(tiny_case):
    prepared = prepare(tiny_case, PAPER_ORDER, "volume")
    first = predict_brain(prepared, SHAPE, PatchPlan(), answer((3, 0, 0, 0)))
    second = predict_brain(prepared, SHAPE, PatchPlan(), answer(SHY))
    together = first.copy()
    consult(prepared, together, SHAPE, PatchPlan(), answer(SHY))
    suspected = 1 - first[..., Label.BACKGROUND] > SUSPICION
    assert 0 < suspected.sum() < prepared.brain.sum()
    np.testing.assert_array_equal(together[~suspected], first[~suspected])
    np.testing.assert_allclose(together[suspected], ((first + second) / 2)[suspected], atol=1e-6)


def test_suspects_may_lie_far_apart(tiny_case):
    prepared = prepare(tiny_case, PAPER_ORDER, "volume")
    probabilities = np.zeros((*prepared.brain.shape, 4), np.float32)
    probabilities[..., Label.BACKGROUND] = 1
    places = np.argwhere(prepared.brain)
    low, high = places[places[:, 2].argmin()], places[places[:, 2].argmax()]
    assert high[2] - low[2] > 8
    for place in (low, high):
        probabilities[tuple(place)] = (0, 1, 0, 0)
    consult(prepared, probabilities, SHAPE, PatchPlan(), answer(SHY))
    assert (probabilities[..., Label.BACKGROUND] < 1).sum() == 2


def test_where_nothing_is_suspected_nobody_is_asked(tiny_case):
    prepared = prepare(tiny_case, PAPER_ORDER, "volume")
    probabilities = np.zeros((*prepared.brain.shape, 4), np.float32)
    probabilities[..., Label.BACKGROUND] = 1

    def predict(batch):
        pytest.fail("the second network was asked")

    consult(prepared, probabilities, SHAPE, PatchPlan(), predict)
    assert (probabilities[..., Label.BACKGROUND] == 1).all()


@pytest.mark.parametrize("flips", [False, True])
def test_the_models_own_second_member_is_asked_unless_none_is_wanted(two_models, tiny_case, flips):
    with_it = gliomask.segment(tiny_case, flips=flips)
    alone = gliomask.segment(tiny_case, ensemble_member="none", flips=flips)
    assert with_it.models == ("by-hand", "shy")
    assert alone.models == ("by-hand",)
    assert "ensemble member" in with_it.seconds
    assert "ensemble member" not in alone.seconds
    assert 0 < np.count_nonzero(with_it.label_map) < np.count_nonzero(alone.label_map)
    assert with_it.expected_dice != alone.expected_dice


def test_two_that_agree_on_tumour_and_not_on_its_part_find_tumour(two_models, tiny_case):
    """Each is 60 % sure of tumour, of another part: no part reaches the 40 % of background."""
    for model, bias in zip(two_models, ((4, 0, 6, 0), (4, 6, 0, 0)), strict=True):
        shares = np.log(np.where(np.array(bias) == 6, 0.6, np.where(np.array(bias) == 4, 0.4, 1e-9)))
        model.open = lambda engine, threads, shares=shares: FakeEngine(np.zeros((4, 4)), tuple(shares))
    result = gliomask.segment(tiny_case)
    np.testing.assert_allclose(result.probabilities[tiny_case.brain_mask][0], [0.4, 0.3, 0.3, 0], atol=1e-5)
    assert (result.label_map[tiny_case.brain_mask] == Label.OEDEMA).all()
    assert (gliomask.segment(tiny_case, ensemble_member="none").label_map[tiny_case.brain_mask] == Label.OEDEMA).all()


def test_any_model_may_be_a_second_member(fake_model, tiny_case):
    assert gliomask.segment(tiny_case).models == ("by-hand",)
    assert gliomask.segment(tiny_case, ensemble_member="other").models == ("by-hand", "by-hand")


def test_it_is_not_asked_about_patients_who_lack_what_it_needs(two_models, tiny_case):
    first, second = two_models
    first.change(may_miss=PAPER_ORDER)
    volumes = {sequence: volume for sequence, volume in tiny_case.volumes.items() if sequence != Sequence.T1}
    case = Case("tiny", volumes, tiny_case.geometry, without=frozenset({Sequence.T1}))
    assert gliomask.segment(case).models == ("by-hand",)
    second.change(may_miss=PAPER_ORDER)
    assert gliomask.segment(case).models == ("by-hand", "shy")


def test_a_calibration_of_both_is_not_used_for_one(two_models, tiny_case):
    """Both: what was calibrated together.

    The first alone: what was calibrated by subsets, whether nothing or something lacks. Others: nothing.
    """
    first, _ = two_models
    first.change(may_miss=PAPER_ORDER)
    both = {Region.WT: Estimate(0.9, 0.8, 1.0)}
    first.spec = first.spec.model_copy(
        update={"quality": SimpleNamespace(calibration=lambda: SimpleNamespace(estimates=lambda expected: both))}
    )
    volumes = {sequence: volume for sequence, volume in tiny_case.volumes.items() if sequence != Sequence.T1}
    lacking = Case("tiny", volumes, tiny_case.geometry, without=frozenset({Sequence.T1}))
    assert gliomask.segment(tiny_case).estimates == both
    for case, options in (
        (lacking, {}),
        (tiny_case, {"ensemble_member": "none"}),
        (tiny_case, {"ensemble_member": "by-hand"}),
    ):
        assert gliomask.segment(case, **options).estimates == {}
    first.spec = first.spec.model_copy(update={"subsets": tiny_subsets()})
    for case, options, slope in ((lacking, {}, 0.25), (tiny_case, {"ensemble_member": "none"}, 0.5)):
        result = gliomask.segment(case, **options)
        assert result.estimates[Region.WT].dice == pytest.approx(slope * result.expected_dice[Region.WT], abs=1e-3)
    assert gliomask.segment(tiny_case, ensemble_member="by-hand").estimates == {}


def test_the_screen_says_so_when_it_is_not_asked(two_models, tmp_path, capsys):
    two_models[0].change(may_miss=PAPER_ORDER)
    write_brats_case(tmp_path / "cases", make_tiny_case())
    assert run(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "out"), "--without", "t1"]) == 0
    assert "Without the ensemble member shy, which cannot do without t1." in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "tiny_run.json").read_text())["second_opinion"]["asked"] is False
    assert run(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "whole")]) == 0
    assert "Without the ensemble member" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("inputs", PAPER_ORDER[::-1], "its sequences: t2, t1ce, t1, flair, not flair, t1, t1ce, t2"),
        ("normalisation", Normalisation(method="slice", background=-9.0), "its normalisation: slice, not volume"),
    ],
)
def test_one_that_takes_other_input_is_refused(two_models, field, value, words):
    two_models[1].change(**{field: value})
    with pytest.raises(ModelError, match=f"'shy' cannot be an ensemble member beside 'by-hand': {words}"):
        Segmenter(Options())


def test_the_first_engine_is_closed_when_the_second_cannot_be_opened(two_models):
    first, second = two_models
    opened = []

    def open_first(engine, threads):
        opened.append(FakeEngine(MIXING, (3, 0, 0, 0), radius=1))
        return opened[0]

    def fail(engine, threads):
        raise ModelError("does not reproduce its golden pair")

    first.open, second.open = open_first, fail
    with pytest.raises(ModelError, match="golden pair"):
        Segmenter(Options())
    with pytest.raises(Exception, match="closed"):
        opened[0].predict(np.zeros((1, 4, 4, 4), np.float32))


def test_the_record_says_who_was_asked(two_models, tiny_brats_folder, tmp_path):
    (files,) = find_cases(tiny_brats_folder)
    writing = Delivery(preview=False)
    for name, wanted in (("own", None), ("none", "none")):
        results = CaseLayout.of(tmp_path / name, files.case_id)
        with Segmenter(Options(ensemble_member=wanted)) as segmenter:
            segment_to_files(segmenter, FileSource(files), results, writing)
        record = json.loads(results.record.read_text())
        assert record["model"] == {"name": "by-hand", "sha256": "0" * 64}
        assert record["second_opinion"] == (
            {"name": "shy", "sha256": "1" * 64, "asked": True} if name == "own" else None
        )


def test_a_cohort_goes_on_only_with_the_same_second_member(two_models, tiny_brats_folder, tmp_path):
    cases, writing = find_cases(tiny_brats_folder), Delivery(preview=False)
    with Segmenter(Options()) as segmenter:
        segment_all(segmenter, cases, tmp_path / "out", writing)
        again = segment_all(segmenter, cases, tmp_path / "out", writing, resume=True)
    assert [row.message for row in again] == [KEPT]
    with (
        Segmenter(Options(ensemble_member="none")) as alone,
        pytest.raises(UsageError, match="with other ensemble member, so"),
    ):
        segment_all(alone, cases, tmp_path / "out", writing, resume=True)


def test_the_report_names_it(two_models, tmp_path):
    write_brats_case(tmp_path / "cases", make_tiny_case())
    assert run(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "out"), "--report", "html"]) == 0
    page = (tmp_path / "out" / "tiny_report.html").read_text()
    assert "Ensemble member" in page
    assert f"shy, SHA-256 {'1' * 64}" in page


@pytest.mark.parametrize("wanted", ["nobody", "../elsewhere"])
def test_one_that_is_not_there_is_refused(tiny_brats_folder, tmp_path, capsys, wanted):
    command = [
        "segment",
        str(tiny_brats_folder),
        "-o",
        str(tmp_path / "out"),
        "--network",
        "sparse",
        "--ensemble-member",
        wanted,
    ]
    assert run(command) == 4
    assert f"There is no model '{wanted}'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_shipped_networks_agree_with_their_mean(tiny_case):
    """The real engines, on what the tiny case has: no voxel outside the suspected ones may differ from the first
    network's answer.
    """
    model = load_model("unet")
    options = Options(model="unet", ensemble_member="sparse", postprocess="none")
    with Segmenter(options) as both, Segmenter(replace(options, ensemble_member="none")) as alone:
        together, first = both.run(tiny_case), alone.run(tiny_case)
    unsuspected = 1 - first.probabilities[..., Label.BACKGROUND] <= SUSPICION
    assert together.models == (model.spec.name, "sparse-multi-ocm")
    np.testing.assert_array_equal(together.probabilities[unsuspected], first.probabilities[unsuspected])
    np.testing.assert_allclose(together.probabilities.sum(axis=-1), 1, atol=1e-5)
