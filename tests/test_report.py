"""Reports of one case: what they say, that both settings say it, that nothing from a file becomes markup, and that
pages are not blank.
"""

import base64
import hashlib
import io
import re
import struct
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import html5lib
import numpy as np
import pypdfium2
import pytest
from browser import dom_of, needs_chromium
from conftest import TINY_SHAPE, make_tiny_case, tiny_labels
from PIL import Image

from gliomask.case import Case
from gliomask.colours import PALETTE
from gliomask.errors import EngineUnavailableError, GeometryError
from gliomask.labels import Label
from gliomask.report import pdf, pictures
from gliomask.report.case_report import case_report
from gliomask.report.document import (
    MAX_SUBJECT,
    NOTICE,
    Card,
    Cards,
    Document,
    Heading,
    Notice,
    Paragraph,
    TableBlock,
    visible,
)
from gliomask.report.html import POLICY, to_html
from gliomask.report.provenance import NOT_RECORDED, file_name, provenance
from gliomask.report.sections import AXIAL, SectionBox
from gliomask.report.viewer import MOST_PIXELS, MOST_SLICES, Layout, slice_viewer
from gliomask.report.views import PLANES, Views
from gliomask.sequences import Sequence

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>&amp;\u202egnp.exe\x00\n${title} {nb} %s \\'
RECORD = {
    "finished": "2026-03-04T05:06:07+00:00",
    "environment": {"gliomask": "9.8.7", "python": "3.11.0", "packages": {"numpy": "2.0"}},
    "case": "tiny",
    "inputs": {"/home/Jane Doe/flair.nii.gz": "a" * 64, "C:\\scans\\Doe\\t1.nii.gz": "b" * 64},
    "sequences": {"flair": "/home/Jane Doe/flair.nii.gz", "t1": "C:\\scans\\Doe\\t1.nii.gz"},
    "model": {"name": "by-hand", "sha256": "c" * 64},
    "options": {"postprocess": "3d", "engine": "fake", "labels": "brats2021"},
    "predicted_dice": {"WT": {"dice": 0.91, "low": 0.8, "high": 0.95}},
    "quality_flags": [],
}


PICTURES = 4 * 3 + 1
"""Sections of each sequence, and the slice with the diameters."""

SHEETS = 4 + 1
"""Of tiles, for the viewer: each sequence and the labels."""


@pytest.fixture(scope="module")
def report():
    return case_report(make_tiny_case(), tiny_labels(), provenance(RECORD))


@pytest.fixture(scope="module")
def page(report):
    return report.html()


@pytest.fixture(scope="module")
def file(report):
    return report.pdf()


@pytest.fixture(scope="module")
def hostile():
    case = make_tiny_case(HOSTILE)
    record = {
        "model": {"name": HOSTILE},
        "inputs": {HOSTILE: HOSTILE},
        "quality_flags": [{"message": HOSTILE}],
        "environment": {HOSTILE: 1, "gliomask": HOSTILE},
    }
    return case_report(case, tiny_labels(), provenance(record), quality={HOSTILE: {HOSTILE: HOSTILE}}, notes=(HOSTILE,))


def texts(content: bytes) -> list[str]:
    with pypdfium2.PdfDocument(content) as document:
        return [page.get_textpage().get_text_range() for page in document]


def rendered(content: bytes) -> list[np.ndarray]:
    with pypdfium2.PdfDocument(content) as document:
        return [np.asarray(page.render(scale=0.8).to_pil().convert("RGB")) for page in document]


