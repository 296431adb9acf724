"""`gliomask demo`: segments the sample that comes with the package."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.say import echo


@click.command(short_help="Segment a sample that comes with the package.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("gliomask-demo"), show_default=True, help="Folder for the results.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all that the process may use]")
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
def command(output: Path, threads: int | None, overwrite: bool) -> None:
    """Segment the synthetic patient that comes with the package; write label map, volumes and picture. No data and no network are needed.

    \b
    Example:
      gliomask demo -o demo/
    """
    from gliomask.cli.progress import brain_progress
    from gliomask.demo import run_demo
    from gliomask.segmentation import Options

    with brain_progress("sample") as progress:
        demo = run_demo(output, Options(threads=threads), overwrite=overwrite, progress=progress)
    echo(demo.results.volumes_tsv.read_text().rstrip())
    agreement = ", ".join(f"{region} {score:.2f}" for region, score in demo.dice.items())
    echo(f"Dice against the labels the synthetic patient was made from: {agreement}")
    echo(f"Label map: {demo.results.label_map}\nPicture:   {demo.results.preview}\nResearch use only, not a medical device.")
