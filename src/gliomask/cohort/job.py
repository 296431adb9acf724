"""One case of a cohort, done with a model that stays open: the one module of this package that knows how a case is
segmented.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gliomask.cohort.index import Entry
from gliomask.cohort.rows import CohortRow, Result, row_of_record
from gliomask.cohort.settings import Asked, asked_sha256
from gliomask.engines.precision import choose_precision, pays
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.labels import convention
from gliomask.models.registry import load_model
from gliomask.results.layout import CaseLayout, report_formats
from gliomask.results.record import RECORD_VERSION, RunRecord, read_record
from gliomask.results.resume import damaged, refuse_corrected, same_inputs
from gliomask.results.write import recover
from gliomask.segmentation.cases import segment_or_keep, wanted
from gliomask.segmentation.deliver import refuse_formats
from gliomask.segmentation.options import Delivery, Options, default_of, described
from gliomask.segmentation.segmenter import Segmenter
from gliomask.segmentation.source import DicomSource, FileSource, Source
from gliomask.sequences import parse_sequence

OF_RUNNING = frozenset({"threads", "max_memory_mb", "brain_mask", "transforms", "overwrite"})
"""Options that are the runner's, or one patient's."""


def _defaults(options: type) -> dict[str, Any]:
    """The defaults of an options class, in plain values."""
    defaults = {
        name: default_of(default) for name, (default, _) in described(options).items() if name not in OF_RUNNING
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


_OPTIONS, _DELIVERY = _defaults(Options), _defaults(Delivery)

DEFAULTS: Mapping[str, Any] = {**_OPTIONS, **_DELIVERY, "labels": _DELIVERY["labels"].name, "report": None}
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
        report_formats(values["report"])
    return values


def settled(asked: Asked, earlier: Asked | None = None) -> dict[str, Any]:
    """Returns complete options in which nothing is left to the processor: nodes of a cluster differ, and results must
    not.

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


class CohortJob:
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
        written = {name: values[name] for name in _DELIVERY}
        self._delivery = Delivery(**written | {"report": values["report"] or (), "overwrite": True})
        refuse_formats(self._delivery)
        self._segmenter = Segmenter(Options(**{name: values[name] for name in _OPTIONS}, threads=threads))

    def __enter__(self) -> Self:
        self._segmenter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._segmenter.__exit__(kind, error, trace)

    def do(self, entry: Entry) -> Result:
        """Does a case, unless an earlier run has finished it; what an earlier run left of it otherwise is replaced.

        Raises:
            GliomaskError: the case cannot be done.
        """
        if entry.error:
            raise CaseError(entry.error)
        start = time.perf_counter()
        results = CaseLayout.of(self.output / entry.case, entry.case)
        source = _source(entry)
        record, why = self._earlier(entry, source, results)
        if record is None:
            done = segment_or_keep(self._segmenter, source, results, self._delivery)
            row = self._row(done.record, results)
            return Result(replace(row, seconds=round(time.perf_counter() - start, 2), message=why), kept=False)
        return Result(self._row(record, results), kept=True)

    def _row(self, record: RunRecord, results: CaseLayout) -> CohortRow:
        return row_of_record(record, results.label_map.relative_to(self.output).as_posix(), self._sha256)

    def _earlier(self, entry: Entry, source: Source, results: CaseLayout) -> tuple[RunRecord | None, str]:
        """The record of results that may be kept; None and, where there were results, why they are made anew.

        Raises:
            UsageError: a label map was corrected by hand since; a cohort never replaces that.
        """
        place = results.place(entry.case)
        recover(place)
        try:
            record = read_record(place.record_path)
        except FileFormatError:
            return None, "done again: its run record was damaged"
        if record is None:
            return None, ""
        changed = damaged(record.outputs or {}, place.folder)
        refuse_corrected(changed, place.folder, "Move it away and give the same command.")
        other = (
            ["version"]
            if record.record_version < RECORD_VERSION
            else wanted(self._segmenter, self._delivery, source.without, source.asked).differences(record)
        )
        if other:
            return None, f"done again: earlier with other {', '.join(other)}"
        if changed:
            return None, "done again: a result was gone or changed"
        if not same_inputs(record, source.hashes()):
            return None, "done again: its scans have changed"
        return record, ""


def _source(entry: Entry) -> Source:
    """The scans of a case, under the name that the index gives it."""
    if entry.dicom is None:
        return FileSource(entry.case_files())
    return DicomSource(entry.dicom, without=frozenset(entry.without), case_id=entry.case)
