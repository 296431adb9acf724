"""The report of one case: what is measured, and in which order it is told.

How it looks is for `report.html` and `report.pdf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import asdict, dataclass, replace
from typing import Any

from gliomask import __version__
from gliomask.arrays import LabelMap, Volume
from gliomask.case import Case
from gliomask.colours import PALETTE
from gliomask.in_words import INTERVAL, dice, millilitres
from gliomask.labels import Label, Region
from gliomask.metrics.diameters import LesionDiameters, measure_lesions
from gliomask.metrics.location import (
    CROSSING_MM,
    CROSSING_SHARE,
    Centre,
    Laterality,
    Midplane,
    centre,
    laterality,
    midsagittal_plane,
)
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
from gliomask.report.pictures import (
    HEAT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    SIDE_AIR,
    draw_diameters,
    draw_uncertainty,
    draw_views,
    png,
)
from gliomask.report.provenance import Provenance, estimates_in_words
from gliomask.report.rendered import Rendered
from gliomask.report.sections import DISPLAY_ORIENTATION
from gliomask.report.viewer import slice_viewer
from gliomask.report.views import PLANES, Views
from gliomask.report.volumes import ML_DECIMALS, Amount, Volumes, measure

TITLE = "Glioma segmentation report"

MOST_LESIONS = 5
"""Lesions listed, the largest first: as many as RANO (2010) has followed at most."""

DECIMALS_MM = 1

DOUBTFUL = "This result is doubtful. Look at the scans and at the pictures before using any number of it."

READING = (
    "Pictures are shown in radiological convention: the patient's right (R) is on the left of axial and coronal "
    "pictures, anterior (A) on the left of "
    "sagittal ones. L left, P posterior, S superior, I inferior."
)
METHOD = (
    "Diameters: the longest line between two points of an enhancing lesion in an axial slice, and the longest at "
    "right angles to it; of all slices the one "
    "with the largest product. They may run through parts that do not enhance; parts of a lesion that lie apart in a "
    "slice are measured apart. A lesion is "
    "measurable by size when both reach {needed:g} mm and at least two slices show it (RANO: Wen et al., J Clin "
    "Oncol 2010;28:1963; RANO 2.0: 2023;41:5187). "
    "What else the criteria ask for is for the reader: clear margins, no vessel, and of a lesion that is mostly cyst "
    "or cavity the solid part alone."
)
SIDES = (
    "The midline is the plane about which the brain mask mirrors itself best. A region crosses it when at least "
    "{share:.0%} of it lies more than "
    "{crossing:g} mm beyond it on either side. Centres are mean positions: voxels count from 0, millimetres are to "
    "the right, anterior and superior "
    "(RAS) in the coordinates of the images shown."
)

IN_BRATS_SPACE = (
    "The scans were registered to each other and to an average brain first. Volumes are those of the label map, in "
    "the scanner's grid. Pictures, sections, coordinates and diameters are in the frame of BraTS, not in the "
    "scanner's: slices are those of no series, and millimetres differ a little from those in the scanner's grid."
)


@dataclass(frozen=True, eq=False)
class CaseReport(Rendered):
    """What was measured of one case, and where it comes from.

    Args:
        case_id: of whom.
        grid: of the scans and the label map, in words.
        volumes: by label and region.
        lesions: enhancing lesions, the one with the largest product first; slices count on axes to the left, posterior
            and superior.
        slices: axial slices in all.
        centres: of each region; None where it is empty.
        sides: of each region; None where it is empty or the midline is not known.
        midplane: None where the brain mask tells none.
        views: what the pictures are drawn from.
        provenance: how the label map was made.
        notes: what else a reader must know before using a number.
        uncertainty: (I, J, K) entropy of the labels, 0 to 1, on the axes of `views`; None where it was not asked for.
    """

    case_id: str
    grid: str
    volumes: Volumes
    lesions: tuple[LesionDiameters, ...]
    slices: int
    centres: dict[Region, Centre | None]
    sides: dict[Region, Laterality | None]
    midplane: Midplane | None
    views: Views
    provenance: Provenance
    notes: tuple[str, ...] = ()
    uncertainty: Volume | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures of the report as plain values."""
        origin = asdict(self.provenance)
        origin["finished"] = None if self.provenance.finished is None else self.provenance.finished.isoformat()
        if self.provenance.corrected is not None:
            origin["corrected"]["when"] = self.provenance.corrected.when.isoformat()
        return {
            "case": self.case_id,
            "grid": self.grid,
            "volumes": self.volumes.to_dict(),
            "lesions": [
                asdict(lesion) | {"product_mm2": lesion.diameters.product_mm2, "measurable": lesion.measurable}
                for lesion in self.lesions
            ],
            "sum_of_products_mm2": sum(lesion.diameters.product_mm2 for lesion in self.lesions if lesion.measurable),
            "centres": {region.value: place and asdict(place) for region, place in self.centres.items()},
            "sides": {region.value: place and asdict(place) for region, place in self.sides.items()},
            "notes": list(self.notes),
            "provenance": origin,
            "report_by": f"gliomask {__version__}",
            "notice": NOTICE,
        }

    def document(self) -> Document:
        """Returns the report's content, for any setter."""
        return _document(self)


