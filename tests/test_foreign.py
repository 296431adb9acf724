"""Models trained elsewhere: graphs of every layout are adopted, proved, and give what numpy gives; hostile and doubtful
ones are refused by name.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_tiny_case
from hypothesis import given
from hypothesis import strategies as st

from gliomask.engines.layout import TensorLayout, label_probabilities
from gliomask.errors import ModelError, UsageError
from gliomask.labels import Label
from gliomask.models import content
from gliomask.models.adopt import ModelDescription, adopt
from gliomask.models.registry import load_model
from gliomask.models.verify import verify_model
from gliomask.postprocess import decide
from gliomask.predict.brain import predict_brain
from gliomask.preprocess.channels import prepare
from gliomask.segmentation import Options, Segmenter

onnx = pytest.importorskip("onnx")
helper = onnx.helper

MIXING = np.array([[1.5, -1, 0, 2], [0, 2.5, -1, 1], [-1, 0, 2, 1.5], [0.5, 1, 1, -2]], np.float32)
"""(outputs, inputs): each output is another mix of a voxel's channels and those of one neighbour, so that a wrong axis
or flip shows.
"""

REGIONS = ("TC", "WT", "ET")
LABELS = ("background", "oedema", "necrotic", "enhancing")
INPUTS = ("t1", "t1ce", "t2", "flair")
SAID = {"licence": "CC-BY-4.0", "origin": "Made for a test.", "training": "Not trained."}


def mixing_graph(sizes, outputs=4, layout="channels_first", nodes=(), name="y", kind=1) -> bytes:
    """A convolution of 2 voxels a side, padded at the end: channels mixed, and half of the next voxel along the first
    axis.
    """
    axes = len(sizes) - 2
    kernel = np.zeros((outputs, 4, *[2] * axes), np.float32)
    kernel[(slice(None), slice(None), *[0] * axes)] = MIXING[:outputs]
    kernel[(slice(None), slice(None), 1, *[0] * (axes - 1))] = MIXING[:outputs] / 2
    first, last = [0, axes + 1, *range(1, axes + 1)], [0, *range(2, axes + 2), 1]
    convolution = {"pads": [0] * axes + [1] * axes}
    if layout == "channels_first":
        work = [helper.make_node("Conv", ["x", "kernel"], ["y"], **convolution)]
    else:
        work = [
            helper.make_node("Transpose", ["x"], ["x1"], perm=first),
            helper.make_node("Conv", ["x1", "kernel"], ["y1"], **convolution),
            helper.make_node("Transpose", ["y1"], ["y"], perm=last),
        ]
    channel_axis = 1 if layout == "channels_first" else len(sizes) - 1
    answer = [outputs if n == channel_axis else size for n, size in enumerate(sizes)]
    given = [helper.make_tensor_value_info("x", kind, sizes)]
    graph = helper.make_graph(
        [*work, *nodes],
        "g",
        given,
        [helper.make_tensor_value_info(name, 1, answer)],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("odd.domain", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def logits(batch: np.ndarray, outputs: int) -> np.ndarray:
    """What `mixing_graph` answers, for a batch (N, *space, C) in the graph's own axes."""
    following = np.zeros_like(batch)
    following[:, :-1] = batch[:, 1:]
    return (batch + following / 2) @ MIXING[:outputs].T


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def softmax(values: np.ndarray) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)


def saved(tmp_path: Path, graph: bytes) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(graph)
    return path


NNUNET_3D = ModelDescription(
    inputs=INPUTS, outputs=REGIONS, activation="sigmoid", orientation="SPL", normalisation="z-score-brain", **SAID
)
MONAI_2D = ModelDescription(
    inputs=INPUTS, outputs=LABELS, activation="softmax", orientation="RAS", normalisation="z-score-nonzero", **SAID
)
OPEN = {"size_multiple": 2, "halo": 0}

