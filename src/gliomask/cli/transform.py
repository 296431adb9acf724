"""`gliomask transform`: an image or a mask of a finished case, from one of its spaces to another."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.options import overwrite
from gliomask.cli.say import echo

_SPACE = click.Choice(["brats", "mni152", "flair", "t1", "t1ce", "t2"])


@click.command(short_help="Carry an image or a mask of a case from one space to another.")
@click.argument("image", type=GivenPath())
@click.option(
    "--case", "record", type=GivenPath(), required=True, help="Run record of the finished case: CASE_run.json."
)
@click.option("--from", "source", type=_SPACE, required=True, help="The space that IMAGE lies in.")
@click.option("--to", "target", type=_SPACE, required=True, help="The space to bring it to.")
@click.option(
    "--labels", is_flag=True, help="IMAGE is a mask or a label map: a voxel takes the label that fills most of it."
)
@click.option(
    "--deface", is_flag=True, help="Take the face off: for images of the head with the skull on; see docs/raw.md."
)
@click.option(
    "--like",
    type=GivenPath(),
    help="Take the grid of this file, which lies in the space --to, instead of the space's own.",
)
@click.option("-o", "--output", type=GivenPath(), required=True, help="The file to write (.nii.gz).")
@overwrite
def command(
    image: Path,
    record: Path,
    source: str,
    target: str,
    labels: bool,
    deface: bool,
    like: Path | None,
    output: Path,
    overwrite: bool,
) -> None:
    """Bring IMAGE from one space of a case to another: its sequences as scanned, BraTS space, MNI152.

    \b
    Examples:
      gliomask transform perfusion.nii.gz --case results/P1/P1_run.json --from t1ce --to brats -o perfusion_brats.nii.gz
      gliomask transform atlas.nii.gz --labels --case results/P1/P1_run.json --from mni152 --to t2 -o atlas_t2.nii.gz
      gliomask transform t1.nii.gz --deface --case results/P1/P1_run.json --from t1 --to t1 -o t1_defaced.nii.gz

    IMAGE may have a grid of its own; --from says whose world its header is in. Needs the extra raw. Research software,
    not a medical device.
    """
    import numpy as np

    from gliomask.carry import carry, read_face, read_spaces
    from gliomask.io import nifti
    from gliomask.preprocess.raw.deface import defaced, face_in
    from gliomask.results.write import refuse_inputs

    face = read_face(record) if deface else None
    refuse_inputs([output], [image, record, *([] if like is None else [like])])
    spaces = read_spaces(record)
    matrix = spaces.matrix(source, target)
    volume = nifti.read_volume(image)
    grid = spaces.grid(target) if like is None else nifti.read_volume(like).geometry
    carried = carry(volume.values, volume.geometry, grid, matrix, labels=labels)
    if face is not None:
        carried = defaced(carried, face_in(face, grid, spaces.matrices[target]))
    nifti.write_volume(output, carried.astype(np.uint8) if labels else carried, grid, overwrite=overwrite)
    echo(f"Written: {output}")
