"""JSON files that others may have written; a thin name for `gliomask.files.json`."""

from gliomask.files.json import MAX_JSON_BYTES, UNREADABLE, read_json

__all__ = ["MAX_JSON_BYTES", "UNREADABLE", "read_json"]
