"""Native-space preprocessing: an examination as the scanner gave it, into a `Case` in BraTS space; and label maps back
to the scanner's grids.

Steps: choose the reference; bring the others to it (rigid); bring it to the frame (rigid, by way of the average brain);
find the brain; lay every sequence into the frame in one interpolation. Each step can be left out or done by another
tool (`interface`), and each says what it measured.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gliomask.arrays import Affine, LabelMap, Mask, short_repr
from gliomask.case import Case
from gliomask.examination import Examination
from gliomask.flag import Flag
from gliomask.preprocess.gaps import nan_flags
from gliomask.preprocess.raw.align import CERTAIN_GAIN, choose_reference, downsampled
from gliomask.preprocess.raw.atlas import BRATS_FRAME
from gliomask.preprocess.raw.back import filled, labels_on
from gliomask.preprocess.raw.brain import on_grid
from gliomask.preprocess.raw.checks import has_skull, refuse_unfit
from gliomask.preprocess.raw.deface import FacePlane, face_plane
from gliomask.preprocess.raw.interface import OURS
from gliomask.preprocess.raw.mask import Brain, brain_in_frame
from gliomask.preprocess.raw.place import Placed, place
from gliomask.preprocess.raw.settings import (
    DEFAULT_PREPARATION,
    PreparationSettings,
    PreparationStep,
    ReportStep,
    describe,
    measures,
)
from gliomask.preprocess.raw.transforms import inverse
from gliomask.processors import thread_count
from gliomask.progress import Progress
from gliomask.sequences import Sequence

_log = logging.getLogger(__name__)


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
        registered_by: for each sequence, who brought it to where it lies; of the reference, into the frame.
        brain_by: who found the brain.
    """

    case: Case
    examination: Examination
    reference: Sequence
    matrices: Mapping[Sequence, Affine]
    steps: tuple[PreparationStep, ...]
    flags: tuple[Flag, ...] = ()
    registered_by: Mapping[Sequence, str] = field(default_factory=dict)
    brain_by: str = OURS

    __repr__ = short_repr

    def label_map_in(self, sequence: Sequence, label_map: LabelMap) -> LabelMap:
        """Returns a label map of the frame on a scan's own grid: (I, J, K).

        A voxel of the scan takes the label that fills most of it: labels are sampled at several places along thick
        axes, linearly, and averaged.
        """
        grid = self.examination.scans[sequence].geometry
        return labels_on(label_map, self.case.geometry, grid, inverse(self.matrices[sequence]))

    @cached_property
    def face(self) -> FacePlane:
        """What parts the face from the rest of the head, in BraTS space."""
        return face_plane(self.case.brain_mask, self.case.geometry)

    def mask_in(self, sequence: Sequence) -> Mask:
        """Returns the brain mask on a scan's own grid: (I, J, K)."""
        grid = self.examination.scans[sequence].geometry
        return filled(self.case.brain_mask, self.case.geometry, grid, inverse(self.matrices[sequence])) > 0.5


def prepare_examination(
    examination: Examination,
    settings: PreparationSettings = DEFAULT_PREPARATION,
    progress: Progress = lambda done, total: None,
) -> RawCase:
    """Brings an examination into BraTS space.

    Args:
        examination: all four sequences.
        settings: what to leave out, and what is known already.
        progress: called with (steps done, steps in all). What each step did is logged, its measures at the level DEBUG.

    Raises:
        CaseError: a sequence is missing, given twice, or no MR scan of a head.
        GeometryError: the brain mask that was given lies on no grid of the examination.
        UsageError: the transforms that were given do not go together.
        QualityError: a registration or the brain mask cannot be believed; the message says which, what was found and
            what to do.
        EngineUnavailableError: the extra `raw` is not installed.
    """
    refuse_unfit(examination, settings.without)
    steps: list[PreparationStep] = []
    # Reference, frame, mask, and each of the others.
    done = _telling(steps, len(examination.scans) + 2, progress)
    reference = choose_reference(examination)
    stripped = [sequence for sequence, scan in examination.scans.items() if not has_skull(scan.volume, scan.geometry)]
    skull_off = {"skull_off": [sequence.value for sequence in stripped]}
    grid = examination.scans[reference].geometry
    done(PreparationStep("reference", reference.value, f"the others are brought to it; {grid}", skull_off))
    # What is looked at; what is laid into the frame in the end are the scans themselves.
    light = Examination(
        examination.case_id, {sequence: downsampled(scan) for sequence, scan in examination.scans.items()}
    )
    finding = settings.brain_extraction is None and not stripped and "mask" not in settings.skip
    placed = place(examination, light, reference, settings, finding, done)
    brain = brain_in_frame(examination, light, reference, placed, stripped, settings, done)
    scans = examination.scans.items()
    flags = nan_flags(
        {sequence: scan.nan for sequence, scan in scans}, {sequence: scan.volume.size for sequence, scan in scans}, None
    )
    flags += _uncertain(placed) if finding else ()
    case = _laid(examination, placed, brain, settings)
    return RawCase(
        case, examination, reference, placed.matrices, tuple(steps), tuple(flags), placed.made_by, brain.made_by
    )


def _telling(steps: list[PreparationStep], in_all: int, progress: Progress) -> ReportStep:
    """Returns what keeps, logs and counts each step."""

    def done(step: PreparationStep) -> None:
        steps.append(step)
        _log.info("%s", describe(step))
        if step.measured:
            _log.debug("  %s", measures(step))
        progress(min(len(steps), in_all), in_all)

    return done


def _laid(examination: Examination, placed: Placed, brain: Brain, settings: PreparationSettings) -> Case:
    """The sequences in the frame, skull off."""
    volumes = on_grid(examination, BRATS_FRAME, placed.matrices, thread_count(settings.threads))
    for volume in volumes.values():
        volume[~brain.mask] = 0
    return Case(examination.case_id, volumes, BRATS_FRAME, without=settings.without)


def _uncertain(placed: Placed) -> tuple[Flag, ...]:
    affine = placed.average_brain
    if affine is None or affine.gain >= CERTAIN_GAIN:
        return ()
    message = (
        f"The average brain fits the head hardly better ({affine.gain:.2f} times) than displaced; {CERTAIN_GAIN:g} "
        "times is usual. The brain mask may reach beyond the brain. Look at it, or give one by --brain-mask."
    )
    return (Flag("mask_uncertain", message, affine.gain, CERTAIN_GAIN),)
