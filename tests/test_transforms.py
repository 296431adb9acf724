"""Transforms that other tools made: their files, and what native-space preprocessing makes of them."""

import struct
from pathlib import Path

import numpy as np
import pytest

from gliomask.errors import FileFormatError, GeometryError, QualityError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.io.transforms import read_transform
from gliomask.preprocess.raw import place
from gliomask.preprocess.raw.align import Alignment, measure_given, near_brain
from gliomask.preprocess.raw.atlas import BRATS_FRAME, FRAME_TO_MNI, load_atlas
from gliomask.preprocess.raw.interface import GivenTransforms, Transform
from gliomask.preprocess.raw.settings import PreparationSettings
from gliomask.preprocess.raw.transforms import about, inverse, move, stretches, to_itk_text, turn
from gliomask.segmentation.options import Options, transform_files
from gliomask.sequences import Sequence

from test_raw_steps import POINTS, field, lumps  # isort: skip

sitk = pytest.importorskip("SimpleITK")


def as_sitk_moves(transform, point):
    x, y, z = transform.TransformPoint((-point[0], -point[1], point[2]))
    return -x, -y, z


def rigid(kind):
    transform = kind()
    transform.SetCenter((10.0, -20.0, 30.0))
    if kind is sitk.Euler3DTransform:
        transform.SetRotation(0.1, -0.2, 0.3)
    else:
        transform.SetRotation((0.6, 0.0, 0.8), 0.4)
    transform.SetTranslation((4.0, 5.0, -6.0))
    return transform


def affine():
    transform = sitk.AffineTransform(3)
    transform.SetCenter((1.0, 2.0, 3.0))
    transform.SetMatrix((turn((10, 5, -8)) @ np.diag([1.1, 0.9, 1.0])).ravel().tolist())
    transform.SetTranslation((7.0, -8.0, 9.0))
    return transform


TRANSFORMS = {
    "affine": affine,
    "euler": lambda: rigid(sitk.Euler3DTransform),
    "versor": lambda: rigid(sitk.VersorRigid3DTransform),
    "similarity": lambda: rigid(sitk.Similarity3DTransform),
    "translation": lambda: sitk.TranslationTransform(3, (3.0, 4.0, 5.0)),
    "composite": lambda: sitk.CompositeTransform([affine(), rigid(sitk.Euler3DTransform)]),
}


# ITK writes no composite to MATLAB's format.
@pytest.mark.parametrize(
    ("name", "ending"),
    [(name, ending) for name in TRANSFORMS for ending in (".tfm", ".txt", ".mat")[: 2 if name == "composite" else 3]],
)
def test_a_file_of_itk_is_read_as_itk_reads_it(tmp_path, name, ending):
    transform, path = TRANSFORMS[name](), tmp_path / f"x{ending}"
    sitk.WriteTransform(transform, str(path))
    read = sitk.ReadTransform(str(path))
    matrix = read_transform(path).matrix
    for point in POINTS[:4]:
        np.testing.assert_allclose(move(matrix, point[None])[0], as_sitk_moves(read, point), atol=1e-4)


def ants_mat(path, matrix_lps, shift, centre):
    """`0GenericAffine.mat`: two matrices of MATLAB's version 4, as ANTs' documentation shows them."""
    with path.open("wb") as stream:
        for name, values in (
            ("AffineTransform_double_3_3", [*np.ravel(matrix_lps), *shift]),
            ("fixed", centre),
        ):
            stream.write(struct.pack("<5i", 0, len(values), 1, 0, len(name) + 1) + name.encode() + b"\0")
            stream.write(struct.pack(f"<{len(values)}d", *values))


def test_a_file_of_ants_is_read_with_its_centre(tmp_path):
    linear, shift, centre = turn((5, 10, 15)), np.array([1.0, 2.0, 3.0]), np.array([20.0, -30.0, 40.0])
    ants_mat(tmp_path / "x_0GenericAffine.mat", linear, shift, centre)
    matrix = read_transform(tmp_path / "x_0GenericAffine.mat").matrix
    point = np.array([11.0, 12.0, 13.0])
    lps = point * (-1, -1, 1)
    expected = (linear @ (lps - centre) + centre + shift) * (-1, -1, 1)
    np.testing.assert_allclose(move(matrix, point[None])[0], expected, atol=1e-9)


def test_our_own_transforms_are_read(tmp_path):
    matrix = about((10, -20, 30), turn((10, 20, 30)), (5, 6, 7))
    (tmp_path / "x.tfm").write_text(to_itk_text(matrix))
    np.testing.assert_allclose(read_transform(tmp_path / "x.tfm").matrix, matrix, atol=1e-9)