def case_report(
    case: Case,
    label_map: LabelMap,
    origin: Provenance | None = None,
    quality: Mapping[str, Any] | None = None,
    notes: Ordered[str] = (),
    uncertainty: Volume | None = None,
    volumes: Volumes | None = None,
) -> CaseReport:
    """Measures what a report tells.

    Args:
        case: the scans.
        label_map: (I, J, K) `labels.Label` on the case's own grid.
        origin: how the label map was made, as `provenance` reads it from a run record.
        quality: estimates of the result's quality or confidence, by name; numbers, texts, or mappings of names to them.
        notes: what else a reader must know before using a number; shown first.
        uncertainty: (I, J, K) float32 on the case's own grid, 0 certain to 1 undecided (`quality.entropy`), to be
            shown; None for not.
        volumes: of the label map as it is delivered, where that is another grid; measured here if None.

    Raises:
        GeometryError: the label map does not have the shape of the case's grid.

    Examples:
        >>> result = gliomask.segment("patients/BraTS2021_00000")
        >>> case_report(result.case, result.label_map).html()[:15]
        '<!DOCTYPE html>'
    """
    volumes = volumes or measure(label_map, case.geometry)
    views = Views.of(case, label_map, PANEL_WIDTH - 2 * SIDE_AIR, PANEL_HEIGHT)
    turn = case.geometry.reorientation_to(DISPLAY_ORIENTATION)
    spacing_mm = turn.target.spacing_mm
    lesions = measure_lesions(views.labels == Label.ENHANCING, spacing_mm)
    masks = {region: region.mask(label_map) for region in Region}
    affine = case.geometry.affine
    plane = midsagittal_plane(case.brain_mask, affine)
    origin = origin or Provenance()
    if quality:
        origin = replace(origin, estimates=(*origin.estimates, *estimates_in_words(quality)))
    return CaseReport(
        case.case_id,
        str(case.geometry),
        volumes,
        lesions,
        views.labels.shape[2],
        {region: centre(mask, affine) for region, mask in masks.items()},
        {region: None if plane is None else laterality(mask, affine, plane) for region, mask in masks.items()},
        plane,
        views,
        origin,
        tuple(notes),
        None if uncertainty is None else turn.apply(uncertainty),
    )


