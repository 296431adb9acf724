from pathlib import Path

import pytest

from gliomask.errors import CaseError, UsageError
from gliomask.io.brats import CaseFiles
from gliomask.labels import convention
from gliomask.training.folds import read_folds, set_aside, split


def files(*names):
    return [CaseFiles(name, {}, Path(f"{name}_seg.nii.gz"), convention("brats2021")) for name in names]


def table(tmp_path, text, name="folds.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", ["case,fold\na,0\nb,1\n", "case\tfold\na\t0\nb\t1\n", "\ufefffold,cohort,case\n0,x,a\n1,y,b\n"]
)
def test_reads_comma_and_tab_tables_and_ignores_other_columns(tmp_path, text):
    assert read_folds(table(tmp_path, text)) == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,fold\na,0\nb,1\na,1\n", "case a stands twice"),
        ("case,fold\na,first\n", "case a has the fold 'first'"),
        ("case,fold\na\n", "line 2 of the table has 1 cells, its first line 2"),
        ("patient,fold\na,0\n", r"columns 'case' and 'fold'.*found \['patient', 'fold'\]"),
        ("", "no rows"),
    ],
)
def test_refuses_tables_that_leave_a_doubt(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_folds(table(tmp_path, text))


def test_refuses_a_table_that_is_absent_or_no_text(tmp_path):
    with pytest.raises(UsageError, match="cannot be read as a table of folds"):
        read_folds(tmp_path / "absent.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="cannot be read as a table of folds"):
        read_folds(tmp_path / "bytes.csv")


def test_split_keeps_every_case_on_one_side():
    cases = files("a", "b", "c", "d")
    training, held_out = split(cases, {"a": 0, "b": 1, "c": 0, "d": 2, "not here": 1}, 0)
    assert [case.case_id for case in training] == ["b", "d"]
    assert [case.case_id for case in held_out] == ["a", "c"]


def test_split_refuses_a_case_that_no_fold_names():
    with pytest.raises(CaseError, match="1 cases are not in the table of folds: b"):
        split(files("a", "b"), {"a": 0}, 0)


@pytest.mark.parametrize("held_out", [3, 0])
def test_split_refuses_an_empty_side(held_out):
    with pytest.raises(UsageError, match=f"Fold {held_out} leaves"):
        split(files("a", "b"), {"a": 0, "b": 0}, held_out)


def test_set_aside_is_seeded_disjoint_and_of_the_right_size():
    cases = files(*"abcdefghij")
    training, validation = set_aside(cases, 0.2, seed=1)
    assert len(validation) == 2
    assert sorted(case.case_id for case in training + validation) == list("abcdefghij")
    assert set_aside(cases, 0.2, seed=1) == (training, validation)
    assert {tuple(c.case_id for c in set_aside(cases, 0.2, seed)[1]) for seed in range(20)} != {
        tuple(c.case_id for c in validation)
    }


def test_set_aside_takes_one_at_least_and_never_all():
    assert set_aside(files("a", "b"), 0.0, 0) == (files("a", "b"), [])
    assert [len(side) for side in set_aside(files("a", "b"), 0.01, 0)] == [1, 1]
    with pytest.raises(UsageError, match="1 training patients cannot spare 1"):
        set_aside(files("a"), 0.1, 0)


@pytest.mark.data
def test_reads_the_manifest_of_the_real_cases(shared_data):
    folds = read_folds(shared_data / "manifest.csv")
    assert len(folds) == 65
    assert set(folds.values()) == set(range(5))
