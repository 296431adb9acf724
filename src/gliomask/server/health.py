"""For machines that watch the server: is it well, and its figures."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from gliomask.server.api import problems
from gliomask.server.context import context_of
from gliomask.server.keeper import free_bytes, writable

router = APIRouter(tags=["health"])

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """Whether the server can take and run jobs, and what is wrong where it cannot."""

    status: Literal["ok", "failing"]
    reasons: tuple[str, ...] = ()


@router.get(
    "/healthz",
    response_model=Health,
    summary="Is the server well?",
    responses={503: {"model": Health, "description": "It is not."}, 400: {}, 421: {}},
)
def health(request: Request) -> Response:
    """Needs no token, and tells nothing of jobs."""
    context = context_of(request)
    checks = {
        "the queue has stopped": context.pool.is_alive,
        "the disk is nearly full": free_bytes(context.folders) > context.settings.limits.free_disk_bytes,
        "the folder cannot be written to": writable(context.folders),
    }
    reasons = tuple(reason for reason, well in checks.items() if not well)
    state = Health(status="failing" if reasons else "ok", reasons=reasons)
    return JSONResponse(state.model_dump(), 503 if reasons else 200)


@router.get(
    "/metrics",
    response_class=Response,
    summary="Figures for Prometheus",
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus's text format."},
        **problems(),
    },
)
def metrics(request: Request) -> Response:
    """Counts, times and sizes; nothing of any patient."""
    context = context_of(request)
    text = context.metrics.text(context.store.counts(), context.watch.watchers, free_bytes(context.folders))
    return Response(text, headers={"Content-Type": PROMETHEUS})
