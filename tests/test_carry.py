"""Images and masks carried between the spaces of a finished case."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case

from gliomask.carry import MNI_GRID, CaseSpaces, carry, read_face, read_spaces, read_transform
from gliomask.cli.main import run
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.geometry import Geometry
from gliomask.io.nifti import read_volume, write_volume
from gliomask.preprocess.raw.atlas import BRATS_FRAME, FRAME_TO_MNI
from gliomask.preprocess.raw.deface import face_in
from gliomask.preprocess.raw.transforms import about, to_itk_text, turn

pytest.importorskip("SimpleITK")

TO_SCAN = about([-120.0, 120.0, 80.0], turn([5.0, -8.0, 12.0]), [7.0, -4.0, 3.0])
GRID = Geometry((60, 70, 40), np.array([[0, 0, 3.0, -180.0], [2.5, 0, 0, 40.0], [0, 2.5, 0, 10.0], [0, 0, 0, 1]]))


@pytest.fixture
def spaces() -> CaseSpaces:
    return CaseSpaces(
        "p",
        {"brats": np.eye(4), "mni152": FRAME_TO_MNI, "t2": TO_SCAN},
        {"brats": BRATS_FRAME, "mni152": MNI_GRID, "t2": GRID},
    )


def test_a_transform_is_read_back_as_it_was_written(tmp_path):
    (tmp_path / "x.tfm").write_text(to_itk_text(TO_SCAN))
    np.testing.assert_allclose(read_transform(tmp_path / "x.tfm"), TO_SCAN, atol=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Parameters: 1 2 3\n",
        to_itk_text(np.eye(4)).replace("Affine", "Bspline"),
        to_itk_text(np.eye(4)).replace("1 0 0", "nan 0 0"),
    ],
)
def test_what_is_no_affine_transform_is_refused(tmp_path, text):
    (tmp_path / "x.tfm").write_text(text)
    with pytest.raises(FileFormatError, match="no affine transform"):
        read_transform(tmp_path / "x.tfm")
    (tmp_path / "x.tfm").write_text(to_itk_text(np.diag([0.0, 1, 1, 1])))
    with pytest.raises(FileFormatError, match="no way back"):
        read_transform(tmp_path / "x.tfm")


def test_there_and_back_is_where_it_was(spaces):
    for source in spaces.matrices:
        for target in spaces.matrices:
            np.testing.assert_allclose(
                spaces.matrix(source, target) @ spaces.matrix(target, source), np.eye(4), atol=1e-9
            )


def test_a_ramp_of_the_world_lands_where_the_transform_says(spaces):
    """An image whose value is its own first coordinate shows at each voxel of the target where that voxel came from."""
    indices = np.indices(GRID.shape).reshape(3, -1)
    world = GRID.affine[:3, :3] @ indices + GRID.affine[:3, 3:]
    ramp = world[0].reshape(GRID.shape).astype(np.float32)
    target = Geometry((10, 10, 10), np.array([[4.0, 0, 0, -140.0], [0, 4.0, 0, 90.0], [0, 0, 4.0, 55.0], [0, 0, 0, 1]]))
    matrix = spaces.matrix("t2", "brats")
    found = carry(ramp, GRID, target, matrix, labels=False)
    places = target.affine @ np.vstack([np.indices(target.shape).reshape(3, -1), np.ones(1000)])
    expected = (TO_SCAN @ places)[0].reshape(target.shape)
    inside = found != 0
    assert inside.sum() > 500
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)


def test_labels_stay_labels_and_images_are_not_taken_for_them(spaces):
    values = np.zeros(GRID.shape, np.float32)
    values[20:40, 20:45, 10:30] = 4
    values[28:32, 28:35, 15:22] = 7
    there = carry(values, GRID, BRATS_FRAME, spaces.matrix("t2", "brats"), labels=True)
    assert set(np.unique(there)) == {0, 4, 7}
    back = carry(there, BRATS_FRAME, GRID, spaces.matrix("brats", "t2"), labels=True)
    both = ((back == 4) & (values == 4)).sum()
    assert 2 * both / ((back == 4).sum() + (values == 4).sum()) > 0.97
    with pytest.raises(UsageError, match="few whole numbers"):
        carry(values + 0.5, GRID, GRID, np.eye(4), labels=True)


def test_a_space_that_a_case_lacks_is_said(spaces):
    with pytest.raises(UsageError, match="no space 'flair'. It has: brats, mni152, t2"):
        spaces.matrix("flair", "brats")
    with pytest.raises(CaseError, match="not where its run record says"):
        CaseSpaces("p", {"t2": TO_SCAN}, {}).grid("t2")


def test_the_command_carries_and_replaces_nothing(fake_model, tmp_path, capsys):
    write_brats_case(tmp_path / "in", make_tiny_case("a"))
    assert (
        run(["segment", str(tmp_path / "in" / "a"), "-o", str(tmp_path / "out"), "--raw", "never", "--no-preview"]) == 0
    )
    record = tmp_path / "out" / "a_run.json"
    with pytest.raises(UsageError, match="no face to take off"):
        read_face(record)
    with pytest.raises(UsageError, match="does not exist"):
        read_face(record.with_name("b_run.json"))
    label_map = tmp_path / "out" / "a_seg.nii.gz"
    base = ["transform", str(label_map), "--case", str(record), "--from", "t1ce", "--labels"]
    assert run([*base, "--to", "flair", "-o", str(tmp_path / "same.nii.gz")]) == 0
    np.testing.assert_array_equal(read_volume(tmp_path / "same.nii.gz").values, read_volume(label_map).values)
    assert run([*base, "--to", "mni152", "-o", str(tmp_path / "mni.nii.gz")]) == 0
    assert read_volume(tmp_path / "mni.nii.gz").geometry.same_grid(MNI_GRID)
    assert run([*base, "--to", "flair", "-o", str(tmp_path / "same.nii.gz")]) == 2
    assert run([*base, "--to", "flair", "-o", str(label_map), "--overwrite"]) == 2
    assert "is an input" in capsys.readouterr().err
    assert (
        run(
            [
                "transform",
                str(label_map),
                "--case",
                str(tmp_path / "none.json"),
                "--from",
                "t1",
                "--to",
                "t2",
                "-o",
                str(tmp_path / "x.nii.gz"),
            ]
        )
        == 2
    )


def test_the_spaces_of_a_raw_case_are_read_from_its_results(fake_model, tmp_path):
    write_brats_case(tmp_path / "in", make_tiny_case("a"))
    assert (
        run(["segment", str(tmp_path / "in" / "a"), "-o", str(tmp_path / "out"), "--raw", "never", "--no-preview"]) == 0
    )
    record = tmp_path / "out" / "a_run.json"
    values = json.loads(record.read_text())
    values["raw_route"] = {
        "reference": "t1ce",
        "mode": "auto",
        "skip": [],
        "brain_mask": None,
        "grids": {},
        "steps": [],
    }
    record.write_text(json.dumps(values))
    for name in ("flair", "t1", "t1ce", "t2"):
        (tmp_path / "out" / f"a_from-{name}_to-brats.tfm").write_text(to_itk_text(TO_SCAN))
    found = read_spaces(record)
    np.testing.assert_allclose(found.matrices["t2"], TO_SCAN, atol=1e-9)
    (tmp_path / "in" / "a" / "a_t2.nii.gz").unlink()
    assert "t2" not in read_spaces(record).grids
    write_volume(tmp_path / "out" / "a_space-t2_mask.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    assert read_spaces(record).grids["t2"].same_grid(GRID)
    check_that_deface_takes_off_what_lies_beyond_the_plane(record, tmp_path)


def check_that_deface_takes_off_what_lies_beyond_the_plane(record, folder):
    image, out = folder / "image.nii.gz", folder / "defaced.nii.gz"
    write_volume(image, np.random.default_rng(0).uniform(1, 9, GRID.shape).astype(np.float32), GRID)
    command = ["transform", str(image), "--deface", "--case", str(record), "--from", "t2", "--to", "t2"]
    assert run([*command, "-o", str(out)]) == 2
    brain = np.zeros(BRATS_FRAME.shape, np.uint8)
    brain[60:180, 60:200, 60:140] = 1
    write_volume(record.with_name("a_space-brats_mask.nii.gz"), brain, BRATS_FRAME)
    assert run([*command, "-o", str(out)]) == 0
    face = face_in(read_face(record), GRID, TO_SCAN)
    assert face.any()
    after, before = read_volume(out).values, read_volume(image).values
    np.testing.assert_array_equal(after[~face], before[~face])
    assert (after[face] == before.min()).all()
