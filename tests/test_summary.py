"""What a study does with a cohort's results: features against IBSI's phantom, statistics, tables, the page and the
command.
"""

from __future__ import annotations

import base64
import csv
import html
import json
import math
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from browser import dom_of, needs_chromium
from conftest import make_tiny_case, tiny_labels, write_brats_case
from stub_cohort import HERE
from test_cohort import ASKED, write_cases

from gliomask.cli.main import run
from gliomask.cohort import supervisor
from gliomask.cohort.local import LocalRunner
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.runner import begin, run_cohort
from gliomask.errors import CaseError, EngineUnavailableError, UsageError
from gliomask.labels import Region
from gliomask.report.case_table import CaseLine, case_table
from gliomask.report.html import script_source
from gliomask.summary import page
from gliomask.summary.features import CODES, INTENSITY, SHAPE, intensity_features, shape_features
from gliomask.summary.page import PageCase, StudyPage
from gliomask.summary.statistics import agreement, modified_z, outliers
from gliomask.summary.write import Choices, summarise

# IBSI's digital phantom (reference manual, chapter 5.1): 5 x 4 x 4 voxels of 2 mm; 0 stands for what is outside the
# region.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    float,
)
# Reference value and tolerance (IBSI 1, benchmark values of the digital phantom); without a tolerance the value is
# exact to its digits.
IBSI = {
    "volume_mesh_mm3": (556, 4),
    "volume_voxel_counting_mm3": (592, 4),
    "surface_area_mm2": (388, 3),
    "surface_to_volume_ratio_per_mm": (0.698, 0.004),
    "sphericity": (0.843, 0.005),
    "maximum_3d_diameter_mm": (13.1, 0.1),
    "major_axis_length_mm": (11.4, 0.1),
    "minor_axis_length_mm": (9.31, 0.06),
    "least_axis_length_mm": (8.54, 0.05),
    "elongation": (0.816, 0.005),
    "flatness": (0.749, 0.005),
    "mean": (2.15, 0.005),
    "variance": (3.05, 0.005),
    "skewness": (1.08, 0.005),
    "kurtosis_excess": (-0.355, 0.0005),
    "median": (1, 0),
    "minimum": (1, 0),
    "percentile_10": (1, 0),
    "percentile_90": (4, 0),
    "maximum": (6, 0),
    "interquartile_range": (3, 0),
    "range": (5, 0),
    "mean_absolute_deviation": (1.55, 0.005),
    "robust_mean_absolute_deviation": (1.11, 0.005),
    "median_absolute_deviation": (1.15, 0.005),
    "coefficient_of_variation": (0.812, 0.0005),
    "energy": (567, 0),
    "root_mean_square": (2.77, 0.005),
}


@pytest.mark.parametrize("name", list(CODES))
def test_features_have_ibsis_values_on_the_digital_phantom(name):
    mask = PHANTOM > 0
    found = shape_features(mask, (2.0, 2.0, 2.0)) | intensity_features(PHANTOM[mask])
    value, tolerance = IBSI[name]
    assert found[name] == pytest.approx(value, abs=tolerance)


def test_the_shape_of_a_ball_is_that_of_geometry():
    spacing = (0.5, 0.5, 1.0)
    i, j, k = np.meshgrid(*(np.arange(size) for size in (90, 90, 46)), indexing="ij")
    ball = ((i - 45) * 0.5) ** 2 + ((j - 45) * 0.5) ** 2 + ((k - 23) * 1.0) ** 2 <= 20**2
    found = shape_features(ball, spacing)
    assert found["volume_mesh_mm3"] == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.01)
    assert found["volume_voxel_counting_mm3"] == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.01)
    assert found["maximum_3d_diameter_mm"] == pytest.approx(40, abs=1)
    assert found["elongation"] == pytest.approx(1, abs=0.01)
    assert 0.88 < found["sphericity"] < 1


def test_a_region_that_is_empty_or_a_single_voxel_has_no_shape():
    empty = shape_features(np.zeros((4, 4, 4), bool), (1.0, 1.0, 1.0))
    assert empty["volume_voxel_counting_mm3"] == 0
    assert math.isnan(empty["sphericity"])
    assert list(empty) == list(SHAPE)
    assert all(math.isnan(value) for value in intensity_features(np.array([])).values())
    assert list(intensity_features(np.array([3.0, 3.0]))) == list(INTENSITY)
    assert intensity_features(np.array([3.0, 3.0]))["skewness"] == 0
    flat = np.zeros((6, 6, 6), bool)
    flat[1:5, 1:5, 2] = True
    assert shape_features(flat, (1.0, 1.0, 1.0))["flatness"] == 0


