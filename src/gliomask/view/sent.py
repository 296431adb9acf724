"""Corrections as the page sends them: JSON with who corrected, with which tools, and the label map in a gzip stream."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from gliomask.arrays import LabelMap
from gliomask.errors import InputError
from gliomask.files.json import parse_json
from gliomask.results.correction import ToolUse

MAX_BODY_BYTES = 64 << 20
"""A label map in a request; compressed, one has some hundred kilobytes."""

MAX_STEPS = 100
"""Kinds of steps that a request lists; there are five tools."""


@dataclass(frozen=True, eq=False)
class Sent:
    """A correction that came from a page.

    Args:
        who: corrected it, as typed.
        steps: with which tools.
        labels: (I, J, K), values of `Label` or beyond: whoever keeps it compares it with the segmentation.
    """

    who: str
    steps: tuple[ToolUse, ...]
    labels: LabelMap


def read_sent(body: bytes, shape: tuple[int, int, int]) -> Sent:
    """Returns the correction that a request holds.

    Args:
        body: JSON with `who`, `steps` (a list of tool, steps, voxels) and `labels`: base64 of a gzip stream of one
            byte a voxel, the first axis fastest.
        shape: of the segmentation. No more is unpacked than it has voxels.

    Raises:
        InputError: it holds none.
    """
    try:
        given = parse_json(body)
        who, steps, packed = given["who"], given["steps"], given["labels"]
        if not (isinstance(who, str) and isinstance(steps, list) and len(steps) <= MAX_STEPS):
            raise TypeError("not of the kinds that are needed")
        labels = _labels(base64.b64decode(packed, validate=True), shape)
        return Sent(who, tuple(ToolUse.model_validate(one) for one in steps), labels)
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError, ValidationError) as error:
        raise InputError("The request holds no correction. Load the page again.") from error


def _labels(packed: bytes, shape: tuple[int, int, int]) -> LabelMap:
    count = int(np.prod(shape))
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    content = unpacker.decompress(packed, count + 1)
    if len(content) != count or not unpacker.eof:
        raise ValueError(f"{len(content)} voxels, not {count}")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F")
