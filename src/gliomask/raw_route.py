"""Raw scans in, results in the scanner's own grid out: the raw route joined to the segmentation, and the choice between it and the straight way.

Scans as BraTS prepares them go straight through `case_results.segment_to_files`, to the byte as before. Others are brought to the frame of BraTS, segmented
there, and the label map is brought back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.case import Case
from gliomask.case_results import (
    Progress,
    Writing,
    predicted_dice,
    record_fields,
    refuse_flagged,
    refuse_places,
    segment_read,
    segment_to_files,
    write_maps,
    write_preview,
    write_results,
    write_volumes,
)
from gliomask.errors import CaseError, GeometryError
from gliomask.examination import Examination, Scan
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, ReadFiles, read_begun
from gliomask.preprocess.raw.checks import has_skull
from gliomask.preprocess.raw.route import DEFAULT_SETTINGS, RawCase, Settings, prepare_examination
from gliomask.preprocess.raw.transforms import to_itk_text
from gliomask.profiling import stage
from gliomask.report.volumes import measure
from gliomask.results.layout import FRAME, CaseLayout
from gliomask.segmentation import Segmentation, Segmenter
from gliomask.sequences import Sequence

Mode = Literal["auto", "always", "never"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class RawOptions:
    """When to take the raw route, and how.

    Args:
        mode: `auto` takes it where all sequences have their skull on, on one grid or several; `always` and `never` say so.
        skip: steps to leave out, see `preprocess.raw.route.STEPS`.
        brain_mask: a mask file on the grid of one of the sequences or of the frame; not 0 is brain.
        spaces: sequences in whose grid the label map is written, besides that of the reference.
        keep_images: also write the four sequences in the frame.
    """

    mode: Mode = "auto"
    skip: tuple[str, ...] = ()
    brain_mask: Path | None = None
    spaces: tuple[Sequence, ...] = ()
    keep_images: bool = False

    def asked(self) -> dict[str, Any]:
        """Returns them in plain values, for the record and for resuming; a brain mask counts by its hash, as an input."""
        return {"raw": self.mode, "skip": list(self.skip), "spaces": [sequence.value for sequence in self.spaces], "keep_images": self.keep_images}


def segment_any_to_files(
    segmenter: Segmenter,
    files: CaseFiles,
    results: CaseLayout,
    writing: Writing,
    progress: Progress = lambda done, total: None,
    raw: RawOptions = RawOptions(),
    tell: Tell = lambda line: None,
) -> Segmentation:
    """Segments one case, raw or prepared, and writes its results: all of them, or, after an error, none.

    Args:
        segmenter: the model, opened once.
        files: the scans.
        results: where the results go; on the raw route the label map is in the grid of the reference, and further files say their space in their names.
        writing: what to write.
        progress: called with (parts of the brain done, parts in all).
        raw: when to take the raw route, and how.
        tell: called with a line of text as each step of the raw route ends.

    Returns:
        The result; on the raw route in the frame of BraTS.

    Raises:
        UsageError: a result exists and may not be overwritten; a step to skip does not exist.
        QualityError: a registration or the brain mask cannot be believed, or a quality flag was raised and `writing.strict` is set.
        InputError: the scans cannot be segmented.
        EngineUnavailableError: the raw route is needed, and the extra `raw` is not installed.
    """
    if raw.mode == "never" or (raw.mode == "auto" and files.channels is not None):
        return segment_to_files(segmenter, files, results, writing, progress)
    refuse_places(results, files, writing, () if raw.brain_mask is None else (raw.brain_mask,))
    _refuse_channels(files)
    start = time.perf_counter()
    with stage("read"):
        read = read_begun(files)
    if raw.mode == "auto":
        case = _prepared(read)
        if isinstance(case, Case):
            return segment_read(segmenter, case, read.hashes, results, writing, progress, start)
        tell(f"{files.case_id}: {case}: taking the raw route (--raw never refuses such scans instead).")
    return _segment_raw(segmenter, read, results, writing, progress, raw, tell, round(time.perf_counter() - start, 3))


def _refuse_channels(files: CaseFiles) -> None:
    if files.channels is not None:
        raise CaseError(f"Case {files.case_id}: {files.channels} holds all sequences on one grid; the raw route takes a file for each.")


def _prepared(read: ReadFiles) -> Case | str:
    """The case, where the scans are as BraTS prepares them; otherwise why not."""
    try:
        case = read.case()
    except GeometryError as error:
        if all(read.volumes[0].geometry.same_grid(volume.geometry) for volume in read.volumes):
            raise
        if not all(has_skull(volume.values, volume.geometry) for volume in read.volumes):
            # Bare brains on two grids may be one wrong file among prepared ones: what is meant cannot be told.
            raise GeometryError(f"{error} Or, if they are scans on grids of their own, give --raw always.") from error
        return "the sequences lie on different grids, skull on"
    if all(has_skull(volume, case.geometry) for volume in case.volumes.values()):
        return "the skull is on"
    return case


def to_examination(read: ReadFiles) -> tuple[Examination, dict[Sequence, bytes]]:
    """Returns four files, each on its own grid, as an examination, and each sequence's NIfTI header.

    Raises:
        CaseError: the sequences come in one 4-D file, or one holds values that are not finite.
    """
    _refuse_channels(read.files)
    volumes = dict(zip(read.files.used(), read.volumes, strict=True))
    scans = {sequence: Scan(volume.values, volume.geometry, str(read.files.sequences[sequence])) for sequence, volume in volumes.items()}
    return Examination(read.files.case_id, scans), {sequence: volume.header for sequence, volume in volumes.items()}


def _segment_raw(
    segmenter: Segmenter, read: ReadFiles, results: CaseLayout, writing: Writing, progress: Progress, raw: RawOptions, tell: Tell, read_seconds: float
) -> Segmentation:
    mask = None if raw.brain_mask is None else nifti.read_volume(raw.brain_mask)
    hashes = read.hashes | ({} if mask is None else {str(raw.brain_mask): mask.sha256})
    examination, headers = to_examination(read)
    settings = Settings(frozenset(raw.skip), None, None if mask is None else (np.asarray(mask.values != 0), mask.geometry), read.files.without)
    found = segment_examination(segmenter, examination, settings, progress, tell)
    result = replace(found.result, seconds={"read": read_seconds, **found.result.seconds})
    write_examination(segmenter, RawSegmentation(result, found.prepared), results, writing, raw, headers, hashes)
    return result


@dataclass(frozen=True, eq=False)
class RawSegmentation:
    """An examination's result in the frame, and the way back to its scans (`prepared.label_map_in`)."""

    result: Segmentation
    prepared: RawCase


