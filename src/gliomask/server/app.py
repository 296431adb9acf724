"""The server put together: routes, guard, queue, and what happens at its start and end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gliomask import __version__
from gliomask.errors import LimitError
from gliomask.files.atomic import NO_ROOM
from gliomask.server import api, dicomweb, health, pages
from gliomask.server.answers import refused
from gliomask.server.context import ServerContext
from gliomask.server.corrections import Corrector
from gliomask.server.delivery import PAUSE_SECONDS, deliver
from gliomask.server.events import Watch
from gliomask.server.guard import Guard
from gliomask.server.jobs import DeliveryState
from gliomask.server.keeper import Folders, expire
from gliomask.server.metrics import Metrics
from gliomask.server.pool import Pool
from gliomask.server.problems import KINDS, RequestError
from gliomask.server.receive import Receiver
from gliomask.server.settings import ServerSettings
from gliomask.server.store import JobStore
from gliomask.server.studies import Studies

log = logging.getLogger("gliomask.server")

TIDY_SECONDS = 60.0
"""Expired jobs are looked for so often."""

STUDY_SECONDS = 1.0
"""Complete studies, and objects to be sent, are looked for so often."""

ABOUT = (
    "Send the four MR sequences of a glioma patient; get a label map, volumes, a report and DICOM objects. Research "
    "software, not a medical device."
)


def create_app(settings: ServerSettings, folders: Folders, store: JobStore) -> FastAPI:
    """Returns the server as an ASGI application; its queue runs for as long as it is served.

    Args:
        settings: of the server.
        folders: of the server, as `keeper.opened` gives them.
        store: the table of jobs, likewise.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watch = Watch()
        pool = Pool(settings, store, folders.jobs, watch, metrics)
        receiver, studies = Receiver(folders.incoming, settings.limits), Studies(settings, folders, store)
        corrector = Corrector(settings, folders, store, receiver)
        app.state.context = ServerContext(settings, folders, store, pool, watch, metrics, receiver, studies, corrector)
        pool.start()
        tasks = [asyncio.create_task(work(app.state.context)) for work in (_tidy, _complete, _deliver)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await pool.stop()

    app = FastAPI(
        title="gliomask", version=__version__, description=ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    for router in (api.router, dicomweb.router, health.router, pages.router):
        app.include_router(router)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    app.add_exception_handler(RequestError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in (LimitError, OSError, sqlite3.OperationalError):
        app.add_exception_handler(kind, _no_room)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _tidy(context: ServerContext) -> None:
    while True:
        try:
            await asyncio.to_thread(expire, context.folders, context.store, context.settings.limits)
        except Exception:
            log.exception("expired jobs could not be removed; tried again in %s s", TIDY_SECONDS)
        await asyncio.sleep(TIDY_SECONDS)


async def _complete(context: ServerContext) -> None:
    while True:
        try:
            if await asyncio.to_thread(context.studies.complete):
                context.pool.wake()
        except Exception:
            log.exception("a study could not become a job; tried again in %s s", STUDY_SECONDS)
        await asyncio.sleep(STUDY_SECONDS)


async def _deliver(context: ServerContext) -> None:
    while context.settings.send_to is not None:
        failed = False
        try:
            failed = await asyncio.to_thread(_send_all, context)
        except Exception:
            log.exception("objects could not be sent; tried again in %s s", PAUSE_SECONDS)
            failed = True
        await asyncio.sleep(PAUSE_SECONDS if failed else STUDY_SECONDS)


def _send_all(context: ServerContext) -> bool:
    """Sends what is due; True where something could not be sent."""
    failed = False
    for job in context.store.due():
        state = deliver(context.settings, job.short, context.objects(job), job.deliveries)
        context.store.delivered(job.id, state)
        failed |= state is not DeliveryState.SENT
    for job, folder, correction in context.store.due_corrections():
        paths = context.corrected_objects(job, folder, correction)
        state = deliver(context.settings, job.short, paths, correction.deliveries)
        context.store.correction_delivered(job.id, correction.number, state)
        failed |= state is not DeliveryState.SENT
    return failed


async def _problem(request: Request, error: Exception) -> Response:
    return refused(request, error if isinstance(error, RequestError) else RequestError("unexpected"))


async def _no_room(request: Request, error: Exception) -> Response:
    """A full disk is no fault of the request, and passes."""
    number = error.errno if isinstance(error, OSError) else None
    full = isinstance(error, LimitError) or number in NO_ROOM or "disk is full" in str(error)
    log.error("a request failed: %s", "the disk is full" if full else f"{type(error).__name__} {number or ''}")
    return refused(request, RequestError("no_room" if full else "unexpected"))


async def _invalid(request: Request, error: Exception) -> Response:
    """Says which value is not valid, and not what it was."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in errors[:3])
    return refused(request, RequestError("invalid", f"{problems}." if problems else ""))


async def _http(request: Request, error: Exception) -> Response:
    """Turns what the router itself refuses into the server's own words."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "bad_request" if status < 500 else "unexpected")
    answer = refused(request, RequestError(code))
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    answer.status_code = status if status in {kind.status for kind in KINDS.values()} else answer.status_code
    return answer


def _openapi(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}, {}]
        app.openapi_schema = schema
    return app.openapi_schema
