"""A `Case` that exists can be segmented: everything else is refused by name."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gliomask.case import Case
from gliomask.errors import CaseError, GeometryError
from gliomask.sequences import PAPER_ORDER, Sequence


def changed(case: Case, change: Callable[[np.ndarray], np.ndarray], sequence: Sequence = Sequence.T2) -> Case:
    return replace(case, volumes={**case.volumes, sequence: change(case.volumes[sequence].copy())})


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def put(volume: np.ndarray) -> np.ndarray:
        volume[3, 4, 5] = value
        return volume

    return put


@pytest.mark.parametrize("left_out", PAPER_ORDER)
def test_three_sequences_are_no_case(tiny_case: Case, left_out: Sequence) -> None:
    volumes = {sequence: volume for sequence, volume in tiny_case.volumes.items() if sequence != left_out}
    with pytest.raises(CaseError, match=f"Case tiny: missing {left_out.value}; found") as caught:
        replace(tiny_case, volumes=volumes)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tiny_case: Case, value: float) -> None:
    with pytest.raises(CaseError, match="Case tiny: t2 holds 1 voxel that is NaN or infinite, at voxel"):
        changed(tiny_case, with_value(value))


def test_values_too_large_for_float32_are_refused(tiny_case: Case) -> None:
    with pytest.raises(CaseError, match="NaN or infinite"):
        changed(tiny_case, lambda volume: with_value(1e300)(volume.astype(np.float64)))


@pytest.mark.parametrize(("level", "words"), [(0, "is empty: every voxel is 0"), (7, "every voxel is 7")])
def test_a_volume_that_shows_nothing_is_refused(tiny_case: Case, level: float, words: str) -> None:
    with pytest.raises(CaseError, match=words):
        changed(tiny_case, lambda volume: np.full_like(volume, level))


def test_a_volume_on_another_grid_is_refused(tiny_case: Case) -> None:
    with pytest.raises(GeometryError, match=r"t2 has the shape \(24, 28, 19\)"):
        changed(tiny_case, lambda volume: volume[:, :, :-1])


def test_what_is_no_number_is_refused(tiny_case: Case) -> None:
    with pytest.raises(CaseError, match="complex"):
        changed(tiny_case, lambda volume: volume.astype(np.complex64))


def test_the_message_names_the_file(tiny_case: Case) -> None:
    sources = {Sequence.T2: Path("somewhere/t2.nii.gz")}
    with pytest.raises(CaseError, match=r"t2 \(somewhere.t2\.nii\.gz\)"):
        changed(replace(tiny_case, sources=sources), with_value(np.nan))


def test_volumes_are_read_only_float32_and_not_copied(tiny_case: Case) -> None:
    given = {sequence: np.array(volume) for sequence, volume in tiny_case.volumes.items()}
    given[Sequence.T1] = given[Sequence.T1].astype(np.int16)
    case = replace(tiny_case, volumes=given)
    assert all(volume.dtype == np.float32 for volume in case.volumes.values())
    assert np.shares_memory(case.volumes[Sequence.T2], given[Sequence.T2])
    with pytest.raises(ValueError, match="read-only"):
        case.volumes[Sequence.T2][0, 0, 0] = 1
    # The caller's own array stays writeable, and a mapping changed later changes no case.
    given[Sequence.T2][0, 0, 0] = given[Sequence.T2][0, 0, 0]
    del given[Sequence.T1]
    assert set(case.volumes) == set(PAPER_ORDER)


def test_the_brain_is_where_any_sequence_is_not_0(tiny_case: Case) -> None:
    volumes = {sequence: np.zeros((2, 2, 2), np.float32) for sequence in PAPER_ORDER}
    for n, sequence in enumerate(PAPER_ORDER):
        volumes[sequence].ravel()[n] = -1.5 if n else 3
    case = Case("dots", volumes, replace(tiny_case.geometry, shape=(2, 2, 2)))
    assert case.brain_mask.ravel().tolist() == [True] * 4 + [False] * 4
    with pytest.raises(ValueError, match="read-only"):
        case.brain_mask[0, 0, 0] = False


def test_a_case_cannot_be_changed_and_shows_no_voxels(tiny_case):
    with pytest.raises(TypeError):
        tiny_case.volumes[Sequence.T1] = None
    with pytest.raises(ValueError, match="read-only"):
        tiny_case.volumes[Sequence.T1][0, 0, 0] = 1
    assert repr(tiny_case) == "Case('tiny', flair, t1, t1ce, t2, 24 x 28 x 20 voxels of 1 x 1 x 1 mm, LPS)"
    again = pickle.loads(pickle.dumps(tiny_case))  # noqa: S301 - our own bytes
    assert again.case_id == "tiny"
    np.testing.assert_array_equal(again.volumes[Sequence.T1], tiny_case.volumes[Sequence.T1])
