"""A look into an ONNX file, without any ONNX software: what goes in and comes out, and whether it holds what no model
may.

An ONNX tensor may name an "external" file to take its numbers from, and an engine would open it, wherever it lies; an
operator may be one that an engine has to load code for. The file is a Protocol Buffers message; this walks every
message in it. What it does not know it refuses: a reader that skips a field which an engine understands would let
through what the field holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gliomask.errors import ModelError

# Every field of every message by its number, with the message that it holds, or nothing where it holds numbers or text:
# onnx.proto of ONNX 1.23, held by tests/test_models.py.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {
        **dict.fromkeys(range(1, 7), ""),
        7: "GraphProto",
        8: "OperatorSetIdProto",
        14: "StringStringEntryProto",
        20: "TrainingInfoProto",
        25: "FunctionProto",
        26: "DeviceConfigurationProto",
    },
    "GraphProto": {
        1: "NodeProto",
        2: "",
        5: "TensorProto",
        10: "",
        11: "ValueInfoProto",
        12: "ValueInfoProto",
        13: "ValueInfoProto",
        14: "TensorAnnotation",
        15: "SparseTensorProto",
        16: "StringStringEntryProto",
    },
    "NodeProto": {
        **dict.fromkeys((1, 2, 3, 4, 6, 7, 8), ""),
        5: "AttributeProto",
        9: "StringStringEntryProto",
        10: "NodeDeviceConfigurationProto",
    },
    "AttributeProto": {
        **dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20, 21), ""),
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        14: "TypeProto",
        15: "TypeProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "TensorProto": {
        **dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14), ""),
        3: "TensorProto.Segment",
        13: "StringStringEntryProto",
        16: "StringStringEntryProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto", 3: ""},
    "FunctionProto": {
        **dict.fromkeys((1, 4, 5, 6, 8, 10, 13), ""),
        7: "NodeProto",
        9: "OperatorSetIdProto",
        11: "AttributeProto",
        12: "ValueInfoProto",
        14: "StringStringEntryProto",
    },
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto", 3: "StringStringEntryProto", 4: "StringStringEntryProto"},
    "ValueInfoProto": {1: "", 2: "TypeProto", 3: "", 4: "StringStringEntryProto"},
    "TypeProto": {
        1: "TypeProto.Tensor",
        4: "TypeProto.Sequence",
        5: "TypeProto.Map",
        6: "",
        7: "TypeProto.Opaque",
        8: "TypeProto.SparseTensor",
        9: "TypeProto.Optional",
    },
    "TypeProto.Tensor": {1: "", 2: "TensorShapeProto"},
    "TypeProto.SparseTensor": {1: "", 2: "TensorShapeProto"},
    "TypeProto.Sequence": {1: "TypeProto"},
    "TypeProto.Optional": {1: "TypeProto"},
    "TypeProto.Map": {1: "", 2: "TypeProto"},
    "TypeProto.Opaque": {1: "", 2: ""},
    "TensorShapeProto": {1: "TensorShapeProto.Dimension"},
    "TensorShapeProto.Dimension": {1: "", 2: "", 3: ""},
    "TensorAnnotation": {1: "", 2: "StringStringEntryProto"},
    "TensorProto.Segment": {1: "", 2: ""},
    "OperatorSetIdProto": {1: "", 2: ""},
    "StringStringEntryProto": {1: "", 2: ""},
    "DeviceConfigurationProto": {1: "", 2: "", 3: ""},
    "NodeDeviceConfigurationProto": {1: "", 2: "ShardingSpecProto", 3: ""},
    "ShardingSpecProto": {1: "", 2: "", 3: "IntIntListEntryProto", 4: "ShardedDimProto"},
    "IntIntListEntryProto": {1: "", 2: ""},
    "ShardedDimProto": {1: "", 2: "SimpleShardedDimProto"},
    "SimpleShardedDimProto": {1: "", 2: "", 3: ""},
}
EXTERNAL_FIELDS = (13, 14)
"""`external_data` and `data_location` of a TensorProto; tensors inside the file have neither."""

MAX_DEPTH = 32
"""Deepest nesting that is followed: a plain network needs four levels."""

MAX_NODES = 20_000
"""Most operators. A plain U-Net has about a hundred, Swin UNETR some thousands; engines' time grows faster than their
number.
"""

MAX_FIELDS = 1 << 20
"""Most fields in all messages together, which bounds the time of the look: a few seconds."""

TAG_BITS = 32
"""A tag is the number of a field with three bits for its kind, and has 32 bits. The protobuf library of engines cuts
off what lies beyond, so that a larger number is another field to it."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of Protocol Buffers."""


FLOATS = {1, 10, 11, 16}
"""Data types of a tensor that are real numbers: float32, float16, float64, bfloat16."""

