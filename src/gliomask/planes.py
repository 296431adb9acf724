"""The three planes along which a volume can be cut into slices, in the axes of every network input (I left, J
posterior, K superior).
"""

from __future__ import annotations

from enum import StrEnum


class Plane(StrEnum):
    """A plane of slices, by the name that radiology gives it."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


VOLUME_AXES: dict[Plane, tuple[int, int, int]] = {
    Plane.AXIAL: (2, 0, 1),
    Plane.CORONAL: (1, 0, 2),
    Plane.SAGITTAL: (0, 1, 2),
}
"""Axes of an (I, J, K) volume in the order normal, rows, columns. Rows and columns keep the volume's order, in training
and in use.
"""

STACK_AXES = {
    plane: ((normal + 1) % 3, (rows + 1) % 3, (columns + 1) % 3)
    for plane, (normal, rows, columns) in VOLUME_AXES.items()
}
"""The same for a stack of axial slices, (K, I, J)."""
