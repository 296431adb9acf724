"""From probabilities to the label map: the decision for each voxel, and what is done to the label map after it, by
name.

Label maps come on network axes (`preprocess.channels.NETWORK_ORIENTATION`): axial slices lie along K. Post-processing 1
and 2 are Ben Naceur et al. 2020's, `legacy` is what the authors' published `prediction.py` does to the letter, and `3d`
is ours. See docs/postprocessing.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from gliomask.arrays import LabelMap, Mask
from gliomask.errors import UsageError
from gliomask.labels import Label, Region, are_regions

MIN_COMPONENT_PIXELS = 110
"""Smallest component that post-processing 1 keeps (authors' `prediction.py`; its docstring says 100, its default and
its call 110).
"""

MIN_COMPONENT_MM2 = 110.0
"""The same as an area: the authors' slices have pixels of 1 mm2."""

NEIGHBOURS_IN_SLICE = np.zeros((3, 3, 3), np.bool_)
NEIGHBOURS_IN_SLICE[:, :, 1] = True
"""8-connected within an axial slice, not connected between slices."""

CROSS_IN_SLICE = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[:, :, None]
"""(3, 3, 1): OpenCV's `MORPH_ELLIPSE` of 3 x 3 pixels, which is a plus."""

NEIGHBOURS_IN_VOLUME = np.ones((3, 3, 3), np.bool_)
"""26-connected."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Cleaning:
    """The choices of chain `3d`; benchmarks/choose_postprocess.py makes them by cross-validation.

    Args:
        min_share: components of the whole tumour below this share of the largest become background; 0 keeps all.
        min_enhancing_ml: enhancing tumour of less than this in all becomes core, label 1: networks find specks of
            enhancement in tumours that have none.
        min_enhancing_share: likewise, below this share of the whole tumour.
        fill_holes: background enclosed by tumour core becomes label 1, by the whole tumour oedema.
    """

    min_share: float = 0.1
    min_enhancing_ml: float = 0.0
    min_enhancing_share: float = 0.0
    fill_holes: bool = False


CHOSEN_CLEANING = Cleaning(min_share=0.5)
"""What chain `3d` does: components of less than half the largest are dropped. Chosen by nested cross-validation with
SparseMultiOCM on 52 patients, each of the four folds' choice being the same (benchmarks/choose_postprocess.py,
docs/tables/postprocess.tsv)."""


@dataclass(frozen=True)
class Chain:
    """One way of post-processing.

    Args:
        name: as typed after `--postprocess` and written in a model file.
        description: what it does, in a line.
        steps: applied in order; each takes a label map (I, J, K) and the spacing and returns a new one.
    """

    name: str
    description: str
    steps: tuple[Callable[[LabelMap, Spacing], LabelMap], ...]


DECIDED_PLANES = 16
"""Planes of a volume that are decided on at a time."""


def decide(probabilities: npt.NDArray[np.float32], outputs: tuple[str, ...]) -> LabelMap:
    """Returns the label of each voxel.

    A network of labels is asked which is the most probable. A network of regions is asked of each region in turn
    whether it is more probable than not: a voxel that is tumour with 0.6, core with 0.4 and enhancing with 0.3 is
    oedema, though background has the largest single probability.

    Args:
        probabilities: (..., 4), one per label.
        outputs: what the network answers with: `labels.LABEL_NAMES` or `labels.REGION_NAMES`, in any order.
    """
    if probabilities.ndim == 4 and len(probabilities) > DECIDED_PLANES:
        # Part by part, for a whole volume's comparisons take as much memory as its probabilities.
        result: LabelMap = np.empty_like(probabilities[..., 0], np.uint8)
        for first in range(0, len(probabilities), DECIDED_PLANES):
            result[first : first + DECIDED_PLANES] = decide(probabilities[first : first + DECIDED_PLANES], outputs)
        return result
    if not are_regions(outputs):
        return np.asarray(np.argmax(probabilities, axis=-1), np.uint8)
    background, necrotic, enhancing = (
        probabilities[..., label] for label in (Label.BACKGROUND, Label.NECROTIC, Label.ENHANCING)
    )
    label_map: LabelMap = np.where(background < 0.5, np.uint8(Label.OEDEMA), np.uint8(Label.BACKGROUND))
    label_map[necrotic + enhancing > 0.5] = Label.NECROTIC
    label_map[enhancing > 0.5] = Label.ENHANCING
    return label_map


def postprocess(label_map: LabelMap, chain: str, spacing_mm: Spacing) -> LabelMap:
    """Returns a label map after post-processing; the one given is left as it is.

    Args:
        label_map: (I, J, K), axial slices along K.
        chain: a name in `CHAINS`.
        spacing_mm: distance between voxels along I, J, K.

    Returns:
        A new (I, J, K) array. A label map without tumour comes back unchanged.

    Raises:
        UsageError: there is no such chain.
    """
    if chain not in CHAINS:
        raise UsageError(f"There is no post-processing '{chain}'. Known ones: {', '.join(CHAINS)}.")
    result = label_map.copy()
    if not label_map.any():
        return result
    box = tumour_box(label_map)
    cropped = result[box]
    for step in CHAINS[chain].steps:
        cropped = step(cropped, spacing_mm)
    result[box] = cropped
    return result


@dataclass(frozen=True)
class CoreRule:
    """What is called core in a tumour that hardly enhances; benchmarks/case_rules.py core chooses the numbers for a
    model by cross-validation.

    Most gliomas that networks learn from enhance, and there the core is what lies within the enhancement. A low-grade
    tumour's core does not enhance and looks much like oedema; networks rarely give it more than one half, but more than
    to oedema.

    Args:
        enhancing_share: a tumour hardly enhances where less than this share of it is enhancing.
        core_probability: its core is then wherever the network gives core more than this.
    """

    enhancing_share: float
    core_probability: float

    def applies(self, label_map: LabelMap) -> bool:
        """Whether there is tumour, and hardly any of it enhances."""
        tumour = np.count_nonzero(label_map)
        return bool(np.count_nonzero(label_map == Label.ENHANCING) < self.enhancing_share * tumour)

    def widen(self, label_map: LabelMap, core: npt.NDArray[np.float32]) -> LabelMap:
        """Returns a new label map in which oedema with enough probability of core is core; the whole tumour and its
        enhancing part stay.

        Args:
            label_map: (I, J, K).
            core: (I, J, K), the probability of TC.
        """
        more = (label_map == Label.OEDEMA) & (core > self.core_probability)
        return np.where(more, np.uint8(Label.NECROTIC), label_map)


@dataclass(frozen=True)
class Removed:
    """Components that a rule took out of a label map.

    Args:
        components: how many.
        volume_ml: of all of them together.
    """

    components: int
    volume_ml: float


@dataclass(frozen=True)
class LostPart:
    """A separate part of the whole tumour of which post-processing left nothing.

    Args:
        voxels: how many it had.
        volume_ml: the same as a volume.
        centre: its centre of mass, as indices (i, j, k) of the volume.
    """

    voxels: int
    volume_ml: float
    centre: tuple[float, float, float]


def lost_parts(before: LabelMap, after: LabelMap, spacing_mm: Spacing) -> tuple[LostPart, ...]:
    """Returns the parts (26-connected) of the whole tumour that are wholly gone, the largest first: a second focus may
    be among them.

    What was only trimmed is not listed: an opening takes single voxels off every border.

    Args:
        before: (I, J, K), the network's answer.
        after: (I, J, K), the same after post-processing.
        spacing_mm: distance between voxels along I, J, K.
    """
    if not before.any() or not ((before > 0) & (after == 0)).any():
        return ()
    box = tumour_box(before)
    components, count = scipy.ndimage.label(before[box], NEIGHBOURS_IN_VOLUME)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    left = np.bincount(components[after[box] > 0], minlength=count + 1)
    gone = [number for number in range(1, count + 1) if not left[number]]
    centres = scipy.ndimage.center_of_mass(np.ones(components.shape, np.bool_), components, gone)
    start, voxel_ml = [part.start for part in box], float(np.prod(spacing_mm)) / 1000
    parts = [
        LostPart(
            int(sizes[number]),
            float(sizes[number]) * voxel_ml,
            (centre[0] + start[0], centre[1] + start[1], centre[2] + start[2]),
        )
        for number, centre in zip(gone, centres, strict=True)
    ]
    return tuple(sorted(parts, key=lambda part: -part.voxels))


@dataclass(frozen=True)
class EnhancementRule:
    """What makes an enhancing component believable: a confident seed, as in thresholding with hysteresis (Canny, IEEE
    TPAMI 1986).

    A tumour that does not enhance often gets a little unsure enhancement from a network; true enhancement has a
    confident part, however small.

    Args:
        probability: a voxel is confident where the network gives enhancement more than this.
        seed_ml: a component (26-neighbourhood) of enhancing voxels stays where its confident voxels fill at least this
            volume.
    """

    probability: float
    seed_ml: float

    def confirm(
        self, label_map: LabelMap, enhancing: npt.NDArray[np.float32], spacing_mm: Spacing
    ) -> tuple[LabelMap, Removed]:
        """Returns a new label map in which components without a seed are necrotic or non-enhancing core, and what was
        removed.

        Args:
            label_map: (I, J, K).
            enhancing: (I, J, K), the probability of ET.
            spacing_mm: size of a voxel.
        """
        if not (label_map == Label.ENHANCING).any():
            return label_map.copy(), Removed(0, 0.0)
        voxel_ml = float(np.prod(spacing_mm)) / 1000
        result, box = label_map.copy(), tumour_box(label_map)
        components, count = scipy.ndimage.label(label_map[box] == Label.ENHANCING, np.ones((3, 3, 3)))
        seeds = (
            np.bincount(components.ravel(), weights=(enhancing[box] > self.probability).ravel(), minlength=count + 1)
            * voxel_ml
        )
        # Half a voxel of tolerance: 30 voxels of 1 mm are .03 ml in spite of rounding.
        doubtful = seeds < self.seed_ml - voxel_ml / 2
        doubtful[0] = False
        lost = doubtful[components]
        result[box][lost] = Label.NECROTIC
        return result, Removed(int(np.count_nonzero(doubtful)), float(np.count_nonzero(lost)) * voxel_ml)


def tumour_box(label_map: LabelMap) -> tuple[slice, slice, slice]:
    """Returns the box of all tumour with one voxel around it where the volume goes on, so that its border is background
    or the volume's own.
    """
    low_high = []
    for axis in range(3):
        positions = np.flatnonzero(label_map.any(axis=tuple({0, 1, 2} - {axis})))
        low_high.append(slice(max(int(positions[0]) - 1, 0), int(positions[-1]) + 2))
    return low_high[0], low_high[1], low_high[2]


def drop_small_in_slices(label_map: LabelMap, spacing_mm: Spacing) -> LabelMap:
    """Post-processing 1: components of the whole tumour below `MIN_COMPONENT_MM2` in an axial slice become background.

    The area is rounded to whole pixels, so that 1 mm pixels give the authors' 110 whatever the last digits of the
    header.
    """
    pixels = round(MIN_COMPONENT_MM2 / (spacing_mm[0] * spacing_mm[1]))
    return _drop_components(label_map, NEIGHBOURS_IN_SLICE, pixels)


def drop_small_in_slices_literally(label_map: LabelMap, spacing_mm: Spacing) -> LabelMap:  # noqa: ARG001 - every step takes a spacing
    """Post-processing 1 as published: `MIN_COMPONENT_PIXELS`, whatever a pixel measures."""
    return _drop_components(label_map, NEIGHBOURS_IN_SLICE, MIN_COMPONENT_PIXELS)


def smooth_border(label_map: LabelMap, spacing_mm: Spacing) -> LabelMap:  # noqa: ARG001 - every step takes a spacing
    """Post-processing 2, as the paper means it: the whole tumour's mask is opened in every axial slice; labels within
    it stay as they are.

    What lies beyond the image neither erodes nor dilates, as in OpenCV.
    """
    eroded = scipy.ndimage.binary_erosion(label_map > 0, CROSS_IN_SLICE, border_value=1)
    return np.where(scipy.ndimage.binary_dilation(eroded, CROSS_IN_SLICE), label_map, np.uint8(Label.BACKGROUND))


def open_grey_levels(label_map: LabelMap, spacing_mm: Spacing) -> LabelMap:  # noqa: ARG001 - every step takes a spacing
    """Post-processing 2 as published: a grey-scale opening of the labels themselves, as if they were intensities.

    A line of enhancing tumour in oedema becomes oedema, while a line of oedema in enhancing tumour stays. The authors'
    labels are 0, 1, 2, 4; ours have the same order, on which alone minimum and maximum depend. Borders as in OpenCV's
    `morphologyEx`.
    """
    highest = np.iinfo(np.uint8).max
    eroded = scipy.ndimage.minimum_filter(label_map, footprint=CROSS_IN_SLICE, mode="constant", cval=highest)
    return np.asarray(scipy.ndimage.maximum_filter(eroded, footprint=CROSS_IN_SLICE, mode="constant", cval=0), np.uint8)


def clean(label_map: LabelMap, spacing_mm: Spacing, cleaning: Cleaning = CHOSEN_CLEANING) -> LabelMap:
    """Drops small components of the whole tumour in three dimensions, then applies the rules against holes and phantom
    enhancement.

    Args:
        label_map: (I, J, K).
        spacing_mm: distance between voxels along I, J, K.
        cleaning: the choices.
    """
    result = drop_small_in_volume(label_map, cleaning.min_share)
    if cleaning.fill_holes:
        result = fill_holes(result)
    return distrust_little_enhancement(result, spacing_mm, cleaning)


def drop_small_in_volume(label_map: LabelMap, min_share: float) -> LabelMap:
    """Components of the whole tumour, 26-connected, with fewer voxels than `min_share` of the largest become
    background.
    """
    return _drop_components(label_map, NEIGHBOURS_IN_VOLUME, lambda sizes: min_share * sizes.max(initial=0))


def fill_holes(label_map: LabelMap) -> LabelMap:
    """Background that the tumour core encloses becomes label 1, and what the whole tumour encloses becomes oedema."""
    result = label_map.copy()
    for region, label in ((Region.TC, Label.NECROTIC), (Region.WT, Label.OEDEMA)):
        result[_enclosed(region.mask(result)) & (result == Label.BACKGROUND)] = label
    return result


def _enclosed(mask: Mask) -> Mask:
    """True where 6-connected paths cannot leave the mask.

    One labelling, where scipy's `binary_fill_holes` dilates until nothing changes.
    """
    outside = np.pad(~mask, 1, constant_values=True)
    components, _ = scipy.ndimage.label(outside)
    return np.asarray(outside & (components != components[0, 0, 0]))[1:-1, 1:-1, 1:-1]


def distrust_little_enhancement(label_map: LabelMap, spacing_mm: Spacing, cleaning: Cleaning) -> LabelMap:
    """Enhancing tumour below the volume, or the share of the whole tumour, that `cleaning` asks for becomes label 1."""
    enhancing = label_map == Label.ENHANCING
    count = int(enhancing.sum())
    needed = max(
        cleaning.min_enhancing_ml * 1000 / float(np.prod(spacing_mm)),
        cleaning.min_enhancing_share * np.count_nonzero(label_map),
    )
    return np.where(enhancing, np.uint8(Label.NECROTIC), label_map) if count < needed else label_map.copy()


Threshold = Callable[[npt.NDArray[np.int64]], float]


def _drop_components(label_map: LabelMap, neighbours: Mask, min_voxels: int | Threshold) -> LabelMap:
    """Components of non-zero voxels below a size become background; the size may depend on all components' sizes."""
    components, _ = scipy.ndimage.label(label_map, neighbours)
    sizes = np.bincount(components.ravel())
    threshold = min_voxels if isinstance(min_voxels, int) else min_voxels(sizes[1:])
    keep = sizes >= threshold
    keep[0] = False
    return np.where(keep[components], label_map, np.uint8(Label.BACKGROUND))


CHAINS: dict[str, Chain] = {
    chain.name: chain
    for chain in (
        Chain("none", "the network's answer as it is", ()),
        Chain(
            "1",
            "components of under 110 mm2 in an axial slice dropped (the paper's post-processing 1)",
            (drop_small_in_slices,),
        ),
        Chain(
            "1+2",
            "the same, then the tumour's outline smoothed by a 3 x 3 opening (the paper's 1 and 2)",
            (drop_small_in_slices, smooth_border),
        ),
        Chain("3d", "components of under half the largest dropped, in three dimensions", (clean,)),
        Chain(
            "legacy",
            "the authors' published code to the letter, for comparison",
            (drop_small_in_slices_literally, open_grey_levels),
        ),
    )
}
"""Every way of post-processing, by name."""

DEFAULT_CHAIN = "3d"
"""What a model gets for which nobody chose otherwise: the shipped networks were chosen with it."""
