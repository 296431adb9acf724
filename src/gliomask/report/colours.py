"""Colours of the labels, the same in every picture.

Each is told from the others, and from the grey of a scan, by people with any of the common colour-blindnesses: they are the vermilion,
yellow and sky blue of Okabe and Ito's palette (Color Universal Design, 2008), which differ in lightness as well as in hue.
"""

from __future__ import annotations

from gliomask.labels import Label

RGB = tuple[int, int, int]

LABEL_COLOURS: dict[Label, RGB] = {
    Label.NECROTIC: (213, 94, 0),
    Label.OEDEMA: (240, 228, 66),
    Label.ENHANCING: (86, 180, 233),
}
"""Red, green, blue from 0 to 255 of every label that is drawn; the background is not."""

LABEL_TITLES: dict[Label, str] = {
    Label.NECROTIC: "necrotic and non-enhancing core",
    Label.OEDEMA: "oedema",
    Label.ENHANCING: "enhancing tumour",
}
"""Each drawn label in words, for legends."""