HEAD = "#Insight Transform File V1.0\n#Transform 0\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.h5", b"", r"end in \.tfm, \.txt, \.mat"),
        ("x.tfm", b"1 0 0 0\n0 1 0 0\n", "does not begin with '#Insight"),
        ("x.tfm", b"\xff\xfe\0", "cannot be read as a linear transform"),
        ("x.tfm", HEAD.encode(), "it holds 0 transforms"),
        ("x.tfm", (HEAD + "Transform: AffineTransform_double_2_2\nParameters: 1\n").encode(), "three dimensions"),
        ("x.tfm", (HEAD + "Transform: BSplineTransform_double_3_3\nParameters: 1\n").encode(), "is not linear"),
        ("x.tfm", (HEAD + "Transform: AffineTransform_double_3_3\nParameters: 1 2\n").encode(), "has 12 parameters"),
        ("x.tfm", (HEAD + "Transform: AffineTransform_double_3_3\nParameters: a\n").encode(), "could not convert"),
        (
            "x.tfm",
            (HEAD + "Transform: AffineTransform_double_3_3\nParameters: " + "0 " * 12 + "\n").encode(),
            "Singular|no way back",
        ),
        (
            "x.tfm",
            (HEAD + "Transform: AffineTransform_double_3_3\nParameters: " + "nan " * 12 + "\n").encode(),
            "not finite",
        ),
        ("x.mat", b"nonsense", "cannot be read as a linear transform"),
        ("x.mat", b"MATLAB 5.0 MAT-file" + bytes(200), "later version than 4"),
        ("x.mat", struct.pack("<5i", 0, 2**30, 2**20, 0, 6) + b"fixed\0", "cannot be read as a linear transform"),
        ("x.tfm", b"#" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_what_is_no_linear_transform_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_transform(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="No such file"):
        read_transform(tmp_path / "x.tfm")


def test_options_name_transforms():
    options = Options(transforms=("t1-to-t1ce=a=b.mat", "t1c-to-brats=c.tfm"))
    assert transform_files(options.transforms) == [
        (Sequence.T1, Sequence.T1CE, Path("a=b.mat")),
        (Sequence.T1CE, "brats", Path("c.tfm")),
    ]
    assert options.files == (Path("a=b.mat"), Path("c.tfm"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("t1=a.mat",), "is written as t1-to-t1ce=FILE"),
        (("t1-to-t1ce=",), "is written as t1-to-t1ce=FILE"),
        (("t1-to-t1w=a.mat",), "from one sequence to another"),
        (("t1-to-t1ce=a.mat", "t1-to-t2=b.mat"), "Two transforms of t1"),
        (("t1-to-sri24=a.mat",), "sri24"),
    ],
)
def test_transforms_that_say_nothing_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        Options(transforms=values)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.ones((4, 4))])
def test_a_matrix_without_a_way_back_is_no_transform(matrix):
    with pytest.raises(GeometryError, match="linear map"):
        Transform("brats", matrix)


T1, T1CE, T2, FLAIR = Sequence.T1, Sequence.T1CE, Sequence.T2, Sequence.FLAIR
A, B, C = (
    about((0, 0, 0), turn(angles), shift)
    for angles, shift in (((5, 0, 0), (1, 2, 3)), ((0, 9, 0), (4, 0, 0)), ((0, 0, 7), (0, 0, 9)))
)


def small_examination():
    volume = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    grid = Geometry((3, 3, 3), np.eye(4))
    return Examination("case", {sequence: Scan(volume, grid, sequence.value) for sequence in Sequence})


def known(transforms, skip=()):
    settings = PreparationSettings(frozenset(skip), registration=GivenTransforms(transforms))
    return place._known(small_examination(), T1CE, settings)


def test_transforms_are_followed_to_the_reference_and_to_the_template():
    found = known(
        {T1: Transform(T1CE, A, "a.mat"), T1CE: Transform(T2, B, "b.mat"), T2: Transform("brats", C, "c.mat")}
    )
    # Each leads from its target's world to the sequence's.
    np.testing.assert_allclose(found.to_reference, B @ C, atol=1e-12)
    np.testing.assert_allclose(found.between[T1], A)
    np.testing.assert_allclose(found.between[T2], inverse(B), atol=1e-12)
    assert FLAIR not in found.between
    assert found.made_by == {T1: "a.mat", T1CE: "b.mat", T2: "c.mat"}


def test_sequences_that_meet_in_the_template_are_known_to_each_other():
    found = known({T1: Transform("brats", A), T1CE: Transform("brats", B)})
    np.testing.assert_allclose(found.between[T1] @ found.to_reference, A, atol=1e-12)
    np.testing.assert_allclose(found.to_reference, B)


