"""The gates for JSON, YAML and tables: bounded, strict, refused by name; and what is written is read back."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gliomask.cli.main import run
from gliomask.errors import FileFormatError
from gliomask.files.hashing import sha256, sha256_of
from gliomask.files.json import parse_json, read_json, read_json_as, to_json
from gliomask.files.regular import read_regular
from gliomask.files.tables import parse_table, read_table, to_tsv
from gliomask.files.yaml import read_yaml


class Record(BaseModel):
    command: str
    seconds: dict[str, float]


# JSON.


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b'{"a": NaN}', "NaN, which is no JSON"),
        (b'{"a": -Infinity}', "-Infinity, which is no JSON"),
        (b'{"a": 1e400}', "the number 1e400"),
        (b'{"a": 1' + b"0" * 400 + b"}", "beyond any"),
        (b'{"a": -18446744073709551616}', "beyond any"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"\\udfff": 1}', "lone surrogate"),
        (b"[" * 70 + b"]" * 70, "nested"),
        (b"[" * 100_000, "nested"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b"\xff\xfe{\0}\0", "utf-8"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_is_no_strict_json_is_refused(tmp_path, text, what):
    with pytest.raises(ValueError, match=what):
        parse_json(text)
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(FileFormatError, match=r"x\.json: not a run record \(.*" + what):
        read_json_as(tmp_path / "x.json", Record, "a run record")


def test_typed_json_is_checked_by_field(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(to_json({"command": "segment", "seconds": {"read": 1}}))
    assert read_json_as(path, Record, "a run record") == Record(command="segment", seconds={"read": 1.0})
    path.write_bytes(to_json({"command": 3, "seconds": {"read": "soon"}}))
    with pytest.raises(FileFormatError, match=r"x\.json: not a run record \(command: .*; seconds\.read: "):
        read_json_as(path, Record, "a run record")
    with pytest.raises(FileFormatError, match=r"none\.json: not a run record \(No such file"):
        read_json_as(tmp_path / "none.json", Record, "a run record")


def test_json_that_is_written_is_strict():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"apart": float("inf")})
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested too deeply"):
        to_json(nested)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_comes_back_as_it_was(value):
    assert parse_json(to_json(value)) == value


@given(st.binary(max_size=200) | st.text(alphabet='[]{},:"\\ue019.-+tfn ').map(str.encode))
def test_any_bytes_are_json_or_a_value_error(content):
    with contextlib.suppress(ValueError):
        parse_json(content)


# YAML.


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: !!int x", "ValueError"),
        ("a: 2026-13-45", "ValueError: month"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested more than"),
        ("a: &x [1, 1]\nb: [*x, *x]", "alias"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [a, b]\n: 1", "unhashable"),
        ("a: 1\na: 2", "'a' stands twice"),
        ("a: [", "expected"),
        ("a: !!bool x", "KeyError"),
        ("x: '" + "a" * (1 << 20) + "'", "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_by_name(tmp_path, text, what):
    pytest.importorskip("yaml")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(FileFormatError, match=rf"x\.yaml: cannot be read as YAML \(.*{what}"):
        read_yaml(tmp_path / "x.yaml")


def test_yaml_is_read(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "x.yaml").write_text("a: [1, 2.5]\nb: {c: text}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": [1, 2.5], "b": {"c": "text"}}


# Tables.


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "@cmd",
        "+49",
        "-a",
        "'=1",
        "''@",
        "'quoted'",
        'a"b',
        '=HYPERLINK("x")',
        "-3.5",
        "'-3.5",
        "a  b",
        "Müller 脳",
    ],
)
def test_text_is_no_formula_and_comes_back_as_it_was(tmp_path, name):
    (tmp_path / "x.tsv").write_bytes(to_tsv([{"case": name, "n": -3}]))
    written = (tmp_path / "x.tsv").read_text(encoding="utf-8").splitlines()[1]
    assert not written.startswith(("=", "+", "@", '"=', '"+', '"@'))
    assert not written.startswith("-") or name == "-3.5"
    assert read_table(tmp_path / "x.tsv") == [{"case": name, "n": "-3"}]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs"]) | st.sampled_from("'=+-@\",")),
        min_size=1,
        max_size=5,
    )
)
def test_any_cells_come_back(cells):
    rows = [{"a": cell, "b": "x"} for cell in cells]
    assert parse_table(to_tsv(rows).decode(), "x") == rows


def test_numbers_and_blanks_of_a_table():
    rows = [{"a": float("nan"), "b": None, "c": 1 / 3, "d": -2, "e": "two\nlines"}]
    assert to_tsv(rows) == b"a\tb\tc\td\te\n\t\t0.333333\t-2\ttwo lines\n"
    assert to_tsv([], ["a", "b"]) == b"a\tb\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it has no rows"),
        ("case\tfold\na", "line 2 of the table has 1 cells, its first line 2"),
        ("case\tcase\na\tb", "the column 'case' stands twice"),
        ("fold\n1", r"the columns 'case' is needed; found \['fold'\]"),
        ("case\n" + "a" * 40_000, "a cell of 40,000 letters"),
        ("case\n" + "a" * 200_000, "field larger than field limit"),
        ("case\t" * 3000, "a table of 3,001 columns"),
        ('case\n"open', "unexpected end of data"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, text, what):
    (tmp_path / "x.tsv").write_text(text)
    with pytest.raises(FileFormatError, match=rf"x\.tsv: .*{what}"):
        read_table(tmp_path / "x.tsv", ["case"])


# What is no regular file.


def test_a_pipe_a_folder_and_a_device_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (read_table, lambda path: read_json_as(path, Record, "a record"), sha256_of):
        with pytest.raises(FileFormatError, match="not a regular file"):
            read(tmp_path / "pipe")
        with pytest.raises(FileFormatError, match="a folder"):
            read(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        read_json(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(type(tmp_path)("/dev/zero"), 10)


def test_no_more_than_the_limit_is_read(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert read_regular(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_regular(tmp_path / "x", 4)
    assert sha256_of(tmp_path / "x") == sha256(b"12345")


@pytest.mark.parametrize("words", [["timeline"], ["cohort"], ["segment"], ["dicom", "inspect"], ["dicom", "convert"]])
def test_commands_neither_wait_for_a_pipe_nor_read_a_device(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        output = [] if words[-1] == "inspect" else ["-o", str(tmp_path / "out")]
        assert run([*words, str(place), *output]) in (2, 3)
        assert "regular file" in capsys.readouterr().err
