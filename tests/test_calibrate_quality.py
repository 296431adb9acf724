"""The script that calibrates a model's doubts: it finds the line, judges no case by itself, and what it writes can be
shipped.
"""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from test_phantom_et import load

from gliomask.labels import Region
from gliomask.models.calibration import parse_quality


@pytest.fixture(scope="module")
def script():
    return load("calibrate_quality")


def cases(script, count: int, folds: int, noise: float = 0.0, seed: int = 0):
    """Cases whose Dice is twice what was expected less one, and a little noise."""
    generator = np.random.default_rng(seed)
    made = []
    for n in range(count):
        expected = {region: float(generator.uniform(0.6, 1)) for region in Region}
        dice = {
            region: float(np.clip(2 * value - 1 + generator.normal(0, noise), 0, 1))
            for region, value in expected.items()
        }
        made.append(script.Judged(f"case{n}", n % folds, expected, dice))
    return made


def test_the_line_is_found_and_failures_do_not_bend_it(script):
    made = cases(script, 40, 4)
    broken = [
        script.Judged(case.case, case.fold, case.expected, dict.fromkeys(Region, 0.0)) if n < 4 else case
        for n, case in enumerate(made)
    ]
    for some in (made, broken):
        for intercept, slope in script.fit(some).lines.values():
            assert (intercept, slope) == pytest.approx((-1, 2), abs=0.1)


def test_a_network_that_knows_nothing_of_itself_gets_a_level_line(script):
    made = [
        script.Judged(c.case, c.fold, c.expected, {region: 1 - value for region, value in c.expected.items()})
        for c in cases(script, 20, 2)
    ]
    assert all(slope == 0 for _, slope in script.fit(made).lines.values())
    same = [script.Judged(c.case, c.fold, dict.fromkeys(Region, 0.9), c.dice) for c in made]
    assert all(slope == 0 for _, slope in script.fit(same).lines.values())


def test_intervals_hold_about_as_many_as_they_are_meant_to(script):
    made = cases(script, 200, 5, noise=0.05)
    found = script.column(Region.WT, made, script.judge(made))
    assert 0.7 < found.held.mean() < 0.9


@pytest.mark.parametrize("folds", [3, 1])
def test_no_case_is_judged_by_itself(script, folds):
    """Changing a case's Dice changes nothing about what was expected of it; with one fold it is left out alone."""
    made = cases(script, 12, folds, noise=0.05)
    before = script.judge(made)[5]
    made[5] = script.Judged(made[5].case, made[5].fold, made[5].expected, dict.fromkeys(Region, 0.0))
    after = script.judge(made)
    assert after[5] == before
    assert any(
        after[n] != estimate for n, estimate in enumerate(script.judge(cases(script, 12, folds, noise=0.05))) if n != 5
    )


def test_the_worst_that_were_flagged_are_counted(script):
    dice = np.linspace(0, 1, 40)
    flagged = np.zeros(40, bool)
    flagged[[0, 3, 9, 10, 30]] = True
    found = script.Column(dice, dice, np.ones(40), np.ones(40), flagged)
    assert script.worst_flagged(found) == 3
    assert script.worst_least_expected(found) == 10
    assert script.worst_least_expected(script.Column(1 - dice, dice, found.held, found.width, flagged)) == 0


@pytest.fixture
def folders(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "RESAMPLES", 20)
    (tmp_path / "3d").mkdir()
    scores, folds = ["case\tWT_dice\tTC_dice\tET_dice"], ["case,fold"]
    for case in cases(script, 24, 4, noise=0.03):
        (tmp_path / "3d" / f"{case.case}_run.json").write_text(
            json.dumps({"expected_dice": {r.value: v for r, v in case.expected.items()}})
        )
        scores.append(
            "\t".join(
                [case.case, *("" if case.case == "case7" and r == "ET" else f"{v:.4f}" for r, v in case.dice.items())]
            )
        )
        folds.append(f"{case.case},{case.fold}")
    (tmp_path / "scores.tsv").write_text("\n".join(scores) + "\n")
    (tmp_path / "folds.csv").write_text("\n".join(folds) + "\n")
    words = [
        "calibrate",
        "3d",
        "scores.tsv",
        "--folds",
        "folds.csv",
        "-o",
        "docs/tables/quality_x.tsv",
        "--json",
        "quality.json",
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_picture_and_calibration_are_written(script, folders, capsys):
    script.main()
    rows = {
        row["region"]: row
        for row in csv.DictReader((folders / "docs/tables/quality_x.tsv").read_text().splitlines(), delimiter="\t")
    }
    assert [(name, row["cases"]) for name, row in rows.items()] == [
        ("WT", "24"),
        ("TC", "24"),
        ("ET", "23"),
        ("mean of all", "24"),
    ]
    for row in rows.values():
        assert float(row["spearman_low"]) <= float(row["spearman"]) <= float(row["spearman_high"])
        assert float(row["spearman"]) > 0.9
    assert rows["mean of all"]["in_interval"] == ""
    assert (folders / "docs/images/quality_x.png").read_bytes().startswith(b"\x89PNG")
    quality = parse_quality((folders / "quality.json").read_bytes(), "quality.json")
    assert quality.regions["WT"].slope == pytest.approx(2, abs=0.4)
    assert (quality.cases, quality.flagged) == (24, int(rows["mean of all"]["flagged"]))
    assert str(folders) not in quality.command
    said = capsys.readouterr().out
    assert said.count("The network doubts its own answer") == quality.flagged > 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "3d/case3_run.json").unlink(), r"case3_run\.json is missing.*cross_validate"),
        (
            lambda folder: (folder / "3d/case3_run.json").write_text("{}"),
            "case3_run.json does not say what the network expected",
        ),
        (
            lambda folder: (folder / "folds.csv").write_text("case,fold\ncase0,1\n"),
            "case1 is scored but is not in the table of folds",
        ),
        (lambda folder: (folder / "folds.csv").write_text("a,b\n"), "columns 'case' and 'fold'"),
    ],
)
def test_what_is_missing_ends_the_run_by_name(script, folders, spoil, words):
    spoil(folders)
    with pytest.raises(SystemExit, match=words):
        script.main()
    assert not (folders / "quality.json").exists()
