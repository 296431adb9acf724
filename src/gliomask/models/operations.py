"""What a network computes and holds for each pixel of its input, counted from its graph without ONNX software."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from gliomask.models.graph import fields_of, inside, packed, text_of

UNCOUNTED = ("MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "If")
"""Operators whose work depends on more than one weight's shape: where there is one, nothing is said."""


@dataclass
class _Node:
    """An operator: its kind, the names of what goes in and comes out, and its attributes that are lists of whole
    numbers.
    """

    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What a network does for each pixel (voxel) of its input, whatever its channels.

    Args:
        mac: multiply-adds of its convolutions; what else there is (sums, activations, pooling) is small beside them.
        live_bytes: most memory of tensors that are needed at the same time, each as float32, its input included.
    """

    mac: float
    live_bytes: float


def work_per_pixel(graph: bytes, channels: int) -> Work | None:
    """Returns the work of a network; None where it cannot be told from the shapes of its weights.

    Args:
        graph: an ONNX file that `models.graph.look_into` has accepted.
        channels: of its input.
    """
    tensors = list(map(_tensor, inside(memoryview(graph), 7, 5)))
    weights = {name: shape for name, shape, _ in tensors}
    floats = {name: values for name, _, values in tensors if values is not None}
    nodes = [node for node in map(_node, inside(memoryview(graph), 7, 1)) if node.outputs]
    made: dict[str, _Made] = {}
    total, peak = 0.0, 0.0
    last_use = {name: n for n, node in enumerate(nodes) for name in node.inputs}
    live: dict[str, float] = {}
    for n, node in enumerate(nodes):
        if node.operator in UNCOUNTED:
            return None
        if node.operator == "DequantizeLinear" and node.inputs[0] in weights:
            weights[node.outputs[0]] = weights[node.inputs[0]]
            continue
        if not made and node.inputs:
            made[node.inputs[0]] = _Made(1.0, channels)
            live[node.inputs[0]] = 4.0 * channels
        given = [made[name] for name in node.inputs if name in made]
        if not given:
            continue
        share = max(one.share for one in given)
        after = share * _growth(node, floats)
        features = (
            sum(one.features for one in given) if node.operator == "Concat" else max(one.features for one in given)
        )
        if node.operator in ("Conv", "ConvTranspose"):
            kernel = weights.get(node.inputs[1]) if len(node.inputs) > 1 else None
            if kernel is None:
                return None
            total += prod(kernel) * (after if node.operator == "Conv" else share)
            features = kernel[0] if node.operator == "Conv" else kernel[1]
        made.update(dict.fromkeys(node.outputs, _Made(after, features)))
        live[node.outputs[0]] = 4.0 * after * features
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last_use.get(name, len(nodes)) > n}
    return Work(total, peak)


@dataclass(frozen=True)
class _Made:
    """A tensor: its pixels for each of the input, and its channels."""

    share: float
    features: int


def _growth(node: _Node, floats: dict[str, list[float]]) -> float:
    """How many pixels come out for each that goes in."""
    strides = prod(node.numbers.get("strides", [1]))
    if node.operator == "ConvTranspose":
        return float(strides)
    if node.operator == "Resize" and len(node.inputs) > 2 and node.inputs[2] in floats:
        return prod(floats[node.inputs[2]])
    return 1 / strides


def _node(message: memoryview) -> _Node:
    """Reads a NodeProto: `input` is field 1, `output` 2, `op_type` 4, `attribute` 5."""
    node = _Node()
    for number, content in fields_of(message):
        if not isinstance(content, memoryview):
            continue
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(text_of(content))
        elif number == 4:
            node.operator = text_of(content)
        elif number == 5:
            name = ""
            numbers: list[int] = []
            # An AttributeProto: `name` is field 1, `ints` 8.
            for part, value in fields_of(content):
                if part == 1 and isinstance(value, memoryview):
                    name = text_of(value)
                elif part == 8:
                    numbers += [value] if isinstance(value, int) else packed(value)
            node.numbers[name] = numbers
    return node


def _tensor(message: memoryview) -> tuple[str, tuple[int, ...], list[float] | None]:
    """Reads the name and the shape of a TensorProto (fields 8 and 1), and its numbers where they are a few floats
    (`float_data` 4, `raw_data` 9).
    """
    name, kind, raw = "", 0, b""
    shape: list[int] = []
    for number, content in fields_of(message):
        if number == 1:
            shape += [content] if isinstance(content, int) else packed(content)
        elif number == 2 and isinstance(content, int):
            kind = content
        elif number == 8 and isinstance(content, memoryview):
            name = text_of(content)
        elif number in (4, 9) and isinstance(content, memoryview) and len(content) <= 64:
            raw = bytes(content)
    values = np.frombuffer(raw, "<f4").tolist() if kind == 1 and raw and len(raw) % 4 == 0 else None
    return name, tuple(shape), values