FLOAT32 = 1

ONNX_DOMAINS = ("", "ai.onnx")
"""Where ONNX's own operators come from; another domain's need software that an engine would load."""

ENDLESS = ("Loop", "Scan")
"""Operators that repeat as often as their data says; no network for images needs one."""

MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class TensorEnd:
    """An input or output of a graph: its name, its data type by ONNX's number, its sizes (None where open), or None for
    all where nothing is said.
    """

    name: str
    data_type: int
    sizes: tuple[int | None, ...] | None


@dataclass
class GraphFacts:
    """What an ONNX file says of its network.

    Args:
        inputs: what the graph takes, weights left out.
        outputs: what it answers with.
        parameters: real numbers among its weights.
    """

    inputs: list[TensorEnd] = field(default_factory=list)
    outputs: list[TensorEnd] = field(default_factory=list)
    parameters: int = 0
    _nodes: int = 0
    _fields: int = 0
    _weights: set[str] = field(default_factory=set)
    _operators: set[tuple[str, str]] = field(default_factory=set)
    _functions: set[tuple[str, str]] = field(default_factory=set)


def look_into(graph: bytes, origin: str) -> GraphFacts:
    """Returns what an ONNX file says of its network, after checking that it is whole, holds all its numbers itself and
    uses ONNX's own operators.

    Args:
        graph: the file's bytes.
        origin: the file's name, for messages.

    Raises:
        ModelError: a tensor refers to another file, an operator is not ONNX's own or repeats without bound, or this is
            not an ONNX file.
    """
    facts = GraphFacts()
    try:
        fields = _check(memoryview(graph), "ModelProto", 0, facts)
        _refuse_operators(facts)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{origin}: {error}. Export the model again.") from error
    if 7 not in fields:
        raise ModelError(f"{origin}: not an ONNX file: it has no graph. Export the model again.")
    facts.inputs = [end for end in facts.inputs if end.name not in facts._weights]
    return facts


QUANTISERS = {("", "QuantizeLinear"), ("", "DequantizeLinear")}
"""What an int8 graph may hold besides the operators of its float32 graph. All engines know this pair, and fuse it with
what lies between; other operators on whole numbers (`QLinearConv`, `ConvInteger`, `DynamicQuantizeLinear`) are an
engine's own dialect, and round in its own way."""


def look_into_int8(graph: bytes, float_graph: bytes, origin: str) -> None:
    """Checks that an ONNX file is another's network in eight bits: no operators but that one's and `QUANTISERS`, the
    same input and output.

    Args:
        graph: the int8 file's bytes.
        float_graph: the float32 file's bytes, which `look_into` has accepted.
        origin: the int8 file's name, for messages.

    Raises:
        ModelError: it is not so, or for what `look_into` refuses.
    """
    facts, of_float = look_into(graph, origin), look_into(float_graph, origin)
    if not facts._operators & QUANTISERS:
        raise ModelError(
            f"{origin}: holds no QuantizeLinear or DequantizeLinear, so it is no int8 graph. Quantise the model again."
        )
    if others := facts._operators - of_float._operators - QUANTISERS:
        names = ", ".join(sorted(name for _, name in others))
        raise ModelError(
            f"{origin}: holds {names}, which neither quantises nor stands in the float32 graph. Quantise the "
            "model again."
        )
    if (facts.inputs, facts.outputs) != (of_float.inputs, of_float.outputs):
        raise ModelError(f"{origin}: has another input or output than the float32 graph. Quantise the model again.")


def _refuse_operators(facts: GraphFacts) -> None:
    for domain, name in sorted(facts._functions):
        # Which of the two an engine would run is the engine's choice.
        if domain in ONNX_DOMAINS:
            raise ValueError(f"it defines a function '{name}' of its own under the name of ONNX's own operators")
    for domain, operator in sorted(facts._operators - facts._functions):
        if domain not in ONNX_DOMAINS:
            raise ValueError(
                f"the operator '{operator}' of '{domain}' is not one of ONNX's own, and nothing outside the file is "
                "loaded for it"
            )
        if operator in ENDLESS:
            raise ValueError(f"the operator '{operator}' may repeat without end, which no network for images needs")


def _check(message: memoryview, kind: str, depth: int, facts: GraphFacts) -> set[int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"not an ONNX file that can be used: its parts are nested more than {MAX_DEPTH} deep")
    seen = set()
    for number, content in fields_of(message):
        seen.add(number)
        _count(kind, number, facts)
        if kind == "TensorProto" and number in EXTERNAL_FIELDS:
            raise ValueError("a tensor refers to another file; a model must hold all its numbers itself")
        inner = FIELDS[kind].get(number)
        if inner is None:
            raise ValueError(
                f"not an ONNX file that can be used: a {kind} has a field {number}, which ONNX 1.23 does not define"
            )
        if inner:
            if not isinstance(content, memoryview):
                raise ValueError(
                    f"not an ONNX file, or a damaged one: field {number} of a {kind} is a number in place of a {inner}"
                )
            _check(content, inner, depth + 1, facts)
        if kind == "GraphProto" and depth == 1 and isinstance(content, memoryview):
            _note(number, content, facts)
    if kind in NAMED:
        _note_name(message, kind, facts)
    return seen


