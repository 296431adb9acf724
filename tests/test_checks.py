"""Quality flags: each fires on what it is for, and none on what is right."""

import dataclasses
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gliomask.case import Case
from gliomask.errors import CaseError
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases, read_case
from gliomask.io.nifti import read_volume
from gliomask.judgement import (
    DOUBTFUL_DICE,
    RemovedPart,
    doubtful,
    expectation_holds,
    nothing_found,
    part_removed,
    unpromised,
)
from gliomask.labels import Region
from gliomask.preprocess.checks import FEWEST_SAMPLES, brain_samples, check_case, refuse_no_brain, sequences_swapped
from gliomask.quality import Estimate
from gliomask.sequences import PAPER_ORDER, Sequence

SPACING_MM = 4.0
SHAPE = (60, 60, 40)
"""A field of view like BraTS's, but with larger voxels."""


def head(seed: int = 0) -> Case:
    """A brain of 1,300 ml with fluid, two tissues and an enhancing spot; contrasts as the four sequences have them."""
    generator = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*[(np.arange(n) - n / 2 + 0.5) * SPACING_MM for n in SHAPE], indexing="ij")
    brain = (i / 68) ** 2 + (j / 82) ** 2 + (k / 56) ** 2 < 1
    white = gaussian_filter(generator.normal(size=SHAPE), 2) > 0
    fluid = (i / 12) ** 2 + (j / 35) ** 2 + (k / 20) ** 2 < 1
    spot = (i - 40) ** 2 + j**2 + k**2 < 10**2
    levels = {
        # Grey, white, fluid, enhancing.
        Sequence.FLAIR: (300, 250, 60, 420),
        Sequence.T1: (350, 450, 120, 330),
        Sequence.T1CE: (360, 460, 125, 1500),
        Sequence.T2: (350, 260, 900, 450),
    }
    volumes = {}
    for sequence, (grey, white_level, fluid_level, bright) in levels.items():
        tissue = np.select([spot, fluid, white], [bright, fluid_level, white_level], grey) + generator.normal(
            0, 12, SHAPE
        )
        volumes[sequence] = np.where(brain, tissue, 0).astype(np.float32)
    return Case("head", volumes, Geometry(SHAPE, np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1])))


def names(case: Case) -> list[str]:
    """Names of the flags, without the spacing's, which the coarse head always raises."""
    return [flag.name for flag in check_case(case) if flag.name != "not_1mm"]


def with_volumes(case: Case, change: object) -> Case:
    return dataclasses.replace(case, volumes={sequence: change(volume) for sequence, volume in case.volumes.items()})  # type: ignore[operator]


def header_of(sform: np.ndarray | None, qform: np.ndarray | None) -> bytes:
    image = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    if sform is not None:
        image.set_sform(sform, 1)
    if qform is not None:
        image.set_qform(qform, 1)
    return image.header.binaryblock


def test_a_bare_brain_raises_no_flag() -> None:
    assert names(head()) == []


def test_every_flag_says_what_to_do_and_what_was_measured() -> None:
    (flag,) = check_case(head())
    assert flag.name == "not_1mm"
    assert (
        flag.message
        == "Voxels are 4 x 4 x 4 mm; the networks were trained on 1 x 1 x 1 mm. Resample all four sequences "
        "to 1 mm first."
    )
    assert (flag.value, flag.limit) == (3.0, 0.05)


@pytest.mark.parametrize(("mm", "expected"), [(1.0, False), (1.04, False), (0.96, False), (1.06, True), (0.9, True)])
def test_spacing_is_flagged_beyond_its_limit(tiny_case: Case, mm: float, expected: bool) -> None:
    case = dataclasses.replace(tiny_case, geometry=Geometry((24, 28, 20), np.diag([1, mm, 1, 1])))
    assert ("not_1mm" in [flag.name for flag in check_case(case)]) is expected


@pytest.mark.parametrize("pair", list(itertools.combinations(range(4), 2)))
def test_every_swap_of_two_sequences_is_flagged(pair: tuple[int, int]) -> None:
    order = list(PAPER_ORDER)
    order[pair[0]], order[pair[1]] = order[pair[1]], order[pair[0]]
    case = head()
    swapped = dataclasses.replace(
        case, volumes={wanted: case.volumes[given] for wanted, given in zip(PAPER_ORDER, order, strict=True)}
    )
    assert names(swapped) == ["sequences_swapped"]


def test_swaps_are_not_looked_for_in_a_handful_of_voxels() -> None:
    samples = brain_samples(head())[[1, 0, 2, 3]]
    assert sequences_swapped(samples) is not None
    assert sequences_swapped(samples[:, : FEWEST_SAMPLES - 1]) is None


