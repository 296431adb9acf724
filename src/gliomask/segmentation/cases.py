"""One case from its source to its files: segmented now, or kept where an earlier run has finished it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gliomask.errors import UsageError
from gliomask.progress import Progress
from gliomask.report.run_record import input_hashes
from gliomask.results.layout import CaseLayout, refuse_results
from gliomask.results.record import RunRecord
from gliomask.results.resume import Wanted, damaged, earlier_record, refuse_corrected, refuse_other_inputs
from gliomask.results.write import held, refuse_existing
from gliomask.segmentation.deliver import asked_options, deliver, refuse_formats
from gliomask.segmentation.options import Delivery
from gliomask.segmentation.outcome import asked_of
from gliomask.segmentation.result import Segmentation
from gliomask.segmentation.run import segment_source
from gliomask.segmentation.segmenter import Segmenter
from gliomask.segmentation.source import Headers, Source
from gliomask.sequences import Sequence


@dataclass(frozen=True, eq=False)
class Done:
    """A case that was segmented now.

    Args:
        outcome: what came of it, in memory.
        record: its run record.
        files: what was written, the run record last.
    """

    outcome: Segmentation
    record: RunRecord
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Kept:
    """A case whose results of an earlier run are whole, and of the same scans, models and options."""

    case_id: str
    record: RunRecord


def segment_to_files(
    segmenter: Segmenter,
    source: Source,
    output: Path | CaseLayout,
    delivery: Delivery,
    *,
    progress: Progress = lambda done, total: None,
    headers: Headers | None = None,
) -> Segmentation:
    """Segments one case and writes its results: all of them, or, after an error, none.

    Whatever can be refused is refused before a scan is read.

    Args:
        segmenter: the models, opened once.
        source: what to segment.
        output: a folder, the label map's own name, or a layout.
        delivery: what to write, and how.
        progress: called with (parts of the brain done, parts in all).
        headers: called as DICOM headers are read.

    Raises:
        UsageError: a result exists and may not be replaced, would be written over a scan, or another process works on
            this case.
        QualityError: a quality flag was raised and `delivery.strict` is set, or a registration cannot be believed.
        InputError: the scans cannot be segmented.
    """
    result = segment_or_keep(segmenter, source, output, delivery, progress=progress, headers=headers)
    assert isinstance(result, Done), "nothing is kept that is not resumed"
    return result.outcome


class _Finished(Exception):  # noqa: N818 - no error: it stops a reading
    """An earlier run has finished the case that was about to be read."""

    def __init__(self, record: RunRecord) -> None:
        super().__init__(record.case)
        self.record = record


def segment_or_keep(
    segmenter: Segmenter,
    source: Source,
    output: Path | CaseLayout,
    delivery: Delivery,
    *,
    resume: bool = False,
    progress: Progress = lambda done, total: None,
    headers: Headers | None = None,
) -> Done | Kept:
    """As `segment_to_files`; with `resume` a case that an earlier run has finished with the same scans, models and
    options is kept.

    The name of a DICOM examination is known after its headers are read, so what is there is looked for then, before any
    pixel is read.
    """
    refuse_formats(delivery)
    replacing = replace(delivery, overwrite=delivery.overwrite or resume)
    with ExitStack() as stack:

        def before(name: str) -> None:
            layout = _layout(output, name)
            record = kept_record(segmenter, source, layout, delivery, name) if resume else None
            if record is not None:
                raise _Finished(record)
            refuse_places(layout, source, replacing, segmenter, name)
            stack.enter_context(held(layout.place(name)))
            # What another process wrote while this one waited for nothing is seen now.
            refuse_existing(layout.all(), f"the results of case {name}", overwrite=replacing.overwrite)

        try:
            outcome = segment_source(segmenter, source, before=before, progress=progress, headers=headers)
        except _Finished as finished:
            return Kept(finished.record.case, finished.record)
        written = deliver(outcome, _layout(output, outcome.case_id), replacing)
    return Done(outcome, written.record, written.files)


def _layout(output: Path | CaseLayout, case_id: str) -> CaseLayout:
    return output if isinstance(output, CaseLayout) else CaseLayout.of(output, case_id)


def refuse_places(layout: CaseLayout, source: Source, delivery: Delivery, segmenter: Segmenter, case_id: str) -> None:
    """Refuses results that exist or would be written over what is read; finishes what a killed run had completed.

    Raises:
        UsageError: see `results.layout.refuse_results`.
    """
    inputs = (*source.inputs, *segmenter.options.files)
    refuse_results(layout, case_id, inputs, overwrite=delivery.overwrite)


def wanted(
    segmenter: Segmenter,
    delivery: Delivery,
    without: Iterable[Sequence] = (),
    source: Mapping[str, Any] = MappingProxyType({}),
) -> Wanted:
    """Returns what a case's results depend on, for the rule of resuming; `source` is what `Source.asked` says."""
    asked = asked_of(segmenter)
    return Wanted(
        asked.model[1],
        None if asked.second is None else asked.second[1],
        asked_options(asked, delivery) | dict(source),
        tuple(sorted(without)),
    )


def kept_record(
    segmenter: Segmenter, source: Source, layout: CaseLayout, delivery: Delivery, name: str
) -> RunRecord | None:
    """Returns the record of a case that an earlier run has finished; None where it has not, or where its files are not
    whole any more.

    Raises:
        UsageError: it was finished with other scans, other models or other options, or a label map was corrected since,
            see `results.resume`.
    """
    place = layout.place(name)
    record = earlier_record(place, wanted(segmenter, delivery, source.without, source.asked))
    if record is None:
        return None
    changed = damaged(record.outputs or {}, place.folder)
    if changed:
        refuse_corrected(changed, place.folder)
        return None
    hashes = source.hashes()
    if not hashes:
        raise UsageError(
            f"Case {name} was finished earlier, and scans in memory cannot be compared with those of then. Give "
            "--overwrite in place of --resume."
        )
    refuse_other_inputs(record, hashes | input_hashes(segmenter.options.files), place)
    return record
