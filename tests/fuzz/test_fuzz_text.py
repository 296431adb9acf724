"""Damaged and hostile JSON, YAML and tables: read or refused by name, with a documented exit code and one message.

Seeds are made by code.
"""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import make_tiny_case, write_brats_case
from harness import damage, damaged, fuzz, holds, refusal, temporary
from hypothesis import example, given
from hypothesis import strategies as st

from gliomask.cohort.index import read_index
from gliomask.cohort.table import SharedTable
from gliomask.errors import FileFormatError, InputError, UsageError
from gliomask.files.json import parse_json
from gliomask.files.tables import parse_table, to_tsv
from gliomask.results.record import read_record
from gliomask.training.config import describe_config, make_config
from gliomask.training.folds import read_folds

FOUND_JSON = (
    b"",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"a": 1' + b"0" * 400 + b"}",
    b'{"a": 1e400}',
    b'{"a": -Infinity}',
    b'{"a": "\\ud800"}',
    b'{"a": 1, "a": 2}',
    b"\xff\xfe{\x00}\x00",
    b'{"a": "\xed\xa0\x80"}',
)
"""What was ever found to end in a traceback."""

FOUND_YAML = (
    b"epochs: !!int x",
    b"epochs: 2020-13-45",
    b"epochs: " + b"[" * 3000,
    b"a: &a [*a]",
    b"a: &a [1]\nb: *a",
    b"? [a]\n: b",
    b"!!python/object/apply:os.mkdir [sprung]",
    b"epochs: 1" + b"0" * 5000,
    b"\x00",
    b'"\\ud800": 1',
    b"<<: 5",
    b"epochs: .nan",
    b"case_weights: {1: 2}",
)

NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """The results of a case, and the bytes of its run record."""
    from hand_model import model_by_hand

    patch = pytest.MonkeyPatch()
    model = model_by_hand()
    patch.setattr("gliomask.segmentation.segmenter.load_model", lambda name: model)
    folder = tmp_path_factory.mktemp("segmented")
    write_brats_case(folder / "cases", make_tiny_case("tiny"))
    from gliomask.cli.main import run

    assert run(["segment", str(folder / "cases"), "-o", str(folder / "out"), "--no-preview"]) == 0
    patch.undo()
    return folder / "out", (folder / "out" / "tiny_run.json").read_bytes()


@given(st.binary(max_size=80) | NESTED.map(lambda value: json.dumps(value).encode()))
@fuzz(400)
def test_json_is_read_as_it_is_or_refused(content):
    if not refusal(parse_json, content, ValueError):
        assert json.loads(content.decode("utf-8-sig")) == parse_json(content)


@given(st.lists(damage(), min_size=1, max_size=3))
@fuzz(200)
def test_damaged_records_are_read_or_refused(segmented, tmp_path, changes):
    path = tmp_path / "x_run.json"
    path.write_bytes(damaged(segmented[1], changes))
    assert "x_run.json" in (refusal(read_record, path, FileFormatError) or "x_run.json")


@given(st.data())
@fuzz(200)
def test_records_with_other_values_are_read_or_refused(segmented, tmp_path, data):
    record = json.loads(segmented[1])
    place = record
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(NESTED)
    path = tmp_path / "x_run.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    assert "x_run.json" in (refusal(read_record, path, FileFormatError) or "x_run.json")


@given(
    st.lists(damage(), min_size=1, max_size=3).map(lambda changes: ("damaged", changes))
    | st.sampled_from(FOUND_JSON).map(lambda found: ("found", found))
)
@fuzz(12)
def test_a_report_of_a_damaged_record_is_written_or_refused(segmented, tmp_path, temporary, how):
    folder, content = segmented
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    shutil.copytree(folder, tmp_path / "out")
    (tmp_path / "out" / "tiny_run.json").write_bytes(how[1] if how[0] == "found" else damaged(content, how[1]))
    shutil.rmtree(tmp_path / "report", ignore_errors=True)
    code = holds(
        temporary, "report", tmp_path / "out" / "tiny_seg.nii.gz", "-o", tmp_path / "report", "--format", "json"
    )
    assert bool(list((tmp_path / "report").glob("*"))) == (code == 0)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.lists(damage(), min_size=1, max_size=3))
@example(FOUND_YAML[0])
@fuzz(60)
def test_configurations_are_read_or_refused(tmp_path, temporary, content):
    pytest.importorskip("yaml")
    path = tmp_path / "x.yaml"
    path.write_bytes(
        damaged(describe_config(make_config()).encode(), content) if isinstance(content, list) else content
    )
    assert holds(temporary, "train", "--config", path, "--show-config") in (0, 2)


@pytest.mark.parametrize("content", FOUND_YAML, ids=range(len(FOUND_YAML)))
def test_configurations_that_were_found_are_refused(tmp_path, temporary, monkeypatch, content):
    pytest.importorskip("yaml")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    assert holds(temporary, "train", "--config", path, "--show-config") == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["temporary", "x.yaml"]


@pytest.mark.parametrize("content", FOUND_JSON, ids=range(len(FOUND_JSON)))
def test_json_that_was_found_is_refused_as_a_record(tmp_path, content):
    path = tmp_path / "x_run.json"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="x_run"):
        read_record(path)


CELLS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ("=1+1", "@x", "-", "+", "'=x", "''", '"', "\t", "\r\n", "", " ", "1e5", "-1")
)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=4))
@fuzz(300)
def test_tables_come_back_without_formulas(rows):
    written = to_tsv([{"a": first, "b": second} for first, second in rows]).decode()
    for line in written.split("\n"):
        for cell in line.split("\t"):
            assert not cell.lstrip('"').startswith(("=", "+", "@"))
    clean = [
        [
            " ".join(
                part
                for part in cell.replace("\v", "\t")
                .replace("\f", "\t")
                .replace("\r", "\t")
                .replace("\n", "\t")
                .split("\t")
            ).split()
            for cell in row
        ]
        for row in rows
    ]
    found = parse_table(written, "x", delimiter="\t")
    assert [[cell.split() for cell in row.values()] for row in found] == clean


@given(st.text(st.characters(codec="utf-8"), max_size=80) | st.lists(damage(), min_size=1, max_size=3))
@fuzz(200)
def test_tables_of_others_are_read_or_refused(tmp_path, content):
    path = tmp_path / "table.tsv"
    seed = b"case\tfold\tstatus\na\t1\tdone\nb\t2\tfailed\n"
    path.write_bytes(damaged(seed, content) if isinstance(content, list) else content.encode())
    for read, errors in (
        (read_folds, (UsageError, InputError)),
        (read_index, (UsageError, InputError)),
        (lambda table: SharedTable(table, ["c"]).write(), UsageError),
    ):
        before = path.read_bytes()
        message = refusal(read, path, errors)
        if message:
            assert "table.tsv" in message
            assert path.read_bytes() == before
