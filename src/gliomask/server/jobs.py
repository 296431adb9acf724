"""What a job is: its options, its states, how it ended."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gliomask.sequences import Sequence

ID_BYTES = 16
"""128 random bits: an id cannot be guessed."""

ID_PATTERN = r"^[A-Za-z0-9_-]{22}$"

Title = Annotated[str, Field(max_length=80)]


class State(StrEnum):
    """Where a job stands. It leaves the final ones only to expire."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is computed."""
        return self not in (State.QUEUED, State.RUNNING)


class Kind(StrEnum):
    """What was sent."""

    NIFTI = "nifti"
    ARCHIVE = "archive"
    DICOM = "dicom"


class DeliveryState(StrEnum):
    """Whether the DICOM objects of a job or a correction have reached the archive that the server sends to."""

    NONE = "none"
    DUE = "due"
    SENT = "sent"
    FAILED = "failed"


class JobOptions(BaseModel):
    """How a job is to be segmented.

    That the model is one that comes with gliomask is checked where a job is made (`incoming`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Title = Field(
        default="", description="How the job is called on pages; leave out what identifies the patient."
    )
    model: str = Field(default="", description="Name of a shipped model; empty for the default.", max_length=80)
    labels: Literal["brats2021", "brats2023"] = Field(
        default="brats2021", description="Which numbers the label map holds: enhancing tumour is 4 or 3."
    )
    raw: Literal["auto", "always", "never"] = Field(
        default="auto", description="Register and strip the scans first: where they need it, always, or never."
    )
    without: tuple[Sequence, ...] = Field(
        default=(), description="Sequences that the patient does not have.", max_length=3
    )
    flips: bool = Field(default=False, description="Average over mirror images: four times as long.")
    probabilities: bool = Field(default=False, description="Also write the probability of each label.")
    uncertainty: bool = Field(default=False, description="Also write the uncertainty of each voxel.")
    strict: bool = Field(
        default=False,
        description="Give no result where scans look wrong or the network doubts its answer, instead of warning.",
    )

    @field_validator("title")
    @classmethod
    def _printable(cls, title: str) -> str:
        if not title.isprintable():
            raise ValueError("it holds control characters")
        return title.strip()

    @model_validator(mode="after")
    def _enough(self) -> JobOptions:
        if {Sequence.FLAIR, Sequence.T1CE} <= set(self.without):
            raise ValueError("FLAIR and T1ce cannot both be missing")
        return self


class Failure(BaseModel):
    """Why a job or a request failed: a code for programs, a sentence for people, and what to do.

    No path, no traceback.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    hint: str = ""


class ResultFile(BaseModel):
    """One file of a result."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    sha256: str


class JobOutcome(BaseModel):
    """What a worker leaves: results, or why there are none.

    Args:
        failure: None where the job is done.
        results: the files in the folder `results`.
        flags: what looks wrong about the scans, in sentences.
        notes: what was done differently from what was asked, in sentences.
        volumes_ml: by region.
        expected_dice: by region, where the model estimates it.
        seconds: that the work took.
    """

    model_config = ConfigDict(frozen=True)

    failure: Failure | None = None
    results: tuple[ResultFile, ...] = ()
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    volumes_ml: dict[str, float] = {}
    expected_dice: dict[str, float] = {}
    seconds: float = 0.0


class Correction(BaseModel):
    """A label map that a person corrected; the result itself stays as it is.

    Args:
        number: of the job's corrections, from 1.
        who: as the person wrote it; nobody checks it.
        when: in UTC.
        changed_ml: how much has another label than the result, ml.
        results: its files.
        notes: what is missing, and why, in sentences.
        volumes_ml: by region.
        delivery: whether its DICOM objects have reached the archive.
        deliveries: how often they were sent.
    """

    model_config = ConfigDict(frozen=True)

    number: int = 0
    who: str
    when: datetime
    changed_ml: float
    results: tuple[ResultFile, ...]
    notes: tuple[str, ...] = ()
    volumes_ml: dict[str, float]
    delivery: DeliveryState = DeliveryState.NONE
    deliveries: int = 0


class CorrectionOutcome(BaseModel):
    """What the process that keeps a correction leaves: the correction, or why there is none."""

    model_config = ConfigDict(frozen=True)

    failure: Failure | None = None
    correction: Correction | None = None


@dataclass(frozen=True)
class Job:
    """A job as the table has it. Times are seconds since 1970, UTC.

    Args:
        id: unguessable, and the name of its folder.
        kind: what was sent.
        state: where it stands.
        options: how to segment.
        created: when the upload was complete.
        started: when it was begun last.
        finished: when it ended.
        expires: when its files go.
        attempts: how often it was begun.
        outcome: how it ended; None before.
        study_uid: of the study that came by DICOMweb, else empty. It identifies an examination: it is not shown or
            logged.
        delivery: whether its DICOM objects have reached the archive.
        deliveries: how often they were sent.
    """

    id: str
    kind: Kind
    state: State
    options: JobOptions
    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    attempts: int = 0
    outcome: JobOutcome | None = None
    study_uid: str = field(default="", repr=False)
    delivery: DeliveryState = DeliveryState.NONE
    deliveries: int = 0

    @property
    def short(self) -> str:
        """The beginning of its id, for logs; not enough to ask for it."""
        return self.id[:6]


class Progress(BaseModel):
    """How far a running job is.

    Args:
        stage: what is done, in words.
        done: parts that are done.
        total: parts in all; 0 where it is not known.
    """

    model_config = ConfigDict(frozen=True)

    stage: str = ""
    done: int = 0
    total: int = 0


def new_id() -> str:
    """Returns a fresh id of a job."""
    return secrets.token_urlsafe(ID_BYTES)