class Collector(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def parsed(page: str) -> Collector:
    html5lib.HTMLParser(strict=True).parse(page)
    collector = Collector()
    collector.feed(page)
    return collector


def test_both_settings_say_what_was_measured(report, page, file):
    shown = " ".join(parsed(page).text), " ".join(texts(file))
    lesion = report.lesions[0].diameters
    for text in (" ".join(part.split()) for part in shown):
        for amount in report.volumes.amounts:
            assert f"{amount.volume_ml:.3f}" in text
            assert f"{amount.voxels:,}" in text
        assert f"{lesion.longest_mm:.1f} x {lesion.perpendicular_mm:.1f} mm" in text
        for fact in (
            "by-hand",
            "c" * 64,
            "gliomask 9.8.7",
            "numpy 2.0",
            "2026-03-04 05:06 UTC",
            "flair.nii.gz",
            "a" * 64,
            "expected Dice 0.91",
            "0.91 (0.80 to 0.95)",
            "radiological convention",
        ):
            assert fact in text, fact


def test_folders_and_the_names_in_them_stay_out(report, page, file):
    for text in (re.sub(r'base64,[^"]*', "", page), " ".join(texts(file)), report.json()):
        assert "Jane" not in text
        assert "Doe" not in text
    assert [file_name(path) for path in ("/a/b.nii", "C:\\a\\b.nii", "b.nii", "a/b\\c.nii")] == [
        "b.nii",
        "b.nii",
        "b.nii",
        "c.nii",
    ]


def test_the_notice_stands_on_every_page(page, file):
    pages = texts(file)
    count = len(pages)
    assert count >= 2
    assert all(NOTICE in text for text in pages)
    assert [text.split("tiny")[-1].strip() for text in pages] == [f"{number}/{count}" for number in range(1, count + 1)]
    assert f"<footer>{NOTICE}</footer>" in page
    assert f'@bottom-center {{ content: "{NOTICE}"' in page, "the margin of each printed page"


def test_html_needs_nothing_from_elsewhere(page):
    tags = parsed(page).tags
    assert not {tag for tag, _ in tags} & {"link", "iframe", "object", "embed", "form", "base", "svg"}
    assert [attributes for tag, attributes in tags if tag == "script"] == [{}], "one script, and it stands in the page"
    sources = [
        value
        for _, attributes in tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action")
    ]
    assert len(sources) == PICTURES + SHEETS
    assert all(source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for source in sources)
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?:", page)
    assert len(page) < 10e6


def test_every_picture_of_the_html_opens_and_has_words(page):
    images = [attributes for tag, attributes in parsed(page).tags if tag == "img"]
    for attributes in images:
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].split(",")[1])))
        picture.verify()
        assert attributes["alt"]
    assert [attributes["alt"].split(",")[0] for attributes in images[:4]] == ["T1", "T1ce", "T2", "FLAIR"]


