"""Where each sequence of an examination lies in BraTS space: as another tool says, or as registered here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gliomask.arrays import Affine, Mask, short_repr
from gliomask.errors import QualityError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.align import (
    MIN_COVERAGE,
    Alignment,
    align_sequences,
    align_to_frame,
    coverage,
    measure_given,
    near_brain,
    refuse_unbelievable,
    rigid_to_frame,
)
from gliomask.preprocess.raw.atlas import BRATS_FRAME, FRAME_TO_MNI, load_atlas
from gliomask.preprocess.raw.interface import OURS, Transform
from gliomask.preprocess.raw.registration import in_threads
from gliomask.preprocess.raw.settings import PreparationSettings, PreparationStep, ReportStep
from gliomask.preprocess.raw.transforms import (
    Points,
    angle_degrees,
    distance_mm,
    inverse,
    move,
    nearest_rigid,
    stretches,
)
from gliomask.processors import thread_count
from gliomask.sequences import Sequence

MOST_FROM_TEMPLATE_MM = 30.0
"""Mean distance over the brain between where a given transform puts the template's brain and where it fits the patient.
BraTS' own places of 22 patients are 1 to 17 mm from there (docs/tables/frame_scatter.tsv)."""

LEAST_OVERLAP = 0.6
"""Dice of a brain mask in BraTS space and the template's brain. A displacement by 17 mm leaves some 0.8."""

FRAME = "brats"
"""BraTS space, beside the sequences."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Where the sequences lie.

    Args:
        to_reference: BraTS space's world to the reference's, RAS millimetres.
        between: for each sequence, the reference's world to its own.
        made_by: for each sequence, who brought it to where it lies.
        average_brain: the average brain on the reference's; None where nobody needed it.
        given: BraTS space was given, not found here.
    """

    to_reference: Affine
    between: Mapping[Sequence, Affine]
    made_by: Mapping[Sequence, str]
    average_brain: Alignment | None
    given: bool

    __repr__ = short_repr

    @property
    def matrices(self) -> dict[Sequence, Affine]:
        """For each sequence, BraTS space's world to its own."""
        return {sequence: matrix @ self.to_reference for sequence, matrix in self.between.items()}


@dataclass(frozen=True, eq=False)
class _Known:
    """What another tool says: as in `Placed`, for what it reaches."""

    to_reference: Affine | None = None
    between: Mapping[Sequence, Affine] = field(default_factory=dict)
    made_by: Mapping[Sequence, str] = field(default_factory=dict)

    __repr__ = short_repr


def place(
    examination: Examination,
    light: Examination,
    reference: Sequence,
    settings: PreparationSettings,
    finding: bool,
    done: ReportStep,
) -> Placed:
    """Returns where the sequences lie.

    Args:
        examination: the scans.
        light: the same, at the resolution at which they are registered.
        reference: the sequence that the others are brought to.
        settings: what is given, and what is left out.
        finding: whether the brain is to be found, which the average brain is needed for.
        done: called with each step.

    Raises:
        UsageError: transforms do not go together, or not with what is left out.
        QualityError: a registration, or a transform that was given, cannot be believed.
    """
    known = _known(examination, reference, settings)
    affine = None if known.to_reference is not None and not finding else _average_brain(light, reference, settings)
    if known.to_reference is not None:
        to_reference, by = known.to_reference, known.made_by[reference]
        done(_given_frame(examination.case_id, reference, to_reference, by, affine))
    else:
        assert affine is not None
        to_reference, by = _frame(light.scans[reference], reference, affine, settings, done), OURS
    brain = move(to_reference if affine is None else affine.matrix, load_atlas().brain_points)
    between = _between(light, reference, brain, known, settings, done)
    made_by = {sequence: known.made_by.get(sequence, OURS) for sequence in between} | {reference: by}
    placed = Placed(to_reference, between, made_by, affine, known.to_reference is not None)
    _refuse_cut(examination, placed.matrices)
    return placed


