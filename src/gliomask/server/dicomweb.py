"""DICOMweb (DICOM PS3.18, chapter 10): STOW-RS takes studies in.

QIDO-RS and WADO-RS give out the objects that were made of them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathPart
from fastapi.responses import JSONResponse, Response, StreamingResponse

from gliomask.server.api import problems
from gliomask.server.context import ServerContext, context_of
from gliomask.server.instances import Instance, read_instance
from gliomask.server.jobs import State
from gliomask.server.pacs import DICOM, JSON, RELATED, encoded
from gliomask.server.problems import RequestError
from gliomask.server.studies import Stored

router = APIRouter(prefix="/dicomweb", tags=["dicomweb"])

StudyUid = Annotated[str, PathPart(description="StudyInstanceUID.", pattern=r"^[0-9]+(\.[0-9]+)+$", max_length=64)]
Uid = Annotated[str, PathPart(pattern=r"^[0-9]+(\.[0-9]+)+$", max_length=64)]

_BODY = {
    "requestBody": {
        "required": True,
        "content": {f'{RELATED}; type="{DICOM}"': {"schema": {"type": "string", "format": "binary"}}},
    }
}

_DATASET: dict[str, Any] = {"content": {JSON: {"schema": {"type": "object"}}}}
_DATASETS: dict[str, Any] = {"content": {JSON: {"schema": {"type": "array", "items": {"type": "object"}}}}}
_PARTS: dict[str, Any] = {"content": {RELATED: {"schema": {"type": "string", "format": "binary"}}}}

_STORING: dict[int | str, dict[str, Any]] = {
    **problems("too_slow", "too_large", "unsupported_media_type", "invalid", "queue_full", "no_room"),
    200: {**_DATASET, "description": "All instances are stored."},
    202: {**_DATASET, "description": "Some instances are stored; the answer says which were refused."},
    409: {**_DATASET, "description": "No instance could be stored; the answer says why."},
}


@router.post(
    "/studies",
    summary="Send DICOM instances (STOW-RS)",
    response_class=Response,
    openapi_extra=_BODY,
    responses=_STORING,
)
async def store(request: Request) -> Response:
    """Stores instances of any study. A study from which nothing more comes for a while becomes a job."""
    return await _store(request, None)


@router.post(
    "/studies/{study_uid}",
    summary="Send instances of one study (STOW-RS)",
    response_class=Response,
    openapi_extra=_BODY,
    responses=_STORING,
)
async def store_study(request: Request, study_uid: StudyUid) -> Response:
    """Stores instances of one study; others are refused."""
    return await _store(request, study_uid)


async def _store(request: Request, study_uid: str | None) -> Response:
    context = context_of(request)
    context.refuse_when_full()
    async with context.receiver.received(request, RELATED, files_only=True) as (_, parts):
        stored = await asyncio.to_thread(context.studies.keep, parts, study_uid)
    status = 200 if not stored.refused else 202 if stored.kept else 409
    return JSONResponse(_told(stored), status, media_type=JSON)


def _told(stored: Stored) -> dict[str, Any]:
    """PS3.18, table 10.5.3-2: what was stored, and what was not.

    Instances that cannot be read have no UIDs to be named by.
    """
    answer: dict[str, Any] = {}
    if stored.kept:
        answer["00081199"] = {"vr": "SQ", "Value": [_reference(instance) for instance in stored.kept]}
    if stored.refused:
        answer["00081198"] = {
            "vr": "SQ",
            "Value": [{"00081197": {"vr": "US", "Value": [reason]}} for reason in stored.refused],
        }
    return answer


def _reference(instance: Instance) -> dict[str, Any]:
    return {"00081150": {"vr": "UI", "Value": [instance.sop_class]}, "00081155": {"vr": "UI", "Value": [instance.uid]}}


@router.get(
    "/studies",
    summary="Find studies with results (QIDO-RS)",
    response_class=Response,
    responses={
        200: {**_DATASETS, "description": "The studies."},
        204: {"description": "There are none."},
        **problems("invalid"),
    },
)
def find_studies(
    request: Request,
    study_uid: Annotated[
        str | None, Query(alias="StudyInstanceUID", description="Only this study.", max_length=64)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Lists the studies that came by DICOMweb and whose objects are ready."""
    jobs = context_of(request).store.newest(State.DONE, limit, study_uid)
    uids = list(dict.fromkeys(job.study_uid for job in jobs if job.study_uid))
    return _listed([{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in uids])


@router.get(
    "/studies/{study_uid}/instances",
    summary="List the objects of a study (QIDO-RS)",
    response_class=Response,
    responses={200: {**_DATASETS, "description": "The objects."}, **problems("invalid", "no_such_study")},
)
def find_instances(request: Request, study_uid: StudyUid) -> Response:
    """Lists the segmentation and the report that were made of a study."""
    return _listed([_described(instance) for instance, _ in _objects(context_of(request), study_uid)])


@router.get(
    "/studies/{study_uid}",
    summary="Fetch the objects of a study (WADO-RS)",
    response_class=StreamingResponse,
    responses={200: {**_PARTS, "description": "The objects."}, **problems("invalid", "no_such_study")},
)
def fetch_study(request: Request, study_uid: StudyUid) -> StreamingResponse:
    """Returns the segmentation and the report that were made of a study."""
    return _sent([path for _, path in _objects(context_of(request), study_uid)])


@router.get(
    "/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}",
    summary="Fetch one object (WADO-RS)",
    response_class=StreamingResponse,
    responses={200: {**_PARTS, "description": "The object."}, **problems("invalid", "no_such_study")},
)
def fetch_instance(request: Request, study_uid: StudyUid, series_uid: Uid, instance_uid: Uid) -> StreamingResponse:
    """Returns one of the objects that were made of a study."""
    instances = _objects(context_of(request), study_uid)
    paths = [path for instance, path in instances if (instance.series_uid, instance.uid) == (series_uid, instance_uid)]
    if not paths:
        raise RequestError("no_such_study")
    return _sent(paths)


def _objects(context: ServerContext, study_uid: str) -> list[tuple[Instance, Path]]:
    """The objects of a study's newest job that is done."""
    for job in context.store.newest(State.DONE, 1, study_uid):
        paths = context.objects(job)
        if paths:
            return [(read_instance(path), path) for path in paths]
    raise RequestError("no_such_study")


def _described(instance: Instance) -> dict[str, Any]:
    values = {
        "00080016": ("UI", instance.sop_class),
        "00080018": ("UI", instance.uid),
        "00080060": ("CS", instance.modality),
        "0020000D": ("UI", instance.study_uid),
        "0020000E": ("UI", instance.series_uid),
    }
    return {tag: {"vr": kind, "Value": [value]} for tag, (kind, value) in values.items()}


def _listed(rows: list[dict[str, Any]]) -> Response:
    return JSONResponse(rows, media_type=JSON) if rows else Response(status_code=204)


def _sent(paths: list[Path]) -> StreamingResponse:
    boundary = secrets.token_hex(16)

    def pieces() -> Iterator[bytes]:
        yield from encoded(paths, boundary)

    return StreamingResponse(pieces(), headers={"Content-Type": f'{RELATED}; type="{DICOM}"; boundary={boundary}'})
