"""What `logs/` of the derivative dataset says of each session: the run record of a finished one, the reason of a failed
one.

A record is written last, so a session with a record is complete. It names scans by BIDS URIs, never by the folders of a
machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gliomask.bids.derivative import in_json, uri
from gliomask.bids.layout import Session
from gliomask.bids.session_record import FailureRecord, SessionRecord, read_as
from gliomask.errors import UsageError
from gliomask.io.brats import CaseFiles
from gliomask.io.nifti import write_bytes
from gliomask.report.run_record import compose_record, input_hashes
from gliomask.results.layout import REPORT_FORMATS
from gliomask.results.record import RECORD_VERSION
from gliomask.results.resume import NO_RESULT_DEPENDS_ON, damaged, refuse_corrected
from gliomask.results.row import KEPT, CaseRow
from gliomask.results.write import Place
from gliomask.segmentation import Delivery, Segmenter
from gliomask.segmentation.outcome import asked_of

LOGS = PurePosixPath("logs")


def record_path(session: Session) -> PurePosixPath:
    """Where the run record of a session lies."""
    return LOGS / f"{session.case_id}_run.json"


def failure_path(session: Session) -> PurePosixPath:
    """Where the reason lies why a session could not be done."""
    return LOGS / f"{session.case_id}_failed.json"


@dataclass(frozen=True)
class Request:
    """What is asked for, for every session alike.

    Args:
        delivery: maps, spaces and strictness; its label convention is `layout.LABELS`.
        reports: formats of the report.
    """

    delivery: Delivery
    reports: tuple[str, ...]

    def of(self, segmenter: Segmenter, files: CaseFiles, root: Path) -> dict[str, Any]:
        """Returns what the result of a session depends on, in plain values: with the same of an earlier run, its result
        can be kept.
        """
        asked = asked_of(segmenter)
        options = {name: value for name, value in asked.options.items() if name not in NO_RESULT_DEPENDS_ON}
        return {
            "inputs": {uri(Path(path), root): digest for path, digest in input_hashes(files.paths()).items()},
            "sequences": {sequence.value: uri(files.sequences[sequence], root) for sequence in files.used()},
            "without": sorted(files.without),
            "model": asked.model[1],
            "second_opinion": None if asked.second is None else asked.second[1],
            "options": options,
            "spaces": sorted(self.delivery.spaces),
            "probseg": self.delivery.probabilities,
            "uncertainty": self.delivery.uncertainty,
            "reports": sorted(self.reports),
        }


def compose(fields: Mapping[str, Any], request: Mapping[str, Any], outputs: Mapping[str, str]) -> dict[str, Any]:
    """Returns the run record of a session: the fields of a segmentation, with URIs for paths, the request and the files
    that were written.
    """
    values = {
        **fields,
        "record_version": RECORD_VERSION,
        "inputs": request["inputs"],
        "sequences": request["sequences"],
        "request": dict(request),
        "outputs": dict(outputs),
    }
    return SessionRecord.model_validate(values).plain()


def place_of(session: Session, output: Path) -> Place:
    """Where the results of a session are written.

    Its own are files below its folder or, called after it, at the root; no other is ever removed.
    """
    folder, case_id = PurePosixPath(session.folder.as_posix()), session.case_id
    pages = {PurePosixPath(f"{case_id}.{form}") for form in REPORT_FORMATS}

    def owns(name: PurePosixPath) -> bool:
        below = name.parts[: len(folder.parts)] == folder.parts and name.parts[len(folder.parts) : -1] in (
            ("anat",),
            ("figures",),
        )
        return name in pages or (below and name.name.startswith(f"{case_id}_"))

    return Place(output, case_id, record_path(session), owns)


def read_record(output: Path, session: Session) -> SessionRecord | None:
    """Returns the run record of a session; None where there is none.

    Raises:
        UsageError: there is a file, but it is no record, or one of an earlier version.
    """
    return read_as(SessionRecord, output / record_path(session))


def read_failure(output: Path, session: Session) -> FailureRecord | None:
    """Returns the reason why a session could not be done; None where there is none. Raises as `read_record`."""
    return read_as(FailureRecord, output / failure_path(session))


def row_of(session: Session, record: SessionRecord, message: str = KEPT) -> CaseRow:
    """Returns the row of a finished session."""
    regions = {} if record.volumes is None else record.volumes.regions
    amounts = {f"{region.value.lower()}_ml": amount.volume_ml for region, amount in regions.items()}
    flags = " ".join(flag.name for flag in record.quality_flags)
    return CaseRow(session.case_id, "done", 0.0, flags, message, **amounts)


def kept_row(record: SessionRecord, request: Mapping[str, Any], session: Session, output: Path) -> CaseRow:
    """Returns the row of a session that an earlier run has finished.

    Raises:
        UsageError: it was finished with other scans, another model or other options, or files are gone.
    """
    changed = [name for name, value in request.items() if record.request.get(name) != value]
    gone = damaged(record.outputs or {}, output)
    if gone and not changed:
        refuse_corrected(gone, output)
    if changed or gone:
        why = f"with other {', '.join(changed)}" if changed else f"but {gone[0]} is gone or changed"
        raise UsageError(
            f"{session.case_id} was finished earlier {why}, so --resume cannot keep it. Give --overwrite in place of "
            "--resume, or another output folder."
        )
    return row_of(session, record)


def write_failure(output: Path, session: Session, row: CaseRow, error: Exception) -> None:
    """Writes down why a session could not be done; a later success removes it."""
    path = output / failure_path(session)
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {
        "case": session.case_id,
        "error": type(error).__name__,
        "message": row.message,
        "seconds": {"total": row.seconds},
    }
    record = FailureRecord.model_validate(compose_record("gliomask-bids", fields))
    write_bytes(path, in_json(record.model_dump(mode="json")))
