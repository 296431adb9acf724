"""A look into an ONNX file, without any ONNX software, for what no model of ours may hold: references to other files.

An ONNX tensor may name an "external" file to take its numbers from, and an engine would open it, wherever it lies. The file is a
Protocol Buffers message; this walks the messages that can contain a tensor and skips all else.
"""

from __future__ import annotations

from collections.abc import Iterator

from gliomask.errors import ModelError

# Field numbers that lead from a model to its tensors: onnx.proto of ONNX 1.23, held by tests/test_models.py.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto", 22: "SparseTensorProto", 23: "SparseTensorProto"},
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
EXTERNAL_FIELDS = (13, 14)
"""`external_data` and `data_location` of a TensorProto; tensors inside the file have neither."""

MAX_DEPTH = 32
"""Deepest nesting that is followed: a plain network needs four levels."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of Protocol Buffers."""


def refuse_external_data(graph: bytes, origin: str) -> None:
    """Checks that an ONNX file is whole and holds all its numbers itself.

    Args:
        graph: the file's bytes.
        origin: the file's name, for messages.

    Raises:
        ModelError: a tensor refers to another file, or this is not an ONNX file.
    """
    try:
        fields = _check(memoryview(graph), "ModelProto", 0)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{origin}: {error}. Export the model again.") from error
    if 7 not in fields:
        raise ModelError(f"{origin}: not an ONNX file: it has no graph. Export the model again.")


def _check(message: memoryview, kind: str, depth: int) -> set[int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"not an ONNX file that can be used: its parts are nested more than {MAX_DEPTH} deep")
    seen = set()
    for number, content in _fields(message):
        seen.add(number)
        if kind == "TensorProto" and number in EXTERNAL_FIELDS:
            raise ValueError("a tensor refers to another file; a model must hold all its numbers itself")
        inner = FIELDS[kind].get(number)
        if inner is not None and content is not None:
            _check(content, inner, depth + 1)
    return seen


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        content = None
        wire = tag & 7
        if wire == VARINT:
            _, place = _varint(message, place)
        elif wire == BYTES:
            length, place = _varint(message, place)
            content = message[place : place + length]
            place += length
        elif wire in (FIXED32, FIXED64):
            place += 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"not an ONNX file, or a damaged one (wire type {wire})")
        if place > len(message):
            raise ValueError("not an ONNX file, or one that was cut off")
        yield tag >> 3, content


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("not an ONNX file, or one that was cut off")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("not an ONNX file, or a damaged one (a number of more than 64 bits)")
