import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fakes import tiny_graph, tiny_source, tiny_spec, tiny_weights, write_tiny_model
from hypothesis import given
from hypothesis import strategies as st

from gliomask.engines.choose import ENGINES
from gliomask.engines.fake import FakeEngine
from gliomask.errors import ModelError, UsageError
from gliomask.models import available, files, registry
from gliomask.models.files import pack_arrays, sha256, unpack_arrays
from gliomask.models.graph import FIELDS, look_into
from gliomask.models.registry import DEFAULT_MODEL, SHIPPED, SHIPPED_FOLDER, load_model, shipped_models
from gliomask.models.spec import MODEL_FILES, ModelSpec, parse_spec, spec_bytes


@pytest.fixture(params=["slices", "volumes"])
def kind(request):
    return request.param


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def edit(folder: Path, change) -> None:
    """Changes the fields of a model.json."""
    fields = json.loads((folder / "model.json").read_text())
    change(fields)
    (folder / "model.json").write_text(json.dumps(fields))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Puts another file in place, with its right hash."""
    (folder / name).write_bytes(content)
    edit(folder, lambda fields: fields["files"].update({name: sha256(content)}))


# What a sound model does.


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_sound_model_opens(tmp_path, kind, engine):
    pytest.importorskip(engine)
    opened = load_model(write_tiny_model(tmp_path / "tiny", kind)).open(engine, threads=1)
    assert opened.name == engine
    shape = (2, 4, 6, 4) if kind == "slices" else (1, 2, 4, 6, 4)
    assert opened.predict(np.zeros(shape, np.float32)).shape == shape
    opened.close()


def test_a_model_tells_its_identity(folder):
    model = load_model(str(folder))
    assert model.spec.name == "tiny"
    assert model.sha256 == sha256((folder / "model.json").read_bytes())
    assert model.source.channels == 4
    assert model.source.weights.keys() == tiny_weights("slices").keys()


def test_specification_survives_its_file(kind):
    spec = tiny_spec(kind, scores={"dice_median": {"WT": 0.9}})
    assert parse_spec(spec_bytes(spec), "model.json") == spec
    assert spec_bytes(parse_spec(spec_bytes(spec), "model.json")) == spec_bytes(spec)


# What is refused: the text of model.json.


GRAPH = {"layout": "channels_last", "size": None, "batch": None, "activation": "none"}
FOREIGN_RECORD = {"origin": "elsewhere", "training": "Not known."}


@pytest.mark.parametrize("field", sorted(set(ModelSpec.model_fields) - {"int8"}))
def test_a_missing_field_is_refused(folder, field):
    edit(folder, lambda fields: fields.pop(field))
    with pytest.raises(ModelError, match=f"{field}: Field required"):
        load_model(folder)


def test_every_field_of_the_training_is_needed_too(folder):
    fields = list(json.loads((folder / "model.json").read_text())["training"])
    content = (folder / "model.json").read_text()
    for field in fields:
        (folder / "model.json").write_text(content)
        edit(folder, lambda all_fields, field=field: all_fields["training"].pop(field))
        with pytest.raises(ModelError, match=f"training.{field}: Field required"):
            load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "blue"}, "colour: Extra inputs"),
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": "1"}, "schema_version"),
        ({"name": "../tiny"}, "name"),
        ({"name": "Tiny Model"}, "name"),
        (
            {"outputs": ["background", "necrotic", "oedema", "resection"]},
            "outputs must be background, necrotic, oedema, enhancing",
        ),
        ({"outputs": ["background", "oedema", "oedema", "enhancing"]}, "each once"),
        ({"outputs": ["WT", "TC"]}, "WT, TC, ET, each once"),
        ({"outputs": ["background", "necrotic", "oedema"]}, "outputs"),
        ({"inputs": ["flair", "t1", "t1ce", "adc"]}, "inputs.3"),
        ({"inputs": ["flair", "t1", "t1", "t2"]}, "named twice"),
        ({"inputs": []}, "inputs"),
        ({"input_kind": "slabs"}, "input_kind"),
        ({"orientation": "RAR"}, "orientation"),
        ({"orientation": "LP"}, "orientation"),
        ({"graph": GRAPH | {"activation": "sigmoid"}}, "a sigmoid goes with the regions"),
        ({"graph": GRAPH | {"activation": "softmax"}, "outputs": ["WT", "TC", "ET"]}, "a softmax goes with labels"),
        ({"graph": GRAPH | {"activation": "relu"}}, "graph.activation"),
        ({"graph": GRAPH | {"layout": "channels_second"}}, "graph.layout"),
        ({"graph": GRAPH | {"size": [64, 64, 64]}}, "slices have 2 sizes; found 3"),
        ({"graph": GRAPH | {"size": [64, 63]}}, "multiples of size_multiple"),
        ({"graph": GRAPH | {"batch": 0}}, "graph.batch"),
        ({"graph": GRAPH | {"size": [64, 64]}, "neighbouring_slices": 1}, "open sizes"),
        ({"neighbouring_slices": 1, "orientation": "RAS"}, "orientation LPS"),
        ({"training": None}, "the other is null"),
        ({"foreign": FOREIGN_RECORD}, "the other is null"),
        ({"foreign": FOREIGN_RECORD, "training": None}, "network is 'foreign'"),
        ({"network": "foreign"}, "network is 'foreign'"),
        ({"receptive_field": None}, "has a receptive_field and weights"),
        ({"timing": {"seconds": 0.0, "conditions": "x", "command": "x"}}, "timing.seconds"),
        ({"spacing_mm": [1.0, 1.0]}, "spacing_mm"),
        ({"spacing_mm": [1.0, 1.0, 0.0]}, "spacing_mm"),
        ({"receptive_field": "30"}, "receptive_field"),
        ({"size_multiple": 0}, "size_multiple"),
        ({"parameters": 0}, "parameters"),
        ({"normalisation": {"method": "minmax", "background": 0.0}}, "no normalisation 'minmax'"),
        ({"normalisation": {"method": "slice", "background": 0.0}}, "gives background the value -9.0"),
        ({"postprocess": "magic"}, "no post-processing 'magic'"),
        ({"golden_tolerance": 0.5}, "golden_tolerance"),
        ({"golden_tolerance": float("nan")}, r"model\.json: not a model file .*NaN"),
        ({"files": {}}, "found none"),
        ({"files": {"../model.onnx": "0" * 64, "weights.npz": "0" * 64, "golden.npz": "0" * 64}}, "and no path"),
        ({"files": {"/etc/passwd": "0" * 64, "weights.npz": "0" * 64, "golden.npz": "0" * 64}}, "and no path"),
        ({"files": dict.fromkeys((*MODEL_FILES, "setup.py"), "0" * 64)}, "and no path"),
        ({"files": dict.fromkeys(MODEL_FILES, "0" * 63)}, "files.model.onnx"),
    ],
)
def test_an_impossible_field_is_refused(folder, change, message):
    edit(folder, lambda fields: fields.update(change))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"name": "\xff"}'],
    ids=["empty", "cut", "list", "utf16", "deep", "latin"],
)
def test_a_file_that_is_no_json_is_refused(folder, content):
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json: not a model file"):
        load_model(folder)


# What is refused: the files.


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_a_changed_byte_is_refused(folder, name, where):
    content = bytearray((folder / name).read_bytes())
    content[int(where * len(content))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}: altered or damaged"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.json", *MODEL_FILES])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name}: missing"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.json", *MODEL_FILES])
def test_an_oversized_file_is_refused_without_being_read_whole(folder, name, monkeypatch):
    monkeypatch.setitem(files.MAX_BYTES, name, (folder / name).stat().st_size)
    load_model(folder)
    monkeypatch.setitem(files.MAX_BYTES, name, (folder / name).stat().st_size - 1)
    with pytest.raises(ModelError, match=f"{name}: larger than"):
        load_model(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder):
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    with pytest.raises(ModelError, match="not a regular file"):
        load_model(folder)


def test_weights_of_another_count_are_refused(folder):
    edit(folder, lambda fields: fields.update(parameters=fields["parameters"] + 1))
    with pytest.raises(ModelError, match="parameters"):
        load_model(folder)


# What is refused: arrays.


def npz(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def npy(array: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def huge_npy() -> bytes:
    """An array of 16 terabytes, says its header."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (2**21, 2**21)})
    return stream.getvalue() + bytes(64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        npz(("a.npy", b"not an array")),
        npz(("a.npy", npy(np.zeros(3)))),
        npz(("a.npy", npy(np.zeros(3, ">f4")))),
        npz(("a.npy", npy(np.array([{}], object), allow_pickle=True))),
        npz(("a.npy", npy(np.zeros((2, 3), np.float32, order="F")))),
        npz(("a.npy", npy(np.array([np.nan], np.float32)))),
        npz(("a.npy", npy(np.array([np.inf], np.float32)))),
        npz(("a.npy", huge_npy())),
        npz(("a.npy", npy(np.zeros(3, np.float32))[:-1])),
        npz(("a.npy", npy(np.zeros(3, np.float32)) + b"x")),
        npz(("a.npy", npy(np.zeros(100_000, np.float32))), compression=zipfile.ZIP_DEFLATED),
    ],
    ids=[
        "empty",
        "cut",
        "text",
        "double",
        "big-endian",
        "pickle",
        "fortran",
        "nan",
        "inf",
        "huge",
        "short",
        "long",
        "compressed",
    ],
)
def test_arrays_that_cannot_be_trusted_are_refused(content):
    with pytest.raises(ModelError, match=r"golden\.npz: not a file of arrays"):
        unpack_arrays(content, "golden.npz")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_arrays(content):
    whole = npz(("a.npy", npy(np.arange(4, dtype=np.float32))))
    for attempt in (content, whole[: len(content)], whole[:60] + content + whole[60 + len(content) :]):
        try:
            unpack_arrays(attempt, "golden.npz")
        except ModelError:
            continue


