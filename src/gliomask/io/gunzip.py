"""A gzip stream read up to a length and no further.

Python's own `gzip` module feeds zlib 8 KiB at a time through several layers; here zlib gets large pieces, which is
quicker and leaves other threads free to run meanwhile. Several members in one file are one stream (RFC 1952, section
2.2), zeros after the last are padding.
"""

from __future__ import annotations

import zlib
from typing import Protocol

CHUNK_BYTES = 1 << 17
"""Compressed bytes handed to zlib at a time."""

GZIP_MAGIC = b"\x1f\x8b"
LEAST_BYTES = len(GZIP_MAGIC)
"""Bytes by which the next member is told."""

MAX_MEMBERS = 100_000
"""Of one file: block gzip (bgzip) makes one of every 64 KiB, so that this is 6 GB. zlib copies what is left of a piece
whenever a member ends in it, so that millions of empty members would take hours."""

GZIP_WINDOW = 31
"""zlib's `wbits` for a gzip header and the largest window; zlib then checks each member's checksum and length."""


class GunzipError(Exception):
    """The stream is truncated or corrupt; the message says how."""


class ByteStream(Protocol):
    """What bytes are read from: a file, or a `Gunzip`."""

    def read(self, count: int, /) -> bytes:
        """Returns the next `count` bytes; fewer only at the end."""
        ...


class Gunzip:
    """Uncompressed bytes of a gzip file, forwards only.

    Args:
        raw: the compressed file, at its first byte.
    """

    def __init__(self, raw: ByteStream) -> None:
        self._raw = raw
        self._member = zlib.decompressobj(GZIP_WINDOW)
        self._pending = b""
        self._ended = False
        self._members = 1

    def read(self, count: int) -> bytes:
        """Returns the next `count` bytes; fewer only where the stream ends.

        Raises:
            GunzipError: the stream breaks off or is corrupt.
        """
        parts = []
        while count > 0:
            part = self._some(count)
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, limit: int) -> bytes:
        while not self._ended:
            if self._member.eof:
                self._next_member()
                continue
            data = self._pending or self._raw.read(CHUNK_BYTES)
            try:
                part = self._member.decompress(data, limit)
            except zlib.error as error:
                raise GunzipError(str(error)) from error
            self._pending = self._member.unconsumed_tail
            if part:
                return part
            if not data and not self._member.eof:
                raise GunzipError("it ends before its end-of-stream marker")
        return b""

    def _next_member(self) -> None:
        rest = self._member.unused_data
        while not rest.strip(b"\0"):
            rest = self._raw.read(CHUNK_BYTES)
            if not rest:
                self._ended = True
                return
        rest = rest.lstrip(b"\0")
        # Read on only where little is left: with every member some more would be copied, and the time grow with the
        # square of their number.
        self._pending = rest if len(rest) >= LEAST_BYTES else rest + self._raw.read(CHUNK_BYTES)
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise GunzipError(f"it has more than {MAX_MEMBERS:,} members")
        if not self._pending.startswith(GZIP_MAGIC):
            raise GunzipError(f"its end is followed by bytes that are not gzip, {self._pending[:4]!r}")
        self._member = zlib.decompressobj(GZIP_WINDOW)
