"""Patients who lack a sequence: said, never inferred; refused by a model that was not trained for it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from fakes import tiny_subsets
from pydantic import ValidationError

import gliomask
from gliomask.case import Case
from gliomask.cli.main import run
from gliomask.errors import CaseError, UsageError
from gliomask.io.brats import explicit_case, find_cases, read_case
from gliomask.models.calibration import Subsets
from gliomask.preprocess.channels import prepare
from gliomask.preprocess.checks import check_case
from gliomask.sequences import PAPER_ORDER, Sequence

T1_T2 = frozenset({Sequence.T1, Sequence.T2})
T1 = frozenset({Sequence.T1})


@pytest.fixture
def able_model(fake_model):
    """The model made by hand, as if it could do without anything."""
    fake_model.change(may_miss=PAPER_ORDER)
    return fake_model


def subset(case: Case, without: frozenset[Sequence]) -> Case:
    return Case(
        case.case_id, {s: v for s, v in case.volumes.items() if s not in without}, case.geometry, without=without
    )


def test_a_case_says_what_it_is_without(tiny_case):
    case = subset(tiny_case, T1)
    assert case.sequences == (Sequence.FLAIR, Sequence.T1CE, Sequence.T2)
    with pytest.raises(
        CaseError, match="missing t1; found flair, t1ce, t2. Name what the patient does not have by --without"
    ):
        replace(case, without=frozenset())
    with pytest.raises(CaseError, match="without t1, but found flair, t1, t1ce, t2"):
        replace(tiny_case, without=T1)


@pytest.mark.parametrize("without", [{Sequence.FLAIR, Sequence.T1CE}, set(Sequence)])
def test_flair_or_t1ce_must_stay(tiny_case, without):
    with pytest.raises(UsageError, match="Without both FLAIR and T1ce"):
        subset(tiny_case, frozenset(without))


def test_a_missing_sequence_is_background_in_the_networks_input(tiny_case):
    whole, part = (prepare(case, PAPER_ORDER, "slice") for case in (tiny_case, subset(tiny_case, T1)))
    np.testing.assert_array_equal(part.channels[..., 1], -9.0)
    np.testing.assert_array_equal(part.channels[..., [0, 2, 3]], whole.channels[..., [0, 2, 3]])


@pytest.mark.parametrize("sequence", Sequence)
def test_quality_is_checked_on_what_is_there(tiny_case, sequence):
    names = {flag.name for flag in check_case(tiny_case)}
    assert {flag.name for flag in check_case(subset(tiny_case, frozenset({sequence})))} <= names


def test_a_model_that_needs_it_refuses(fake_model, tiny_case):
    with pytest.raises(CaseError, match="Case tiny: model .* needs t1; it was not trained to do without"):
        gliomask.segment(subset(tiny_case, T1))


def test_arrays_folders_and_cases(able_model, tiny_case, tmp_path):
    case = subset(tiny_case, T1)
    expected = gliomask.segment(case).label_map
    arrays = {sequence.value: volume for sequence, volume in case.volumes.items()}
    np.testing.assert_array_equal(
        gliomask.segment(arrays, affine=case.geometry.affine, without=["T1n"]).label_map, expected
    )
    folder = write_brats_case(tmp_path / "tiny", tiny_case)
    np.testing.assert_array_equal(gliomask.segment(folder, without=["t1"]).label_map, expected)
    with pytest.raises(UsageError, match="A Case says itself"):
        gliomask.segment(case, without=["t1"])


def test_a_folder_may_lack_the_file_or_hold_it(tmp_path):
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    (held,) = find_cases(folder, without=T1)
    assert "t1     <- nothing, as asked" in held.describe()
    (path,) = folder.glob("*_t1.nii.gz")
    path.unlink()
    (lacking,) = find_cases(folder, without=T1)
    assert lacking.paths() == held.paths()
    assert read_case(lacking).without == T1
    with pytest.raises(CaseError, match="missing t1; .* say --without"):
        find_cases(folder)


def test_explicit_files(tmp_path):
    files = {sequence: tmp_path / f"{sequence}.nii" for sequence in (Sequence.FLAIR, Sequence.T1CE, Sequence.T2)}
    assert explicit_case("mine", files, without=T1).paths() == tuple(files.values())
    with pytest.raises(UsageError, match="Missing --t1. Give the file, or"):
        explicit_case("mine", files)
    with pytest.raises(UsageError, match="--t2 was given and is to be done without"):
        explicit_case("mine", files, without={Sequence.T1, Sequence.T2})


def test_the_command_records_it(able_model, tmp_path, capsys):
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--without", "t1", "--without", "t2w"]) == 0
    record = json.loads((tmp_path / "out" / "tiny_run.json").read_text())
    assert record["without"] == ["t1", "t2"]
    assert len(record["inputs"]) == 2
    assert run(["segment", str(folder), "-o", str(tmp_path / "other"), "--without", "t3"]) == 2
    assert "'t3' is not the name of a sequence" in capsys.readouterr().err


def test_doubts_are_read_by_what_is_missing(able_model, tiny_case):
    able_model.change(subsets=tiny_subsets())
    for case, slope in ((tiny_case, None), (subset(tiny_case, T1), 0.25), (subset(tiny_case, T1_T2), None)):
        result = gliomask.segment(case)
        expected = (
            {}
            if slope is None
            else {region: pytest.approx(slope * dice, abs=1e-3) for region, dice in result.expected_dice.items()}
        )
        assert {region: estimate.dice for region, estimate in result.estimates.items()} == expected
        assert (result.cost is not None) == (slope is not None)


def test_what_is_missing_and_what_that_costs_is_said_where_results_are_read(able_model, tmp_path, capsys):
    able_model.change(subsets=tiny_subsets())
    folder = write_brats_case(tmp_path / "tiny", make_tiny_case())
    assert (
        run(
            ["segment", str(folder), "-o", str(tmp_path / "out"), "--without", "t1", "--report", "html", "--no-preview"]
        )
        == 0
    )
    cost = (
        "Median Dice of 65 cross-validated patients segmented so, in brackets with all four: WT 0.70 (0.90), TC 0.70 "
        "(0.90), ET 0.70 (0.90)."
    )
    said = capsys.readouterr()
    assert cost in said.out
    assert "doubtful" in [
        flag["name"] for flag in json.loads((tmp_path / "out" / "tiny_run.json").read_text())["quality_flags"]
    ]
    page = (tmp_path / "out" / "tiny_report.html").read_text()
    assert f"Segmented without t1. {cost}" in page
    assert (
        run(["report", str(tmp_path / "out" / "tiny_seg.nii.gz"), "-o", str(tmp_path / "later"), "--format", "html"])
        == 0
    )
    assert (tmp_path / "later" / "tiny_report.html").read_text() == page
    assert (
        run(
            [
                "segment",
                str(folder),
                "-o",
                str(tmp_path / "two"),
                "--without",
                "t1",
                "--without",
                "t2",
                "--report",
                "html",
                "--no-preview",
            ]
        )
        == 0
    )
    assert (
        "Segmented without t1, t2. What that costs was not measured."
        in (tmp_path / "two" / "tiny_report.html").read_text()
    )
    assert "Segmented without t1, t2. What that costs was not measured." in capsys.readouterr().out
    assert json.loads((tmp_path / "two" / "tiny_run.json").read_text())["cost_of_missing"] is None


def test_every_subset_stands_once_and_that_of_all_first():
    good = tiny_subsets().model_dump()
    for sets, words in (
        (good["sets"][::-1], "must lack nothing; it lacks t1"),
        ((*good["sets"], good["sets"][1]), "there twice"),
        ((), "at least 1"),
    ):
        with pytest.raises(ValidationError, match=words):
            Subsets.model_validate(good | {"sets": sets})
