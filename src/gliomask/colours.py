"""The colours of labels and regions: one palette for previews, reports, panels, plots, BIDS tables, DICOM objects and
other programs' label files.

Nothing else in gliomask says which colour a label has; `tests/test_colours.py` holds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gliomask.errors import UsageError
from gliomask.labels import Label, Region

RGB = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

# Okabe and Ito, Color Universal Design, 2008: eight colours that people with any of the common colour-blindnesses can
# tell apart.
BLACK: RGB = (0, 0, 0)
ORANGE: RGB = (230, 159, 0)
SKY_BLUE: RGB = (86, 180, 233)
BLUISH_GREEN: RGB = (0, 158, 115)
YELLOW: RGB = (240, 228, 66)
BLUE: RGB = (0, 114, 178)
VERMILION: RGB = (213, 94, 0)
REDDISH_PURPLE: RGB = (204, 121, 167)


@dataclass(frozen=True)
class Palette:
    """A colour for every label that is drawn, and for every region.

    Args:
        name: how it is asked for.
        description: in words.
        labels: by label; the background has none.
        regions: by region, for curves and boxes. A region has the colour of the label that is its alone where there is
            one.
    """

    name: str
    description: str
    labels: Mapping[Label, RGB]
    regions: Mapping[Region, RGB]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        object.__setattr__(self, "regions", MappingProxyType(dict(self.regions)))

    def region_hex(self, region: Region) -> str:
        """Returns the colour of a region as `#rrggbb`."""
        return in_hex(self.regions[region])

    def label_hex(self, label: Label) -> str:
        """Returns the colour of a label as `#rrggbb`. Raises KeyError for the background."""
        return in_hex(self.labels[label])


PALETTES: Mapping[str, Palette] = MappingProxyType(
    {
        palette.name: palette
        for palette in (
            Palette(
                "okabe-ito",
                "told apart by people with any of the common colour-blindnesses, and on paper without colour",
                {Label.NECROTIC: VERMILION, Label.OEDEMA: YELLOW, Label.ENHANCING: SKY_BLUE},
                {Region.WT: BLUISH_GREEN, Region.TC: VERMILION, Region.ET: SKY_BLUE},
            ),
            Palette(
                # Ben Naceur et al. 2020, graphical abstract: histograms of the classes are red, green, yellow. The
                # shades are ours.
                "paper",
                "the paper's red, green and yellow; red and green are hard to tell apart for one man in twelve",
                {Label.NECROTIC: (228, 26, 28), Label.OEDEMA: (51, 160, 44), Label.ENHANCING: (255, 221, 51)},
                {Region.WT: (51, 160, 44), Region.TC: (228, 26, 28), Region.ET: (255, 221, 51)},
            ),
        )
    }
)
"""Every palette, by name."""

PALETTE: Palette = PALETTES["okabe-ito"]
"""The one that is used where none is named."""

LINES: tuple[RGB, ...] = (BLACK, BLUE, VERMILION, BLUISH_GREEN, REDDISH_PURPLE, ORANGE, SKY_BLUE)
"""For curves that stand for neither labels nor regions, in the order in which they are taken."""


def palette(name: str) -> Palette:
    """Returns the palette of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return PALETTES[name]
    except KeyError:
        raise UsageError(f"There is no palette '{name}'. Known ones: {', '.join(PALETTES)}.") from None


def in_hex(colour: RGB) -> str:
    """Returns a colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
