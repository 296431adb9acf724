"""The `gliomask` command: finds the command asked for, runs it, and turns errors into messages and exit codes.

Each command lives in its own module and is imported only when it is called, so that `gliomask --help` is quick and
needs no engine.
"""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import Any

import click

from gliomask import __version__
from gliomask.cli.hints import hint_for, nearest
from gliomask.cli.logs import Logs, shown_logs, with_log_options
from gliomask.cli.say import echo
from gliomask.errors import GliomaskError, LimitError, UsageError, printable
from gliomask.files.scratch import temporary_place

COMMANDS = {
    "demo": "Segment a sample that comes with the package.",
    "dicom": "DICOM in and out: series to NIfTI, label maps to DICOM objects.",
    "segment": "Segment one case or a folder of cases.",
    "bids": "Segment a BIDS dataset, as a BIDS App.",
    "cohort": "Segment many cases, each in isolation.",
    "summarise": "Summarise a cohort: tables, a page, a map.",
    "transform": "Carry an image or a mask of a case from one space to another.",
    "report": "Write reports (HTML, PDF) of segmented cases.",
    "serve": "Serve a team: uploads, a queue, pages, REST, DICOMweb.",
    "view": "Look at a case and its result in the browser; correct it.",
    "timeline": "Report one patient over several time points.",
    "pacs": "Find, fetch and store studies in a DICOMweb archive.",
    "evaluate": "Score label maps against references.",
    "train": "Train a network on labelled cases.",
    "study": "Cross-validate and compare a table of experiments.",
    "export": "Turn a finished training into a model folder.",
    "models": "List, describe, verify and adopt models.",
    "web": "Make the application that segments in a browser.",
    "simulate": "Make labelled synthetic patients.",
    "labels": "Say what labels mean, for people, ITK-SNAP or 3D Slicer.",
}
"""Every command with its one line of help; module `gliomask.cli.<command>` holds `command`."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""

SHOWN_LETTERS = 80
"""Of a name that is too long."""

EXIT_CODES = """\b
Exit codes: 0 done, 2 usage, 3 bad input, 4 model missing or invalid, 5 limit exceeded (memory, size, time),
6 quality check failed, 1 unexpected, 130 interrupted, 143 terminated."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports and returns one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"gliomask.cli.{cmd_name.replace('-', '_')}").command
        return with_log_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; for one that does not exist, says which it resembles."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            likely = nearest(name, COMMANDS)
            words = f" Did you mean {' or '.join(likely)}?" if likely else " gliomask --help lists all."
            ctx.fail(f"There is no command '{printable(name)}'.{words}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="gliomask")
def gliomask() -> None:
    """Segment gliomas in four MR sequences (T1, T1ce, T2, FLAIR), on an ordinary CPU, offline.

    Research software, not a medical device.
    """


def main() -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:]))


class Terminated(BaseException):
    """A signal asks the process to end; everything that is open is closed and cleared away on the way out.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class _Interrupts:
    """Remembers Ctrl-C: libraries that are being imported or run may turn it into an error of their own."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.seen = True
        raise KeyboardInterrupt


@contextmanager
def _signals() -> Iterator[_Interrupts]:
    """Turns SIGTERM (a scheduler's time limit) and SIGHUP (a closed terminal) into `Terminated`, and watches for
    Ctrl-C.
    """
    interrupts = _Interrupts()
    before: dict[int, Any] = {}

    def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Terminated(number)

    # Only the main thread may set handlers; what has been told to be ignored (nohup) stays so.
    if threading.current_thread() is threading.main_thread():
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {signal.SIGINT: interrupts}
        handlers |= {signal.SIGTERM: terminate, getattr(signal, "SIGHUP", signal.SIGTERM): terminate}
        before = {number: signal.getsignal(number) for number in handlers}
        for number, handler in handlers.items():
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, handler)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _any_letter() -> None:
    """Shows letters that a terminal's encoding lacks as codes, instead of stopping at the first."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _say(text: str) -> None:
    """Prints a message to stderr, control characters as codes; where that cannot be written to, the exit code has to
    do.
    """
    with suppress(OSError, ValueError):
        echo(text, err=True)


def run(arguments: list[str], command: click.Command = gliomask) -> int:
    """Runs the command line, or one command of it, with these arguments and returns its exit code; messages go to
    stderr.
    """
    _any_letter()
    with _signals() as interrupts, temporary_place(), shown_logs() as logs:
        code = _run(arguments, with_log_options(command), logs)
    if interrupts.seen and code not in (0, INTERRUPTED):
        _say("Interrupted.")
        return INTERRUPTED
    return code


def _run(arguments: list[str], command: click.Command, logs: Logs) -> int:
    try:
        result = command.main(args=arguments, standalone_mode=False, obj=logs)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        with suppress(OSError, ValueError):
            error.show()
        hint = hint_for(error, arguments) if isinstance(error, click.NoSuchOption) else None
        if hint:
            _say(f"Hint: {hint}")
        return 2
    except Terminated as stop:
        _say("Terminated.")
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted.")
        return INTERRUPTED
    except GliomaskError as error:
        _say(f"Error: {error}")
        logs.note_failure(error)
        return error.exit_code
    except MemoryError:
        _say("Error: out of memory. Give fewer threads or a smaller volume, or run on a machine with more memory.")
        return LimitError.exit_code
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _say(f"Error: {str(error.filename)[:SHOWN_LETTERS]}...: the name or path is too long. Give a shorter one.")
            return UsageError.exit_code
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        _say(f"Error: {error}." + (" Make room there and give the same command again." if full else ""))
        return LimitError.exit_code if full else GliomaskError.exit_code
    return result if isinstance(result, int) else 0
