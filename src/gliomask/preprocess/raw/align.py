"""Which scan leads, how the others come to it, and how it comes to BraTS space; and when to believe that they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
import scipy.ndimage as ndi

from gliomask.arrays import Affine, Mask, Volume, short_repr
from gliomask.errors import QualityError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.preprocess.raw.atlas import Atlas
from gliomask.preprocess.raw.registration import (
    Comparison,
    Image,
    Kind,
    Level,
    Match,
    best_start,
    in_threads,
    thin,
)
from gliomask.preprocess.raw.transforms import (
    Points,
    about,
    angle_degrees,
    distance_mm,
    inverse,
    move,
    nearest_rigid,
    stretches,
    turn,
)
from gliomask.sequences import Sequence

SEQUENCE_LEVELS = (Level(8, 4_000, 0.5), Level(4, 10_000, 0.2), Level(2, 30_000, 0.05, 3))
"""Coarse to fine, for two sequences of one head."""

FRAME_LEVELS = (Level(8, 5_000, 0.5), Level(4, 20_000, 0.1, 4))
"""Coarse to fine, for a head and the average brain; nothing finer than 4 mm is alike in two people."""

PITCH_DEGREES = (0, -9, 9, -18, 18, -27, 27, -36, 36)
PITCHES_FOLLOWED = 5
"""How far chin and chest are apart is where heads in scanners differ most: poses tried, and those of them that are
followed.
"""
SIDES_DEGREES = ((0, 0), (0, -20), (0, 20), (-15, 0), (15, 0))
"""Head tilted to a shoulder, or turned to a side: tried with each pitch angle."""
SAME_POSE_MM = 3.0
"""Of poses that end nearer to each other than this, mean over the brain, one is followed further."""

NEAR_FOLLOWED = 2
"""Poses that are followed where the place of the brain is roughly known."""

RESTARTS = 3

STRETCH_COST = 2.5
"""Without a cost the average brain grows until it fills the scalp, whose outline is as clear as the brain's. Brains
differ from the average by 5 % along an axis (one deviation), which costs 0.006 nats; scalps by 20 %, which costs 0.08
for each axis."""

COMPARED_MM = 10.0
"""The template's brain is compared with this much of its surroundings, where it is 0 and skull is dark."""

NOISE_SPREADS = 2.5
"""Above the middle of the noise, in distances from there to its 95th percentile: four standard deviations."""

MOST_NOISE_SHARE = 0.5
"""Of the same percentile: where the edges are brighter, they are in the head."""

LIGHT_MM = 1.0
"""What is finer adds voxels, and time, but nothing by which heads could be laid on each other."""

HEAD_SHARE = 0.15
"""A voxel is head where it is brighter than this share of the 98th percentile."""

REFERENCE_ORDER = (Sequence.T1CE, Sequence.T1, Sequence.FLAIR, Sequence.T2)
RESOLUTION_ADVANTAGE = 2.0
"""Another sequence leads where its voxels are smaller than T1ce's by more than this factor."""

# Limits of what is believed. Scales are those of the affine map to an average brain: among adults brains differ by some
# 10 % along an axis.
MIN_COVERAGE = 0.9
MAX_ANGLE_DEGREES = 50.0
SCALE_LIMITS = (0.75, 1.35)
MIN_INFORMATION = 0.1
"""Nats beyond chance. Sequences of one head share 0.7 and more, the average brain and a head 0.3 and more."""
SMALLER_HEADS = (0.92, 0.85, 0.79)
"""Sizes that are tried, as shares of the adult's, where the gain is not that of a brain."""
CERTAIN_GAIN = 1.3
"""TCGA-FG-6692 scaled by 0.85 to 1.1 has 1.37 to 1.41 on its brain, 1.15 to 1.22 against its scalp. Below, the mask is
flagged.
"""
LARGER_HEADS = (1.08, 1.16)
"""Sizes that are tried, as shares of the adult's, where the gain is that of a brain: in a large head the average brain
also settles inside the brain.
"""
MORE_INFORMATION = 1.03
"""A larger size is believed where it shares so many times the information, with the gain of a brain. TCGA-FG-6692
scaled by 1.07 to 1.16 has 1.23 to 1.39; by 1.03 and 1.05, 0.98 and 1.00; by less, the gain of a scalp."""
MIN_GAIN = 1.15
"""Information at the end, as a multiple of the most found at any displaced pose. Where two images do not belong
together, some displaced pose is as good.
"""
WAY_BACK_GAIN = 1.1
"""A given map is refused as leading the other way where its inverse shares more than so many times its information."""
DISPLACED_MM, DISPLACED_DEGREES = 15.0, 15.0

