"""Box plots: a whole PNG for any scores, blank cells and penalties included, and the same bytes each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from gliomask.report.plots import BoxPlot, draw_box_plots

SCORES = {"WT": [0.9, 0.8, 0.95, 0.0], "TC": [0.7, 0.9, math.nan], "ET": [math.nan]}
DISTANCES = {"WT": [1.0, 2.0, 373.12866], "TC": [0.0], "ET": []}


def test_panels_stand_side_by_side(tmp_path):
    draw_box_plots([BoxPlot("Dice", SCORES)], tmp_path / "one.png")
    draw_box_plots([BoxPlot("Dice", SCORES), BoxPlot("HD95 (mm)", DISTANCES, distance=True)], tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width == pytest.approx(2 * one.width, abs=2)
        assert two.height == one.height


def test_the_same_scores_give_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        draw_box_plots([BoxPlot("Dice", SCORES)], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_other_scores_give_another_picture(tmp_path):
    draw_box_plots([BoxPlot("Dice", SCORES)], tmp_path / "a.png")
    draw_box_plots([BoxPlot("Dice", {**SCORES, "ET": [0.5]})], tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        assert not np.array_equal(np.asarray(a), np.asarray(b))


def test_nothing_but_the_picture_is_left(tmp_path):
    draw_box_plots(
        [BoxPlot("Dice", {"WT": [], "TC": [], "ET": []}), BoxPlot("HD95", {"WT": []}, distance=True)],
        tmp_path / "empty.png",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["empty.png"]