@given(st.dictionaries(st.sampled_from(["flair", "t1", "module/kernel"]), st.lists(st.integers(0, 4), max_size=4)))
def test_packed_arrays_come_back(shapes):
    arrays = {
        name: np.random.default_rng(0).standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    found = unpack_arrays(pack_arrays(arrays), "x")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert pack_arrays(arrays) == pack_arrays(found)


def test_packed_arrays_carry_no_date():
    with zipfile.ZipFile(io.BytesIO(pack_arrays({"a": np.zeros(3, np.float32)}))) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


# What is refused: graphs.


def test_numbers_kept_in_another_file_are_refused(folder):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(tiny_graph("slices", tiny_weights("slices")))
    tensor = graph.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.ClearField("raw_data")
    replace_file(folder, "model.onnx", graph.SerializeToString())
    with pytest.raises(ModelError, match="refers to another file"):
        load_model(folder)


def test_numbers_kept_elsewhere_are_found_in_every_corner_of_a_graph():
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def plain():
        return onnx.numpy_helper.from_array(np.zeros(2, np.float32), "a")

    def external():
        tensor = plain()
        onnx.external_data_helper.set_external_data(tensor, "elsewhere.bin")
        return tensor

    def model(graph, **fields):
        return helper.make_model(graph, **fields).SerializeToString()

    def graph(nodes=(), **fields):
        return helper.make_graph(list(nodes), "g", [], [], **fields)

    def corners(tensor):
        constant = helper.make_node("Constant", [], ["c"], value=tensor)
        sparse = helper.make_sparse_tensor(tensor, onnx.numpy_helper.from_array(np.zeros(2, np.int64)), [4])
        function = helper.make_function("d", "f", [], [], [constant], [helper.make_opsetid("", 17)])
        yield model(graph(initializer=[tensor]))
        yield model(graph([constant]))
        yield model(graph([helper.make_node("If", ["c"], ["y"], then_branch=graph([constant]), else_branch=graph())]))
        yield model(graph([helper.make_node("Odd", [], ["y"], many=[graph([constant])])]))
        yield model(graph([helper.make_node("Odd", [], ["y"], many=[tensor])]))
        yield model(graph([helper.make_node("Constant", [], ["c"], sparse_value=sparse)]))
        yield model(graph(sparse_initializer=[sparse]))
        yield model(graph(), functions=[function])

    for content in corners(plain()):
        look_into(content, "model.onnx")
    for content in corners(external()):
        with pytest.raises(ModelError, match="refers to another file"):
            look_into(content, "model.onnx")


def test_field_numbers_are_those_of_onnx():
    onnx = pytest.importorskip("onnx")
    found: dict[str, dict[int, str]] = {}

    def name(message) -> str:
        return message.full_name.removeprefix("onnx.") if message else ""

    def collect(message) -> None:
        if name(message) not in found:
            found[name(message)] = {f.number: name(f.message_type) for f in message.fields}
            for f in message.fields:
                if f.message_type:
                    collect(f.message_type)

    collect(onnx.ModelProto.DESCRIPTOR)
    assert found == FIELDS
    assert {f.name: f.number for f in onnx.TensorProto.DESCRIPTOR.fields}.items() >= {
        ("external_data", 13),
        ("data_location", 14),
    }


def varint(value: int) -> bytes:
    return (bytes([value & 0x7F | 0x80]) + varint(value >> 7)) if value > 0x7F else bytes([value])


def entry(number: int, content: bytes) -> bytes:
    """A field of bytes, by hand."""
    return varint(number << 3 | 2) + varint(len(content)) + content


CUT_OFF = 1 << 29
"""A field's number may have 29 bits: to a reader in C++ this much more is the same field."""


@pytest.mark.parametrize("beyond", [CUT_OFF, 3 * CUT_OFF, CUT_OFF << 20])
def test_fields_beyond_32_bits_hide_nothing(beyond):
    tensor = entry(8, b"w") + entry(13 + beyond, entry(1, b"location") + entry(2, b"../secret"))
    loop = entry(4 + beyond, b"Loop")
    for content in (
        entry(7, entry(5, tensor)),
        entry(7, entry(5 + beyond, entry(13, b""))),
        entry(7 + beyond, entry(1, entry(4, b"Loop"))),
        entry(7, entry(1, loop)),
        entry(7, entry(1, entry(4, b"Relu") + loop)),
    ):
        with pytest.raises(ModelError, match=r"model\.onnx: not an ONNX file"):
            look_into(SOUND_GRAPH + content, "model.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (entry(999, b""), "a ModelProto has a field 999"),
        (entry(7, entry(3, b"")), "a GraphProto has a field 3"),
        (entry(7, entry(1, entry(11, b""))), "a NodeProto has a field 11"),
        (entry(7, entry(5, entry(15, b""))), "a TensorProto has a field 15"),
        (entry(7, entry(11, entry(2, entry(10, b"")))), "a TypeProto has a field 10"),
        (entry(0, b""), "not an ONNX file"),
        (varint(7 << 3) + varint(5), "is a number in place of a GraphProto"),
        (
            entry(25, entry(1, b"Loop") + entry(10, b"")) + entry(7, entry(1, entry(4, b"Loop"))),
            "defines a function 'Loop' of its own",
        ),
        (entry(25, entry(1, b"Relu") + entry(10, b"ai.onnx")), "defines a function 'Relu' of its own"),
    ],
)
def test_what_onnx_does_not_define_is_refused(content, message):
    with pytest.raises(ModelError, match=message):
        look_into(SOUND_GRAPH + content, "model.onnx")


