"""The table of many cases on a page: a line for each, sorted by any column, leading to the case's report."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from urllib.parse import quote

from gliomask.in_words import dice, volume_number
from gliomask.labels import Region
from gliomask.report.document import TableBlock

DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class CaseLine:
    """One case.

    Args:
        name: what it is called.
        volumes_ml: by region; empty where it is not done.
        expected_dice: by region; empty where none can be promised.
        more: further cells, as many as the table has further columns.
        report: path of its report from the page, with slashes; None where it has none.
    """

    name: str
    volumes_ml: Mapping[Region, float] = field(default_factory=dict)
    expected_dice: Mapping[Region, float] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    report: str | None = None


def case_table(
    lines: Ordered[CaseLine], first: str, more: tuple[str, ...], caption: str, widths: tuple[float, ...] = ()
) -> TableBlock:
    """Returns the table of cases.

    Args:
        lines: one for each case.
        first: heading of the first column, such as `Session`.
        more: headings of the further columns.
        caption: what stands below.
        widths: relative widths of the further columns; equal if empty.
    """
    rows = tuple(
        (
            line.name,
            *(volume_number(line.volumes_ml[region]) if region in line.volumes_ml else DASH for region in Region),
            *(dice(line.expected_dice[region]) if region in line.expected_dice else DASH for region in Region),
            *(cell or DASH for cell in line.more),
        )
        for line in lines
    )
    header = (
        first,
        *(f"{region.value}, ml" for region in Region),
        *(f"Expected Dice, {region.value}" for region in Region),
        *more,
    )
    numbers = tuple(range(1, 1 + 2 * len(Region)))
    shares = (2.0, *[0.85] * len(Region), *[1.0] * len(Region), *(widths or (1.2,) * len(more)))
    # Every letter that means something in an address is written by its code: a case's name cannot lead elsewhere.
    links = tuple("" if line.report is None else quote(line.report) for line in lines)
    return TableBlock(rows, header, numbers, shares, caption=caption, links=links, sortable=True)
