"""What commands print: the one place that writes to a terminal, with nothing in it that could steer one."""

from __future__ import annotations

import click

from gliomask.errors import printable


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Prints text; control characters, which names of files and DICOM headers may hold, are shown as their codes.

    Args:
        text: one line or several.
        err: to stderr.
        nl: end the last line.
    """
    click.echo("\n".join(map(printable, str(text).split("\n"))), err=err, nl=nl)