def test_graphs_of_too_many_parts_are_refused():
    with pytest.raises(ModelError, match="more than 20,000 operators"):
        look_into(entry(7, entry(1, b"") * 2_000_000), "model.onnx")
    with pytest.raises(ModelError, match="more than 1,048,576 parts"):
        look_into(SOUND_GRAPH + entry(8, b"") * 2_000_000, "model.onnx")


@given(st.data())
def test_no_bytes_break_the_look_into_a_graph(data):
    whole = SOUND_GRAPH
    start = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.binary(max_size=12))
    for attempt in (noise, whole[:start], whole[:start] + noise + whole[start + len(noise) :]):
        try:
            look_into(attempt, "model.onnx")
        except ModelError:
            continue


# A graph with one node, worked out by hand, so that this needs no ONNX software: field 1 of message 7.
SOUND_GRAPH = bytes([0x08, 8, 0x3A, 8, 0x0A, 6, 0x22, 4]) + b"Relu"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08\x08", b"<?xml version='1.0'?><net/>", b"\x3a\xff", b"\x3b\x01", b"\xff" * 20, b"\x3a\x02\x0a"],
)
def test_what_is_no_graph_is_refused(content):
    with pytest.raises(ModelError, match=r"model\.onnx: not an ONNX file"):
        look_into(content, "model.onnx")


