"""`gliomask segment`: one case or a folder of cases in, label maps with volumes, picture and run record out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gliomask.cli import options as shared
from gliomask.cli.kinds import GivenPath
from gliomask.cli.say import echo
from gliomask.imports import import_without
from gliomask.segmentation.options import NO_OTHER, Delivery, Options

if TYPE_CHECKING:
    from gliomask.cohort.here import OneRow
    from gliomask.cohort.progress import RunState
    from gliomask.cohort.rows import Result
    from gliomask.errors import GliomaskError, InputError
    from gliomask.io.brats import CaseFiles
    from gliomask.segmentation import Segmenter
    from gliomask.segmentation.source import Source
    from gliomask.sequences import Sequence

_PATH = GivenPath()


@click.command(cls=shared.GroupedCommand, short_help="Segment one case or a folder of cases.")
@click.argument("case", type=_PATH, required=False)
@shared.option(
    "-o",
    "--output",
    group="output",
    type=_PATH,
    required=True,
    help="Folder for the results; for one case also the label map's own name (.nii.gz).",
)
@shared.option("--flair", group="input", type=_PATH, help="FLAIR file; with --t1, --t1ce and --t2 instead of CASE.")
@shared.option("--t1", group="input", type=_PATH, help="T1 file, without contrast agent.")
@shared.option("--t1ce", group="input", type=_PATH, help="T1 file, with contrast agent.")
@shared.option("--t2", group="input", type=_PATH, help="T2 file.")
@shared.option(
    "--without",
    group="input",
    multiple=True,
    metavar="SEQUENCE",
    help="A sequence that the patient does not have; may be repeated. FLAIR or T1ce must be there.",
)
@shared.option(
    "--series",
    group="input",
    multiple=True,
    metavar="SEQUENCE=NUMBER",
    help="In DICOM, take this series for a sequence (number or UID), as in t1=4.",
)
@shared.options_of(Options)
@shared.options_of(Delivery)
@shared.option(
    "--resume",
    group="running",
    is_flag=True,
    help="Go on with a cohort: keep finished cases if scans, model and options are the same, do the others.",
)
@shared.option(
    "--profile",
    group="running",
    is_flag=True,
    help="Print and record what each stage takes: seconds, processor seconds, peak memory, work of the networks.",
)
def command(
    case: Path | None,
    output: Path,
    without: tuple[str, ...],
    series: tuple[str, ...],
    resume: bool,
    profile: bool,
    **values: Any,
) -> int:
    """Segment the tumour in CASE: a folder with the four sequences of one patient, a folder of such folders, Decathlon
    Task01, or DICOM files.

    \b
    Examples:
      gliomask segment BraTS2021_00000/ -o results/
      gliomask segment --flair f.nii.gz --t1 a.nii.gz --t1ce b.nii.gz --t2 c.nii.gz -o tumour.nii.gz
      gliomask segment cohort/ -o results/ --network dense --labels brats2023
      gliomask segment BraTS2021_00000/ -o results/ --report html,pdf
      gliomask segment scanner/ -o results/ --space flair --keep-images
      gliomask segment examination.zip -o results/ --series t1ce=9
      gliomask segment patient/ -o results/ --without t1 --network unet

    Scans that are co-registered, skull-stripped and at 1 mm, as BraTS prepares them, are segmented as they are, and the
    label map comes back in their grid. Others (different grids, skull on) are registered to each other and to BraTS and
    stripped first; the label map comes back in the grid of T1ce. Beside it are written volumes (TSV, JSON), a picture
    and a run record. Research software, not a medical device.
    """
    import_without("nibabel", "pydicom")
    from gliomask.errors import UsageError
    from gliomask.io.brats import read_ahead
    from gliomask.io.nifti import is_nifti_name
    from gliomask.segmentation.deliver import refuse_formats
    from gliomask.segmentation.source import FileSource
    from gliomask.sequences import parse_sequence

    options, delivery = shared.chosen(Options, values), shared.chosen(Delivery, values)
    if resume and (delivery.overwrite or is_nifti_name(output)):
        raise UsageError(
            "--resume goes on with a folder of results: it goes neither with --overwrite nor with -o FILE."
        )
    refuse_formats(delivery)
    explicit = {name: values[name] for name in ("flair", "t1", "t1ce", "t2") if values[name] is not None}
    absent = frozenset(map(parse_sequence, without))
    source: Source | None = _dicom(None if explicit else case, series, absent)
    cases = [] if source is not None else _cases(case, explicit, absent, output)
    if options.files and len(cases) > 1:
        name = "--brain-mask" if options.brain_mask is not None else "--transform"
        raise UsageError(f"{name} is one patient's; there are {len(cases)} cases. Give them one at a time.")
    if len(cases) == 1 and not isinstance(cases[0], tuple) and not resume:
        source = FileSource(cases[0])
        _refuse_before_reading(options, delivery, output, source)
        # Its scans are unpacked while the models are compiled.
        read_ahead(cases[0])
    if profile and source is None:
        raise UsageError("--profile measures one case; give a single one, without --resume.")
    with _profiled(profile), _opened(options) as segmenter:
        if source is not None:
            of_many = bool(cases) and _below(case, cases[0])
            return _segment_one(segmenter, source, output, delivery, resume=resume, of_many=of_many)
        return _segment_many(segmenter, cases, output, delivery, resume)


@contextmanager
def _profiled(wanted: bool) -> Iterator[None]:
    """Measures the run, where that is wanted, and prints what was found once all is written."""
    if not wanted:
        yield
        return
    from gliomask.profiling import profiling

    with profiling() as profile:
        yield
        echo(profile.text())


def _opened(options: Options) -> Segmenter:
    from gliomask.profiling import stage
    from gliomask.segmentation import Segmenter

    with stage("open models"):
        return Segmenter(options)


def _refuse_before_reading(options: Options, delivery: Delivery, output: Path, source: Source) -> None:
    """Refuses models that are not there and results that are, before the first scan is read.

    The segmenter and the writer refuse the same, and all else: reading begins before they are at work.
    """
    from gliomask.models.available import find_model
    from gliomask.results.layout import CaseLayout, refuse_results

    find_model(options.model)
    if options.ensemble_member not in (None, NO_OTHER):
        find_model(options.ensemble_member)
    inputs = (*source.inputs, *options.files)
    refuse_results(CaseLayout.of(output, source.name), source.name, inputs, overwrite=delivery.overwrite)


def _dicom(case: Path | None, series: tuple[str, ...], absent: frozenset[Sequence]) -> Source | None:
    """The source that DICOM files are; None where there are none."""
    from gliomask.errors import UsageError
    from gliomask.io.brats import holds_dicom

    if case is None or not case.exists() or not holds_dicom(case):
        if series:
            raise UsageError("--series names series of DICOM files, and there are none.")
        return None
    from gliomask.io.dicom.convert import parse_overrides
    from gliomask.segmentation.source import DicomSource

    return DicomSource(case, parse_overrides(series), absent)


def _cases(
    case: Path | None, explicit: Mapping[str, Path], absent: frozenset[Sequence], output: Path
) -> list[CaseFiles | tuple[str, InputError]]:
    from gliomask.errors import UsageError
    from gliomask.io.brats import explicit_case, survey
    from gliomask.io.nifti import is_nifti_name, stem
    from gliomask.sequences import Sequence

    if (case is None) == (not explicit):
        raise UsageError("Give either a CASE folder or the four files by --flair, --t1, --t1ce and --t2.")
    if case is None:
        name = stem(output).removesuffix("_seg") if is_nifti_name(output) else "case"
        return [explicit_case(name, {Sequence(key): path for key, path in explicit.items()}, without=absent)]
    surveyed = survey(case, without=absent)
    for note in surveyed.notes:
        echo(note, err=True)
    count = len(surveyed.cases) + len(surveyed.refused)
    if count == 1 and surveyed.refused:
        raise next(iter(surveyed.refused.values()))
    if count > 1 and is_nifti_name(output):
        raise UsageError(f"{case} holds {count} cases; -o must then be a folder, not {output}.")
    return [*surveyed.cases, *surveyed.refused.items()]


def _below(case: Path | None, files: CaseFiles | tuple[str, InputError]) -> bool:
    """Whether the folder that was given holds folders of cases, a single one this time."""
    if case is None or not case.is_dir() or isinstance(files, tuple):
        return False
    return all(not path.parent.samefile(case) for path in files.paths() if path.parent.exists())


def _row(output: Path, source: Source, of_many: bool) -> OneRow | None:
    """The row to be written: where the output folder has a table, or the case is one of a folder of cases."""
    from gliomask.cohort.place import TABLE
    from gliomask.io.nifti import is_nifti_name

    if is_nifti_name(output) or not (of_many or (output / TABLE).exists()):
        return None
    from gliomask.cohort.here import OneRow

    row = OneRow(output, source.name)
    row.refuse()
    return row


def _segment_one(
    segmenter: Segmenter,
    source: Source,
    output: Path,
    delivery: Delivery,
    *,
    resume: bool = False,
    of_many: bool = False,
) -> int:
    """Segments a case; `of_many`: it was found in a folder of cases, so there is a table of one row."""
    import time
    from contextlib import ExitStack

    from gliomask.cli.dicom import headers_read
    from gliomask.cli.progress import work_progress
    from gliomask.cli.result_text import show_result, show_written
    from gliomask.errors import GliomaskError, UsageError
    from gliomask.results.layout import CaseLayout
    from gliomask.results.row import KEPT
    from gliomask.segmentation.cases import Kept, segment_or_keep
    from gliomask.segmentation.source import FileSource

    if source.describe():
        echo(source.describe())
    row = _row(output, source, of_many)
    start = time.perf_counter()
    try:
        with ExitStack() as shown:
            headers = shown.enter_context(headers_read())
            progress = shown.enter_context(work_progress(source.name))
            result = segment_or_keep(
                segmenter, source, output, delivery, resume=resume, progress=progress, headers=headers
            )
    except GliomaskError as error:
        # A request that makes no sense says nothing of the case; the name of DICOM files may be the patient's.
        if row is not None and isinstance(source, FileSource) and not isinstance(error, UsageError):
            _note_failure(row, error, time.perf_counter() - start)
        raise
    if isinstance(result, Kept):
        echo(f"{result.case_id}: kept, {KEPT}")
    else:
        show_result(segmenter, result.outcome)
        show_written(CaseLayout.of(output, result.outcome.case_id))
    # Last, so that a table that cannot be written hides no result.
    if row is not None:
        row.done(result.record, kept=isinstance(result, Kept))
    return 0


def _note_failure(row: OneRow, error: GliomaskError, seconds: float) -> None:
    """Adds a failed case to the table; where that fails too, both are told, and the case's own error decides."""
    from gliomask.cohort.place import TABLE
    from gliomask.errors import GliomaskError

    try:
        row.failed(error, seconds)
    except (GliomaskError, OSError) as other:
        echo(f"Warning: {row.folder / TABLE} has no row of this failure: {other}", err=True)


def _segment_many(
    segmenter: Segmenter,
    cases: list[CaseFiles | tuple[str, InputError]],
    output: Path,
    delivery: Delivery,
    resume: bool,
) -> int:
    from gliomask.cli.account import show_row, show_summary
    from gliomask.cli.progress import cohort_progress
    from gliomask.cohort.here import FolderRun, segment_folder
    from gliomask.cohort.place import TABLE
    from gliomask.segmentation.source import FileSource

    sources: dict[str, Source | InputError] = {}
    for files in cases:
        echo(f"{files[0]}: cannot be used, see below" if isinstance(files, tuple) else files.describe())
        case, source = files if isinstance(files, tuple) else (files.case_id, FileSource(files))
        sources[case] = source
    with cohort_progress(len(cases)) as display:

        def show(result: Result, state: RunState) -> None:
            display.ended()
            show_row(result.row, state, kept=result.kept)

        summary = segment_folder(FolderRun(segmenter, output, delivery, resume, display.within), sources, show)
    show_summary(summary, output / TABLE, ["--resume keeps what is done and tries the others again."])
    return summary.exit_code
