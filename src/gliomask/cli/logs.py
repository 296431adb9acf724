"""What the library logs, on the screen and in a file: `--verbose` and `--log-file` of every command.

The library logs what it did at the level INFO, and its measures at DEBUG, with loggers below `gliomask`. A command
shows INFO on stderr, with `--verbose` also DEBUG; a log file gets both, with times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gliomask.cli.say import echo
from gliomask.errors import UsageError, printable

ROOT = "gliomask"
"""Name of the logger above all of the library's."""


class ScreenHandler(logging.Handler):
    """Prints messages to stderr; control characters in them are shown as codes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one message."""
        try:
            echo(record.getMessage(), err=True)
        except (OSError, ValueError):
            # A terminal that has gone is no reason to stop the work.
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Says nothing: there is nowhere to say it."""


class OneLine(logging.Formatter):
    """A line a message, with nothing in it that could steer a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Returns the line."""
        return printable(super().formatMessage(record))


class Logs:
    """Where messages go while one command runs."""

    def __init__(self) -> None:
        self.logger = logging.getLogger(ROOT)
        self.screen = ScreenHandler(logging.INFO)
        self.handlers: list[logging.Handler] = [self.screen]

    def verbose(self) -> None:
        """Shows also the measures."""
        self.screen.setLevel(logging.DEBUG)

    def into(self, path: Path) -> None:
        """Writes everything to a file as well, after what it holds.

        Raises:
            UsageError: it cannot be written.
        """
        if path.is_fifo():
            # Opening it would wait for a reader.
            raise UsageError(f"--log-file {path}: is a pipe. Give another file.")
        try:
            handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"--log-file {path}: cannot be written ({error.strerror}). Give another file.") from error
        handler.setFormatter(OneLine())
        self.handlers.append(handler)
        self.logger.addHandler(handler)

    def note_failure(self, error: Exception) -> None:
        """Leaves an error, with where it came from, in the log file; the screen has its message already."""
        for handler in self.handlers[1:]:
            record = self.logger.makeRecord(
                ROOT, logging.ERROR, __file__, 0, "%s", (error,), (type(error), error, error.__traceback__)
            )
            handler.handle(record)


@contextmanager
def shown_logs() -> Iterator[Logs]:
    """Shows what the library logs for as long as the context lasts."""
    logs = Logs()
    before = logs.logger.level
    logs.logger.setLevel(logging.DEBUG)
    logs.logger.addHandler(logs.screen)
    try:
        yield logs
    finally:
        for handler in logs.handlers:
            logs.logger.removeHandler(handler)
            handler.close()
        logs.logger.setLevel(before)


def _set_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    logs = ctx.find_object(Logs)
    if value and logs is not None:
        logs.verbose()


def _set_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:  # noqa: ARG001
    logs = ctx.find_object(Logs)
    if value is not None and logs is not None:
        logs.into(value)


def with_log_options(command: click.Command) -> click.Command:
    """Gives a command, or all commands of a group, the options `--verbose` and `--log-file`; a second time changes
    nothing.
    """
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_log_options(inner)
        return command
    names = {param.name for param in command.params}
    common: dict[str, Any] = {"expose_value": False, "is_eager": True}
    if "verbose" not in names:
        words = "Say more of what is done: also what was measured."
        command.params.append(click.Option(["--verbose"], is_flag=True, help=words, callback=_set_verbose, **common))
    if "log_file" not in names:
        words = "Also write what is done to this file, with times."
        file = click.Path(path_type=Path, dir_okay=False)
        command.params.append(
            click.Option(["--log-file"], type=file, metavar="FILE", help=words, callback=_set_file, **common)
        )
    return command