def _document(report: CaseReport) -> Document:
    origin = report.provenance
    corrected = origin.corrected
    facts = (
        ("Segmented", "not recorded" if origin.finished is None else f"{origin.finished:%Y-%m-%d %H:%M} UTC"),
        ("Model", origin.model),
        ("Post-processing", origin.postprocess),
        ("Grid", report.grid),
        *(() if corrected is None else (("Corrected", f"{corrected.when:%Y-%m-%d %H:%M} UTC, {corrected.who}"),)),
    )
    blocks = (
        *([] if corrected is None else [Notice(corrected.in_words())]),
        *([Notice(report.notes)] if report.notes else []),
        _flags(origin),
        Notice((SCOPE,), warning=False),
        # Every number below is worth less for these, so they stand where the reader begins.
        *[Notice((line,)) for line in origin.exceptions],
        _summary(report),
        *_sections(report),
        *_quality(origin),
        *_uncertainty(report),
        slice_viewer(report.views),
        Heading("Volumes"),
        _volumes(report.volumes),
        *_diameters(report),
        *_location(report),
        *_origin(report),
    )
    return Document(TITLE, report.case_id, facts, blocks, origin.finished)


def _flags(origin: Provenance) -> Notice:
    if origin.flags is None:
        return Notice(("No run record: whether the scans raised quality flags is not known.",))
    if origin.flags:
        lead = (DOUBTFUL,) if origin.doubted else ()
        return Notice((*lead, *(f"Quality flag: {flag}" for flag in origin.flags)))
    whose = "a network's" if origin.corrected is None else "a network's, corrected by hand"
    return Notice(
        (f"The scans raised no quality flag. Outlines are {whose}: look at them before using a number.",),
        warning=False,
    )


def _summary(report: CaseReport) -> Cards:
    cards = []
    for region in Region:
        amount = report.volumes.of(region)
        expected = report.provenance.expected_dice.get(region.value)
        remark = f"{amount.voxels:,} voxels" if expected is None else f"expected Dice {dice(expected[0])}"
        cards.append(Card(millilitres(amount.volume_ml), region.title.capitalize(), remark))
    cards.append(_diameter_card(report))
    whole = report.sides[Region.WT]
    cards.append(
        Card("\N{EN DASH}" if whole is None else _side(whole), "Side of the whole tumour", _side_remark(report))
    )
    return Cards(tuple(cards))


def _diameter_card(report: CaseReport) -> Card:
    if not report.lesions:
        return Card("none", "Enhancing lesion", "nothing enhances")
    lesion = report.lesions[0]
    remark = (
        f"{lesion.diameters.product_mm2:,.0f} mm\N{SUPERSCRIPT TWO}, "
        f"{'measurable' if lesion.measurable else 'not measurable'}"
    )
    return Card(_by(lesion), "Enhancing diameters", remark)


def _by(lesion: LesionDiameters) -> str:
    diameters = lesion.diameters
    return f"{diameters.longest_mm:.{DECIMALS_MM}f} x {diameters.perpendicular_mm:.{DECIMALS_MM}f} mm"


def _side(side: Laterality) -> str:
    return side.side.value.capitalize()


def _side_remark(report: CaseReport) -> str:
    whole = report.sides[Region.WT]
    if whole is not None:
        return "crosses the midline" if whole.crosses else "does not cross the midline"
    return "no tumour found" if report.volumes.of(Region.WT).voxels == 0 else "midline could not be told"


def _sections(report: CaseReport) -> list[Block]:
    legend = tuple((colour, label.title) for label, colour in PALETTE.labels.items())
    rows = []
    for plane in PLANES:
        words = f"{plane.name} section with the tumour's outlines"
        rows.append(
            tuple(
                Picture(png(image), f"{sequence.title}, {words}") for sequence, image in draw_views(report.views, plane)
            )
        )
    any_tumour = report.volumes.of(Region.WT).voxels > 0
    where = (
        "Sections with the largest area of tumour in each plane."
        if any_tumour
        else "No tumour found: sections through the middle of the brain."
    )
    return [Pictures(tuple(rows), f"{where} {READING}", legend=legend)]


