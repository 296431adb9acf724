"""The picture of a result: what is where in it, in pixels."""

import numpy as np
import pytest
from conftest import TINY_SHAPE, tiny_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gliomask.case import Case
from gliomask.colours import PALETTE
from gliomask.errors import GeometryError
from gliomask.flag import Flag
from gliomask.geometry import Geometry
from gliomask.labels import Label, Region
from gliomask.quality import Estimate
from gliomask.report import preview, sections
from gliomask.report.sections import AXIAL, CORONAL, SAGITTAL, SectionBox
from gliomask.sequences import PAPER_ORDER, Sequence

PLANES = (AXIAL, CORONAL, SAGITTAL)


def full_box(shape, spacing_mm=(1.0, 1.0, 1.0), scale=4.0) -> SectionBox:
    return SectionBox((0, 0, 0), shape, spacing_mm, scale)


def marked(shape, *voxels) -> np.ndarray:
    label_map = np.zeros(shape, np.uint8)
    for label, voxel in voxels:
        label_map[voxel] = label
    return label_map


def centre_of(picture: np.ndarray, label: Label) -> tuple[float, float]:
    """Mean column and row of the pixels in the full colour of a label."""
    rows, columns = np.nonzero((picture == PALETTE.labels[label]).all(axis=2))
    assert rows.size, f"no pixel of {label.name}"
    return columns.mean() + 0.5, rows.mean() + 0.5


def draw(box: SectionBox, plane, index: int, label_map: np.ndarray) -> np.ndarray:
    picture = sections.draw_section(box, plane, index, np.zeros(label_map.shape, np.float32), (0.0, 1.0))
    overlay = sections.draw_labels(box, plane, index, label_map)
    if overlay is not None:
        overlay.lay_over(picture)
    return picture


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (AXIAL, (3, 1)),  # I is 3 from the right-hand side of the patient, J is 1 from anterior
        (CORONAL, (3, 7)),  # K is 4 of 12 from below, so 7 whole voxels lie above
        (SAGITTAL, (1, 7)),
    ],
)
def test_a_voxel_is_drawn_where_it_lies(plane, expected):
    """On LPS axes: I to the left, which is the picture's right; J to posterior; K to superior, which is up."""
    shape, voxel = (10, 11, 12), (3, 1, 4)
    picture = draw(full_box(shape), plane, voxel[plane.normal], marked(shape, (Label.ENHANCING, voxel)))
    assert centre_of(picture, Label.ENHANCING) == pytest.approx([(n + 0.5) * 4 for n in expected], abs=0.6)


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(PLANES), st.tuples(*[st.floats(0.5, 6)] * 3))
def test_ticks_and_labels_agree_on_where_a_voxel_is(voxel, plane, spacing_mm):
    shape = (8, 8, 8)
    box = full_box(shape, spacing_mm, scale=8.0)
    picture = draw(box, plane, voxel[plane.normal], marked(shape, (Label.OEDEMA, voxel)))
    across, down = box.position(plane, voxel)
    found = centre_of(picture, Label.OEDEMA)
    assert found == pytest.approx((across * picture.shape[1], down * picture.shape[0]), abs=1.5)


@pytest.mark.parametrize("plane", PLANES)
def test_anisotropic_voxels_keep_their_shape(plane):
    """A 12 mm cube of 1 x 2 x 6 mm voxels must be drawn square."""
    shape, spacing_mm = (24, 12, 4), (1.0, 2.0, 6.0)
    label_map = np.zeros(shape, np.uint8)
    label_map[6:18, 3:9, 1:3] = Label.OEDEMA
    picture = draw(full_box(shape, spacing_mm, scale=5.0), plane, (12, 6, 2)[plane.normal], label_map)
    assert picture.shape == (120, 120, 3)
    rows, columns = np.nonzero((picture == PALETTE.labels[Label.OEDEMA]).all(axis=2))
    assert [np.ptp(rows) + 1, np.ptp(columns) + 1] == pytest.approx([60, 60], abs=3)


