"""Receiving bodies.

As many at a time as are allowed, each within its limits of size, time and pace, straight to disk.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from starlette.requests import ClientDisconnect, Request

from gliomask.errors import FileFormatError, LimitError
from gliomask.server.jobs import new_id
from gliomask.server.multipart import PartWriter, ReceivedPart, boundary_of
from gliomask.server.problems import RequestError
from gliomask.server.settings import Limits

PIECE_BYTES = 1 << 20
"""What is written at once, in a thread, so that a slow disk does not stop the others."""


class BoundedWriter:
    """Writes a body as it comes, and no more than it may have.

    Args:
        stream: where to.
        most: bytes.
    """

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most, self.received = stream, most, 0

    def write(self, piece: bytes) -> None:
        """Writes a piece; raises RequestError where the body is too long."""
        self.received += len(piece)
        if self.received > self._most:
            raise RequestError("too_large", f"The upload has more than {self._most:,} bytes.")
        self._stream.write(piece)


class Receiver:
    """Takes uploads into folders of their own.

    Args:
        folder: where; every upload makes one below.
        limits: of the server.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._turns = asyncio.Semaphore(limits.uploads)

    @asynccontextmanager
    async def received(
        self, request: Request, kind: str, *, files_only: bool = False
    ) -> AsyncIterator[tuple[Path, list[ReceivedPart]]]:
        """Gives the folder of an upload and its parts. The folder goes at the end, unless it was moved away.

        Args:
            request: the body has not been read.
            kind: the type that the body must have, such as `multipart/form-data`.
            files_only: every part is a file.

        Raises:
            RequestError: the body is refused.
        """
        try:
            boundary = boundary_of(request.headers.get("content-type", ""), kind)
        except FileFormatError as error:
            raise RequestError("unsupported_media_type", str(error)) from error
        self._refuse_early(request)
        folder = self._folder / new_id()
        try:
            async with self._turns:
                folder.mkdir(mode=0o700)
                writer = PartWriter(
                    boundary,
                    folder,
                    max_bytes=self._limits.upload_bytes,
                    max_files=self._limits.files,
                    files_only=files_only,
                )
                parts = await self._parts(request, writer)
            yield folder, parts
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    @asynccontextmanager
    async def body(self, request: Request, kind: str, most: int) -> AsyncIterator[Path]:
        """Gives the file of a body that is in one piece. It goes at the end, unless it was moved away.

        Args:
            request: the body has not been read.
            kind: the type that the body must have, such as `application/json`.
            most: bytes that it may have.

        Raises:
            RequestError: the body is refused.
        """
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != kind:
            raise RequestError("unsupported_media_type")
        most = min(most, self._limits.upload_bytes)
        self._refuse_early(request, most)
        folder = self._folder / new_id()
        try:
            async with self._turns:
                folder.mkdir(mode=0o700)
                with (folder / "body").open("xb") as stream:
                    await self._whole(request, BoundedWriter(stream, most))
            # What is done with it may take minutes: the turn is for receiving alone.
            yield folder / "body"
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _whole(self, request: Request, writer: BoundedWriter) -> None:
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                await self._copy(request, writer)
        except TimeoutError:
            raise RequestError("too_slow") from None
        except ClientDisconnect:
            raise RequestError("bad_request", "The client went away in the middle of the upload.") from None

    def _refuse_early(self, request: Request, most: int | None = None) -> None:
        length = request.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
        most = self._limits.upload_bytes if most is None else most
        if size > most:
            raise RequestError("too_large", f"The upload has {size:,} bytes; this server takes {most:,}.")
        if shutil.disk_usage(self._folder).free < self._limits.free_disk_bytes + size:
            raise RequestError("no_room")

    async def _parts(self, request: Request, writer: PartWriter) -> list[ReceivedPart]:
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                await self._copy(request, writer)
            return writer.finish()
        except TimeoutError:
            raise RequestError("too_slow") from None
        except ClientDisconnect:
            raise RequestError("bad_request", "The client went away in the middle of the upload.") from None
        except LimitError as error:
            raise RequestError("too_large", str(error)) from error
        except FileFormatError as error:
            raise RequestError("bad_request", str(error)) from error
        finally:
            writer.close()

    async def _copy(self, request: Request, writer: PartWriter | BoundedWriter) -> None:
        start, pending = time.monotonic(), bytearray()
        stream = request.stream().__aiter__()
        while True:
            async with asyncio.timeout(self._limits.idle_seconds):
                piece = await anext(stream, None)
            if piece is None:
                break
            pending += piece
            elapsed = time.monotonic() - start
            if (
                elapsed > self._limits.idle_seconds
                and (writer.received + len(pending)) / elapsed < self._limits.least_bytes_per_second
            ):
                raise RequestError("too_slow")
            if len(pending) >= PIECE_BYTES:
                await asyncio.to_thread(writer.write, bytes(pending))
                pending.clear()
        await asyncio.to_thread(writer.write, bytes(pending))
