"""Damaged and hostile model folders and ONNX graphs: opened as they are or refused, exit code 4 or 5, one message.

Seeds are made by code.
"""

from __future__ import annotations

import json
import shutil

import pytest
from fakes import write_tiny_model
from harness import damage, damaged, fuzz, holds, refusal, temporary
from hypothesis import example, given
from hypothesis import strategies as st

from gliomask.errors import LimitError, ModelError
from gliomask.models.available import summarise
from gliomask.models.files import sha256
from gliomask.models.graph import look_into
from gliomask.models.registry import load_model

FILES = ("model.json", "golden.npz", "weights.npz", "model.onnx")
REFUSED = (ModelError, LimitError)


@pytest.fixture(scope="module")
def seed(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("seed") / "tiny")


def with_file(seed, folder, name: str, content: bytes):
    """A copy of the model with another file in it; the hashes say that all is well, as an attacker's would."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seed, folder)
    (folder / name).write_bytes(content)
    if name != "model.json":
        fields = json.loads((folder / "model.json").read_bytes())
        fields["files"][name] = sha256(content)
        (folder / "model.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


@given(st.sampled_from(FILES[:3]), st.lists(damage(), min_size=1, max_size=3))
@fuzz(200)
def test_damaged_files_of_a_model_are_read_or_refused(seed, tmp_path, name, changes):
    folder = with_file(seed, tmp_path / "model", name, damaged((seed / name).read_bytes(), changes))
    assert "model" in (refusal(load_model, folder, REFUSED) or "model")
    assert "model.json" in (refusal(summarise, folder, REFUSED) or "model.json")


VALUES = st.sampled_from(
    (None, [], {}, "", "x", -1, 0, 1.5, 2**63, 10**400, True, [None], {"a": 1}, "\x1b[2J", "../up", [[[[]]]])
) | st.text(max_size=5)


@given(st.data())
@fuzz(200)
def test_other_values_in_a_model_file_are_read_or_refused(seed, tmp_path, data):
    fields = json.loads((seed / "model.json").read_bytes())
    place = fields
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(VALUES)
    folder = with_file(seed, tmp_path / "model", "model.json", json.dumps(fields).encode())
    for read in (load_model, summarise):
        assert "model" in (refusal(read, folder, REFUSED) or "model")


@given(st.data())
@fuzz(15)
def test_what_a_model_says_of_itself_is_shown_or_refused(seed, tmp_path, temporary, data):
    content = damaged((seed / "model.json").read_bytes(), data.draw(st.lists(damage(), min_size=1, max_size=2)))
    folder = with_file(seed, tmp_path / "model", "model.json", content)
    assert holds(temporary, "models", "info", folder) in (0, 4)


@given(st.lists(damage(), min_size=1, max_size=3))
@example([("insert", 0.0, b"\x82\x80\x80\x80\x10\x02ab")])  # a tag beyond 32 bits, which C++ cuts off
@example([("insert", 0.0, b"\x0f")])  # a kind of field that there is not
@example([("insert", 0.0, b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")])  # a length of 2^63
@fuzz(400)
def test_damaged_graphs_are_taken_apart_or_refused(seed, changes):
    whole = (seed / "model.onnx").read_bytes()
    assert look_into(whole, "x.onnx").inputs
    assert "x.onnx" in (refusal(lambda graph: look_into(graph, "x.onnx"), damaged(whole, changes), REFUSED) or "x.onnx")


@given(st.binary(max_size=120))
@fuzz(200)
def test_bytes_that_are_no_graph_are_taken_apart_or_refused(content):
    assert "x.onnx" in (refusal(lambda graph: look_into(graph, "x.onnx"), content, REFUSED) or "x.onnx")
