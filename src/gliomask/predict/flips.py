"""Mirror images: a network is asked about four of them, and the mean of its answers is taken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomask.predict.tiles import Predict
from gliomask.quality import entropy


def averaged_over_flips(predict: Predict) -> Predict:
    """Returns a network that answers with the mean over the four mirror images of the first two axes: four times the
    work.

    A last channel, after the labels', is the mean of the four passes' entropies, from which `quality.disagreement`
    follows. Nothing else of the single passes is kept.
    """

    def flipped(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        total: npt.NDArray[np.float32] | None = None
        for axes in ((), (1,), (2,), (1, 2)):
            flipped_back = np.flip(predict(np.ascontiguousarray(np.flip(batch, axes))), axes)
            answer = np.concatenate([flipped_back, entropy(flipped_back)[..., None]], axis=-1)
            total = answer if total is None else np.add(total, answer, out=total)
        assert total is not None
        return total / np.float32(4)

    return flipped