def test_patients_keep_their_size_on_the_way_from_mni152():
    found = known({T1CE: Transform("mni152", inverse(FRAME_TO_MNI) @ A)})
    np.testing.assert_allclose(stretches(found.to_reference), 1)
    # Without a stretch on the way there is nothing to lose.
    np.testing.assert_allclose(known({T1CE: Transform("mni152", A @ inverse(FRAME_TO_MNI))}).to_reference, A, atol=1e-6)


@pytest.mark.parametrize(
    ("transforms", "skip", "message"),
    [
        ({T1: Transform("brats", A)}, (), "lead neither to t1ce"),
        ({T1: Transform(T2, A)}, (), "lead neither to t1ce"),
        ({T1: Transform(T1CE, A), T1CE: Transform(T1, B)}, (), "in a circle"),
        ({T1CE: Transform("brats", A)}, ("frame",), "--skip frame"),
        ({T1: Transform(T1CE, A)}, ("coregister",), "--skip coregister"),
    ],
)
def test_transforms_that_do_not_go_together_are_refused(transforms, skip, message):
    with pytest.raises(UsageError, match=message):
        known(transforms, skip)


def test_a_transform_of_a_scan_that_is_not_there_is_refused_whoever_gives_it():
    settings = PreparationSettings(registration=GivenTransforms({T1: Transform(T1CE, A)}))
    with pytest.raises(UsageError, match="transform of t1, and no such scan"):
        place._known(Examination("case", {T1CE: small_examination().scans[T1CE]}), T1CE, settings)


def test_sequences_may_be_named_by_their_values():
    given = known({"t1": Transform("t1ce", A), "t1ce": Transform("t2", B)})
    assert {type(sequence) for sequence in (*given.between, *given.made_by)} == {Sequence}
    np.testing.assert_allclose(given.between[T2], inverse(B), atol=1e-12)


@pytest.mark.parametrize("target", ["MNI152", "t1gd", ""])
def test_a_transform_into_what_does_not_exist_is_refused(target):
    with pytest.raises(UsageError, match="leads into one of flair, t1, t1ce, t2, brats, mni152; found"):
        Transform(target, A)


@pytest.fixture(scope="module")
def two_scans():
    """A thing with structure and what another scanner makes of it after a movement: fixed image, scan, movement."""
    truth = about((0, 0, 0), turn((12, -9, 14)), (9, -8, 10))
    volume, grid = lumps()
    world = move(inverse(truth), move(grid.affine, np.argwhere(np.ones(grid.shape, bool)).astype(float)))
    moved = (200 - field(world)).reshape(grid.shape)
    brain = POINTS[np.linalg.norm(POINTS / (60, 75, 55), axis=1) < 1]
    return near_brain(Scan(volume, grid, "t1ce"), brain), Scan(moved, grid, "t1"), brain, truth


def test_a_right_transform_is_believed(two_scans):
    fixed, other, brain, truth = two_scans
    assert measure_given(fixed, other, brain, truth).gain > 1.15


def test_a_transform_that_leads_the_other_way_is_told(two_scans):
    fixed, other, brain, truth = two_scans
    with pytest.raises(QualityError, match="leads the other way"):
        measure_given(fixed, other, brain, inverse(truth))


def test_a_wrong_transform_is_refused(two_scans):
    fixed, other, brain, truth = two_scans
    with pytest.raises(QualityError, match="the images share|lies outside"):
        measure_given(fixed, other, brain, about((0, 0, 0), turn((0, 40, 0)), (30, 0, 0)) @ truth)


def test_a_transform_that_does_not_bring_the_head_into_the_templates_brain_is_refused():
    pytest.importorskip("nilearn")
    here = Alignment(np.eye(4), 0.4, 1.4, 1.0, 0.0, (1.0, 1.0, 1.0))
    step = place._given_frame("case", T1CE, about((0, 0, 0), np.eye(3), (0, 10, 0)), "x.mat", here)
    assert step.measured["from_template_mm"] == 10
    with pytest.raises(QualityError, match=r"\(x.mat\) does not bring the head into the template's brain: it lies 80"):
        place._given_frame("case", T1CE, about((0, 0, 0), np.eye(3), (0, 0, 80)), "x.mat", here)


def test_a_brain_mask_that_comes_to_lie_elsewhere_is_refused():
    atlas = load_atlas()
    i, j, k = np.rint(move(inverse(BRATS_FRAME.affine), atlas.brain_points)).astype(int).T
    low = k >= 0
    mask = np.zeros(BRATS_FRAME.shape, bool)
    mask[i[low].min() : i[low].max(), j[low].min() : j[low].max(), k[low].min() : k[low].max()] = True
    given = place.Placed(np.eye(4), {T1CE: np.eye(4)}, {T1CE: "x.mat"}, None, given=True)
    place.refuse_misplaced("case", given, mask)
    with pytest.raises(QualityError, match="overlap by 0"):
        place.refuse_misplaced("case", given, np.roll(mask, 100, axis=1))
