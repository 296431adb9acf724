"""How much of each label and region a label map holds.

Text and plain values come out; who asked for them writes the files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.errors import GeometryError
from gliomask.geometry import Geometry
from gliomask.labels import TUMOUR_LABELS, Label, Region

ML_DECIMALS = 3
"""A voxel of a BraTS volume has 0.001 ml."""


@dataclass(frozen=True)
class Amount:
    """The extent of one label or region.

    Args:
        kind: whether `name` is a label, of which each voxel has one, or a region, which nest.
        name: `necrotic`, `oedema`, `enhancing`, `WT`, `TC` or `ET`.
        title: the same in words.
        voxels: how many.
        volume_ml: millilitres, rounded to `ML_DECIMALS`.
        volume_mm3: cubic millimetres, rounded to as many decimals.
    """

    kind: Literal["label", "region"]
    name: str
    title: str
    voxels: int
    volume_ml: float
    volume_mm3: float


@dataclass(frozen=True)
class Volumes:
    """What `measure` found: one amount for each label but the background, then one for each region."""

    amounts: tuple[Amount, ...]

    def of(self, part: Label | Region) -> Amount:
        """Returns the amount of one label or region.

        Raises:
            KeyError: the background, which is not measured.
        """
        amounts: dict[tuple[str, str], Amount] = {(amount.kind, amount.name): amount for amount in self.amounts}
        return amounts["region", part.value] if isinstance(part, Region) else amounts["label", part.name.lower()]

    def region_ml(self, region: Region) -> float:
        """Returns the volume of a region, millilitres."""
        return self.of(region).volume_ml

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns plain values for JSON: under `labels` and `regions`, by name, the title, voxels, volume_ml and
        volume_mm3.
        """
        result: dict[str, dict[str, Any]] = {"labels": {}, "regions": {}}
        for amount in self.amounts:
            values = asdict(amount)
            result[f"{values.pop('kind')}s"][values.pop("name")] = values
        return result

    def to_tsv(self) -> str:
        """Returns a table with a heading, one line per amount, columns separated by tabs."""
        rows = [asdict(amount) for amount in self.amounts]
        lines = ["\t".join(rows[0])]
        for row in rows:
            lines.append(
                "\t".join(
                    f"{value:.{ML_DECIMALS}f}" if isinstance(value, float) else str(value) for value in row.values()
                )
            )
        return "\n".join(lines) + "\n"


def measure(label_map: LabelMap, geometry: Geometry) -> Volumes:
    """Counts the voxels of each label and region; a region's are the sum of its labels'.

    Args:
        label_map: (I, J, K).
        geometry: its grid, for the volume of a voxel.

    Raises:
        GeometryError: the label map does not have the grid's shape.
    """
    if label_map.shape != geometry.shape:
        raise GeometryError(
            f"The label map has the shape {label_map.shape}, its grid has {geometry.shape}. Measure it on its own grid."
        )
    counts = {label: int(np.count_nonzero(label_map == label)) for label in TUMOUR_LABELS}
    labels = [_amount("label", label.name.lower(), label.title, counts[label], geometry) for label in TUMOUR_LABELS]
    regions = [
        _amount("region", region.value, region.title, sum(counts[label] for label in region.labels), geometry)
        for region in Region
    ]
    return Volumes((*labels, *regions))


def _amount(kind: Literal["label", "region"], name: str, title: str, voxels: int, geometry: Geometry) -> Amount:
    volume_ml = voxels * geometry.voxel_ml
    return Amount(kind, name, title, voxels, round(volume_ml, ML_DECIMALS), round(volume_ml * 1000, ML_DECIMALS))
