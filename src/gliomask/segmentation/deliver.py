"""Writing what came of a case: label maps, masks, transforms, maps, volumes, picture, reports and the run record, all
of them or none.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gliomask.files.paths import as_given
from gliomask.io import nifti
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.checks import has_skull
from gliomask.preprocess.raw.deface import defaced, face_in
from gliomask.preprocess.raw.transforms import to_itk_text
from gliomask.profiling import current, stage
from gliomask.quality import entropy
from gliomask.report.faces import faces_picture
from gliomask.report.preview import draw_preview
from gliomask.report.provenance import InputFile, provenance
from gliomask.report.rendered import Rendered
from gliomask.report.run_record import compose_record
from gliomask.results.layout import FRAME, CaseLayout
from gliomask.results.record import RECORD_VERSION, RunRecord, earlier_outputs, parse_record
from gliomask.results.write import refuse_existing, refuse_unknown, write_case
from gliomask.segmentation.options import Delivery
from gliomask.segmentation.outcome import Asked, Outcome

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivered:
    """What was written of a case.

    Args:
        record: the run record.
        files: the files, the run record last.
    """

    record: RunRecord
    files: tuple[Path, ...]


def deliver(outcome: Outcome, layout: CaseLayout, delivery: Delivery) -> Delivered:
    """Writes the results of a case: all of them, or, after an error, nothing; what was there before stays until all are
    complete.

    The caller holds the case's lock (`results.write.held`).

    Args:
        outcome: what to write.
        layout: where.
        delivery: which files, and how.

    Returns:
        The record, and the files.

    Raises:
        QualityError: a quality flag was raised and `delivery.strict` is set.
        UsageError: a file exists and may not be replaced, or cannot be written; a label map that no record lists is
            never replaced.
        LimitError: the disk is full.
    """
    if delivery.strict:
        outcome.refuse_flagged()
    refuse_unknown(layout.place(outcome.case_id), layout.label_map)
    refuse_existing(layout.all(), f"the results of case {outcome.case_id}", overwrite=delivery.overwrite)
    start = time.perf_counter()
    fields = record_fields(outcome, delivery)
    # The reports and the record say the same of the run, to the second.
    stamp: dict[str, Any] = {}
    composed: list[RunRecord] = []

    def fill(folder: Path) -> dict[str, str]:
        staged = layout.within(folder)
        digest = write_results(outcome, staged, delivery)
        fields["seconds"] = with_writing(outcome, time.perf_counter() - start)
        stamp.update(compose_record("segment", {}))
        if delivery.report:
            report = report_of(
                outcome,
                stamp | fields,
                InputFile("label map", staged.label_map.name, digest),
                uncertainty=delivery.uncertainty,
            )
            for form in delivery.report:
                nifti.write_bytes(staged.report(form), report.content(form))
        return {staged.label_map.name: digest}

    def compose(outputs: dict[str, str]) -> bytes:
        profile = current()
        measured = {} if profile is None else {"profile": profile.measured()}
        values = {**stamp, "record_version": RECORD_VERSION, **fields, **measured, "outputs": outputs}
        composed.append(parse_record(values, str(layout.record)))
        return composed[0].to_bytes()

    with stage("write"):
        files = write_case(layout.place(outcome.case_id), fill, compose, earlier_outputs(layout.record))
    return Delivered(composed[0], files)


def write_results(outcome: Outcome, layout: CaseLayout, delivery: Delivery) -> str:
    """Writes all files of a case but reports and record, one after the other; returns the SHA-256 of the label map."""
    digest = _write_label_maps(outcome, layout, delivery)
    if delivery.deface:
        _write_defaced(outcome, layout)
    _write_maps(outcome, layout, delivery)
    _write_volumes(outcome, layout)
    _write_preview(outcome, layout, delivery)
    return digest


def with_writing(outcome: Outcome, writing: float) -> dict[str, float]:
    """Returns the seconds of a case by stage, with those of writing and the total."""
    seconds = {**outcome.seconds, "write": round(writing, 3)}
    return {**seconds, "total": round(sum(seconds.values()), 3)}


def refuse_formats(delivery: Delivery) -> None:
    """Raises EngineUnavailableError where a report is asked for that cannot be made here; before any work."""
    if "pdf" in delivery.report:
        from gliomask.report.pdf import require_fpdf

        require_fpdf()


def asked_options(asked: Asked, delivery: Delivery) -> dict[str, Any]:
    """Returns every option that a result depends on, in plain values, for the record and for resuming."""
    return {
        **asked.options,
        "labels": delivery.labels.name,
        "probabilities": delivery.probabilities,
        "uncertainty": delivery.uncertainty,
        "preview": delivery.preview,
        "spaces": [sequence.value for sequence in delivery.spaces],
        "keep_images": delivery.keep_images,
        **({"report": list(delivery.report)} if delivery.report else {}),
        **({"deface": True} if delivery.deface else {}),
    }


def record_fields(outcome: Outcome, delivery: Delivery) -> dict[str, Any]:
    """Returns what the run record says of a case, but for its files."""
    prediction, asked, registered = outcome.prediction, outcome.asked, outcome.registered
    sources = {sequence: str(path) for sequence, path in outcome.case.sources.items()}
    if registered is not None or outcome.scans.dicom is not None:
        sources = {sequence: scan.source for sequence, scan in outcome.scans.examination().scans.items()}
    named = _absolute if delivery.absolute_paths else str
    return {
        "case": outcome.case_id,
        "inputs": {named(name): digest for name, digest in outcome.scans.hashes.items()},
        "sequences": {sequence.value: named(source) for sequence, source in sources.items()},
        **exceptions(outcome),
        "grid": str(outcome.case.geometry),
        "model": {"name": asked.model[0], "sha256": asked.model[1]},
        "second_opinion": None
        if asked.second is None
        else {"name": asked.second[0], "sha256": asked.second[1], "asked": asked.second[0] in prediction.models},
        "options": asked_options(asked, delivery) | dict(outcome.scans.asked),
        "threads": asked.threads,
        "expected_dice": {region.value: round(dice, 4) for region, dice in prediction.expected_dice.items()},
        "predicted_dice": predicted_dice(outcome),
        "quality_flags": [flag.fields() for flag in outcome.flags],
        "seconds": dict(outcome.seconds),
        "volumes": outcome.volumes.to_dict(),
        "space": None if outcome.space is None else outcome.space.value,
        **({} if registered is None else {"raw_route": _native_fields(outcome, delivery)}),
        **({} if outcome.scans.dicom is None else {"dicom": dict(outcome.scans.dicom)}),
    }


def _absolute(name: str) -> str:
    """A file's absolute path, links not followed, so that its record is understood in any working folder; other names
    stay.
    """
    path = Path(name)
    return str(as_given(path)) if not path.is_absolute() and path.is_file() else name


def exceptions(outcome: Outcome) -> dict[str, Any]:
    """Returns what the run record says of a case that is not segmented as most are;
    `report.provenance.exceptions_in_words` reads it.

    Which sequences are missing and what that costs, null where that was not measured; the rule by which the core was
    found, null where it was found as in others.
    """
    prediction = outcome.prediction
    return {
        "without": sorted(outcome.case.without),
        "cost_of_missing": None if prediction.cost is None else asdict(prediction.cost),
        "core_rule": None if prediction.core_rule is None else asdict(prediction.core_rule),
        "removed": [asdict(part) for part in prediction.removed],
        "asked_over": prediction.asked_over,
        "removed_enhancement": None
        if prediction.removed_enhancement is None
        else asdict(prediction.removed_enhancement),
    }


def predicted_dice(outcome: Outcome) -> dict[str, dict[str, float]]:
    """Returns the Dice to be expected of each region with its interval, for JSON; empty where the model is not
    calibrated.
    """
    return {region.value: asdict(estimate) for region, estimate in outcome.estimates.items()}


def _native_fields(outcome: Outcome, delivery: Delivery) -> dict[str, Any]:
    registered, options = outcome.registered, outcome.asked.options
    assert registered is not None
    return {
        "reference": registered.reference.value,
        "mode": options["raw"],
        "skip": options["skip"],
        "brain_mask": outcome.brain_mask_file,
        "brain_by": registered.brain_by,
        "registered_by": {sequence.value: who for sequence, who in registered.registered_by.items()},
        "grids": {sequence.value: str(scan.geometry) for sequence, scan in registered.examination.scans.items()},
        **({"defaced": registered.face.described()} if delivery.deface else {}),
        "steps": [asdict(step) for step in registered.steps],
    }


def _write_label_maps(outcome: Outcome, targets: CaseLayout, delivery: Delivery) -> str:
    """The label map in its own grid; of scans that were brought to BraTS space, also those of other grids, masks,
    transforms and images.

    Returns the SHA-256 of the first.
    """
    registered, to_disk = outcome.registered, delivery.labels.to_disk
    if registered is None:
        return nifti.write_volume(targets.label_map, to_disk(outcome.label_map), outcome.geometry, outcome.case.header)
    scans = registered.examination.scans
    others = [
        sequence for sequence in delivery.spaces if sequence in registered.matrices and sequence != registered.reference
    ]
    digests = []
    for sequence in (registered.reference, *others):
        path = targets.label_map if sequence == registered.reference else targets.label_map_in(sequence.value)
        grid, header = scans[sequence].geometry, outcome.scans.headers.get(sequence)
        digests.append(nifti.write_volume(path, to_disk(outcome.label_map_in(sequence)), grid, header))
        nifti.write_volume(targets.mask_in(sequence.value), registered.mask_in(sequence).astype(np.uint8), grid, header)
    frame = registered.case.geometry
    nifti.write_volume(targets.label_map_in(FRAME), to_disk(outcome.label_map_in(FRAME)), frame)
    nifti.write_volume(targets.mask_in(FRAME), registered.case.brain_mask.astype(np.uint8), frame)
    for sequence in registered.matrices:
        nifti.write_bytes(targets.transform(sequence), to_itk_text(registered.matrices[sequence]).encode())
        if delivery.keep_images:
            nifti.write_volume(targets.image(sequence), registered.case.volumes[sequence], frame)
    return digests[0]


def _write_defaced(outcome: Outcome, targets: CaseLayout) -> None:
    """Every sequence of a raw case with the face taken off, in its own grid and in BraTS space."""
    registered = outcome.registered
    if registered is None:
        _log.info("Nothing to deface: the skull is off in all sequences already.")
        return
    plane, written = registered.face, {}
    for sequence, scan in registered.examination.scans.items():
        if not has_skull(scan.volume, scan.geometry):
            _log.info("Nothing to deface in %s: its skull is off already.", sequence.title)
            continue
        volume, matrix = scan.volume, registered.matrices[sequence]
        whole = defaced(volume, face_in(plane, scan.geometry, matrix))
        written[sequence] = whole, scan.geometry, matrix
        header = outcome.scans.headers.get(sequence)
        nifti.write_volume(targets.defaced(sequence), whole, scan.geometry, header)
        frame = registered.case.geometry
        moved = itk.resample(whole, scan.geometry, frame, matrix)
        # Once more: between voxels, some of the face is left at the plane.
        nifti.write_volume(targets.defaced_in_frame(sequence), defaced(moved, face_in(plane, frame, np.eye(4))), frame)
    if written:
        nifti.write_bytes(targets.faces, faces_picture(written, plane))


def _write_maps(outcome: Outcome, targets: CaseLayout, delivery: Delivery) -> None:
    """The probabilities and the uncertainty, where asked for, in the grid in which the network worked."""
    case, prediction = outcome.case, outcome.prediction
    if delivery.probabilities:
        nifti.write_volume(targets.probabilities, prediction.probabilities, case.geometry, case.header)
    if delivery.uncertainty:
        nifti.write_volume(targets.uncertainty, entropy(prediction.probabilities), case.geometry, case.header)
        if prediction.disagreement is not None:
            nifti.write_volume(targets.disagreement, prediction.disagreement, case.geometry, case.header)


def _write_volumes(outcome: Outcome, targets: CaseLayout) -> None:
    space = {} if outcome.space is None else {"space": outcome.space.value}
    about = {"case": outcome.case_id, **space, "predicted_dice": predicted_dice(outcome)}
    nifti.write_bytes(targets.volumes_tsv, outcome.volumes.to_tsv().encode())
    nifti.write_bytes(
        targets.volumes_json, (json.dumps({**about, **outcome.volumes.to_dict()}, indent=1) + "\n").encode()
    )


def preview_title(outcome: Outcome) -> str:
    """Returns the line under the name of the case in its picture."""
    prediction = outcome.prediction
    without = f", without {', '.join(sorted(outcome.case.without))}" if outcome.case.without else ""
    way = "; registered from raw scans" if outcome.registered is not None else ""
    return f"{' with '.join(prediction.models)}, post-processing {prediction.postprocess}{without}{way}"


def _write_preview(outcome: Outcome, targets: CaseLayout, delivery: Delivery) -> None:
    if delivery.preview:
        with stage("picture"):
            draw_preview(
                outcome.case,
                outcome.prediction.label_map,
                targets.preview,
                title=preview_title(outcome),
                flags=outcome.flags,
                estimates=outcome.estimates,
                volumes=outcome.volumes,
            )


def report_of(outcome: Outcome, fields: Mapping[str, Any], label_map: InputFile, *, uncertainty: bool) -> Rendered:
    """Returns the report of a result in hand: nothing that was written is read again.

    Args:
        outcome: the result.
        fields: of its run record.
        label_map: as it was written.
        uncertainty: show where the network is unsure.
    """
    # Imported here: the measures of a report take optimisers and geometry that nothing else of a prepared case needs.
    from gliomask.report.case_report import IN_BRATS_SPACE, case_report

    notes = () if outcome.registered is None else (IN_BRATS_SPACE,)
    unsure = entropy(outcome.prediction.probabilities) if uncertainty else None
    return case_report(
        outcome.case,
        outcome.prediction.label_map,
        provenance(fields, label_map),
        notes=notes,
        uncertainty=unsure,
        volumes=outcome.volumes,
    )
