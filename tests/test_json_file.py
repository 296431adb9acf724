"""JSON files are read up to a size, and what is wrong with one is left to the caller to say."""

import pytest

from gliomask.files.json import UNREADABLE, read_json


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}  ')
    assert read_json(path, 10) == {"a": 1}
    with pytest.raises(ValueError, match="more than 9 bytes"):
        read_json(path, 9)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 200_000])
def test_what_is_no_json_raises_one_of_the_errors_that_callers_catch(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UNREADABLE):
        read_json(path)


def test_a_file_that_is_not_there_raises_one_of_them(tmp_path):
    with pytest.raises(UNREADABLE):
        read_json(tmp_path / "none.json")
