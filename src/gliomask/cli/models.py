"""`gliomask models`: which models there are, what is known of each, whether it can be trusted, and how one from
elsewhere is taken in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo

_PATH = GivenPath()
_MODEL = click.argument("model")
_JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


@click.group(short_help="List, describe, verify and adopt models.")
def command() -> None:
    """Which models there are, what is known of each, and whether it can be trusted.

    \b
    Examples:
      gliomask models list
      gliomask models info sparse
      gliomask models verify sparse
      gliomask models adopt unet.onnx --help

    MODEL is a shipped model's name or a model folder.
    """


@command.command("list")
@_JSON
def list_models(as_json: bool) -> None:
    """List the models that come with gliomask, the default first.

    The figures are those of each model.json; scores are comparable only where they are of the same patients. See
    gliomask models info.
    """
    from gliomask.cli.model_text import table
    from gliomask.models.available import summaries

    rows = summaries()
    if as_json:
        _echo_json([row.to_dict() for row in rows])
        return
    echo(table(rows))
    echo(
        "Dice is comparable only between models scored on the same patients: gliomask models info MODEL. "
        "Research use only."
    )


@command.command()
@_MODEL
@_JSON
def info(model: str, as_json: bool) -> None:
    """Show all that MODEL says of itself, without checking it (see verify).

    \b
    Example:
      gliomask models info dense
    """
    from gliomask.cli.model_text import page
    from gliomask.models.available import find_model, summarise

    summary = summarise(find_model(model))
    if as_json:
        _echo_json(summary.to_dict())
    else:
        echo(page(summary))


@command.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@_JSON
def verify(models: tuple[str, ...], as_json: bool) -> int:
    """Check MODELs (all shipped ones unless some are named): model.json, every file's hash, and the golden pair in
    every installed engine.

    Exit code 4 when one is not sound; the message names the file.

    \b
    Example:
      gliomask models verify my-models/unet
    """
    from gliomask.models.available import shipped_names
    from gliomask.models.verify import verify_model

    results = [verify_model(model) for model in models or shipped_names()]
    if as_json:
        _echo_json([result.to_dict() for result in results])
    else:
        for result in results:
            echo(result.text(), err=not result.sound)
    return 0 if all(result.sound for result in results) else 4


@command.command()
@click.argument("graph", type=_PATH)
@click.option("-o", "--output", "folder", type=_PATH, help="Model folder to write.")
@click.option("--name", help="The model's name.  [default: the model folder's]")
@click.option("--title", help="The network's name, for people.  [default: the model's name]")
@click.option("--inputs", help="Sequence of each input channel, in order, such as t1,t1ce,t2,flair.")
@click.option(
    "--outputs", help="What each output channel is, in order: background,necrotic,oedema,enhancing or WT,TC,ET."
)
@click.option(
    "--activation", type=click.Choice(["none", "softmax", "sigmoid"]), help="What turns the answer into probabilities."
)
@click.option(
    "--layout",
    type=click.Choice(["channels_first", "channels_last"]),
    help="Where the channels are, if the graph's sizes do not tell.",
)
@click.option(
    "--orientation", help="Direction of each axis: LPS (gliomask), RAS (MONAI), SPL (nnU-Net on BraTS files)."
)
@click.option(
    "--normalisation",
    help="z-score-brain, z-score-nonzero, z-score-box, unit-range, volume or slice; see docs/models.md.",
)
@click.option(
    "--size-multiple", type=int, help="What each side of the input must be a multiple of; not for a graph of one size."
)
@click.option(
    "--halo", type=int, help="Surroundings to keep round the brain's box, pixels; not for a graph of one size."
)
@click.option(
    "--spacing",
    "spacing_mm",
    type=float,
    nargs=3,
    default=(1.0, 1.0, 1.0),
    show_default=True,
    help="Voxel size it was trained at, mm.",
)
@click.option("--postprocess", default="none", show_default=True, help="Post-processing that goes with the model.")
@click.option("--licence", help="Licence of the weights.")
@click.option("--origin", help="Where the weights come from.")
@click.option("--training", help="What they were trained on, in a sentence.")
@click.option(
    "--attribution",
    multiple=True,
    help="A work or data set that must be named with every use; may be given several times.",
)
@click.option(
    "--tolerance",
    type=float,
    default=1e-4,
    show_default=True,
    help="Largest difference between engines' probabilities.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def adopt(
    graph: Path,
    folder: Path | None,
    name: str | None,
    inputs: str | None,
    outputs: str | None,
    overwrite: bool,
    **said: Any,
) -> None:
    """Make a model folder of GRAPH, an ONNX file that was trained elsewhere (an nnU-Net or MONAI export, 2-D or 3-D).

    Without options it tells what the graph says and what is still to be said. Nothing is guessed.

    \b
    Example:
      gliomask models adopt unet.onnx -o my-models/unet --inputs t1,t1ce,t2,flair --outputs WT,TC,ET
        --activation sigmoid --orientation SPL --normalisation z-score-brain --licence CC-BY-4.0 --origin "doi:..."
        --training "1,251 patients of BraTS 2021."
      gliomask segment CASE -o OUT --model my-models/unet
    """
    from gliomask.errors import UsageError
    from gliomask.files.paths import as_given
    from gliomask.models.adopt import ModelDescription
    from gliomask.models.adopt import adopt as take_in

    if folder is None and inputs is not None:
        raise UsageError("Give -o, the model folder to write.")
    description = ModelDescription(inputs=_list(inputs), outputs=_list(outputs), **said)
    target = folder or Path()
    spec = take_in(graph, target, name or as_given(target).name.lower(), description, overwrite)
    echo(
        f"Done: {target}: {spec.parameters:,} parameters, {spec.input_kind}; its golden pair is reproduced by every "
        "engine that is installed."
    )
    echo(
        "That proves the engines agree, not that the description is right: segment a case whose answer you know, "
        "and compare."
    )


def _list(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _echo_json(value: Any) -> None:
    import json

    echo(json.dumps(value, indent=1, ensure_ascii=False))
