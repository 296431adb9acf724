"""`gliomask export`: a finished training in, a model folder out that `gliomask segment --model` takes."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo


@click.command(short_help="Turn a finished training into a model folder.")
@click.argument("run", type=GivenPath())
@click.option("-o", "--output", "folder", type=GivenPath(), required=True, help="Model folder to write.")
@click.option("--name", help="The model's name.  [default: the model folder's]")
@click.option("--licence", default="not stated", show_default=True, help="Licence of the weights.")
@click.option(
    "--attribution",
    multiple=True,
    help="A work or data set that must be named with every use; may be given several times.",
)
@click.option(
    "--postprocess", help="Post-processing that goes with the model, or none.  [default: 3d, as the shipped networks]"
)
@click.option(
    "--backend",
    type=click.Choice(["tensorflow", "jax"]),
    default="tensorflow",
    show_default=True,
    help="What Keras runs on.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def command(
    run: Path,
    folder: Path,
    name: str | None,
    licence: str,
    attribution: tuple[str, ...],
    postprocess: str | None,
    backend: str,
    overwrite: bool,
) -> None:
    """Write the network of the run folder RUN (as gliomask train leaves it) as a model folder.

    The model folder holds the network as ONNX, its weights, a golden input with its probabilities, and model.json,
    which says how they are to be used. The engines must reproduce the golden probabilities before anything is written.

    \b
    Example:
      gliomask export runs/sparse-all -o models/my-sparse --licence CC-BY-4.0
      gliomask segment CASE -o OUT --model models/my-sparse
    """
    from gliomask.files.paths import as_given
    from gliomask.postprocess import CHAINS, DEFAULT_CHAIN
    from gliomask.training.backend import use_backend

    use_backend(backend, None)
    from gliomask.training.export import export_model

    spec = export_model(
        run,
        folder,
        name=name or as_given(folder).name,
        licence=licence,
        attribution=attribution,
        postprocess=DEFAULT_CHAIN if postprocess is None else postprocess,
        overwrite=overwrite,
    )
    assert spec.training is not None  # an export's model was trained here
    echo(
        f"Done: {folder}: {spec.title}, {spec.parameters:,} parameters, trained on {len(spec.training.cases)} cases, "
        f"post-processing {spec.postprocess} ({CHAINS[spec.postprocess].description})"
    )
