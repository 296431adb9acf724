import json

import numpy as np
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case
from stacks import SMALL, make_stack

from gliomask.case import Case
from gliomask.cli.main import run
from gliomask.errors import CaseError, QualityError, UsageError
from gliomask.flag import Flag
from gliomask.io.brats import find_cases
from gliomask.preprocess.checks import check_case
from gliomask.sequences import Sequence
from gliomask.training.config import describe_config, make_config
from gliomask.training.examine import (
    fingerprint,
    refuse_examinations_twice,
    refuse_flagged,
    refuse_held_out_twice,
    refuse_unknown_weights,
)


def swapped(case_id: str, seed: int) -> Case:
    """T1 given for T1ce and the other way round."""
    case = make_tiny_case(case_id, seed=seed)
    volumes = dict(case.volumes) | {Sequence.T1: case.volumes[Sequence.T1CE], Sequence.T1CE: case.volumes[Sequence.T1]}
    return Case(case_id, volumes, case.geometry)


@pytest.fixture
def cases(tmp_path):
    folder = tmp_path / "cases"
    for n in range(2):
        write_brats_case(folder, make_tiny_case(f"case{n}", seed=n), tiny_labels())
    write_brats_case(folder, swapped("case2", 2), tiny_labels())
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(describe_config(make_config(None, None, **(SMALL | {"threads": None}), epochs=1)), encoding="utf-8")
    return path


def train(*arguments) -> int:
    return run(["train", *map(str, arguments)])


@pytest.mark.train
def test_the_flags_of_segment_are_told_recorded_and_with_strict_refused(tmp_path, cases, config, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    assert train(cases, "--config", config, "-o", tmp_path / "strict", "--strict") == 6
    told = capsys.readouterr().err
    assert "3 of 3 cases look wrong" in told
    assert "Nothing was trained, because --strict was given." in told
    assert "epoch" not in told
    assert not (tmp_path / "strict" / "checkpoint.npz").exists()

    assert train(cases, "--config", config, "-o", tmp_path / "run") == 0
    told = capsys.readouterr().err
    assert told.index("Warning: case0: Only") < told.index("epoch 1")
    assert "Warning: case1: brain_small\n" in told
    assert "Warning: case2: The sequences look swapped" in told
    flags = json.loads((tmp_path / "run" / "train_run.json").read_text())["quality_flags"]
    assert {case: [flag["name"] for flag in found] for case, found in flags.items()} == {
        case.case_id: [flag.name for flag in check_case(case)]
        for case in (make_tiny_case("case0"), make_tiny_case("case1", seed=1), swapped("case2", 2))
    }


@pytest.mark.train
def test_one_examination_under_two_names_is_refused(tmp_path, cases, config, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    # The same voxels at the same places, stored from right to left: other bytes, one patient.
    case, affine = make_tiny_case("other", seed=1), np.diag([-1.0, 1, 1, 1])
    affine[0, 3] = case.geometry.shape[0] - 1
    mirrored = Case(
        "other",
        {sequence: np.ascontiguousarray(volume[::-1]) for sequence, volume in case.volumes.items()},
        type(case.geometry)(case.geometry.shape, case.geometry.affine @ affine),
    )
    write_brats_case(cases, mirrored, tiny_labels()[::-1])
    assert train(cases, "--config", config, "-o", tmp_path / "run") == 3
    assert "The cases case1 and other hold the same images. Leave out all but one." in capsys.readouterr().err


@pytest.mark.train
def test_a_held_out_case_that_is_trained_on_under_another_name_is_refused(tmp_path, cases, config, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    write_brats_case(cases, make_tiny_case("again", seed=0), tiny_labels())
    (tmp_path / "folds.csv").write_text("case,fold\nagain,0\ncase0,1\ncase1,1\ncase2,1\n", encoding="utf-8")
    assert train(cases, "--config", config, "--folds", tmp_path / "folds.csv", "--fold", 0, "-o", tmp_path / "run") == 3
    assert "The held-out case again holds the same files as case case0" in capsys.readouterr().err


@pytest.mark.train
def test_weights_of_cases_that_are_not_there_are_refused(tmp_path, cases, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    path = tmp_path / "weighted.yaml"
    path.write_text("sampling: regions\ncase_weights: {case1: 2.0, cas2: 3.0}\n", encoding="utf-8")
    assert train(cases, "--config", path, "-o", tmp_path / "run") == 2
    assert "case_weights names 1 cases that are not among the data: cas2." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_may_name_held_out_cases(cases):
    refuse_unknown_weights({"case2": 2.0}, find_cases(cases))
    with pytest.raises(UsageError, match="not among the data: x"):
        refuse_unknown_weights({"x": 1.0}, find_cases(cases))


def test_other_patients_are_no_doubles(cases):
    prints = {name: fingerprint(make_stack(name, seed=seed)) for name, seed in (("a", 0), ("b", 1))}
    refuse_examinations_twice(prints)
    with pytest.raises(CaseError, match="a and c hold the same images"):
        refuse_examinations_twice(prints | {"c": fingerprint(make_stack("c", seed=0))})
    found = find_cases(cases)
    refuse_held_out_twice(found[:1], found[1:])
    with pytest.raises(CaseError, match="case0 holds the same files as case case0"):
        refuse_held_out_twice(found, found[:1])


def test_only_flagged_cases_are_refused():
    flag = Flag("not_1mm", "Voxels are large.", 3.0, 0.05)
    refuse_flagged({"a": (), "b": ()})
    with pytest.raises(QualityError, match=r"1 of 2 cases look wrong \(b: not_1mm\)"):
        refuse_flagged({"a": (), "b": (flag,)})


def test_a_flag_is_strict_json():
    assert Flag("a", "b", float("inf"), 1.0).fields() == {"name": "a", "message": "b", "value": None, "limit": 1.0}
