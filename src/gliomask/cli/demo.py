"""`gliomask demo`: segments the sample that comes with the package."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo


@click.command(short_help="Segment a sample that comes with the package.")
@click.option(
    "-o",
    "--output",
    type=GivenPath(),
    default=Path("gliomask-demo"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--threads", type=WholeNumber(min=1), help="CPU threads.  [default: all that the process may use]")
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
def command(output: Path, threads: int | None, overwrite: bool) -> None:
    """Segment the synthetic patient that comes with the package; write label map, volumes and picture.

    No data and no network are needed.

    \b
    Example:
      gliomask demo -o demo/
    """
    from gliomask.cli.progress import work_progress
    from gliomask.cli.result_text import show_written, volumes_table
    from gliomask.demo import run_demo
    from gliomask.in_words import dice
    from gliomask.segmentation import Options

    with work_progress("sample") as progress:
        demo = run_demo(output, Options(threads=threads), overwrite=overwrite, progress=progress)
    echo(volumes_table(demo.result))
    agreement = ", ".join(f"{region.value} {dice(score)}" for region, score in demo.dice.items())
    echo(f"\nDice against the labels the synthetic patient was made from: {agreement}")
    show_written(demo.results)
