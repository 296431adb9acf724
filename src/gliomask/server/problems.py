"""Requests that are refused: a status, a code, a sentence and a hint. Never a traceback, never a path."""

from __future__ import annotations

from dataclasses import dataclass

from gliomask.server.jobs import Failure


@dataclass(frozen=True)
class _Kind:
    status: int
    message: str
    hint: str = ""


KINDS: dict[str, _Kind] = {
    "bad_request": _Kind(400, "The request cannot be understood.", "See /api for what can be asked."),
    "token_needed": _Kind(
        401, "This server needs a token.", "Send it as `Authorization: Bearer TOKEN`, or sign in on /login."
    ),
    "cross_site": _Kind(
        403, "The request comes from a page of another site.", "Use the server's own pages, or a program."
    ),
    "not_found": _Kind(404, "There is nothing here.", "See /api for what can be asked."),
    "no_such_job": _Kind(404, "There is no such job.", "Check the job's id."),
    "no_such_result": _Kind(404, "The job has no such result.", "Ask for the list of its results."),
    "no_such_study": _Kind(404, "There are no results of this study here.", "Send the study, and wait for its job."),
    "method_not_allowed": _Kind(405, "This cannot be done here.", "See /api for what can be asked."),
    "not_acceptable": _Kind(406, "The answer cannot be given in the form that is asked for.", "Accept */*."),
    "too_slow": _Kind(408, "The upload is too slow, or stopped.", "Send it again over a better line."),
    "not_finished": _Kind(409, "The job has no results yet.", "Wait until its state is final."),
    "already_final": _Kind(409, "The job has ended already.", ""),
    "too_many_corrections": _Kind(
        409, "The job has as many corrections as it may have.", "Fetch them, and send the scans again to go on."
    ),
    "store_refused": _Kind(409, "No instance could be stored.", "The answer says why, for each."),
    "expired": _Kind(410, "The job's files have expired.", "Send the scans again."),
    "too_large": _Kind(
        413,
        "The upload is larger than this server allows.",
        "Send a smaller one, or ask whoever runs the server for a higher limit.",
    ),
    "unsupported_media_type": _Kind(
        415, "The body is not of the type that is needed here.", "See /api for what can be sent."
    ),
    "wrong_host": _Kind(
        421, "The server is not known under this name.", "Whoever runs it can add the name with --host-name."
    ),
    "invalid": _Kind(422, "A value of the request is not valid.", "See /api for what can be sent."),
    "no_correction": _Kind(
        422, "The request holds no correction of this job's label map.", "Load the page again, and correct anew."
    ),
    "not_scans": _Kind(
        422,
        "The upload is not the scans of one patient.",
        "Send four NIfTI files, one zip, or the DICOM files of one examination.",
    ),
    "unexpected": _Kind(
        500, "The server failed.", "Try once more; if it fails again, tell whoever runs the server when."
    ),
    "queue_full": _Kind(503, "Too many jobs wait already.", "Try again later."),
    "busy": _Kind(503, "Too many connections are open.", "Try again in a moment."),
    "no_room": _Kind(507, "The server's disk is nearly full.", "Tell whoever runs the server, or try again later."),
}
"""Every code that a refused request can have."""


class RequestError(Exception):
    """A request that is refused.

    Args:
        code: of `KINDS`.
        message: in place of the code's own, where more can be said.
        hint: likewise.
    """

    def __init__(self, code: str, message: str = "", hint: str = "") -> None:
        kind = KINDS[code]
        self.code, self.status = code, kind.status
        self.message, self.hint = message or kind.message, hint or kind.hint
        super().__init__(self.message)

    @property
    def failure(self) -> Failure:
        """As it is told to clients."""
        return Failure(code=self.code, message=self.message, hint=self.hint)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status (RFC 9110)."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": "10"} if self.status == 503 else {}