def test_a_sound_graph_is_let_through():
    look_into(SOUND_GRAPH, "model.onnx")


def test_nesting_without_end_is_refused():
    content = b""
    for _ in range(100):  # a node's attribute holds a graph that holds a node
        for tag in (0x32, 0x2A, 0x0A):
            content = bytes([tag]) + varint(len(content)) + content
    with pytest.raises(ModelError, match="nested more than"):
        look_into(b"\x3a" + varint(len(content)) + content, "model.onnx")


# What is refused: a golden pair that is not reproduced.


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "order", [["t1", "flair", "t1ce", "t2"], ["flair", "t1", "t2", "t1ce"], ["t2", "flair", "t1", "t1ce"]]
)
def test_another_order_of_inputs_is_refused(tmp_path, kind, engine, order):
    pytest.importorskip(engine)
    folder = write_tiny_model(tmp_path / "tiny", kind)
    edit(folder, lambda fields: fields.update(inputs=order))
    model = load_model(folder)
    with pytest.raises(ModelError, match="does not reproduce its golden pair"):
        model.open(engine)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_with_other_weights_is_refused_even_with_a_right_hash(folder, engine):
    pytest.importorskip(engine)
    replace_file(folder, "model.onnx", tiny_graph("slices", tiny_weights("slices", seed=8)))
    with pytest.raises(ModelError, match="does not reproduce its golden pair"):
        load_model(folder).open(engine)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_of_another_kind_is_refused(folder, engine):
    pytest.importorskip(engine)
    replace_file(folder, "model.onnx", tiny_graph("volumes", tiny_weights("volumes")))
    with pytest.raises(ModelError, match="failed on the network 'tiny'"):
        load_model(folder).open(engine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda golden: golden.pop("t1"), "the model needs"),
        (lambda golden: golden.pop("probabilities"), "the model needs"),
        (lambda golden: golden.update(adc=golden["t1"]), "the model needs"),
        (lambda golden: golden.update(t1=golden["t1"][:, :-2]), "do not fit slices"),
        (lambda golden: golden.update(probabilities=golden["probabilities"][..., :3]), "do not fit slices"),
        (lambda golden: golden.update({name: array[None] for name, array in golden.items()}), "do not fit slices"),
    ],
)
def test_a_golden_pair_that_does_not_fit_is_refused(folder, change, message):
    golden = unpack_arrays((folder / "golden.npz").read_bytes(), "golden.npz")
    change(golden)
    replace_file(folder, "golden.npz", pack_arrays(golden))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


