"""One case of a cohort, done with a model that stays open: the one place in this room that knows how a case is segmented."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gliomask.case_results import SegmentOne, Writing, wanted
from gliomask.cohort.index import Entry
from gliomask.cohort.rows import Row, row_of_record
from gliomask.cohort.settings import Asked, asked_sha256
from gliomask.engines.precision import choose_precision, pays
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.io.brats import CaseFiles, explicit_case
from gliomask.labels import convention
from gliomask.models.registry import load_model
from gliomask.raw_route import RawOptions, segment_any_to_files
from gliomask.report.run_record import input_hashes
from gliomask.reporting import Reporting, reporting_each
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RECORD_VERSION, RunRecord, read_record
from gliomask.results.resume import is_whole
from gliomask.results.write import recover
from gliomask.segmentation import Options, Segmenter
from gliomask.sequences import PAPER_ORDER, parse_sequence

_OPTIONS = {field.name: field.default for field in fields(Options) if field.name != "threads"}

DEFAULTS: Mapping[str, Any] = {
    **_OPTIONS,
    "labels": "brats2021",
    "probabilities": False,
    "uncertainty": False,
    "preview": True,
    "strict": False,
    "report": None,
    "raw": "auto",
    "skip": [],
    "spaces": [],
    "keep_images": False,
}
"""Every option that a cohort's results depend on, with its default; threads are no such option."""


def complete(asked: Asked) -> dict[str, Any]:
    """Returns options with the defaults of those that are not given.

    Raises:
        UsageError: there is no option of such a name, or one names something that does not exist.
    """
    unknown = sorted(set(asked) - set(DEFAULTS))
    if unknown:
        raise UsageError(f"Unknown options: {', '.join(unknown)}. Known ones: {', '.join(DEFAULTS)}.")
    values = {**DEFAULTS, **asked}
    convention(values["labels"])
    values["spaces"] = [parse_sequence(name).value for name in values["spaces"]]
    if values["report"] is not None:
        Reporting.of(values["report"])
    return values


def settled(asked: Asked, earlier: Asked | None = None) -> dict[str, Any]:
    """Returns complete options in which nothing is left to the processor: nodes of a cluster differ, and results must not.

    Args:
        asked: complete options.
        earlier: those of the cohort's last run; what was settled then stays settled.

    Raises:
        ModelError: the model cannot be used.
        UsageError: there is no such precision.
    """
    if asked["precision"] != "auto":
        return dict(asked)
    if earlier is not None and (earlier.get("model"), earlier.get("engine")) == (asked["model"], asked["engine"]):
        return {**asked, "precision": earlier.get("precision", "fp32")}
    offered = pays(asked["engine"]) and load_model(asked["model"]).int8 is not None
    return {**asked, "precision": choose_precision("auto", asked["engine"], offered=offered)}


@dataclass(frozen=True)
class Ended:
    """How a case ended that was not refused.

    Args:
        row: its row.
        kept: an earlier run had finished it with the same inputs, model and options, and its results are whole.
    """

    row: Row
    kept: bool


class Job:
    """Does cases, one after the other. Use it in a `with` statement: it holds an open model.

    Args:
        asked: options, see `DEFAULTS`.
        output: the folder in which each case has a folder of its own.
        threads: of the engine; None for all that the process may use.

    Raises:
        ModelError: the model cannot be used.
        UsageError: an option makes no sense.
    """

    def __init__(self, asked: Asked, output: Path, threads: int | None = None) -> None:
        values = complete(asked)
        self.output, self._sha256 = output, asked_sha256(asked)
        raw = RawOptions(values["raw"], tuple(values["skip"]), None, tuple(map(parse_sequence, values["spaces"])), values["keep_images"])
        labels = convention(values["labels"])
        writing = Writing(labels, values["probabilities"], values["preview"], True, values["strict"], values["uncertainty"], raw.asked())
        segment_one: SegmentOne = partial(segment_any_to_files, raw=raw)
        if values["report"] is not None:
            reporting = Reporting.of(values["report"], overwrite=True)
            segment_one = reporting_each(segment_one, reporting)
            writing = replace(writing, asked={**writing.asked, "report": list(reporting.formats)})
        self._writing, self._segment_one = writing, segment_one
        self._segmenter = Segmenter(Options(**{name: values[name] for name in _OPTIONS}, threads=threads))

    def __enter__(self) -> Self:
        self._segmenter.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._segmenter.__exit__(kind, error, trace)

    def do(self, entry: Entry) -> Ended:
        """Does a case, unless an earlier run has finished it; what an earlier run left of it otherwise is replaced.

        Raises:
            GliomaskError: the case cannot be done.
        """
        if entry.error:
            raise CaseError(entry.error)
        start = time.perf_counter()
        results = CaseLayout.of(self.output / entry.case, entry.case)
        files = self._files(entry, results)
        record, why = self._earlier(files, results)
        if record is None:
            self._segment_one(self._segmenter, files, results, self._writing, lambda done, total: None)
            record = read_record(results.record)
            if record is None:
                raise FileFormatError(f"{results.record}: vanished after it was written. Give the same command again.")
            row = self._row(record, results)
            return Ended(replace(row, seconds=round(time.perf_counter() - start, 2), message=why), kept=False)
        return Ended(self._row(record, results), kept=True)

    def _row(self, record: RunRecord, results: CaseLayout) -> Row:
        return row_of_record(record, results.label_map.relative_to(self.output).as_posix(), self._sha256)

    def _files(self, entry: Entry, results: CaseLayout) -> CaseFiles:
        """The scans of a case; those that DICOM files hold are written into the folder `scans` beside the results first."""
        if entry.dicom is None:
            return entry.case_files()
        from gliomask.io.dicom.convert import convert

        needed = [sequence for sequence in PAPER_ORDER if sequence not in entry.without]
        paths, _ = convert(entry.dicom, results.folder / "scans", needed=needed, overwrite=True)
        return explicit_case(entry.case, {sequence: paths[sequence] for sequence in needed}, without=entry.without)

    def _earlier(self, files: CaseFiles, results: CaseLayout) -> tuple[RunRecord | None, str]:
        """The record of results that may be kept; None and, where there were results, why they are made anew."""
        place = results.place(files.case_id)
        recover(place)
        try:
            record = read_record(place.record_path)
        except FileFormatError:
            return None, "done again: its run record was damaged"
        if record is None:
            return None, ""
        other = ["version"] if record.record_version < RECORD_VERSION else wanted(self._segmenter, self._writing, files.without).differences(record)
        if other:
            return None, f"done again: earlier with other {', '.join(other)}"
        if not is_whole(record, place.folder):
            return None, "done again: a result was gone or changed"
        if sorted(record.inputs.values()) != sorted(input_hashes(files.paths()).values()):
            return None, "done again: its scans have changed"
        return record, ""
