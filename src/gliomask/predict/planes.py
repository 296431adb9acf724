"""Further planes: a network of slices that learned from all three planes is asked along the others where the first view suspects tumour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gliomask.arrays import Mask, Probabilities
from gliomask.planes import VOLUME_AXES, Plane
from gliomask.predict.brain import NetworkShape, PatchPlan, predict_brain
from gliomask.predict.ensemble import suspects
from gliomask.predict.tiles import Predict
from gliomask.preprocess.channels import Prepared


def average_planes(
    prepared: Prepared,
    probabilities: Probabilities,
    planes: Sequence[Plane],
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    in_flight: int = 1,
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
    """
    suspected = suspects(probabilities) if planes else None
    if suspected is None or not suspected.any():
        return
    total = probabilities[suspected]
    for plane in planes:
        view = _along(prepared, suspected, plane)
        found = predict_brain(view, network, plan, predict, in_flight=in_flight)
        total += _back(found, plane)[suspected]
    probabilities[suspected] = total / np.float32(1 + len(planes))


def _along(prepared: Prepared, suspected: Mask, plane: Plane) -> Prepared:
    """Returns the case with its axes in the order rows, columns, normal of a plane; nothing is copied."""
    normal, rows, columns = VOLUME_AXES[plane]
    axes = (rows, columns, normal)
    return replace(prepared, channels=prepared.channels.transpose(*axes, 3), brain=suspected.transpose(axes))


def _back(found: Probabilities, plane: Plane) -> Probabilities:
    """Undoes `_along` on probabilities."""
    normal, rows, columns = VOLUME_AXES[plane]
    order = [int(axis) for axis in np.argsort((rows, columns, normal))]
    return found.transpose(*order, 3)