def segment_examination(
    segmenter: Segmenter,
    examination: Examination,
    settings: Settings = DEFAULT_SETTINGS,
    progress: Progress = lambda done, total: None,
    tell: Tell = lambda line: None,
) -> RawSegmentation:
    """Brings an examination into the frame of BraTS and segments it there; writes nothing.

    Args:
        segmenter: the model, opened once.
        examination: the scans, on grids of their own, wherever they came from.
        settings: what to leave out, and what is known already.
        progress: called with (parts of the brain done, parts in all).
        tell: called with a line of text as each step ends.

    Raises:
        CaseError: a sequence is missing, given twice, or no MR scan of a head.
        QualityError: a registration or the brain mask cannot be believed.
        EngineUnavailableError: the extra `raw` is not installed.
    """
    start = time.perf_counter()
    with stage("prepare"):
        prepared = prepare_examination(examination, replace(settings, threads=settings.threads or segmenter.options.threads), tell)
    seconds = {"prepare": round(time.perf_counter() - start, 3)}
    result = segmenter.run(prepared.case, progress)
    return RawSegmentation(replace(result, seconds=seconds | result.seconds, flags=prepared.flags + result.flags), prepared)


def write_examination(
    segmenter: Segmenter,
    raw_result: RawSegmentation,
    results: CaseLayout,
    writing: Writing,
    raw: RawOptions,
    headers: Mapping[Sequence, bytes],
    hashes: dict[str, str],
) -> None:
    """Writes what became of an examination: all of it, or, after an error, nothing.

    Args:
        segmenter: what made it.
        raw_result: what to write.
        results: where it goes; further files say their space in their names.
        writing: what to write.
        raw: in which spaces, and with which images.
        headers: NIfTI headers of the scans, for the codes of the results; scans that have none get a fresh one.
        hashes: SHA-256 of the input, for the run record.

    Raises:
        QualityError: a quality flag was raised and `writing.strict` is set.
        UsageError: a file cannot be written.
    """
    start = time.perf_counter()
    result, prepared = raw_result.result, raw_result.prepared
    refuse_flagged(result, writing)
    native = prepared.label_map_in(prepared.reference, result.label_map)
    # What the patient has is measured where it was scanned.
    volumes = measure(native, prepared.examination.scans[prepared.reference].geometry)
    fields = record_fields(segmenter, result, writing, hashes) | _raw_fields(prepared, raw) | {"volumes": volumes.to_dict()}
    fields["space"] = prepared.reference.value

    def fill(staged: CaseLayout) -> None:
        _write(result, prepared, native, headers, staged, writing, raw)
        write_volumes(volumes, staged, {"case": result.case.case_id, "space": prepared.reference.value, "predicted_dice": predicted_dice(result)})
        write_preview(result, staged, writing, "; registered from raw scans")
        seconds = {**result.seconds, "write": round(time.perf_counter() - start, 3)}
        fields["seconds"] = {**seconds, "total": round(sum(seconds.values()), 3)}

    write_results(results, result.case.case_id, result, writing, fill, fields)


