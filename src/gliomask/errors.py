"""Every error that gliomask raises on purpose, and the exit code that the command line gives it.

Library code raises these and never prints or exits; `gliomask.cli` turns them into a message and an exit code.
"""

from __future__ import annotations

from typing import ClassVar


def printable(text: str) -> str:
    """Returns text with control characters, and bytes that are no text, written as their codes: names of files may hold
    either.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


class GliomaskError(Exception):
    """Base of all errors raised on purpose. The message says what is wrong, with what, what was found and what to do.

    Messages quote names of files, which may hold what steers a terminal; it is shown as its code.
    """

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return "\n".join(map(printable, super().__str__().split("\n")))


class UsageError(GliomaskError):
    """The request itself makes no sense: options that contradict each other, a result that exists already."""

    exit_code = 2


class InputError(GliomaskError):
    """The scans or tables that were given cannot be used."""

    exit_code = 3


class FileFormatError(InputError):
    """A file is not what its name promises: not NIfTI, truncated, corrupt, or with the wrong number of dimensions."""


class GeometryError(InputError):
    """A grid is impossible (singular or non-finite affine), or two grids that must agree do not."""


class CaseError(InputError):
    """A case is incomplete, ambiguous or empty."""


class LabelError(InputError):
    """A label map holds values that its label convention does not define."""


class ModelError(GliomaskError):
    """A model is missing, incomplete, altered, or does not reproduce its golden pair."""

    exit_code = 4


class EngineUnavailableError(ModelError):
    """The software that an engine or a command needs is not installed."""


class LimitError(GliomaskError):
    """A limit on size, memory or time would be exceeded."""

    exit_code = 5


class QualityError(GliomaskError):
    """A quality check failed and the caller asked for that to be an error."""

    exit_code = 6


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there was no memory left."""
    return isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)


def message_of(error: BaseException) -> str:
    """Returns what a row or a record says of an error that ended one case of many: its own message, with its kind
    before it where nobody foresaw it.
    """
    if ran_out_of_memory(error):
        return "Memory ran out. Give it more memory, or work on fewer cases at a time."
    return str(error) if isinstance(error, GliomaskError) else f"{type(error).__name__}: {error}"


def exit_code_of(error: BaseException) -> int:
    """Returns the exit code that an error stands for, also where nobody foresaw it."""
    return LimitError.exit_code if ran_out_of_memory(error) else int(getattr(error, "exit_code", 1))