FAMILY = {
    "nnU-Net 3-D, one size": (NNUNET_3D, [1, 4, 12, 16, 10], "channels_first"),
    "nnU-Net 3-D, open": (replace(NNUNET_3D, **OPEN), ["n", 4, "a", "b", "c"], "channels_first"),
    "MONAI 2-D, one size": (MONAI_2D, [2, 4, 16, 20], "channels_first"),
    "MONAI 2-D, open, channels last": (replace(MONAI_2D, **OPEN), ["n", "a", "b", 4], "channels_last"),
}


@pytest.fixture(params=list(FAMILY))
def member(request, tmp_path):
    """A description, its model folder, and the sizes of its graph."""
    said, sizes, layout = FAMILY[request.param]
    folder = tmp_path / "net"
    adopt(saved(tmp_path, mixing_graph(sizes, len(said.outputs), layout)), folder, "net", said)
    return said, folder, sizes


def expected(channels: np.ndarray, said: ModelDescription) -> np.ndarray:
    """Probabilities (I, J, K, 4) that the network gives for normalised channels (I, J, K, C) in LPS order, worked out
    in numpy on the whole array.
    """
    if said.orientation == "SPL":  # volumes: the graph's axes are K, J, I
        answer = logits(channels.transpose(2, 1, 0, 3)[None], 3)[0].transpose(2, 1, 0, 3)
        return label_probabilities(sigmoid(answer).astype(np.float32), said.outputs)
    # Axial slices, both axes counted from the other end.
    answer = np.moveaxis(logits(np.moveaxis(channels, 2, 0)[:, ::-1, ::-1], 4)[:, ::-1, ::-1], 0, 2)
    return label_probabilities(softmax(answer).astype(np.float32), said.outputs)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_brain_gets_the_probabilities_that_numpy_gives_it(member, engine):
    pytest.importorskip(engine)
    said, folder, _ = member
    case = make_tiny_case()
    with Segmenter(Options(model=str(folder), engine=engine, threads=1)) as segmenter:
        spec = segmenter.model.spec
        result = segmenter.run(case)
        prepared = prepare(case, spec.inputs, said.normalisation)

        def by_hand(batch: np.ndarray) -> np.ndarray:
            if batch.ndim == 5:
                return np.stack([expected(item, said) for item in batch])
            return np.moveaxis(expected(np.moveaxis(batch, 0, 2), said), 2, 0)

        found = predict_brain(prepared, segmenter.first.network, segmenter.first.plan, by_hand)
    np.testing.assert_allclose(result.probabilities, found, atol=1e-5)
    if spec.window is None:
        inside = prepared.brain
        np.testing.assert_allclose(found[inside], expected(prepared.channels, said)[inside], atol=1e-5)
    np.testing.assert_array_equal(result.label_map[prepared.brain], decide(found, spec.outputs)[prepared.brain])


def test_an_adopted_model_says_all_and_is_sound(member):
    _, folder, sizes = member
    fields = json.loads((folder / "model.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == ["golden.npz", "model.json", "model.onnx"]
    assert (fields["network"], fields["training"], fields["foreign"]["origin"]) == ("foreign", None, "Made for a test.")
    assert tuple(fields["inputs"]) == INPUTS
    assert fields["graph"]["batch"] == (sizes[0] if isinstance(sizes[0], int) else None)
    found = verify_model(str(folder))
    assert found.sound, found.problem
    assert found.engines["openvino"] <= 1e-4
    assert load_model(folder / "model.onnx").sha256 == load_model(folder / "model.json").sha256 == found.sha256


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f: f.update(inputs=["t1ce", "t1", "t2", "flair"]), "does not reproduce its golden pair"),
        (lambda f: f.update(outputs=f["outputs"][::-1]), "does not reproduce its golden pair"),
        (lambda f: f.update(orientation="LPS"), "golden"),
        (lambda f: f["graph"].update(activation="none"), "does not reproduce its golden pair"),
        (lambda f: f.update(parameters=f["parameters"] + 1), "model.onnx: holds"),
    ],
)
def test_a_description_that_was_changed_is_found_out(member, change, problem):
    _, folder, _ = member
    fields = json.loads((folder / "model.json").read_text())
    change(fields)
    (folder / "model.json").write_text(json.dumps(fields))
    found = verify_model(str(folder))
    assert problem in found.problem
    assert not found.sound