SHADING_MM = 30.0
"""The sensitivity of a coil is taken for the mean signal of the head within about this distance (one deviation of a
Gaussian), wider than what tells brain from scalp."""
LEAST_SENSITIVITY = 1e-3
"""As a share of the highest; where there is less, there is no head near."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a registration ended, and what was measured to believe it.

    Args:
        matrix: the fixed image's world to the moving image's, RAS millimetres.
        information: mutual information at the end, beyond chance, in nats.
        gain: the same, as a multiple of the most found at displaced poses.
        coverage: share of the brain that lies within the moving scan's field of view.
        angle_degrees: of the rotation in `matrix`.
        scales: stretches along the principal directions.
        shading_removed: the scan was registered without the shading of its coil, see `without_shading`.
    """

    matrix: Affine
    information: float
    gain: float
    coverage: float
    angle_degrees: float
    scales: tuple[float, float, float]
    shading_removed: bool = False

    __repr__ = short_repr

    def measured(self) -> dict[str, object]:
        """Returns the measures for the record of a run."""
        return {
            "mutual_information_nats": round(self.information, 4),
            "gain_over_displaced": round(min(self.gain, 99.0), 3),
            "brain_in_field_of_view": round(self.coverage, 4),
            "angle_degrees": round(self.angle_degrees, 2),
            "scales": [round(scale, 4) for scale in self.scales],
            **({"shading_removed": True} if self.shading_removed else {}),
        }


def choose_reference(examination: Examination) -> Sequence:
    """Returns the sequence that the others are brought to: T1ce, unless another has much smaller voxels."""
    present = [sequence for sequence in REFERENCE_ORDER if sequence in examination.scans]
    best = min(present, key=lambda sequence: examination.scans[sequence].geometry.voxel_ml)
    first = present[0]
    advantage = examination.scans[first].geometry.voxel_ml / examination.scans[best].geometry.voxel_ml
    return best if advantage > RESOLUTION_ADVANTAGE else first


def downsampled(scan: Scan) -> Scan:
    """Returns a scan smoothed and thinned to about `LIGHT_MM` where its voxels are smaller than that by half; others as
    they are.
    """
    if all(round(LIGHT_MM / mm) < 2 for mm in scan.geometry.spacing_mm):
        return scan
    thinned = thin(Image(scan.volume, scan.geometry), LIGHT_MM)
    return Scan(thinned.volume, thinned.geometry, scan.source)


def align_to_frame(scan: Scan, atlas: Atlas, threads: int = 1) -> Alignment:
    """Returns the affine map of the frame's world to the scan's under which the average brain lies on the patient's.

    In a small head the average brain settles against the scalp, where it shares more information than on the brain, but
    hardly more than displaced. Where the gain says so, the head is taken for a smaller one, size by size, until the
    gain is that of a brain. In a large head it settles inside the brain, with the gain of one; there a larger size
    shares clearly more information. Where no size has the gain of a brain, a strong shading may be the reason: under
    it wrong poses share more information than the right one. All sizes are then tried without the shading.

    Raises:
        QualityError: no pose was found that can be believed.
    """
    best = _align_sized(scan, atlas, 1.0, threads)
    if best.gain >= CERTAIN_GAIN:
        return _in_larger_head(scan, atlas, best, threads)
    best = _best_sized(scan, atlas, SMALLER_HEADS, best, threads)
    if best.gain >= CERTAIN_GAIN:
        return best
    even = _best_sized(without_shading(scan), atlas, (1.0, *SMALLER_HEADS), best, threads)
    return best if even is best else replace(even, shading_removed=True)


def _best_sized(scan: Scan, atlas: Atlas, sizes: Iterable[float], best: Alignment, threads: int) -> Alignment:
    """The alignment of the highest gain, `best` among them; sizes are tried until the gain is that of a brain."""
    for size in sizes:
        try:
            other = _align_sized(scan, atlas, size, threads)
        except QualityError:
            continue
        best = max(best, other, key=lambda alignment: alignment.gain)
        if best.gain >= CERTAIN_GAIN:
            break
    return best