def test_outliers_stand_apart_by_their_logarithm():
    volumes = {f"c{n}": dict.fromkeys(Region, 20.0 + n) for n in range(20)} | {"huge": dict.fromkeys(Region, 900.0)}
    found = outliers(volumes)
    assert list(found) == ["huge"]
    assert "large for this cohort" in found["huge"][0]
    assert not modified_z([5.0, 5.0, 5.0, 80.0]).any()
    assert outliers({}) == {}


def test_agreement_is_bland_and_altmans():
    # Differences 1, 2, 3: mean 2, standard deviation 1; t(0.975, 2) = 4.3027.
    found = agreement([10, 20, 30], [11, 22, 33])
    assert (found.bias, found.low, found.high) == (2, pytest.approx(0.04), pytest.approx(3.96))
    assert found.bias_low == pytest.approx(2 - 4.302653 / math.sqrt(3))
    assert math.isnan(agreement([1], [2]).low)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A cohort of three cases, one of which failed, and a second run with another post-processing."""
    monkeypatch.setattr(supervisor, "WORKER", HERE)
    cases = write_cases(tmp_path / "in", "a", "=b", "c")
    (cases / "c" / "c_t2.nii.gz").write_bytes(b"no scan")
    for name, asked in (("out", ASKED), ("other", {**ASKED, "postprocess": "1"})):
        run_cohort(begin(cases, CohortPlace(tmp_path / name), asked), LocalRunner())
    return tmp_path


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t"))


def test_a_study_is_summarised_and_compared_and_scored(study, capsys):
    import pyarrow.parquet

    to = study / "summary"
    arguments = [
        "summarise",
        str(study / "out"),
        "-o",
        str(to),
        "--compare",
        str(study / "other"),
        "--parquet",
        "--references",
        str(study / "in"),
    ]
    assert run(arguments) == 0
    assert "2 cases done, 1 failed" in capsys.readouterr().out
    cases = rows(to / "cases.tsv")
    assert [(row["case"], row["status"]) for row in cases] == [("'=b", "done"), ("a", "done"), ("c", "failed")]
    features = rows(to / "features.tsv")
    assert [(row["case"], row["region"]) for row in features][:3] == [("'=b", "WT"), ("'=b", "TC"), ("'=b", "ET")]
    label_map = np.asarray(nib.load(study / "out" / "a" / "a_seg.nii.gz").dataobj)
    scan = np.asarray(nib.load(study / "in" / "a" / "a_t1ce.nii.gz").dataobj)
    row = next(row for row in features if (row["case"], row["region"]) == ("a", "ET"))
    assert float(row["t1ce_mean"]) == pytest.approx(scan[label_map == 4].mean(), rel=1e-4)
    assert float(row["volume_voxel_counting_mm3"]) == (label_map == 4).sum()
    table = pyarrow.parquet.read_table(to / "features.parquet")
    assert table.num_rows == 6
    assert table.column("case").to_pylist()[0] == "=b"
    counts = nib.load(to / "frequency.nii.gz")
    assert counts.get_fdata().max() == 2
    comparison = rows(to / "comparison.tsv")
    assert [row["status"] for row in comparison] == ["changed", "changed", "first failed, second failed"]
    assert 0.5 < float(comparison[1]["wt_dice"]) <= 1
    assert rows(to / "scores" / "scores.tsv")
    text = (to / "review.html").read_text()
    assert "Median Dice of 3 cases against their references: WT" in text
    assert text.count("The second run has another label map.") == 2
    record = json.loads((to / "summarise_run.json").read_text())
    assert record["agreement_ml"]["WT"]["count"] == 2
    # Nothing that exists is replaced.
    assert run(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0


def test_a_folder_that_segment_filled_is_a_study_too(fake_model, tmp_path):
    write_brats_case(tmp_path / "in", make_tiny_case("a"), tiny_labels())
    write_brats_case(tmp_path / "in", make_tiny_case("b", seed=1), tiny_labels())
    assert run(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--raw", "never"]) == 0
    found = summarise(tmp_path / "out", tmp_path / "summary", Choices(features=False))
    assert found.summary.done == 2
    assert b"data:image/jpeg;base64," in (tmp_path / "summary" / "review.html").read_bytes()


def test_a_folder_without_results_is_refused_and_nothing_is_written(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(CaseError, match="holds no results"):
        summarise(tmp_path / "out", tmp_path / "summary")
    assert not (tmp_path / "summary").exists()
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "cases.tsv").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        summarise(tmp_path / "out", tmp_path / "summary")


HOSTILE = "</script><img src=x onerror=alert(1)>"

ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

TABLE = case_table([CaseLine(HOSTILE, report=f"../{HOSTILE}_report.html")], "Case", (), "")


def test_the_page_stands_alone_and_no_name_becomes_a_part_of_it():
    case = PageCase(HOSTILE, "failed", ("@SCRIPT@",), (HOSTILE,), b"\xff\xd8")
    text = StudyPage(HOSTILE, (HOSTILE,), ((HOSTILE, "1", "x", "y"),), (("a", b"png"),), (case,), TABLE).html().decode()
    assert "<img src=x" not in text
    assert text.count("</script>") == 3
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    held = json.loads(re.search(r'<script type="application/json" id="cases">(.*?)</script>', text, re.DOTALL).group(1))
    assert held[0]["case"] == HOSTILE
    assert held[0]["facts"] == ["@SCRIPT@"]


def test_the_page_is_html_that_a_parser_accepts():
    import html5lib

    text = StudyPage("t", (), (), (), (PageCase("a", "done", ("x",), (), None),), TABLE).html()
    html5lib.HTMLParser(strict=True).parse(text)


def test_pictures_beyond_what_a_page_can_hold_are_taken_from_their_files(fake_model, tmp_path, monkeypatch):
    from gliomask.summary import study

    for name in ("a", "b #1"):
        write_brats_case(tmp_path / "in", make_tiny_case(name), tiny_labels())
    assert run(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--raw", "never"]) == 0
    monkeypatch.setattr(study, "EMBEDDED_BYTES", 1)
    summarise(tmp_path / "out", tmp_path / "summary", Choices(features=False, frequency=False))
    text = (tmp_path / "summary" / "review.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 1
    assert '"picture": "../out/b%20%231_preview.png"' in text


def test_without_jinja2_it_is_said_what_to_install_before_any_work(tmp_path, monkeypatch):
    page.template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EngineUnavailableError, match=r"gliomask\[summary\]"):
        summarise(tmp_path / "out", tmp_path / "summary")
    assert not (tmp_path / "summary").exists()


def with_script(text: str, script: str) -> str:
    """A page that also runs a test's script: its policy allows it."""
    allowed = text.replace("script-src ", f"script-src {script_source(script)} ", 1)
    return allowed.replace("</body>", f"<script>{script}</script></body>")


