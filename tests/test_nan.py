"""Voxels without a number: what is mended, what is refused, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from test_air import SHAPE, SPACING_MM, brains

from gliomask.case import Case
from gliomask.errors import CaseError
from gliomask.examination import Scan
from gliomask.geometry import Geometry
from gliomask.judgement import expectation_holds
from gliomask.nan import LARGEST_HOLE, without_nan
from gliomask.preprocess.checks import check_case
from gliomask.preprocess.gaps import nan_flags
from gliomask.sequences import PAPER_ORDER, Sequence

GEOMETRY = Geometry(SHAPE, np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1]))
TISSUE = (36, 36, 28)


def spm(volume, *holes):
    """A volume as SPM leaves it, with further voxels of NaN."""
    made = np.where(volume == 0, np.float32(np.nan), volume)
    for hole in holes:
        made[hole] = np.nan
    return made


def flags_of(case):
    return {flag.name: flag.message for flag in check_case(case) if flag.name.startswith(("nan", "part"))}


def test_nan_that_reaches_the_border_is_air() -> None:
    volume = brains()[Sequence.FLAIR]
    found, nan = without_nan(spm(volume))
    at_zero = volume == 0
    at_zero[tuple(nan.filled.T)] = False
    np.testing.assert_array_equal(found[~at_zero & (volume > 0)], volume[~at_zero & (volume > 0)])
    assert (found[at_zero] == 0).all()
    assert nan.outside == np.count_nonzero(at_zero)


def test_a_voxel_in_the_brain_takes_the_mean_of_its_neighbours_and_is_named() -> None:
    """One NaN in tissue was called "outside the brain"."""
    volume = brains()[Sequence.T1]
    found, nan = without_nan(spm(volume, TISSUE))
    assert list(TISSUE) in nan.filled.tolist()
    around = spm(volume, TISSUE)[tuple(slice(n - 1, n + 2) for n in TISSUE)]
    assert found[TISSUE] == np.float32(np.nanmean(around.astype(float)))
    case = Case("holed", {**brains(), Sequence.T1: spm(volume, TISSUE)}, GEOMETRY)
    told = flags_of(case)
    assert set(told) == {"nan_is_air", "nan_filled"}
    assert f"t1: {len(nan.filled)}, {len(nan.filled)} of them in the brain, at voxel" in told["nan_filled"]
    assert "brain" not in told["nan_is_air"]


def test_a_hole_is_filled_from_its_rim_inwards() -> None:
    volume = np.full((60, 60, 60), 7, np.float32)
    volume[0] = np.nan
    volume[30:33, 30:33, 30:33] = np.nan
    found, nan = without_nan(volume)
    assert (found[1:] == 7).all()
    assert nan.filled[:2].tolist() == [[30, 30, 30], [31, 30, 30]]


@pytest.mark.parametrize(
    ("border", "hole", "words"),
    [
        (False, TISSUE, r"holds 1 voxel that is NaN or infinite, at voxel \(36, 36, 28\)\. NaN counts as air only"),
        (True, (slice(30, 35), slice(30, 35), slice(30, 35)), r"voxels that are NaN or infinite, at voxel \("),
    ],
    ids=["nowhere else", "larger than any hole"],
)
def test_other_nan_are_refused_with_their_number_and_place(border, hole, words) -> None:
    volume = brains()[Sequence.T1]
    made = spm(volume) if border else volume.copy()
    made[hole] = np.nan
    assert without_nan(made)[0] is made
    with pytest.raises(CaseError, match=words):
        Case("holed", {**brains(), Sequence.T1: made}, GEOMETRY)
    with pytest.raises(CaseError, match=words):
        Scan(made, GEOMETRY, "t1.nii.gz")


def test_the_largest_hole_is_the_limit() -> None:
    volume = np.ones((60, 60, 60), np.float32)
    volume[0] = np.nan
    volume[20, 20, 2 : 2 + LARGEST_HOLE // 2] = volume[20, 21, 2 : 2 + LARGEST_HOLE // 2] = np.nan
    assert len(without_nan(volume)[1].filled) == LARGEST_HOLE
    volume[20, 22, 2] = np.nan
    assert without_nan(volume)[0] is volume


def test_a_case_with_nan_outside_is_the_case_with_0_there() -> None:
    right = Case("right", brains(), GEOMETRY)
    made = replace(right, volumes={sequence: spm(volume) for sequence, volume in right.volumes.items()})
    for sequence in PAPER_ORDER:
        differs = made.volumes[sequence] != right.volumes[sequence]
        assert np.argwhere(differs.T)[:, ::-1].tolist() == made.nan[sequence].filled.tolist()
    assert all(nan.outside == 0 for nan in right.nan.values())


def test_scans_as_they_came_say_where_theirs_were() -> None:
    scan = Scan(spm(brains()[Sequence.T2], TISSUE), GEOMETRY, "t2.nii.gz")
    flags = nan_flags({Sequence.T2: scan.nan}, {Sequence.T2: scan.volume.size}, None)
    assert [flag.name for flag in flags] == ["nan_is_air", "nan_filled"]
    assert "in the brain" not in flags[1].message


@pytest.mark.parametrize("air", [0, np.nan])
def test_a_part_of_the_brain_that_one_sequence_does_not_show_is_named(air: float) -> None:
    """A field of view that ends in the brain, padded by 0 or by NaN: no flag said so."""
    cut = brains()[Sequence.T1]
    cut[:, :, 40:] = air
    case = Case("cut", {**brains(), Sequence.T1: cut}, GEOMETRY)
    told = flags_of(case)
    assert "(t1: " in told["part_missing"]
    assert not expectation_holds(check_case(case))
