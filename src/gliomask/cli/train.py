"""`gliomask train`: labelled cases in, a run folder with weights, log and learning curve out."""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo

_PATH = GivenPath()


@click.command(short_help="Train a network on labelled cases.")
@click.argument("data", type=_PATH, required=False)
@click.option(
    "-o",
    "--output",
    "folder",
    type=_PATH,
    help="Run folder. If it holds a checkpoint of the same training, that goes on.",
)
@click.option(
    "--network", help="sparse, input-sparse, dense, unet or plain-unet (or their full names).  [default: sparse]"
)
@click.option(
    "--recipe",
    type=click.Choice(["default", "paper", "unet"]),
    help="Where the choices start from.  [default: the network's own]",
)
@click.option(
    "--config",
    "config_file",
    type=_PATH,
    help="YAML file of choices; --show-config prints one with every field explained.",
)
@click.option("--folds", "fold_table", type=_PATH, help="Table (CSV, TSV) with the columns case and fold.")
@click.option("--fold", type=int, help="Fold to hold out; needs --folds.")
@click.option(
    "--from", "start", type=_PATH, help="Run folder or model folder whose weights to begin with (fine-tuning)."
)
@click.option("--epochs", type=int, help="Most epochs.")
@click.option(
    "--validation-share", type=float, help="Share of the training patients set aside to choose the best epoch."
)
@click.option("--seed", type=int, help="Seed of weights, draws and augmentation.")
@click.option("--threads", type=WholeNumber(min=1), help="CPU threads.  [default: all]")
@click.option(
    "--backend",
    type=click.Choice(["tensorflow", "jax"]),
    default="tensorflow",
    show_default=True,
    help="What Keras runs on.",
)
@click.option(
    "--compiled", is_flag=True, default=None, help="Compile each step with XLA, on TensorFlow too; JAX always does."
)
@click.option("--mixed-precision", is_flag=True, default=None, help="Half-precision arithmetic, for a GPU.")
@click.option(
    "--devices",
    type=WholeNumber(min=1),
    default=1,
    show_default=True,
    help="Devices of this machine that share each batch; more than one on JAX alone.",
)
@click.option("--strict", is_flag=True, help="Refuse cases whose scans look wrong (exit code 6) instead of warning.")
@click.option("--show-config", is_flag=True, help="Print the configuration with every field explained, and stop.")
def command(
    data: Path | None,
    folder: Path | None,
    recipe: str | None,
    config_file: Path | None,
    fold_table: Path | None,
    fold: int | None,
    start: Path | None,
    backend: str,
    devices: int,
    show_config: bool,
    strict: bool,
    **choices: object,
) -> None:
    """Train a network on the labelled cases in DATA (a BraTS tree or Decathlon Task01) and leave everything in a run
    folder.

    \b
    Examples:
      gliomask train cases/ --network sparse --folds folds.csv --fold 0 -o runs/sparse-fold0
      gliomask train cases/ --network unet -o runs/unet
      gliomask train mine/ --from runs/sparse-all --epochs 5 -o runs/fine-tuned
      gliomask train --recipe paper --show-config > paper.yaml

    A run that was interrupted, even by a power cut, goes on exactly where its last epoch ended when the same command is
    given again.
    """
    from gliomask.training.config import describe_config, make_config

    config = make_config(recipe, config_file, **choices)
    if show_config:
        echo(describe_config(config), nl=False)
        return
    if data is None or folder is None:
        raise click.UsageError(
            "DATA and -o are needed: the labelled cases, and the folder for the run.", click.get_current_context()
        )
    from gliomask.cli.progress import TrainingDisplay
    from gliomask.training.backend import use_backend, use_devices

    use_backend(backend, config.threads)
    use_devices(devices, config.batch_size)
    from gliomask.training.run import run_training

    with TrainingDisplay() as display:
        done = run_training(data, folder, config, fold_table, fold, display, start, strict=strict)
    echo(
        f"Done: {done.weights}, {done.epochs} epochs in {done.hours:.2f} h, {done.waiting_share:.2%} of it waiting "
        "for patches."
    )
