"""One palette: what it holds, that people with colour-blindness can read it, and that no other place says which colour
a label has.
"""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from gliomask.cli.main import run
from gliomask.colours import LINES, PALETTE, PALETTES, in_hex, palette
from gliomask.errors import UsageError
from gliomask.labels import CONVENTIONS, TUMOUR_LABELS, Label, Region
from gliomask.report.label_files import itksnap_labels, slicer_colours

ROOT = Path(__file__).resolve().parents[1]

# Machado, Oliveira and Fernandes, IEEE TVCG 2009;15:1291: what people see whose cones of one kind are missing, for
# linear red, green and blue.
BLINDNESS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def lab(linear):
    """CIELAB of linear sRGB, D65 (IEC 61966-2-1, CIE 15)."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (to_xyz @ linear) / (0.9505, 1, 1.089)
    f = [value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(colour, matrix):
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return lab(np.clip(np.array(matrix) @ linear, 0, 1))


@pytest.mark.parametrize("matrix", [np.eye(3), *BLINDNESS.values()], ids=["all cones", *BLINDNESS])
def test_people_with_any_colour_blindness_tell_labels_apart_and_from_the_grey_of_a_scan(matrix):
    greys = [(level, level, level) for level in range(0, 256, 15)]
    for one, other in combinations(PALETTE.labels.values(), 2):
        assert np.linalg.norm(seen(one, matrix) - seen(other, matrix)) > 25
    for colour in PALETTE.labels.values():
        assert min(np.linalg.norm(seen(colour, matrix) - seen(grey, matrix)) for grey in greys) > 12


@pytest.mark.parametrize("name", PALETTES)
def test_every_palette_has_a_colour_of_its_own_for_every_label_and_region(name):
    found = palette(name)
    assert tuple(found.labels) == TUMOUR_LABELS
    assert tuple(found.regions) == tuple(Region)
    assert len(set(found.labels.values())) == len(found.labels)
    assert len(set(found.regions.values())) == len(found.regions)
    with pytest.raises(TypeError):
        found.labels[Label.OEDEMA] = (0, 0, 0)


def test_a_region_has_the_colour_of_the_label_that_is_its_alone():
    for found in PALETTES.values():
        assert found.regions[Region.ET] == found.labels[Label.ENHANCING]
        assert found.regions[Region.TC] == found.labels[Label.NECROTIC]


def test_an_unknown_palette_is_refused():
    with pytest.raises(UsageError, match="no palette 'rainbow'. Known ones: okabe-ito, paper"):
        palette("rainbow")


DRAWING = ("report", "bids", "study", "evaluate", "dicom", "training", "metrics")
"""Folders that draw or write colours; three numbers elsewhere are shapes and indices."""

ACCENTS = ("html.py", "pdf.py", "preview.py", "page.html.j2")
"""Where a page's own ink stands: its rules, its links and its warnings."""


def written_colours():
    """Every colour that stands in the source as numbers, with its file: three numbers in brackets, #rrggbb, or a named
    colour cycle.
    """
    triple = re.compile(r"\((\d{1,3}), (\d{1,3}), (\d{1,3})\)")
    for path in sorted(
        [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "src").rglob("*.j2")]
    ):
        text = path.read_text(encoding="utf-8")
        for match in triple.finditer(text):
            numbers = tuple(map(int, match.groups()))
            if max(numbers) < 256:
                yield path, numbers
        for digits in re.findall(r"#([0-9a-fA-F]{6})\b", text):
            yield path, tuple(bytes.fromhex(digits))
        assert not re.search(r"[\"'](C\d|tab:\w+|red|green|blue|yellow|orange|purple)[\"']", text), (
            f"{path} names a colour"
        )


def test_no_other_place_says_which_colour_a_label_has():
    """Strong colours stand in `colours.py` alone.

    Elsewhere are greys, and the accents of pages, whose hues no label has.
    """
    own = {colour for found in PALETTES.values() for colour in (*found.labels.values(), *found.regions.values())} | set(
        LINES
    ) - {(0, 0, 0)}
    for path, colour in written_colours():
        if path.name == "colours.py":
            continue
        assert colour not in own, f"{path} repeats {colour} of the palette: take it from gliomask.colours"
        strong = path.parent.name in DRAWING and max(colour) > 60 and max(colour) - min(colour) > 90
        assert not strong or path.name in ACCENTS, (
            f"{path} has a colour of its own, {colour}: take it from gliomask.colours"
        )


@pytest.mark.parametrize("name", CONVENTIONS)
def test_itksnap_and_slicer_get_every_number_of_the_convention_with_its_name_and_colour(name):
    convention = CONVENTIONS[name]
    snap = {
        int(line.split()[0]): line.split(None, 7)
        for line in itksnap_labels(convention).splitlines()
        if not line.startswith("#")
    }
    slicer = {
        int(line.split()[0]): line.split()
        for line in slicer_colours(convention).splitlines()
        if not line.startswith("#")
    }
    assert set(snap) == set(slicer) == set(convention.codes)
    for label in TUMOUR_LABELS:
        code, colour = convention.codes[label], PALETTE.labels[label]
        assert tuple(map(int, snap[code][1:4])) == tuple(map(int, slicer[code][2:5])) == colour
        assert snap[code][7].strip('"').lower() == slicer[code][1].replace("_", " ").lower() == label.title
        assert slicer[code][5] == "255"
    assert slicer[0][2:] == ["0", "0", "0", "0"]
    assert snap[0][7] == '"Clear Label"'


def test_the_command_writes_each_format_and_replaces_nothing_unasked(tmp_path, capsys):
    path = tmp_path / "gliomask.ctbl"
    assert run(["labels", "--format", "slicer", "-o", str(path)]) == 0
    assert path.read_text() == slicer_colours(CONVENTIONS["brats2021"])
    before = path.read_bytes()
    assert run(["labels", "--format", "itksnap", "-o", str(path)]) == 2
    assert path.read_bytes() == before
    assert (
        run(
            [
                "labels",
                "--format",
                "itksnap",
                "--overwrite",
                "-o",
                str(path),
                "--colours",
                "paper",
                "--labels",
                "brats2023",
            ]
        )
        == 0
    )
    assert path.read_text() == itksnap_labels(CONVENTIONS["brats2023"], PALETTES["paper"])
    capsys.readouterr()
    assert run(["labels"]) == 0
    shown = capsys.readouterr().out
    assert "4\t" + in_hex(PALETTE.labels[Label.ENHANCING]) + "\tenhancing tumour" in shown
    assert run(["labels", "--colours", "rainbow"]) == 2
    assert run(["labels", "--labels", "brats1999"]) == 2
