"""Volumes: hand-computed amounts, additivity, and text that can be read back."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomask.errors import GeometryError
from gliomask.geometry import Geometry
from gliomask.labels import Label, Region
from gliomask.report.volumes import measure

label_maps = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 3))
spacings = st.tuples(*[st.floats(0.2, 8)] * 3)


@pytest.fixture
def small() -> tuple[np.ndarray, Geometry]:
    """Six oedema, three enhancing and one core voxel of 1 x 1 x 5 mm, on sheared axes of the same volume."""
    label_map = np.zeros((3, 4, 2), np.uint8)
    label_map.flat[:10] = [2] * 6 + [3] * 3 + [1]
    affine = np.array([[-1.0, 0, 0.3, 0], [0, -1, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    return label_map, Geometry((3, 4, 2), affine)


def test_amounts_by_hand(small):
    found = {(a.kind, a.name): (a.voxels, a.volume_ml, a.volume_mm3) for a in measure(*small).amounts}
    assert found == {
        ("label", "necrotic"): (1, 0.005, 5.0),
        ("label", "oedema"): (6, 0.03, 30.0),
        ("label", "enhancing"): (3, 0.015, 15.0),
        ("region", "WT"): (10, 0.05, 50.0),
        ("region", "TC"): (4, 0.02, 20.0),
        ("region", "ET"): (3, 0.015, 15.0),
    }


def test_one_amount_by_name(small):
    volumes = measure(*small)
    assert volumes.of(Label.OEDEMA).voxels == 6
    assert volumes.of(Region.TC).voxels == 4
    assert volumes.region_ml(Region.TC) == 0.02
    with pytest.raises(KeyError):
        volumes.of(Label.BACKGROUND)


def test_table_has_three_decimals_and_a_heading(small):
    text = measure(*small).to_tsv()
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    assert list(rows[0]) == ["kind", "name", "title", "voxels", "volume_ml", "volume_mm3"]
    assert rows[1] == {
        "kind": "label",
        "name": "oedema",
        "title": "oedema",
        "voxels": "6",
        "volume_ml": "0.030",
        "volume_mm3": "30.000",
    }
    assert text.endswith("\n")
    assert len(rows) == 6


def test_json_holds_the_same_values(small):
    values = json.loads(json.dumps(measure(*small).to_dict()))
    assert values == measure(*small).to_dict()
    assert list(values) == ["labels", "regions"]
    assert values["labels"]["oedema"] == {"title": "oedema", "voxels": 6, "volume_ml": 0.03, "volume_mm3": 30.0}
    assert {name: region["volume_ml"] for name, region in values["regions"].items()} == {
        "WT": 0.05,
        "TC": 0.02,
        "ET": 0.015,
    }


def test_empty_label_map_measures_nothing():
    volumes = measure(np.zeros((2, 3, 4), np.uint8), Geometry((2, 3, 4), np.eye(4)))
    assert {amount.voxels for amount in volumes.amounts} == {0}


def test_other_shape_is_refused(small):
    with pytest.raises(GeometryError, match=r"\(3, 4\).*\(3, 4, 2\)"):
        measure(small[0][:, :, 0], small[1])


@given(label_maps, spacings)
def test_labels_add_up_to_regions(label_map, spacing_mm):
    volumes = measure(label_map, Geometry(label_map.shape, np.diag([*spacing_mm, 1])))
    for region in Region:
        parts = [volumes.of(label) for label in region.labels]
        assert (
            volumes.of(region).voxels == sum(part.voxels for part in parts) == np.count_nonzero(region.mask(label_map))
        )
        assert volumes.of(region).volume_ml == pytest.approx(sum(part.volume_ml for part in parts), abs=0.002)
        assert volumes.of(region).volume_mm3 == pytest.approx(
            volumes.of(region).voxels * np.prod(spacing_mm), rel=1e-4, abs=1e-3
        )
