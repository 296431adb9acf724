"""Quality flags: what looks wrong in a case that can be segmented, and what to do about it.

Flags warn; they change nothing. Each is a measurement of the scans held against a limit. How often each fires on real
patients, rightly and wrongly, is measured by `benchmarks/flags.py` and told in docs/input.md.
"""

from __future__ import annotations

from itertools import combinations
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from gliomask.air import BRAIN_LIMITS_ML, FAINT_LIMIT, FILLED_LIMIT, TINY, faces
from gliomask.arrays import Mask, Volume
from gliomask.case import Case
from gliomask.errors import CaseError, GeometryError
from gliomask.flag import Flag
from gliomask.geometry import QUATERNION_THRESHOLD, Geometry
from gliomask.preprocess.contrast import enhancement, fluid, likeness, resemblance, sample_ranks, top_share
from gliomask.preprocess.gaps import nan_flags, part_missing
from gliomask.preprocess.shape import (
    OrientationMeasures,
    end_areas_mm2,
    largest_section_mm2,
    likeness_to_brain,
    likeness_turned,
    misfit,
    orientation_measures,
)
from gliomask.sequences import PAPER_ORDER, Sequence

NOT_1MM_LIMIT = 0.05
"""Largest difference of a spacing from 1 mm, in mm, that is not flagged."""

CUT_LIMIT_MM2 = 6000.0
"""Largest piece of brain on a face of the field of view. The 65 patients have up to 3,860 mm2, at the bottom of the
cerebellum; a section of the whole brain has 15,000."""

NEGATIVE_LIMIT = 0.1
"""Share of brain voxels below 0. Scanners give none and interpolation gives a few; z-scores are negative for half."""

SAME_IMAGE_LIMIT = 0.999
"""Correlation of two sequences from which on they are one image. Of 68 patients none has more than 0.94."""

NO_IMAGE_LIMIT = 0.3
"""Lowest correlation of neighbouring voxels in an image. T1ce and T2 of 68 patients have 0.80 and more, noise has 0."""

SATURATED_LIMIT = 0.05
"""Largest share of brain voxels that may have the highest intensity. Releases are cut at a percentile, so that a
thousandth has it.
"""

CONTRAST_LIMITS = {"enhancement": -0.1, "likeness": 0.0, "fluid": 0.0}
"""Lowest `contrast` measures that are not flagged. Swapping the two sequences concerned turns a measure's sign, so 0 is
the natural limit; enhancement has some room, since a patient without any enhancement lies near 0."""

SAMPLES, FEWEST_SAMPLES = 50_000, 1000
"""Brain voxels that contrasts are measured on: about that many, on a regular grid. Fewer than the second number say
nothing.
"""


LIKENESS_LIMIT = 0.87
"""Dice with the average brain below which a mask is no usual brain. 68 patients have 0.918 and more; a ball has 0.86,
half a brain 0.68 to 0.79.
"""

SECTION_LIMIT_MM2 = 21_000.0
"""No axial section of a bare brain is larger (68 patients: up to 19,872 mm2); one of an adult head at the height of the
brain has some 24,000. Held only against masks that are unlike a whole brain, so that no large one is refused."""

SYMMETRY_LIMIT = 0.05
"""A phantom's outline is as symmetric front to back and top to bottom as left to right; of brains, whole or cut, some
measure is further from 0.
"""


STOUT_LIMITS = {"width": 0.96, "height": 0.6}
"""Ratios of `OrientationMeasures`; above both, nothing is a brain. Brains whose height is above this limit, whole or
with up to half cut off at the bottom or top, have a width of at most 0.90; a knee has 1.05."""

LONG_LIMIT = 1.1
"""Largest height, see `OrientationMeasures`, of a brain that is not cut off in front or behind; whole brains have at
most 0.87."""

SLAB_LIMITS = {"width": 1.0, "height": 0.45}
"""As `STOUT_LIMITS`, for what is cut off at both ends. Such slabs of 69 brains whose height is above this limit (some
60 mm and more) have a width of at most 0.934, thinner ones of 1.044; one of a knee has 1.043."""

SLIM_LIMITS = {"width": 0.6, "height": 0.6}
"""Below both, what is not cut off at the sides, bottom or top is no brain: 69 whole ones have 0.758 and 0.657 and more,
one without a ball of 10 cm on one side 0.61 and 0.71; a bottle on its side has 0.55."""

ALIEN_LIMIT = 0.62
"""What has no flat end and a lower Dice with the average brain is no brain. One half of a brain has 0.65."""


