"""A foreign graph runs in a process of its own first: whatever it does there is an error with an exit code here."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest
from fakes import tiny_source, write_tiny_model

from gliomask.engines.base import EngineSource
from gliomask.errors import EngineUnavailableError, LimitError, ModelError, UsageError
from gliomask.models import registry, trial
from gliomask.models.adopt import ModelDescription, adopt
from gliomask.models.registry import load_model
from gliomask.models.trial import try_out

onnx = pytest.importorskip("onnx")
helper = onnx.helper

BATCH = np.ones((1, 4, 4, 4), np.float32)
ENGINES = ["openvino", "onnxruntime"]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its memory")


@pytest.fixture(autouse=True)
def untried(monkeypatch):
    """What other tests have tried counts as not tried."""
    monkeypatch.setattr(trial, "_tried", set())


@pytest.fixture(params=ENGINES)
def engine(request):
    pytest.importorskip(request.param)
    return request.param


def graph(nodes, constants) -> bytes:
    """A graph from `x` to `y`, slices of 4 channels and any size, channels last."""
    ends = [helper.make_tensor_value_info(name, 1, ["n", "i", "j", 4]) for name in "xy"]
    arrays = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    made = helper.make_graph([helper.make_node(*node) for node in nodes], "g", ends[:1], ends[1:], arrays)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def far_index() -> bytes:
    return graph(
        [("GatherND", ["x", "i"], ["a"]), ("Add", ["x", "a"], ["y"])],
        {"i": np.array([[1 << 40]], np.int64), "unused": np.ones(1, np.float32)},
    )


def huge(operator: str, sizes: list[int]) -> bytes:
    """A graph that makes a tensor of those sizes."""
    inputs = ["one", "sizes"] if operator == "Expand" else ["sizes"]
    nodes = [(operator, inputs, ["a"]), ("ReduceMax", ["a"], ["b"]), ("Add", ["x", "b"], ["y"])]
    return graph(nodes, {"one": np.ones(1, np.float32), "sizes": np.array(sizes, np.int64)})


def test_a_sound_graph_comes_through_once(engine, monkeypatch):
    source = tiny_source("slices")
    try_out(source, engine, BATCH, 1)
    monkeypatch.setattr(trial.subprocess, "run", None)
    try_out(source, engine, BATCH, 1)
    with pytest.raises(TypeError):
        try_out(source, engine, BATCH, 2)


def test_an_index_far_outside_is_a_model_error(engine):
    with pytest.raises(ModelError, match="'far'") as caught:
        try_out(EngineSource(far_index(), "far"), engine, BATCH)
    assert caught.value.exit_code == 4


@ON_LINUX
@pytest.mark.parametrize(("operator", "sizes"), [("Expand", [40_000_000_000]), ("ConstantOfShape", [3_000_000_000])])
def test_a_tensor_larger_than_a_trial_may_take_is_a_limit_error(engine, operator, sizes):
    with pytest.raises(LimitError, match="memory is short") as caught:
        try_out(EngineSource(huge(operator, sizes), "huge"), engine, BATCH)
    assert caught.value.exit_code == 5


def test_a_trial_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 0.05)
    with pytest.raises(LimitError, match=r"within 0\.05 seconds"):
        try_out(tiny_source("slices"), "openvino", BATCH)


def answered(code: int, out: bytes, said: bytes = b""):
    """A child that ends like that."""
    return lambda command, **_: trial.subprocess.CompletedProcess(command, code, out, said)


@pytest.mark.parametrize(
    ("child", "kind", "message"),
    [
        (answered(-signal.SIGSEGV, b""), ModelError, "by signal 11"),
        (answered(-signal.SIGABRT, b"", b"terminate called"), ModelError, "by signal 6: terminate called"),
        (answered(-signal.SIGALRM, b""), LimitError, "within 300 seconds"),
        (answered(1, b"Traceback", b"No module"), ModelError, "with code 1: No module"),
        (answered(0, b""), ModelError, "with code 0"),
        (answered(0, b"[]"), ModelError, "with code 0"),
        (answered(0, b'{"code": 4, "said": "wrong"}'), ModelError, "wrong"),
        (answered(0, b'{"code": 5, "said": "too large"}'), LimitError, "too large"),
    ],
)
def test_every_end_of_a_child_has_its_error(monkeypatch, child, kind, message):
    monkeypatch.setattr(trial.subprocess, "run", child)
    with pytest.raises(kind, match=message):
        try_out(tiny_source("slices"), "openvino", BATCH)
    assert trial._tried == set()


def test_a_process_that_cannot_be_started_is_a_limit_error(monkeypatch):
    def none_left(*_, **__):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(trial.subprocess, "run", none_left)
    with pytest.raises(LimitError, match="no process can be started"):
        try_out(tiny_source("slices"), "openvino", BATCH)


def test_the_working_folder_lends_no_module(tmp_path, monkeypatch):
    for name in ("numpy.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    try_out(tiny_source("slices"), "openvino", BATCH)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["json.py", "numpy.py"]


def test_models_that_are_not_shipped_are_tried_and_shipped_ones_are_not(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(registry, "try_out", lambda source, engine, batch, threads: tried.append((engine, batch.shape)))
    load_model(write_tiny_model(tmp_path / "tiny")).open().close()
    assert tried == [("openvino", (1, 6, 10, 4))]
    load_model("sparse-multi-ocm").open(threads=1).close()
    assert len(tried) == 1


@pytest.mark.parametrize("content", [far_index(), huge("Expand", [40_000_000_000])], ids=["far", "huge"])
def test_adopting_a_hostile_graph_leaves_no_model_behind(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    said = ModelDescription(
        inputs=("t1", "t1ce", "t2", "flair"),
        outputs=("background", "oedema", "necrotic", "enhancing"),
        activation="softmax",
        orientation="LPS",
        normalisation="z-score-brain",
        size_multiple=2,
        halo=0,
        layout="channels_last",
        licence="CC0-1.0",
        origin="Made for a test.",
        training="None.",
    )
    with pytest.raises((ModelError, LimitError)):
        adopt(tmp_path / "net.onnx", tmp_path / "model", "net", said)
    assert not (tmp_path / "model").exists()


def test_the_same_errors_come_out_of_the_child_as_here(monkeypatch):
    with pytest.raises(ModelError, match="cannot run the network 'tiny'"):
        try_out(EngineSource(b"not a graph", "tiny"), "openvino", BATCH)
    with pytest.raises((ModelError, UsageError), match="multiples of 2"):
        try_out(tiny_source("slices"), "openvino", np.ones((1, 3, 4, 4), np.float32))
    assert issubclass(EngineUnavailableError, ModelError)
