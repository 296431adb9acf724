"""`gliomask segment`: one case or a folder of cases in, label maps with volumes, picture and run record out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gliomask.cli import options as shared

if TYPE_CHECKING:
    from gliomask.case_results import Row, SegmentOne, Writing
    from gliomask.errors import InputError
    from gliomask.io.brats import CaseFiles
    from gliomask.raw_route import Mode, RawOptions
    from gliomask.segmentation import Segmentation, Segmenter

_FILE = click.Path(path_type=Path)


class OutputPath(click.Path):
    """A place for results; an empty one is refused, since it would be the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuses what is empty."""
        if not str(value).strip():
            self.fail("is empty. Name a folder for the results; the working folder is '.'.", param, ctx)
        return super().convert(value, param, ctx)


@click.command(short_help="Segment one case or a folder of cases.")
@click.argument("case", type=_FILE, required=False)
@click.option(
    "-o", "--output", type=OutputPath(path_type=Path), required=True, help="Folder for the results; for one case also the label map's own name (.nii.gz)."
)
@click.option("--flair", type=_FILE, help="FLAIR file; with --t1, --t1ce and --t2 instead of CASE.")
@click.option("--t1", type=_FILE, help="T1 file, without contrast agent.")
@click.option("--t1ce", type=_FILE, help="T1 file, with contrast agent.")
@click.option("--t2", type=_FILE, help="T2 file.")
@click.option("--without", multiple=True, metavar="SEQUENCE", help="A sequence that the patient does not have; may be repeated. FLAIR or T1ce must be there.")
@click.option("--network", "--model", "model", help="A network of the paper (sparse, input-sparse, dense), a shipped model, or a model folder.")
@click.option("--engine", type=click.Choice(["openvino", "onnxruntime", "keras"]), default="openvino", show_default=True, help="What runs the network.")
@click.option("--patches", type=click.Choice(["whole", "adjacent", "overlapping"]), default="whole", show_default=True, help="How slices are cut.")
@click.option("--patch-size", type=int, default=64, show_default=True, help="Side of a patch, pixels.")
@click.option("--stride", type=int, help="Distance between overlapping patches.  [default: the paper's half-patch offset]")
@shared.postprocess
@click.option(
    "--n4",
    "bias_correction",
    is_flag=True,
    help="Correct the bias field first: for networks trained so, the shipped ones do worse with it (needs the extra n4; adds a minute).",
)
@click.option("--labels", default="brats2021", show_default=True, help="brats2021 writes 4 for enhancing tumour, brats2023 writes 3.")
@click.option("--probabilities", is_flag=True, help="Also write the probability of each label, 4-D.")
@click.option(
    "--uncertainty", is_flag=True, help="Also write how unsure the network is of each voxel (entropy); with --flips also how far mirror images disagree."
)
@shared.flips
@shared.second_opinion
@shared.core_rule
@shared.keep_uncertain_enhancement
@shared.single_plane
@shared.precision
@click.option("--no-preview", is_flag=True, help="Do not draw the picture.")
@click.option("--report", "report", metavar="FORMATS", help="Also write the report: html, pdf, json; several separated by commas.")
@shared.threads("--threads")
@shared.strict
@shared.overwrite
@click.option("--resume", is_flag=True, help="Go on with a cohort: keep finished cases if scans, model and options are the same, do the others.")
@shared.raw_mode
@click.option("--skip", default="", metavar="STEPS", help="Steps of the raw route to leave out, with commas: coregister, frame, mask.")
@click.option("--brain-mask", type=_FILE, help="Brain mask on the grid of one of the sequences, for raw scans.")
@click.option("--space", "spaces", multiple=True, metavar="SEQUENCE", help="Also write a raw case's label map in this sequence's grid; may be repeated.")
@click.option("--series", multiple=True, metavar="SEQUENCE=NUMBER", help="In DICOM, take this series for a sequence (number or UID), as in t1=4.")
@click.option("--keep-images", is_flag=True, help="Also write a raw case's sequences in the frame of BraTS.")
def command(
    case: Path | None,
    output: Path,
    flair: Path | None,
    t1: Path | None,
    t1ce: Path | None,
    t2: Path | None,
    without: tuple[str, ...],
    model: str | None,
    labels: str,
    probabilities: bool,
    uncertainty: bool,
    no_preview: bool,
    report: str | None,
    strict: bool,
    overwrite: bool,
    resume: bool,
    raw_mode: Mode,
    skip: str,
    brain_mask: Path | None,
    spaces: tuple[str, ...],
    series: tuple[str, ...],
    keep_images: bool,
    **options: object,
) -> int:
    """Segment the tumour in CASE: a folder with the four sequences of one patient, a folder of such folders, Decathlon Task01, or DICOM files.

    \b
    Examples:
      gliomask segment BraTS2021_00000/ -o results/
      gliomask segment --flair f.nii.gz --t1 a.nii.gz --t1ce b.nii.gz --t2 c.nii.gz -o tumour.nii.gz
      gliomask segment cohort/ -o results/ --network dense --labels brats2023
      gliomask segment BraTS2021_00000/ -o results/ --report html,pdf
      gliomask segment scanner/ -o results/ --space flair --keep-images
      gliomask segment examination.zip -o results/ --series t1ce=9
      gliomask segment patient/ -o results/ --without t1 --network unet

    Scans that are co-registered, skull-stripped and at 1 mm, as BraTS prepares them, are segmented as they are, and the label map comes back in their grid.
    Others (different grids, skull on) are registered to each other and to BraTS and stripped first; the label map comes back in the grid of T1ce.
    Beside it are written volumes (TSV, JSON), a picture and a run record. Research software, not a medical device.
    """
    from dataclasses import replace

    from gliomask.case_results import Writing
    from gliomask.errors import UsageError
    from gliomask.io.nifti import is_nifti_name
    from gliomask.labels import convention
    from gliomask.models.registry import DEFAULT_MODEL
    from gliomask.segmentation import Options, Segmenter

    if resume and (overwrite or is_nifti_name(output)):
        raise UsageError("--resume goes on with a folder of results: it goes neither with --overwrite nor with -o FILE.")
    writing = Writing(convention(labels), probabilities, not no_preview, overwrite, strict, uncertainty)
    explicit = {name: path for name, path in {"flair": flair, "t1": t1, "t1ce": t1ce, "t2": t2}.items() if path is not None}
    cases = _dicom_case(None if explicit else case, series, without, output, overwrite or resume) or _cases(case, explicit, without, output)
    raw = _raw_options(raw_mode, skip, brain_mask, spaces, keep_images, len(cases))
    writing = replace(writing, asked=raw.asked())
    segment_one = _way(raw, report, overwrite)
    with Segmenter(Options(model=model or DEFAULT_MODEL, **options)) as segmenter:  # type: ignore[arg-type]
        if len(cases) == 1 and not isinstance(cases[0], tuple) and not resume:
            _segment_one(segmenter, cases[0], output, writing, segment_one)
            return 0
        return _segment_many(segmenter, cases, output, writing, segment_one, resume)


def _way(raw: RawOptions, report: str | None, overwrite: bool) -> SegmentOne:
    """How each case is segmented: raw or prepared, with its report or without."""
    from functools import partial

    from gliomask.raw_route import segment_any_to_files

    segment_one: SegmentOne = partial(segment_any_to_files, raw=raw, tell=click.echo)
    if report is None:
        return segment_one
    from gliomask.reporting import Reporting, reporting_each

    return reporting_each(segment_one, Reporting.of(report, overwrite=overwrite))


def _dicom_case(
    case: Path | None, series: tuple[str, ...], without: tuple[str, ...], output: Path, overwrite: bool
) -> list[CaseFiles | tuple[str, InputError]]:
    """The case that DICOM files hold, its sequences written into the folder `scans` beside the results; none where there are no DICOM files."""
    from gliomask.errors import UsageError
    from gliomask.io.brats import explicit_case, holds_dicom
    from gliomask.io.nifti import is_nifti_name, stem
    from gliomask.sequences import PAPER_ORDER, parse_sequence, refuse_too_few

    if case is None or not holds_dicom(case):
        if series:
            raise UsageError("--series names series of DICOM files, and there are none.")
        return []
    from gliomask.cli.dicom import converted

    absent = frozenset(map(parse_sequence, without))
    refuse_too_few(absent)
    folder = (output.parent if is_nifti_name(output) else output) / "scans"
    paths = converted(case, folder, series, needed=[sequence for sequence in PAPER_ORDER if sequence not in absent], overwrite=overwrite)
    name = stem(next(iter(paths.values()))).rpartition("_")[0]
    return [explicit_case(name, {sequence: path for sequence, path in paths.items() if sequence not in absent}, without=absent)]


def _cases(case: Path | None, explicit: dict[str, Path], without: tuple[str, ...], output: Path) -> list[CaseFiles | tuple[str, InputError]]:
    from gliomask.errors import UsageError, printable
    from gliomask.io.brats import explicit_case, survey
    from gliomask.io.nifti import is_nifti_name, stem
    from gliomask.sequences import Sequence, parse_sequence

    absent = frozenset(map(parse_sequence, without))
    if (case is None) == (not explicit):
        raise UsageError("Give either a CASE folder or the four files by --flair, --t1, --t1ce and --t2.")
    if case is None:
        name = stem(output).removesuffix("_seg") if is_nifti_name(output) else "case"
        return [explicit_case(name, {Sequence(key): path for key, path in explicit.items()}, without=absent)]
    found = survey(case, without=absent)
    for note in found.notes:
        click.echo(printable(note), err=True)
    count = len(found.cases) + len(found.refused)
    if count == 1 and found.refused:
        raise next(iter(found.refused.values()))
    if count > 1 and is_nifti_name(output):
        raise UsageError(f"{case} holds {count} cases; -o must then be a folder, not {output}.")
    return [*found.cases, *found.refused.items()]


def _raw_options(mode: Mode, skip: str, brain_mask: Path | None, spaces: tuple[str, ...], keep_images: bool, cases: int) -> RawOptions:
    from gliomask.errors import UsageError
    from gliomask.raw_route import RawOptions
    from gliomask.sequences import parse_sequence

    if brain_mask is not None and cases > 1:
        raise UsageError(f"--brain-mask is one patient's; there are {cases} cases. Give them one at a time.")
    return RawOptions(mode, tuple(name.strip() for name in skip.split(",") if name.strip()), brain_mask, tuple(map(parse_sequence, spaces)), keep_images)


def _segment_one(segmenter: Segmenter, files: CaseFiles, output: Path, writing: Writing, segment_one: SegmentOne) -> None:
    from gliomask.case_results import exceptions
    from gliomask.cli.progress import brain_progress
    from gliomask.report.provenance import exceptions_in_words
    from gliomask.results.layout import CaseLayout

    results = CaseLayout.of(output, files.case_id)
    click.echo(files.describe())
    with brain_progress(files.case_id) as progress:
        result = segment_one(segmenter, files, results, writing, progress)
    _warn(files.case_id, result)
    if segmenter.second is not None and len(result.models) == 1:
        name = segmenter.second.model.spec.name
        click.echo(f"Without the second opinion of {name}, which cannot do without {', '.join(sorted(result.case.without))}.")
    for line in exceptions_in_words(exceptions(result)):
        click.echo(line)
    click.echo(results.volumes_tsv.read_text().rstrip())
    for region, estimate in result.estimates.items():
        click.echo(f"Expected Dice of {region}: {estimate.dice:.2f} (80 % interval {estimate.low:.2f} to {estimate.high:.2f})")
    click.echo(f"Written to {results.label_map} and beside it. Research use only, not a medical device.")


def _segment_many(
    segmenter: Segmenter, cases: list[CaseFiles | tuple[str, InputError]], output: Path, writing: Writing, segment_one: SegmentOne, resume: bool
) -> int:
    from gliomask.case_results import KEPT, segment_cohort

    def tell(row: Row) -> None:
        done.append(row)
        words = f"WT {row.wt_ml:.1f} ml, TC {row.tc_ml:.1f} ml, ET {row.et_ml:.1f} ml" if row.wt_ml is not None else row.message
        flags = f"  flags: {row.flags}" if row.flags else ""
        how = "kept, finished by an earlier run" if row.message == KEPT else f"{row.status} in {row.seconds:.1f} s"
        click.echo(f"[{len(done)}/{len(cases)}] {row.case}: {how}  {words}{flags}", err=row.status == "failed")

    done: list[Row] = []
    for files in cases:
        click.echo(f"{files[0]}: cannot be used, see below" if isinstance(files, tuple) else files.describe())
    result = segment_cohort(segmenter, cases, output, writing, tell, segment_one=segment_one, resume=resume)
    failed = [row.case for row in result.rows if row.status == "failed"]
    click.echo(f"{len(result.rows) - len(failed)} of {len(result.rows)} cases done; table: {output / 'cohort.tsv'}")
    if failed:
        click.echo(f"Failed: {', '.join(failed)}. The table says why.", err=True)
        return int(getattr(result.first_error, "exit_code", 1))
    return 0


def _warn(case_id: str, result: Segmentation) -> None:
    for flag in result.flags:
        click.echo(f"Warning: {case_id}: {flag.message}", err=True)
