"""`gliomask view`: a case and its result in the browser, to look at and to correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo

if TYPE_CHECKING:
    from gliomask.view.exams import Exam

CORRECTIONS = "corrections"
"""Folder of corrections where none is named."""


@click.command(short_help="Look at a case and its result in the browser; correct it.")
@click.argument("case", type=GivenPath())
@click.argument("result", type=GivenPath(), required=False)
@click.option(
    "--html", "html_file", type=GivenPath(), help="Write one HTML file that opens from disk, and serve nothing."
)
@click.option(
    "--with", "other_result", type=GivenPath(), help="Second result of the same case, shown beside the first."
)
@click.option(
    "--visit",
    type=(GivenPath(), GivenPath()),
    metavar="CASE RESULT",
    help="Second visit of the same patient, shown beside the first.",
)
@click.option("--labels", help="Label convention of label maps without run record: brats2021, brats2023 or decathlon.")
@click.option(
    "--corrections",
    type=GivenPath(),
    default=Path(CORRECTIONS),
    show_default=True,
    help="Folder for corrected label maps.",
)
@click.option("--overwrite", is_flag=True, help="Replace corrections or an HTML file that exist.")
@click.option(
    "--port", type=WholeNumber(0, 65535), default=0, help="Port on this computer.  [default: any that is free]"
)
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page in the browser.")
def command(
    case: Path,
    result: Path | None,
    html_file: Path | None,
    other_result: Path | None,
    visit: tuple[Path, Path] | None,
    labels: str | None,
    corrections: Path,
    overwrite: bool,
    port: int,
    browser: bool,
) -> None:
    """Show the scans of CASE in linked pictures, with RESULT over them and the reference beside it where there is one.

    CASE is the folder of a case, and RESULT a label map or a folder that gliomask segment wrote. A result alone will
    do: its run record names the scans.

    \b
    Examples:
      gliomask view cases/P01 results/
      gliomask view results/P01_seg.nii.gz --html P01.html
      gliomask view cases/P01 results/ --with other-model/
      gliomask view visit1/P01 results1/ --visit visit2/P01 results2/

    The page is served on this computer alone, under an address that cannot be guessed, until Ctrl-C. Corrections become
    a folder for gliomask train CORRECTIONS --from MODEL. From a file opened from disk they are downloaded. Research
    software, not a medical device.
    """
    from dataclasses import replace

    from gliomask.view.exams import find_exam

    if other_result and visit:
        raise click.UsageError("--with and --visit cannot be given together: two exams fit beside each other.")
    exams = [find_exam(case, result, labels=labels)]
    if other_result:
        exams = [
            replace(exams[0], title=_name(result or case)),
            find_exam(case, other_result, labels=labels, title=_name(other_result)),
        ]
    elif visit:
        exams = [replace(exams[0], title=f"Visit 1, {exams[0].title}"), find_exam(*visit, labels=labels)]
        exams[1] = replace(exams[1], title=f"Visit 2, {exams[1].title}")
    if html_file:
        _write(exams, html_file, overwrite=overwrite)
    else:
        _serve(exams, corrections, port, overwrite=overwrite, browser=browser)


def _name(place: Path) -> str:
    from gliomask.files.paths import as_given

    return as_given(place).name


def _write(exams: list[Exam], path: Path, *, overwrite: bool) -> None:
    from gliomask.files.atomic import refuse_existing, write_bytes
    from gliomask.view.page import make_page, single_html

    refuse_existing([path], overwrite=overwrite)
    content = single_html(make_page(exams))
    write_bytes(path, content, exclusive=not overwrite)
    echo(f"Written: {path} ({len(content) / 1e6:.1f} MB). It holds the scans: give it only to those who may see them.")


def _serve(exams: list[Exam], folder: Path, port: int, *, overwrite: bool, browser: bool) -> None:
    import webbrowser

    from gliomask.view.corrections import Corrections
    from gliomask.view.page import make_page
    from gliomask.view.server import CORRECTIONS_PATH, ViewerContent, ViewServer

    # Two exams are looked at together; each is corrected on a page of its own.
    exam = exams[0] if len(exams) == 1 and exams[0].segmentation else None
    page = make_page(exams, CORRECTIONS_PATH if exam else None)
    with ViewServer(ViewerContent(page, exam, Corrections(folder, overwrite=overwrite)), port) as server:
        echo(f"Open {server.url} in a browser on this computer. Stop with Ctrl-C.")
        if browser:
            webbrowser.open(server.url)
        server.serve_forever()
