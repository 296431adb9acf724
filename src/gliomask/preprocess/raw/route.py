"""Native-space preprocessing: an examination as the scanner gave it, into a `Case` in BraTS space; and label maps back
to the scanner's grids.

Steps: choose the reference; bring the others to it (rigid); bring it to the frame (rigid, by way of the average brain);
find the brain; lay every sequence into the frame in one interpolation. Each step can be left out, and each says what it
measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gliomask.air import BRAIN_LIMITS_ML, find_foreground
from gliomask.arrays import Affine, LabelMap, Mask, short_repr
from gliomask.case import Case
from gliomask.errors import GeometryError, QualityError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.flag import Flag
from gliomask.geometry import Geometry
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.align import (
    CERTAIN_GAIN,
    MIN_COVERAGE,
    Alignment,
    align_sequences,
    align_to_frame,
    choose_reference,
    coverage,
    downsampled,
    refuse_unbelievable,
    rigid_to_frame,
)
from gliomask.preprocess.raw.atlas import BRATS_FRAME, load_atlas
from gliomask.preprocess.raw.back import filled, labels_on
from gliomask.preprocess.raw.brain import find_brain
from gliomask.preprocess.raw.checks import has_skull, refuse_unfit
from gliomask.preprocess.raw.transforms import Points, inverse, move
from gliomask.processors import thread_count
from gliomask.progress import Progress
from gliomask.sequences import Sequence, parse_sequence

STEPS = ("coregister", "frame", "mask")
"""What can be left out: bringing the sequences to each other, bringing them to the frame, stripping the skull."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Settings:
    """How to prepare.

    Args:
        skip: names of `STEPS` to leave out: their work was done before.
        brain_mask: a mask, (I, J, K), and its grid, which must be that of a scan or of the frame; None to find the
            brain.
        without: sequences that the patient does not have.
        threads: how many sequences are registered at a time; None for as many as there are processors.
    """

    skip: frozenset[str] = frozenset()
    brain_mask: tuple[Mask, Geometry] | None = None
    without: frozenset[Sequence] = frozenset()
    threads: int | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads were asked for; at least 1 is needed.")
        unknown = sorted(self.skip - set(STEPS))
        if unknown:
            raise UsageError(f"There is no step '{unknown[0]}' to skip. Known ones: {', '.join(STEPS)}.")


DEFAULT_SETTINGS = Settings()


@dataclass(frozen=True)
class Step:
    """What became of one step.

    Args:
        name: as in `STEPS`.
        sequence: the one concerned, or an empty text.
        what: what was done, in words.
        measured: its measures.
    """

    name: str
    sequence: str
    what: str
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RawCase:
    """An examination in BraTS space.

    Args:
        case: the four sequences in the frame, 0 outside the brain.
        examination: what it was made from.
        reference: the sequence that the others were brought to.
        matrices: for each sequence, the frame's world to the scan's, RAS millimetres.
        steps: what was done.
        flags: what looks wrong about the preparation.
    """

    case: Case
    examination: Examination
    reference: Sequence
    matrices: Mapping[Sequence, Affine]
    steps: tuple[Step, ...]
    flags: tuple[Flag, ...] = ()

    __repr__ = short_repr

    def label_map_in(self, sequence: Sequence, label_map: LabelMap) -> LabelMap:
        """Returns a label map of the frame on a scan's own grid: (I, J, K).

        A voxel of the scan takes the label that fills most of it: labels are sampled at several places along thick
        axes, linearly, and averaged.
        """
        grid = self.examination.scans[sequence].geometry
        return labels_on(label_map, self.case.geometry, grid, inverse(self.matrices[sequence]))

    def mask_in(self, sequence: Sequence) -> Mask:
        """Returns the brain mask on a scan's own grid: (I, J, K)."""
        grid = self.examination.scans[sequence].geometry
        return filled(self.case.brain_mask, self.case.geometry, grid, inverse(self.matrices[sequence])) > 0.5


