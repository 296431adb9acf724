"""`gliomask simulate`: nothing in, labelled synthetic patients in BraTS layout out."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo


@click.command(short_help="Make labelled synthetic patients.")
@click.option("-n", "--count", type=int, default=1, show_default=True, help="Number of patients.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=GivenPath(),
    required=True,
    help="Folder for the patients and the run record.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same files.")
@click.option(
    "--grade",
    type=click.Choice(["mixed", "high", "low"]),
    default="mixed",
    show_default=True,
    help="Low-grade tumours enhance little or not at all.",
)
@click.option(
    "--shape",
    "size",
    type=click.Choice(["full", "small"]),
    default="full",
    show_default=True,
    help="full: 240x240x155 at 1 mm; small: 64x72x40, coarser, for tests.",
)
@click.option("--overwrite", is_flag=True, help="Replace patients that exist.")
def command(count: int, folder: Path, seed: int, grade: str, size: str, overwrite: bool) -> None:
    """Make synthetic patients with a glioma: four sequences and the label map, in BraTS layout, for tests,
    demonstrations and benchmarks.

    \b
    Example:
      gliomask simulate -n 20 -o synthetic/ --seed 7
      gliomask segment synthetic/ -o results/
      gliomask evaluate results/ synthetic/ -o scores/

    Needs the extra simulate (pip install 'gliomask[simulate]'), whose tissue maps are deformed for each patient. No
    patient's data are used.
    """
    from rich.console import Console

    from gliomask.cli.progress import progress_bar
    from gliomask.report.run_record import write_record
    from gliomask.simulate.atlas import atlas_record
    from gliomask.simulate.write import RECORD_NAME, write_patients

    started = time.perf_counter()
    with progress_bar(Console(stderr=True)) as progress:
        task = progress.add_task("simulating", total=count)

        def show(case_id: str, done: int, total: int) -> None:
            progress.update(task, description=f"made {case_id}", completed=done, total=total)

        patients = write_patients(folder, count, seed, grade, size, overwrite=overwrite, report=show)
    options = {"count": count, "seed": seed, "grade": grade, "shape": size}
    seconds = {"total": round(time.perf_counter() - started, 2)}
    write_record(
        folder / RECORD_NAME,
        "simulate",
        {"options": options, "seconds": seconds, **atlas_record(), "patients": patients},
    )
    echo(f"Done: {folder}: {count} synthetic patient{'s' if count > 1 else ''}")
