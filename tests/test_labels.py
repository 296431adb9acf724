"""Labels, regions and conventions: round trips, and values that a convention does not define."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomask.errors import LabelError, UsageError
from gliomask.labels import CONVENTIONS, Label, Region, convention

label_maps = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 3))


@given(label_maps, st.sampled_from(sorted(CONVENTIONS)))
def test_to_disk_and_back_is_the_identity(label_map: np.ndarray, name: str) -> None:
    on_disk = convention(name).to_disk(label_map)
    assert on_disk.dtype == np.uint8
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        np.testing.assert_array_equal(convention(name).from_disk(on_disk.astype(dtype)), label_map)
    assert set(np.unique(on_disk)) <= set(convention(name).codes)


@given(label_maps)
def test_regions_are_nested(label_map: np.ndarray) -> None:
    wt, tc, et = (region.mask(label_map) for region in Region)
    assert (et <= tc).all()
    assert (tc <= wt).all()
    np.testing.assert_array_equal(wt, label_map > 0)


def test_each_convention_by_its_published_numbers() -> None:
    inside = np.array([Label.BACKGROUND, Label.NECROTIC, Label.OEDEMA, Label.ENHANCING])
    assert convention("brats2021").to_disk(inside).tolist() == [0, 1, 2, 4]
    assert convention("brats2023").to_disk(inside).tolist() == [0, 1, 2, 3]
    assert convention("decathlon").to_disk(inside).tolist() == [0, 2, 1, 3]


def test_4_is_enhancing_until_2021_and_no_tumour_from_2024() -> None:
    values = np.array([0, 1, 2, 4], np.float32)
    assert convention("brats2021").from_disk(values)[3] == Label.ENHANCING
    with pytest.raises(LabelError, match=r"holds \[4.0\].*resection cavity.*name the convention brats2021") as caught:
        convention("brats2023").from_disk(values)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("value", [3, 5, 255, 256, 260, -1, -252, 0.5, 4.001, np.nan, np.inf, 1e30])
def test_a_value_without_meaning_is_refused(value: float) -> None:
    values = np.zeros((3, 3, 3))
    values[1, 1, 1] = value
    with pytest.raises(LabelError, match="known ones: brats2021, brats2023, decathlon"):
        convention("brats2021").from_disk(values)


@pytest.mark.parametrize("value", [4, -1, 256])
def test_a_wrong_label_is_not_written(value: int) -> None:
    with pytest.raises(LabelError, match="holds 0 to 3"):
        convention("brats2021").to_disk(np.array([0, value]))


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(UsageError, match="no label convention 'brats2024'"):
        convention("brats2024")