def _write(
    result: Segmentation, prepared: RawCase, native: LabelMap, headers: Mapping[Sequence, bytes], targets: CaseLayout, writing: Writing, raw: RawOptions
) -> None:
    """Writes label maps, masks, transforms and images; `native` is the label map in the reference's grid."""
    reference = prepared.reference
    others = [sequence for sequence in dict.fromkeys(raw.spaces) if sequence in prepared.matrices and sequence != reference]
    natives = {reference: native} | {sequence: prepared.label_map_in(sequence, result.label_map) for sequence in others}
    for sequence, label_map in natives.items():
        grid, header = prepared.examination.scans[sequence].geometry, headers.get(sequence)
        path = targets.label_map if sequence == reference else targets.label_map_in(sequence.value)
        nifti.write_volume(path, writing.labels.to_disk(label_map), grid, header)
        nifti.write_volume(targets.mask_in(sequence.value), prepared.mask_in(sequence).astype(np.uint8), grid, header)
    frame = prepared.case.geometry
    nifti.write_volume(targets.label_map_in(FRAME), writing.labels.to_disk(result.label_map), frame)
    nifti.write_volume(targets.mask_in(FRAME), prepared.case.brain_mask.astype(np.uint8), frame)
    for sequence in prepared.matrices:
        nifti.write_bytes(targets.transform(sequence), to_itk_text(prepared.matrices[sequence]).encode())
        if raw.keep_images:
            nifti.write_volume(targets.image(sequence), prepared.case.volumes[sequence], frame)
    write_maps(result, targets, writing)


def _raw_fields(prepared: RawCase, raw: RawOptions) -> dict[str, Any]:
    return {
        "sequences": {sequence.value: scan.source for sequence, scan in prepared.examination.scans.items()},
        "raw_route": {
            "reference": prepared.reference.value,
            "mode": raw.mode,
            "skip": list(raw.skip),
            "brain_mask": str(raw.brain_mask) if raw.brain_mask else None,
            "grids": {sequence.value: str(scan.geometry) for sequence, scan in prepared.examination.scans.items()},
            "steps": [asdict(step) for step in prepared.steps],
        },
    }