def test_a_network_of_one_size_is_not_cut_otherwise(tmp_path):
    said, sizes, layout = FAMILY["nnU-Net 3-D, one size"]
    adopt(saved(tmp_path, mixing_graph(sizes, 3, layout)), tmp_path / "net", "net", said)
    with pytest.raises(UsageError, match="takes windows of 10 x 16 x 12 and nothing else"):
        Segmenter(Options(model=str(tmp_path / "net"), patches="overlapping"))


# What has to be said.


def test_what_the_graph_cannot_say_is_asked_for_all_at_once(tmp_path):
    graph = saved(tmp_path, mixing_graph(["n", 4, "a", "b"]))
    with pytest.raises(UsageError) as asked:
        adopt(graph, tmp_path / "net", "net", ModelDescription())
    for option in (
        "inputs",
        "outputs",
        "activation",
        "orientation",
        "normalisation",
        "size-multiple",
        "halo",
        "licence",
        "origin",
        "training",
    ):
        assert f"--{option}" in str(asked.value)
    assert "'x' (open, 4, open, open), which are slices" in str(asked.value)
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("sizes", "said", "message"),
    [
        (
            ["n", 4, "a", "b"],
            {"inputs": ("t1", "t2", "flair"), "layout": "channels_first"},
            "names 3 sequences, but .* has 4 channels",
        ),
        (["n", 4, "a", 4], {}, "--layout"),
        (["n", 4, "a", "b"], {"inputs": ("t1", "t1", "t2", "flair")}, "named twice"),
        (["n", 4, "a", "b"], {"inputs": ("t1", "adc", "t2", "flair")}, "adc"),
        (["n", 4, "a", "b"], {"normalisation": "minmax"}, "no normalisation 'minmax'"),
        (["n", 4, "a", "b"], {"orientation": "LPX"}, "an orientation is one letter each"),
        (["n", 4, "a", "b"], {"outputs": ("oedema", "background")}, "the outputs must be"),
        (["n", 4, "a", "b"], {"activation": "sigmoid"}, "a sigmoid goes with the regions"),
    ],
)
def test_what_is_said_wrongly_is_a_usage_error(tmp_path, sizes, said, message):
    with pytest.raises(UsageError, match=message):
        adopt(saved(tmp_path, mixing_graph(sizes)), tmp_path / "net", "net", replace(MONAI_2D, **OPEN, **said))


def test_logits_taken_for_probabilities_and_the_reverse_are_refused(tmp_path):
    open_2d = replace(MONAI_2D, **OPEN)
    with pytest.raises(ModelError, match="Is --activation right"):
        adopt(
            saved(tmp_path, mixing_graph(["n", 4, "a", "b"])),
            tmp_path / "net",
            "net",
            replace(open_2d, activation="none"),
        )
    done = mixing_graph(["n", 4, "a", "b"], nodes=[helper.make_node("Softmax", ["y"], ["p"], axis=1)], name="p")
    with pytest.raises(ModelError, match="a softmax would be the second one"):
        adopt(saved(tmp_path, done), tmp_path / "net", "net", open_2d)
    assert not (tmp_path / "net").exists()
    adopt(saved(tmp_path, done), tmp_path / "net", "net", replace(open_2d, activation="none"))
    with pytest.raises(UsageError, match="exists. Give --overwrite"):
        adopt(saved(tmp_path, done), tmp_path / "net", "net", replace(open_2d, activation="none"))


# What is refused, by name.


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            helper.make_node("Evil", ["y"], ["z"], domain="odd.domain"),
            "the operator 'Evil' of 'odd.domain' is not one of ONNX's own",
        ),
        (
            helper.make_node("Loop", ["", ""], ["z"], body=helper.make_graph([], "b", [], [])),
            "'Loop' may repeat without end",
        ),
        (
            helper.make_node(
                "If",
                ["y"],
                ["z"],
                then_branch=helper.make_graph([helper.make_node("Evil", [], ["w"], domain="odd.domain")], "t", [], []),
            ),
            "'Evil' of 'odd.domain'",
        ),
    ],
)
def test_operators_that_need_code_or_never_end_are_refused(tmp_path, node, message):
    with pytest.raises(ModelError, match=message):
        adopt(
            saved(tmp_path, mixing_graph(["n", 4, "a", "b"], nodes=[node])),
            tmp_path / "net",
            "net",
            replace(MONAI_2D, **OPEN),
        )


