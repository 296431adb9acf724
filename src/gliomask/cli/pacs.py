"""`gliomask pacs`: studies of a DICOMweb archive found and fetched, and DICOM objects stored there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo

if TYPE_CHECKING:
    from gliomask.server.pacs import Pacs

MAX_LOGIN_BYTES = 4096

Decorator = Callable[[Any], Any]

_URL: Decorator = click.option(
    "--url",
    required=True,
    metavar="URL",
    help="The archive's DICOMweb service, such as https://pacs.example.org/dicom-web.",
)
_LOGIN: Decorator = click.option("--login-file", type=GivenPath(), help="File with USER:PASSWORD of the archive.")


@click.group(short_help="Find, fetch and store studies in a DICOMweb archive.")
def command() -> None:
    """Talk to an archive (PACS) by DICOMweb.

    \b
    Example:
      gliomask pacs find --url https://pacs.example.org/dicom-web --match PatientID=4711
      gliomask pacs fetch 1.2.3.4 --url https://pacs.example.org/dicom-web -o examination/
      gliomask segment examination/ -o results/
      gliomask dicom export results/case_seg.nii.gz --series examination/ -o objects/ --sr
      gliomask pacs store objects/ --url https://pacs.example.org/dicom-web

    Needs the extras serve and dicom (pip install 'gliomask[serve,dicom]'). Research software, not a medical device.
    """


@command.command("find", short_help="List studies.")
@_URL
@_LOGIN
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="KEYWORD=VALUE",
    help="Only such studies, as in PatientID=4711; may be repeated.",
)
@click.option("--limit", type=WholeNumber(1, 10_000), default=100, show_default=True, help="Most studies listed.")
def find_command(url: str, login_file: Path | None, matches: tuple[str, ...], limit: int) -> None:
    """List studies of the archive, one a line, with what identifies their patients."""
    from gliomask.errors import UsageError
    from gliomask.server.pacs import FIELDS

    wanted = {}
    for match in matches:
        keyword, equals, value = match.partition("=")
        if not equals or not keyword.isalnum() or not value:
            raise UsageError(f"--match {match}: write a DICOM keyword, = and its value, as in --match PatientID=4711.")
        wanted[keyword] = value
    with _archive(url, login_file) as archive:
        studies = archive.find(wanted, limit)
    echo("\t".join(FIELDS))
    for study in studies:
        echo("\t".join(getattr(study, name).replace("\t", " ").replace("\n", " ") for name in FIELDS))


@command.command("fetch", short_help="Fetch a study.")
@click.argument("study_uid")
@_URL
@_LOGIN
@click.option(
    "-o", "--output", type=GivenPath(), required=True, help="Folder for the DICOM files; it must be empty or not exist."
)
def fetch_command(study_uid: str, url: str, login_file: Path | None, output: Path) -> None:
    """Fetch all DICOM files of the study STUDY_UID into a folder; all of them, or, after an error, none."""
    import shutil

    from gliomask.errors import UsageError
    from gliomask.files.atomic import make_folder, temporary_folder

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists and is not an empty folder. Give another one.")
    make_folder(output.absolute().parent)
    with _archive(url, login_file) as archive, temporary_folder(output.absolute().parent) as folder:
        fetched = folder / "study"
        fetched.mkdir()
        paths = archive.fetch(study_uid, fetched)
        for path in paths:
            path.rename(path.with_suffix(".dcm"))
        if output.exists():
            output.rmdir()
        shutil.move(fetched, output)
    echo(f"Written: {len(paths)} files in {output}")


@command.command("store", short_help="Store DICOM files.")
@click.argument("place", type=GivenPath())
@_URL
@_LOGIN
def store_command(place: Path, url: str, login_file: Path | None) -> None:
    """Store the DICOM files (.dcm) in the folder PLACE, or the file PLACE, in the archive."""
    from gliomask.errors import InputError, UsageError

    paths = sorted(place.glob("*.dcm")) if place.is_dir() else [place]
    if not paths or not all(path.is_file() for path in paths):
        raise UsageError(
            f"{place} holds no file that ends in .dcm. Give the folder that `gliomask dicom export` wrote."
        )
    with _archive(url, login_file) as archive:
        answer = archive.store(paths)
    if answer.failures or answer.stored < len(paths):
        reasons = ", ".join(f"{reason:04X}" for reason in answer.failures) or "none given"
        raise InputError(
            f"The archive stored {answer.stored} of {len(paths)} files; its reasons (DICOM PS3.18, table "
            f"10.5.3-1): {reasons}."
        )
    echo(f"Stored: {answer.stored} files")


def _archive(url: str, login_file: Path | None) -> Pacs:
    from gliomask.errors import EngineUnavailableError

    try:
        from gliomask.server.pacs import Pacs
    except ImportError as error:
        raise EngineUnavailableError(
            f"DICOMweb needs the extra 'serve' ({error.name} is missing). Install it: pip install 'gliomask[serve]'."
        ) from error
    return Pacs(url, None if login_file is None else read_login(login_file))


def read_login(path: Path) -> tuple[str, str]:
    """Returns user and password from a file.

    Raises:
        UsageError: it does not hold USER:PASSWORD.
        FileFormatError: it cannot be read.
    """
    from gliomask.errors import UsageError
    from gliomask.files.regular import read_text

    user, colon, password = read_text(path, MAX_LOGIN_BYTES, "a login").strip().partition(":")
    if not colon or not user:
        raise UsageError(f"{path} does not hold a login. Write USER:PASSWORD into it.")
    return user, password