def refuse_no_brain(case: Case) -> None:
    """Refuses what can be no bare brain, whole or cut: a head or a slab of one whose air is 0, a phantom, a limb.

    Takes less than 0.1 s; where the outline speaks against a brain, a second or two more, to try other orientations.

    Raises:
        CaseError: it is so; the message says what was found.
    """
    if _skull_on(case) is not None:
        return
    mask, geometry = case.brain_mask, case.geometry
    measures, likeness = orientation_measures(mask, geometry), _likeness_of(case)
    if measures is None or likeness is None:
        return
    if likeness >= LIKENESS_LIMIT:
        return
    what = _no_brain(mask, geometry, measures, likeness)
    if what is not None:
        raise CaseError(
            f"Case {case.case_id}: this is no bare brain: {what}. Give scans of a head; with the skull on, give "
            "--raw always."
        )


def _no_brain(mask: Mask, geometry: Geometry, measures: OrientationMeasures, likeness: float) -> str | None:
    """Why what is unlike a whole brain is no part of one either, in words; None where it may be one."""
    section = largest_section_mm2(mask, geometry)
    if section > SECTION_LIMIT_MM2:
        return (
            f"an axial section has {section:,.0f} mm2, more than a bare brain ({SECTION_LIMIT_MM2:,.0f}), so the "
            "skull is on, or it is no head"
        )
    if (
        max(abs(measures.mirror), abs(measures.front), abs(measures.pitch)) < SYMMETRY_LIMIT
        and misfit(measures) is None
    ):
        return (
            "its outline is symmetric in every direction and unlike a brain (Dice with the average brain "
            f"{likeness:.2f}), as a phantom's is"
        )
    if min(_cut_areas_mm2(mask, geometry)) > CUT_LIMIT_MM2 and measures.height > 1:
        return "it goes on beyond the field of view at both ends and is longer than wide, as a limb is"
    ends = end_areas_mm2(mask, geometry)
    slab = _no_slab(measures, ends)
    if slab is not None:
        return slab
    stout = measures.width > STOUT_LIMITS["width"] and measures.height > STOUT_LIMITS["height"]
    long = measures.height > LONG_LIMIT
    alien = max(ends) <= CUT_LIMIT_MM2 and likeness < ALIEN_LIMIT
    # A brain that was cut off in front or behind is short from front to back.
    if not alien and not ((stout or long) and max(ends[2:4]) <= CUT_LIMIT_MM2):
        return None
    if likeness_turned(mask, geometry) >= LIKENESS_LIMIT:
        # A brain whose header is wrong: flagged as such.
        return None
    if alien:
        return (
            f"nothing of it was cut off, and it is shaped unlike a brain (Dice with the average brain {likeness:.2f})"
        )
    shape = "taller than long" if long else "as wide as long"
    return f"it is {shape}, from front to back, and unlike a brain (Dice {likeness:.2f}), as a limb or a joint is"


def _no_slab(measures: OrientationMeasures, ends: tuple[float, ...]) -> str | None:
    """Why a slab, or something slim, is no part of a brain; None where it may be one."""
    cut = min(ends[4:]) > CUT_LIMIT_MM2
    wide = measures.width > SLAB_LIMITS["width"] and measures.height > SLAB_LIMITS["height"]
    if cut and wide and max(ends[2:4]) <= CUT_LIMIT_MM2:
        return "it was cut off at both ends and is wider than long, as a joint is"
    slim = measures.width < SLIM_LIMITS["width"] and measures.height < SLIM_LIMITS["height"]
    if slim and max(*ends[:2], *ends[4:]) <= CUT_LIMIT_MM2:
        return (
            "from front to back it is far longer than wide and high (their ratios to its length are "
            f"{measures.width:.2f} and {measures.height:.2f}, those of brains 0.65 and more)"
        )
    return None


_likeness: WeakKeyDictionary[Case, float | None] = WeakKeyDictionary()


def _likeness_of(case: Case) -> float | None:
    """The likeness of a case's mask to a brain, measured once for both who ask: it takes .15 s."""
    if case not in _likeness:
        _likeness[case] = likeness_to_brain(case.brain_mask, case.geometry)
    return _likeness[case]


def _cut_areas_mm2(mask: Mask, geometry: Geometry) -> tuple[float, float]:
    """What lies on the lowest and on the highest axial face of the field of view."""
    turn = geometry.reorientation_to("LPS")
    width, length, _ = turn.target.spacing_mm
    laid = turn.apply(mask)
    return float(laid[:, :, 0].sum() * width * length), float(laid[:, :, -1].sum() * width * length)


