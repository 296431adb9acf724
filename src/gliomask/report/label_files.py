"""Files that tell other programs what the numbers of a label map mean and which colours they have: ITK-SNAP and 3D
Slicer.

Text comes out; who asked for it writes the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gliomask.colours import PALETTE, RGB, Palette
from gliomask.labels import Label, LabelConvention

_UNDRAWN: RGB = (0, 0, 0)


def itksnap_labels(convention: LabelConvention, palette: Palette = PALETTE) -> str:
    """Returns the text of an ITK-SNAP label description file (Segmentation, Import Label Descriptions).

    Each line holds the number, red, green and blue (0 to 255), opacity (0 to 1), whether slices and meshes show the
    label, and its name. ITK-SNAP calls 0 the clear label.
    """
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        f"# gliomask, label convention {convention.name}, palette {palette.name}",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for code, label in _drawn(convention):
        red, green, blue = palette.labels[label]
        lines.append(f'{code:5d} {red:5d}{green:5d}{blue:5d}        1  1  1    "{_capitalised(label)}"')
    return "\n".join(lines) + "\n"


def slicer_colours(convention: LabelConvention, palette: Palette = PALETTE) -> str:
    """Returns the text of a 3D Slicer colour table (`.ctbl`), to be loaded beside the label map.

    Each line holds the number, the name with underscores for spaces, and red, green, blue and opacity, each 0 to 255
    (3D Slicer 5.2, developer guide, Colors).
    """
    rows = [f"0 {_capitalised(Label.BACKGROUND)} {' '.join(map(str, _UNDRAWN))} 0"]
    for code, label in _drawn(convention):
        rows.append(f"{code} {_capitalised(label).replace(' ', '_')} {' '.join(map(str, palette.labels[label]))} 255")
    head = f"# Color table file gliomask-{convention.name}.ctbl\n# {len(rows)} values\n"
    return head + "\n".join(rows) + "\n"


def label_list(convention: LabelConvention, palette: Palette = PALETTE) -> str:
    """Returns the labels as a table for people: number, colour and name, separated by tabs, with a heading."""
    rows = [f"{code}\t{palette.label_hex(label)}\t{label.title}" for code, label in _drawn(convention)]
    return "\n".join(["label\tcolour\ttitle", *rows]) + "\n"


LABEL_FILES: Mapping[str, Callable[[LabelConvention, Palette], str]] = MappingProxyType(
    {"list": label_list, "itksnap": itksnap_labels, "slicer": slicer_colours}
)
"""Every kind of file, by the name under which the command line offers it."""


def _drawn(convention: LabelConvention) -> list[tuple[int, Label]]:
    """Every label but the background with its number on disk, by number."""
    return sorted((convention.codes[label], label) for label in Label if label is not Label.BACKGROUND)


def _capitalised(label: Label) -> str:
    return label.title.capitalize()
