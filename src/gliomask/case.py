"""A patient's examination: its sequences on one grid. A `Case` that exists can be segmented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from gliomask.air import Foreground, find_foreground, without_far_air
from gliomask.arrays import Mask, Volume
from gliomask.errors import CaseError, GeometryError
from gliomask.geometry import Geometry
from gliomask.nan import Nan, value_range, without_nan
from gliomask.sequences import PAPER_ORDER, Sequence, refuse_too_few


@dataclass(frozen=True, eq=False)
class Case:
    """The sequences of one patient at one time point, on one grid; valid by construction.

    Volumes become read-only float32 views of what was given (copies, where the data type was another one).

    Args:
        case_id: the name used in results and messages.
        volumes: one (I, J, K) volume per sequence.
        geometry: the grid they share.
        sources: the file each volume came from, where there was one.
        header: the NIfTI header of the grid, as bytes, so that results can be written with its codes; None for arrays.
        without: sequences that the patient does not have; said, never inferred.
        reordered: sequences whose file had its axes in another order; laid out anew, nothing resampled.
        nan: the NaN of each sequence that were mended, see `gliomask.nan`; not given, but found.

    Raises:
        CaseError: a sequence is missing that `without` does not name, or is there although it does; one holds one value
            everywhere, or holds NaN that mark no outside, infinity or something that is no real number.
        GeometryError: a volume's shape is not the grid's.
        UsageError: `without` leaves neither FLAIR nor T1ce.
    """

    case_id: str
    volumes: Mapping[Sequence, Volume]
    geometry: Geometry
    sources: Mapping[Sequence, Path] = field(default_factory=dict)
    header: bytes | None = None
    without: frozenset[Sequence] = frozenset()
    reordered: tuple[Sequence, ...] = ()
    nan: Mapping[Sequence, Nan] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        refuse_too_few(self.without)
        missing = [sequence.value for sequence in self.sequences if sequence not in self.volumes]
        names = ", ".join(sequence.value for sequence in self.volumes) or "none"
        if missing:
            raise CaseError(
                f"Case {self.case_id}: missing {', '.join(missing)}; found {names}. Name what the patient does not "
                "have by --without."
            )
        if len(self.volumes) > len(self.sequences):
            raise CaseError(
                f"Case {self.case_id}: without {', '.join(sorted(self.without))}, but found {names}. Leave one of "
                "the two out."
            )
        checked = {sequence: self._checked(sequence) for sequence in self.sequences}
        # Read-only, as the arrays are: a case that is valid stays so.
        object.__setattr__(
            self, "volumes", MappingProxyType({sequence: volume for sequence, (volume, _) in checked.items()})
        )
        object.__setattr__(self, "nan", MappingProxyType({sequence: nan for sequence, (_, nan) in checked.items()}))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))

    def __repr__(self) -> str:
        """The case in one line, without its voxels."""
        return f"Case({self.case_id!r}, {', '.join(sequence.value for sequence in self.sequences)}, {self.geometry})"

    def __reduce__(self) -> tuple[type[Case], tuple[object, ...]]:
        """For other processes: a read-only mapping cannot be sent."""
        return Case, (
            self.case_id,
            dict(self.volumes),
            self.geometry,
            dict(self.sources),
            self.header,
            self.without,
            self.reordered,
        )

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """Those that are there, in the paper's order."""
        return tuple(sequence for sequence in PAPER_ORDER if sequence not in self.without)

    def _checked(self, sequence: Sequence) -> tuple[Volume, Nan]:
        name = f"Case {self.case_id}: {sequence.value}" + (
            f" ({self.sources[sequence]})" if sequence in self.sources else ""
        )
        volume, nan = without_nan(_float32_view(np.asarray(self.volumes[sequence]), name))
        volume.setflags(write=False)
        if volume.shape != self.geometry.shape:
            raise GeometryError(
                f"{name} has the shape {volume.shape}, but the case's grid has {self.geometry.shape}. Bring all "
                "sequences to one grid first."
            )
        low, high = value_range(volume, name)
        if low == high:
            what = "is empty: every voxel is 0" if low == 0 else f"shows nothing: every voxel is {low:g}"
            raise CaseError(f"{name} {what}. Check that the file is the right one.")
        return volume, nan

    @cached_property
    def foreground(self) -> Foreground[Sequence]:
        """What stands out from air, and what each sequence's air is."""
        return find_foreground(self.volumes, self.geometry.voxel_ml)

    @property
    def brain_mask(self) -> Mask:
        """(I, J, K), True where there is tissue: the brain, in skull-stripped scans.

        Read-only. See `gliomask.air.find_foreground`.
        """
        return self.foreground.mask

    def tissue(self, sequence: Sequence) -> Volume:
        """Returns a sequence, (I, J, K), for measuring inside the brain: as it is but for air far from all tissue, see
        `gliomask.air.without_far_air`.
        """
        return without_far_air(self.volumes[sequence], self.foreground.airs[sequence])


def _float32_view(values: npt.NDArray[np.generic], name: str) -> Volume:
    if values.dtype.kind not in "iufb":
        raise CaseError(f"{name} holds values of type {values.dtype}; real numbers are needed.")
    with np.errstate(over="ignore"):
        view = values.astype(np.float32, copy=False).view()
    view.setflags(write=False)
    return view
