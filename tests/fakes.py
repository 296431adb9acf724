"""A tiny network in every form that an engine takes, with its answer worked out in numpy; and model folders made of it.

Convolution of 3 pixels a side with ReLU, a branch at half resolution joined back, and a classifier: every operation
that the paper's networks have, in two or three dimensions.
"""

from functools import partial
from pathlib import Path

import numpy as np

from gliomask.engines.base import SPATIAL_AXES, EngineSource
from gliomask.engines.fake import FakeEngine
from gliomask.models.calibration import Subset, SubsetLine, Subsets
from gliomask.models.files import pack_arrays, sha256
from gliomask.models.golden import PROBABILITIES, golden_batch
from gliomask.models.spec import OUTPUT_NAMES, Graph, ModelSpec, Normalisation, TrainingRecord, spec_bytes
from gliomask.planes import Plane
from gliomask.sequences import PAPER_ORDER, Sequence

FEATURES = 5
GOLDEN_SHAPES = {"slices": (6, 10), "volumes": (4, 6, 8)}


def tiny_weights(kind: str, seed: int = 7) -> dict[str, np.ndarray]:
    """Kernels in Keras's layout: (3, 3, C, FEATURES) and (1, 1, 2 * FEATURES, 4), with a third axis for volumes."""
    generator = np.random.default_rng(seed)
    axes = SPATIAL_AXES[kind]
    shapes = {
        "fine/kernel": (*[3] * axes, 4, FEATURES),
        "fine/bias": (FEATURES,),
        "logits/kernel": (*[1] * axes, 2 * FEATURES, 4),
        "logits/bias": (4,),
    }
    return {name: (0.4 * generator.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def tiny_answer(batch: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """The network's probabilities in double precision."""
    axes = tuple(range(1, batch.ndim - 1))
    padded = np.pad(batch.astype(float), [(0, 0), *[(1, 1)] * len(axes), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3,) * len(axes), axis=axes)  # (N, H, W, C, 3, 3)
    kernel = np.moveaxis(weights["fine/kernel"], (-2, -1), (0, -1))  # (C, 3, 3, F)
    fine = np.tensordot(windows, kernel.astype(float), axes=len(axes) + 1)
    fine = np.maximum(fine + weights["fine/bias"], 0)
    coarse = fine
    for axis in axes:
        pairs = coarse.reshape(*coarse.shape[:axis], coarse.shape[axis] // 2, 2, *coarse.shape[axis + 1 :]).max(
            axis=axis + 1
        )
        coarse = np.repeat(pairs, 2, axis=axis)
    logits = (
        np.concatenate([fine, coarse], axis=-1) @ weights["logits/kernel"].reshape(2 * FEATURES, 4).astype(float)
        + weights["logits/bias"]
    )
    scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def tiny_keras(kind: str):
    """The network as a Keras model, without its weights."""
    import keras
    from keras import layers

    convolution, pooling, up_sampling = (
        (layers.Conv2D, layers.MaxPooling2D, layers.UpSampling2D)
        if kind == "slices"
        else (layers.Conv3D, layers.MaxPooling3D, layers.UpSampling3D)
    )
    image = keras.Input((*[None] * SPATIAL_AXES[kind], 4), name="image")
    fine = convolution(FEATURES, 3, padding="same", activation="relu", name="fine")(image)
    coarse = up_sampling(2, name="up")(pooling(2, name="down")(fine))
    logits = convolution(4, 1, name="logits")(layers.Concatenate(name="join")([fine, coarse]))
    return keras.Model(image, layers.Softmax(name="probabilities")(logits), name="tiny")


def tiny_graph(kind: str, weights: dict[str, np.ndarray]) -> bytes:
    """The network as an ONNX file, written by hand: no code of `training.onnx_graph` is in it."""
    import pytest  # not above: processes that tests start make networks, too

    onnx = pytest.importorskip("onnx")
    helper, axes = onnx.helper, SPATIAL_AXES[kind]
    first = [0, axes + 1, *range(1, axes + 1)]
    last = [0, *range(2, axes + 2), 1]
    arrays = {
        "fine_kernel": weights["fine/kernel"].transpose(axes + 1, axes, *range(axes)),
        "fine_bias": weights["fine/bias"],
        "logits_kernel": weights["logits/kernel"].transpose(axes + 1, axes, *range(axes)),
        "logits_bias": weights["logits/bias"],
        "scales": np.array([1, 1, *[2] * axes], np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["x1"], perm=first),
        helper.make_node("Conv", ["x1", "fine_kernel", "fine_bias"], ["sums"], pads=[1] * 2 * axes),
        helper.make_node("Relu", ["sums"], ["fine"]),
        helper.make_node("MaxPool", ["fine"], ["down"], kernel_shape=[2] * axes, strides=[2] * axes),
        helper.make_node(
            "Resize",
            ["down", "", "scales"],
            ["up"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Concat", ["fine", "up"], ["join"], axis=1),
        helper.make_node("Conv", ["join", "logits_kernel", "logits_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        helper.make_node("Transpose", ["p"], ["y"], perm=last),
    ]
    sizes = ["n", *(f"s{axis}" for axis in range(axes))]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [*sizes, 4]) for name in "xy"]
    constants = [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def brittle_keras():
    """The network of `brittle_graph` as a Keras model."""
    import keras
    from keras import layers

    image = keras.Input((None, None, 4), name="image")
    return keras.Model(
        image,
        layers.ReLU(name="last")(layers.Reshape((4, 4, 4), name="fold")(layers.ReLU(name="first")(image))),
        name="brittle",
    )


def brittle_graph() -> bytes:
    """ReLU of 4 x 4 pixels: a graph that claims to take any size, fails on most, and folds those of as many pixels into
    4 x 4.
    """
    import pytest

    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Reshape", ["a", "size"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "i", "j", 4]) for name in "xy"]
    graph = helper.make_graph(
        nodes, "brittle", ends[:1], ends[1:], [onnx.numpy_helper.from_array(np.array([1, 4, 4, 4]), "size")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def brittle_source() -> EngineSource:
    """A network that fails on every size but one, as engines take it."""
    return EngineSource(brittle_graph(), "brittle", {}, "slices", 4, 2, brittle_keras)


class BrittleFake(FakeEngine):
    """The same, of the engine for tests."""

    def __init__(self) -> None:
        super().__init__(np.eye(4), source=EngineSource(b"", "brittle"))

    def _infer(self, given: np.ndarray) -> np.ndarray:
        return np.maximum(given.reshape(1, 4, 4, 4), 0)


def tiny_source(kind: str) -> EngineSource:
    """The network as engines take it."""
    weights = tiny_weights(kind)
    return EngineSource(tiny_graph(kind, weights), "tiny", weights, kind, 4, 2, partial(tiny_keras, kind))


def tiny_spec(kind: str, **changes) -> ModelSpec:
    """A specification for the network; its hashes are zeros."""
    fields = {
        "schema_version": 1,
        "name": "tiny",
        "title": "Tiny",
        "network": "tiny",
        "parameters": sum(array.size for array in tiny_weights(kind).values()),
        "inputs": PAPER_ORDER,
        "input_kind": kind,
        "receptive_field": 4,
        "size_multiple": 2,
        "neighbouring_slices": 0,
        "halo": 3,
        "may_miss": (),
        "orientation": "LPS",
        "graph": Graph(layout="channels_last", size=None, batch=None, activation="none"),
        "spacing_mm": (1.0, 1.0, 1.0),
        "normalisation": Normalisation(method="volume", background=0.0),
        "outputs": OUTPUT_NAMES,
        "second_opinion": None,
        "postprocess": "none",
        "core_rule": None,
        "enhancement_rule": None,
        "planes": (Plane.AXIAL,),
        "training": TrainingRecord(
            recipe="default",
            config={"network": "tiny"},
            seed=0,
            cases=("a", "b"),
            validation_cases=(),
            held_out_cases=("c",),
            started_from=None,
            fold=0,
            patches=40,
            hours=0.1,
            backend="tensorflow",
            device="cpu",
            gliomask="0.1.0",
            keras="3.15.1",
        ),
        "foreign": None,
        "scores": {},
        "timing": None,
        "quality": None,
        "subsets": None,
        "licence": "CC-BY-4.0",
        "attribution": ("the people who scanned the patients",),
        "files": dict.fromkeys(("model.onnx", "weights.npz", "golden.npz"), "0" * 64),
        "golden_tolerance": 1e-4,
    }
    return ModelSpec(**(fields | changes))


def tiny_subsets() -> Subsets:
    """What a model is worth with everything (half of what it expects) and without T1 (a quarter)."""

    def subset(without: tuple[Sequence, ...], slope: float, median: float) -> Subset:
        line = SubsetLine(
            intercept=0.0,
            slope=slope,
            below=0.1,
            above=0.1,
            spearman=None,
            held=0.8,
            width=0.2,
            median=median,
            mean=median - 0.1,
        )
        return Subset(without=without, regions=dict.fromkeys(("WT", "TC", "ET"), line), flagged=3)

    sets = (subset((), 0.5, 0.9), subset((Sequence.T1,), 0.25, 0.7))
    return Subsets(sets=sets, coverage=0.8, cases=65, protocol="By hand.", command="subsets x")


def write_tiny_model(folder: Path, kind: str = "slices") -> Path:
    """Writes the network as a model folder, its golden pair computed by `tiny_answer`."""
    source = tiny_source(kind)
    generator = np.random.default_rng(3)
    golden = {
        str(sequence): generator.standard_normal(GOLDEN_SHAPES[kind]).astype(np.float32) for sequence in PAPER_ORDER
    }
    golden[PROBABILITIES] = np.zeros((*GOLDEN_SHAPES[kind], 4), np.float32)
    golden[PROBABILITIES] = tiny_answer(golden_batch(golden, PAPER_ORDER), source.weights)[0].astype(np.float32)
    files = {"model.onnx": source.graph, "weights.npz": pack_arrays(source.weights), "golden.npz": pack_arrays(golden)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "model.json").write_bytes(
        spec_bytes(tiny_spec(kind, files={name: sha256(content) for name, content in files.items()}))
    )
    return folder