def refuse_misplaced(case_id: str, placed: Placed, mask: Mask) -> None:
    """Checks that a brain mask in BraTS space lies about where the template's brain does, where the place was given.

    Raises:
        QualityError: it does not.
    """
    if not placed.given:
        return
    atlas = load_atlas()
    template = itk.resample(atlas.brain.astype(np.float32), atlas.geometry, BRATS_FRAME, np.eye(4)) > 0.5
    overlap = 2 * np.count_nonzero(mask & template) / (np.count_nonzero(mask) + np.count_nonzero(template))
    if overlap < LEAST_OVERLAP:
        raise QualityError(
            f"Case {case_id}: the transform that was given does not bring the brain to where BraTS space has it: the "
            f"brain mask and the template's brain overlap by {overlap:.2f} (Dice); {LEAST_OVERLAP:g} is needed. Check "
            "that it leads into BraTS space, and in which direction."
        )


def _known(examination: Examination, reference: Sequence, settings: PreparationSettings) -> _Known:
    if settings.registration is None:
        return _Known()
    case_id, transforms = examination.case_id, settings.registration.register(examination, reference)
    absent = [str(sequence) for sequence in transforms if sequence not in examination.scans]
    if absent:
        raise UsageError(
            f"Case {case_id}: there is a transform of {', '.join(absent)}, and no such scan. Leave the transform out."
        )
    # A tool may name sequences by their values.
    transforms = {Sequence(name): transform for name, transform in transforms.items()}
    by = {sequence: transform.source or settings.registration.name for sequence, transform in transforms.items()}
    maps = _from_reference(case_id, reference, transforms)
    to_reference = inverse(maps[FRAME]) if FRAME in maps else None
    lost = [sequence.value for sequence in transforms if sequence not in maps]
    if lost:
        raise UsageError(
            f"Case {case_id}: the transforms of {', '.join(lost)} lead neither to {reference.value}, which the others "
            f"are brought to, nor to what it is brought to. Give one of {reference.value}, too."
        )
    between = {sequence: matrix for sequence, matrix in maps.items() if isinstance(sequence, Sequence)}
    if to_reference is not None and "frame" in settings.skip:
        raise UsageError("--skip frame and a transform into a template do not go together. Give one of them.")
    if len(between) > 1 and "coregister" in settings.skip:
        raise UsageError("--skip coregister and a transform between sequences do not go together. Give one of them.")
    if reference not in by:
        by[reference] = ", ".join(dict.fromkeys(by.values()))
    return _Known(to_reference, between, by)


def _from_reference(
    case_id: str, reference: Sequence, transforms: Mapping[Sequence, Transform]
) -> dict[Sequence | str, Affine]:
    """The reference's world to that of everything that transforms lead to from there, back and forth."""
    left = {sequence: _edge(transform) for sequence, transform in transforms.items()}
    reached: dict[Sequence | str, Affine] = {reference: np.eye(4)}
    while True:
        for sequence, (target, matrix) in left.items():
            if sequence in reached and target in reached:
                raise UsageError(
                    f"Case {case_id}: the transforms go in a circle at {sequence.value}. Give one for each sequence, "
                    f"into {reference.value} or into a template, and of {reference.value} at most one into a template."
                )
            if target in reached:
                reached[sequence] = matrix @ reached[target]
            elif sequence in reached:
                reached[target] = inverse(matrix) @ reached[sequence]
            else:
                continue
            del left[sequence]
            break
        else:
            return reached


def _edge(transform: Transform) -> tuple[Sequence | str, Affine]:
    """What a transform leads into, and the map of its world to the sequence's; BraTS space in the place of MNI152."""
    if transform.target != "mni152":
        return transform.target, transform.matrix
    # Patients keep their size in BraTS space, where MNI152 is a tenth larger than they are.
    return FRAME, nearest_rigid(transform.matrix @ FRAME_TO_MNI, load_atlas().brain_points)


def _average_brain(light: Examination, reference: Sequence, settings: PreparationSettings) -> Alignment:
    try:
        affine = align_to_frame(light.scans[reference], load_atlas(), thread_count(settings.threads))
        refuse_unbelievable(affine, "affine")
    except QualityError as error:
        remedy = "Check that it is a whole head with a right header"
        raise _refused(light.case_id, reference.value, "the average brain", error, remedy) from error
    return affine


