"""`gliomask summarise`: a cohort's results in; tables, a page to look through, a map of all tumours and comparisons
out.
"""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.options import GivenPath, overwrite
from gliomask.cli.say import echo


@click.command(short_help="Summarise a cohort: tables, a page, a map.")
@click.argument("results", type=GivenPath())
@click.option("-o", "--output", "folder", type=GivenPath(), required=True, help="Folder for the summary.")
@click.option(
    "--references",
    type=GivenPath(),
    help="Also score the label maps against these, as gliomask evaluate does, into OUTPUT/scores.",
)
@click.option("--policy", default="brats2020", show_default=True, help="With --references: what empty regions score.")
@click.option("--compare", "other", type=GivenPath(), help="Results of another run or model on the same cases.")
@click.option(
    "--features/--no-features",
    default=True,
    show_default=True,
    help="Shape and intensities of each region, by IBSI's definitions (extra summary).",
)
@click.option("--frequency/--no-frequency", default=True, show_default=True, help="The map of all tumours.")
@click.option("--parquet", is_flag=True, help="Also write tables as Parquet (extra summary).")
@overwrite
def command(
    results: Path,
    folder: Path,
    references: Path | None,
    policy: str,
    other: Path | None,
    features: bool,
    frequency: bool,
    parquet: bool,
    overwrite: bool,
) -> None:
    """Summarise RESULTS, the output folder of gliomask cohort or gliomask segment.

    \b
    Examples:
      gliomask summarise results/ -o summary/
      gliomask summarise results/ -o summary/ --references patients/
      gliomask summarise results/ -o summary/ --compare older-results/ --parquet

    OUTPUT/review.html shows volumes, outliers, failures and every case with its picture: accept, reject and note by
    keyboard, and save the decisions as a table. Research software, not a medical device.
    """
    from rich.console import Console

    from gliomask.cli.progress import progress_bar
    from gliomask.summary.write import Choices, summarise

    with progress_bar(Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=None)

        def show(case: str, done: int, total: int) -> None:
            progress.update(task, description=f"measured {case}", completed=done, total=total)

        found = summarise(results, folder, Choices(other, features, parquet, frequency, overwrite), show)
    echo(
        f"{found.summary.done} cases done, {found.summary.failed} failed, {found.summary.waiting} waiting; "
        f"{len(found.outliers)} outliers."
    )
    for region, value in ({} if found.comparison is None else found.comparison.agreements).items():
        echo(
            f"{region.value}: the second run differs by {value.bias:+.2f} ml (95 % limits {value.low:+.2f} to "
            f"{value.high:+.2f}, {value.count} cases)"
        )
    for case, why in found.left_out.items():
        echo(f"{case}: left out of the map or the features: {why}", err=True)
    if references is not None:
        _score(results, references, folder / "scores", policy, overwrite=overwrite)
    echo(
        f"Look through the cases: {folder / 'review.html'}. Tables: "
        f"{', '.join(path.name for path in found.files if path.suffix in ('.tsv', '.parquet'))}"
    )


def _score(results: Path, references: Path, folder: Path, policy: str, *, overwrite: bool) -> None:
    from gliomask.evaluate.results import describe, refuse_existing, write_evaluation
    from gliomask.evaluate.scoring import evaluate
    from gliomask.summary.cases import conventions_of

    refuse_existing(folder, overwrite)
    evaluation = evaluate(results, references, policy=policy, labels=conventions_of(results))
    write_evaluation(evaluation, folder, overwrite=overwrite)
    echo(describe(evaluation))