def test_flat_sequences_are_no_swap() -> None:
    assert sequences_swapped(np.ones((4, 2000), np.float32)) is None


def replaced(sequence: Sequence, change: object) -> Case:
    """The head with one of its sequences changed inside the brain."""
    case = head()
    volume = case.volumes[sequence]
    return dataclasses.replace(
        case, volumes={**case.volumes, sequence: np.where(volume > 0, change(volume), 0).astype(np.float32)}
    )  # type: ignore[operator]


@pytest.mark.parametrize("sequence", PAPER_ORDER)
def test_noise_is_no_image(sequence: Sequence) -> None:
    generator = np.random.default_rng(2)
    found = check_case(replaced(sequence, lambda volume: np.abs(generator.normal(200, 40, volume.shape)) + 1))
    (flag,) = [flag for flag in found if flag.name != "not_1mm"]
    assert flag.name == "no_image"
    assert flag.message.startswith(f"{sequence.value}: neighbouring voxels")


def test_a_rescaled_copy_is_the_same_image_and_not_called_a_swap() -> None:
    case = head()
    copy = dataclasses.replace(case, volumes={**case.volumes, Sequence.T1CE: np.rint(case.volumes[Sequence.T1] * 0.5)})
    (flag,) = [flag for flag in check_case(copy) if flag.name != "not_1mm"]
    assert flag.name == "same_image"
    assert "t1 and t1ce are the same image" in flag.message


@pytest.mark.parametrize(("percent", "expected"), [(50, True), (90, True), (99.5, False)])
def test_what_is_bright_may_be_cut_off_in_few_voxels_only(percent: float, expected: bool) -> None:
    limit = np.percentile(head().volumes[Sequence.FLAIR][head().brain_mask], percent)
    assert ("saturated" in names(replaced(Sequence.FLAIR, lambda volume: np.minimum(volume, limit)))) == expected


def test_what_a_missing_sequence_holds_is_not_looked_at() -> None:
    case = head()
    volumes = {
        sequence: volume for sequence, volume in case.volumes.items() if sequence not in (Sequence.T1, Sequence.T2)
    }
    assert names(dataclasses.replace(case, volumes=volumes, without=frozenset({Sequence.T1, Sequence.T2}))) == []


def test_neighbours_are_those_ahead_and_nothing_beyond_the_volume() -> None:
    case = head()
    volumes = {
        sequence: np.broadcast_to(np.arange(1, SHAPE[0] + 1, dtype=np.float32)[:, None, None], SHAPE).copy()
        for sequence in PAPER_ORDER
    }
    ramp = dataclasses.replace(case, volumes={**volumes, Sequence.T1: volumes[Sequence.T1] + 100})
    here, ahead = brain_samples(ramp), brain_samples(ramp, ahead=1)
    beyond = here[0] == SHAPE[0]
    assert beyond.any()
    np.testing.assert_array_equal(ahead[0], np.where(beyond, 0, here[0] + 1))


def test_a_brain_upside_down_is_told_only_where_it_is_whole() -> None:
    """The round head here has no up and down, but is longer than wide: lying across, it is flagged, unless it is
    cut.
    """
    case = head()
    across = {sequence: np.rot90(volume, 1, (0, 1)) for sequence, volume in case.volumes.items()}
    turned = dataclasses.replace(case, volumes=across)
    assert names(turned) == ["orientation_wrong"]
    (flag,) = [flag for flag in check_case(turned) if flag.name == "orientation_wrong"]
    assert "longer from left to right than from front to back" in flag.message
    half = Case("half", {s: v[:, 30:] for s, v in across.items()}, Geometry((60, 30, 40), case.geometry.affine))
    assert "brain_cut" in names(half)
    assert "orientation_wrong" not in names(half)


def test_a_label_map_without_tumour_is_remarked_upon() -> None:
    label_map = np.zeros((3, 4, 5), np.uint8)
    (flag,) = nothing_found(label_map)
    assert flag.name == "nothing_found"
    label_map[1, 1, 1] = 2
    assert nothing_found(label_map) == ()


ESTIMATES = {Region.WT: Estimate(0.9, 0.8, 1.0), Region.TC: Estimate(0.8, 0.6, 0.9), Region.ET: Estimate(0.7, 0.5, 0.9)}


