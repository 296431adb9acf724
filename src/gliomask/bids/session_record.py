"""The types of what `logs/` holds: the run record of a finished session, and the reason why another failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gliomask.errors import UsageError
from gliomask.files.json import UNREADABLE, parse_json, read_json
from gliomask.files.json_schema import json_schema
from gliomask.results.record import RECORD_VERSION, RunRecord


class SessionRecord(RunRecord):
    """What was done to one session of a BIDS dataset.

    Scans are named by BIDS URIs, outputs by their paths from the derivative dataset's root.
    """

    request: dict[str, JsonValue] = Field(
        description="What the results depend on: with the same request they can be kept."
    )

    def plain(self) -> dict[str, Any]:
        """Returns it as JSON values, fields in their order."""
        values: dict[str, Any] = parse_json(self.to_bytes())
        return values


class FailureRecord(BaseModel):
    """Why a session could not be done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    finished: str = Field(description="ISO 8601, UTC.")
    environment: dict[str, JsonValue] = Field(default_factory=dict)
    peak_memory_mb: float | None = None
    case: str
    error: str = Field(description="The kind of error.")
    message: str
    seconds: dict[str, float] = Field(default_factory=dict)
    notice: str = ""


def session_record_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a session's run record: docs/schemas/bids-session-record.schema.json."""
    return json_schema(SessionRecord, "gliomask-bids run record of a session")


Kind = TypeVar("Kind", bound=BaseModel)


def read_as(kind: type[Kind], path: Path) -> Kind | None:
    """Reads a record.

    Args:
        kind: `SessionRecord` or `FailureRecord`.
        path: the file.

    Returns:
        The record; None where there is no such file.

    Raises:
        UsageError: the file is no such record, or one of an earlier version.
    """
    if not path.exists():
        return None
    try:
        values = read_json(path)
    except UNREADABLE as error:
        raise _none(path, str(error)) from error
    if kind is SessionRecord and isinstance(values, Mapping) and values.get("record_version", 1) != RECORD_VERSION:
        raise UsageError(
            f"{path}: was written by another version of gliomask (record version "
            f"{values.get('record_version', 1)!r}; this one reads {RECORD_VERSION}). "
            "Remove it and segment that session again."
        )
    try:
        return kind.model_validate(values)
    except (ValidationError, RecursionError) as error:
        raise _none(path, in_words(error)) from error


def in_words(error: Exception) -> str:
    """Returns the first thing that is wrong with a record, without the values, which may be long."""
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}"


def _none(path: Path, why: str) -> UsageError:
    return UsageError(f"{path}: is no record of gliomask-bids ({why}). Remove it and segment that session again.")
