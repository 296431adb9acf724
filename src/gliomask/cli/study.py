"""`gliomask study`: a table of experiments, cross-validated and compared, written up as tables, pictures and a page."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo

_PATH = GivenPath()


@click.command(short_help="Cross-validate and compare a table of experiments.")
@click.argument("data", type=_PATH, required=False)
@click.option(
    "-o", "--output", type=_PATH, help="Folder of the study. If it holds a part of the same study, that goes on."
)
@click.option(
    "--folds", "fold_table", type=_PATH, help="Table (CSV, TSV) with the columns case and fold; needed to begin."
)
@click.option(
    "--config", "config_file", type=_PATH, help="YAML file that declares the study.  [default: the paper's comparisons]"
)
@click.option("--show-config", is_flag=True, help="Print the study's declaration with every field explained, and stop.")
@click.option("--status", is_flag=True, help="Print how far each experiment and fold is, and stop; DATA is not needed.")
@click.option(
    "--only", multiple=True, metavar="NAME", help="Work on this experiment alone; may be given several times."
)
@click.option("--jobs", type=WholeNumber(min=1), default=1, show_default=True, help="Steps at once, each in a process.")
@click.option(
    "--threads", type=WholeNumber(min=1), help="CPU threads of each step.  [default: all, or 1 with --jobs above 1]"
)
@click.option(
    "--backend",
    type=click.Choice(["tensorflow", "jax"]),
    default="tensorflow",
    show_default=True,
    help="What Keras runs on.",
)
@click.option("--task", hidden=True, help="Do one step in this process; it ends when its input does.")
def command(
    data: Path | None,
    output: Path | None,
    fold_table: Path | None,
    config_file: Path | None,
    show_config: bool,
    status: bool,
    only: tuple[str, ...],
    jobs: int,
    threads: int | None,
    backend: str,
    task: str | None,
) -> int | None:
    """Train, predict and score every experiment of a study on the labelled cases in DATA, fold by fold, and compare
    them.

    \b
    Examples:
      gliomask study cases/ --folds folds.csv -o study/ --config study.yaml --jobs 2
      gliomask study -o study/ --status
      gliomask study --show-config > study.yaml

    What is finished is never done again: after a kill, or with more experiments or folds declared, the same command
    goes on. The folder's page, study.md, is written after every row and says what is missing.
    """
    if show_config:
        from gliomask.study.config import describe_study
        from gliomask.study.read import read_study

        echo(describe_study(read_study(config_file)), nl=False)
        return None
    if output is None or (data is None and not status):
        raise click.UsageError(
            "DATA and -o are needed: the labelled cases, and the folder of the study.", click.get_current_context()
        )
    if task is not None and data is not None:
        _do_task(data, output, task, threads, backend)
        return None
    from gliomask.study.run import StudySettings, open_study, run_study

    plan = open_study(output, data, fold_table, config_file)
    if status or data is None:
        from gliomask.study.folder import StudyFolder
        from gliomask.study.results import Results

        echo(Results.read(StudyFolder(output), plan).describe())
        return None
    from gliomask.cli.progress import StudyDisplay

    outcome = run_study(plan, data, output, StudySettings(jobs, threads, backend), StudyDisplay(), only=only)
    echo(
        f"Written to {output}/: study.md, tables/, figures/, study_run.json. {len(outcome.seconds)} steps done, "
        f"{len(outcome.failed)} failed."
    )
    return outcome.exit_code


def _do_task(data: Path, output: Path, task: str, threads: int | None, backend: str) -> None:
    """One step, as the study starts it in a process of its own."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    from gliomask.study.folder import StudyFolder
    from gliomask.study.plan import Task
    from gliomask.study.run import open_study
    from gliomask.study.work import do_task

    plan = open_study(output, data, None, None)
    do_task(
        StudyFolder(output),
        plan,
        Task.parse(task),
        data,
        threads=threads,
        backend=backend,
        tell=lambda line: echo(line, err=True),
    )


def _end_with_input() -> None:
    # The study holds the other end. Whatever ends it closes that; all files are written whole, so this may end at any
    # time too. Read without Python's buffer: its lock, held by a thread, would bring down an interpreter that is about
    # to end.
    os.read(sys.stdin.fileno(), 1)
    os._exit(130)
