"""What commands print: the one place that writes to a terminal, with nothing in it that could steer one."""

from __future__ import annotations

import click

from gliomask.errors import printable


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Prints text; control characters, which names of files and DICOM headers may hold, are shown as their codes.

    Tabs stay: tables have them.

    Args:
        text: one line or several.
        err: to stderr.
        nl: end the last line.
    """
    lines = ("\t".join(map(printable, line.split("\t"))) for line in str(text).split("\n"))
    click.echo("\n".join(lines), err=err, nl=nl)
