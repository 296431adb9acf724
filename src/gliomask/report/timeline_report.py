"""The report of one patient over time: volumes at each time point, how they changed, and what is new.

The order and the dates are given, never guessed. Nothing is registered here: lesions are called new only where the
grids lie on each other.
"""

from __future__ import annotations

import io
from collections.abc import Sequence as Ordered
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gliomask import __version__
from gliomask.arrays import LabelMap, Mask
from gliomask.colours import PALETTE
from gliomask.errors import UsageError
from gliomask.geometry import Geometry
from gliomask.in_words import change_ml, millilitres
from gliomask.labels import Label, Region
from gliomask.metrics.diameters import LesionDiameters, measure_lesions
from gliomask.metrics.follow_up import Change, Changes, NewLesion, carried_over, changes, new_lesions
from gliomask.report.case_report import READING
from gliomask.report.document import (
    NOTICE,
    SCOPE,
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
from gliomask.report.provenance import Provenance
from gliomask.report.rendered import Rendered
from gliomask.report.sections import DISPLAY_ORIENTATION
from gliomask.report.timeline_pictures import VisitScans, common_place, draw_visit
from gliomask.report.volumes import Volumes, measure

TITLE = "Glioma follow-up report"

ALIGNED_DICE = 0.9
"""Overlap of two brain masks from which their images pass for registered. Three real brains
moved by 5 mm along any axis kept 0.93 to 0.95, by 10 mm 0.87 to 0.90: small shifts pass."""

NEW_REGIONS = (Region.WT, Region.ET)
"""Regions in which new lesions are looked for."""

NEW_ML = 0.1
"""Smallest new lesion that is listed; smaller ones are counted."""

DASH = "\N{EN DASH}"


@dataclass(frozen=True, eq=False)
class TimePoint:
    """One examination of the patient.

    Args:
        name: what it is called in the report.
        label_map: (I, J, K) `labels.Label`.
        geometry: its grid.
        day: when it was; None for all time points where only their order is known.
        origin: how the label map was made.
        brain: (I, J, K), to see whether images lie on each other; None where no mask of it is at hand.
        no_brain: why there is no mask, in words that end a sentence; empty where there is one.
        scans: what is drawn below the outlines; None where the scans are not at hand.
    """

    name: str
    label_map: LabelMap
    geometry: Geometry
    day: date | None = None
    origin: Provenance = field(default_factory=Provenance)
    brain: Mask | None = None
    no_brain: str = ""
    scans: VisitScans | None = None


@dataclass(frozen=True, eq=False)
class Visit:
    """What was measured at one time point.

    Args:
        point: the time point.
        volumes: by label and region.
        changes: by region.
        lesions: enhancing lesions, the one with the largest product first.
        fresh: new lesions by region; None where that cannot be told, and at the first time point.
        aligned: least overlap of its brain mask with an earlier one, Dice; None where it was not measured.
    """

    point: TimePoint
    volumes: Volumes
    changes: dict[Region, Changes]
    lesions: tuple[LesionDiameters, ...]
    fresh: dict[Region, list[NewLesion]] | None
    aligned: float | None

    @property
    def largest(self) -> LesionDiameters | None:
        """The largest enhancing lesion; None where nothing enhances."""
        return self.lesions[0] if self.lesions else None

    @property
    def sum_of_products_mm2(self) -> float:
        """The products of the diameters of all measurable lesions, added up."""
        return sum(lesion.diameters.product_mm2 for lesion in self.lesions if lesion.measurable)


@dataclass(frozen=True, eq=False)
class TimelineReport(Rendered):
    """A patient over time."""

    patient: str
    visits: tuple[Visit, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures of the report as plain values."""
        visits = [
            {
                "time_point": visit.point.name,
                "date": visit.point.day and visit.point.day.isoformat(),
                "volumes": visit.volumes.to_dict(),
                "changes": {region.value: asdict(change) for region, change in visit.changes.items()},
                "largest_enhancing_lesion": visit.largest and asdict(visit.largest),
                "sum_of_products_mm2": visit.sum_of_products_mm2,
                "new_lesions": visit.fresh
                and {region.value: [asdict(lesion) for lesion in lesions] for region, lesions in visit.fresh.items()},
                "brain_overlap": visit.aligned,
                "model": {"name": visit.point.origin.model, "sha256": visit.point.origin.model_sha256},
            }
            for visit in self.visits
        ]
        return {"patient": self.patient, "visits": visits, "report_by": f"gliomask {__version__}", "notice": NOTICE}

    def document(self) -> Document:
        """Returns the report's content, for any setter."""
        times = [visit.point.origin.finished for visit in self.visits]
        first, last = self.visits[0].point, self.visits[-1].point
        facts = (
            ("Time points", str(len(self.visits))),
            ("First", _when(first)),
            ("Last", _when(last)),
            ("Report by", f"gliomask {__version__}"),
        )
        blocks = (
            Notice((SCOPE,)),
            *_alignment(self.visits),
            _summary(self.visits),
            *_curves(self.visits),
            *_pictures(self.visits),
            *_volume_tables(self.visits),
            *_diameters(self.visits),
            *_new(self.visits),
            *_origins(self.visits),
        )
        return Document(TITLE, self.patient, facts, blocks, max((time for time in times if time), default=None))


def timeline_report(patient: str, points: Ordered[TimePoint]) -> TimelineReport:
    """Measures a patient's time points, given in their order.

    Raises:
        UsageError: fewer than two time points, two of one name, dates for some only, or dates that do not grow.
        GeometryError: a label map does not have its grid's shape.
    """
    _refuse_odd_order(points)
    volumes = [measure(point.label_map, point.geometry) for point in points]
    series = {region: changes([volume.region_ml(region) for volume in volumes]) for region in Region}
    visits = []
    for n, point in enumerate(points):
        aligned = _least_overlap(point, points[:n])
        comparable = aligned is not None and aligned >= ALIGNED_DICE
        fresh = {region: _fresh(region, point, points[:n]) for region in NEW_REGIONS} if comparable else None
        visits.append(
            Visit(point, volumes[n], {region: series[region][n] for region in Region}, _lesions(point), fresh, aligned)
        )
    return TimelineReport(patient, tuple(visits))


def _refuse_odd_order(points: Ordered[TimePoint]) -> None:
    if len(points) < 2:
        raise UsageError(f"A timeline needs at least two time points; found {len(points)}.")
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        raise UsageError(f"Two time points have one name: {', '.join(names)}. Give each its own.")
    days = [point.day for point in points if point.day is not None]
    if days and len(days) < len(points):
        raise UsageError("Some time points have a date and some have none. Give all of them a date, or none.")
    for earlier, later in pairwise(days):
        if later <= earlier:
            raise UsageError(
                f"The dates do not grow from row to row: {later} follows {earlier}. Give the time points in "
                "their order."
            )


def _lesions(point: TimePoint) -> tuple[LesionDiameters, ...]:
    turn = point.geometry.reorientation_to(DISPLAY_ORIENTATION)
    return measure_lesions(turn.apply(point.label_map) == Label.ENHANCING, turn.target.spacing_mm)


def _fresh(region: Region, point: TimePoint, earlier: Ordered[TimePoint]) -> list[NewLesion]:
    before = np.zeros(point.geometry.shape, np.bool_)
    for other in earlier:
        before |= carried_over(region.mask(other.label_map), other.geometry, point.geometry)
    return new_lesions(region.mask(point.label_map), before)


def _least_overlap(point: TimePoint, earlier: Ordered[TimePoint]) -> float | None:
    """Dice of the brain with the earlier one it fits worst; None where a mask is not at hand."""
    brain, brains = point.brain, [(other.brain, other.geometry) for other in earlier]
    overlaps = []
    for other, grid in brains:
        if brain is None or other is None:
            return None
        carried = carried_over(other, grid, point.geometry)
        sizes = int(carried.sum()) + int(brain.sum())
        overlaps.append(2 * int((carried & brain).sum()) / max(1, sizes))
    return min(overlaps, default=None)


def _when(point: TimePoint) -> str:
    return point.name if point.day is None else f"{point.name}, {point.day.isoformat()}"


def _alignment(visits: Ordered[Visit]) -> list[Block]:
    off = [visit for visit in visits if visit.aligned is not None and visit.aligned < ALIGNED_DICE]
    lines = []
    if off:
        names = ", ".join(f"{visit.point.name} (brain overlap, Dice, {visit.aligned:.2f})" for visit in off)
        lines.append(
            f"The images are not registered to each other: {names}. Volumes can be compared; new lesions are "
            "not told there."
        )
    unknown = [visit.point.name for visit in visits[1:] if visit.aligned is None]
    if unknown:
        why = dict.fromkeys(f"{visit.point.name}: {visit.point.no_brain}" for visit in visits if visit.point.no_brain)
        lines.append(
            "Whether the images are registered to each other could not be checked, so new lesions are not told: "
            f"{', '.join(unknown)}." + (f" Why: {'; '.join(why)}." if why else "")
        )
    other_grid = [
        visit.point.name for visit in visits[1:] if not visit.point.geometry.same_grid(visits[0].point.geometry)
    ]
    if other_grid:
        lines.append(
            "On another grid than the first, brought together by their affines alone, without registration: "
            f"{', '.join(other_grid)}."
        )
    models = {visit.point.origin.model_sha256 for visit in visits}
    if len(models) > 1:
        lines.append(
            "The time points were segmented by different models, or not all by a known one: some of the change "
            "may be theirs."
        )
    return (
        [Notice(tuple(lines))]
        if lines
        else [Notice(("The brains of all time points lie on each other, on one grid.",), warning=False)]
    )


def _summary(visits: Ordered[Visit]) -> Cards:
    last = visits[-1]
    cards = []
    for region in Region:
        change = last.changes[region].from_baseline
        cards.append(
            Card(
                millilitres(last.volumes.region_ml(region)),
                f"{region.title.capitalize()}, last",
                f"{_change(change)} from baseline",
            )
        )
    comparable = any(visit.fresh is not None for visit in visits)
    lesions, enhancing = (sum(len(_listed(visit, region)) for visit in visits) for region in NEW_REGIONS)
    remark = f"new enhancing parts: {enhancing}" if comparable else "could not be told"
    cards.append(Card(str(lesions) if comparable else DASH, f"New lesions, {NEW_ML:g} ml or more", remark))
    return Cards(tuple(cards))


def _listed(visit: Visit, region: Region) -> list[NewLesion]:
    fresh = [] if visit.fresh is None else visit.fresh[region]
    return [lesion for lesion in fresh if lesion.voxels * visit.point.geometry.voxel_ml >= NEW_ML]


def _change(change: Change | None) -> str:
    if change is None:
        return DASH
    share = "" if change.percent is None else f" ({change.percent:+.0f} %)".replace("-", "\N{MINUS SIGN}")
    return f"{change_ml(change.difference_ml)}{share}"


def _curves(visits: Ordered[Visit]) -> list[Block]:
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    axes = figure.add_subplot()
    days = [visit.point.day for visit in visits]
    places = [n if day is None or days[0] is None else (day - days[0]).days for n, day in enumerate(days)]
    for region in Region:
        axes.plot(
            places,
            [visit.volumes.region_ml(region) for visit in visits],
            "o-",
            color=PALETTE.region_hex(region),
            label=region.title,
            linewidth=2,
        )
    # The names come from files: a dollar sign there is no mathematics.
    numbers = [
        "" if day is None or days[0] is None else f"\nday {place}" for day, place in zip(days, places, strict=True)
    ]
    labels = [
        (
            visit.point.name if len(visit.point.name) <= 18 else visit.point.name[:17] + "\N{HORIZONTAL ELLIPSIS}"
        ).replace("$", r"\$")
        for visit in visits
    ]
    dated = [
        _plain(label) + number + ("" if day is None else f"\n{day.isoformat()}")
        for label, number, day in zip(labels, numbers, days, strict=True)
    ]
    axes.set_xticks(places, dated, rotation=30 if len(visits) > 6 else 0, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("volume, ml")
    axes.set_xlabel(
        "days since the first time point, to scale"
        if days[0] is not None
        else "time points in their order, not to scale"
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, dpi=200, metadata={"Software": None})
    return [Pictures(((Picture(stream.getvalue(), "Curves of the three regions' volumes over time"),),))]


def _pictures(visits: Ordered[Visit]) -> list[Block]:
    """A row of sections for each visit; one place for all of them where the images lie on each other, else each at its
    own.
    """
    drawn = [visit for visit in visits if visit.point.scans is not None]
    blocks: list[Block] = [Heading("Pictures")]
    without = [visit.point.name for visit in visits if visit.point.scans is None]
    note = f"No pictures, because the scans are not at hand: {', '.join(without)}." if without else ""
    if not drawn:
        return [*blocks, Paragraph(note)]
    together = all(visit.aligned is not None and visit.aligned >= ALIGNED_DICE for visit in visits[1:])
    shared = common_place([(visit.point.label_map, visit.point.geometry) for visit in visits]) if together else None
    for visit in drawn:
        point = visit.point
        assert point.scans is not None
        place = shared or common_place([(point.label_map, point.geometry)]) or _middle(point.geometry)
        panels = draw_visit(point.scans, point.label_map, point.geometry, place)
        row = tuple(
            Picture(png(panel), f"{point.name}: section {n} of {len(panels)} with the tumour's outlines")
            for n, panel in enumerate(panels, 1)
        )
        blocks.append(
            Pictures((row,), f"{_when(point)}: whole tumour {millilitres(visit.volumes.region_ml(Region.WT))}")
        )
    where = (
        "All visits are cut at one place: where the tumour of the visit with most of it is largest."
        if shared
        else "Each visit is cut where its own tumour is largest: the images are not known to lie on each other."
    )
    return [*blocks, Paragraph(" ".join(filter(None, (where, READING, note))), quiet=True)]


def _middle(grid: Geometry) -> tuple[float, float, float]:
    right, anterior, superior = grid.corners_ras().mean(axis=0)
    return float(right), float(anterior), float(superior)


def _plain(text: str) -> str:
    """Letters that the plot's font has; others would each be a warning and a box."""
    return "".join(letter if 32 <= ord(letter) < 0x250 else "?" for letter in text)


def _volume_tables(visits: Ordered[Visit]) -> list[Block]:
    blocks: list[Block] = [Heading("Volumes")]
    for region in Region:
        rows = []
        for visit in visits:
            changes_of_region, volume = visit.changes[region], visit.volumes.of(region)
            rows.append(
                (
                    _when(visit.point),
                    f"{volume.volume_ml:.3f}",
                    f"{volume.voxels:,}",
                    _change(changes_of_region.from_baseline),
                    _change(changes_of_region.from_nadir),
                )
            )
        header = (region.title.capitalize(), "Volume, ml", "Voxels", "From baseline", "From nadir")
        blocks.append(TableBlock(tuple(rows), header, (1, 2, 3, 4), (2.4, 1.2, 1.1, 1.7, 1.7)))
    note = (
        "Baseline is the first time point; the nadir is the smallest volume of all earlier ones. No share is "
        "given of 0 ml."
    )
    return [*blocks, Paragraph(note, quiet=True)]


def _diameters(visits: Ordered[Visit]) -> list[Block]:
    rows = []
    for visit in visits:
        if visit.largest is None:
            rows.append((_when(visit.point), *[DASH] * 3, "nothing enhances", "0"))
            continue
        diameters = visit.largest.diameters
        measurable = "yes" if visit.largest.measurable else "no"
        rows.append(
            (
                _when(visit.point),
                f"{diameters.longest_mm:.1f}",
                f"{diameters.perpendicular_mm:.1f}",
                f"{diameters.product_mm2:,.0f}",
                measurable,
                f"{visit.sum_of_products_mm2:,.0f}",
            )
        )
    header = (
        "Largest enhancing lesion",
        "Longest, mm",
        "Perpendicular, mm",
        "Product, mm\N{SUPERSCRIPT TWO}",
        "Measurable",
        "Sum of products, mm\N{SUPERSCRIPT TWO}",
    )
    note = (
        "The largest lesion of each time point, which need not be the same one; the sum is of all measurable lesions. "
        "No class of response is derived: criteria ask for more than images."
    )
    return [
        Heading("Diameters"),
        TableBlock(tuple(rows), header, (1, 2, 3, 4, 5), (2.2, 1.1, 1.5, 1.2, 1.4, 1.4), caption=note),
    ]


def _new(visits: Ordered[Visit]) -> list[Block]:
    rows = []
    for visit in visits[1:]:
        if visit.fresh is None:
            reason = (
                "it is not known whether the images are registered"
                if visit.aligned is None
                else "the images are not registered"
            )
            rows.append((visit.point.name, f"not told: {reason}", DASH, DASH))
            continue
        for region in NEW_REGIONS:
            listed = _listed(visit, region)
            smaller = len(visit.fresh[region]) - len(listed)
            for lesion in listed:
                at = ", ".join(f"{value:.0f}" for value in lesion.centre_voxel)
                rows.append(
                    (visit.point.name, region.title, f"{lesion.voxels * visit.point.geometry.voxel_ml:.2f}", at)
                )
            if smaller or not listed:
                rows.append(
                    (visit.point.name, region.title, f"{smaller} under {NEW_ML:g} ml" if smaller else "none", DASH)
                )
    header = ("Time point", "Region", "Volume, ml", "Centre, voxel I, J, K")
    note = (
        "New is a part of the region, in three dimensions, that touches none of the region at any earlier time "
        "point. New enhancement may lie in old oedema."
    )
    return [Heading("New lesions"), TableBlock(tuple(rows), header, (2, 3), (2, 2.4, 1.6, 2), caption=note)]


def _origins(visits: Ordered[Visit]) -> list[Block]:
    rows = []
    for visit in visits:
        origin = visit.point.origin
        rows.append(
            (visit.point.name, f"{origin.model}, post-processing {origin.postprocess}", origin.model_sha256[:16])
        )
    files = tuple((visit.point.name, file.name, file.sha256) for visit in visits for file in visit.point.origin.inputs)
    return [
        Heading("Provenance"),
        Paragraph(
            f"{NOTICE} Every result has to be looked at by a person; no number here is a diagnosis or a basis "
            "for treatment.",
            quiet=True,
        ),
        TableBlock(tuple(rows), ("Time point", "Model", "SHA-256 begins"), (), (1.6, 3, 2), code=(2,)),
        *([TableBlock(files, ("Time point", "File", "SHA-256"), (), (1.3, 2.4, 4.2), code=(1, 2))] if files else []),
    ]
