"""The layout of a network's input and output: how it wants its input laid out, and what its outputs mean.

gliomask's own graphs take channels last, axes in LPS order and any size, and answer with one probability per label.
Others answer with logits, or with overlapping regions, and take channels first, other axes, or one size only. All of
that is settled here, so that whoever calls an engine sees one kind of network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gliomask.errors import ModelError
from gliomask.labels import LABEL_NAMES, Region, are_regions

Activation = Literal["none", "softmax", "sigmoid"]
"""What turns a graph's answer into probabilities; `none` where it answers with probabilities already."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TensorLayout:
    """How a graph takes a batch and how its answer is to be read; the defaults are those of gliomask's own graphs.

    Args:
        channels_first: (N, C, H, W) rather than (N, H, W, C), at both ends.
        axes: which axis of a slice or volume in LPS order the graph has as its first, second (and third); None for the
            same.
        flips: whether the graph counts that axis from the other end, in its own order.
        batch: number of items that the graph takes at a time; None for any.
        size: the only height and width (and depth) that it takes, in LPS order; None for any.
        activation: applied to the answer.
        outputs: `LABEL_NAMES` or `REGION_NAMES`, in the graph's order.
    """

    channels_first: bool = False
    axes: tuple[int, ...] | None = None
    flips: tuple[bool, ...] = ()
    batch: int | None = None
    size: tuple[int, ...] | None = None
    activation: Activation = "none"
    outputs: tuple[str, ...] = LABEL_NAMES

    @property
    def plain(self) -> bool:
        """True where the graph is laid out as gliomask's own, whatever sizes it takes."""
        return self.batch is None and self == TensorLayout(size=self.size)

    def run(self, batch: Floats, call: Callable[[Floats], Floats]) -> Floats:
        """Returns the label probabilities (N, *size, 4) that a graph gives for a batch (N, *size, C).

        Args:
            batch: as `EngineSource.checked` lets it through.
            call: runs the graph.

        Raises:
            ModelError: the answer has another shape than its outputs and the batch call for.
        """
        if self.plain:
            return self._fitting(call(batch), (*batch.shape[:-1], len(self.outputs)))
        answers = [self._labels(call(self._given(part)), part)[:count] for part, count in self._parts(batch)]
        return np.concatenate(answers) if len(answers) > 1 else answers[0]

    def _fitting(self, answer: Floats, expected: tuple[int, ...]) -> Floats:
        if answer.shape != expected:
            raise ModelError(
                f"The graph answers with the shape {answer.shape}; for {', '.join(self.outputs)} of this input it "
                f"would be {expected}."
            )
        return answer

    def _parts(self, batch: Floats) -> Iterator[tuple[Floats, int]]:
        if self.batch is None:
            yield batch, len(batch)
            return
        for first in range(0, len(batch), self.batch):
            part = batch[first : first + self.batch]
            missing = self.batch - len(part)
            # The last part is filled up with copies of an item, whose answers are dropped.
            yield np.concatenate([part, *[part[-1:]] * missing]) if missing else part, len(part)

    def _given(self, batch: Floats) -> Floats:
        moved = batch.transpose(0, *(axis + 1 for axis in self._axes(batch)), batch.ndim - 1)
        moved = np.flip(moved, tuple(n + 1 for n, flip in enumerate(self.flips) if flip))
        return np.ascontiguousarray(np.moveaxis(moved, -1, 1) if self.channels_first else moved)

    def _labels(self, answer: Floats, batch: Floats) -> Floats:
        axes = self._axes(batch)
        sizes = tuple(batch.shape[axis + 1] for axis in axes)
        count = len(self.outputs)
        expected = (len(batch), count, *sizes) if self.channels_first else (len(batch), *sizes, count)
        fitting = self._fitting(answer, expected)
        last = np.moveaxis(fitting, 1, -1) if self.channels_first else fitting
        back = np.flip(last, tuple(n + 1 for n, flip in enumerate(self.flips) if flip)).transpose(
            0, *(axes.index(n) + 1 for n in range(len(axes))), last.ndim - 1
        )
        return label_probabilities(_activated(back, self.activation), self.outputs)

    def _axes(self, batch: Floats) -> tuple[int, ...]:
        return self.axes or tuple(range(batch.ndim - 2))


def label_probabilities(answer: Floats, outputs: tuple[str, ...]) -> Floats:
    """Returns one probability per label, (..., 4) in the order of `labels.Label`.

    Regions are nested first: what is enhancing tumour is tumour core, what is core is tumour, at least as surely. That
    is what painting the regions one over the other does, as nnU-Net and the BraTS tools do; see `postprocess.decide`.

    Args:
        answer: (..., outputs) probabilities.
        outputs: the name of each, see `TensorLayout`.
    """
    if not are_regions(outputs):
        return np.ascontiguousarray(answer[..., [outputs.index(name) for name in LABEL_NAMES]], np.float32)
    et = answer[..., outputs.index(Region.ET)]
    tc = np.maximum(answer[..., outputs.index(Region.TC)], et)
    wt = np.maximum(answer[..., outputs.index(Region.WT)], tc)
    return np.stack([1 - wt, tc - et, wt - tc, et], axis=-1, dtype=np.float32)


def _activated(answer: Floats, activation: Activation) -> Floats:
    if activation == "none":
        return answer
    if activation == "sigmoid":
        # In this form neither sign of a large logit overflows.
        return np.asarray(0.5 * (1 + np.tanh(0.5 * answer)), np.float32)
    scores = np.exp(answer - answer.max(axis=-1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=-1, keepdims=True), np.float32)