def _unlike_brain(case: Case) -> Flag | None:
    likeness = _likeness_of(case)
    if likeness is None or likeness >= LIKENESS_LIMIT:
        return None
    message = (
        f"What is not air is shaped unlike a whole brain (Dice with the average brain {likeness:.2f}; "
        f"{LIKENESS_LIMIT:g} and more is usual). "
        "Check that it is a bare brain, and that none of it was cut off."
    )
    return Flag("unlike_brain", message, likeness, LIKENESS_LIMIT)


def check_case(case: Case) -> list[Flag]:
    """Returns the flags of a case; an empty list where nothing looks wrong. Takes a few tenths of a second.

    Sequences are compared only where the brain is bare: scalp and noise have contrasts of their own.
    """
    flags = [_not_1mm(case), _orientation(case)]
    skull = _skull_on(case)
    voxels = dict.fromkeys(case.sequences, case.brain_mask.size)
    flags += nan_flags(case.nan, voxels, case.brain_mask if skull is None else None)
    if skull is not None:
        return [flag for flag in (*flags, skull) if flag is not None]
    flags += [_air_not_zero(case), *_not_bare(case), part_missing(case)]
    samples, neighbours = brain_samples(case), brain_samples(case, ahead=1)
    broken = (_brain_small(case), _brain_cut(case))
    turned = None if any(broken) else brain_turned(case.brain_mask, case.geometry)
    flags += [*broken, turned, None if turned else _unlike_brain(case)]
    normalised = _background(case)
    # A constant background says already what negative intensities would.
    of_samples = check_samples(samples, neighbours)
    flags += [normalised, *(flag for flag in of_samples if normalised is None or flag.name != normalised.name)]
    return [flag for flag in flags if flag is not None]


def check_samples(samples: npt.NDArray[np.float32], neighbours: npt.NDArray[np.float32]) -> list[Flag]:
    """Returns the flags that need no more of a case than its samples, (4, N), and each one's neighbour, 0 where that is
    no brain.

    Swaps are looked for only among four different images.
    """
    strange = [flag for flag in (_same_image(samples), _no_image(samples, neighbours)) if flag is not None]
    flags = [_negative(samples), *strange, _saturated(samples), None if strange else sequences_swapped(samples)]
    return [flag for flag in flags if flag is not None]


def _not_1mm(case: Case) -> Flag | None:
    spacing = case.geometry.spacing_mm
    off = max(abs(mm - 1) for mm in spacing)
    if off <= NOT_1MM_LIMIT:
        return None
    sides = " x ".join(f"{mm:.3g}" for mm in spacing)
    return Flag(
        "not_1mm",
        f"Voxels are {sides} mm; the networks were trained on 1 x 1 x 1 mm. Resample all four sequences to 1 mm first.",
        off,
        NOT_1MM_LIMIT,
    )


def _orientation(case: Case) -> Flag | None:
    if case.header is None:
        return None
    header = (Nifti2Header if len(case.header) == Nifti2Header.template_dtype.itemsize else Nifti1Header)(
        case.header, check=False
    )
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        message = (
            "The header does not say where left and right are (sform and qform codes are 0). Check the orientation, "
            "or convert from DICOM again."
        )
        return Flag("orientation_unknown", message, 0.0, 1.0)
    if header["sform_code"] <= 0 or header["qform_code"] <= 0:
        return None
    limit = max(case.geometry.spacing_mm)
    header.quaternion_threshold = QUATERNION_THRESHOLD
    try:
        distance_mm = case.geometry.corner_distance_mm(Geometry(case.geometry.shape, header.get_qform()))
    except (GeometryError, HeaderDataError, ValueError):
        length = float(np.linalg.norm([header["quatern_b"], header["quatern_c"], header["quatern_d"]]))
        unreadable = (
            "The header's qform is no rotation and cannot be read; the sform was used. Programs that use the qform "
            "will show the result elsewhere."
        )
        return Flag("two_orientations", unreadable, length if np.isfinite(length) else 0.0, 1.0)
    message = (
        f"The header's sform and qform differ by up to {distance_mm:.3g} mm; the sform was used. Programs that use the "
        "qform will show the result elsewhere."
    )
    return Flag("two_orientations", message, distance_mm, limit) if distance_mm > limit else None


def _background(case: Case) -> Flag | None:
    for sequence, air in case.foreground.airs.items():
        # A constant as small as that was added to keep a logarithm or a division from 0.
        if abs(air.level) > TINY * air.bright:
            message = (
                f"{sequence.value}: air is {air.level:.4g}, not 0, so the intensities were normalised already. "
                "They are normalised again here; give the scans as they came from the scanner if there are any."
            )
            return Flag("already_normalised", message, air.level, 0.0)
    return None


