"""The int8 graph of a model: what is refused, which precision is chosen, and that an engine's answer is the float32
one, nearly, and repeatable.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import write_tiny_model

from gliomask.engines import precision
from gliomask.engines.choose import open_engine
from gliomask.engines.precision import choose_precision, pays
from gliomask.errors import ModelError, UsageError
from gliomask.models.content import INT8_GRAPH, sha256
from gliomask.models.graph import look_into_int8
from gliomask.models.registry import load_model
from gliomask.models.verify import verify_model
from gliomask.segmentation import Options, Segmenter

onnx = pytest.importorskip("onnx")
SCALE, ZERO = 0.04, 128
TOLERANCE = 0.03
FACTS = {"tolerance": TOLERANCE, "cases": ["a"], "slices": 3, "software": "by hand", "command": "none"}


def int8_graph(content, quantiser="QuantizeLinear"):
    """Puts a quantiser and its undoing before each convolution."""
    model, made = onnx.load_from_string(content), []
    for node in model.graph.node:
        if node.op_type == "Conv":
            given = node.input[0]
            numbers = [f"{given}_scale", f"{given}_zero"]
            made.append(onnx.helper.make_node(quantiser, [given, *numbers], [f"{given}_q"]))
            made.append(onnx.helper.make_node("DequantizeLinear", [f"{given}_q", *numbers], [f"{given}_d"]))
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(SCALE, np.float32), numbers[0]))
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(ZERO, np.uint8), numbers[1]))
            node.input[0] = f"{given}_d"
        made.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def add_int8(folder, graph, **changes):
    (folder / INT8_GRAPH).write_bytes(graph)
    fields = json.loads((folder / "model.json").read_text())
    fields["files"][INT8_GRAPH] = sha256(graph)
    fields["int8"] = FACTS | changes
    (folder / "model.json").write_text(json.dumps(fields))
    return folder


@pytest.fixture
def plain(tmp_path):
    return write_tiny_model(tmp_path / "plain")


@pytest.fixture
def folder(tmp_path):
    folder = write_tiny_model(tmp_path / "tiny")
    return add_int8(folder, int8_graph((folder / "model.onnx").read_bytes()))


# The answer.


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_int8_is_nearly_the_float32_answer_and_not_it(folder, engine):
    pytest.importorskip(engine)
    model = load_model(folder)
    batch = np.random.default_rng(1).standard_normal((2, 8, 12, 4)).astype(np.float32)
    with_floats, with_int8 = (open_engine(engine, one.source).predict(batch) for one in (model, model.in_int8()))
    apart = np.abs(with_floats - with_int8)
    assert 0 < apart.mean() < TOLERANCE


@pytest.mark.parametrize("shape", [(1, 16, 16), (8, 48, 32), (3, 6, 10)])
def test_one_and_two_threads_give_the_same_bits_in_int8(folder, shape):
    source = load_model(folder).in_int8().source
    batch = np.random.default_rng(2).standard_normal((*shape, 4)).astype(np.float32)
    one, two = (open_engine("openvino", source, threads).predict(batch) for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_every_engine_proves_both_graphs(folder):
    found = verify_model(str(folder))
    assert found.sound, found.problem
    assert 0 < found.engines["openvino int8"] < TOLERANCE
    assert found.engines["openvino"] < 1e-4


def test_a_model_without_int8_is_read_as_before(plain):
    assert load_model(plain).spec.int8 is None
    assert not [name for name in verify_model(str(plain)).engines if "int8" in name]


# What is refused.


def test_int8_graphs_that_answer_otherwise_are_refused(folder):
    graph = onnx.load_from_string((folder / INT8_GRAPH).read_bytes())
    for tensor in graph.graph.initializer:
        if tensor.name == "logits_bias":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([3, 0, 0, 0], np.float32), tensor.name))
    add_int8(folder, graph.SerializeToString())
    model = load_model(folder)
    model.open().close()
    with pytest.raises(ModelError, match="does not reproduce its golden pair in int8"):
        model.in_int8().open()
    assert "in int8" in verify_model(str(folder)).problem


def test_a_changed_byte_is_refused(folder):
    content = bytearray((folder / INT8_GRAPH).read_bytes())
    content[-1] ^= 1
    (folder / INT8_GRAPH).write_bytes(content)
    with pytest.raises(ModelError, match=f"{INT8_GRAPH}: altered or damaged"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("int8"), "both are there, or neither"),
        (lambda f: f["files"].pop(INT8_GRAPH), "both are there, or neither"),
        (lambda f: f["int8"].update(cases=["a", "stranger"]), "stranger are no training cases"),
        (lambda f: f["int8"].update(tolerance=0.5), "int8.tolerance"),
        (lambda f: f["int8"].update(slices=0), "int8.slices"),
        (lambda f: f["int8"].pop("software"), "int8.software"),
    ],
)
def test_what_model_json_says_of_it_must_hold(folder, change, message):
    fields = json.loads((folder / "model.json").read_text())
    change(fields)
    (folder / "model.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_only_the_two_quantisers_may_be_added(plain):
    content = (plain / "model.onnx").read_bytes()
    look_into_int8(int8_graph(content), content, "x")
    with pytest.raises(ModelError, match="holds no QuantizeLinear"):
        look_into_int8(content, content, "x")
    with pytest.raises(ModelError, match="holds DynamicQuantizeLinear, which neither quantises"):
        look_into_int8(int8_graph(content, "DynamicQuantizeLinear"), content, "x")
    fake = onnx.load_from_string(int8_graph(content))
    fake.graph.node[1].op_type, fake.graph.node[1].domain = "FakeQuantize", "org.openvinotoolkit"
    with pytest.raises(ModelError, match="not one of ONNX's own"):
        look_into_int8(fake.SerializeToString(), content, "x")


def test_another_end_is_refused(plain):
    content = (plain / "model.onnx").read_bytes()
    other = onnx.load_from_string(int8_graph(content))
    other.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64
    with pytest.raises(ModelError, match="another input or output"):
        look_into_int8(other.SerializeToString(), content, "x")


def test_keras_and_models_without_it_refuse_int8(folder, plain):
    with pytest.raises(UsageError, match="'keras' does not compute in int8"):
        load_model(folder).in_int8().open("keras")
    with pytest.raises(UsageError, match="has no int8 graph"):
        load_model(plain).in_int8()
    with pytest.raises(UsageError, match="no precision 'int4'"):
        choose_precision("int4", "openvino", offered=True)


# The choice.


@pytest.mark.parametrize(
    ("engine", "flags", "machine", "expected"),
    [
        ("openvino", "sse avx2", "x86_64", True),
        ("openvino", "avx2 avx512_vnni", "x86_64", True),
        ("openvino", "sse", "x86_64", False),
        ("openvino", "", "AMD64", True),
        ("openvino", "asimd", "aarch64", False),
        ("openvino", "", "arm64", False),
        ("onnxruntime", "avx2", "x86_64", False),
        ("onnxruntime", "avx2 avx_vnni", "x86_64", True),
        ("keras", "avx512_vnni", "x86_64", False),
    ],
)
def test_auto_is_int8_where_the_processor_gains_by_it(monkeypatch, engine, flags, machine, expected):
    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset(flags.split()))
    monkeypatch.setattr(precision.platform, "machine", lambda: machine)
    assert pays(engine) is expected
    assert choose_precision("auto", engine, offered=True) == ("int8" if expected else "fp32")
    assert choose_precision("auto", engine, offered=False) == "fp32"
    assert choose_precision("fp32", engine, offered=True) == "fp32"
    assert choose_precision("int8", engine, offered=False) == "int8"


def test_a_segmenter_says_what_became_of_auto(folder, plain, monkeypatch):
    monkeypatch.setattr(
        "gliomask.segmentation.segmenter.choose_precision", lambda asked, engine, offered: "int8" if offered else "fp32"
    )
    for where, expected in ((folder, "int8"), (plain, "fp32")):
        with Segmenter(Options(model=str(where))) as segmenter:
            assert segmenter.options.precision == expected
            assert segmenter.first.model.precision == expected


def test_a_second_member_without_int8_stays_in_float32(folder, plain):
    with Segmenter(Options(model=str(folder), precision="int8", ensemble_member=str(plain))) as segmenter:
        assert (segmenter.first.model.precision, segmenter.second.model.precision) == ("int8", "fp32")
    with pytest.raises(UsageError, match="has no int8 graph"):
        Segmenter(Options(model=str(plain), precision="int8"))


def test_a_foreign_int8_graph_is_tried_in_a_process_of_its_own(folder, monkeypatch):
    tried = []
    monkeypatch.setattr("gliomask.models.registry.try_out", lambda source, *rest: tried.append(source.graph))
    model = load_model(folder)
    model.in_int8().open().close()
    assert tried == [model.int8]
    assert replace(model, shipped=True).in_int8().shipped
