"""`gliomask evaluate`: predicted and reference label maps in; tables, box plots and the paper's panel out."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo


@click.command(short_help="Score label maps against references.")
@click.argument("predictions", type=GivenPath())
@click.argument("references", type=GivenPath())
@click.option(
    "-o", "--output", "folder", type=GivenPath(), required=True, help="Folder for tables, plots and the run record."
)
@click.option(
    "--policy",
    default="brats2020",
    show_default=True,
    help="What empty regions score: brats2018, brats2020 or brats2023 (also lesion-wise).",
)
@click.option(
    "--labels",
    default="brats2021",
    show_default=True,
    help="Label convention of PREDICTIONS: brats2021, brats2023 or decathlon.",
)
@click.option(
    "--reference-labels", help="Label convention of REFERENCES.  [default: the one that their layout stands for]"
)
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap intervals.")
@click.option(
    "--panel-scans",
    type=GivenPath(),
    help="Also draw cases beside their references, as the paper does; the folder of scans to take FLAIR from.",
)
@click.option(
    "--panel-count",
    type=WholeNumber(min=1),
    default=4,
    show_default=True,
    help="Cases in the panel, from the lowest to the highest WT Dice.",
)
@click.option("--panel-case", "panel_cases", multiple=True, help="Case to show instead; may be given several times.")
@click.option(
    "--panel-predictions",
    type=GivenPath(),
    help="Other label maps to show, such as those without post-processing: they are also shown after each of the "
    "paper's two steps.",
)
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
def command(
    predictions: Path,
    references: Path,
    folder: Path,
    panel_scans: Path | None,
    panel_count: int,
    panel_cases: tuple[str, ...],
    panel_predictions: Path | None,
    overwrite: bool,
    **choices: str | int | None,
) -> None:
    """Score the label maps in PREDICTIONS against those in REFERENCES: Dice, sensitivity, specificity and HD95 of WT,
    TC and ET.

    Either is a folder of CASE_seg.nii.gz or CASE.nii.gz files, a BraTS tree, Decathlon Task01, or one file. Every
    reference case becomes a row: without a usable prediction it scores 0, and the exit code is 3.

    \b
    Examples:
      gliomask evaluate results/ cases/ -o scores/
      gliomask evaluate results/ cases/ -o scores/ --policy brats2023
      gliomask evaluate raw/ cases/ -o scores/ --panel-scans cases/ --panel-count 8
    """
    from rich.console import Console

    from gliomask.cli.progress import progress_bar
    from gliomask.errors import UsageError
    from gliomask.evaluate.panel import PANEL_FILE, panel_source, write_panel
    from gliomask.evaluate.results import describe, raise_without_scores, refuse_existing, write_evaluation
    from gliomask.evaluate.scoring import CaseResult, evaluate

    if panel_scans is None and (panel_cases or panel_predictions):
        raise UsageError("--panel-case and --panel-predictions say what the panel shows; give --panel-scans too.")
    refuse_existing(folder, overwrite, () if panel_scans is None else (PANEL_FILE,))
    source = None
    if panel_scans is not None:
        source = panel_source(
            predictions, references, panel_scans, cases=panel_cases, count=panel_count, shown=panel_predictions
        )
    started = time.perf_counter()
    with progress_bar(Console(stderr=True)) as progress:
        task = progress.add_task("scoring", total=None)

        def show(row: CaseResult, done: int, total: int) -> None:
            progress.update(task, description=f"scored {row.case_id}", completed=done, total=total)

        evaluation = evaluate(predictions, references, on_case=show, **choices)  # type: ignore[arg-type]
    write_evaluation(
        evaluation, folder, overwrite=overwrite, seconds={"score": round(time.perf_counter() - started, 2)}
    )
    echo(describe(evaluation))
    if source is not None:
        write_panel(evaluation, source, folder / PANEL_FILE)
    echo(
        f"Written to {folder}/: scores.tsv, summary.tsv, scores.json, boxplots.png"
        + (f", {PANEL_FILE}" if source else "")
    )
    raise_without_scores(evaluation)
