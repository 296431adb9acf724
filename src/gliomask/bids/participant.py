"""The participant level: each session segmented in a work folder, its results brought whole into the derivative dataset
under BIDS names.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Ordered
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from gliomask.bids.derivative import Derivatives, Piece, in_json
from gliomask.bids.filters import Filters
from gliomask.bids.layout import Dataset, Session, session_files
from gliomask.bids.output import describe_dataset, refuse_other_dataset, write_pieces
from gliomask.bids.records import (
    Request,
    compose,
    failure_path,
    kept_row,
    place_of,
    read_record,
    record_path,
    write_failure,
)
from gliomask.bids.thumbnail import thumbnail
from gliomask.errors import UsageError, message_of
from gliomask.files.atomic import temporary_folder
from gliomask.io.brats import CaseFiles
from gliomask.progress import Progress
from gliomask.report.provenance import InputFile
from gliomask.report.run_record import compose_record
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RECORD_VERSION, parse_record
from gliomask.results.row import CaseRow, row_of_record
from gliomask.results.write import held
from gliomask.segmentation import Segmenter
from gliomask.segmentation.deliver import record_fields, report_of, with_writing, write_results
from gliomask.segmentation.outcome import Outcome
from gliomask.segmentation.run import segment_source
from gliomask.segmentation.source import FileSource
from gliomask.sequences import Sequence

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParticipantPlan:
    """What is to be done at the participant level.

    Args:
        dataset: the input.
        output: the root of the derivative dataset.
        work: folder of intermediate results, which stay there; None for a temporary one.
        sessions: what to segment.
        filters: which file is which sequence.
        without: sequences that no participant has.
        request: what to write.
        overwrite: replace results that exist.
        resume: keep results that exist, where scans, model and options are the same.
    """

    dataset: Dataset
    output: Path
    work: Path | None
    sessions: Ordered[Session]
    filters: Filters
    without: frozenset[Sequence]
    request: Request
    overwrite: bool = False
    resume: bool = False

    def refuse_existing(self) -> None:
        """Raises UsageError, before any work, where the output is not gliomask's or a session is done that may not be
        replaced.
        """
        refuse_other_dataset(self.output)
        done = [session for session in self.sessions if (self.output / record_path(session)).exists()]
        if done and not (self.overwrite or self.resume):
            raise UsageError(
                f"{self.output}: {done[0].case_id} is done already ({len(done)} of {len(self.sessions)} are). Give "
                "--resume to keep what is done, "
                "--overwrite to replace it, or another output folder."
            )


@dataclass(frozen=True, eq=False)
class Participants:
    """The rows of all sessions, and the first error, whose exit code is the command's."""

    rows: tuple[CaseRow, ...]
    first_error: BaseException | None


def run_participants(
    plan: ParticipantPlan,
    segmenter: Segmenter,
    on_row: Callable[[CaseRow], None] = lambda row: None,
    progress: Progress = lambda done, total: None,
) -> Participants:
    """Segments sessions, one after the other; one that fails does not stop the others.

    Args:
        plan: what to do.
        segmenter: the model, opened once.
        on_row: called as each session ends.
        progress: within the brain at work.

    Returns:
        A row for each session, and the first error.

    Raises:
        UsageError: as `ParticipantPlan.refuse_existing`.
    """
    plan.refuse_existing()
    describe_dataset(plan.dataset, plan.output)
    rows: list[CaseRow] = []
    first_error: BaseException | None = None
    for session in plan.sessions:
        row, error = _one(plan, segmenter, session, progress)
        first_error = first_error or error
        rows.append(row)
        on_row(row)
    return Participants(tuple(rows), first_error)


def _one(
    plan: ParticipantPlan, segmenter: Segmenter, session: Session, progress: Progress
) -> tuple[CaseRow, Exception | None]:
    start = time.perf_counter()
    try:
        files = session_files(plan.dataset, session, plan.filters, plan.without)
        _log.info("%s", files.describe())
        kept = _kept_row(plan, segmenter, session, files) if plan.resume else None
        if kept is not None:
            return kept
        with _work_folder(plan, session) as work:
            row = _segment(plan, segmenter, session, files, work, progress)
        return replace(row, seconds=round(time.perf_counter() - start, 2)), None
    except Exception as error:
        failed = CaseRow(session.case_id, "failed", round(time.perf_counter() - start, 2), "", message_of(error))
        # As elsewhere in the derivative dataset, no folder of this machine is named.
        write_failure(
            plan.output,
            session,
            replace(failed, message=failed.message.replace(f"{plan.dataset.root}{os.sep}", "")),
            error,
        )
        return failed, error


@contextmanager
def _work_folder(plan: ParticipantPlan, session: Session) -> Iterator[Path]:
    if plan.work is not None:
        yield plan.work / session.case_id
        return
    with temporary_folder() as folder:
        yield folder


def _segment(
    plan: ParticipantPlan, segmenter: Segmenter, session: Session, files: CaseFiles, work: Path, progress: Progress
) -> CaseRow:
    """Segments a session into the work folder and brings its results into the derivative dataset."""
    earlier = read_record(plan.output, session)
    outcome = segment_source(segmenter, FileSource(files), progress=progress)
    start, delivery = time.perf_counter(), plan.request.delivery
    if delivery.strict:
        outcome.refuse_flagged()
    results = CaseLayout.of(work, session.case_id)
    with held(results.place(session.case_id)):
        # What an interrupted run left would be taken for a part of this one's.
        for path in results.all():
            path.unlink(missing_ok=True)
        digest = write_results(outcome, results, delivery)
        fields = {**compose_record("gliomask-bids", {}), **record_fields(outcome, delivery)}
        fields["seconds"] = with_writing(outcome, time.perf_counter() - start)
        request = plan.request.of(segmenter, files, plan.dataset.root)

        def record_of(outputs: dict[str, str]) -> bytes:
            return in_json(compose(fields, request, outputs))

        pieces = _pieces(plan, session, files, results, outcome, fields, digest)
        write_pieces(pieces, place_of(session, plan.output), record_of, (earlier.outputs or ()) if earlier else ())
    (plan.output / failure_path(session)).unlink(missing_ok=True)
    return row_of_record(parse_record({"record_version": RECORD_VERSION, "outputs": {}, **fields}, session.case_id))


def _kept_row(
    plan: ParticipantPlan, segmenter: Segmenter, session: Session, files: CaseFiles
) -> tuple[CaseRow, Exception | None] | None:
    try:
        record = read_record(plan.output, session)
        if record is None:
            return None
        return kept_row(record, plan.request.of(segmenter, files, plan.dataset.root), session, plan.output), None
    except UsageError as error:
        return CaseRow(session.case_id, "failed", 0.0, "", str(error)), error


def _pieces(
    plan: ParticipantPlan,
    session: Session,
    files: CaseFiles,
    results: CaseLayout,
    outcome: Outcome,
    fields: Mapping[str, Any],
    digest: str,
) -> Iterator[Piece]:
    """All files of a session but its run record."""
    derivatives = Derivatives(session, files, plan.dataset.root, outcome.space)
    yield from derivatives.pieces(results)
    yield Piece(
        PurePosixPath(session.folder.as_posix()) / "figures" / f"{session.case_id}_dseg.png",
        thumbnail(outcome.prediction),
    )
    label_map = InputFile("label map", derivatives.label_map_name, digest)
    report = report_of(outcome, fields, label_map, uncertainty=plan.request.delivery.uncertainty)
    for form in plan.request.reports:
        yield Piece(PurePosixPath(f"{session.case_id}.{form}"), report.content(form))