def _air_not_zero(case: Case) -> Flag | None:
    faint = case.foreground.faint
    if not faint:
        return None
    names = ", ".join(case.foreground.unclean)
    share = faint / case.brain_mask.size
    message = (
        f"Air is not exactly 0 ({names}): {faint:,} voxels are hardly above it, as after interpolation by splines, "
        "and were not taken for brain. "
        "Give the scans with 0 outside the brain."
    )
    return Flag("air_not_zero", message, share, FAINT_LIMIT)


def _not_bare(case: Case) -> list[Flag]:
    flags = []
    for sequence in case.foreground.not_bare:
        filled = case.foreground.airs[sequence].filled
        others = ", ".join(other.value for other in case.sequences if other not in case.foreground.not_bare)
        message = (
            f"{sequence.value}: {filled:.0%} of the field of view is not air, more than a bare brain, but the "
            "others are bare: "
            f"the brain was taken from {others}. Strip the skull of all sequences with one mask."
        )
        flags.append(Flag("not_bare", message, filled, FILLED_LIMIT))
    return flags


def _skull_on(case: Case) -> Flag | None:
    """Fires where all sequences show more than a bare brain, or what is left of them is more."""
    remedy = "Strip the skull in all four sequences first (air and everything outside the brain 0)."
    voxels, voxel_ml, airs = case.brain_mask.size, case.geometry.voxel_ml, case.foreground.airs.values()
    filled = min(air.filled for air in airs)
    if filled > FILLED_LIMIT:
        return Flag(
            "skull_on",
            f"{filled:.0%} of the field of view is not air, more than a bare brain can fill. {remedy}",
            filled,
            FILLED_LIMIT,
        )
    volume_ml = max(_brain_ml(case), min(air.filled for air in airs) * voxels * voxel_ml)
    if volume_ml > BRAIN_LIMITS_ML[1]:
        return Flag(
            "skull_on",
            f"{volume_ml:,.0f} ml are not air, more than a brain has. {remedy}",
            volume_ml,
            BRAIN_LIMITS_ML[1],
        )
    return None


def _brain_ml(case: Case) -> float:
    return int(np.count_nonzero(case.brain_mask)) * case.geometry.voxel_ml


def _brain_small(case: Case) -> Flag | None:
    volume_ml = _brain_ml(case)
    message = (
        f"Only {volume_ml:,.0f} ml are not 0, less than a brain has. Check that the scans are whole and that the "
        "spacing in the header is right."
    )
    return Flag("brain_small", message, volume_ml, BRAIN_LIMITS_ML[0]) if volume_ml < BRAIN_LIMITS_ML[0] else None


def _brain_cut(case: Case) -> Flag | None:
    i, j, k = case.geometry.spacing_mm
    areas = [
        np.count_nonzero(face) * mm2
        for face, mm2 in zip(faces(case.brain_mask), (j * k, j * k, i * k, i * k, i * j, i * j), strict=True)
    ]
    largest = float(max(areas))
    message = (
        f"The brain is cut by the edge of the field of view ({largest:,.0f} mm2 on one face). What lies outside is "
        "not segmented; give whole scans."
    )
    return Flag("brain_cut", message, largest, CUT_LIMIT_MM2) if largest > CUT_LIMIT_MM2 else None


def _negative(samples: npt.NDArray[np.float32]) -> Flag | None:
    for sequence, values in zip(PAPER_ORDER, samples, strict=True):
        share = float((values < 0).sum() / max(1, values.size))
        if share > NEGATIVE_LIMIT:
            message = (
                f"{sequence.value}: {share:.0%} of the brain is below 0, so the intensities were normalised already. "
                "They are normalised again here; give the scans as they came from the scanner if there are any."
            )
            return Flag("already_normalised", message, share, NEGATIVE_LIMIT)
    return None


def brain_turned(mask: Mask, geometry: Geometry) -> Flag | None:
    """Returns a flag where a whole, bare brain does not lie as the grid says; left and right cannot be told."""
    measures = orientation_measures(mask, geometry)
    mismatch = None if measures is None else misfit(measures)
    if mismatch is None:
        return None
    what, value, limit = mismatch
    message = (
        f"The brain does not lie as the header says: {what} (the axes run {geometry.orientation}). "
        "Check the orientation in a viewer, or convert from DICOM again. Whether left and right are right "
        "cannot be checked."
    )
    return Flag("orientation_wrong", message, value, limit)


