"""The page of the group level: how many participants, what was found in each, what to look at, what failed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from gliomask import __version__
from gliomask.bids.layout import Session
from gliomask.colours import PALETTE
from gliomask.labels import Region
from gliomask.report.case_table import CaseLine, case_table
from gliomask.report.document import (
    NOTICE,
    Block,
    Card,
    Cards,
    Document,
    Heading,
    Notice,
    Paragraph,
    Picture,
    Pictures,
    TableBlock,
)
from gliomask.report.pictures import png
from gliomask.report.rendered import Rendered

TITLE = "Glioma segmentations of a dataset"

IN_A_ROW = 3
"""Pictures side by side."""

CAPTION = 32
"""Height of the band under a picture in which its participant stands, pixels."""

AMOUNTS = tuple(f"{region.value.lower()}_ml" for region in Region)


@dataclass(frozen=True)
class GroupMember:
    """One session of the dataset.

    Args:
        session: which.
        status: `done`, `failed` or `missing`.
        values: its row of the table.
        picture: the bytes of its small picture; None where it is not done.
        flags: messages of its quality flags.
        report: name of its report beside the page; None where it has none.
    """

    session: Session
    status: str
    values: Mapping[str, str]
    picture: bytes | None = None
    flags: tuple[str, ...] = ()
    report: str | None = None

    @property
    def name(self) -> str:
        """How it is called on the page."""
        return self.session.case_id.replace("_", " ")


@dataclass(frozen=True, eq=False)
class GroupPage(Rendered):
    """The page.

    Args:
        dataset: name of the input dataset.
        members: one for each session.
    """

    dataset: str
    members: tuple[GroupMember, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the rows of the table."""
        return {"dataset": self.dataset, "rows": [dict(member.values) for member in self.members]}

    def document(self) -> Document:
        """Returns the page's content, for any setter."""
        done = self._of("done")
        models = Counter(member.values["model"] for member in done)
        participants = len({member.session.subject for member in self.members})
        facts = (
            ("Participants", str(participants)),
            ("Sessions", str(len(self.members))),
            ("Model", ", ".join(sorted(models)) or "none"),
            ("Page by", f"gliomask {__version__}"),
        )
        blocks = (
            self._notice(),
            *self._cards(done),
            *self._trouble(),
            *self._table(done),
            *self._flags(done),
            *_pictures(done),
            _reading(),
        )
        return Document(TITLE, self.dataset, facts, blocks)

    def _of(self, status: str) -> list[GroupMember]:
        return [member for member in self.members if member.status == status]

    def _notice(self) -> Notice:
        failed, missing, flagged = (
            len(self._of("failed")),
            len(self._of("missing")),
            sum(bool(member.flags) for member in self.members),
        )
        lines = [
            *([f"{failed} of {len(self.members)} sessions could not be segmented."] if failed else []),
            *([f"{missing} of {len(self.members)} sessions have no results."] if missing else []),
            *([f"{flagged} raised quality flags: look at them first."] if flagged else []),
        ]
        if lines:
            return Notice(tuple(lines))
        return Notice(
            (f"All {len(self.members)} sessions were segmented, and none raised a quality flag.",), warning=False
        )

    def _cards(self, done: list[GroupMember]) -> Iterator[Block]:
        if not done:
            return
        cards = [Card(f"{len(done)} of {len(self.members)}", "Sessions segmented")]
        for region in Region:
            amounts = [float(member.values[f"{region.value.lower()}_ml"]) for member in done]
            cards.append(
                Card(
                    f"{median(amounts):.1f} ml",
                    f"Median {region.title}",
                    f"{min(amounts):.1f} to {max(amounts):.1f} ml",
                )
            )
        yield Cards(tuple(cards))

    def _trouble(self) -> Iterator[Block]:
        rows = tuple(
            (member.name, member.status, member.values["message"]) for member in self.members if member.status != "done"
        )
        if rows:
            yield Heading("Not segmented")
            yield TableBlock(rows, ("Session", "Status", "Why"), (), (1.4, 0.7, 5))

    def _table(self, done: list[GroupMember]) -> Iterator[Block]:
        if not done:
            return
        lines = [
            CaseLine(
                member.name,
                _numbers(member, "{}_ml"),
                _numbers(member, "expected_dice_{}"),
                (member.values["raw_route"], _flag_names(member)),
                member.report,
            )
            for member in done
        ]
        yield Heading("All sessions")
        caption = (
            "A heading sorts by its column, a session's name leads to its report. The whole table, with labels: "
            "group_volumes.tsv."
        )
        yield case_table(lines, "Session", ("Registered from raw scans", "Flags"), caption, (1.2, 2.0))

    def _flags(self, done: list[GroupMember]) -> Iterator[Block]:
        rows = tuple((member.name, message) for member in done for message in member.flags)
        if rows:
            yield Heading("Quality flags")
            yield TableBlock(rows, ("Session", "What looks wrong"), (), (1.4, 5.7))


def _numbers(member: GroupMember, column: str) -> dict[Region, float]:
    cells = {region: member.values[column.format(region.value.lower())] for region in Region}
    return {region: float(cell) for region, cell in cells.items() if cell != "n/a"}


def _flag_names(member: GroupMember) -> str:
    return "" if member.values["flags"] == "n/a" else member.values["flags"].replace("_", " ")


def _pictures(done: list[GroupMember]) -> Iterator[Block]:
    if not done:
        return
    shown = [
        Picture(_captioned(member), f"{member.name}: T1ce and FLAIR with the tumour's outlines") for member in done
    ]
    blank = Picture(png(Image.new("RGB", Image.open(io.BytesIO(shown[0].png)).size, "white")), "")
    shown += [blank] * (-len(shown) % IN_A_ROW)
    rows = tuple(tuple(shown[n : n + IN_A_ROW]) for n in range(0, len(shown), IN_A_ROW))
    legend = tuple((colour, label.title) for label, colour in PALETTE.labels.items())
    yield Heading("Pictures")
    yield Pictures(
        rows,
        "T1ce and FLAIR at the axial section with most tumour. The patient's right (R) is on the left.",
        legend=legend,
    )


def _captioned(member: GroupMember) -> bytes:
    """The small picture with the participant's name and the volume of the whole tumour in a band below it."""
    picture = Image.open(io.BytesIO(member.picture or b"")).convert("RGB")
    whole = Image.new("RGB", (picture.width, picture.height + CAPTION), "white")
    whole.paste(picture, (0, 0))
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(22)
    pen.text((2, picture.height + 3), member.name, (27, 36, 48), font)
    pen.text(
        (picture.width - 2, picture.height + 3),
        f"{float(member.values[AMOUNTS[0]]):.1f} ml",
        (27, 36, 48),
        font,
        anchor="ra",
    )
    return png(whole.quantize(256))


def _reading() -> Paragraph:
    return Paragraph(
        f"{NOTICE} Volumes are measured on label maps that a network drew. Look at each before using its numbers.",
        quiet=True,
    )
