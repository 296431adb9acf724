"""What another tool can do in place of gliomask: bring the sequences to each other and into BraTS space, and find the
brain. gliomask.segment takes objects of these kinds, and files come in through them, too (docs/decisions/0020).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np

from gliomask.arrays import Affine, Mask, short_repr
from gliomask.errors import GeometryError, UsageError
from gliomask.examination import Examination
from gliomask.geometry import Geometry
from gliomask.sequences import Sequence

Template = Literal["brats", "mni152"]
"""BraTS space, or MNI152 (ICBM 152 nonlinear symmetric 2009a)."""

OURS = "gliomask"
"""Who did a step, in records, where no other tool did."""

STEPS = ("coregister", "frame", "mask")
"""What can be left out: bringing the sequences to each other, bringing them to the frame, stripping the skull."""

SMALLEST_DETERMINANT = 1e-6
"""A map that makes a volume smaller than this has no way back."""


def refuse_unknown_steps(skip: Iterable[str]) -> None:
    """Raises UsageError where a step that is to be left out is none of `STEPS`."""
    unknown = sorted(set(skip) - set(STEPS))
    if unknown:
        raise UsageError(f"There is no step '{unknown[0]}' to skip. Known ones: {', '.join(STEPS)}.")


@dataclass(frozen=True, eq=False)
class Transform:
    """Where one sequence lies.

    Args:
        target: what the sequence is brought to: another sequence, or a template.
        matrix: (4, 4), the target's world to the sequence's, RAS millimetres. This is the direction in which ITK and
            ANTs store the transform that resamples the sequence into the target; their world is LPS.
        source: who or what says so, for the record; empty for the name of the `Registration`.

    Raises:
        UsageError: there is no such target.
        GeometryError: the matrix is none of a linear map with a way back.
    """

    target: Sequence | Template
    matrix: Affine
    source: str = ""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if self.target not in get_args(Template):
            object.__setattr__(self, "target", _sequence(self.target))
        matrix = np.array(self.matrix, np.float64)
        if (
            matrix.shape != (4, 4)
            or not np.isfinite(matrix).all()
            or (matrix[3] != (0, 0, 0, 1)).any()
            or abs(np.linalg.det(matrix[:3, :3])) < SMALLEST_DETERMINANT
        ):
            raise GeometryError(
                f"{self.source or 'A transform'}: a linear map of the world needs a (4, 4) matrix that is finite, has "
                f"a way back and ends in 0 0 0 1; found {matrix.tolist()}."
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)


def _sequence(target: str) -> Sequence:
    try:
        return Sequence(target)
    except ValueError:
        names = ", ".join((*Sequence, *get_args(Template)))
        raise UsageError(f"A transform leads into one of {names}; found '{target}'.") from None


class Registration(Protocol):
    """Brings sequences to each other and into BraTS space."""

    @property
    def name(self) -> str:
        """What the record calls it, with its version: `ANTs 2.5.1`."""

    def register(self, examination: Examination, reference: Sequence) -> Mapping[Sequence, Transform]:
        """Returns where sequences lie, by sequence; what is left out is registered by gliomask.

        Args:
            examination: the scans as they were given.
            reference: the sequence that the others are brought to, and in whose grid the result is delivered.
        """


class BrainExtraction(Protocol):
    """Finds the brain."""

    @property
    def name(self) -> str:
        """What the record calls it, with its version: `HD-BET 2.0.1`."""

    def extract(self, examination: Examination, reference: Sequence) -> tuple[Mask, Geometry]:
        """Returns the brain mask, (I, J, K), True inside, and its grid: that of a scan, or of BraTS space.

        Where several scans have that grid, the reference is meant if it is one of them, otherwise the first in the
        order of the examination.

        Args:
            examination: the scans as they were given, skull on.
            reference: the sequence that the others are brought to.
        """


@dataclass(frozen=True, eq=False)
class GivenTransforms:
    """A registration that was done before.

    Args:
        transforms: where sequences lie.
        name: what the record calls it.
    """

    transforms: Mapping[Sequence, Transform]
    name: str = "as given"

    __repr__ = short_repr

    def register(
        self,
        examination: Examination,  # noqa: ARG002
        reference: Sequence,  # noqa: ARG002
    ) -> Mapping[Sequence, Transform]:
        """Returns the transforms."""
        return self.transforms


@dataclass(frozen=True, eq=False)
class GivenMask:
    """A brain mask that was made before.

    Args:
        mask: (I, J, K), True inside.
        geometry: its grid.
        name: what the record calls it.
    """

    mask: Mask
    geometry: Geometry
    name: str = "as given"

    __repr__ = short_repr

    def extract(
        self,
        examination: Examination,  # noqa: ARG002
        reference: Sequence,  # noqa: ARG002
    ) -> tuple[Mask, Geometry]:
        """Returns the mask and its grid."""
        return self.mask, self.geometry