def without_shading(scan: Scan) -> Scan:
    """Returns a scan with the shading of its coil divided out: every voxel of the head, (I, J, K), over the mean signal
    of the head near it; 0 in air.

    It is thinned to the finest of `FRAME_LEVELS`, and for registration alone: differences between tissues over more
    than some `SHADING_MM` go with the shading.

    Raises:
        QualityError: no head stands out.
    """
    thinned = thin(Image(scan.volume, scan.geometry), FRAME_LEVELS[-1].spacing_mm)
    head = head_mask(thinned.volume)
    sigma = [SHADING_MM / mm for mm in thinned.geometry.spacing_mm]
    weight = ndi.gaussian_filter(head.astype(np.float32), sigma)
    sensitivity = ndi.gaussian_filter(thinned.volume * head, sigma) / np.maximum(weight, LEAST_SENSITIVITY)
    floor = LEAST_SENSITIVITY * float(sensitivity.max())
    even = np.where(ndi.binary_fill_holes(head), thinned.volume / np.maximum(sensitivity, floor), 0)
    return Scan(even.astype(np.float32), thinned.geometry, scan.source)


def _in_larger_head(scan: Scan, atlas: Atlas, best: Alignment, threads: int) -> Alignment:
    for size in LARGER_HEADS:
        try:
            # The average brain lies inside the patient's already, so the search begins near there.
            larger = _align_sized(scan, atlas, size, threads, near=best.matrix)
        except QualityError:
            break
        if larger.gain < CERTAIN_GAIN or larger.information <= MORE_INFORMATION * best.information:
            break
        best = larger
    return best


def _align_sized(scan: Scan, atlas: Atlas, size: float, threads: int, near: Affine | None = None) -> Alignment:
    """As if the average head were of a size, as a share of the adult's: stretches cost how far they are from it."""
    scaled = np.diag([size, size, size, 1.0])
    grown = Image(scan.volume, Geometry(scan.geometry.shape, inverse(scaled) @ scan.geometry.affine))
    alignment = _align_adult(grown, atlas, threads, None if near is None else inverse(scaled) @ near)
    matrix = scaled @ alignment.matrix
    return replace(alignment, matrix=matrix, scales=stretches(matrix))


def _align_adult(moving: Image, atlas: Atlas, threads: int, near: Affine | None) -> Alignment:
    """Lays the average brain on a head of an adult's size; begins near a map, or looks for the head in all poses."""
    coarse, fine = (Comparison(atlas_image(atlas), moving, level, STRETCH_COST) for level in FRAME_LEVELS)
    brain = atlas.brain_points
    if near is None:
        starts = _head_poses(coarse, moving, brain, threads)
    else:
        start = nearest_rigid(near, brain)
        starts = best_start(coarse, [start, *_displaced(start, brain.mean(axis=0))], NEAR_FOLLOWED)
    if starts[0].information <= 0:
        raise QualityError("no pose was found in which the average brain overlaps it")
    poses = _distinct(in_threads(lambda start: coarse.register(start.matrix, "rigid"), starts, threads), brain)
    followed = in_threads(lambda pose: coarse.register(pose.matrix, "affine"), poses, threads)
    settled = _settled(coarse, max(followed, key=lambda match: match.information), brain)
    return _measured(fine, fine.register(settled.matrix, "affine"), brain, moving.geometry)


def _head_poses(coarse: Comparison, moving: Image, brain: Points, threads: int) -> list[Match]:
    """The best poses to begin from, one for each of several pitch angles, best first."""
    middle = _brain_centre(moving)
    poses = in_threads(
        lambda pitch: best_start(coarse, _head_starts(middle, brain.mean(axis=0), pitch))[0], PITCH_DEGREES, threads
    )
    return sorted(poses, key=lambda match: -match.information)[:PITCHES_FOLLOWED]


@lru_cache(maxsize=1)
def atlas_image(atlas: Atlas) -> Image:
    """Returns the average brain, to be compared near the brain, with its pyramid."""
    return Image(atlas.t1, atlas.geometry, np.asarray(atlas.depth_mm < COMPARED_MM))


