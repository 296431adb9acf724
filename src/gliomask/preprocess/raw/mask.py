"""Which voxels of BraTS space are brain: as another tool says, as the scans' own air says where the skull is off, or as
found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gliomask.air import BRAIN_LIMITS_ML, find_foreground
from gliomask.arrays import Affine, Mask, short_repr
from gliomask.errors import GeometryError, QualityError
from gliomask.examination import Examination
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.atlas import BRATS_FRAME
from gliomask.preprocess.raw.brain import find_brain
from gliomask.preprocess.raw.interface import OURS, BrainExtraction, GivenMask
from gliomask.preprocess.raw.place import Placed, refuse_misplaced
from gliomask.preprocess.raw.settings import PreparationSettings, PreparationStep, ReportStep
from gliomask.preprocess.raw.transforms import inverse
from gliomask.processors import thread_count
from gliomask.sequences import Sequence

SKULL_OFF = "whoever took the skull off"


@dataclass(frozen=True, eq=False)
class Brain:
    """The brain in BraTS space.

    Args:
        mask: (240, 240, 155), True inside.
        made_by: who found it.
    """

    mask: Mask
    made_by: str

    __repr__ = short_repr


def brain_in_frame(
    examination: Examination,
    light: Examination,
    reference: Sequence,
    placed: Placed,
    stripped: list[Sequence],
    settings: PreparationSettings,
    done: ReportStep,
) -> Brain:
    """Returns the brain mask in BraTS space.

    Args:
        examination: the scans.
        light: the same, at the resolution at which the brain is looked for.
        reference: the sequence that the others are brought to.
        placed: where they lie.
        stripped: sequences whose skull is off; where only some are, what is left of them is the brain for all.
        settings: what finds the brain, and what is left out.
        done: called with the step.

    Raises:
        GeometryError: a mask that was given lies on no grid of the examination.
        QualityError: the mask cannot be believed.
    """
    extraction = settings.brain_extraction
    if extraction is not None:
        mask, by = _extracted(examination, reference, extraction, placed.matrices), extraction.name
        what = "as given" if isinstance(extraction, GivenMask) else f"found by {extraction.name}"
    elif stripped or "mask" in settings.skip:
        mask, by = _bare(examination, stripped or list(examination.scans), placed.matrices), SKULL_OFF
        what = "what is not 0: the skull is off"
    else:
        assert placed.average_brain is not None
        affine, by = placed.average_brain.matrix, OURS
        from_atlas = {sequence: matrix @ affine for sequence, matrix in placed.between.items()}
        to_atlas = inverse(affine) @ placed.to_reference
        mask = find_brain(light, from_atlas, BRATS_FRAME, to_atlas, thread_count(settings.threads))
        what = "found: the average brain's surface moved to the skull"
    done(PreparationStep("mask", "", what, {"volume_ml": _believed_ml(examination.case_id, mask)}))
    refuse_misplaced(examination.case_id, placed, mask)
    return Brain(mask, by)


def _extracted(
    examination: Examination, reference: Sequence, extraction: BrainExtraction, matrices: Mapping[Sequence, Affine]
) -> Mask:
    mask, geometry = extraction.extract(examination, reference)
    mask = np.asarray(mask, bool)
    if mask.shape != geometry.shape:
        raise GeometryError(
            f"Case {examination.case_id}: the brain mask of {extraction.name} has the shape {mask.shape}, its grid has "
            f"{geometry.shape}. They must be equal."
        )
    if geometry.same_grid(BRATS_FRAME):
        return mask
    # T1 and T1ce often share a grid though the head moved between them: then the reference is meant.
    for sequence in sorted(examination.scans, key=lambda sequence: sequence != reference):
        if geometry.same_grid(examination.scans[sequence].geometry):
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
