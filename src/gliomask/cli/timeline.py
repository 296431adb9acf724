"""`gliomask timeline`: one patient's label maps over time to volume curves, changes and new lesions."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo

_PATH = GivenPath()


@click.command(short_help="Report one patient over several time points.")
@click.argument("time_points", type=_PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=_PATH, required=True, help="Folder for the report.")
@click.option(
    "--patient",
    help="What the report calls the patient, and its files: PATIENT_timeline.html.  [default: the output "
    "folder's name]",
)
@click.option(
    "--format", "formats", default="html,pdf", show_default=True, help="html, pdf, json; several separated by commas."
)
@click.option("--labels", help="Label convention of label maps without run record: brats2021, brats2023 or decathlon.")
@click.option("--overwrite", is_flag=True, help="Replace a report that exists.")
def command(
    time_points: tuple[Path, ...], output: Path, patient: str | None, formats: str, labels: str | None, overwrite: bool
) -> None:
    """Report one patient over time. TIME_POINTS is a table (.tsv), or two and more label maps in the order of time.

    The table has the columns timepoint and label_map and, if known, date (YYYY-MM-DD) and labels, separated by tabs, a
    row for each time point, the first first. Neither order nor dates are ever taken from names.

    \b
    Examples:
      gliomask timeline visits.tsv -o follow-up/
      gliomask timeline before_seg.nii.gz after_seg.nii.gz -o follow-up/ --patient P01

    Nothing is registered: lesions are called new only where brain masks show that the images lie on each other. For
    gliomas before treatment: what surgery and radiotherapy leave is no tumour, and the networks do not know it.
    """
    from gliomask.files.paths import as_given
    from gliomask.io.nifti import is_nifti_name, stem
    from gliomask.results.reports import Reporting, read_timeline, write_timeline

    reporting = Reporting.of(formats, overwrite=overwrite, labels=labels)
    if len(time_points) == 1 and not is_nifti_name(time_points[0]):
        points = read_timeline(time_points[0])
    else:
        points = [(stem(path), path, None, None) for path in time_points]
    _, written = write_timeline(patient or as_given(output).name, points, output, reporting)
    echo(f"Written: {', '.join(map(str, written))}. Research use only, not a medical device.")
