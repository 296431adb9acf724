"""The one gate for JSON: what others wrote is read bounded and strictly, what is written is JSON and nothing else.

Strict means RFC 8259 with the limits of RFC 7493 (I-JSON): UTF-8, no NaN or Infinity, no number beyond a double or 64
bits, no name twice, no lone surrogates; and no deeper than `MAX_DEPTH`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from gliomask.errors import FileFormatError
from gliomask.files.regular import read_regular, reason

MAX_JSON_BYTES = 10 << 20
"""Records, descriptions and filters have some kilobytes; more is none of them."""

MAX_DEPTH = 64
"""Levels of lists and objects; records have six."""

MAX_INTEGER = 2**64
"""Whole numbers from here on are none that a record holds, and overflow what they are converted to."""

UNREADABLE = (OSError, ValueError, RecursionError)
"""What `read_json` raises: the caller knows what the file should have been, and says so."""

SHOWN_ERRORS = 3
"""Errors of a type's check that a message tells."""

T = TypeVar("T")


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Returns what a JSON file holds.

    Args:
        path: the file.
        max_bytes: no more than so many are read.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it has more bytes, or is no strict JSON text; the message says why.
    """
    return parse_json(read_regular(path, max_bytes))


def parse_json(content: bytes) -> Any:
    """Returns what strict JSON text in UTF-8 stands for.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = json.loads(
            content.decode("utf-8-sig"),
            parse_float=_float,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    _refuse_odd(value)
    return value


def read_json_as(path: Path, kind: type[T], what: str, max_bytes: int = MAX_JSON_BYTES) -> T:
    """Returns what a JSON file holds as a value of a type, checked by pydantic.

    Args:
        path: the file.
        kind: a pydantic model, a dataclass or any other type that pydantic knows.
        what: what the file should be, for the message, such as `a run record of gliomask segment`.
        max_bytes: no more than so many are read.

    Raises:
        FileFormatError: it cannot be read, is no strict JSON, or not of that type; named by path, with what was found.
    """
    # Imported here: most readers of JSON do without it, and `gliomask models list` is to be quick.
    from pydantic import TypeAdapter, ValidationError

    try:
        value = read_json(path, max_bytes)
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'the whole'}: {item['msg']}" for item in error.errors()[:SHOWN_ERRORS]
        )
        raise FileFormatError(f"{path}: not {what} ({problems}).") from error
    except UNREADABLE as error:
        raise FileFormatError(f"{path}: not {what} ({reason(error)}).") from error


def to_json(value: Any, indent: int | None = 1) -> bytes:
    """Returns a value as strict JSON text with a line break at its end.

    Raises:
        ValueError: it holds NaN or infinity, which JSON cannot write, or a lone surrogate.
    """
    try:
        return (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode()
    except RecursionError:
        raise ValueError("it is nested too deeply to be written as JSON") from None


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {text[:40]}, which is beyond any that is calculated with")
    return value


def _integer(text: str) -> int:
    # Longer ones are not even converted: the time for that grows with the square of the digits.
    if len(text) > len(str(MAX_INTEGER)) + 1 or abs(int(text)) >= MAX_INTEGER:
        raise ValueError(
            f"it holds the number {text[:40]}{'...' if len(text) > 40 else ''}, which is beyond any that is "
            "counted with"
        )
    return int(text)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {twice[:40]!r} twice")
    return fields


def _refuse_odd(value: Any) -> None:
    """Refuses depth and lone surrogates. Level by level, since recursion is what deep nesting breaks."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item, *item.values()]
            elif isinstance(item, list):
                inner += item
            elif (
                isinstance(item, str) and not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item)
            ):
                raise ValueError("it holds half of a character (a lone surrogate)")
        level = inner
