"""The qualitative panel: columns in order, labels in their colours, the patient's right on the left."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gliomask.colours import PALETTE
from gliomask.errors import UsageError
from gliomask.labels import TUMOUR_LABELS, Label
from gliomask.report.panel import LABEL_OPACITY, PanelRow, draw_panel

COLUMNS = ("reference", "network", "+ 1", "+ 1 + 2")


def row(
    case_id: str = "case",
    label: Label = Label.ENHANCING,
    at: tuple[int, int] = (8, 10),
    pixel_mm: tuple[float, float] = (1.0, 1.0),
) -> PanelRow:
    flair = np.zeros((40, 50))
    flair[5:35, 5:45] = 1
    labels = np.zeros((40, 50), np.uint8)
    labels[at[0] : at[0] + 6, at[1] : at[1] + 6] = label
    return PanelRow(case_id, flair, dict.fromkeys(COLUMNS, labels), pixel_mm)


def coloured(picture: np.ndarray, label: Label) -> np.ndarray:
    """Pixels of a label; a brain without contrast is drawn black below it."""
    expected = LABEL_OPACITY * np.array(PALETTE.labels[label])
    return np.abs(picture[..., :3].astype(float) - expected).max(axis=2) < 4


def drawn(path, rows) -> np.ndarray:
    draw_panel(rows, path)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("label", [Label.NECROTIC, Label.OEDEMA, Label.ENHANCING])
def test_each_label_column_shows_the_label_where_it_is_and_the_first_only_the_scan(tmp_path, label):
    picture = drawn(tmp_path / "panel.png", [row(label=label)])
    columns = np.array_split(coloured(picture, label), len(COLUMNS) + 1, axis=1)
    assert not columns[0].any()
    for column in columns[1:]:
        found = np.argwhere(column).mean(axis=0) / column.shape
        # Low I is the patient's right, drawn on the left; low J is anterior, drawn at the top.
        assert found[1] < 0.4
        assert found[0] < 0.4


def test_rows_add_height_and_pixels_keep_their_shape(tmp_path):
    one, two = drawn(tmp_path / "1.png", [row()]), drawn(tmp_path / "2.png", [row("a"), row("b")])
    tall = drawn(tmp_path / "3.png", [row(pixel_mm=(1.0, 2.0))])
    assert one.shape[1] == two.shape[1] == tall.shape[1]
    assert one.shape[0] < two.shape[0]
    assert one.shape[0] < tall.shape[0]


def test_a_row_without_brain_or_tumour_is_drawn(tmp_path):
    empty = np.zeros((10, 12))
    empty_row = drawn(tmp_path / "empty.png", [PanelRow("empty", empty, {"reference": empty.astype(np.uint8)})])
    marked = empty.astype(np.uint8)
    marked[4:7, 4:7] = Label.ENHANCING
    marked_row = drawn(tmp_path / "marked.png", [PanelRow("empty", empty, {"reference": marked})])
    assert coloured(marked_row, Label.ENHANCING).any()
    # The case's name is drawn, and no label.
    assert len(np.unique(empty_row[..., 0])) > 2
    assert not any(coloured(empty_row, label).any() for label in TUMOUR_LABELS)


def test_panels_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(UsageError, match="at least one"):
        draw_panel([], tmp_path / "panel.png")
    with pytest.raises(UsageError, match="columns"):
        draw_panel(
            [row(), PanelRow("other", row().flair, {"reference": row().labels["reference"]})], tmp_path / "panel.png"
        )
    with pytest.raises(UsageError, match="shape"):
        draw_panel([PanelRow("other", row().flair, {"reference": np.zeros((3, 3), np.uint8)})], tmp_path / "panel.png")
    assert not (tmp_path / "panel.png").exists()


def test_every_tumour_label_has_a_colour_and_a_name_of_its_own():
    assert set(PALETTE.labels) == set(TUMOUR_LABELS) == set(Label) - {Label.BACKGROUND}
    assert len(set(PALETTE.labels.values())) == len(PALETTE.labels)
    lightness = sorted(float(np.dot(colour, (0.2126, 0.7152, 0.0722))) for colour in PALETTE.labels.values())
    # Told apart without any hue at all.
    assert min(np.diff(lightness)) > 30
