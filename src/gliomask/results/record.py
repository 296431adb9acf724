"""The run record of a segmentation: what `gliomask segment` and `gliomask-bids` leave beside a result, so that it can
be traced, checked and repeated.

This is the only reader and writer. A record is strict JSON (no NaN, no Infinity), names every file with its SHA-256,
and is written last: a case without a record has no complete result. `record_schema` returns its JSON Schema, which
docs/schemas/run-record.schema.json holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from gliomask.errors import FileFormatError
from gliomask.files.json import UNREADABLE, read_json
from gliomask.files.json_schema import json_schema
from gliomask.labels import Region
from gliomask.sequences import Sequence

RECORD_VERSION = 2
"""Version 1 (gliomask 0.1.0 and before) has no `record_version`, and no hashes of outputs."""

MAX_RECORD_BYTES = 10 << 20
"""A run record has some kilobytes; more is none."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _RecordMapping(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelUsed(_RecordMapping):
    """A model that was asked."""

    name: str
    sha256: str = Field(description="SHA-256 of its model.json, which holds the hashes of its other files.")


class SecondModel(ModelUsed):
    """The second member of the ensemble: a model that is asked as well where the first suspects tumour."""

    asked: bool = Field(description="False where it cannot do without a sequence that the patient lacks.")


class FlagRecord(_RecordMapping):
    """A quality flag."""

    name: str
    message: str
    value: Number | None = Field(None, description="What was measured; null where it is not finite.")
    limit: Number | None = None


class EstimateRecord(_RecordMapping):
    """The Dice to be expected of one region, with the interval that held 80 % of cross-validated cases."""

    dice: Number
    low: Number
    high: Number


class CostRecord(_RecordMapping):
    """What the missing sequences cost in cross-validation."""

    cases: int
    median_dice: dict[Region, Number]
    median_dice_of_all: dict[Region, Number]


class CoreRuleRecord(_RecordMapping):
    """The rule by which the core of a tumour that hardly enhances was widened."""

    enhancing_share: Number
    core_probability: Number


class RemovedEnhancementRecord(_RecordMapping):
    """Enhancement that the model's rule called core, because no part of it was certain."""

    components: int
    volume_ml: Number


class AmountRecord(_RecordMapping):
    """The extent of a label or region."""

    title: str
    voxels: int
    volume_ml: Number
    volume_mm3: Number


class VolumesRecord(_RecordMapping):
    """Volumes of the label map, in the grid in which it is delivered."""

    labels: dict[str, AmountRecord]
    regions: dict[Region, AmountRecord]


class RemovedRecord(_RecordMapping):
    """A connected part of the network's answer that post-processing removed."""

    voxels: int
    volume_ml: Number
    centre_ras_mm: tuple[Number, Number, Number] = Field(
        description="In the world of the grid that the label map is delivered in."
    )


class StepRecord(_RecordMapping):
    """A step of native-space preprocessing."""

    name: str
    sequence: str
    what: str
    measured: dict[str, JsonValue]


class RawRecord(_RecordMapping):
    """Native-space preprocessing: what was done to scans as the scanner gave them."""

    reference: Sequence = Field(description="The sequence in whose grid the label map lies.")
    mode: str
    skip: tuple[str, ...]
    brain_mask: str | None
    brain_by: str = Field("", description="Who found the brain: gliomask, a file, or another tool by its name.")
    registered_by: dict[Sequence, str] = Field(
        default_factory=dict,
        description="Who brought each sequence to the reference, and the reference to BraTS space: gliomask, a file, "
        "or another tool by its name.",
    )
    grids: dict[Sequence, str]
    defaced: dict[str, JsonValue] | None = Field(
        None, description="Present with --deface: the plane beyond which voxels were emptied, in BraTS space, RAS mm."
    )
    steps: tuple[StepRecord, ...]