def test_the_policy_lets_the_viewers_script_run_and_no_other(page):
    policy = next(
        attributes["content"]
        for tag, attributes in parsed(page).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [*POLICY.split("; "), f"script-src 'sha256-{digest}'"]
    assert not re.search(r"\b(eval|Function|fetch|XMLHttpRequest|import)\(", script)


def test_a_page_without_slices_has_no_script_and_forbids_all():
    page = to_html(Document("A report", "x", blocks=(Paragraph("words"),)))
    assert "script" not in {tag for tag, _ in parsed(page).tags}
    assert f'content="{POLICY}"' in page


def test_the_viewer_holds_every_slice_of_the_shown_part_with_its_labels(report):
    viewer = slice_viewer(report.views)
    box, labels = report.views.box, report.views.labels
    assert [title for title, _ in viewer.sheets] == ["T1", "T1ce", "T2", "FLAIR"]
    assert viewer.first_sheet == "T1ce"
    assert viewer.slices == tuple(range(box.start[2] + 1, box.stop[2] + 1))
    assert viewer.slices[viewer.first] == report.views.centre[2] + 1
    width, height = viewer.tile
    sheet = np.asarray(Image.open(io.BytesIO(viewer.labels)).convert("RGBA"))
    for n, number in enumerate(viewer.slices):
        row, column = divmod(n, viewer.columns)
        tile = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        expected = labels[box.start[0] : box.stop[0], box.start[1] : box.stop[1], number - 1].T
        assert ((tile[..., 3] > 0) == (expected > 0)).all()
        for label, colour in PALETTE.labels.items():
            assert (tile[expected == label][:, :3] == colour).all()
    for _, jpeg in viewer.sheets:
        assert Image.open(io.BytesIO(jpeg)).size == sheet.shape[1::-1], "labels lie on the scans"


@needs_chromium
def test_the_slices_are_shown_from_disk_under_the_pages_own_policy(report, page, tmp_path):
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    dom = dom_of(tmp_path / "report.html", tmp_path / "profile")
    viewer = next(attributes for tag, attributes in parsed(page).tags if attributes.get("id") == "viewer")
    shown = Collector()
    shown.feed(dom)
    now = next(attributes for tag, attributes in shown.tags if attributes.get("id") == "viewer")
    assert ("hidden" in viewer, "hidden" in now) == (True, False), "the script has run"
    assert [attributes["data-sheet"] for tag, attributes in shown.tags if attributes.get("aria-pressed") == "true"] == [
        "1"
    ], "T1ce"
    assert f"axial {report.views.centre[2] + 1}/{report.slices}, 100 %" in shown.text


def test_large_volumes_are_thinned_out_and_keep_their_size_in_mm():
    box = SectionBox((10, 0, 5), (610, 300, 455), (0.4, 0.4, 0.4), 1.0)
    layout = Layout.of(box)
    assert (layout.step, layout.thin) == (3, 3)
    assert layout.indices == tuple(range(5, 455, 3))
    assert layout.size == (200, 100)
    assert len(layout.indices) <= MOST_SLICES
    assert max(layout.size) <= MOST_PIXELS


def test_uncertainty_is_shown_where_it_was_asked_for_and_nowhere_else(page):
    assert "uncertainty of the labels" not in page
    case, unsure = make_tiny_case(), np.zeros(TINY_SHAPE, np.float32)
    certain = case_report(case, tiny_labels(), uncertainty=unsure)
    shown = parsed(certain.html())
    assert [
        attributes["alt"]
        for tag, attributes in shown.tags
        if tag == "img" and attributes["alt"].startswith("uncertainty")
    ] == [f"uncertainty of the labels, {plane.name} section" for plane in PLANES]
    plain = np.asarray(pictures.draw_uncertainty(certain.views, AXIAL, certain.uncertainty))
    heated = np.asarray(pictures.draw_uncertainty(certain.views, AXIAL, np.ones_like(certain.uncertainty)))
    assert not (plain == pictures.HEAT).all(axis=2).any()
    assert (heated == pictures.HEAT).all(axis=2).mean() > 0.1


def test_the_interval_of_an_expected_dice_stands_on_the_first_page(file):
    first = " ".join(texts(file)[0].split())
    assert "0.91 (0.80 to 0.95)" in first
    assert first.count("not told") == 2, "regions of which the record promises nothing"


@pytest.mark.parametrize(
    "dice", [{"dice": 0.9}, {"dice": "<b>", "low": 0, "high": 1}, {"dice": 7.0, "low": 0.1, "high": 0.2}, None, [0.9]]
)
def test_an_expected_dice_that_is_none_is_shown_as_text(dice):
    found = provenance({"predicted_dice": {"WT": dice, "other": {"dice": 0.9, "low": 0.8, "high": 1.0}}})
    assert found.expected_dice == {}
    assert [name for name, _ in found.estimates] == ["Expected Dice, WT", "Expected Dice, other"]


def test_no_page_is_blank_and_pictures_are_in_the_pdf(file):
    pages = rendered(file)
    for pixels in pages:
        assert (pixels > 250).all(axis=2).mean() > 0.3, "light background"
        assert (pixels < 128).all(axis=2).mean() > 0.0004, "more than a line or two is written"
        assert (pixels[:10] > 250).all(), "margin"
        assert (pixels[:, :20] > 250).all(), "margin"
    assert (pages[0] < 30).all(axis=2).mean() > 0.15, "black pictures"
    for label in PALETTE.labels:
        assert (np.abs(pages[0].astype(int) - PALETTE.labels[label]).max(axis=2) < 12).any(), label


def test_same_result_same_bytes_and_the_date_is_the_runs(report, page, file):
    again = case_report(make_tiny_case(), tiny_labels(), provenance(RECORD))
    assert again.html() == page
    assert again.pdf() == file
    with pypdfium2.PdfDocument(file) as document:
        data = document.get_metadata_dict()
    assert data["CreationDate"].startswith("D:20260304050607")
    assert "tiny" in data["Title"]


def test_nothing_hostile_becomes_markup(hostile):
    collector = parsed(hostile.html())
    assert [tag for tag, _ in collector.tags].count("script") == 1, "the viewer's own"
    assert not [name for _, attributes in collector.tags for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in collector.tags].count("img") == PICTURES + SHEETS
    text = " ".join(collector.text)
    assert '<script>alert("1")</script>' in text
    assert "\\u202e" in text
    assert "\u202e" not in text
    assert "\x00" not in hostile.html()
    pages = texts(hostile.pdf())
    # Lines may break anywhere in a name.
    joined = re.sub(r"\s", "", "".join(pages))
    assert '<script>alert("1")</script><imgsrc=xonerror=alert(2)>&amp;\\u202egnp.exe\\u0000\\u000a${title}' in joined
    assert all(NOTICE in page for page in pages)


@pytest.mark.parametrize("name", ["病人", "x" * 5000, "مريض", "\U0001f9e0 brain", "", "a b" * 60])
def test_any_name_is_set(name):
    """Letters that the PDF's fonts lack are written as codes; long names are cut."""
    document = Document(
        "A report",
        name,
        (("fact", name),),
        (
            Heading(name),
            Paragraph(name),
            Notice((name,)),
            Cards((Card(name, name, name),)),
            TableBlock(((name, name),)),
        ),
    )
    parsed(to_html(document))
    pages = texts(pdf.to_pdf(document))
    assert all(NOTICE in page for page in pages)
    if name == "病人":
        assert "\\u75c5\\u4eba" in pages[0]
        assert name in to_html(document)


def test_what_cannot_be_seen_is_shown_as_its_code():
    assert visible("a\tb\u200b\u2028\ud800") == "a\\u0009b\\u200b\\u2028\\ud800"
    assert visible("ä ≥ 10 mm") == "ä ≥ 10 mm"
    assert len(visible("y" * 999, MAX_SUBJECT)) == MAX_SUBJECT + 1


def test_a_long_table_goes_on_on_the_next_page():
    rows = tuple((str(n), f"row {n}") for n in range(150))
    pages = texts(pdf.to_pdf(Document("A report", "x", blocks=(TableBlock(rows, ("n", "name")),))))
    assert len(pages) > 2
    assert [
        n
        for n in range(150)
        if not any(f"row {n}\r" in page or f"row {n}\n" in page or page.rstrip().endswith(f"row {n}") for page in pages)
    ] == []


def test_no_tumour_is_said_and_no_enhancement_too():
    case = make_tiny_case()
    empty = case_report(case, np.zeros(TINY_SHAPE, np.uint8))
    assert "No tumour found" in empty.html()
    assert empty.lesions == ()
    assert empty.to_dict()["centres"] == {"WT": None, "TC": None, "ET": None}
    oedema = np.where(tiny_labels() > 0, Label.OEDEMA, 0).astype(np.uint8)
    assert "Nothing enhances" in case_report(case, oedema).html()
    assert "No tumour found" in texts(empty.pdf())[0]


def test_a_missing_record_is_told_and_flags_are_warnings(page):
    plain = case_report(make_tiny_case(), tiny_labels())
    assert "No run record" in plain.html()
    assert NOT_RECORDED in plain.html()
    flagged = case_report(
        make_tiny_case(),
        tiny_labels(),
        provenance({"quality_flags": [{"name": "skull_on", "message": "The skull is on."}]}),
    )
    assert "Quality flag: The skull is on." in flagged.html()
    assert 'class="notice warning"' in flagged.html()
    assert "raised no quality flag" in page


@pytest.mark.parametrize(
    "record",
    [
        {"model": "x", "options": [], "inputs": 3, "finished": 7, "quality_flags": "y"},
        {"sequences": {"t1": None}, "without": {}},
        {},
    ],
)
def test_a_spoiled_record_is_no_error(record):
    found = provenance(record)
    assert found.finished is None
    assert found.flags is None
    assert found.model == NOT_RECORDED


def test_times_without_zone_are_utc():
    assert provenance({"finished": "2026-01-02T03:04:05"}).finished == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_patient_without_a_sequence_has_an_empty_place_for_it():
    case = make_tiny_case()
    without = Case(
        "tiny",
        {s: v for s, v in case.volumes.items() if s != Sequence.T1CE},
        case.geometry,
        without=frozenset({Sequence.T1CE}),
    )
    views = Views.of(without, tiny_labels(), 500, 500)
    panels = dict(pictures.draw_views(views, AXIAL))
    assert np.asarray(panels[Sequence.T1CE]).mean() < 5
    assert np.asarray(panels[Sequence.T2]).mean() > 20
    lesion = case_report(without, tiny_labels()).lesions[0]
    assert np.asarray(pictures.draw_diameters(views, lesion)).mean() > 20


def test_diameters_are_drawn_where_they_were_measured():
    """Their ends are white dots at the lesion's border, on the patient's left, the right of the picture."""
    case = make_tiny_case()
    report = case_report(case, tiny_labels())
    panel, across = np.asarray(pictures.draw_diameters(report.views, report.lesions[0])), []
    for end in (*report.lesions[0].diameters.longest, *report.lesions[0].diameters.perpendicular):
        ((x, y),) = pictures._on_panel(
            (end,), report.views.box, (report.views.box.size(AXIAL)[1], report.views.box.size(AXIAL)[0])
        )
        assert (panel[round(y), round(x)] == pictures.LINE).all()
        across.append(x)
    assert np.mean(across) > pictures.PANEL_WIDTH / 2


def test_the_bar_is_as_long_as_it_says():
    views = Views.of(make_tiny_case(), tiny_labels(), 500, 500)
    for plane in PLANES:
        panel = np.asarray(pictures.draw_views(views, plane)[0][1])
        row = panel[-15, pictures.PANEL_WIDTH // 2 + 20 :]  # right of the letter at the bottom
        bright = np.flatnonzero((row == pictures.TEXT).all(axis=1))
        assert len(bright) == pytest.approx(5 * views.box.pixels_per_mm, abs=2)


def test_all_pictures_of_a_row_have_one_size():
    views = Views.of(make_tiny_case(), tiny_labels(), 500, 500)
    for plane in PLANES:
        assert len({image.size for _, image in pictures.draw_views(views, plane)}) == 1
    png = pictures.png(pictures.draw_views(views, AXIAL)[0][1])
    assert struct.unpack(">I", png[16:20])[0] == pictures.PANEL_WIDTH


def test_another_shape_is_refused():
    with pytest.raises(GeometryError, match="shape"):
        case_report(make_tiny_case(), np.zeros((2, 2, 2), np.uint8))


def test_without_fpdf_the_html_is_still_there_and_the_pdf_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "fpdf", None)
    assert report.html()
    with pytest.raises(EngineUnavailableError, match=r"gliomask\[report\]"):
        report.pdf()
