"""An engine for tests: exact, immediate, and as simple as a network can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gliomask.engines.base import Batch, Engine, EngineSource


class FakeEngine(Engine):
    """Softmax of a linear mix of each pixel's channels, averaged over a square or cube round it first; see
    `base.Engine`.

    Args:
        mixing: (C, 4), weight of each channel in each label's logit.
        bias: (4,), added to the logits.
        radius: pixels on each side that are averaged, zeros beyond the border: the receptive field is
            ``2 * radius + 1``.
        source: what the engine claims to run; its `checked` decides which batches it takes.
    """

    name = "fake"

    def __init__(
        self,
        mixing: npt.ArrayLike,
        bias: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        radius: int = 0,
        source: EngineSource | None = None,
    ) -> None:
        self._mixing = np.asarray(mixing, np.float32)
        self._bias = np.asarray(bias, np.float32)
        self._radius = radius
        super().__init__(source or EngineSource(b"", "fake", channels=len(self._mixing)))

    def _infer(self, given: Batch) -> Batch:
        features = given
        for axis in range(1, given.ndim - 1):
            features = _averaged(features, axis, self._radius)
        logits = features @ self._mixing + self._bias
        scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=-1, keepdims=True), np.float32)

    def _free(self) -> None:
        pass


def _averaged(batch: Batch, axis: int, radius: int) -> Batch:
    width = [(0, 0)] * batch.ndim
    width[axis] = (radius, radius)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(batch, width), 2 * radius + 1, axis=axis)
    return np.asarray(windows.mean(axis=-1), np.float32)