@needs_chromium
def test_cases_are_decided_by_keyboard_and_saved_as_a_table(tmp_path):
    (tmp_path / "c.png").write_bytes(ONE_PIXEL)
    cases = tuple(PageCase(name, "done", (), (), "c.png", f"sha-{name[-1]}") for name in ("=a", "b", "c"))
    text = StudyPage("t", (), (), (), cases, TABLE).html().decode()
    keys = """
      const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
      press("a"); press("j"); press("r"); press("k"); press("n");
      const note = document.getElementById("note");
      note.value = "blurred\\tscan"; note.dispatchEvent(new Event("input")); note.blur();
      press("g");
      const first = [window.gliomaskDecisions(), document.querySelector("#case h3").textContent];
      press("j"); press("u"); press("k"); press("k"); press("u");
      const undone = window.gliomaskDecisions();
      const said = window.gliomaskLoad(first[0].replace("sha-c", "sha-of-another-label-map"));
      const loaded = window.gliomaskDecisions();
      press("k"); press("k"); press("r");
      const asked = [];
      const answered = [false, true].map((answer) => {
        window.confirm = (question) => { asked.push(question); return answer; };
        return [window.gliomaskLoad(first[0]), window.gliomaskDecisions()];
      });
      document.body.dataset.found = JSON.stringify([...first, undone, said, loaded, asked, ...answered]);
    """
    (tmp_path / "page.html").write_text(with_script(text, keys), encoding="utf-8")
    dom = dom_of(tmp_path / "page.html", tmp_path / "profile")
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dom).group(1)))
    heading = "case\tdecision\tnote\tlabel_map_sha256\n"
    saved = heading + "'=a\taccepted\t\tsha-a\nb\t\tblurred scan\tsha-b\nc\trejected\t\tsha-c\n"
    assert found == [
        saved,
        "b",
        saved.replace("accepted", "").replace("rejected", ""),
        "2 decisions loaded, 1 left out: of other cases or label maps.",
        saved.replace("rejected", ""),
        # What was decided here is replaced only if the reader says so; the rest is loaded either way.
        [
            "Made here and not as in the table: 1 decision (=a). OK takes the table's; Cancel keeps what was made here "
            "and loads only the others."
        ]
        * 2,
        ["2 decisions loaded, 1 kept as made here.", saved.replace("accepted", "rejected")],
        ["3 decisions loaded.", saved],
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_of_the_page_is_javascript_that_parses(tmp_path):
    text = StudyPage("t", (), (), (), (), TABLE).html().decode()
    (tmp_path / "page.js").write_text(text.split("<script>")[1].partition("</script>")[0])
    assert subprocess.run(["node", "--check", tmp_path / "page.js"], check=False).returncode == 0
