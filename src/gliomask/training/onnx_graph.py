"""From a Keras network to an ONNX graph, layer by layer.

The general converters trace the backend's operations; for these networks tf2onnx returns 86 nodes where 30 do, depends
on TensorFlow, and patches numpy to do so. The handful of layers that gliomask's networks are made of is written here
instead; another layer is an error, never an approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gliomask.errors import ModelError

OPSET = 17
IR_VERSION = 8
"""Both of ONNX 1.12 (2022): every operator used here is older, and ONNX Runtime since 1.13 and OpenVINO since 2022.3
read them.
"""


class _Graph:
    """Nodes and weights as they come together.

    Tensors are named after the layer that makes them; channels come second, as ONNX has it.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        """Adds a node."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))

    def constant(self, name: str, values: Any) -> str:
        """Adds an array and returns its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name


def to_onnx(model: keras.Model) -> bytes:
    """Returns a Keras network as an ONNX file: float32, channels last at both ends, batch and sizes left open.

    Args:
        model: a functional model of one input and one output, each layer of which is used once.

    Raises:
        ModelError: it has a layer, or a setting of one, that has no counterpart here.
    """
    graph = _Graph()
    axes = len(model.input.shape) - 2
    last = axes + 1
    names: dict[int, str] = {}
    for layer in model.layers:
        names[id(layer.output)] = layer.name
        if isinstance(layer, keras.layers.InputLayer):
            graph.add("Transpose", ["input"], layer.name, perm=[0, last, *range(1, last)])
            continue
        writer = WRITERS.get(type(layer).__name__)
        if writer is None:
            raise ModelError(
                f"Layer '{layer.name}' ({type(layer).__name__}) cannot be exported. Known ones: {', '.join(WRITERS)}."
            )
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        writer(graph, layer, [names[id(source)] for source in sources])
    graph.add("Transpose", [names[id(model.output)]], "output", perm=[0, *range(2, last + 1), 1])
    return _file(graph, model, axes)


def _file(graph: _Graph, model: keras.Model, axes: int) -> bytes:
    sizes = ["batch", "height", "width"] if axes == 2 else ["batch", "i", "j", "k"]
    inputs = helper.make_tensor_value_info("input", TensorProto.FLOAT, [*sizes, model.input.shape[-1]])
    outputs = helper.make_tensor_value_info("output", TensorProto.FLOAT, [*sizes, model.output.shape[-1]])
    body = helper.make_graph(graph.nodes, model.name, [inputs], [outputs], graph.weights)
    # No version of gliomask in it: the same weights give the same bytes.
    file = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="gliomask"
    )
    onnx.checker.check_model(file, full_check=True)
    content: bytes = file.SerializeToString()
    return content


def _require(layer: keras.Layer, **expected: Any) -> None:
    for name, value in expected.items():
        actual = getattr(layer, name)
        if actual != value:
            raise ModelError(f"Layer '{layer.name}' cannot be exported: its {name} is {actual}, only {value} is known.")


def _convolution(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    axes = len(layer.kernel_size)
    _require(
        layer,
        dilation_rate=(1,) * axes,
        groups=1,
        padding="same" if max(layer.kernel_size) > 1 else layer.padding,
        data_format="channels_last",
    )
    # "Same" padding of n pixels in all: kernel - stride, for inputs that are multiples of the stride; only an even
    # number falls evenly on both sides.
    padding = [size - stride for size, stride in zip(layer.kernel_size, layer.strides, strict=True)]
    if any(pixels < 0 or pixels % 2 for pixels in padding):
        raise ModelError(
            f"Layer '{layer.name}' cannot be exported: its kernel size {layer.kernel_size} with strides "
            f"{layer.strides} pads one side more than the other."
        )
    kernel = np.asarray(layer.kernel)
    weights = [graph.constant(f"{layer.name}/kernel", kernel.transpose(axes + 1, axes, *range(axes)))]
    if layer.use_bias:
        weights.append(graph.constant(f"{layer.name}/bias", layer.bias))
    activation = layer.activation.__name__
    if activation not in ("linear", "relu"):
        raise ModelError(
            f"Layer '{layer.name}' cannot be exported: its activation is {activation}, only linear and relu are known."
        )
    pads = [pixels // 2 for pixels in padding]
    raw = layer.name if activation == "linear" else f"{layer.name}/sums"
    graph.add(
        "Conv",
        [*inputs, *weights],
        raw,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.strides),
        pads=pads * 2,
    )
    if activation == "relu":
        graph.add("Relu", [raw], layer.name)


def _transposed_convolution(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    axes = len(layer.kernel_size)
    _require(
        layer, strides=layer.kernel_size, dilation_rate=(1,) * axes, data_format="channels_last", output_padding=None
    )
    if layer.activation.__name__ != "linear":
        raise ModelError(
            f"Layer '{layer.name}' cannot be exported: its activation is {layer.activation.__name__}, only "
            "linear is known."
        )
    # Keras keeps (*size, filters, input channels), ONNX (input channels, filters, *size).
    weights = [graph.constant(f"{layer.name}/kernel", np.asarray(layer.kernel).transpose(axes + 1, axes, *range(axes)))]
    if layer.use_bias:
        weights.append(graph.constant(f"{layer.name}/bias", layer.bias))
    graph.add(
        "ConvTranspose",
        [*inputs, *weights],
        layer.name,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.strides),
    )


def _batch_normalisation(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    _require(layer, axis=-1, center=True, scale=True)
    statistics = {
        "scale": layer.gamma,
        "shift": layer.beta,
        "mean": layer.moving_mean,
        "variance": layer.moving_variance,
    }
    weights = [graph.constant(f"{layer.name}/{name}", values) for name, values in statistics.items()]
    graph.add("BatchNormalization", [*inputs, *weights], layer.name, epsilon=layer.epsilon)


def _relu(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    _require(layer, max_value=None, negative_slope=0.0, threshold=0.0)
    graph.add("Relu", inputs, layer.name)


def _sum(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    graph.add("Add", inputs, layer.name)


def _max_pooling(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    _require(layer, strides=layer.pool_size, padding="valid", data_format="channels_last")
    graph.add("MaxPool", inputs, layer.name, kernel_shape=list(layer.pool_size), strides=list(layer.strides))


def _up_sampling(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    _require(
        layer, data_format="channels_last", **({"interpolation": "nearest"} if hasattr(layer, "interpolation") else {})
    )
    scales = graph.constant(f"{layer.name}/scales", [1, 1, *layer.size])
    graph.add(
        "Resize",
        [*inputs, "", scales],
        layer.name,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _concatenation(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    _require(layer, axis=-1)
    graph.add("Concat", inputs, layer.name, axis=1)


def _softmax(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> None:
    _require(layer, axis=-1)
    graph.add("Softmax", inputs, layer.name, axis=1)


WRITERS: dict[str, Callable[[_Graph, Any, list[str]], None]] = {
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "Conv2DTranspose": _transposed_convolution,
    "Conv3DTranspose": _transposed_convolution,
    "BatchNormalization": _batch_normalisation,
    "ReLU": _relu,
    "Add": _sum,
    "MaxPooling2D": _max_pooling,
    "MaxPooling3D": _max_pooling,
    "UpSampling2D": _up_sampling,
    "UpSampling3D": _up_sampling,
    "Concatenate": _concatenation,
    "Softmax": _softmax,
}
"""Every layer that can be exported."""
