"""`gliomask-bids`: the BIDS App; a BIDS dataset in, a BIDS derivative dataset out.

Also to be called as `gliomask bids`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gliomask import __version__
from gliomask.cli import options as shared
from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo
from gliomask.labels import convention
from gliomask.segmentation.options import Delivery, Options

if TYPE_CHECKING:
    from gliomask.bids.layout import Dataset, Session
    from gliomask.bids.participant import ParticipantPlan
    from gliomask.bids.records import Request
    from gliomask.results.row import CaseRow

NOT_FOR_DATASETS = ("engine", "patches", "patch_size", "stride", "bias_correction", "skip", "brain_mask", "transforms")
"""Options of `gliomask segment` that a BIDS App does not have: they are about one patient, or about trying out
networks.
"""

MANY = ("--participant-label", "--session-label", "--without", "--space")
"""Options that take several values in a row, as BIDS Apps have it."""


class BidsCommand(shared.SegmentingCommand):
    """A command that also understands how BIDS Apps are called: `--participant_label 01 02`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turns `--participant_label 01 02` into `--participant-label 01 --participant-label 02` before click looks at
        it.
        """
        return super().parse_args(ctx, list(spread(args)))


def spread(args: list[str]) -> list[str]:
    """Returns arguments with underscores in the names of options as hyphens, and each value of an option of `MANY` with
    the option before it.
    """
    words: list[str] = []
    many, first = "", False
    for arg in args:
        if arg.startswith("-"):
            name, equals, value = arg.partition("=")
            name = name.replace("_", "-") if name.startswith("--") else name
            many, first = (name, True) if name in MANY and not equals else ("", False)
            words.append(name + equals + value)
        elif many and not first:
            words += [many, arg]
        else:
            words.append(arg)
            first = False
    return words


@click.command(
    "gliomask-bids",
    cls=BidsCommand,
    short_help="Segment a BIDS dataset, as a BIDS App.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("bids_dir", type=GivenPath())
@click.argument("output_dir", type=GivenPath())
@click.argument("analysis_level", type=click.Choice(["participant", "group"]))
@click.option(
    "--participant-label",
    "participants",
    multiple=True,
    metavar="LABEL...",
    help="Participants, with or without sub-.  [default: all]",
)
@click.option(
    "--session-label",
    "sessions",
    multiple=True,
    metavar="LABEL...",
    help="Sessions, with or without ses-.  [default: all]",
)
@click.option(
    "-w",
    "--work-dir",
    type=GivenPath(),
    help="Folder for intermediate results, which stay there.  [default: a temporary one]",
)
@click.option(
    "--bids-filter-file",
    type=GivenPath(),
    help="JSON that says which image is which sequence where a session holds several.",
)
@click.option("--skip-bids-validator", is_flag=True, help="Do not check the dataset with the BIDS validator first.")
@click.option(
    "--without",
    multiple=True,
    metavar="SEQUENCE...",
    help="Sequences that no participant has. FLAIR or T1ce must be there.",
)
@click.option("--probseg", is_flag=True, help="Also write the probability of each label, 4-D.")
@click.option(
    "--report",
    default="html,pdf",
    show_default=True,
    metavar="FORMATS",
    help="Formats of the reports: html, pdf, json; or none.",
)
@shared.options_of(
    Options,
    leave_out=NOT_FOR_DATASETS,
    flags={"threads": ("--n-cpus", "--nthreads", "--threads"), "model": ("--model", "--network")},
)
@shared.options_of(Delivery, leave_out=("labels", "probabilities", "preview", "report", "keep_images", "deface"))
@click.option(
    "--resume",
    is_flag=True,
    help="Keep sessions that are done if scans, model and options are the same, do the others.",
)
@click.version_option(__version__, prog_name="gliomask-bids")
def command(
    bids_dir: Path,
    output_dir: Path,
    analysis_level: str,
    participants: tuple[str, ...],
    sessions: tuple[str, ...],
    work_dir: Path | None,
    bids_filter_file: Path | None,
    skip_bids_validator: bool,
    without: tuple[str, ...],
    probseg: bool,
    report: str,
    resume: bool,
    **values: Any,
) -> int:
    """Segment the gliomas of BIDS_DIR, a BIDS dataset, into OUTPUT_DIR, a BIDS derivative dataset.

    The ANALYSIS_LEVEL participant segments each session; the level group then makes a table and a page of all.

    \b
    Examples:
      gliomask-bids study/ study/derivatives/gliomask participant
      gliomask-bids study/ out/ participant --participant-label 01 02 -w /scratch/work --n-cpus 8
      gliomask bids study/ study/derivatives/gliomask group      (the same program)

    T1w without ce- is taken for T1, with ce- (ce-gadolinium) for T1ce, T2w for T2, FLAIR for FLAIR. Scans with the
    skull on are registered and stripped first. Nothing is fetched from the network. Research software, not a medical
    device.

    \b
    Exit codes: 0 done, 2 usage, 3 bad input, 4 model or validator missing or invalid, 5 limit exceeded,
    6 quality check failed, 1 unexpected, 130 interrupted. A participant that fails does not stop the others.
    """
    from gliomask.bids.layout import find_sessions, open_dataset
    from gliomask.bids.output import refuse_places
    from gliomask.errors import UsageError

    overwrite = bool(values["overwrite"])
    if resume and overwrite:
        raise UsageError("--resume keeps what is done, --overwrite replaces it. Leave one of the two out.")
    dataset = open_dataset(bids_dir)
    refuse_places(dataset.root, output_dir, work_dir)
    chosen = find_sessions(dataset, participants, sessions)
    if analysis_level == "group":
        return _group(dataset, output_dir, chosen, overwrite=overwrite or resume)
    plan = _plan(
        dataset, output_dir, chosen, work_dir, bids_filter_file, without, _request(values, report, probseg=probseg)
    )
    plan = replace(plan, overwrite=overwrite, resume=resume)
    plan.refuse_existing()
    asked = {session.subject for session in chosen} if participants else None
    _validate(dataset, asked, skip=skip_bids_validator)
    return _participants(plan, shared.chosen(Options, values))


def _plan(
    dataset: Dataset,
    output: Path,
    sessions: list[Session],
    work: Path | None,
    filters: Path | None,
    without: tuple[str, ...],
    request: Request,
) -> ParticipantPlan:
    """What the participant level is to do."""
    from gliomask.bids.filters import read_filters
    from gliomask.bids.participant import ParticipantPlan
    from gliomask.sequences import parse_sequence

    absent = frozenset(map(parse_sequence, without))
    return ParticipantPlan(dataset, output, work, sessions, read_filters(filters), absent, request)


def _request(values: dict[str, Any], report: str, *, probseg: bool) -> Request:
    """What is wanted of every session."""
    from gliomask.bids.layout import LABELS
    from gliomask.bids.records import Request
    from gliomask.results.reports import Reporting

    delivery = replace(
        shared.chosen(Delivery, values),
        labels=convention(LABELS),
        probabilities=probseg,
        preview=False,
        overwrite=False,
    )
    formats = () if report.strip().lower() == "none" else Reporting.of(report).formats
    return Request(delivery, formats)


def _validate(dataset: Dataset, participants: set[str] | None, *, skip: bool) -> None:
    from gliomask.bids.validate import refuse_invalid

    if skip:
        echo("The dataset was not validated, as asked.")
        return
    findings = refuse_invalid(dataset.root, participants)
    others = len(findings.elsewhere)
    aside = f"; {others} errors below participants that were not asked for" if others else ""
    echo(f"The BIDS validator found no error in {dataset.root} ({len(findings.warnings)} warnings{aside}).")


def _group(dataset: Dataset, output: Path, sessions: list[Session], *, overwrite: bool) -> int:
    from gliomask.bids.group import run_group

    result = run_group(
        str(dataset.description.get("Name") or "An unnamed dataset"), output, sessions, overwrite=overwrite
    )
    done = [member for member in result.members if member.status == "done"]
    for member in result.members:
        if member.status != "done":
            echo(f"{member.session.case_id}: {member.status}: {member.values['message']}", err=True)
    echo(
        f"{len(done)} of {len(result.members)} sessions done. Written: {', '.join(map(str, result.written))}. "
        "Research use only, not a medical device."
    )
    return 0


def _participants(plan: ParticipantPlan, options: Options) -> int:
    from gliomask.bids.participant import run_participants
    from gliomask.cli.account import show_row
    from gliomask.cli.progress import cohort_progress
    from gliomask.cohort.progress import Rate
    from gliomask.errors import exit_code_of
    from gliomask.results.row import KEPT
    from gliomask.segmentation import Segmenter

    with Segmenter(options) as segmenter, cohort_progress(len(plan.sessions)) as display:
        rate = Rate(len(plan.sessions))

        def show(row: CaseRow) -> None:
            display.ended()
            kept = row.message == KEPT
            show_row(row, rate.ended(kept=kept, failed=row.status == "failed"), kept=kept)

        result = run_participants(plan, segmenter, show, display.within)
    failed = [row.case for row in result.rows if row.status == "failed"]
    echo(
        f"{len(result.rows) - len(failed)} of {len(result.rows)} sessions done, in {plan.output}. Research use only, "
        "not a medical device."
    )
    if failed:
        echo(f"Failed: {', '.join(failed)}. Their records in {plan.output / 'logs'} say why.", err=True)
        return 1 if result.first_error is None else exit_code_of(result.first_error)
    return 0


def main() -> None:
    """Runs the BIDS App and exits."""
    from gliomask.cli.main import run

    sys.exit(run(sys.argv[1:], command))
