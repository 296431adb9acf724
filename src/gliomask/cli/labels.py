"""`gliomask labels`: what the numbers of a label map mean, for people, ITK-SNAP and 3D Slicer."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo


@click.command(short_help="Say what labels mean, for people, ITK-SNAP or 3D Slicer.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["list", "itksnap", "slicer"]),
    default="list",
    show_default=True,
    help="What is written.",
)
@click.option(
    "--labels",
    default="brats2021",
    show_default=True,
    help="Label convention: brats2021 writes 4 for enhancing tumour, brats2023 3.",
)
@click.option(
    "--colours", default="okabe-ito", show_default=True, help="Palette: okabe-ito (colour-blind safe) or paper."
)
@click.option("-o", "--output", type=GivenPath(), help="File to write.  [default: the screen]")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
def command(form: str, labels: str, colours: str, output: Path | None, overwrite: bool) -> None:
    """Write what the numbers of a label map mean and which colours they have.

    \b
    Examples:
      gliomask labels
      gliomask labels --format itksnap -o gliomask.label     # ITK-SNAP: Segmentation, Import Label Descriptions
      gliomask labels --format slicer -o gliomask.ctbl       # 3D Slicer: load it, then choose it for the label map
    """
    from gliomask.colours import palette
    from gliomask.files.atomic import write_bytes
    from gliomask.labels import convention
    from gliomask.report.label_files import LABEL_FILES

    text = LABEL_FILES[form](convention(labels), palette(colours))
    if output is None:
        echo(text, nl=False)
        return
    write_bytes(output, text.encode(), exclusive=not overwrite)
    echo(f"Written: {output}")
