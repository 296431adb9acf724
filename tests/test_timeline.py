"""A patient over time: volumes, changes, new lesions, and what is said where the images do not lie on each other."""

from datetime import date

import numpy as np
import pypdfium2
import pytest
from conftest import make_tiny_case, tiny_labels

from gliomask.errors import UsageError
from gliomask.geometry import Geometry
from gliomask.labels import Label, Region
from gliomask.metrics.follow_up import carried_over
from gliomask.report.document import NOTICE, SCOPE, Notice
from gliomask.report.timeline_report import TimePoint, timeline_report

CASE = make_tiny_case()
GRID = CASE.geometry


def point(name, label_map=None, day=None, brain=True, grid=GRID):
    return TimePoint(
        name,
        tiny_labels() if label_map is None else label_map,
        grid,
        day,
        brain=CASE.brain_mask if brain is True else brain,
    )


def with_a_new_lesion():
    labels = tiny_labels()
    labels[1:6, 12:18, 8:13] = Label.ENHANCING
    return labels


def smaller():
    labels = tiny_labels()
    labels[labels == Label.OEDEMA] = 0
    return labels


def test_volumes_changes_and_new_lesions():
    report = timeline_report("P", [point("a"), point("b", smaller()), point("c", with_a_new_lesion())])
    first, second, third = report.visits
    wt = [visit.volumes.region_ml(Region.WT) for visit in report.visits]
    assert second.changes[Region.WT].from_baseline.difference_ml == pytest.approx(wt[1] - wt[0])
    assert third.changes[Region.WT].from_nadir.percent == pytest.approx(100 * (wt[2] - wt[1]) / wt[1])
    assert first.fresh is None
    assert second.fresh == {Region.WT: [], Region.ET: []}
    assert [lesion.voxels for lesion in third.fresh[Region.WT]] == [150]
    assert third.fresh[Region.WT][0].centre_voxel == (3, 14.5, 10)
    assert third.aligned == 1


def test_a_lesion_that_was_there_two_visits_ago_is_not_new():
    report = timeline_report("P", [point("a", with_a_new_lesion()), point("b"), point("c", with_a_new_lesion())])
    assert report.visits[2].fresh[Region.WT] == []


def test_moved_images_are_called_unregistered_and_have_no_new_lesions():
    moved = np.roll(CASE.brain_mask, 5, axis=0)
    report = timeline_report("P", [point("a"), point("b", with_a_new_lesion(), brain=moved)])
    assert report.visits[1].fresh is None
    assert report.visits[1].aligned < 0.9
    assert "not registered to each other" in report.html()
    assert report.visits[1].changes[Region.ET].from_baseline.difference_ml == pytest.approx(0.15)


def test_without_a_brain_mask_new_lesions_are_not_told_and_the_reason_is_said():
    unknown = TimePoint("b", with_a_new_lesion(), GRID, no_brain="b_t1.nii.gz is no longer there")
    report = timeline_report("P", [point("a"), unknown])
    assert report.visits[1].aligned is None
    assert report.visits[1].fresh is None
    page = report.html()
    assert "could not be checked, so new lesions are not told: b. Why: b: b_t1.nii.gz is no longer there." in page
    assert "not known whether the images are registered" in page
    assert report.visits[1].changes[Region.ET].from_baseline.difference_ml == pytest.approx(0.15)


def test_every_timeline_says_first_that_it_holds_before_treatment_only():
    report = timeline_report("P", [point("a"), point("b")])
    assert report.document().blocks[0] == Notice((SCOPE,))


def test_another_grid_is_brought_over_by_its_affine():
    """The later scan is stored on turned axes with twice the slices; the world decides."""
    turn = GRID.reorientation_to("SAR")
    labels, brain = turn.apply(with_a_new_lesion()), turn.apply(CASE.brain_mask)
    fine = turn.target.affine.copy()
    fine[:3, 2] /= 2
    fine[:3, 3] -= fine[:3, 2] / 2
    grid = Geometry((*labels.shape[:2], 2 * labels.shape[2]), fine)
    report = timeline_report("P", [point("a"), point("b", labels.repeat(2, 2), brain=brain.repeat(2, 2), grid=grid)])
    assert report.visits[1].aligned > 0.99
    assert [lesion.voxels for lesion in report.visits[1].fresh[Region.WT]] == [300]
    assert report.visits[1].changes[Region.WT].from_baseline.difference_ml == pytest.approx(0.15)
    assert "by their affines alone" in report.html()


def test_carrying_over_and_back_gives_the_same_mask():
    turn = GRID.reorientation_to("SAR")
    mask = tiny_labels() > 0
    there = carried_over(mask, GRID, turn.target)
    np.testing.assert_array_equal(there, turn.apply(mask))
    np.testing.assert_array_equal(carried_over(there, turn.target, GRID), mask)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (["a"], "at least two"),
        (["a", "a"], "one name"),
        (["a", ("b", date(2024, 1, 1))], "some have none"),
        ([("a", date(2024, 2, 1)), ("b", date(2024, 1, 1))], "do not grow"),
        ([("a", date(2024, 1, 1)), ("b", date(2024, 1, 1))], "do not grow"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(points, message):
    with pytest.raises(UsageError, match=message):
        timeline_report(
            "P", [point(entry) if isinstance(entry, str) else point(entry[0], day=entry[1]) for entry in points]
        )


def test_both_settings_show_it_and_nothing_hostile_is_markup():
    name = "<b>$x_1$</b>\u202e病"
    report = timeline_report(
        name,
        [
            point(name, day=date(2024, 1, 1)),
            point("b", np.zeros_like(tiny_labels()), date(2024, 6, 1)),
            point("c", day=date(2025, 1, 1)),
        ],
    )
    page, file = report.html(), report.pdf()
    assert "<b>" not in page
    assert "&lt;b&gt;$x_1$&lt;/b&gt;\\u202e" in page
    with pypdfium2.PdfDocument(file) as document:
        pages = [sheet.get_textpage().get_text_range() for sheet in document]
    assert all(NOTICE in text for text in pages)
    assert "(\N{MINUS SIGN}100 %)" in "".join(pages)
    assert "2024-06-01" in page
    assert report.pdf() == file
    assert report.to_dict()["visits"][1]["largest_enhancing_lesion"] is None
