"""JSON files that others may have written: read up to a size, never further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 10 << 20
"""Records, descriptions and filters have some kilobytes; more is none of them."""

UNREADABLE = (OSError, ValueError, RecursionError)
"""What `read_json` raises: the caller knows what the file should have been, and says so."""


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Returns what a JSON file holds.

    Args:
        path: the file.
        max_bytes: no more than so many are read.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more bytes, or is no JSON text.
        RecursionError: it is nested too deeply.
    """
    with path.open("rb") as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return json.loads(content)