def test_numbers_kept_in_another_file_are_refused(tmp_path):
    graph = onnx.load_from_string(mixing_graph(["n", 4, "a", "b"]))
    onnx.external_data_helper.set_external_data(graph.graph.initializer[0], "../../secret")
    with pytest.raises(ModelError, match="refers to another file"):
        adopt(saved(tmp_path, graph.SerializeToString()), tmp_path / "net", "net", replace(MONAI_2D, **OPEN))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (lambda: mixing_graph(["n", 4, "a", "b"], kind=10), "'x' is not float32"),
        (lambda: mixing_graph([1, 4, 16, "b"]), "some sides of its input are fixed and others open"),
        (lambda: mixing_graph([1, 4, 16, 1 << 30]), "impossible size"),
        (lambda: b"PK not a graph", "not an ONNX file"),
    ],
)
def test_graphs_of_other_kinds_are_refused(tmp_path, graph, message):
    with pytest.raises(ModelError, match=message):
        adopt(saved(tmp_path, graph()), tmp_path / "net", "net", replace(MONAI_2D, **OPEN))


def test_a_huge_file_is_refused_unread_and_a_bare_one_is_no_model(tmp_path, monkeypatch):
    graph = saved(tmp_path, mixing_graph(["n", 4, "a", "b"]))
    with pytest.raises(ModelError, match="gliomask models adopt"):
        load_model(graph)
    monkeypatch.setitem(content.MAX_BYTES, "model.onnx", 100)
    with pytest.raises(ModelError, match="larger than the 100 bytes"):
        adopt(graph, tmp_path / "net", "net", replace(MONAI_2D, **OPEN))


# The layout itself.


@given(
    st.permutations(range(3)),
    st.tuples(*[st.booleans()] * 3),
    st.booleans(),
    st.sampled_from([None, 1, 2, 3]),
    st.integers(1, 4),
)
def test_a_graph_that_changes_nothing_gives_back_what_it_was_given(axes, flips, channels_first, batch, count):
    layout = TensorLayout(channels_first, tuple(axes), flips, batch)
    given = np.random.default_rng(0).random((count, 3, 4, 5, 4), np.float32)
    sizes = []

    def call(part):
        sizes.append(len(part))
        return part

    np.testing.assert_array_equal(layout.run(given, call), given)
    assert batch is None or set(sizes) == {batch}


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(ModelError, match=r"answers with the shape \(1, 4, 4, 3\)"):
        TensorLayout(channels_first=True).run(np.zeros((1, 4, 4, 4), np.float32), lambda given: given[..., :3])


@given(st.tuples(*[st.floats(0, 1, width=32)] * 3), st.permutations(("WT", "TC", "ET")))
def test_regions_are_painted_one_over_the_other(values, order):
    regions = dict(zip(("WT", "TC", "ET"), values, strict=True))
    answer = np.array([regions[name] for name in order], np.float32)
    probabilities = label_probabilities(answer, tuple(order))
    assert probabilities.min() >= 0
    assert abs(probabilities.sum() - 1) < 1e-5
    painted = Label.BACKGROUND
    for name, label in (("WT", Label.OEDEMA), ("TC", Label.NECROTIC), ("ET", Label.ENHANCING)):
        painted = label if regions[name] > 0.5 else painted
    if min(abs(value - 0.5) for value in values) > 1e-5:
        assert decide(probabilities, tuple(order)) == painted


def test_the_most_probable_label_is_no_region():
    probabilities = label_probabilities(np.array([0.6, 0.4, 0.3], np.float32), ("WT", "TC", "ET"))
    assert probabilities.argmax() == Label.BACKGROUND
    assert decide(probabilities, ("WT", "TC", "ET")) == Label.OEDEMA
    assert decide(probabilities, LABELS) == Label.BACKGROUND