class RunRecord(_RecordMapping):
    """What was done to one case, with what, and what came of it."""

    record_version: Literal[1, 2] = 2
    command: str
    finished: str = Field(description="ISO 8601, UTC.")
    environment: dict[str, JsonValue] = Field(default_factory=dict)
    peak_memory_mb: Number | None = None
    case: str
    inputs: dict[str, Sha256] = Field(
        description="SHA-256 of every file that was read, by its path as given; of DICOM, of all files of the place."
    )
    sequences: dict[Sequence, str] = Field(default_factory=dict, description="Which input holds which sequence.")
    without: tuple[str, ...] = ()
    cost_of_missing: CostRecord | None = None
    core_rule: CoreRuleRecord | None = None
    removed_enhancement: RemovedEnhancementRecord | None = None
    asked_over: Literal["brain", "suspected", "again"] = Field(
        "brain",
        description="Where the network was asked along its planes: the whole brain, the part near what a first look "
        "suspects, or the whole brain "
        "again because that part left it unsure.",
    )
    grid: str = Field("", description="The grid that the network worked in.")
    model: ModelUsed
    second_opinion: SecondModel | None = Field(
        None, description="The second member of the ensemble; null where one network was asked for."
    )
    options: dict[str, JsonValue]
    threads: int | None = None
    expected_dice: dict[Region, Number] = Field(
        default_factory=dict, description="What the networks expect of themselves."
    )
    predicted_dice: dict[Region, EstimateRecord] = Field(
        default_factory=dict, description="The Dice to be expected; empty where not calibrated."
    )
    quality_flags: tuple[FlagRecord, ...] = ()
    seconds: dict[str, Number] = Field(default_factory=dict)
    profile: dict[str, JsonValue] | None = Field(
        None, description="Present with --profile: what each stage took, see docs/performance.md."
    )
    raw_route: RawRecord | None = Field(None, description="Present where the case was brought to BraTS space first.")
    dicom: dict[str, JsonValue] | None = Field(
        None, description="Present where the scans came from DICOM: the series, and why they were chosen."
    )
    space: Sequence | None = Field(
        None, description="The sequence in whose grid the label map lies; null where all share one."
    )
    volumes: VolumesRecord | None = None
    removed: tuple[RemovedRecord, ...] = ()
    outputs: dict[str, Sha256] | None = Field(
        None, description="SHA-256 of every file that was written, by its path from the output folder."
    )
    notice: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.record_version == RECORD_VERSION and (self.outputs is None or self.volumes is None):
            raise ValueError("a record of version 2 has outputs and volumes")
        return self

    def as_read(self) -> dict[str, Any]:
        """Returns the fields that the file has, as JSON values: what it does not say is not there."""
        return self.model_dump(mode="json", exclude_unset=True)

    @property
    def route(self) -> Literal["prepared", "native"]:
        """Which way the case went."""
        return "prepared" if self.raw_route is None else "native"

    def to_bytes(self) -> bytes:
        """Returns the record as JSON text: fields in their order, `raw_route`, `dicom` and `profile` only where there
        are any.
        """
        optional = {name for name in ("raw_route", "dicom", "profile") if getattr(self, name) is None}
        return (json.dumps(self.model_dump(mode="json", exclude=optional), indent=1, allow_nan=False) + "\n").encode()


def record_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a run record."""
    return json_schema(RunRecord, "gliomask run record")


def parse_record(values: object, name: str) -> RunRecord:
    """Returns the record that JSON values hold.

    Args:
        values: as the JSON reader gives them.
        name: of the file, for messages.

    Raises:
        FileFormatError: they are no record, or one of a later version.
    """
    if not isinstance(values, Mapping):
        raise FileFormatError(f"{name}: is no run record: it holds no fields. Remove it, or segment again.")
    version = values.get("record_version", 1)
    if version not in (1, RECORD_VERSION) or isinstance(version, bool):
        raise FileFormatError(
            f"{name}: is a run record of version {version!r}; this gliomask reads 1 and {RECORD_VERSION}. Read it "
            "with the later version."
        )
    # Fields that versions before this one wrote and that nobody reads are left behind; within this version none is
    # unknown.
    fields = (
        {key: value for key, value in values.items() if key in RunRecord.model_fields} if version == 1 else dict(values)
    )
    try:
        return RunRecord.model_validate(fields | {"record_version": version})
    except (ValidationError, RecursionError) as error:
        raise FileFormatError(f"{name}: is no run record: {_in_words(error)}. Remove it, or segment again.") from error


def read_record(path: Path) -> RunRecord | None:
    """Reads a run record.

    Returns:
        The record; None where there is no such file.

    Raises:
        FileFormatError: it cannot be read, is larger than any record, or is none.
    """
    if not path.is_file():
        return None
    try:
        values = read_json(path, MAX_RECORD_BYTES)
    except UNREADABLE as error:
        raise FileFormatError(f"{path}: is no run record: {error}. Remove it, or segment again.") from error
    return parse_record(values, str(path))


def earlier_outputs(path: Path) -> tuple[str, ...]:
    """Returns the names that a record lists, so that what is not written again can be removed; none where the file is
    no record.
    """
    try:
        record = read_record(path)
    except FileFormatError:
        return ()
    return () if record is None else tuple(record.outputs or ())


def _in_words(error: Exception) -> str:
    """The first thing that is wrong, without the values, which may be long."""
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "record"
    return f"{place}: {first['msg']}"
