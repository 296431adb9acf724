"""`gliomask dicom`: series told apart and turned into NIfTI; label maps turned into DICOM objects."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from gliomask.sequences import Sequence

_PLACE = click.argument("place", type=GivenPath(), metavar="FOLDER|ZIP")
_SERIES = click.option(
    "--series",
    "series",
    multiple=True,
    metavar="SEQUENCE=NUMBER",
    help="Take this series for a sequence (number or UID), as in t1=4.",
)
_IDENTIFIERS = click.option(
    "--include-identifiers",
    is_flag=True,
    help="Keep names, numbers and UIDs of the patient in what is shown and recorded.",
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace results that exist.")


@click.group(short_help="DICOM in and out.")
def command() -> None:
    """Read the four sequences from DICOM series; write label maps as DICOM segmentation, structure set and report.

    \b
    Example:
      gliomask dicom inspect examination/
      gliomask dicom convert examination.zip -o scans/
      gliomask dicom export tumour.nii.gz --series examination/T1ce -o objects/

    Needs the extra dicom (pip install 'gliomask[dicom]'). Research software, not a medical device.
    """


@command.command("inspect", short_help="Show every series, what it is taken for, and why.")
@_PLACE
@_SERIES
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@_IDENTIFIERS
def inspect_command(place: Path, series: tuple[str, ...], as_json: bool, include_identifiers: bool) -> None:
    """Show every series in a folder or zip of DICOM files: which of the four sequences it is taken for, and why.

    Writes nothing.

    \b
    Example:
      gliomask dicom inspect examination/
      gliomask dicom inspect examination.zip --series t1ce=7 --json
    """
    from gliomask.io.dicom.convert import inspect, parse_overrides

    with headers_read() as progress:
        inspection = inspect(place, parse_overrides(series), include_identifiers=include_identifiers, progress=progress)
    echo(json.dumps(inspection.values, indent=1) if as_json else inspection.text)


@command.command("convert", short_help="Write each sequence as NIfTI in its own grid.")
@_PLACE
@click.option(
    "-o",
    "--output",
    type=GivenPath(),
    required=True,
    help="Folder for the NIfTI files and the run record.",
)
@_SERIES
@_IDENTIFIERS
@_OVERWRITE
def convert_command(
    place: Path, output: Path, series: tuple[str, ...], include_identifiers: bool, overwrite: bool
) -> None:
    """Write the sequences found in a folder or zip of DICOM files as NIfTI, each in its own grid, with a record of what
    was chosen and why.

    \b
    Example:
      gliomask dicom convert examination/ -o scans/
      gliomask dicom convert examination.zip -o scans/ --series t1=4 --series t1ce=9
    """
    for path in converted(place, output, series, include_identifiers=include_identifiers, overwrite=overwrite).values():
        echo(f"Written: {path}")


def converted(
    place: Path,
    output: Path,
    series: tuple[str, ...],
    *,
    needed: Iterable[Sequence] = (),
    include_identifiers: bool = False,
    overwrite: bool = False,
) -> dict[Sequence, Path]:
    """Writes the sequences with a record, shows what was found, and returns the files."""
    from gliomask.io.dicom.convert import convert, parse_overrides
    from gliomask.report.run_record import write_record

    started = time.perf_counter()
    overrides = parse_overrides(series)
    with headers_read() as progress:
        paths, examination = convert(
            place,
            output,
            overrides,
            needed=needed,
            include_identifiers=include_identifiers,
            overwrite=overwrite,
            progress=progress,
        )
    seconds = {"total": round(time.perf_counter() - started, 2)}
    write_record(
        output / "dicom_run.json",
        "dicom convert",
        {"options": {"series": list(series)}, "seconds": seconds, "dicom": examination.values},
    )
    echo(examination.text)
    return paths


SHOWN_FROM_FILES, LINE_EACH_FILES = 500, 2_000
"""Fewer files are read before anyone wonders; where there is no terminal a line is printed now and then."""


@contextmanager
def headers_read() -> Iterator[Callable[[int, int], None]]:
    """Shows how far the reading of headers is: a bar on a terminal, lines elsewhere, both on stderr."""
    from rich.console import Console

    from gliomask.cli.progress import progress_bar

    console = Console(stderr=True)
    with ExitStack() as shown:
        bars: list[tuple[Progress, TaskID]] = []

        def show(done: int, total: int) -> None:
            if total < SHOWN_FROM_FILES:
                return
            if not console.is_terminal:
                if done % LINE_EACH_FILES == 0:
                    echo(f"read {done:,} of {total:,} headers", err=True)
                return
            if not bars:
                bar = shown.enter_context(progress_bar(console))
                bars.append((bar, bar.add_task("reading headers", total=total)))
            bar, task = bars[0]
            bar.update(task, completed=done)

        yield show


@command.command("export", short_help="Write a label map as DICOM segmentation, structure set and report.")
@click.argument("label_map", type=GivenPath())
@click.option(
    "--series",
    "place",
    type=GivenPath(),
    required=True,
    help="Folder or zip of the series in whose grid the label map is.",
)
@click.option(
    "--number",
    help="Number or UID of the series, where several have this grid and no record beside LABEL_MAP names it.",
)
@click.option(
    "-o",
    "--output",
    type=GivenPath(),
    required=True,
    help="Folder for the DICOM objects and the run record.",
)
@click.option("--seg", is_flag=True, help="Write the segmentation.")
@click.option("--rtstruct", is_flag=True, help="Write the structure set.")
@click.option(
    "--sr", is_flag=True, help="Write the report with volumes; writes the segmentation too, which it refers to."
)
@click.option("--labels", default="brats2021", show_default=True, help="Label convention of LABEL_MAP.")
@_OVERWRITE
def export_command(
    label_map: Path,
    place: Path,
    number: str | None,
    output: Path,
    seg: bool,
    rtstruct: bool,
    sr: bool,
    labels: str,
    overwrite: bool,
) -> None:
    """Write LABEL_MAP (NIfTI) as DICOM objects that refer to the series it was drawn on: all three kinds, or those
    asked for.

    \b
    Example:
      gliomask dicom export tumour_seg.nii.gz --series examination/T1ce -o objects/
      gliomask dicom export tumour_seg.nii.gz --series examination.zip --number 9 -o objects/ --seg

    The label map must be in the grid of the series. The objects carry the patient of their source, as they must to be
    filed.
    """
    from gliomask.io.dicom.export import Kinds, export
    from gliomask.labels import convention
    from gliomask.report.run_record import write_record

    started = time.perf_counter()
    kinds = Kinds(seg or sr, rtstruct, sr) if seg or rtstruct or sr else Kinds()
    with headers_read() as progress:
        written = export(
            label_map, place, output, kinds, convention(labels), number=number, overwrite=overwrite, progress=progress
        )
    seconds = {"total": round(time.perf_counter() - started, 2)}
    fields = {
        "options": {"labels": labels, "number": number},
        "seconds": seconds,
        "written": [path.name for path in written.paths],
    }
    fields |= {"left_out": list(written.left_out), "notes": list(written.notes)}
    write_record(output / "dicom_run.json", "dicom export", fields)
    for path in written.paths:
        echo(f"Written: {path}")
    if written.left_out:
        echo(f"Left empty or out, since the series' own value is not valid: {', '.join(written.left_out)}.")
    for note in written.notes:
        echo(f"{note}.")
    echo("The objects carry the patient of their source. Research use only, not a medical device.")