@pytest.mark.parametrize("region", list(Region))
def test_each_region_of_which_little_is_expected_is_named(region: Region) -> None:
    assert doubtful(ESTIMATES) == ()
    assert doubtful({}) == ()
    limit = DOUBTFUL_DICE[region]
    assert doubtful(ESTIMATES | {region: Estimate(limit, 0.3, 0.9)}) == ()
    (flag,) = doubtful(ESTIMATES | {region: Estimate(limit - 0.01, 0.3, 0.9)})
    assert (flag.name, flag.value, flag.limit) == ("doubtful", limit - 0.01, limit)
    assert f"{region.title} {limit - 0.01:.2f} (80 % interval 0.30 to 0.90)" in flag.message
    assert sum(other.title in flag.message for other in Region) == 1
    (both,) = doubtful(dict.fromkeys(Region, Estimate(0.1, 0.0, 0.2)))
    assert all(other.title in both.message for other in Region)


def test_noise_in_the_air_is_a_skull() -> None:
    noise = np.abs(np.random.default_rng(0).normal(0, 5, SHAPE)).astype(np.float32) + 1
    flags = check_case(with_volumes(head(), lambda volume: volume + noise))
    assert [flag.name for flag in flags] == ["not_1mm", "skull_on"]
    assert "Strip the skull" in flags[1].message


def test_a_head_in_clean_air_is_a_skull() -> None:
    i, j, k = np.meshgrid(*[(np.arange(n) - n / 2 + 0.5) * SPACING_MM for n in SHAPE], indexing="ij")
    scalp = np.where((i / 85) ** 2 + (j / 100) ** 2 + (k / 75) ** 2 < 1, 600, 0).astype(np.float32)
    (flag,) = [
        flag
        for flag in check_case(with_volumes(head(), lambda volume: np.where(volume == 0, scalp, volume)))
        if flag.name != "not_1mm"
    ]
    assert flag.name == "skull_on"
    assert flag.value == pytest.approx(2670, rel=0.05)


def test_a_brain_in_its_tightest_box_is_no_skull() -> None:
    case = head()
    box = tuple(slice(found.min(), found.max() + 1) for found in np.nonzero(case.brain_mask))
    cropped = {sequence: volume[box] for sequence, volume in case.volumes.items()}
    tight = Case("tight", cropped, Geometry(cropped[Sequence.T1].shape, case.geometry.affine))
    assert names(tight) == []


@pytest.mark.parametrize(("background", "words"), [(0.0, "normalised already"), (-9.0, "air is -9, not 0")])
def test_z_scores_are_flagged_whatever_their_background(background: float, words: str) -> None:
    case = head()

    def z_score(volume: np.ndarray) -> np.ndarray:
        inside = volume[case.brain_mask]
        result = np.full(SHAPE, background, np.float32)
        result[case.brain_mask] = (inside - inside.mean()) / inside.std()
        return result

    flags = [flag for flag in check_case(with_volumes(case, z_score)) if flag.name != "not_1mm"]
    assert [flag.name for flag in flags] == ["already_normalised"]
    assert words in flags[0].message


def test_a_sequence_with_its_skull_on_beside_bare_ones_is_named_and_the_others_decide() -> None:
    case = head()
    noise = np.abs(np.random.default_rng(0).normal(0, 5, SHAPE)).astype(np.float32) + 1
    mixed = dataclasses.replace(case, volumes={**case.volumes, Sequence.T2: case.volumes[Sequence.T2] + noise})
    (flag,) = [flag for flag in check_case(mixed) if flag.name != "not_1mm"]
    assert flag.name == "not_bare"
    assert flag.message.startswith("t2: 100% of the field of view is not air")
    assert "taken from flair, t1, t1ce" in flag.message
    np.testing.assert_array_equal(mixed.brain_mask, case.brain_mask)


def test_air_that_was_computed_is_flagged_with_its_sequence() -> None:
    case = head()
    ringing = np.where(case.brain_mask, 0, np.random.default_rng(0).normal(0, 1e-4, SHAPE)).astype(np.float32)
    (flag,) = [
        flag
        for flag in check_case(
            dataclasses.replace(case, volumes={**case.volumes, Sequence.T1: case.volumes[Sequence.T1] + ringing})
        )
        if flag.name != "not_1mm"
    ]
    assert flag.name == "air_not_zero"
    assert "(t1)" in flag.message


def test_nan_outside_the_brain_is_flagged_as_air() -> None:
    case = head()
    flags = check_case(with_volumes(case, lambda volume: np.where(volume == 0, np.nan, volume)))
    assert [flag.name for flag in flags] == ["not_1mm", "nan_is_air"]