def test_labels_tint_inside_and_outline_at_the_border():
    shape = (20, 20, 1)
    label_map = np.zeros(shape, np.uint8)
    label_map[5:15, 5:15] = Label.NECROTIC
    picture = draw(full_box(shape), AXIAL, 0, label_map)
    assert tuple(picture[40, 20]) == PALETTE.labels[Label.NECROTIC], "outline"
    tint = np.array(PALETTE.labels[Label.NECROTIC]) * sections.FILL_ALPHA
    assert picture[40, 40] == pytest.approx(tint, abs=1)
    assert not picture[40, 10].any()


def test_a_section_without_labels_has_no_overlay():
    assert sections.draw_labels(full_box((4, 4, 4)), AXIAL, 0, marked((4, 4, 4), (1, (1, 1, 3)))) is None


def test_window_of_a_constant_brain_is_no_division_by_zero():
    brain = np.ones((4, 4, 4), np.bool_)
    low, high = sections.window(np.full((4, 4, 4), 7, np.float32), brain)
    assert (low, high) == (7, 8)


def test_brain_that_thinning_misses_is_still_seen():
    brain = np.zeros((4, 4, 4), np.bool_)
    brain[1, 1, 1:3] = True
    low, high = sections.window(np.arange(64, dtype=np.float32).reshape(4, 4, 4), brain)
    assert 21 <= low < high <= 22


def panel(picture: np.ndarray, row: int, column: int, top: int = preview.HEADER) -> np.ndarray:
    """The first row's panel of that column, or anything below it, cut out of a whole preview."""
    left = preview.MARGIN + column * (preview.PANEL_WIDTH + preview.GAP)
    rows = slice(top, top + 200) if row == 0 else slice(-preview.LEGEND - 200, -preview.LEGEND)
    return picture[rows, left : left + preview.PANEL_WIDTH]


def has_colour(picture: np.ndarray, label: Label) -> bool:
    return bool((picture == PALETTE.labels[label]).all(axis=2).any())


def test_every_panel_but_the_plain_one_shows_every_label_and_the_legend_too(tmp_path, tiny_case):
    path = tmp_path / "tiny.png"
    preview.draw_preview(tiny_case, tiny_labels(), path, title="a model")
    picture = np.asarray(Image.open(path))
    assert picture.shape[1] == 2 * preview.MARGIN + 5 * preview.PANEL_WIDTH + 4 * preview.GAP
    for label in PALETTE.labels:
        for row in range(2):
            shown = [has_colour(panel(picture, row, column), label) for column in range(5)]
            assert shown == [False, True, True, True, True], (label, row)
        assert has_colour(picture[-preview.LEGEND :], label)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.png"]


PRESENT = [
    (set(Sequence), 5, 5),
    ({Sequence.T1CE, Sequence.T2, Sequence.FLAIR}, 5, 5),
    ({Sequence.T1CE, Sequence.FLAIR}, 4, 5),
    ({Sequence.FLAIR, Sequence.T2}, 4, 4),
    ({Sequence.FLAIR}, 2, 4),
    ({Sequence.T1CE}, 2, 4),
]


@pytest.mark.parametrize(("present", "above", "below"), PRESENT)
def test_missing_sequences_take_no_room(tiny_case, present, above, below):
    rows = preview.panels_for(present)
    assert [len(row) for row in rows] == [above, below]
    for row in rows:
        assert {shown.sequence for shown in row} <= present
        assert not row[0].labels, "each row begins with the scan by itself"
        assert [one for one in row if one.labels] == list(dict.fromkeys(one for one in row if one.labels)), (
            "none is shown twice"
        )
    assert {shown.sequence for shown in rows[0] if shown.labels} == present
    volumes = {sequence: tiny_case.volumes[sequence] for sequence in present}
    case = Case("tiny", volumes, tiny_case.geometry, without=frozenset(Sequence) - present)
    picture = preview.preview_picture(case, tiny_labels())
    columns = max(4, above, below)
    assert picture.width == 2 * preview.MARGIN + columns * preview.PANEL_WIDTH + (columns - 1) * preview.GAP


def test_without_tumour_no_section_is_shown_twice():
    for row in preview.panels_for(set(Sequence), tumour=False):
        assert all(shown.labels for shown in row)
        assert len(set(row)) == len(row) == 4


