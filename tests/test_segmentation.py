"""The main job on a tiny patient with a network made by hand: the grid comes back, the air stays empty, nothing depends
on axis order.
"""

from __future__ import annotations

from itertools import permutations, product

import nibabel.orientations as orientations
import numpy as np
import pytest

import gliomask
from gliomask.case import Case
from gliomask.engines.fake import FakeEngine
from gliomask.errors import CaseError, GeometryError, UsageError
from gliomask.geometry import Geometry
from gliomask.sequences import Sequence


def oblique(affine: np.ndarray) -> np.ndarray:
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return turn @ affine


def test_the_label_map_lies_in_the_input_grid_and_holds_the_lump(fake_model, tiny_case):
    result = gliomask.segment(tiny_case)
    assert result.label_map.shape == tiny_case.geometry.shape
    assert result.label_map.dtype == np.uint8
    assert set(np.unique(result.label_map)) == {0, 1, 2, 3}
    assert result.probabilities.shape == (*tiny_case.geometry.shape, 4)
    centre = tuple(np.argwhere(result.label_map == 3).mean(axis=0) / tiny_case.geometry.shape)
    np.testing.assert_allclose(centre, (0.6, 0.5, 0.5), atol=0.08)


def test_outside_the_brain_is_background_also_when_the_network_says_otherwise(fake_model, tiny_case):
    fake_model.open = lambda engine, threads: FakeEngine(np.zeros((4, 4)), (0, 0, 9, 0))
    result = gliomask.segment(tiny_case)
    np.testing.assert_array_equal(result.label_map, np.where(tiny_case.brain_mask, 2, 0))


def reordered(case: Case, axes: tuple[int, ...], flips: tuple[int, ...]) -> tuple[Case, np.ndarray]:
    ornt = np.array([axes, flips], float).T
    volumes = {
        sequence: np.ascontiguousarray(orientations.apply_orientation(volume, ornt))
        for sequence, volume in case.volumes.items()
    }
    affine = case.geometry.affine @ orientations.inv_ornt_aff(ornt, case.geometry.shape)
    return Case("reordered", volumes, Geometry(volumes[Sequence.T1].shape, affine)), ornt


@pytest.mark.parametrize("tilt", [False, True])
def test_permuting_and_flipping_the_axes_of_the_input_changes_nothing_in_the_world(fake_model, tiny_case, tilt):
    case = (
        Case("tilted", tiny_case.volumes, Geometry(tiny_case.geometry.shape, oblique(tiny_case.geometry.affine)))
        if tilt
        else tiny_case
    )
    expected = gliomask.segment(case).label_map
    assert expected.any()
    for axes, flips in product(permutations(range(3)), product((-1, 1), repeat=3)):
        other, ornt = reordered(case, axes, flips)
        found = gliomask.segment(other)
        np.testing.assert_array_equal(found.label_map, orientations.apply_orientation(expected, ornt))


def test_arrays_with_names_of_any_convention_give_what_the_case_gives(fake_model, tiny_case):
    names = {"t2f": Sequence.FLAIR, "T1n": Sequence.T1, "t1c": Sequence.T1CE, "t2w": Sequence.T2}
    arrays = {name: tiny_case.volumes[sequence] for name, sequence in names.items()}
    found = gliomask.segment(arrays, affine=tiny_case.geometry.affine)
    np.testing.assert_array_equal(found.label_map, gliomask.segment(tiny_case).label_map)


def test_a_folder_gives_what_its_case_gives(fake_model, tiny_brats_folder, tiny_case):
    np.testing.assert_array_equal(gliomask.segment(tiny_brats_folder).label_map, gliomask.segment(tiny_case).label_map)


def test_results_repeat_bit_for_bit(fake_model, tiny_case):
    first, second = gliomask.segment(tiny_case), gliomask.segment(tiny_case)
    np.testing.assert_array_equal(first.label_map, second.label_map)
    np.testing.assert_array_equal(first.probabilities.view(np.uint32), second.probabilities.view(np.uint32))


def test_swapped_sequences_change_the_result_so_their_names_matter(fake_model, tiny_case):
    swapped = {
        **tiny_case.volumes,
        Sequence.T1CE: tiny_case.volumes[Sequence.T2],
        Sequence.T2: tiny_case.volumes[Sequence.T1CE],
    }
    found = gliomask.segment(Case("swapped", swapped, tiny_case.geometry))
    assert (found.label_map != gliomask.segment(tiny_case).label_map).any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda case: gliomask.segment(case, postproces="1"), UsageError, "postproces"),
        (lambda case: gliomask.segment(case, postprocess="2"), UsageError, "no post-processing '2'"),
        (lambda case: gliomask.segment(case, patches="round"), UsageError, "round"),
        (lambda case: gliomask.segment(case, patches="overlapping", stride=65), UsageError, "even"),
        (lambda case: gliomask.segment(case, affine=np.eye(4)), UsageError, "arrays only"),
        (lambda case: gliomask.segment({"t1": case.volumes[Sequence.T1]}), CaseError, "missing flair, t1ce, t2"),
        (
            lambda case: gliomask.segment({"t1": case.volumes[Sequence.T1], "t1n": case.volumes[Sequence.T1]}),
            UsageError,
            "one sequence",
        ),
        (lambda case: gliomask.segment({}), GeometryError, "three axes"),
        (
            lambda case: gliomask.segment({**{s.value: v for s, v in case.volumes.items()}, "t2": np.ones((2, 2, 2))}),
            GeometryError,
            "t2",
        ),
        (lambda case: gliomask.segment("no/such/folder"), CaseError, "no/such/folder"),
    ],
)
def test_requests_that_make_no_sense_are_refused(fake_model, tiny_case, call, error, words):
    with pytest.raises(error, match=words):
        call(tiny_case)


def test_several_cases_are_not_segmented_as_one(fake_model, tiny_brats_folder):
    from conftest import make_tiny_case, write_brats_case

    write_brats_case(tiny_brats_folder, make_tiny_case("second"))
    with pytest.raises(UsageError, match="holds 2 cases"):
        gliomask.segment(tiny_brats_folder)