@pytest.mark.parametrize("pixdim", [[0, 4, 4, 4, 0, 0, 0, 0], [1, 4, -4, 4, 0, 0, 0, 0]])
def test_spacings_that_nibabel_refuses_are_a_flag(pixdim: list[float]) -> None:
    header = nib.Nifti1Header(header_of(np.diag([-4.0, -4, 4, 1]), np.diag([-4.0, -4, 4, 1])))
    header["pixdim"] = pixdim
    flags = check_case(dataclasses.replace(head(), header=header.binaryblock))
    assert [flag.name for flag in flags] == ["not_1mm", "two_orientations"]


def test_a_qform_that_cannot_be_read_has_a_finite_value() -> None:
    header = nib.Nifti1Header(header_of(np.diag([-4.0, -4, 4, 1]), np.diag([-4.0, -4, 4, 1])))
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = 1, 1, 0
    (flag,) = [
        flag for flag in check_case(dataclasses.replace(head(), header=header.binaryblock)) if flag.name != "not_1mm"
    ]
    assert flag.name == "two_orientations"
    assert flag.value == pytest.approx(2**0.5)
    assert "cannot be read" in flag.message


def shaped(inside) -> Case:
    """Four sequences of noise in a shape; axes in millimetres about the middle."""
    generator, shape = np.random.default_rng(0), (64, 72, 64)
    i, j, k = np.meshgrid(*[(np.arange(n) - n / 2 + 0.5) * SPACING_MM for n in shape], indexing="ij")
    volumes = {
        sequence: np.where(inside(i, j, k), 300 + generator.normal(0, 20, shape), 0).astype(np.float32)
        for sequence in PAPER_ORDER
    }
    return Case("shape", volumes, Geometry(shape, np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1])))


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (lambda i, j, k: i**2 + j**2 + k**2 < 75**2, "as a phantom's is"),
        (lambda i, j, k: (i**2 + j**2 < 70**2) & (np.abs(k) < 60), "as a phantom's is"),
        (lambda i, j, k: ((i / 78) ** 2 + (j / 98) ** 2 < 1) & (np.abs(k) < 30), "so the skull is on"),
        (lambda i, j, k: (i - 8) ** 2 + (j - 20 * np.sign(k)) ** 2 < 50**2, "as a limb is"),
        (lambda i, j, k: (np.hypot(i, j) < 66 - 0.1 * k) & (np.abs(k) < 50), "as a limb or a joint is"),
        (lambda i, j, k: (np.hypot(i, j) < 60) & (k < 20) | (i**2 + j**2 + (k - 20) ** 2 < 60**2), "as a limb or a"),
        (
            lambda i, j, k: (
                (np.hypot(i, j - 50) < 38) & (k > -30) | ((i / 42) ** 2 + ((k + 45) / 30) ** 2 < 1) & (j > -95)
            ),
            "nothing of it was cut off",
        ),
        (
            lambda i, j, k: ((i / 68) ** 2 + ((j - 0.1 * k) / 64) ** 2 < 1) & (np.abs(k) < 30),
            "wider than long, as a joint is",
        ),
        (
            lambda i, j, k: (np.hypot(i, k) < 50) & (j > -40) & (j < 95) | (np.hypot(i, k) < 20) & (j > -95) & (j < 0),
            "far longer than wide and high",
        ),
    ],
    ids=["ball", "cylinder", "slab of a head", "limb", "calf", "heel", "foot", "slab of a knee", "lying bottle"],
)
def test_what_is_no_brain_is_refused_by_name(inside, words) -> None:
    with pytest.raises(CaseError, match="Case shape: this is no bare brain: .*" + words):
        refuse_no_brain(shaped(inside))


@pytest.mark.parametrize(
    "part",
    [np.s_[:, 30:], np.s_[:, :, 20:], np.s_[30:], np.s_[:, :, :22]],
    ids=["front off", "bottom off", "half", "top off"],
)
def test_a_part_of_a_brain_is_flagged_and_not_refused(part) -> None:
    case = head()
    volumes = {}
    for sequence, volume in case.volumes.items():
        volumes[sequence] = np.zeros_like(volume)
        volumes[sequence][part] = volume[part]
    cut = dataclasses.replace(case, volumes=volumes)
    refuse_no_brain(cut)
    assert "unlike_brain" in names(cut)
    assert not expectation_holds(check_case(cut))
    (doubt,) = unpromised(check_case(cut))
    assert doubt.name == "doubtful"
    assert "unlike_brain" in doubt.message