class Closing(FakeEngine):
    closed = 0

    def close(self):
        type(self).closed += 1
        super().close()


class ClosingNan(Closing):
    def predict(self, batch):
        return super().predict(batch) * np.float32(np.nan)


@pytest.mark.parametrize("engine", [Closing, ClosingNan])
def test_an_engine_that_answers_otherwise_is_closed_and_refused(folder, monkeypatch, engine):
    monkeypatch.setattr(registry, "open_engine", lambda *_: engine(np.eye(4)))
    engine.closed = 0
    with pytest.raises(ModelError, match="does not reproduce its golden pair"):
        load_model(folder).open()
    assert engine.closed == 1


# Names.


def test_an_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(ModelError, match="There is no model 'resnet'. Shipped models: "):
        load_model("resnet")
    with pytest.raises(ModelError, match="There is no model"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["sparse-multi-ocm", "sparse", "SparseMultiOCM", "SPARSE"])
def test_a_shipped_model_answers_to_its_names(tmp_path, monkeypatch, name):
    monkeypatch.setattr(available, "SHIPPED_FOLDER", tmp_path)
    write_tiny_model(tmp_path / "sparse-multi-ocm")
    assert shipped_models() == ["sparse-multi-ocm"]
    assert load_model(name).spec.name == "tiny"


def test_a_folder_named_like_a_model_needs_its_path(tmp_path, monkeypatch):
    monkeypatch.setattr(available, "SHIPPED_FOLDER", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "sparse")
    assert load_model("./sparse").spec.name == "tiny"
    assert load_model(Path("sparse")).spec.name == "tiny"
    with pytest.raises(ModelError, match="There is no model 'sparse'"):
        load_model("sparse")


def test_the_default_is_one_of_the_shipped():
    assert next(iter(SHIPPED)) == DEFAULT_MODEL


@pytest.mark.parametrize("name", shipped_models())
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", pytest.param("keras", marks=pytest.mark.train)])
def test_shipped_models_open_under_their_names(name, engine):
    pytest.importorskip(ENGINES[engine].package)
    model = load_model(name)
    assert (model.spec.name, model.spec.network) == (name, SHIPPED[name])
    assert model.spec.attribution
    model.open(engine).close()


def test_every_shipped_folder_is_a_known_model():
    found = [path.name for path in SHIPPED_FOLDER.iterdir() if path.is_dir()] if SHIPPED_FOLDER.is_dir() else []
    assert set(found) <= set(SHIPPED)


def test_an_engine_nobody_knows_is_a_usage_error(folder):
    with pytest.raises(UsageError, match="no engine 'abacus'"):
        load_model(folder).open("abacus")


def test_the_source_of_a_known_network_can_be_built_in_keras(folder):
    assert load_model(folder).source.build is None
    edit(folder, lambda fields: fields.update(network="sparse"))
    assert load_model(folder).source.build is not None
    assert tiny_source("slices").build is not None


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e400", "NaN"])
@pytest.mark.parametrize("field", ["parameters", "receptive_field", "neighbouring_slices", "golden_tolerance"])
def test_numbers_that_overflow_are_refused_by_every_reader(folder, field, number):
    path = folder / "model.json"
    changed, count = re.subn(rf'"{field}": *[\d.e-]+', f'"{field}": {number}', path.read_text())
    assert count == 1
    path.write_text(changed)
    for read in (load_model, available.summarise):
        with pytest.raises(ModelError, match=r"model\.json: not a model file"):
            read(folder)
