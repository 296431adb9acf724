"""Scores against hand-computed answers, against what published implementations give for the same masks, and against
what must hold for any mask.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask.errors import GeometryError, UsageError
from gliomask.metrics.crop import box_around
from gliomask.metrics.empty import POLICIES, policy
from gliomask.metrics.lesionwise import score_lesions
from gliomask.metrics.overlap import count
from gliomask.metrics.region import RegionScores, score_region, worst_scores
from gliomask.metrics.summary import summarise
from gliomask.metrics.surface import SurfaceDefinition, hd95_mm

SHAPE = (40, 36, 30)
BORDER, ELEMENTS = SurfaceDefinition.BORDER_VOXELS, SurfaceDefinition.SURFACE_ELEMENTS
UNIT = (1.0, 1.0, 1.0)


def ball(centre: tuple[int, int, int], radius: int, squash: tuple[float, float, float] = UNIT) -> np.ndarray:
    distances = [((axis - c) / s) ** 2 for axis, c, s in zip(np.indices(SHAPE), centre, squash, strict=True)]
    return sum(distances) <= radius**2


def block(start: tuple[int, int, int], stop: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(low, high) for low, high in zip(start, stop, strict=True))] = True
    return mask


def waves() -> np.ndarray:
    i, j, k = np.indices(SHAPE)
    return (np.sin(i / 3.0) + np.cos(j / 4.0) + np.sin(k / 2.5 + 1)) > 1.2


NOTHING = np.zeros(SHAPE, bool)

PAIRS = {
    "balls": (ball((18, 17, 14), 9), ball((20, 18, 15), 8)),
    "ellipsoid and box": (ball((18, 17, 14), 8, squash=(1.2, 1.0, 0.8)), block((8, 9, 7), (27, 24, 22))),
    "waves": (waves(), np.roll(waves(), 2, axis=0)),
    "single voxels": (block((5, 5, 5), (6, 6, 6)), block((9, 8, 5), (10, 9, 6))),
    "ball and stray voxel": (ball((18, 17, 14), 6), ball((18, 17, 14), 6) | block((36, 33, 27), (37, 34, 28))),
    "touching the grid's edge": (block((0, 0, 0), (10, 12, 8)), block((0, 0, 0), (12, 10, 9))),
}
"""Reference and prediction."""

PUBLISHED_OVERLAP = {
    "balls": (0.7474903474903475, 0.6304135460761967, 0.9956889032868997),
    "ellipsoid and box": (0.6283549100094726, 0.9664885866925692, 0.9444592985100022),
    "waves": (0.7599843892285677, 0.7599843892285677, 0.9480471939853011),
    "single voxels": (0.0, 0.0, 0.9999768513160027),
    "ball and stray voxel": (0.9994597514856834, 1.0, 0.9999763453577765),
    "touching the grid's edge": (0.7843137254901961, 0.8333333333333334, 0.9933712121212122),
}
"""Dice, sensitivity and specificity from MedPy 0.5.2 (`dc`, `sensitivity`, `specificity`); surface-distance 0.1 gives
the same Dice.
"""

PUBLISHED_HD95 = [
    ("balls", (1, 1, 1), 3.0, 3.0),
    ("balls", (1, 1, 3), 4.242640687119285, 4.0),
    ("balls", (0.9, 1.2, 2.5), 4.326661530556787, 3.67967389859482),
    ("ellipsoid and box", (1, 1, 1), 4.69041575982343, 4.69041575982343),
    ("ellipsoid and box", (1, 1, 3), 7.0710678118654755, 7.0),
    ("ellipsoid and box", (0.9, 1.2, 2.5), 6.726812023536855, 6.726812023536855),
    ("waves", (1, 1, 1), 1.7320508075688772, 1.4142135623730951),
    ("waves", (1, 1, 3), 2.0, 2.0),
    ("waves", (0.9, 1.2, 2.5), 1.8, 1.8),
    ("single voxels", (1, 1, 1), 5.0, 5.0),
    ("single voxels", (1, 1, 3), 5.0, 5.0),
    ("single voxels", (0.9, 1.2, 2.5), 5.091168824543142, 5.091168824543142),
    ("ball and stray voxel", (1, 1, 1), 0.0, 0.0),
    ("ball and stray voxel", (0.9, 1.2, 2.5), 0.0, 0.0),
    ("touching the grid's edge", (1, 1, 1), 2.0, 2.0),
    ("touching the grid's edge", (1, 1, 3), 3.0, 3.0),
    ("touching the grid's edge", (0.9, 1.2, 2.5), 2.5, 2.5),
]
"""Masks, spacing, HD95 from MedPy 0.5.2 (`hd95`; panoptica 2.1.7 gives the same) and from surface-distance 0.1
(`compute_robust_hausdorff`, 95).
"""

LESIONS = {
    "found, missed and false": (ball((9, 9, 9), 4) | ball((30, 26, 20), 4), ball((10, 9, 9), 4) | ball((9, 28, 9), 3)),
    "two run together": (ball((12, 12, 12), 3) | ball((20, 12, 12), 3), ball((12, 13, 12), 3)),
    "small reference ignored": (
        ball((9, 9, 9), 4) | ball((30, 26, 20), 2),
        ball((9, 10, 9), 4) | ball((30, 27, 20), 1),
    ),
    "only small reference": (ball((30, 26, 20), 2), NOTHING),
    "stray voxel": (ball((9, 9, 9), 4), ball((9, 9, 9), 4) | block((33, 30, 25), (34, 31, 26))),
    "reference empty": (NOTHING, ball((9, 9, 9), 3)),
    "prediction empty": (ball((9, 9, 9), 4), NOTHING),
    "both empty": (NOTHING, NOTHING),
    "one prediction bridges two": (ball((9, 9, 9), 4) | ball((26, 9, 9), 4), block((8, 8, 8), (28, 11, 11))),
}

PUBLISHED_LESIONS = [
    ("found, missed and false", UNIT, 0.2697795071335927, 249.66666666666666, 1, 1, 1),
    ("two run together", UNIT, 0.5094850948509485, 7.0710678118654755, 1, 0, 0),
    ("two run together", (1, 1, 2.5), 0.5094850948509485, 7.433034373659253, 1, 0, 0),
    ("small reference ignored", UNIT, 0.8093385214007782, 1.0, 1, 0, 0),
    # 33 voxels of 2.5 mm3 are more than the 50 mm3 up to which lesions are ignored.
    ("small reference ignored", (1, 1, 2.5), 0.579669260700389, 1.618033988749895, 2, 0, 0),
    ("only small reference", UNIT, 1.0, 0.0, 0, 0, 0),
    ("only small reference", (1, 1, 2.5), 0.0, 374.0, 0, 1, 0),
    ("stray voxel", UNIT, 0.5, 187.0, 1, 0, 1),
    ("reference empty", UNIT, 0.0, 374.0, 0, 0, 1),
    ("prediction empty", UNIT, 0.0, 374.0, 0, 1, 0),
    ("both empty", UNIT, 1.0, 0.0, 0, 0, 0),
    ("one prediction bridges two", UNIT, 0.21052631578947367, 13.076696830622021, 2, 0, 0),
    ("one prediction bridges two", (1, 1, 2.5), 0.21052631578947367, 14.0, 2, 0, 0),
]
"""Masks, spacing, lesion-wise Dice and HD95, lesions found, missed and false, from the code of BraTS 2023
(rachitsaluja/BraTS-2023-Metrics, the functions of `brats_metrics.py` on arrays, challenge BraTS-GLI) with
surface-distance 0.1 and connected-components-3d 3.29.0."""


@pytest.mark.parametrize("name", PAIRS)
def test_overlap_agrees_with_medpy(name):
    counts = count(*PAIRS[name])
    assert (counts.dice, counts.sensitivity, counts.specificity) == pytest.approx(PUBLISHED_OVERLAP[name], rel=1e-12)


def test_overlap_of_nothing_is_not_a_number():
    counts = count(NOTHING, NOTHING)
    assert math.isnan(counts.dice)
    assert math.isnan(counts.sensitivity)
    assert counts.specificity == 1
    assert math.isnan(count(~NOTHING, NOTHING).specificity)


@pytest.mark.parametrize(("name", "spacing", "pooled", "weighted"), PUBLISHED_HD95)
def test_hd95_agrees_with_published_implementations(name, spacing, pooled, weighted):
    assert hd95_mm(*PAIRS[name], spacing, BORDER) == pytest.approx(pooled, rel=1e-9)
    assert hd95_mm(*PAIRS[name], spacing, ELEMENTS) == pytest.approx(weighted, rel=1e-9)


def test_the_definitions_part_over_a_distant_false_component():
    reference = ball((12, 12, 12), 6)
    prediction = reference | block((33, 12, 12), (36, 15, 15))
    assert hd95_mm(reference, prediction, UNIT, BORDER) == 0
    # The small block has over a twentieth of the predicted surface, but not of both surfaces pooled.
    assert hd95_mm(reference, prediction, UNIT, ELEMENTS) > 10


@pytest.mark.parametrize("definition", SurfaceDefinition)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_by_one_voxel_moves_hd95_by_the_spacing(definition, axis):
    spacing = (0.8, 1.3, 4.0)
    voxel = block((10, 10, 10), (11, 11, 11))
    assert hd95_mm(voxel, np.roll(voxel, 1, axis), spacing, definition) == pytest.approx(spacing[axis])
    cube = block((10, 10, 10), (20, 20, 20))
    assert hd95_mm(cube, np.roll(cube, 1, axis), spacing, definition) == pytest.approx(spacing[axis])


@pytest.mark.parametrize("definition", SurfaceDefinition)
def test_hd95_refuses_empty_regions_and_other_shapes(definition):
    for pair in ((NOTHING, ~NOTHING), (~NOTHING, NOTHING), (NOTHING, NOTHING)):
        with pytest.raises(UsageError, match="policy"):
            hd95_mm(*pair, UNIT, definition)
    with pytest.raises(GeometryError, match="shape"):
        hd95_mm(~NOTHING, np.ones((3, 3, 3), bool), UNIT, definition)


masks = st.tuples(st.integers(0, 2**32 - 1), st.floats(0.02, 0.6)).map(
    lambda seed: np.random.default_rng(seed[0]).random((6, 5, 7)) < seed[1]
)
spacings = st.tuples(*[st.floats(0.3, 5)] * 3)


@settings(max_examples=60, deadline=None)
@given(masks, masks, spacings, st.sampled_from(list(SurfaceDefinition)))
def test_hd95_is_symmetric_scales_with_the_spacing_and_turns_with_the_axes(a, b, spacing, definition):
    if not (a.any() and b.any()):
        return
    distance = hd95_mm(a, b, spacing, definition)
    assert distance == pytest.approx(hd95_mm(b, a, spacing, definition), abs=1e-9)
    assert hd95_mm(a, a, spacing, definition) == 0
    assert hd95_mm(a, b, tuple(2 * mm for mm in spacing), definition) == pytest.approx(2 * distance, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(masks, masks)
def test_dice_is_symmetric_bounded_and_one_for_equal_masks(a, b):
    if not (a.any() or b.any()):
        return
    dice = count(a, b).dice
    assert 0 <= dice <= 1
    assert dice == count(b, a).dice
    assert (dice == 1) == np.array_equal(a, b)


def test_the_surface_of_a_box_has_the_area_of_its_faces_cut_at_edges_and_corners():
    from gliomask.metrics.surface import _corner_codes, _element_areas

    areas = _element_areas((2.0, 1.0, 1.0))
    codes = _corner_codes(np.pad(block((5, 5, 5), (15, 15, 15)), 1))
    flat = codes[(codes == 0b00001111) | (codes == 0b11110000)]
    # Marching cubes cuts the edges: each of the two faces across I keeps 9 x 9 whole elements of one square millimetre.
    assert flat.size == 2 * 81
    assert areas[0b00001111] == pytest.approx(1.0)
    assert areas[0b00110011] == pytest.approx(2.0)
    assert areas[0] == areas[255] == 0


@pytest.mark.parametrize(("name", "spacing", "dice", "distance", "found", "missed", "false"), PUBLISHED_LESIONS)
def test_lesion_wise_scores_agree_with_the_code_of_brats_2023(name, spacing, dice, distance, found, missed, false):
    scores = score_lesions(*LESIONS[name], spacing)
    assert (scores.dice, scores.hd95_mm) == pytest.approx((dice, distance), rel=1e-9)
    assert (scores.found, scores.missed, scores.false) == (found, missed, false)


FULL = ball((18, 17, 14), 5)


@pytest.mark.parametrize(
    ("name", "both", "one"),
    [("brats2018", math.nan, math.nan), ("brats2020", 0.0, 373.12866), ("brats2023", 0.0, 374.0)],
)
def test_policies_score_empty_regions_by_name(name, both, one):
    chosen = policy(name)
    nothing = score_region(NOTHING, NOTHING, UNIT, chosen)
    assert (nothing.dice, nothing.sensitivity, nothing.specificity_grid) == (1, 1, 1)
    assert nothing.hd95_mm == pytest.approx(both, nan_ok=True)
    for reference, prediction in ((NOTHING, FULL), (FULL, NOTHING)):
        scores = score_region(reference, prediction, UNIT, chosen)
        assert (scores.dice, scores.sensitivity) == (0, 0)
        assert scores.hd95_mm == pytest.approx(one, nan_ok=True)
    assert set(POLICIES) == {"brats2018", "brats2020", "brats2023"}


def test_an_unknown_policy_is_refused():
    with pytest.raises(UsageError, match="brats2020"):
        policy("brats1999")


def test_volumes_are_in_millilitres_and_false_positives_count_where_nothing_is():
    scores = score_region(NOTHING, FULL, (1.0, 2.0, 3.0), policy("brats2020"))
    expected = FULL.sum() * 6 / 1000
    assert (scores.reference_ml, scores.prediction_ml, scores.false_positive_ml) == pytest.approx(
        (0, expected, expected)
    )
    assert math.isnan(score_region(FULL, FULL, UNIT, policy("brats2020")).false_positive_ml)


def test_lesions_are_scored_only_where_the_policy_has_rules_for_them():
    assert math.isnan(score_region(FULL, FULL, UNIT, policy("brats2020")).lesion_dice)
    scores = score_region(FULL, FULL, UNIT, policy("brats2023"))
    assert (scores.lesion_dice, scores.lesion_hd95_mm, scores.lesions_found) == (1, 0, 1)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("reference", [NOTHING, FULL], ids=["empty reference", "tumour"])
def test_no_prediction_scores_no_better_than_any_prediction(name, reference):
    chosen = policy(name)
    worst = worst_scores(reference, UNIT, chosen)
    assert (worst.dice, worst.sensitivity, worst.specificity_grid) == (0, 0, 0)
    for prediction in (NOTHING, FULL, ball((30, 30, 25), 2)):
        scores = score_region(reference, prediction, UNIT, chosen)
        assert worst.dice <= scores.dice
        assert not worst.hd95_mm < scores.hd95_mm
        assert not worst.lesion_dice > scores.lesion_dice
    assert worst.reference_ml == pytest.approx(reference.sum() / 1000)
    assert math.isnan(worst.prediction_ml)
    assert isinstance(worst, RegionScores)


def test_boxes_hold_the_mask_and_stay_in_the_grid():
    assert box_around(block((3, 4, 5), (6, 8, 9))) == (slice(3, 6), slice(4, 8), slice(5, 9))
    assert box_around(block((1, 4, 27), (6, 8, 30)), margin=2) == (slice(0, 8), slice(2, 10), slice(25, 30))
    assert NOTHING[box_around(NOTHING)].size == 0


def test_a_summary_leaves_blank_cells_out_and_counts_the_rest():
    summary = summarise([1.0, 2.0, 4.0, math.nan, 9.0])
    assert (summary.n, summary.mean, summary.median) == (4, 4.0, 3.0)
    assert (summary.quartile_1, summary.quartile_3) == (1.75, 5.25)
    assert summary.sd == pytest.approx(np.std([1, 2, 4, 9], ddof=1))
    assert summary.mean_low < summary.mean < summary.mean_high
    assert summary.median_low <= summary.median <= summary.median_high


def test_a_summary_is_repeatable_and_follows_its_seed():
    values = list(np.random.default_rng(1).random(20))
    assert summarise(values, seed=3) == summarise(values, seed=3)
    assert summarise(values, seed=3).mean_low != summarise(values, seed=4).mean_low


def test_summaries_of_few_cells():
    assert summarise([math.nan]).n == 0
    assert math.isnan(summarise([]).mean)
    one = summarise([0.5])
    assert (one.n, one.mean, one.median, one.mean_low, one.mean_high) == (1, 0.5, 0.5, 0.5, 0.5)
    assert math.isnan(one.sd)


def test_the_interval_of_a_mean_has_the_width_that_theory_gives():
    values = np.random.default_rng(5).normal(0, 1, 400)
    summary = summarise(values)
    assert summary.mean_high - summary.mean_low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)
