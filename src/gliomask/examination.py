"""What the scanner gave: the sequences of one patient at one time point, each on its own grid.

Native-space preprocessing turns it into a `case.Case`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from gliomask.arrays import Volume, short_repr
from gliomask.errors import CaseError, GeometryError
from gliomask.geometry import Geometry
from gliomask.nan import Nan, value_range, without_nan
from gliomask.sequences import Sequence


@dataclass(frozen=True, eq=False)
class Scan:
    """One sequence on its own grid.

    The volume becomes a read-only float32 view of what was given (a copy, where the data type was another one).

    Args:
        volume: (I, J, K).
        geometry: its grid.
        source: where it came from, in words for messages and records, such as a file's path or `series 4`.
            It identifies the examination in the hospital's archive: keep it out of messages and records.
        nan: the voxels that were NaN and were mended, see `gliomask.nan`; not given, but found.

    Raises:
        GeometryError: the volume's shape is not the grid's.
        CaseError: the volume holds NaN or infinity, or one value everywhere.
    """

    volume: Volume
    geometry: Geometry
    source: str
    nan: Nan = field(default_factory=Nan, init=False)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        view, nan = without_nan(np.asarray(self.volume).astype(np.float32, copy=False).view())
        view.setflags(write=False)
        if view.shape != self.geometry.shape:
            raise GeometryError(
                f"{self.source}: the volume has the shape {view.shape}, its grid has {self.geometry.shape}. They "
                "must be equal."
            )
        low, high = value_range(view, self.source)
        if low == high:
            value = f"{low:g}" if low else "0 or no number"
            raise CaseError(f"{self.source} shows nothing: every voxel is {value}. Check that it is the right scan.")
        object.__setattr__(self, "volume", view)
        object.__setattr__(self, "nan", nan)


@dataclass(frozen=True, eq=False)
class Examination:
    """The scans of one patient at one time point, at most one for each sequence, on grids that may differ.

    Args:
        case_id: the name used in results and messages.
        scans: by sequence; which of the four must be there is for the one who uses it to say.

    Raises:
        CaseError: there is no scan at all.
    """

    case_id: str
    scans: Mapping[Sequence, Scan]

    def __post_init__(self) -> None:
        if not self.scans:
            raise CaseError(f"Examination {self.case_id} holds no scan. Give at least one sequence.")
        # Read-only, as the arrays are: an examination that is valid stays so.
        ordered = {sequence: self.scans[sequence] for sequence in Sequence if sequence in self.scans}
        object.__setattr__(self, "scans", MappingProxyType(ordered))

    def __repr__(self) -> str:
        """The examination in one line, without its voxels."""
        scans = ", ".join(f"{sequence.value} {scan.geometry}" for sequence, scan in self.scans.items())
        return f"Examination({self.case_id!r}, {scans})"

    def __reduce__(self) -> tuple[type[Examination], tuple[object, ...]]:
        """For other processes: a read-only mapping cannot be sent."""
        return Examination, (self.case_id, dict(self.scans))
