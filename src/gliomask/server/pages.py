"""The pages: one to send scans from, one for each job, one that describes the API. Rendered here.

Scripts only make them livelier.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from gliomask.errors import EngineUnavailableError
from gliomask.models.available import shipped_names
from gliomask.server.access import COOKIE, SESSION_SECONDS, session, token_matches
from gliomask.server.answers import page
from gliomask.server.api import CorrectionNumber, JobId, view
from gliomask.server.context import ServerContext, context_of
from gliomask.server.guard import CONTENT_POLICY
from gliomask.server.jobs import State
from gliomask.server.problems import RequestError
from gliomask.server.view_files import corrected_exam, manifest_of, viewer_is_built
from gliomask.view.page import SCRIPT, STYLE, built, script_json

router = APIRouter(include_in_schema=False)

SHOWN_JOBS = 50

REPORT = "case_report.html"

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox"
)
"""A report is one file with its styles and pictures in it, and runs nothing."""

VIEW_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src data:; form-action 'none'; frame-ancestors 'self'; base-uri 'none'"
)
"""The viewer's drawing library places its parts by styles in the page, and reads its own letters from it."""

PICTURE = "case_preview.png"

MAX_LOGIN_BYTES = 4096


@router.get("/")
def home(request: Request) -> HTMLResponse:
    """Sends scans, and shows the jobs that there are."""
    context = context_of(request)
    jobs = [view(job, context) for job in context.store.newest(limit=SHOWN_JOBS) if job.state is not State.EXPIRED]
    return page("home.html", {"jobs": jobs, "models": shipped_names(), "limits": context.settings.limits})


@router.post("/jobs")
async def send(request: Request) -> RedirectResponse:
    """Takes the form of the first page."""
    job = await context_of(request).accept(request)
    return RedirectResponse(f"/jobs/{job.id}", status_code=303)


@router.get("/jobs/{job_id}")
def show(request: Request, job_id: JobId) -> HTMLResponse:
    """One job: how far it is, or what came of it."""
    context = context_of(request)
    job = view(context.job(job_id), context)
    names = {file.name for file in job.results}
    shown = job.state is State.DONE and viewer_is_built() and manifest_of(context.folders.jobs / job.id) is not None
    values = {
        "job": job,
        "report": REPORT in names,
        "picture": PICTURE in names,
        "viewer": shown,
        "corrections_kept": context.settings.corrections is not None,
    }
    return page("job.html", values, headers={"Content-Security-Policy": f"{CONTENT_POLICY}; frame-src 'self'"})


@router.get("/jobs/{job_id}/view")
def look(
    request: Request,
    job_id: JobId,
    correction: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    beside: Annotated[int | None, Query(ge=1, le=10_000)] = None,
) -> HTMLResponse:
    """The viewer: the result, a correction of it, or a correction beside the result. What is corrected is sent here."""
    context = context_of(request)
    manifest = context.to_view(job_id)
    (exam,) = manifest["exams"]
    number = beside or correction
    if number is not None:
        exam = _corrected(context, job_id, number, exam)
    manifest["exams"] = [*manifest["exams"], exam] if beside else [exam]
    if beside is None and context.job(job_id).state is State.DONE:
        manifest["corrections"] = f"/api/v1/jobs/{job_id}/corrections"
    title = " and ".join(str(one["title"]) for one in manifest["exams"])
    values = {"title": title, "manifest": Markup(script_json(manifest))}
    return page("view.html", values, headers={"Content-Security-Policy": VIEW_POLICY, "X-Frame-Options": "SAMEORIGIN"})


def _corrected(context: ServerContext, job_id: str, number: int, exam: dict[str, Any]) -> dict[str, Any]:
    correction = context.corrected(job_id, number)
    name = next((file.name for file in correction.results if file.name.endswith("_seg.nii.gz")), None)
    if name is None:
        raise RequestError("no_such_result")
    return corrected_exam(exam, correction, f"/api/v1/jobs/{job_id}/corrections/{number}/{name}")


@router.get("/jobs/{job_id}/files/{number}")
def look_at_file(request: Request, job_id: JobId, number: Annotated[int, Path(ge=0, le=10_000)]) -> FileResponse:
    """A file that the viewer shows."""
    return FileResponse(context_of(request).viewed_file(job_id, number), media_type="application/octet-stream")


@router.get("/jobs/{job_id}/corrections/{number}/report")
def corrected_report(request: Request, job_id: JobId, number: CorrectionNumber) -> FileResponse:
    """The report of a correction, to be read in the browser."""
    context = context_of(request)
    names = [file.name for file in context.corrected(job_id, number).results if file.name.endswith("_report.html")]
    path = context.correction_file(job_id, number, names[0] if names else "")
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/jobs/{job_id}/report")
def report(request: Request, job_id: JobId) -> FileResponse:
    """The report of a job, to be read in the browser."""
    path = context_of(request).result(job_id, REPORT)
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/jobs/{job_id}/picture")
def picture(request: Request, job_id: JobId) -> FileResponse:
    """The picture of a job."""
    return FileResponse(context_of(request).result(job_id, PICTURE), media_type="image/png")


@router.post("/jobs/{job_id}/cancel")
async def cancel(request: Request, job_id: JobId) -> RedirectResponse:
    """Cancels, and shows the job again."""
    try:
        await context_of(request).cancel(job_id)
    except RequestError as problem:
        if problem.code != "already_final":
            raise
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


@router.post("/jobs/{job_id}/delete")
async def delete(request: Request, job_id: JobId) -> RedirectResponse:
    """Removes a job's files."""
    await context_of(request).delete(job_id)
    return RedirectResponse("/", status_code=303)


@router.get("/api")
def describe(request: Request) -> HTMLResponse:
    """The API in words, from its own description; no script of another site draws it."""
    return page("api.html", {"api": request.app.openapi()})


@router.get("/login")
def ask_token() -> HTMLResponse:
    """Asks for the token."""
    return page("login.html", {"wrong": False})


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Takes the token, and gives a cookie that proves that it was known."""
    from urllib.parse import parse_qs

    token = context_of(request).settings.token
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_LOGIN_BYTES:
            raise RequestError("too_large")
    given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
    if token is None:
        return RedirectResponse("/", status_code=303)
    if not token_matches(given.strip(), token):
        # Slow to guess, and quick enough for who mistypes.
        await asyncio.sleep(1)
        return page("login.html", {"wrong": True}, 401, {"WWW-Authenticate": "Bearer"})
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE,
        session(token),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def log_out() -> RedirectResponse:
    """Takes the cookie back."""
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/static/{name}")
def static(name: Annotated[str, Path(max_length=40)]) -> Response:
    """Styles and scripts of the pages, by name from a list."""
    from importlib.resources import files

    viewers = {SCRIPT: "text/javascript", STYLE: "text/css"}
    headers = {"Cache-Control": "max-age=3600"}
    if name in viewers:
        try:
            return Response(built(name), media_type=viewers[name], headers=headers)
        except EngineUnavailableError:
            raise RequestError("not_found") from None
    kinds = {
        "server.css": "text/css",
        "frame.css": "text/css",
        "job.js": "text/javascript",
        "upload.js": "text/javascript",
    }
    if name not in kinds:
        raise RequestError("not_found")
    return FileResponse(str(files("gliomask.server") / "static" / name), media_type=kinds[name], headers=headers)
