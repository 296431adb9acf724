"""The record of a correction: who changed a label map by hand, when, and what; it lies beside the corrected label map.

This is the only reader and writer in Python; `web/src/edit/saving.ts` writes the same fields where a correction is
downloaded.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gliomask.errors import FileFormatError
from gliomask.files.json import UNREADABLE, read_json
from gliomask.files.json_schema import json_schema
from gliomask.results.layout import CaseLayout

WRITTEN_AS: Literal["brats2021"] = "brats2021"
"""Convention of corrected label maps: the one that the names of their scans (`_t1ce`, `_flair`) stand for."""

MAX_NAME = 100
"""Most letters of the name of who corrected."""

MAX_CORRECTION_BYTES = 1 << 20
"""A record has about a kilobyte."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
LabelName = Literal["background", "necrotic", "oedema", "enhancing"]
Who = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class _CorrectionMapping(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Changed(_CorrectionMapping):
    """Voxels that had one label and got another."""

    before: LabelName = Field(alias="from")
    after: LabelName = Field(alias="to")
    voxels: Count
    ml: Amount


class ToolUse(_CorrectionMapping):
    """How often a tool was used, and how many voxels it changed in all."""

    tool: Literal["paint", "erase", "fill", "grow", "relabel"]
    steps: Count
    voxels: Count


class CorrectionRecord(_CorrectionMapping):
    """Who corrected a label map by hand, when, with what, and what changed."""

    correction_version: Literal[1] = 1
    case: str
    who: Who = Field(description="As the person wrote it; nobody checks it.")
    when: datetime = Field(description="ISO 8601, UTC.")
    tool: str = Field(description="The program, with its version.")
    original: str = Field(description="Name of the label map that was corrected.")
    original_sha256: str = Field("", description="SHA-256 of that file; empty where the program could not tell.")
    labels: Literal["brats2021"] = Field(WRITTEN_AS, description="How the corrected label map is written.")
    changed: tuple[Changed, ...]
    volumes_before_ml: dict[LabelName, Amount]
    volumes_after_ml: dict[LabelName, Amount]
    steps: tuple[ToolUse, ...] = ()
    no_report: str = Field("", description="Why there is no report of the corrected label map; empty where there is.")
    corrected_sha256: str = Field("", description="SHA-256 of the corrected label map; empty where not told.")

    @field_validator("who")
    @classmethod
    def _shown(cls, who: str) -> str:
        if not who.isprintable() or not who.strip():
            raise ValueError("it cannot be shown")
        return who

    @field_validator("when")
    @classmethod
    def _in_utc(cls, when: datetime) -> datetime:
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)

    @property
    def changed_ml(self) -> float:
        """How much has another label than before, ml."""
        return sum(change.ml for change in self.changed)

    def to_bytes(self) -> bytes:
        """Returns the record as JSON text."""
        values = self.model_dump(mode="json", by_alias=True, exclude=None if self.no_report else {"no_report"})
        values["when"] = self.when.isoformat(timespec="seconds")
        return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()


def correction_schema() -> dict[str, Any]:
    """Returns the JSON Schema of the record of a correction."""
    return json_schema(CorrectionRecord, "gliomask correction")


def correction_path(label_map: Path) -> Path:
    """Returns where the record of a corrected label map lies."""
    return CaseLayout(label_map).beside("_correction.json")


def read_correction(label_map: Path) -> CorrectionRecord | None:
    """Reads the record of a correction.

    Args:
        label_map: the corrected label map.

    Returns:
        The record; None where there is none beside the label map.

    Raises:
        FileFormatError: it cannot be read, or is none.
    """
    path = correction_path(label_map)
    if not path.is_file():
        return None
    try:
        return CorrectionRecord.model_validate(read_json(path, MAX_CORRECTION_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "record"
        raise FileFormatError(
            f"{path}: is no record of a correction: {place}: {first['msg']}. Remove it, or save the correction again."
        ) from error
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path}: is no record of a correction: {error}. Remove it, or save the correction again."
        ) from error