def _same_image(samples: npt.NDArray[np.float32]) -> Flag | None:
    if samples.shape[1] < FEWEST_SAMPLES:
        return None
    for first, second in combinations(range(len(PAPER_ORDER)), 2):
        value = resemblance(samples[first], samples[second])
        if value > SAME_IMAGE_LIMIT:
            names = f"{PAPER_ORDER[first].value} and {PAPER_ORDER[second].value}"
            return Flag(
                "same_image",
                f"{names} are the same image (correlation {value:.4f}). Give each sequence its own scan.",
                value,
                SAME_IMAGE_LIMIT,
            )
    return None


def _no_image(samples: npt.NDArray[np.float32], neighbours: npt.NDArray[np.float32]) -> Flag | None:
    has_neighbour = neighbours.any(axis=0)
    if np.count_nonzero(has_neighbour) < FEWEST_SAMPLES:
        return None
    for sequence, values, ahead in zip(
        PAPER_ORDER, samples[:, has_neighbour], neighbours[:, has_neighbour], strict=True
    ):
        value = resemblance(values, ahead)
        if values.any() and value < NO_IMAGE_LIMIT:
            message = (
                f"{sequence.value}: neighbouring voxels have little to do with each other (correlation {value:.2f}), "
                "as in noise. Look at the image."
            )
            return Flag("no_image", message, value, NO_IMAGE_LIMIT)
    return None


def _saturated(samples: npt.NDArray[np.float32]) -> Flag | None:
    if samples.shape[1] < FEWEST_SAMPLES:
        return None
    for sequence, values in zip(PAPER_ORDER, samples, strict=True):
        share = top_share(values) if values.any() else 0.0
        if share > SATURATED_LIMIT:
            message = (
                f"{sequence.value}: {share:.0%} of the brain has the highest intensity of all ({values.max():g}), so "
                "what is bright was cut off. "
                "Convert from the scanner's images again, with more bits or scaled."
            )
            return Flag("saturated", message, share, SATURATED_LIMIT)
    return None


def sequences_swapped(samples: npt.NDArray[np.float32]) -> Flag | None:
    """Returns a flag where the contrasts are not those of FLAIR, T1, T1ce and T2, the rows of `samples`, (4, N).

    A row of zeros is a missing sequence; what needs it is not looked at.
    """
    if samples.shape[1] < FEWEST_SAMPLES:
        return None
    sampled = {sequence for sequence, row in zip(PAPER_ORDER, samples, strict=True) if row.any()}
    measured = []
    if sampled == set(PAPER_ORDER):
        ranks = sample_ranks(samples)
        measured.append(
            ("likeness", likeness(ranks), "T1 and T1ce look less alike, and FLAIR and T2 too, than across these pairs")
        )
        measured.append(("fluid", fluid(ranks), "fluid is dark in T2 and bright in FLAIR, the wrong way round"))
    if {Sequence.T1, Sequence.T1CE} <= sampled:
        measured.append(("enhancement", enhancement(samples), "T1 has brighter spots than T1ce"))
    for name, value, what in measured:
        limit = CONTRAST_LIMITS[name]
        if value < limit:
            message = (
                f"The sequences look swapped: {what} ({name} {value:.2f}). Look at the four images and check which "
                "file is which."
            )
            return Flag("sequences_swapped", message, value, limit)
    return None


def brain_samples(case: Case, ahead: int = 0) -> npt.NDArray[np.float32]:
    """Returns the intensities of a regular grid of brain voxels: (4, N), sequences in the paper's order, zeros for
    those that are not there.

    Args:
        case: the scans.
        ahead: take instead the voxel so many further along the first axis, 0 where that is outside the brain.
    """
    step = max(1, round((np.count_nonzero(case.brain_mask) / SAMPLES) ** (1 / 3)))
    grid = (slice(step // 2, None, step),) * 3
    inside = case.brain_mask[grid]
    rows = []
    for sequence in PAPER_ORDER:
        nothing = np.zeros(np.count_nonzero(inside), np.float32)
        rows.append(nothing if sequence in case.without else _ahead(case.tissue(sequence), grid, ahead)[inside])
    return np.stack(rows)


def _ahead(volume: Volume, grid: tuple[slice, slice, slice], ahead: int) -> Volume:
    """The voxels of a grid, or those so many further along the first axis; 0 beyond the volume."""
    further = volume[grid[0].start + ahead :: grid[0].step, grid[1], grid[2]]
    missing = volume[grid].shape[0] - further.shape[0]
    return np.pad(further, ((0, missing), (0, 0), (0, 0))) if missing else further