def _count(kind: str, number: int, facts: GraphFacts) -> None:
    facts._fields += 1
    facts._nodes += FIELDS[kind].get(number) == "NodeProto"
    if facts._nodes > MAX_NODES:
        raise ValueError(f"has more than {MAX_NODES:,} operators, which no network that is used here needs")
    if facts._fields > MAX_FIELDS:
        raise ValueError(f"has more than {MAX_FIELDS:,} parts. Store numbers packed or raw, as ONNX's own tools do")


NAMED = {"NodeProto": (7, 4), "FunctionProto": (10, 1)}
"""Numbers of the domain and the name of an operator, where it is used and where it is defined."""


def _note_name(message: memoryview, kind: str, facts: GraphFacts) -> None:
    texts = {
        number: text_of(content)
        for number, content in fields_of(message)
        if number in NAMED[kind] and isinstance(content, memoryview)
    }
    domain, name = (texts.get(number, "") for number in NAMED[kind])
    (facts._operators if kind == "NodeProto" else facts._functions).add((domain, name))


def _note(number: int, content: memoryview, facts: GraphFacts) -> None:
    """Notes what is wanted of a field of the main graph: 5 is a weight, 11 an input, 12 an output."""
    if number == 5:
        name, count = _weight(content)
        facts._weights.add(name)
        facts.parameters += count
    elif number in (11, 12):
        (facts.inputs if number == 11 else facts.outputs).append(_end(content))


def _weight(tensor: memoryview) -> tuple[str, int]:
    """Name of a TensorProto and how many real numbers it holds: `dims` is field 1, `data_type` 2, `name` 8."""
    name, count, data_type = "", 1, 0
    for number, content in fields_of(tensor):
        if number == 1:
            for size in [content] if isinstance(content, int) else packed(content):
                count *= size
        elif number == 2 and isinstance(content, int):
            data_type = content
        elif number == 8 and isinstance(content, memoryview):
            name = text_of(content)
    return name, count if data_type in FLOATS else 0


def packed(content: memoryview | int | None) -> Iterator[int]:
    """Yields the whole numbers of a packed field."""
    place = 0
    while isinstance(content, memoryview) and place < len(content):
        size, place = _varint(content, place)
        yield size


def _end(value: memoryview) -> TensorEnd:
    """A ValueInfoProto: `name` is field 1, `type` 2; in that 1 is the tensor's, with `elem_type` 1 and `shape` 2, a
    list of `dim` 1 with `dim_value` 1.
    """
    name = b"".join(
        bytes(content) for number, content in fields_of(value) if number == 1 and isinstance(content, memoryview)
    ).decode(errors="replace")
    data_type, sizes = 0, None
    for tensor in inside(value, 2, 1):
        for number, content in fields_of(tensor):
            if number == 1 and isinstance(content, int):
                data_type = content
            elif number == 2 and isinstance(content, memoryview):
                sizes = tuple(_size(dimension) for dimension in inside(content, 1))
    return TensorEnd(name, data_type, sizes)


def _size(dimension: memoryview) -> int | None:
    for number, content in fields_of(dimension):
        if number == 1 and isinstance(content, int):
            if not 0 < content <= MAX_SIZE:
                raise ValueError("not an ONNX file that can be used: an input or output claims an impossible size")
            return content
    return None


def inside(message: memoryview, *path: int) -> Iterator[memoryview]:
    """Yields the messages that lie in a message along a path of field numbers."""
    for number, content in fields_of(message):
        if number == path[0] and isinstance(content, memoryview):
            if len(path) == 1:
                yield content
            else:
                yield from inside(content, *path[1:])


def text_of(content: memoryview) -> str:
    """Returns a text field, its first 200 bytes."""
    return bytes(content[:200]).decode(errors="replace")


def fields_of(message: memoryview) -> Iterator[tuple[int, memoryview | int | None]]:
    """Yields the fields of a message: number, and content of bytes or a whole number; None for numbers of fixed width,
    which nothing here needs.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag >> TAG_BITS or not tag >> 3:
            raise ValueError(
                f"not an ONNX file, or a damaged one: a field has the number {tag >> 3}, which is none that a "
                "field may have"
            )
        content: memoryview | int | None = None
        wire = tag & 7
        if wire == VARINT:
            content, place = _varint(message, place)
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
