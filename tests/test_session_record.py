"""Records in `logs/` are typed: what is none is refused by name, whatever it holds."""

import json
from pathlib import Path

import pytest

from gliomask.bids.group import run_group
from gliomask.bids.layout import Session
from gliomask.bids.records import failure_path, read_failure, read_record, record_path, row_of, write_failure
from gliomask.bids.session_record import FailureRecord, SessionRecord, read_as
from gliomask.errors import CaseError, UsageError
from gliomask.results.record import RECORD_VERSION
from gliomask.results.row import CaseRow as Row

AMOUNT = {"title": "t", "voxels": 3, "volume_ml": 0.003, "volume_mm3": 3.0}
RECORD = {
    "record_version": RECORD_VERSION,
    "command": "gliomask-bids",
    "finished": "2026-01-01T00:00:00+00:00",
    "case": "sub-01",
    "inputs": {"bids:raw:sub-01/anat/sub-01_T2w.nii.gz": "0" * 64},
    "model": {"name": "m", "sha256": "s"},
    "options": {},
    "quality_flags": [{"name": "few_slices", "message": "There are few slices."}],
    "volumes": {"labels": {"oedema": AMOUNT}, "regions": {"WT": AMOUNT}},
    "outputs": {"sub-01/anat/sub-01_dseg.nii.gz": "1" * 64},
    "request": {"options": {"flips": False}, "reports": ["html"]},
}
DEEP = '{"a":' * 5000 + "1" + "}" * 5000


@pytest.fixture
def session():
    return Session("01", None)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def test_a_record_comes_back_as_it_was_written(tmp_path, session):
    write(tmp_path / record_path(session), json.dumps(RECORD))
    record = read_record(tmp_path, session)
    assert isinstance(record, SessionRecord)
    assert record.plain()["request"] == RECORD["request"]
    assert list(record.plain())[-1] == "request"
    assert SessionRecord.model_validate(record.plain()) == record
    row = row_of(session, record)
    assert (row.case, row.wt_ml, row.flags) == ("sub-01", 0.003, "few_slices")


def test_no_file_is_no_record(tmp_path, session):
    assert read_record(tmp_path, session) is None
    assert read_failure(tmp_path, session) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": ["a"]},
        {"outputs": {"a": 1}},
        {"outputs": None},
        {"request": "all"},
        {"volumes": {"labels": [], "regions": {}}},
        {"volumes": {"labels": {}, "regions": {"WT": {**AMOUNT, "volume_ml": "much"}}}},
        {"quality_flags": [3]},
        {"model": None},
        {"predicted_dice": {"WT": 1}},
        {"environment": []},
        {"unknown": 1},
    ],
)
def test_a_record_of_other_types_is_refused_by_name(tmp_path, session, changes):
    path = write(tmp_path / record_path(session), json.dumps(RECORD | changes))
    with pytest.raises(UsageError, match="is no record of gliomask-bids") as refused:
        read_record(tmp_path, session)
    assert str(path) in str(refused.value)
    with pytest.raises(UsageError, match="is no record of gliomask-bids"):
        run_group("x", tmp_path, [session])


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", "{", '{"a": NaN}', '{"a": 1e400}', '{"a": "\\ud800"}', DEEP, "\ud800"]
)
def test_what_is_no_json_is_refused_by_name(tmp_path, session, text):
    for path, read in ((record_path(session), read_record), (failure_path(session), read_failure)):
        write(tmp_path / path, text)
        with pytest.raises(UsageError, match=path.name):
            read(tmp_path, session)


def test_a_folder_in_its_place_is_refused(tmp_path, session):
    (tmp_path / record_path(session)).mkdir(parents=True)
    with pytest.raises(UsageError, match="is no record of gliomask-bids"):
        read_record(tmp_path, session)


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_a_record_of_another_version_is_refused_as_such(tmp_path, session, version):
    write(tmp_path / record_path(session), json.dumps(RECORD | {"record_version": version}))
    with pytest.raises(UsageError, match="another version of gliomask"):
        read_record(tmp_path, session)


def test_a_failure_comes_back_as_it_was_written(tmp_path, session):
    write_failure(tmp_path, session, Row("sub-01", "failed", 1.5, "", "no T2"), CaseError("no T2"))
    failure = read_failure(tmp_path, session)
    assert isinstance(failure, FailureRecord)
    assert (failure.error, failure.message, failure.seconds) == ("CaseError", "no T2", {"total": 1.5})


def test_a_failure_of_other_types_is_refused(tmp_path, session):
    path = write(
        tmp_path / failure_path(session),
        json.dumps({"command": "c", "finished": "f", "case": "x", "error": "E", "message": 3}),
    )
    with pytest.raises(UsageError, match="message"):
        read_as(FailureRecord, path)
