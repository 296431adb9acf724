"""`gliomask web`: the application that segments in a browser, as static files."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo


@click.group(short_help="The application that segments in a browser.")
def command() -> None:
    """Make the application that segments in a browser; scans never leave the computer they are on.

    \b
    Example:
      gliomask web build -o site
      python -m http.server --directory site --bind 127.0.0.1     # then open http://127.0.0.1:8000
    """


@command.command(short_help="Write the application into a folder.")
@click.option("-o", "--output", type=GivenPath(), required=True, help="Folder to write; new or empty.")
@click.option("--model", default=None, help="Model, by name or folder.  [default: the one that gliomask segment uses]")
@click.option(
    "--precision",
    type=click.Choice(("auto", "fp32", "int8")),
    default="auto",
    show_default=True,
    help="Numbers that the network computes with in WebAssembly; auto is int8, which is quicker, where the model has "
    "it. A graphics card computes in fp32.",
)
def build(output: Path, model: str | None, precision: str) -> None:
    """Write the application as static files, which any web server can serve, also below another path.

    A browser runs it on https and on localhost only. It works without a network once it has been opened. Where the
    server does not send the headers of cross-origin isolation, which threads need, the application's service worker
    adds them.
    """
    from gliomask.models.registry import DEFAULT_MODEL, load_model
    from gliomask.web.build import build as write

    written = write(load_model(model or DEFAULT_MODEL), output, precision)
    size = sum(path.stat().st_size for path in written) / 1e6
    echo(
        f"Written: {output} ({len(written)} files, {size:.1f} MB). Serve the folder by https, or on this computer, "
        "and open its index.html."
    )
