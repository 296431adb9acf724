"""Flags of results: whether a label map holds anything, how much of it is to be believed, and whether that can be said
of such scans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

from gliomask.arrays import LabelMap
from gliomask.flag import Flag
from gliomask.in_words import dice as dice_in_words
from gliomask.in_words import dice_with_interval
from gliomask.labels import Region
from gliomask.quality import Estimate

DOUBTFUL_DICE = {Region.WT: 0.75, Region.TC: 0.6, Region.ET: 0.6}
"""Expected Dice of each region below which a result is flagged. Of the 65 patients in use here a sixth lie below each
in cross-validation (SparseMultiOCM, post-processing 3d)."""

SELF_DOUBT_DICE = 0.8
"""What a network expects of its own whole tumour, below which a result is flagged where no calibration says what that
is worth. Of the 65 cross-validated patients four were below (ResidualUNet), and had a Dice of .42 to .64
(docs/tables/residual-unet_cases.tsv)."""

NOT_AS_CALIBRATED = frozenset(
    {
        "skull_on",
        "not_bare",
        "mask_uncertain",
        "sequences_swapped",
        "same_image",
        "no_image",
        "saturated",
        "orientation_wrong",
        "unlike_brain",
        "part_missing",
    }
)
"""Flags of scans with which no Dice is promised: calibrations come from scans that raise none of them.

With `not_1mm`, `brain_small` and `brain_cut` the network sees tissue that it knows, and its own doubt is kept, since it
is what warns. With `air_not_zero`, `already_normalised`, `nan_is_air` and `nan_filled` it sees what it would see in
clean scans (docs/input.md, What is air, what is brain).
"""


def expectation_holds(flags: Iterable[Flag]) -> bool:
    """Returns True where a calibrated Dice may be promised: no flag says that the scans are not what the calibration
    was made on.
    """
    return not any(flag.name in NOT_AS_CALIBRATED for flag in flags)


def unpromised(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Returns the flag `doubtful` where scans look so wrong that no Dice can be promised; nothing where
    `expectation_holds`.
    """
    wrong = [flag.name for flag in flags if flag.name in NOT_AS_CALIBRATED]
    if not wrong:
        return ()
    return (
        Flag(
            "doubtful",
            f"The scans look wrong ({', '.join(wrong)}), so no Dice can be promised. Look at scans and "
            "result with care.",
            0.0,
            1.0,
        ),
    )


def doubtful(estimates: Mapping[Region, Estimate]) -> tuple[Flag, ...]:
    """Returns a flag where a region is expected to be found badly, for all such regions together; no estimates, no
    flag.
    """
    low = {region: estimate for region, estimate in estimates.items() if estimate.dice < DOUBTFUL_DICE[region]}
    if not low:
        return ()
    words = ", ".join(
        f"{region.title} {dice_with_interval(estimate.dice, estimate.low, estimate.high)}"
        for region, estimate in low.items()
    )
    message = (
        f"The network doubts its own answer. Dice to be expected: {words}. Look at the result with care, and at "
        "whether the scans are what they should be."
    )
    worst = min(low, key=lambda region: low[region].dice - DOUBTFUL_DICE[region])
    return (Flag("doubtful", message, low[worst].dice, DOUBTFUL_DICE[worst]),)


def self_doubt(expected: Mapping[Region, float]) -> tuple[Flag, ...]:
    """Returns the flag `doubtful` where a network expects little of its own whole tumour: for results that no
    calibration judges.

    Args:
        expected: see `quality.expected_dice`.
    """
    dice = expected[Region.WT]
    if dice >= SELF_DOUBT_DICE:
        return ()
    message = (
        f"The network doubts its own answer: it expects a Dice of {dice_in_words(dice)} of its own whole tumour. "
        "What that is worth for such a patient was not "
        "measured. Look at the result with care, and at whether the scans are what they should be."
    )
    return (Flag("doubtful", message, dice, SELF_DOUBT_DICE),)


LOST_PART_ML = 1.0
"""Volume from which on a separate part that post-processing removed is flagged. Of 65 patients three have a second
focus of 1 ml or more.
"""


@dataclass(frozen=True)
class RemovedPart:
    """A separate part of the network's answer that post-processing removed.

    Args:
        voxels: how many it had.
        volume_ml: the same as a volume.
        centre_ras_mm: its centre in the world of the grid that the label map is delivered in.
    """

    voxels: int
    volume_ml: float
    centre_ras_mm: tuple[float, float, float]


def part_removed(parts: Ordered[RemovedPart], chain: str) -> tuple[Flag, ...]:
    """Returns a flag where a part that was removed is large enough for a second focus; nothing where all are specks.

    Args:
        parts: all that were removed, the largest first.
        chain: the post-processing that did it.
    """
    large = [part for part in parts if part.volume_ml >= LOST_PART_ML]
    if not large:
        return ()
    places = []
    for part in large:
        x, y, z = part.centre_ras_mm
        places.append(f"{part.volume_ml:.1f} ml at {x:.0f}, {y:.0f}, {z:.0f} mm")
    message = (
        f"Post-processing '{chain}' removed what may be a second focus ({'; '.join(places)}, "
        "RAS coordinates of the label map). Look there; --postprocess none leaves it in the label map."
    )
    return (Flag("part_removed", message, large[0].volume_ml, LOST_PART_ML),)


def nothing_found(label_map: LabelMap) -> tuple[Flag, ...]:
    """Returns a flag where a label map holds no tumour at all."""
    if label_map.any():
        return ()
    return (
        Flag(
            "nothing_found",
            "No tumour was found. The networks were trained on patients who all have one: look at the scans.",
            0.0,
            1.0,
        ),
    )


DOUBTS = ("nothing_found", "doubtful")
"""Flags that question the result as a whole, the gravest first. They are shown before any number."""


def doubts_first(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Returns flags in the order in which they are told: those that question the result as a whole, then the others as
    they came.
    """
    return tuple(sorted(flags, key=lambda flag: DOUBTS.index(flag.name) if flag.name in DOUBTS else len(DOUBTS)))


def doubted(flags: Iterable[Flag]) -> bool:
    """Returns True where a flag questions the result as a whole."""
    return any(flag.name in DOUBTS for flag in flags)
