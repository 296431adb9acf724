"""A client for programs: send scans, follow a job, fetch its results.

    with Client("http://127.0.0.1:8765") as client:
        job = client.submit({"flair": "f.nii.gz", "t1": "a.nii.gz", "t1ce": "b.nii.gz", "t2": "c.nii.gz"})
        client.fetch(client.wait(job["id"]), "results/")

Uploads are streamed from disk, results to disk.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np

from gliomask.arrays import LabelMap
from gliomask.errors import FileFormatError, GliomaskError, InputError, UsageError
from gliomask.files.atomic import make_folder, replacing

Job = dict[str, Any]
"""As `/api/v1/jobs/ID` gives it."""

FINAL = ("done", "failed", "cancelled", "expired")

MAX_REFUSAL_BYTES = 64 << 10


class RefusedError(GliomaskError):
    """The server refused a request.

    Args:
        status: of the answer.
        code: the server's code, such as `queue_full`.
        message: what is wrong, and what to do.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(message)


class Client:
    """A connection to a server; close it, or use it in a `with` statement.

    Args:
        url: of the server, such as `http://127.0.0.1:8765`.
        token: that the server needs, if any.
        timeout_seconds: without an answer.
    """

    def __init__(self, url: str, token: str | None = None, timeout_seconds: float = 300.0) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Proxies and .netrc files of the environment are not asked: scans go where the caller says, and nowhere else.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> Self:
        """Nothing is sent before the first call."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._http.close()

    def submit(self, scans: Mapping[str, Path | str] | Path | str, **options: Any) -> Job:
        """Sends scans and returns the job that was made of them.

        Args:
            scans: a file by sequence (`flair`, `t1`, `t1ce`, `t2`); a zip; or a folder, all of whose files are sent.
            options: such as `without=["t1"]` or `labels="brats2023"`; see the server's page /api.

        Raises:
            UsageError: a file does not exist.
            RefusedError: the server does not take the scans.
            InputError: the server cannot be reached.
        """
        named = (
            [(name, Path(path)) for name, path in scans.items()]
            if isinstance(scans, Mapping)
            else [("files", path) for path in _files(Path(scans))]
        )
        values = {name: _text(value) for name, value in options.items() if value is not None}
        with ExitStack() as opened:
            # Files go without their names' folders; a name may be needed to tell the sequence.
            parts = [
                (name, (path.name, opened.enter_context(path.open("rb")), "application/octet-stream"))
                for name, path in named
                if _is_file(path)
            ]
            made: Job = self._json(self._send("POST", "/api/v1/jobs", files=parts, data=values))
        return made

    def job(self, job_id: str) -> Job:
        """Returns where a job stands."""
        job: Job = self._json(self._send("GET", f"/api/v1/jobs/{job_id}"))
        return job

    def jobs(self) -> list[Job]:
        """Returns the newest jobs."""
        jobs: list[Job] = self._json(self._send("GET", "/api/v1/jobs"))
        return jobs

    def follow(self, job_id: str) -> Iterator[Job]:
        """Yields the job at every change, the last time when it has ended."""
        try:
            with self._http.stream("GET", f"/api/v1/jobs/{job_id}/events") as answer:
                _refuse(answer)
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line.removeprefix("data: "))
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    def wait(self, job_id: str, tell: Callable[[Job], None] = lambda job: None) -> Job:
        """Returns a job once it has ended, however it ended; `tell` is called at every change."""
        while True:
            for job in self.follow(job_id):
                tell(job)
                if job["state"] in FINAL:
                    return job

    def fetch(self, job: Job, folder: Path | str) -> list[Path]:
        """Writes all results of a job into a folder, each whole or not at all, and checks their hashes.

        Returns the files.

        Raises:
            UsageError: the job has no results, or a file exists.
            FileFormatError: a file is not what the server says it is.
        """
        if not job["results"]:
            failure = job["failure"] or {"message": f"it is {job['state']}"}
            raise UsageError(f"The job has no results: {failure['message']}")
        make_folder(Path(folder))
        place = f"/api/v1/jobs/{job['id']}/results"
        return [self._fetch(place, file, Path(folder)) for file in job["results"] if file["name"] != "results.zip"]

    def _fetch(self, place: str, file: dict[str, Any], folder: Path) -> Path:
        name = str(file["name"])
        if Path(name).name != name or name.startswith("."):
            raise FileFormatError(f"The server names a result {name!r}, which is no name of a file. Do not trust it.")
        digest = hashlib.sha256()
        try:
            with (
                self._http.stream("GET", f"{place}/{name}") as answer,
                replacing(folder / name, exclusive=True) as stream,
            ):
                _refuse(answer)
                for piece in answer.iter_bytes():
                    digest.update(piece)
                    stream.write(piece)
                if digest.hexdigest() != file["sha256"]:
                    raise FileFormatError(
                        f"{name}: the bytes that came are not those that the server lists. Fetch it again."
                    )
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        return folder / name

    def correct(self, job_id: str, labels: LabelMap, who: str) -> dict[str, Any]:
        """Keeps a corrected label map beside a job's result, and returns what the server tells of it.

        Args:
            job_id: of a job that is done.
            labels: (I, J, K) in the grid of the result: 0 background, 1 necrotic, 2 oedema, 3 enhancing.
            who: corrected it.

        Raises:
            UsageError: it holds other values, some of which would become labels on the way.
            RefusedError: it does not fit the result, or nothing was changed.
        """
        if not np.isin(labels, (0, 1, 2, 3)).all():
            raise UsageError("A label map holds 0 (background), 1 (necrotic), 2 (oedema) and 3 (enhancing) alone.")
        packed = gzip.compress(labels.astype(np.uint8).tobytes(order="F"))
        body = {"who": who, "steps": [], "labels": base64.b64encode(packed).decode()}
        kept: dict[str, Any] = self._json(self._send("POST", f"/api/v1/jobs/{job_id}/corrections", json=body))
        return kept

    def fetch_correction(self, job_id: str, correction: dict[str, Any], folder: Path | str) -> list[Path]:
        """Writes all files of a correction into a folder, as `fetch` writes results."""
        make_folder(Path(folder))
        place = f"/api/v1/jobs/{job_id}/corrections/{int(correction['number'])}"
        return [self._fetch(place, file, Path(folder)) for file in correction["results"]]

    def cancel(self, job_id: str) -> Job:
        """Cancels a job that has not ended."""
        cancelled: Job = self._json(self._send("POST", f"/api/v1/jobs/{job_id}/cancel"))
        return cancelled

    def remove(self, job_id: str) -> None:
        """Removes a job's scans and results from the server."""
        self._send("DELETE", f"/api/v1/jobs/{job_id}")

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **body)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        _refuse(answer)
        return answer

    @staticmethod
    def _json(answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise InputError("The server's answer is no JSON. Is it a gliomask server?") from error


def _unreachable(error: httpx.HTTPError) -> InputError:
    return InputError(
        f"The server cannot be reached, or ended the connection ({type(error).__name__}). Check its address, and "
        "that it runs."
    )


def _refuse(answer: httpx.Response) -> None:
    if answer.status_code < 300:
        return
    content = answer.read()[:MAX_REFUSAL_BYTES]
    try:
        problem = json.loads(content)
        code, message = str(problem["code"]), f"{problem['message']} {problem['hint']}".strip()
    except (ValueError, KeyError, TypeError):
        code, message = "unknown", f"The server answered {answer.status_code}."
    raise RefusedError(answer.status_code, code, message)


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        paths = sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
        if not paths:
            raise UsageError(f"{place} holds no file. Give the folder of one examination.")
        return paths
    return [place]


def _is_file(path: Path) -> bool:
    if not path.is_file():
        raise UsageError(f"{path} is no file. Give the scans of one patient.")
    return True


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
