"""`gliomask report`: from what `gliomask segment` left to a page for people, HTML and PDF."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo

_PATH = GivenPath()


@click.command(short_help="Write reports (HTML, PDF) of segmented cases.")
@click.argument("result", type=_PATH)
@click.argument("scans", type=_PATH, required=False)
@click.option("-o", "--output", type=_PATH, help="Folder for the reports.  [default: beside each label map]")
@click.option(
    "--format", "formats", default="html,pdf", show_default=True, help="html, pdf, json; several separated by commas."
)
@click.option("--labels", help="Label convention of a label map without run record: brats2021, brats2023 or decathlon.")
@click.option("--overwrite", is_flag=True, help="Replace reports that exist.")
def command(
    result: Path, scans: Path | None, output: Path | None, formats: str, labels: str | None, overwrite: bool
) -> int:
    """Write the report of RESULT: a label map, or a folder of label maps, as gliomask segment leaves them.

    The scans are those that the run record names; SCANS says where they are now, if they were moved. Both must be the
    same files.

    \b
    Examples:
      gliomask report results/
      gliomask report results/BraTS2021_00000_seg.nii.gz BraTS2021_00000/ -o reports/
      gliomask report by_hand.nii.gz BraTS2021_00000/ --labels brats2021 --format html

    A report shows the four sequences with outlines, volumes, the diameters of enhancing lesions, where the tumour lies,
    and where all that comes from. PDF needs the extra report. Research software, not a medical device.
    """
    from gliomask.errors import GliomaskError
    from gliomask.results.reports import Reporting, write_reports

    reports = write_reports(
        result, Reporting.of(formats, overwrite=overwrite, labels=labels), scans=scans, output=output
    )
    failed = 0
    for case_id, outcome in reports.items():
        if isinstance(outcome, GliomaskError):
            echo(f"Error: {case_id}: {outcome}", err=True)
            failed = failed or outcome.exit_code
        else:
            echo(f"{case_id}: {', '.join(map(str, outcome))}")
    return failed
