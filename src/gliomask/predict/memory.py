"""How many slices may go through a network together, so that a run keeps within an amount of memory."""

from __future__ import annotations

import numpy as np

from gliomask.arrays import Mask
from gliomask.errors import LimitError
from gliomask.labels import Label
from gliomask.predict.brain import SLAB_SLICES, NetworkShape

LIVE_FACTOR, INPUT_FACTOR = 1.2, 10.0
"""Memory of a batch for each pixel: so many times the network's live tensors, and so many times its input, of which
several copies are under way. Measured, with OpenVINO on two threads: 943 bytes for the residual U-Net (live 192, input
80), 1,067 for SparseMultiOCM (848 and 16), 482 for the former in int8."""

RESERVE_MB = 60.0
"""For what comes after the networks: label maps, post-processing, the picture, compression."""


def slices_within(
    limit_mb: float, resident_mb: float, brain: Mask, network: NetworkShape, live_bytes: float, channels: int
) -> int:
    """Returns how many slices may go through a network together, at most `SLAB_SLICES`.

    Args:
        limit_mb: most memory of the whole process, in 1e6 bytes.
        resident_mb: what it holds already, scans included.
        brain: (I, J, K), where the network is asked.
        network: what it takes, of kind `slices`.
        live_bytes: see `models.operations.Work`.
        channels: of its input.

    Raises:
        LimitError: not even one slice would fit.
    """
    slice_mb = _largest_slice(brain, network) * (LIVE_FACTOR * live_bytes + INPUT_FACTOR * 4 * channels) / 1e6
    fixed_mb = resident_mb + RESERVE_MB + _probabilities_mb(brain)
    slices = int((limit_mb - fixed_mb) / slice_mb)
    if slices < 1:
        raise LimitError(
            f"{limit_mb:,.0f} MB of memory do not suffice for this case: about {fixed_mb + slice_mb:,.0f} MB are "
            "needed with one slice at a time. "
            "Give a higher --max-memory, or crop the scans to the head."
        )
    return min(slices, SLAB_SLICES)


def _probabilities_mb(brain: Mask) -> float:
    """Memory of a volume's probabilities, float32: of background everywhere; of the other labels along every line that
    meets the box of the brain.
    """
    across, _, up = _extent(brain)
    return 4e-6 * float(brain.size + (len(Label) - 1) * across * up * brain.shape[1])


def _largest_slice(brain: Mask, network: NetworkShape) -> int:
    """Pixels of the largest box that a slice along any plane can have; a box starts and ends at a multiple."""
    multiple = network.multiple
    sides = [-(-(length + 2 * network.halo) // multiple) * multiple + multiple for length in _extent(brain)]
    return max(sides[0] * sides[1], sides[0] * sides[2], sides[1] * sides[2])


def _extent(brain: Mask) -> tuple[int, int, int]:
    """Sides of the box of the brain, voxels; 1 where there is none."""
    filled = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    i, j, k = (int(positions[-1] - positions[0]) + 1 if len(positions) else 1 for positions in filled)
    return i, j, k
