"""A DICOMweb client for an archive: finds studies (QIDO-RS), fetches one (WADO-RS), stores objects (STOW-RS).

DICOM PS3.18, chapter 10.

What comes is written as it comes, byte for byte, under numbers, within limits; no instance is ever whole in memory.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from gliomask.errors import FileFormatError, InputError, LimitError, UsageError
from gliomask.files.json import parse_json
from gliomask.server.instances import is_uid
from gliomask.server.multipart import PartWriter, boundary_of

RELATED = "multipart/related"

DICOM = "application/dicom"

JSON = "application/dicom+json"

MAX_ANSWER_BYTES = 16 << 20
"""Of an answer that is no instance."""

MAX_STUDY_BYTES, MAX_INSTANCES = 8 << 30, 20_000
"""Of one study."""

PIECE_BYTES = 1 << 20

FIELDS = {
    "study_uid": "0020000D",
    "date": "00080020",
    "accession": "00080050",
    "patient_id": "00100020",
    "patient_name": "00100010",
    "description": "00081030",
    "modalities": "00080061",
}
"""What is shown of a study, by tag."""


@dataclass(frozen=True)
class FoundStudy:
    """A study of an archive. All of it identifies a patient: show it to who asked, and log none of it."""

    study_uid: str
    date: str
    accession: str
    patient_id: str
    patient_name: str
    description: str
    modalities: str


@dataclass(frozen=True)
class StoreAnswer:
    """What an archive says of what it was sent.

    Args:
        stored: instances that it has.
        failures: its reason for each that it refused (PS3.18, table 10.5.3-1).
    """

    stored: int
    failures: tuple[int, ...]


class Pacs:
    """A connection to a DICOMweb service; close it, or use it in a `with` statement.

    Args:
        url: of the service, such as `https://pacs.example.org/dicom-web`.
        login: user and password, or None.
        timeout_seconds: without an answer.
        transport: of httpx, for tests.
    """

    def __init__(
        self,
        url: str,
        login: tuple[str, str] | None = None,
        timeout_seconds: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        try:
            # Redirects are not followed and the environment's proxies not asked: patients' scans go where the caller
            # says, and nowhere else.
            self._http = httpx.Client(
                base_url=url, auth=login, timeout=timeout_seconds, trust_env=False, transport=transport
            )
        except httpx.InvalidURL as error:
            raise UsageError(
                f"{url} is no address of a DICOMweb service. Give one such as https://pacs.example.org/dicom-web."
            ) from error
        if self._http.base_url.scheme not in ("http", "https"):
            raise UsageError(
                f"{url} is no address of a DICOMweb service. Give one such as https://pacs.example.org/dicom-web."
            )

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

    def find(self, matching: Mapping[str, str] | None = None, limit: int = 100) -> list[FoundStudy]:
        """Returns studies of the archive, as it matches them.

        Args:
            matching: DICOM keywords with the values to look for, such as `{"PatientID": "4711"}`; the archive knows
                wildcards.
            limit: at most so many.

        Raises:
            InputError: the archive cannot be reached, or does not answer as DICOMweb.
        """
        asked = {**(matching or {}), "limit": str(limit), "includefield": "StudyDescription"}
        rows = self._json("GET", "/studies", params=asked, headers={"Accept": JSON})
        return [
            FoundStudy(**{name: _value(row, tag) for name, tag in FIELDS.items()})
            for row in rows
            if isinstance(row, dict)
        ][:limit]

    def fetch(self, study_uid: str, folder: Path) -> list[Path]:
        """Writes all instances of a study into an existing, empty folder, under numbers.

        Raises:
            UsageError: this is no UID, or the folder is not empty.
            InputError: the archive has no such study, cannot be reached, or sends something else.
            LimitError: the study is larger than any examination.
        """
        if not is_uid(study_uid):
            raise UsageError(
                "This is no StudyInstanceUID. Give numbers with dots between, as `gliomask pacs find` shows them."
            )
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty. Give another folder.")
        accepted = f'{RELATED}; type="{DICOM}"; transfer-syntax=*'
        try:
            with self._http.stream("GET", f"/studies/{study_uid}", headers={"Accept": accepted}) as answer:
                _refuse(answer, "fetch the study")
                boundary = boundary_of(answer.headers.get("content-type", ""), RELATED)
                writer = PartWriter(
                    boundary, folder, max_bytes=MAX_STUDY_BYTES, max_files=MAX_INSTANCES, files_only=True
                )
                try:
                    for piece in answer.iter_bytes(PIECE_BYTES):
                        writer.write(piece)
                    parts = writer.finish()
                finally:
                    writer.close()
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        return [part.path for part in parts if part.path is not None]

    def store(self, paths: list[Path]) -> StoreAnswer:
        """Sends DICOM files to the archive, in one request.

        Raises:
            InputError: the archive cannot be reached, or refuses the request as a whole.
        """
        boundary = secrets.token_hex(16)
        kind = f'{RELATED}; type="{DICOM}"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": JSON}
        answer = self._json("POST", "/studies", content=encoded(paths, boundary), headers=headers, also=(202, 409))
        if not isinstance(answer, dict):
            raise FileFormatError("The archive's answer to what it was sent is not as DICOMweb has it.")
        failed = _items(answer, "00081198")
        reasons = tuple(int(_value(item, "00081197") or 0) for item in failed if isinstance(item, dict))
        return StoreAnswer(len(_items(answer, "00081199")), reasons)

    def _json(self, method: str, path: str, also: tuple[int, ...] = (), **sent: Any) -> Any:
        try:
            with self._http.stream(method, path, **sent) as answer:
                if answer.status_code not in also:
                    _refuse(answer, "answer")
                content = bytearray()
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > MAX_ANSWER_BYTES:
                        raise LimitError(
                            f"The archive's answer has more than {MAX_ANSWER_BYTES >> 20} MiB. Ask for less."
                        )
                empty = answer.status_code == 204 or not content
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        try:
            return [] if empty else parse_json(bytes(content))
        except ValueError as error:
            raise FileFormatError(
                f"The archive's answer is no JSON ({error}). Is this the address of a DICOMweb service?"
            ) from error


def encoded(paths: list[Path], boundary: str) -> Iterator[bytes]:
    """Yields files as parts of a body, a piece at a time."""
    for path in paths:
        yield f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                yield piece
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _refuse(answer: httpx.Response, what: str) -> None:
    if answer.status_code in (401, 403):
        raise InputError(
            f"The archive does not let this program in ({answer.status_code}). Give --login-file with its user "
            "and password."
        )
    if not answer.is_success:
        raise InputError(f"The archive did not {what} (status {answer.status_code}). Check the address and the study.")


def _unreachable(error: httpx.HTTPError) -> InputError:
    return InputError(
        f"The archive cannot be reached, or ended the connection ({type(error).__name__}). Check its address, and "
        "that it runs."
    )


def _items(dataset: Mapping[str, Any], tag: str) -> list[Any]:
    element = dataset.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _value(dataset: Mapping[str, Any], tag: str) -> str:
    """The text of an element of DICOM's JSON model (PS3.18, annex F)."""
    values = [value.get("Alphabetic", "") if isinstance(value, dict) else value for value in _items(dataset, tag)]
    return " ".join(str(value) for value in values)
