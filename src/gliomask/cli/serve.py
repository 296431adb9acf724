"""`gliomask serve`: a server for a team, with a queue, pages, a REST API and DICOMweb."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.options import threads
from gliomask.cli.say import echo

if TYPE_CHECKING:
    from gliomask.server.settings import ServerSettings

TOKEN_VARIABLE = "GLIOMASK_TOKEN"

MAX_TOKEN_FILE_BYTES = 4096


@click.command(short_help="Serve a team: uploads, a queue, pages, REST, DICOMweb.")
@click.option(
    "-o", "--folder", type=GivenPath(), required=True, help="Folder for scans, results and the table of jobs."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; others than this machine's own need a token.",
)
@click.option(
    "--port", type=WholeNumber(0, 65535), default=8765, show_default=True, help="Port; 0 takes any that is free."
)
@click.option(
    "--token-file",
    type=GivenPath(),
    help=f"File with the token that clients must send.  [default: the variable {TOKEN_VARIABLE}, or none]",
)
@click.option(
    "--host-name", "host_names", multiple=True, help="Name under which others reach this server; may be repeated."
)
@click.option(
    "--workers",
    type=WholeNumber(min=1),
    help="Jobs at a time.  [default: one for two processors, as far as memory goes]",
)
@threads("--threads")
@click.option(
    "--max-upload-gb", type=click.FloatRange(min=0.001), default=4.0, show_default=True, help="Largest upload."
)
@click.option("--max-waiting", type=WholeNumber(min=1), default=200, show_default=True, help="Most jobs in the queue.")
@click.option(
    "--job-memory-gb",
    type=click.FloatRange(min=1),
    default=8.0,
    show_default=True,
    help="Memory (address space) of one job.",
)
@click.option(
    "--job-minutes", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Longest time of one job."
)
@click.option(
    "--keep-hours",
    type=click.FloatRange(min=0.01),
    default=24.0,
    show_default=True,
    help="How long scans and results stay after a job's end.",
)
@click.option(
    "--study-quiet-seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="Silence after which a DICOMweb study is complete.",
)
@click.option(
    "--send-to", metavar="URL", help="DICOMweb service that gets the objects of each job that came by DICOMweb."
)
@click.option("--login-file", type=GivenPath(), help="File with USER:PASSWORD for --send-to.")
@click.option(
    "--corrections",
    type=GivenPath(),
    help="Folder that gets a copy of each corrected label map with its scans, for gliomask train; it does not expire.",
)
def command(
    folder: Path,
    host: str,
    port: int,
    token_file: Path | None,
    host_names: tuple[str, ...],
    workers: int | None,
    threads: int | None,
    max_upload_gb: float,
    max_waiting: int,
    job_memory_gb: float,
    job_minutes: float,
    keep_hours: float,
    study_quiet_seconds: float,
    send_to: str | None,
    login_file: Path | None,
    corrections: Path | None,
) -> None:
    """Serve segmentation to a team: scans in by browser, REST or DICOMweb; label map, volumes, report and DICOM objects
    out.

    \b
    Examples:
      gliomask serve -o /srv/gliomask
      gliomask serve -o /srv/gliomask --host 0.0.0.0 --host-name mri.example.org --token-file token.txt

    Listens on this machine alone unless told otherwise. It speaks plain HTTP: for others to reach it, put a proxy with
    TLS in front (docs/server.md). Needs the extra serve (pip install 'gliomask[serve]'), and the extras dicom and raw
    for what they are for. Research software, not a medical device.
    """
    from gliomask.server.settings import Limits, ServerSettings

    limits = Limits(
        upload_bytes=int(max_upload_gb * (1 << 30)),
        waiting_jobs=max_waiting,
        job_memory_bytes=int(job_memory_gb * (1 << 30)),
        job_seconds=job_minutes * 60,
        keep_seconds=keep_hours * 3600,
    )
    serve(
        ServerSettings(
            folder,
            host,
            port,
            _token(token_file),
            workers,
            threads,
            host_names,
            study_quiet_seconds,
            send_to,
            _login(login_file),
            corrections,
            limits,
        )
    )


def serve(settings: ServerSettings) -> None:
    """Serves until a signal ends it."""
    from gliomask.errors import EngineUnavailableError

    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise EngineUnavailableError(
            f"The server needs the extra 'serve' ({error.name} is missing). Install it: pip install 'gliomask[serve]'."
        ) from error
    from gliomask.server.listen import listen

    listen(
        settings,
        lambda url: echo(
            f"Listening on {url}. Stop with Ctrl-C; jobs that run then are begun again at the next start."
        ),
    )


def _login(login_file: Path | None) -> tuple[str, str] | None:
    from gliomask.cli.pacs import read_login

    return None if login_file is None else read_login(login_file)


def _token(token_file: Path | None) -> str | None:
    from gliomask.files.regular import read_text

    if token_file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    return read_text(token_file, MAX_TOKEN_FILE_BYTES, "a token").strip()