def _given_frame(
    case_id: str, reference: Sequence, to_reference: Affine, by: str, affine: Alignment | None
) -> PreparationStep:
    measured: dict[str, object] = {
        "angle_degrees": round(angle_degrees(to_reference), 2),
        "scales": [round(scale, 4) for scale in stretches(to_reference)],
    }
    if affine is not None:
        from_template_mm = float(distance_mm(to_reference, affine.matrix, load_atlas().brain_points).mean())
        measured["from_template_mm"] = round(from_template_mm, 2)
        if from_template_mm > MOST_FROM_TEMPLATE_MM:
            raise QualityError(
                f"Case {case_id}: the transform that was given for {reference.value} ({by}) does not bring the head "
                f"into the template's brain: it lies {from_template_mm:.0f} mm from there; up to "
                f"{MOST_FROM_TEMPLATE_MM:g} mm is believed. Check that it leads into BraTS space, and in which "
                "direction."
            )
    return PreparationStep("frame", reference.value, f"brought to BraTS space as given: {by}", measured)


def _frame(
    scan: Scan, reference: Sequence, affine: Alignment, settings: PreparationSettings, done: ReportStep
) -> Affine:
    if "frame" in settings.skip:
        done(PreparationStep("frame", reference.value, "left out: its world is taken for the frame's"))
        return np.eye(4)
    rigid = rigid_to_frame(scan, load_atlas(), affine)
    done(
        PreparationStep(
            "frame", reference.value, "brought to BraTS space, by way of the average brain", affine.measured()
        )
    )
    return rigid


def _between(
    examination: Examination,
    reference: Sequence,
    brain: Points,
    known: _Known,
    settings: PreparationSettings,
    done: ReportStep,
) -> dict[Sequence, Affine]:
    """For each sequence, the reference's world to the scan's."""
    matrices: dict[Sequence, Affine] = {reference: np.eye(4)}
    others = [sequence for sequence in examination.scans if sequence != reference]
    if "coregister" in settings.skip:
        done(PreparationStep("coregister", "", "left out: their headers are trusted"))
        return matrices | {sequence: np.eye(4) for sequence in others}
    fixed = near_brain(examination.scans[reference], brain)

    def align(sequence: Sequence) -> Alignment:
        given = known.between.get(sequence)
        try:
            if given is not None:
                return measure_given(fixed, examination.scans[sequence], brain, given)
            alignment = align_sequences(fixed, examination.scans[sequence], brain)
            refuse_unbelievable(alignment, "rigid")
        except QualityError as error:
            if given is not None:
                raise QualityError(
                    f"Case {examination.case_id}: the transform that was given for {sequence.value} "
                    f"({known.made_by[sequence]}) does not lay it on {reference.value}: {error}."
                ) from error
            remedy = (
                f"Check that it shows the same patient's whole head, or bring it to {reference.value} first and give "
                "--skip coregister"
            )
            raise _refused(examination.case_id, sequence.value, reference.value, error, remedy) from error
        return alignment

    # Each runs on its own and sums by itself, so that the answer does not depend on how many run at a time.
    alignments = in_threads(align, others, thread_count(settings.threads))
    for sequence, alignment in zip(others, alignments, strict=True):
        matrices[sequence] = alignment.matrix
        what = f"as given: {known.made_by[sequence]}" if sequence in known.between else f"brought to {reference.title}"
        done(PreparationStep("coregister", sequence.value, what, alignment.measured()))
    return matrices


def _refused(case_id: str, moving: str, fixed: str, error: QualityError, remedy: str) -> QualityError:
    return QualityError(f"Case {case_id}: {moving} cannot be registered to {fixed}: {error}. {remedy}.")


def _refuse_cut(examination: Examination, matrices: Mapping[Sequence, Affine]) -> None:
    points = load_atlas().brain_points
    for sequence, scan in examination.scans.items():
        seen = coverage(matrices[sequence], points, scan.geometry)
        if seen < MIN_COVERAGE:
            raise QualityError(
                f"Case {examination.case_id}: {sequence.value} ({scan.source}): {1 - seen:.0%} of the brain lies "
                f"outside the field of view; up to {1 - MIN_COVERAGE:.0%} is accepted. Give a scan of the whole brain."
            )