def _volumes(volumes: Volumes) -> TableBlock:
    whole = volumes.of(Region.WT).volume_ml
    rows, swatches = [], []
    for amount in volumes.amounts:
        share = f"{amount.volume_ml / whole:.0%}" if whole else "\N{EN DASH}"
        rows.append((_amount_title(amount), f"{amount.volume_ml:.{ML_DECIMALS}f}", f"{amount.voxels:,}", share))
        swatches.append(PALETTE.labels[Label[amount.name.upper()]] if amount.kind == "label" else None)
    header = ("Label or region", "Volume, ml", "Voxels", "Of whole tumour")
    caption = (
        "Each voxel has one label; regions are sums of labels: the tumour core is all but oedema, the whole tumour "
        "is everything."
    )
    return TableBlock(tuple(rows), header, (1, 2, 3), (4, 1.4, 1.4, 1.4), tuple(swatches), caption=caption)


def _amount_title(amount: Amount) -> str:
    return amount.title.capitalize() if amount.kind == "label" else f"{amount.title.capitalize()} ({amount.name})"


def _diameters(report: CaseReport) -> list[Block]:
    blocks: list[Block] = [Heading("Enhancing lesions")]
    if not report.lesions:
        return [*blocks, Paragraph("Nothing enhances, so there is nothing to measure.")]
    rows = []
    for number, lesion in enumerate(report.lesions[:MOST_LESIONS], start=1):
        diameters = lesion.diameters
        sizes = (
            f"{diameters.longest_mm:.{DECIMALS_MM}f}",
            f"{diameters.perpendicular_mm:.{DECIMALS_MM}f}",
            f"{diameters.product_mm2:,.0f}",
        )
        where = (f"{lesion.slice_index + 1}/{report.slices}", str(lesion.slices), f"{lesion.voxels:,}")
        rows.append((str(number), *sizes, *where, "yes" if lesion.measurable else "no"))
    header = (
        "Lesion",
        "Longest a, mm",
        "Perpendicular b, mm",
        "Product, mm\N{SUPERSCRIPT TWO}",
        "Axial slice",
        "Seen in slices",
        "Voxels",
        "Measurable",
    )
    more = len(report.lesions) - MOST_LESIONS
    caption = " ".join(
        [*([f"{more} smaller ones are not listed."] if more > 0 else []), _sum_of_products(report.lesions)]
    )
    largest = report.lesions[0]
    words = (
        f"axial section {largest.slice_index + 1} with the two diameters of the largest enhancing lesion, "
        f"{_by(largest)}"
    )
    picture = Picture(png(draw_diameters(report.views, largest)), words)
    return [
        *blocks,
        TableBlock(
            tuple(rows), header, (1, 2, 3, 4, 5, 6, 7), (0.8, 1.2, 1.5, 1.2, 1.1, 1.1, 1.1, 1.3), caption=caption
        ),
        Pictures(
            ((picture,),),
            f"Lesion 1: a {largest.diameters.longest_mm:.1f} mm, b {largest.diameters.perpendicular_mm:.1f} mm.",
            0.32,
        ),
        Paragraph(METHOD.format(needed=largest.needed_mm), quiet=True),
    ]


def _sum_of_products(lesions: Ordered[LesionDiameters]) -> str:
    """What response criteria follow: the products of the measurable lesions, added up."""
    products = [lesion.diameters.product_mm2 for lesion in lesions if lesion.measurable]
    if not products:
        return "No lesion is measurable."
    many = "1 measurable lesion" if len(products) == 1 else f"{len(products)} measurable lesions"
    return f"Sum of the products of {many}: {sum(products):,.0f} mm\N{SUPERSCRIPT TWO}."