def test_labels_stay_where_they_are_drawn_whatever_the_axes_of_the_file(tiny_case):
    """A file stored RAS, its axes turned round, must give the same panels: the world decides what is left."""
    turn = tiny_case.geometry.reorientation_to("SAR")
    turned = Case("tiny", {s: turn.apply(v) for s, v in tiny_case.volumes.items()}, turn.target)
    one = np.asarray(preview.preview_picture(tiny_case, tiny_labels()))
    two = np.asarray(preview.preview_picture(turned, turn.apply(tiny_labels())))
    below = slice(preview.HEADER, None)  # the header names the axes
    assert np.array_equal(one[below], two[below])


def test_tumour_on_the_patients_left_is_on_the_right_of_the_picture(tiny_case):
    """In `tiny_labels` the lump lies beyond the middle of I, which grows to the left."""
    assert tiny_case.geometry.orientation == "LPS"
    axial = panel(np.asarray(preview.preview_picture(tiny_case, tiny_labels())), 0, 1)
    column, _ = centre_of(axial, Label.ENHANCING)
    assert column > preview.PANEL_WIDTH / 2 + 10


def test_panels_hold_the_sequence_they_name(tiny_case):
    """One sequence made bright all over: only its panels change."""
    volumes = {s: np.where(v != 0, 1, 0).astype(np.float32) for s, v in tiny_case.volumes.items()}
    ramp = np.where(tiny_case.brain_mask, np.arange(TINY_SHAPE[0])[:, None, None] + 1, 0).astype(np.float32)
    empty = np.zeros(TINY_SHAPE, np.uint8)
    plain = np.asarray(preview.preview_picture(Case("a", volumes, tiny_case.geometry), empty))
    ramped = np.asarray(preview.preview_picture(Case("a", {**volumes, Sequence.T1CE: ramp}, tiny_case.geometry), empty))
    changed = [[not np.array_equal(panel(plain, r, c), panel(ramped, r, c)) for c in range(4)] for r in range(2)]
    assert changed == [[True, False, False, False], [True, False, True, False]]


def test_no_tumour_is_said_and_the_middle_shown(tiny_case):
    picture = np.asarray(preview.preview_picture(tiny_case, np.zeros(TINY_SHAPE, np.uint8)))
    assert not any(has_colour(picture, label) for label in PALETTE.labels)
    assert (picture[-preview.LEGEND :] == preview.WARNING).all(axis=2).any()
    assert picture[preview.HEADER : -preview.LEGEND].max() > 200


def flag(name: str, message: str) -> Flag:
    return Flag(name, message, 0.0, 1.0)


def test_flags_are_shown_in_lines_that_fit(tiny_case):
    plain = preview.preview_picture(tiny_case, tiny_labels())
    flags = (flag("skull_on", "The skull may still be on."), flag("not_1mm", "word " * 100))
    flagged = preview.preview_picture(tiny_case, tiny_labels(), flags=flags)
    lines = (flagged.height - plain.height - preview.BELOW_FLAGS) / preview.FLAG_LINE
    assert lines == 4, "one line, and three for the long one"
    top = np.asarray(flagged)[preview.HEADER - 10 : preview.HEADER + 3 * preview.FLAG_LINE]
    assert (top == preview.WARNING).all(axis=2).any()
    assert (top[:, -preview.MARGIN :] == preview.BACKGROUND).all()


def warning_share(picture: Image.Image, rows: slice) -> float:
    return float((np.asarray(picture)[rows] == preview.WARNING).all(axis=2).mean())


def test_a_doubt_about_the_result_stands_above_everything_else(tiny_case):
    """A band at the top, and volumes that are not written as if they were sure; other flags have neither."""
    band, legend = slice(preview.HEADER, preview.HEADER + preview.LARGE), slice(-preview.LEGEND, None)
    skull, doubt = (
        flag("skull_on", "The skull may still be on."),
        flag("doubtful", "The network doubts its own answer."),
    )
    flagged = preview.preview_picture(tiny_case, tiny_labels(), flags=(skull,))
    doubted = preview.preview_picture(tiny_case, tiny_labels(), flags=(skull, doubt))
    assert warning_share(flagged, band) < 0.1
    assert warning_share(flagged, legend) == 0
    assert warning_share(doubted, band) > 0.5
    assert warning_share(doubted, legend) > 0
    first = preview.preview_picture(tiny_case, tiny_labels(), flags=(doubt, skull))
    assert np.array_equal(np.asarray(first), np.asarray(doubted)), "the doubt is told first, wherever it stands"


