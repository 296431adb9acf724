"""`gliomask models`: which models there are, what is known of each, whether it can be trusted, and how one from elsewhere is taken in."""

from __future__ import annotations

from typing import Any

import click

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

    The figures are those of each model.json; scores are comparable only where they are of the same patients. See gliomask models info.
    """
    from gliomask.models.shelf import summaries, table

    found = summaries()
    if as_json:
        _echo_json([row.to_dict() for row in found])
        return
    click.echo(table(found))
    click.echo("Dice is comparable only between models scored on the same patients: gliomask models info MODEL. Research use only.")


@command.command()
@_MODEL
@_JSON
def info(model: str, as_json: bool) -> None:
    """Show all that MODEL says of itself, without checking it (see verify).

    \b
    Example:
      gliomask models info dense
    """
    from gliomask.models.shelf import find_model, page, summarise

    found = summarise(find_model(model))
    if as_json:
        _echo_json(found.to_dict())
    else:
        click.echo(page(found))


@command.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@_JSON
def verify(models: tuple[str, ...], as_json: bool) -> int:
    """Check MODELs (all shipped ones unless some are named): model.json, every file's hash, and the golden pair in every installed engine.

    Exit code 4 when one is not sound; the message names the file.

    \b
    Example:
      gliomask models verify my-models/unet
    """
    from gliomask.models.shelf import shipped_names
    from gliomask.models.verify import verify_model

    results = [verify_model(model) for model in models or shipped_names()]
    if as_json:
        _echo_json([result.to_dict() for result in results])
    else:
        for result in results:
            click.echo(result.text(), err=not result.sound)
    return 0 if all(result.sound for result in results) else 4


def _echo_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False))