def _location(report: CaseReport) -> list[Block]:
    rows = []
    for region in Region:
        where, side = report.centres[region], report.sides[region]
        if where is None:
            rows.append((f"{region.title.capitalize()} ({region.value})", *["\N{EN DASH}"] * 5))
            continue
        voxel, ras = (", ".join(f"{value:.1f}" for value in values) for values in (where.voxel, where.ras_mm))
        sentence = (
            ("not told",) * 3
            if side is None
            else (_side(side), f"{side.left_share:.0%} / {1 - side.left_share:.0%}", "yes" if side.crosses else "no")
        )
        rows.append((f"{region.title.capitalize()} ({region.value})", voxel, ras, *sentence))
    header = ("Region", "Centre, voxel I, J, K", "Centre, RAS mm", "Side", "Left / right", "Crosses midline")
    blocks: list[Block] = [Heading("Location"), TableBlock(tuple(rows), header, (), (2, 1.9, 1.9, 0.9, 1.2, 1.1))]
    if report.midplane is None:
        blocks.append(
            Notice(
                (
                    "The brain mask has no plane of symmetry, so sides are not told. Is the whole brain there, and "
                    "is everything else 0?",
                )
            )
        )
    return [*blocks, Paragraph(SIDES.format(crossing=CROSSING_MM, share=CROSSING_SHARE), quiet=True)]


def _quality(origin: Provenance) -> list[Block]:
    blocks: list[Block] = []
    if origin.expected_dice:
        header = ("Region", *(f"{region.title.capitalize()} ({region.value})" for region in Region))
        expected = [origin.expected_dice.get(region.value) for region in Region]
        cells = [
            "not told" if one is None else f"{dice(one[0])} ({dice(one[1])} to {dice(one[2])})" for one in expected
        ]
        words = (
            "Estimates, not measurements: no reference was at hand. Of cross-validated patients four in five lay "
            "within the interval."
        )
        blocks.append(TableBlock(((f"Expected Dice ({INTERVAL})", *cells),), header, (), (1.4, 1, 1, 1), caption=words))
    if origin.estimates:
        blocks.append(
            TableBlock(
                origin.estimates,
                ("Estimate", "Value"),
                (),
                (2, 3),
                caption="Estimates, not measurements: no reference was at hand.",
            )
        )
    return [Heading("Confidence"), *blocks] if blocks else []


def _uncertainty(report: CaseReport) -> list[Block]:
    """Where the network is unsure, where that was asked for."""
    if report.uncertainty is None:
        return []
    row = tuple(
        Picture(png(image), f"uncertainty of the labels, {plane.name} section")
        for plane, image in ((plane, draw_uncertainty(report.views, plane, report.uncertainty)) for plane in PLANES)
    )
    legend = ((HEAT, "entropy of the four labels: the stronger the colour, the less sure the network is"),)
    words = "The same sections. Outlines are sure where a thin line is coloured, and doubtful where whole areas are."
    return [Heading("Uncertainty"), Pictures((row,), words, legend=legend)]


def _origin(report: CaseReport) -> list[Block]:
    origin = report.provenance
    versions = ", ".join(f"{name} {value}" for name, value in origin.versions) or "not recorded"
    made = (
        ("Model", origin.model),
        ("Model SHA-256", origin.model_sha256),
        *((("Ensemble member", origin.ensemble_member),) if origin.ensemble_member else ()),
        ("Post-processing", origin.postprocess),
        ("Engine", origin.engine),
        ("Versions of the run", versions),
        ("Report by", f"gliomask {__version__}"),
    )
    files = tuple((file.role, file.name, file.sha256) for file in origin.inputs)
    return [
        Heading("Provenance"),
        Paragraph(
            f"{NOTICE} Every result has to be looked at by a person; no number here is a diagnosis or a basis "
            "for treatment.",
            quiet=True,
        ),
        TableBlock(made, (), (), (1, 4)),
        *(
            [TableBlock(files, ("File", "Name", "SHA-256"), (), (1, 2.6, 4.2), code=(1, 2))]
            if files
            else [Paragraph("No run record: input files are not known.")]
        ),
    ]
