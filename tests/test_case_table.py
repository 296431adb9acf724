"""The table of many cases: links that lead to reports and nowhere else, and columns that sort as people count."""

import html
import json
import re

import html5lib
from browser import dom_of, needs_chromium

from gliomask.labels import Region
from gliomask.report.case_table import CaseLine, case_table
from gliomask.report.document import Document
from gliomask.report.html import to_html

LINES = [
    CaseLine("b", dict.fromkeys(Region, 9.94), {Region.WT: 0.9}, ("done",), "../results/b/b_report.html"),
    CaseLine("a", dict.fromkeys(Region, 1200.0), {Region.WT: 0.123}, ("done",), "a b#1?.html"),
    CaseLine("c", more=("failed",)),
    CaseLine("d", dict.fromkeys(Region, 0.004), {Region.WT: 1.0}, ("",)),
]


def page(lines=LINES):
    return to_html(Document("Cases", "x", blocks=(case_table(lines, "Case", ("Status",), "All of them."),)))


def test_every_case_has_a_line_with_volumes_and_expected_dice():
    table = case_table(LINES, "Case", ("Status",), "")
    assert table.header == (
        "Case",
        "WT, ml",
        "TC, ml",
        "ET, ml",
        "Expected Dice, WT",
        "Expected Dice, TC",
        "Expected Dice, ET",
        "Status",
    )
    assert table.rows[0] == ("b", "9.9", "9.9", "9.9", "0.90", "\N{EN DASH}", "\N{EN DASH}", "done")
    assert table.rows[2] == ("c", *["\N{EN DASH}"] * 6, "failed")
    html5lib.HTMLParser(strict=True).parse(page())


def test_links_lead_to_reports_and_no_name_leads_elsewhere():
    assert re.findall('href="([^"]*)"', page()) == ["../results/b/b_report.html", "a%20b%231%3F.html"]
    hostile = page(
        [CaseLine("x", report="javascript:alert(1)"), CaseLine('"><script>', report='"><script>alert(1)</script>.html')]
    )
    assert re.findall('href="([^"]*)"', hostile) == [
        "javascript%3Aalert%281%29",
        "%22%3E%3Cscript%3Ealert%281%29%3C/script%3E.html",
    ]
    assert hostile.count("<script") == 1


@needs_chromium
def test_a_heading_sorts_by_its_column_and_what_is_missing_stays_last(tmp_path):
    clicks = """
      const found = [];
      const names = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent).join("");
      for (const column of [1, 1, 4, 0, 7]) {
        document.querySelectorAll("th button")[column].click()
        found.push(names())
      }
      document.body.dataset.found = JSON.stringify(found);
    """
    # The page's policy is left out here: it would stop the test's own script, as it should.
    text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page())
    (tmp_path / "page.html").write_text(text.replace("</body>", f"<script>{clicks}</script></body>"), encoding="utf-8")
    dom = dom_of(tmp_path / "page.html", tmp_path / "profile")
    assert json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dom).group(1))) == [
        "dbac",
        "abdc",
        "abdc",
        "abcd",
        "abcd",
    ]
