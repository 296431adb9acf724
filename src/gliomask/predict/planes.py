"""Further planes: a network of slices that learned from all three planes is asked along the others where the first view suspects tumour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gliomask.arrays import Mask, Probabilities
from gliomask.planes import VOLUME_AXES, Plane
from gliomask.predict.brain import NetworkShape, PatchPlan, answers
from gliomask.predict.ensemble import suspects
from gliomask.predict.sizes import Sizes
from gliomask.predict.tiles import Predict
from gliomask.preprocess.channels import Prepared
from gliomask.progress import Progress, parts


def average_planes(
    prepared: Prepared,
    probabilities: Probabilities,
    planes: Sequence[Plane],
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    in_flight: int = 1,
    sizes: Sizes | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Averages a network's views along further planes into its axial view, in place, where that gives tumour any chance.

    Elsewhere the axial view stands alone. Slab by slab, only the box of suspected voxels and the network's halo go through the network.
    The network sees voxels, not millimetres: where slices are thicker than their pixels, a coronal or sagittal slice looks squeezed. That is
    what the flag `not_1mm` says.

    Args:
        prepared: the normalised case.
        probabilities: (I, J, K, 4), the axial view; gets the mean of all views.
        planes: further planes, without the axial one. None leaves `probabilities` as they are.
        network: what the network takes; of kind `slices`.
        plan: how slices are cut.
        predict: the network.
        in_flight: see `predict_brain`.
        sizes: see `predict_brain`.
        progress: called with (boxes done, boxes in all), plane after plane.
    """
    suspected = suspects(probabilities) if planes else None
    if suspected is None or not suspected.any():
        return
    sizes = sizes or Sizes()
    for plane, passed in zip(planes, parts(progress, (1,) * len(planes)), strict=True):
        view = along(prepared, suspected, plane)
        # The sum grows in place, in the axes of the view; every suspected voxel lies in one box of each plane.
        total = probabilities.transpose(*_axes(plane), 3)
        for region, found in answers(view, network, plan, predict, passed, in_flight, sizes):
            part = total[region]
            np.add(part, found[..., : part.shape[-1]], out=part, where=view.brain[region][..., None])
    np.divide(probabilities, np.float32(1 + len(planes)), out=probabilities, where=suspected[..., None])


def along(prepared: Prepared, suspected: Mask, plane: Plane) -> Prepared:
    """Returns the case with its axes in the order rows, columns, normal of a plane; nothing is copied."""
    axes = _axes(plane)
    return replace(prepared, channels=prepared.channels.transpose(*axes, 3), brain=suspected.transpose(axes))


def _axes(plane: Plane) -> tuple[int, int, int]:
    normal, rows, columns = VOLUME_AXES[plane]
    return rows, columns, normal
