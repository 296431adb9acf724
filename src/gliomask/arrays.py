"""Names for the kinds of array that cross function borders; the axis order is in each name's description."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.float32]
"""One sequence: (I, J, K)."""

LabelMap = npt.NDArray[np.uint8]
"""One `labels.Label` per voxel: (I, J, K)."""

Mask = npt.NDArray[np.bool_]
"""True inside: (I, J, K) unless said otherwise."""

Channels = npt.NDArray[np.float32]
"""Normalised sequences, channels last: (I, J, K, C)."""

Probabilities = npt.NDArray[np.float32]
"""One probability per `labels.Label`, channels last: (..., 4); each voxel's four sum to one."""

Affine = npt.NDArray[np.float64]
"""Voxel index to RAS millimetres: (4, 4)."""
