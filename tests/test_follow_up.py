"""Changes between time points, and lesions that were not there before."""

import numpy as np
import pytest

from gliomask.errors import GeometryError
from gliomask.metrics.follow_up import Change, changes, new_lesions


def test_changes_from_baseline_and_from_the_smallest_so_far():
    first, second, third, fourth = changes([40.0, 10.0, 15.0, 5.0])
    assert first.from_baseline is None
    assert first.from_nadir is None
    assert second.from_baseline == second.from_nadir == Change(-30.0, -75.0)
    assert third.from_baseline == Change(-25.0, -62.5)
    assert third.from_nadir == Change(5.0, 50.0)
    # The nadir is of earlier time points: a new smallest volume is held against the one before.
    assert fourth.from_nadir == Change(-5.0, -50.0)


def test_a_share_of_nothing_is_not_told():
    _, second, third = changes([0.0, 3.0, 0.0])
    assert second.from_baseline == Change(3.0, None)
    assert third.from_nadir == Change(0.0, None)
    assert changes([]) == []


def test_a_lesion_is_new_only_if_it_touches_nothing_earlier():
    earlier, later = np.zeros((20, 20, 10), bool), np.zeros((20, 20, 10), bool)
    earlier[2:6, 2:6, 2:6] = True
    later[5:9, 5:9, 5:9] = True  # overlaps in a corner
    later[6:8, 2, 0:2] = True  # a neighbour over an edge, and joined to nothing
    later[14:16, 14:17, 7] = True
    later[12, 2, 2] = True
    found = new_lesions(later, earlier)
    assert [lesion.voxels for lesion in found] == [6, 1]
    assert found[0].centre_voxel == (14.5, 15, 7)


def test_everything_is_new_where_there_was_nothing_and_nothing_where_nothing_is():
    mask = np.zeros((5, 5, 5), bool)
    assert new_lesions(mask, mask) == []
    mask[1, 1, 1] = mask[3, 3, 3] = True
    assert len(new_lesions(mask, np.zeros_like(mask))) == 2
    assert new_lesions(mask, mask) == []


def test_other_shapes_are_refused():
    with pytest.raises(GeometryError, match="one grid"):
        new_lesions(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool))