def prepare_examination(
    examination: Examination, settings: Settings = DEFAULT_SETTINGS, progress: Progress = lambda done, total: None
) -> RawCase:
    """Brings an examination into BraTS space.

    Args:
        examination: all four sequences.
        settings: what to leave out, and what is known already.
        progress: called with (steps done, steps in all). What each step did is logged, its measures at the level DEBUG.

    Raises:
        CaseError: a sequence is missing, given twice, or no MR scan of a head.
        GeometryError: the brain mask that was given lies on no grid of the examination.
        QualityError: a registration or the brain mask cannot be believed; the message says which, what was found and
            what to do.
        EngineUnavailableError: the extra `raw` is not installed.
    """
    refuse_unfit(examination, settings.without)
    steps: list[Step] = []
    in_all = len(examination.scans) + 2

    def done(step: Step) -> None:
        steps.append(step)
        _log.info("%s", describe(step))
        if step.measured:
            _log.debug("  %s", measures(step))
        # Reference, frame, mask, and each of the others.
        progress(min(len(steps), in_all), in_all)

    reference = choose_reference(examination)
    stripped = [sequence for sequence, scan in examination.scans.items() if not has_skull(scan.volume, scan.geometry)]
    grid = examination.scans[reference].geometry
    done(
        Step(
            "reference",
            reference.value,
            f"the others are brought to it; {grid}",
            {"skull_off": [sequence.value for sequence in stripped]},
        )
    )
    # What is looked at; what is laid into the frame in the end are the scans themselves.
    light = Examination(
        examination.case_id, {sequence: downsampled(scan) for sequence, scan in examination.scans.items()}
    )
    affine, to_reference = _frame(light.case_id, light.scans[reference], reference, settings, done)
    between = _between(light, reference, move(affine.matrix, load_atlas().brain_points), settings, done)
    matrices = {sequence: between[sequence] @ to_reference for sequence in examination.scans}
    _refuse_cut(examination, matrices)
    if settings.brain_mask is not None:
        mask, what = _given_mask(examination, *settings.brain_mask, matrices), "as given"
    elif stripped or "mask" in settings.skip:
        # Where only some are stripped, what is left of them is the brain for all.
        mask, what = (
            _bare(examination, stripped or list(examination.scans), matrices),
            "what is not 0: the skull is off",
        )
    else:
        from_atlas = {sequence: between[sequence] @ affine.matrix for sequence in examination.scans}
        mask = find_brain(light, from_atlas, BRATS_FRAME, inverse(affine.matrix) @ to_reference)
        what = "found: the average brain's surface moved to the skull"
    done(Step("mask", "", what, {"volume_ml": _believed_ml(examination.case_id, mask)}))
    volumes = {
        sequence: itk.resample(one.volume, one.geometry, BRATS_FRAME, matrices[sequence])
        for sequence, one in examination.scans.items()
    }
    for volume in volumes.values():
        volume[~mask] = 0
    case = Case(examination.case_id, volumes, BRATS_FRAME, without=settings.without)
    found = settings.brain_mask is None and not stripped and "mask" not in settings.skip
    return RawCase(case, examination, reference, matrices, tuple(steps), _uncertain(affine) if found else ())


def _uncertain(affine: Alignment) -> tuple[Flag, ...]:
    if affine.gain >= CERTAIN_GAIN:
        return ()
    message = (
        f"The average brain fits the head hardly better ({affine.gain:.2f} times) than displaced; {CERTAIN_GAIN:g} "
        "times is usual. "
        "The brain mask may reach beyond the brain. Look at it, or give one by --brain-mask."
    )
    return (Flag("mask_uncertain", message, affine.gain, CERTAIN_GAIN),)


def describe(step: Step) -> str:
    """Returns what a step did, and whether it can be believed, as a line of text."""
    subject = (
        parse_sequence(step.sequence).title
        if step.sequence
        else {"mask": "Brain", "coregister": "Sequences"}.get(step.name, step.name)
    )
    volume_ml, gain = step.measured.get("volume_ml"), step.measured.get("gain_over_displaced")
    words = f"  {subject}: {step.what}"
    if isinstance(volume_ml, float):
        words += f", {volume_ml:,.0f} ml"
    if isinstance(gain, float):
        turned = f"turned by {step.measured['angle_degrees']:.1f} degrees, "
        words += f" ({turned}{'the fit is good' if gain >= CERTAIN_GAIN else 'the fit is weak: look at the picture'})"
    return f"{words}."


