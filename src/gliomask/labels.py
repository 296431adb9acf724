"""Labels, the nested regions made of them, and how each BraTS year writes them on disk.

Inside gliomask a label map holds 0, 1, 2 and 3 (`Label`). A convention is always named by its user or by the layout of
the data set, never guessed from the values: 4 is enhancing tumour until 2021 and a resection cavity from 2024 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

from gliomask.errors import LabelError, UsageError
from gliomask.own_names import OwnNames


class Label(IntEnum, metaclass=OwnNames):
    """Value of a voxel in a label map inside gliomask."""

    BACKGROUND = 0
    NECROTIC = 1
    OEDEMA = 2
    ENHANCING = 3

    @property
    def title(self) -> str:
        """The label in words, for legends and tables."""
        return _LABEL_TITLES[self]


_LABEL_TITLES = {
    Label.BACKGROUND: "background",
    Label.NECROTIC: "necrotic and non-enhancing core",
    Label.OEDEMA: "oedema",
    Label.ENHANCING: "enhancing tumour",
}

TUMOUR_LABELS = (Label.NECROTIC, Label.OEDEMA, Label.ENHANCING)
"""Every label but the background, in the order in which legends and tables name them."""


class Region(StrEnum, metaclass=OwnNames):
    """A nested region of the tumour, scored as BraTS does: ET lies in TC, TC lies in WT."""

    WT = "WT"
    TC = "TC"
    ET = "ET"

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that make up the region."""
        return _REGION_LABELS[self]

    @property
    def title(self) -> str:  # type: ignore[override]
        """The region's name in words."""
        return _REGION_TITLES[self]

    def mask(self, label_map: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Returns the boolean mask of the region in a label map of any shape."""
        first, *others = self.labels
        mask: npt.NDArray[np.bool_] = np.asarray(label_map == int(first))
        for label in others:
            mask |= label_map == int(label)
        return mask


_REGION_LABELS = {
    Region.WT: (Label.NECROTIC, Label.OEDEMA, Label.ENHANCING),
    Region.TC: (Label.NECROTIC, Label.ENHANCING),
    Region.ET: (Label.ENHANCING,),
}
_REGION_TITLES = {Region.WT: "whole tumour", Region.TC: "tumour core", Region.ET: "enhancing tumour"}


LABEL_NAMES = tuple(label.name.lower() for label in Label)
"""What a network calls its outputs where these are labels, in the order of `Label`."""

REGION_NAMES = tuple(region.value for region in Region)
"""What it calls them where they are the nested regions; in a model file they may stand in another order."""


def are_regions(outputs: tuple[str, ...]) -> bool:
    """Returns True if a network's outputs are the nested regions rather than labels."""
    return set(outputs) == set(REGION_NAMES)


@dataclass(frozen=True)
class LabelConvention:
    """How label maps are written on disk: `codes[label]` is the number that stands for each `Label`."""

    name: str
    codes: tuple[int, int, int, int]
    description: str

    def to_disk(self, label_map: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Returns the label map with the numbers of this convention, as uint8.

        Raises:
            LabelError: a value is not a `Label`.
        """
        small = _small_integers(label_map)
        unknown = _values_outside(label_map, small, tuple(Label))
        if unknown:
            raise LabelError(
                f"A label map inside gliomask holds 0 to {max(Label)}; found {unknown}. Convert it by the convention "
                "it was written in."
            )
        # Label by label: picked from a table by number, a volume's numbers would first become eight bytes each.
        result = np.zeros_like(small, np.uint8)
        for label, code in enumerate(self.codes):
            result[small == label] = code
        return result

    def from_disk(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """Returns the label map with the numbers of `Label`, as uint8.

        Raises:
            LabelError: a value is not one of this convention's codes.
        """
        small = _small_integers(values)
        unknown = _values_outside(values, small, self.codes)
        if unknown:
            raise LabelError(
                f"Label map holds {unknown}, which '{self.name}' does not define (it has {list(self.codes)}). "
                f"{_what_to_do(self.name, unknown)}"
            )
        lookup = np.zeros(max(self.codes) + 1, np.uint8)
        lookup[list(self.codes)] = range(len(Label))
        return lookup[small]


BLOCK_VOXELS = 1 << 20
"""Counted at a time."""


def _small_integers(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    with np.errstate(invalid="ignore"):
        return values.astype(np.uint8, copy=False)


def _values_outside(
    values: npt.NDArray[np.generic], small: npt.NDArray[np.uint8], allowed: tuple[int, ...]
) -> list[float]:
    """The first few values that are not allowed.

    Counts bytes where it can: sorting the nine million voxels of a case takes a second.
    """
    flat = small.ravel(order="K")
    # Block by block, for it counts eight bytes a voxel.
    counts = sum(
        (np.bincount(flat[n : n + BLOCK_VOXELS], minlength=256) for n in range(0, flat.size, BLOCK_VOXELS)),
        np.zeros(256, np.intp),
    )
    if np.array_equal(small, values) and not np.delete(counts, list(allowed)).any():
        return []
    distinct: list[float] = np.unique(values).tolist()
    return [value for value in distinct if value not in allowed][:8]


def _what_to_do(name: str, unknown: list[float]) -> str:
    if name == "brats2023" and 4 in unknown:
        return (
            "In BraTS 2024 and later 4 is the resection cavity of treated patients, which is no tumour and which "
            "gliomask does not segment; "
            "until 2021 it was enhancing tumour. If these are label maps of 2021 or earlier, name the "
            "convention brats2021."
        )
    return f"Name the convention it was written in; known ones: {', '.join(CONVENTIONS)}."


CONVENTIONS: dict[str, LabelConvention] = {
    convention.name: convention
    for convention in (
        LabelConvention(
            "brats2021", (0, 1, 2, 4), "BraTS 2017 to 2021: 1 necrotic and non-enhancing, 2 oedema, 4 enhancing"
        ),
        LabelConvention("brats2023", (0, 1, 2, 3), "BraTS 2023: 1 necrotic and non-enhancing, 2 oedema, 3 enhancing"),
        LabelConvention(
            "decathlon", (0, 2, 1, 3), "Medical Segmentation Decathlon Task01: 1 oedema, 2 non-enhancing, 3 enhancing"
        ),
    )
}
"""Every label convention, by name."""


def convention(name: str) -> LabelConvention:
    """Returns the label convention of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return CONVENTIONS[name]
    except KeyError:
        raise UsageError(f"There is no label convention '{name}'. Known ones: {', '.join(CONVENTIONS)}.") from None
