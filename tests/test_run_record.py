import json

import pytest

from gliomask.errors import FileFormatError
from gliomask.files.hashing import sha256_of
from gliomask.report.run_record import compose_record, write_record
from gliomask.results.record import MAX_RECORD_BYTES, read_record

FIELDS = {"case": "x", "inputs": {}, "model": {"name": "m", "sha256": "s"}, "options": {}}
"""What a record of a segmentation has in every version."""


def test_a_record_that_was_written_is_read(tmp_path):
    write_record(tmp_path / "x_run.json", "segment", FIELDS)
    record = read_record(tmp_path / "x_run.json")
    assert (record.command, record.case, record.record_version) == ("segment", "x", 1)
    assert record.as_read() == {**json.loads((tmp_path / "x_run.json").read_text()), "record_version": 1}
    assert set(record.as_read()) == {*compose_record("segment", FIELDS), "record_version"}


def test_where_there_is_none_nothing_is_read(tmp_path):
    assert read_record(tmp_path / "x_run.json") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\x00\xff", b"[" * 100_000, b"7"])
def test_what_is_no_record_is_named(tmp_path, content):
    (tmp_path / "x_run.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"x_run\.json: is no run record: .*segment again"):
        read_record(tmp_path / "x_run.json")


def test_no_more_of_a_file_is_read_than_a_record_can_have(tmp_path):
    padded = json.dumps({"case": "x"}).encode() + b" " * MAX_RECORD_BYTES
    (tmp_path / "x_run.json").write_bytes(padded)
    with pytest.raises(FileFormatError, match="more than 10,485,760 bytes"):
        read_record(tmp_path / "x_run.json")


def test_a_hash_of_what_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(FileFormatError, match=r"gone\.nii: cannot be read \(No such file"):
        sha256_of(tmp_path / "gone.nii")
