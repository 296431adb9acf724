"""Several views of one network: a few axial slices tell where tumour can be, and there the network is asked along every
plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
import numpy.typing as npt
import scipy

from gliomask.arrays import Mask, Probabilities
from gliomask.labels import Label
from gliomask.planes import VOLUME_AXES, Plane
from gliomask.predict.brain import NetworkShape, PatchPlan, answers, predict_brain
from gliomask.predict.ensemble import suspects
from gliomask.predict.sizes import Sizes
from gliomask.predict.tiles import Predict, box_with_halo
from gliomask.preprocess.channels import Prepared
from gliomask.progress import Progress, parts
from gliomask.quality import dice_to_expect

LOOK_MM = 3.0
"""Largest distance of the axial slices that are looked at first; every slice where slices are thicker than half of it.
"""

MARGIN_MM = 6.0
"""So far round a suspected voxel tumour can be, along each axis. On the 65 cross-validated patients the mean of three
views within this margin has the scores of three views of the whole brain (docs/decisions/0023-first-look.md)."""

UNSURE_DICE = 0.8
"""Where the network expects less than this Dice of its own whole tumour, it is asked again over the whole brain: small
boxes show it less of the surroundings, and of a tumour that it is unsure of it then marks less. Chosen on the 65
cross-validated patients (0023)."""


def suspected_region(
    prepared: Prepared,
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    progress: Progress = lambda done, total: None,
    in_flight: int = 1,
    sizes: Sizes | None = None,
) -> Mask:
    """Returns (I, J, K), True where tumour can be: the brain around voxels that the network gives any chance of tumour
    in a few axial slices.

    Args:
        prepared: the normalised case.
        network: what the network takes; of kind `slices`.
        plan: how slices are cut.
        predict: the network.
        progress: called with (slices done, slices in all).
        in_flight: see `predict_brain`.
        sizes: see `predict_brain`.
    """
    spacing_mm = prepared.reorientation.target.spacing_mm
    step = max(1, int(LOOK_MM / spacing_mm[2]))
    looked = np.zeros_like(prepared.brain)
    looked[:, :, step // 2 :: step] = prepared.brain[:, :, step // 2 :: step]
    suspected = np.zeros_like(looked)
    # A slab holds neighbouring slices, so slices apart go one by one.
    alone = plan if step == 1 else replace(plan, slices=1)
    for region, answered in answers(
        replace(prepared, brain=looked), network, alone, predict, progress, in_flight, sizes
    ):
        suspected[region] = looked[region] & suspects(answered)
    return _widened(suspected, spacing_mm) & prepared.brain


def _widened(suspected: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Returns a mask with all that lies within the margin of it along each axis."""
    if not suspected.any():
        return suspected
    reach = [ceil(MARGIN_MM / spacing) for spacing in spacing_mm]
    box = box_with_halo(suspected, max(reach), 1)
    region = np.zeros_like(suspected)
    region[box] = scipy.ndimage.maximum_filter(
        suspected[box].view(np.uint8), [2 * more + 1 for more in reach], mode="constant"
    ).view(bool)
    return region


def mean_of_planes(
    prepared: Prepared,
    planes: Sequence[Plane],
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    progress: Progress = lambda done, total: None,
    doubts: npt.NDArray[np.float32] | None = None,
    in_flight: int = 1,
    sizes: Sizes | None = None,
) -> Probabilities:
    """Returns the mean of a network's views along several planes; outside the brain it is background for certain.

    The network sees voxels, not millimetres: where slices are thicker than their pixels, a coronal or sagittal slice
    looks squeezed. That is what the flag `not_1mm` says.

    Args:
        prepared: the normalised case; its brain is where the network is asked.
        planes: the axial one first, and further ones for a network of slices that learned from them.
        network: what the network takes.
        plan: how slices are cut.
        predict: the network.
        progress: called with (parts of the work done, parts in all); at least once.
        doubts: see `predict_brain`; of the axial view.
        in_flight: see `predict_brain`.
        sizes: see `predict_brain`.

    Returns:
        (I, J, K, 4) float32, axes as `prepared`.
    """
    sizes = sizes or Sizes()
    axial, *further = parts(progress, [1.0] * len(planes))
    probabilities = predict_brain(prepared, network, plan, predict, axial, doubts, in_flight, sizes)
    for plane, done in zip(planes[1:], further, strict=True):
        view = along(prepared, plane)
        # The sum grows in place, in the axes of the view; every voxel of the brain lies in one box of each plane.
        total = probabilities.transpose(*_axes(plane), 3)
        for region, answered in answers(view, network, plan, predict, done, in_flight, sizes):
            part = total[region]
            np.add(part, answered[..., : part.shape[-1]], out=part, where=view.brain[region][..., None])
    if further:
        np.divide(probabilities, np.float32(len(planes)), out=probabilities, where=prepared.brain[..., None])
    progress(1, 1)
    return probabilities


def unsure(probabilities: Probabilities) -> bool:
    """Returns True if the network expects so little of its own whole tumour that more surroundings may change it, see
    `UNSURE_DICE`.

    Args:
        probabilities: (I, J, K, 4), asked near the suspected voxels alone.
    """
    tumour = 1 - probabilities[..., Label.BACKGROUND]
    suspected = tumour > 0.5
    expected = dice_to_expect(
        float(tumour.sum(where=suspected, dtype=np.float64)),
        float(tumour.sum(dtype=np.float64)),
        int(np.count_nonzero(suspected)),
    )
    return expected < UNSURE_DICE


def along(prepared: Prepared, plane: Plane) -> Prepared:
    """Returns the case with its axes in the order rows, columns, normal of a plane; nothing is copied."""
    axes = _axes(plane)
    return replace(prepared, channels=prepared.channels.transpose(*axes, 3), brain=prepared.brain.transpose(axes))


def _axes(plane: Plane) -> tuple[int, int, int]:
    normal, rows, columns = VOLUME_AXES[plane]
    return rows, columns, normal