def test_expected_dice_stands_beside_the_volumes(tiny_case):
    plain = np.asarray(preview.preview_picture(tiny_case, tiny_labels()))
    estimates = {Region.WT: Estimate(0.94, 0.88, 0.98)}
    told = np.asarray(preview.preview_picture(tiny_case, tiny_labels(), estimates=estimates))
    changed = np.argwhere((plain != told).any(axis=2))
    assert changed.size
    assert changed[:, 0].min() > plain.shape[0] - preview.LEGEND
    assert changed[:, 1].min() > plain.shape[1] / 2


def test_letters_and_bar_say_where_up_is_and_how_long_5_cm_are():
    """A dark scan: what is bright in its panel are letters and the bar, which has its length in the picture's scale."""
    shape = (160, 200, 150)
    dark = np.zeros(shape, np.float32)
    dark[shape[0] // 2] = 0.001
    dark[0, 0, 0] = 1
    volumes = {Sequence.FLAIR: dark}
    case = Case(
        "full", volumes, Geometry(shape, np.diag([-1.0, -1, 1, 1])), without=frozenset(Sequence) - {Sequence.FLAIR}
    )
    views = preview.Views.of(case, np.zeros(shape, np.uint8), preview.PANEL_WIDTH, preview.MAX_PANEL_HEIGHT)
    drawn = np.asarray(preview._panel(views, preview.Shown(AXIAL, Sequence.FLAIR), 400))
    bar = drawn[400 - 14, :, 0] == preview.TEXT[0]
    assert bar.sum() == pytest.approx(50 * views.box.pixels_per_mm, abs=2)
    middle = slice(preview.PANEL_WIDTH // 2 - 20, preview.PANEL_WIDTH // 2 + 20)
    for rows in (slice(0, 40), slice(360, 400)):
        assert (drawn[rows, middle, 0] > 200).any(), "a letter at the top and at the bottom"


def test_long_names_are_shortened(tiny_case):
    named = Case("x" * 500, tiny_case.volumes, tiny_case.geometry)
    picture = np.asarray(preview.preview_picture(named, tiny_labels(), "y" * 900))
    assert (picture[: preview.HEADER, -preview.MARGIN :] == preview.BACKGROUND).all()


AWKWARD = [
    ((40, 40, 1), (1, 1, 5)),
    ((1, 30, 30), (6, 1, 1)),
    ((4, 4, 200), (1, 1, 1)),
    ((64, 64, 20), (0.5, 0.5, 6.5)),
]


@pytest.mark.parametrize(("shape", "spacing_mm"), AWKWARD)
def test_awkward_grids_are_drawn(shape, spacing_mm):
    generator = np.random.default_rng(0)
    volumes = {sequence: generator.uniform(1, 2, shape).astype(np.float32) for sequence in PAPER_ORDER}
    case = Case("awkward", volumes, Geometry(shape, np.diag([*spacing_mm, 1.0])))
    label_map = np.zeros(shape, np.uint8)
    label_map[tuple(n // 2 for n in shape)] = Label.ENHANCING
    picture = np.asarray(preview.preview_picture(case, label_map))
    red, blue = (panel(picture, 0, 1)[..., channel].astype(int) for channel in (0, 2))
    assert (blue > red + 40).any(), "one voxel of half a millimetre is seen"
    assert picture.shape[0] <= 2 * preview.MAX_PANEL_HEIGHT + preview.HEADER + preview.LEGEND + 2 * preview.GAP


def test_other_shape_is_refused_and_nothing_written(tmp_path, tiny_case):
    with pytest.raises(GeometryError, match="shape"):
        preview.draw_preview(tiny_case, np.zeros((2, 2, 2), np.uint8), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_same_result_same_bytes(tmp_path, tiny_case):
    for name in ("a.png", "b.png"):
        preview.draw_preview(tiny_case, tiny_labels(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