def measures(step: Step) -> str:
    """Returns the measures of a step as a line of text."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in step.measured.items() if value not in ([], None)
    )


def _frame(
    case_id: str, scan: Scan, reference: Sequence, settings: Settings, done: Callable[[Step], None]
) -> tuple[Alignment, Affine]:
    try:
        affine = align_to_frame(scan, load_atlas())
        refuse_unbelievable(affine, "affine")
    except QualityError as error:
        raise _refused(
            case_id, reference.value, "the average brain", error, "Check that it is a whole head with a right header"
        ) from error
    if "frame" in settings.skip:
        done(Step("frame", reference.value, "left out: its world is taken for the frame's"))
        return affine, np.eye(4)
    rigid = rigid_to_frame(scan, load_atlas(), affine)
    done(Step("frame", reference.value, "brought to BraTS space, by way of the average brain", affine.measured()))
    return affine, rigid


def _between(
    examination: Examination, reference: Sequence, brain: Points, settings: Settings, done: Callable[[Step], None]
) -> dict[Sequence, Affine]:
    """For each sequence, the reference's world to the scan's."""
    found: dict[Sequence, Affine] = {reference: np.eye(4)}
    others = [sequence for sequence in examination.scans if sequence != reference]
    if "coregister" in settings.skip:
        done(Step("coregister", "", "left out: their headers are trusted"))
        return found | {sequence: np.eye(4) for sequence in others}

    def align(sequence: Sequence) -> Alignment:
        try:
            alignment = align_sequences(examination.scans[reference], examination.scans[sequence], brain)
            refuse_unbelievable(alignment, "rigid")
        except QualityError as error:
            remedy = (
                f"Check that it shows the same patient's whole head, or bring it to {reference.value} first and give "
                "--skip coregister"
            )
            raise _refused(examination.case_id, sequence.value, reference.value, error, remedy) from error
        return alignment

    # Each runs on its own and sums by itself, so that the answer does not depend on how many run at a time.
    with ThreadPoolExecutor(max(1, min(len(others), thread_count(settings.threads)))) as pool:
        alignments = list(pool.map(align, others))
    for sequence, alignment in zip(others, alignments, strict=True):
        found[sequence] = alignment.matrix
        done(Step("coregister", sequence.value, f"brought to {reference.title}", alignment.measured()))
    return found


def _refused(case_id: str, moving: str, fixed: str, error: QualityError, remedy: str) -> QualityError:
    return QualityError(f"Case {case_id}: {moving} cannot be registered to {fixed}: {error}. {remedy}.")


def _refuse_cut(examination: Examination, matrices: Mapping[Sequence, Affine]) -> None:
    points = load_atlas().brain_points
    for sequence, scan in examination.scans.items():
        seen = coverage(matrices[sequence], points, scan.geometry)
        if seen < MIN_COVERAGE:
            raise QualityError(
                f"Case {examination.case_id}: {sequence.value} ({scan.source}): {1 - seen:.0%} of the brain lies "
                "outside the field of view; "
                f"up to {1 - MIN_COVERAGE:.0%} is accepted. Give a scan of the whole brain."
            )


def _given_mask(examination: Examination, mask: Mask, geometry: Geometry, matrices: Mapping[Sequence, Affine]) -> Mask:
    if geometry.same_grid(BRATS_FRAME):
        return mask
    for sequence, scan in examination.scans.items():
        if geometry.same_grid(scan.geometry):
            return itk.resample(mask.astype(np.float32), geometry, BRATS_FRAME, matrices[sequence]) > 0.5
    grids = "; ".join(f"{sequence.value}: {scan.geometry}" for sequence, scan in examination.scans.items())
    raise GeometryError(
        f"Case {examination.case_id}: the brain mask lies on no sequence's grid: {geometry} (there are {grids}). "
        "Draw it on one of them."
    )


def _bare(examination: Examination, stripped: list[Sequence], matrices: Mapping[Sequence, Affine]) -> Mask:
    mask = np.zeros(BRATS_FRAME.shape, bool)
    for sequence in stripped:
        scan = examination.scans[sequence]
        bare = find_foreground({sequence: scan.volume}, scan.geometry.voxel_ml).mask
        mask |= itk.resample(bare.astype(np.float32), scan.geometry, BRATS_FRAME, matrices[sequence]) > 0.5
    return mask


def _believed_ml(case_id: str, mask: Mask) -> float:
    volume_ml = round(float(np.count_nonzero(mask)) * BRATS_FRAME.voxel_ml, 1)
    low, high = BRAIN_LIMITS_ML
    if not low <= volume_ml <= high:
        raise QualityError(
            f"Case {case_id}: the brain mask has {volume_ml:,.0f} ml; {low:,.0f} to {high:,.0f} ml is believed. Give "
            "one by --brain-mask."
        )
    return volume_ml
