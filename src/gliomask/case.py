"""A patient's examination: four sequences on one grid. A `Case` that exists can be segmented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gliomask.arrays import Mask, Volume
from gliomask.errors import CaseError, GeometryError
from gliomask.geometry import Geometry
from gliomask.sequences import PAPER_ORDER, Sequence


@dataclass(frozen=True, eq=False)
class Case:
    """Four sequences of one patient at one time point, on one grid; valid by construction.

    Args:
        case_id: the name used in results and messages.
        volumes: one (I, J, K) float32 volume per sequence.
        geometry: the grid they share.
        sources: the file each volume came from, where there was one.
        header: the NIfTI-1 header of the grid, as bytes, so that results can be written with its codes; None for arrays.

    Raises:
        CaseError: a sequence is missing, has no brain voxel (nothing above or below 0), or holds NaN or infinity.
        GeometryError: a volume's shape is not the grid's.
    """

    case_id: str
    volumes: Mapping[Sequence, Volume]
    geometry: Geometry
    sources: Mapping[Sequence, Path] = field(default_factory=dict)
    header: bytes | None = None

    def __post_init__(self) -> None:
        missing = [sequence.value for sequence in PAPER_ORDER if sequence not in self.volumes]
        if missing:
            found = ", ".join(sequence.value for sequence in self.volumes) or "none"
            raise CaseError(f"Case {self.case_id}: missing {', '.join(missing)}; found {found}. All four sequences are needed.")
        for sequence in PAPER_ORDER:
            self._check_volume(sequence)

    def _check_volume(self, sequence: Sequence) -> None:
        volume = self.volumes[sequence]
        name = f"Case {self.case_id}: {sequence.value}" + (f" ({self.sources[sequence]})" if sequence in self.sources else "")
        if volume.shape != self.geometry.shape:
            raise GeometryError(
                f"{name} has the shape {volume.shape}, but the case's grid has {self.geometry.shape}. Bring all sequences to one grid first."
            )
        bad = volume.size - int(np.isfinite(volume).sum())
        if bad:
            raise CaseError(f"{name} holds {bad} voxels that are NaN or infinite. Find out where they come from before segmenting.")
        if not volume.any():
            raise CaseError(f"{name} is empty: every voxel is 0. Check that the file is the right one.")

    @property
    def brain_mask(self) -> Mask:
        """True where any sequence is not 0: the brain, in skull-stripped scans."""
        mask = self.volumes[PAPER_ORDER[0]] != 0
        for sequence in PAPER_ORDER[1:]:
            mask |= self.volumes[sequence] != 0
        return mask
