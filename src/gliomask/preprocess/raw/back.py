"""From the frame back to the scanner's grids: a voxel of a scan takes what fills most of it."""

from __future__ import annotations

import numpy as np

from gliomask.arrays import Affine, LabelMap, Mask, Volume
from gliomask.geometry import Geometry
from gliomask.labels import Label
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.transforms import inverse, move

SUPERSAMPLED_MM = 1.5
"""Distance between samples along the axes of a voxel."""

Box = tuple[slice, slice, slice]


def labels_on(label_map: LabelMap, source: Geometry, target: Geometry, matrix: Affine) -> LabelMap:
    """Returns a label map on another grid: (I, J, K). A voxel takes the label that fills most of it.

    Args:
        label_map: (I, J, K) on `source`.
        source: its grid.
        target: the grid of the result.
        matrix: the target's world to the source's.
    """
    labelled = np.full(target.shape, Label.BACKGROUND, np.uint8)
    shares: dict[Label, tuple[Box, Volume]] = {}
    for label in Label:
        filled_part = None if label == Label.BACKGROUND else _share(label_map == label, source, target, matrix)
        if filled_part is not None:
            shares[label] = filled_part
    if not shares:
        return labelled
    # Volumes of a fine grid are large, and tumours small: all is done in the box that holds them.
    boxes = [box for box, _ in shares.values()]
    i, j, k = (slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3))
    most = np.ones((i.stop - i.start, j.stop - j.start, k.stop - k.start), np.float32)
    in_all = np.zeros_like(most)
    within = {
        label: tuple(_moved(part, whole.start) for part, whole in zip(box, (i, j, k), strict=True))
        for label, (box, _) in shares.items()
    }
    for label, (_, share) in shares.items():
        in_all[within[label]] += share
    most -= in_all
    for label, (_, share) in shares.items():
        part = within[label]
        more = share > most[part]
        labelled[i, j, k][part][more] = label
        most[part][more] = share[more]
    return labelled


def _moved(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


def filled(inside: Mask, source: Geometry, target: Geometry, matrix: Affine) -> Volume:
    """Returns which share of each voxel of a target grid a mask fills: (I, J, K).

    Sampled at several places along thick axes, linearly, and averaged.

    Args:
        inside: (I, J, K) on `source`.
        source: its grid.
        target: the grid of the result.
        matrix: the target's world to the source's.
    """
    total = np.zeros(target.shape, np.float32)
    filled_part = _share(inside, source, target, matrix)
    if filled_part is not None:
        box, share = filled_part
        total[box] = share
    return total


def _share(inside: Mask, source: Geometry, target: Geometry, matrix: Affine) -> tuple[Box, Volume] | None:
    """As `filled`, in the box of the target grid outside which there is nothing; None where there is nothing at all."""
    # Only where there is something: tumours fill a hundredth of a head.
    box = _box_round(inside)
    reached = None if box is None else _box_reached(box, source, target, matrix)
    if box is None or reached is None:
        return None
    values, values_grid, grid = inside[box].astype(np.float32), _cut(source, box), _cut(target, reached)
    counts = [max(1, round(mm / SUPERSAMPLED_MM)) for mm in target.spacing_mm]
    total = np.zeros(grid.shape, np.float32)
    for places in np.ndindex(*counts):
        shift = [(place + 0.5) / count - 0.5 for place, count in zip(places, counts, strict=True)]
        moved = np.eye(4)
        moved[:3, 3] = target.affine[:3, :3] @ shift
        total += itk.resample(values, values_grid, grid, matrix @ moved)
    total /= np.float32(np.prod(counts))
    return reached, total


def _box_round(inside: Mask) -> Box | None:
    """The box round a mask, one voxel wider, so that its edge fades as in the whole; None where the mask is empty."""
    spans = [np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    if any(span.size == 0 for span in spans):
        return None
    i, j, k = (slice(max(int(span[0]) - 1, 0), int(span[-1]) + 2) for span in spans)
    return i, j, k


def _box_reached(box: Box, source: Geometry, target: Geometry, matrix: Affine) -> Box | None:
    """The box of a target grid into which a box of the source can reach; None where there is none."""
    corners = np.array(np.meshgrid(*[(one.start - 1.0, float(one.stop)) for one in box], indexing="ij")).reshape(3, 8).T
    index = move(inverse(target.affine) @ inverse(matrix) @ source.affine, corners)
    low = np.maximum(np.floor(index.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 2, target.shape)
    if (low >= high).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k


def _cut(geometry: Geometry, box: Box) -> Geometry:
    affine = geometry.affine.copy()
    affine[:, 3] = geometry.affine @ [*(one.start for one in box), 1.0]
    i, j, k = (min(one.stop, n) - one.start for one, n in zip(box, geometry.shape, strict=True))
    return Geometry((i, j, k), affine)