@pytest.mark.data
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_a_brain_that_lies_across_is_flagged_and_not_refused(shared_data: Path, axes: tuple[int, int]) -> None:
    case = read_case(find_cases(shared_data / "brats" / "BraTS2021_00000")[0])
    volumes = {sequence: np.ascontiguousarray(np.rot90(volume, 1, axes)) for sequence, volume in case.volumes.items()}
    across = Case("across", volumes, Geometry(volumes[Sequence.T1].shape, case.geometry.affine))
    refuse_no_brain(across)
    assert not expectation_holds(check_case(across))


@pytest.mark.data
@pytest.mark.parametrize("name", ["BraTS2021_00000", "BraTS2021_01478", "Brats18_CBICA_APY_1"])
def test_released_brains_keep_their_mask_and_are_brains(shared_data: Path, name: str) -> None:
    case = read_case(find_cases(shared_data / "brats" / name)[0])
    np.testing.assert_array_equal(case.brain_mask, np.any([volume != 0 for volume in case.volumes.values()], axis=0))
    refuse_no_brain(case)
    assert check_case(case) == []


def test_a_whole_brain_is_promised_a_dice() -> None:
    refuse_no_brain(head())
    assert expectation_holds(check_case(head()))
    assert unpromised(check_case(head())) == ()


def test_a_few_negative_voxels_come_from_interpolation_and_are_fine() -> None:
    case = head()
    chosen = case.brain_mask & (np.random.default_rng(1).random(SHAPE) < 0.02)
    assert names(with_volumes(case, lambda volume: np.where(chosen, -3, volume))) == []


def test_half_a_brain_is_cut_and_a_tenth_is_small() -> None:
    case = head()
    half = Case("half", {s: v[:, 30:] for s, v in case.volumes.items()}, Geometry((60, 30, 40), case.geometry.affine))
    assert "brain_cut" in names(half)
    tenth = Case(
        "tenth", {s: v[:, :, 15:18] for s, v in case.volumes.items()}, Geometry((60, 60, 3), case.geometry.affine)
    )
    assert {"brain_cut", "brain_small"} <= set(names(tenth))


@pytest.mark.parametrize(
    ("sform", "qform", "expected"),
    [
        (None, None, ["orientation_unknown"]),
        (np.diag([-4.0, -4, 4, 1]), None, []),
        (None, np.diag([-4.0, -4, 4, 1]), []),
        (np.diag([-4.0, -4, 4, 1]), np.diag([-4.0, -4, 4, 1]), []),
        (np.diag([-4.0, -4, 4, 1]), np.diag([4.0, -4, 4, 1]), ["two_orientations"]),
    ],
)
def test_what_the_header_says_of_left_and_right(
    sform: np.ndarray | None, qform: np.ndarray | None, expected: list[str]
) -> None:
    assert names(dataclasses.replace(head(), header=header_of(sform, qform))) == expected


@pytest.mark.data
def test_released_brains_raise_no_flag_and_their_swaps_do(shared_data: Path) -> None:
    case = read_case(find_cases(shared_data / "brats" / "BraTS2021_00000")[0])
    assert check_case(case) == []
    samples = brain_samples(case)
    for first, second in itertools.combinations(range(4), 2):
        order = list(range(4))
        order[first], order[second] = second, first
        assert sequences_swapped(samples[order]) is not None


@pytest.mark.data
@pytest.mark.parametrize("word", ["flair", "t1", "t1ce", "t2"])
def test_a_raw_scan_is_flagged_for_its_skull_and_its_slices(shared_data: Path, word: str) -> None:
    read = read_volume(
        shared_data / "native" / "TCGA-FG-6692" / "native_with_skull" / f"TCGA-FG-6692_native_{word}.nii.gz"
    )
    case = Case(word, dict.fromkeys(PAPER_ORDER, read.values), read.geometry, header=read.header)
    assert [flag.name for flag in check_case(case)] == ["not_1mm", "skull_on"]


def test_parts_that_were_removed_are_flagged_from_1_ml():
    assert part_removed((), "3d") == ()
    assert part_removed((RemovedPart(999, 0.999, (1.0, 2.0, 3.0)),), "3d") == ()
    (flag,) = part_removed(
        (
            RemovedPart(2100, 2.1, (1.4, -20.0, 3.0)),
            RemovedPart(1000, 1.0, (0.0, 0.0, 9.0)),
            RemovedPart(3, 0.003, (0.0, 0.0, 0.0)),
        ),
        "3d",
    )
    assert (flag.name, flag.value, flag.limit) == ("part_removed", 2.1, 1.0)
    assert (
        "'3d' removed what may be a second focus (2.1 ml at 1, -20, 3 mm; 1.0 ml at 0, 0, 9 mm, RAS coordinates of "
        "the label map)" in flag.message
    )
