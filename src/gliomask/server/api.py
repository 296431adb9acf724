"""The REST API: jobs in, progress and results out. Described by /openapi.json."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

from gliomask.results.correction import MAX_NAME, ToolUse
from gliomask.sequences import Sequence
from gliomask.server.context import FORM, ServerContext, context_of
from gliomask.server.corrections import JSON
from gliomask.server.jobs import (
    ID_PATTERN,
    Correction,
    DeliveryState,
    Failure,
    Job,
    JobOptions,
    Kind,
    Progress,
    ResultFile,
    State,
)
from gliomask.server.problems import KINDS, RequestError
from gliomask.view.sent import MAX_STEPS

router = APIRouter(prefix="/api/v1", tags=["jobs"])

HEARTBEAT_SECONDS = 15.0
"""An event stream says something so often, so that nobody between takes it for dead."""

JobId = Annotated[str, Path(description="The job's id.", pattern=ID_PATTERN)]

CorrectionNumber = Annotated[int, Path(ge=1, le=10_000, description="The correction's number, from 1.")]


class JobView(BaseModel):
    """A job as clients see it. Times are UTC."""

    id: str
    state: State
    kind: Kind
    options: JobOptions
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None
    waiting_before: int | None
    progress: Progress | None
    failure: Failure | None
    results: tuple[ResultFile, ...]
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    volumes_ml: dict[str, float]
    expected_dice: dict[str, float]
    delivery: DeliveryState
    corrections: tuple[Correction, ...]


def view(job: Job, context: ServerContext) -> JobView:
    """Returns what clients see of a job."""
    outcome = job.outcome
    return JobView(
        id=job.id,
        state=job.state,
        kind=job.kind,
        options=job.options,
        created=_time(job.created),
        started=None if job.started is None else _time(job.started),
        finished=None if job.finished is None else _time(job.finished),
        expires=None if job.expires is None else _time(job.expires),
        waiting_before=context.store.waiting_before(job.created) if job.state is State.QUEUED else None,
        progress=context.watch.progress(job.id) if job.state is State.RUNNING else None,
        failure=None if outcome is None else outcome.failure,
        results=() if outcome is None else outcome.results,
        flags=() if outcome is None else outcome.flags,
        notes=() if outcome is None else outcome.notes,
        volumes_ml={} if outcome is None else outcome.volumes_ml,
        expected_dice={} if outcome is None else outcome.expected_dice,
        delivery=job.delivery,
        corrections=context.corrections(job.id),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Returns the refusals of an operation, for its description."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, "bad_request", "token_needed", "cross_site", "wrong_host", "unexpected", "busy"):
        kind = KINDS[code]
        text = f"`{code}`: {kind.message}"
        if kind.status in responses:
            text = f"{responses[kind.status]['description']} {text}"
        responses[kind.status] = {"model": Failure, "description": text}
    return responses


_FILE = {"type": "string", "format": "binary"}


def _form() -> dict[str, Any]:
    """The body of an upload, for the description: it is read as it comes, so no function takes it as an argument."""
    texts = {
        name: {"type": "string", "description": field.description or "", **_examples(name)}
        for name, field in JobOptions.model_fields.items()
    }
    files = {name: {**_FILE, "description": f"The {name} scan, NIfTI."} for name in ("flair", "t1", "t1ce", "t2")}
    several = {
        "type": "array",
        "items": _FILE,
        "description": "Instead: four NIfTI files named after their sequences, one zip, or DICOM files.",
    }
    schema = {"type": "object", "properties": {**files, "files": several, **texts}, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


def _examples(name: str) -> dict[str, Any]:
    allowed = {"labels": ["brats2021", "brats2023"], "raw": ["auto", "always", "never"]}
    if name in allowed:
        return {"enum": allowed[name]}
    return {"enum": ["true", "false"]} if JobOptions.model_fields[name].annotation is bool else {"maxLength": 80}


@router.post(
    "/jobs",
    status_code=201,
    response_model=JobView,
    summary="Send scans and make a job of them",
    openapi_extra=_form(),
    responses=problems(
        "too_slow", "too_large", "unsupported_media_type", "not_scans", "invalid", "queue_full", "no_room"
    ),
)
async def create_job(request: Request, response: Response) -> JobView:
    """Takes the scans of one patient; the job waits when the answer comes, and is not lost from then on."""
    context = context_of(request)
    job = await context.accept(request)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return view(job, context)


@router.get("/jobs", response_model=list[JobView], summary="List jobs, the newest first", responses=problems("invalid"))
def list_jobs(
    request: Request,
    state: Annotated[State | None, Query(description="Only jobs that stand here.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
) -> list[JobView]:
    """Lists jobs whose files have not expired."""
    context = context_of(request)
    return [
        view(job, context)
        for job in context.store.newest(state, limit)
        if job.state is not State.EXPIRED or state is State.EXPIRED
    ]


@router.get(
    "/jobs/{job_id}",
    response_model=JobView,
    summary="Ask for one job",
    responses=problems("no_such_job", "expired", "invalid"),
)
def get_job(request: Request, job_id: JobId) -> JobView:
    """Returns where a job stands, and, once it is final, how it ended."""
    context = context_of(request)
    return view(context.job(job_id), context)


@router.post(
    "/jobs/{job_id}/cancel",
    response_model=JobView,
    status_code=202,
    summary="Cancel a job",
    responses=problems("no_such_job", "expired", "already_final", "invalid"),
)
async def cancel_job(request: Request, job_id: JobId) -> JobView:
    """Cancels a job that waits or runs. A running one ends within seconds: ask for it until its state is final."""
    context = context_of(request)
    return view(await context.cancel(job_id), context)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Remove a job's files",
    responses=problems("no_such_job", "expired", "invalid"),
)
async def delete_job(request: Request, job_id: JobId) -> Response:
    """Removes scans and results at once; a job that has not ended is cancelled first."""
    await context_of(request).delete(job_id)
    return Response(status_code=204)


@router.get(
    "/jobs/{job_id}/results/{name}",
    response_class=FileResponse,
    summary="Fetch one result",
    responses={
        200: {"content": {"application/octet-stream": {"schema": _FILE}}, "description": "The file."},
        **problems("no_such_job", "no_such_result", "not_finished", "expired", "invalid"),
    },
)
def get_result(request: Request, job_id: JobId, name: Annotated[str, Path(max_length=120)]) -> FileResponse:
    """Returns a file of those that the job lists; `results.zip` holds all others."""
    path = context_of(request).result(job_id, name)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


_CORRECTION = {
    "type": "object",
    "required": ["who", "steps", "labels"],
    "properties": {
        "who": {"type": "string", "minLength": 1, "maxLength": MAX_NAME, "description": "Who corrected; not checked."},
        "steps": {
            "type": "array",
            "maxItems": MAX_STEPS,
            "items": ToolUse.model_json_schema(),
            "description": "How often each tool was used, and how many voxels it changed.",
        },
        "labels": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "The whole corrected label map in the grid of the result: base64 of a gzip stream of one "
            "byte a voxel, 0 background, 1 necrotic, 2 oedema, 3 enhancing, the first axis fastest.",
        },
    },
}


@router.post(
    "/jobs/{job_id}/corrections",
    status_code=201,
    response_model=Correction,
    summary="Keep a correction of the label map",
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": _CORRECTION}}}},
    responses=problems(
        "no_such_job",
        "no_such_result",
        "not_finished",
        "expired",
        "too_many_corrections",
        "too_slow",
        "too_large",
        "unsupported_media_type",
        "no_correction",
        "invalid",
        "no_room",
    ),
)
async def create_correction(request: Request, job_id: JobId) -> Correction:
    """Keeps a label map that a person corrected, beside the result, which stays as it is."""
    return await context_of(request).correct(request, job_id)


@router.get(
    "/jobs/{job_id}/corrections/{number}/{name}",
    response_class=FileResponse,
    summary="Fetch a file of a correction",
    responses={
        200: {"content": {"application/octet-stream": {"schema": _FILE}}, "description": "The file."},
        **problems("no_such_job", "no_such_result", "expired", "invalid"),
    },
)
def get_correction(
    request: Request, job_id: JobId, number: CorrectionNumber, name: Annotated[str, Path(max_length=120)]
) -> FileResponse:
    """Returns a file of those that the correction lists; its zip is a case as `gliomask train` takes it."""
    path = context_of(request).correction_file(job_id, number, name)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


@router.get(
    "/jobs/{job_id}/scans/{sequence}",
    response_class=FileResponse,
    summary="Fetch one scan",
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": _FILE}},
            "description": "The scan, NIfTI, on its own grid.",
        },
        **problems("no_such_job", "no_such_result", "expired", "invalid"),
    },
)
def get_scan(request: Request, job_id: JobId, sequence: Sequence) -> FileResponse:
    """Returns a scan as it was segmented, for viewers: as it came, or as it was made of DICOM or taken from a zip."""
    path = context_of(request).scan(job_id, sequence)
    name = f"case_{sequence.value}{'.nii.gz' if path.suffix == '.gz' else '.nii'}"
    return FileResponse(path, media_type="application/octet-stream", filename=name)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    summary="Follow a job",
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "An event `job` at every change.",
        },
        **problems("no_such_job", "expired", "invalid"),
    },
)
async def follow_job(request: Request, job_id: JobId) -> StreamingResponse:
    """Sends the job as JSON at every change (server-sent events), and ends when the job does."""
    context = context_of(request)
    await asyncio.to_thread(context.job, job_id)
    if context.watch.watchers >= context.settings.limits.event_streams:
        raise RequestError("busy")
    return StreamingResponse(
        _events(context, job_id), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _events(context: ServerContext, job_id: str) -> AsyncIterator[str]:
    async with context.watch.watching(job_id) as changed:
        last = ""
        while True:
            changed.clear()
            job = await asyncio.to_thread(context.store.get, job_id)
            if job is None:
                return
            state = view(job, context).model_dump_json()
            if state != last:
                yield f"event: job\ndata: {state}\n\n"
                last = state
            if job.state.is_final:
                return
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
