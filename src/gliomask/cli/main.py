"""The `gliomask` command: finds the command asked for, runs it, and turns errors into messages and exit codes.

Each command lives in its own module and is imported only when it is called, so that `gliomask --help` is quick and needs no engine.
"""

from __future__ import annotations

import errno
import sys
from importlib import import_module

import click

from gliomask import __version__
from gliomask.errors import GliomaskError, LimitError

COMMANDS = {
    "demo": "Segment a sample that comes with the package.",
    "dicom": "DICOM in and out: series to NIfTI, label maps to DICOM objects.",
    "segment": "Segment one case or a folder of cases.",
    "bids": "Segment a BIDS dataset, as a BIDS App.",
    "report": "Write reports (HTML, PDF) of segmented cases.",
    "timeline": "Report one patient over several time points.",
    "evaluate": "Score label maps against references.",
    "train": "Train a network on labelled cases.",
    "study": "Cross-validate and compare a table of experiments.",
    "export": "Turn a finished training into a model folder.",
    "models": "List, describe, verify and adopt models.",
    "simulate": "Make labelled synthetic patients.",
    "labels": "Say what labels mean, for people, ITK-SNAP or 3D Slicer.",
}
"""Every command with its one line of help; module `gliomask.cli.<command>` holds `command`."""

EXIT_CODES = """\b
Exit codes: 0 done, 2 usage, 3 bad input, 4 model missing or invalid, 5 limit exceeded (memory, size, time),
6 quality check failed, 1 unexpected, 130 interrupted."""


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
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gliomask")
def gliomask() -> None:
    """Segment gliomas in four MR sequences (T1, T1ce, T2, FLAIR), on an ordinary CPU, offline.

    Research software, not a medical device.
    """


def main() -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str], command: click.Command = gliomask) -> int:
    """Runs the command line, or one command of it, with these arguments and returns its exit code; messages go to stderr."""
    try:
        result = command.main(args=arguments, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except GliomaskError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    except MemoryError:
        click.echo("Error: out of memory. Give fewer threads or a smaller volume, or run on a machine with more memory.", err=True)
        return LimitError.exit_code
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        click.echo(f"Error: {error}." + (" Make room there and give the same command again." if full else ""), err=True)
        return LimitError.exit_code if full else GliomaskError.exit_code
    return result if isinstance(result, int) else 0