def _distinct(matches: list[Match], points: Points) -> list[Match]:
    """The matches, best first, without those that lie on a better one."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda match: -match.information):
        if all(distance_mm(match.matrix, other.matrix, points).mean() > SAME_POSE_MM for other in kept):
            kept.append(match)
    return kept


def _settled(comparison: Comparison, match: Match, brain: Points) -> Match:
    """Starts again from a displaced pose as long as one of them is better than where the registration ended."""
    for _ in range(RESTARTS):
        better = best_start(comparison, _displaced(match.matrix, brain.mean(axis=0)))[0]
        if better.information <= match.information:
            break
        again = comparison.register(comparison.register(better.matrix, "rigid").matrix, "affine")
        match = max(match, again, key=lambda one: one.information)
    return match


def _head_starts(middle: Points, centre: Points, pitch: float) -> Iterator[Affine]:
    """Poses to begin from: the average brain in the upper part of the head, nodding so much, straight or to one side,
    and somewhat off.
    """
    for (tilt, yaw), up, ahead in product(SIDES_DEGREES, (0, -7, 7), (0, -7, 7)):
        yield about(centre, turn((0, tilt, yaw)) @ turn((pitch, 0, 0)), middle - centre + (0, ahead, up))


BRAIN_CENTRE_BELOW_TOP_MM = 80.0
HEAD_CENTRE_WITHIN_MM = 130.0
HEAD_SPACING_MM = 4.0
"""The head as a whole is looked for at about this spacing."""


def _brain_centre(image: Image) -> Points:
    """About where the middle of the brain is: below the top of the head, in the middle of its upper part.

    RAS millimetres, (3,).
    """
    light = image.thinned(HEAD_SPACING_MM)
    index = np.argwhere(head_mask(light.volume))
    points = move(light.geometry.affine, index.astype(np.float64))
    top = np.percentile(points[:, 2], 99.5)
    upper = points[points[:, 2] > top - HEAD_CENTRE_WITHIN_MM]
    middle = (np.percentile(upper[:, :2], 5, axis=0) + np.percentile(upper[:, :2], 95, axis=0)) / 2
    return np.array([middle[0], middle[1], top - BRAIN_CENTRE_BELOW_TOP_MM])


def head_mask(volume: Volume) -> Mask:
    """True in the head: brighter than a share of its bright voxels, and than the noise in the air; the largest piece.

    Raises:
        QualityError: nothing stands out.
    """
    high = float(np.percentile(volume, 98))
    bright = np.asarray(volume > max(HEAD_SHARE * high, min(_noise(volume), MOST_NOISE_SHARE * high)))
    if not bright.any():
        raise QualityError("no head stands out from the air in it")
    labelled, count = ndi.label(bright)
    if count < 2:
        return bright
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return np.asarray(labelled == sizes.argmax())


def _noise(volume: Volume) -> float:
    """What noise in the air hardly exceeds, from the twelve edges of the field of view, which heads seldom reach; 0
    where there is none.
    """
    near, far = [0, 0, -1, -1], [0, -1, 0, -1]
    edges = np.concatenate([volume[near, far].ravel(), volume[near, :, far].ravel(), volume[:, near, far].ravel()])
    middle, high = np.percentile(edges, (50, 95))
    return float(middle + NOISE_SPREADS * (high - middle))


def align_sequences(fixed: Image, other: Scan, brain: Points) -> Alignment:
    """Returns the rigid map of the reference's world to another scan's.

    Args:
        fixed: the scan that leads, see `near_brain`; its pyramid serves for all that are brought to it.
        other: the scan to bring to it.
        brain: where the brain is in the reference's world, (N, 3).

    Raises:
        QualityError: no pose was found that can be believed.
    """
    moving = Image(other.volume, other.geometry)
    coarse, *finer = (Comparison(fixed, moving, level) for level in SEQUENCE_LEVELS)
    starts = best_start(coarse, _sequence_starts(fixed, moving, brain), keep=2)
    if starts[0].information <= 0:
        raise QualityError("no pose was found in which the two overlap")
    best = max((coarse.register(start.matrix, "rigid") for start in starts), key=lambda match: match.information)
    for comparison in finer:
        best = comparison.register(best.matrix, "rigid")
    return _measured(finer[-1], best, brain, other.geometry)


def near_brain(scan: Scan, brain: Points) -> Image:
    """Returns a scan that others are to be brought to, compared near its brain alone: neck and jaw move against the
    skull.

    Args:
        scan: the reference.
        brain: where the brain is in its world, (N, 3).
    """
    return Image(scan.volume, scan.geometry, _near(brain, scan.geometry))


NEAR_MM = 25.0


def _near(brain: Points, geometry: Geometry) -> Mask:
    """True in the box round the brain, with a margin that holds skull and scalp: (I, J, K)."""
    index = move(inverse(geometry.affine), brain)
    margin = NEAR_MM / np.array(geometry.spacing_mm)
    low = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    high = np.maximum(np.ceil(index.max(axis=0) + margin), 1).astype(int)
    mask = np.zeros(geometry.shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def _sequence_starts(reference: Image, other: Image, brain: Points) -> Iterator[Affine]:
    """Poses to begin from: as the headers say; centres of the heads on each other; each somewhat turned."""
    centre = brain.mean(axis=0)
    for shift in (np.zeros(3), _brain_centre(other) - _brain_centre(reference)):
        for angles in ((0, 0, 0), (15, 0, 0), (-15, 0, 0), (0, 15, 0), (0, -15, 0), (0, 0, 15), (0, 0, -15)):
            yield about(centre, turn(angles), shift)


def _measured(comparison: Comparison, match: Match, brain: Points, moving: Geometry) -> Alignment:
    displaced = max(comparison.excess(pose) for pose in _displaced(match.matrix, brain.mean(axis=0)))
    information = comparison.excess(match.matrix)
    gain = information / displaced if displaced > 0 else float("inf")
    return Alignment(
        match.matrix,
        information,
        gain,
        coverage(match.matrix, brain, moving),
        angle_degrees(match.matrix),
        stretches(match.matrix),
    )


def _displaced(matrix: Affine, centre: Points) -> Iterator[Affine]:
    for axis, sign in product(range(3), (-1, 1)):
        yield matrix @ about(centre, np.eye(3), sign * DISPLACED_MM * np.eye(3)[axis])
        yield matrix @ about(centre, turn(sign * DISPLACED_DEGREES * np.eye(3)[axis]))


def coverage(matrix: Affine, points: Points, geometry: Geometry) -> float:
    """Returns the share of points that a map puts into a grid's field of view."""
    index = move(inverse(geometry.affine) @ matrix, points)
    inside = (index >= -0.5) & (index <= np.array(geometry.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def measure_given(fixed: Image, other: Scan, brain: Points, matrix: Affine) -> Alignment:
    """Returns what is measured of a map that another tool found.

    Args:
        fixed: the reference, see `near_brain`.
        other: the scan that was brought to it.
        brain: where the brain is in the reference's world, (N, 3).
        matrix: the reference's world to the scan's.

    Raises:
        QualityError: it cannot be believed, or its way back fits better.
    """
    comparison = Comparison(fixed, Image(other.volume, other.geometry), SEQUENCE_LEVELS[-1])
    alignment = _measured(comparison, Match(matrix, comparison.information(matrix)), brain, other.geometry)
    back = comparison.excess(inverse(matrix))
    if back > max(WAY_BACK_GAIN * alignment.information, MIN_INFORMATION):
        raise QualityError(
            f"turned round it fits better ({back:.3f} nats of information instead of {alignment.information:.3f}), so "
            "it leads the other way. Give the transform that resamples the sequence into the other, or its inverse"
        )
    refuse_unbelievable(alignment, "given")
    return alignment


def refuse_unbelievable(alignment: Alignment, kind: Kind | Literal["given"]) -> None:
    """Checks an alignment against the limits of this module; of one that is given, neither its angle nor whose scales
    they are is known.

    Raises:
        QualityError: one of them is passed; the message begins with what was found.
    """
    low, high = min(alignment.scales), max(alignment.scales)
    if alignment.information < MIN_INFORMATION:
        raise QualityError(
            f"the images share {alignment.information:.3f} nats of information where they ended; "
            f"{MIN_INFORMATION:g} is needed"
        )
    if alignment.gain < MIN_GAIN:
        limit = f"{MIN_GAIN:g} times is needed"
        raise QualityError(
            f"the images share hardly more where they ended ({alignment.gain:.2f} times) than {DISPLACED_MM:g} mm or "
            f"degrees away; {limit}"
        )
    if kind != "given" and alignment.angle_degrees > MAX_ANGLE_DEGREES:
        raise QualityError(
            f"it would be turned by {alignment.angle_degrees:.0f} degrees; up to {MAX_ANGLE_DEGREES:.0f} is believed"
        )
    if kind != "rigid" and not (SCALE_LIMITS[0] <= low and high <= SCALE_LIMITS[1]):
        what = "the average brain" if kind == "affine" else "it"
        raise QualityError(
            f"{what} would be scaled by {low:.2f} to {high:.2f}; {SCALE_LIMITS[0]:g} to {SCALE_LIMITS[1]:g} is believed"
        )
    if alignment.coverage < MIN_COVERAGE:
        share = 1 - alignment.coverage
        raise QualityError(
            f"{share:.0%} of the brain lies outside its field of view; up to {1 - MIN_COVERAGE:.0%} is accepted"
        )


def rigid_to_frame(scan: Scan, atlas: Atlas, affine: Alignment) -> Affine:
    """Returns the rigid map of the frame's world to the scan's: patients keep their size in the frame, as in BraTS.

    It begins at the one nearest to the affine map. Over nine patients of BraTS, whose place in the frame is known, that
    nearest one is 4.6 mm off on average, the registered one 3.9 mm; their places differ as much among themselves.
    """
    start = nearest_rigid(affine.matrix, atlas.brain_points)
    scan = without_shading(scan) if affine.shading_removed else scan
    comparison = Comparison(atlas_image(atlas), Image(scan.volume, scan.geometry), FRAME_LEVELS[-1])
    return comparison.register(start, "rigid").matrix
