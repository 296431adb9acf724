"""`gliomask summarise`: a cohort's results in; tables, a page to look through, a map of all tumours and comparisons
out.
"""

from __future__ import annotations

from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.options import overwrite
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
    from gliomask.evaluate.results import describe
    from gliomask.summary.write import Choices, summarise

    with progress_bar(Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=None)

        def show(case: str, done: int, total: int) -> None:
            progress.update(task, description=f"measured {case}", completed=done, total=total)

        choices = Choices(other, references, policy, features, parquet, frequency, overwrite)
        written = summarise(results, folder, choices, show)
    echo(
        f"{written.summary.done} cases done, {written.summary.failed} failed, {written.summary.waiting} waiting; "
        f"{len(written.outliers)} outliers."
    )
    for region, value in ({} if written.comparison is None else written.comparison.agreements).items():
        echo(
            f"{region.value}: the second run differs by {value.bias:+.2f} ml (95 % limits {value.low:+.2f} to "
            f"{value.high:+.2f}, {value.count} cases)"
        )
    for case, why in written.left_out.items():
        echo(f"{case}: left out of the map or the features: {why}", err=True)
    if written.evaluation is not None:
        echo(describe(written.evaluation))
    echo(
        f"Look through the cases: {folder / 'review.html'}. Tables: "
        f"{', '.join(path.name for path in written.files if path.suffix in ('.tsv', '.parquet'))}"
    )
