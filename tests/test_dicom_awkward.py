"""Real series made to trip converters, and a real examination written as DICOM: read rightly or refused by name."""

from __future__ import annotations

import re
import tarfile

import nibabel as nib
import numpy as np
import pytest
from dicom_series import write_series

from gliomask.errors import CaseError, GeometryError
from gliomask.geometry import Geometry
from gliomask.io.dicom.decoder import _frames
from gliomask.io.dicom.headers import parse
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.read import read_examination, read_scan
from gliomask.io.dicom.survey import survey
from gliomask.sequences import Sequence

pytestmark = pytest.mark.data

PLACE = "dicom2nifti/tests/data/"


@pytest.fixture(scope="module")
def awkward(shared_data, tmp_path_factory):
    """A folder with the archives of awkward series unpacked, as far as they are needed here."""
    folder = tmp_path_factory.mktemp("awkward")
    for archive, starts in {
        "dicom2nifti": (f"{PLACE}generic/compressed", f"{PLACE}failing"),
        "dcm_qa_ts": ("dcm_qa_ts/In",),
    }.items():
        path = shared_data / "awkward" / f"{archive}.tar.xz"
        if not path.exists():
            pytest.skip(f"needs {path}")
        with tarfile.open(path) as tar:
            tar.extractall(
                folder, [member for member in tar.getmembers() if member.name.startswith(starts)], filter="data"
            )
    return folder


def test_ways_of_compression_give_the_same_voxels(awkward):
    series = [
        survey(awkward / PLACE / "generic" / kind / "001").series[0]
        for kind in ("compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle")
    ]
    assert len({one.tags.transfer_syntax for one in series}) == 4
    scans = [read_scan(one) for one in series]
    assert scans[0].geometry.shape == (256, 256, 4)
    for scan in scans[1:]:
        assert scan.geometry.same_grid(scans[0].geometry)
        np.testing.assert_array_equal(scan.volume, scans[0].volume)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gantrytilting/001", "gantry tilt"),
        ("notavolume/001", "lie at one place"),
        ("slicecount/001", "2 slices"),
        ("sliceincrement/001", "10.00 mm between images 9 and 10"),
        ("sliceincrement/002", "missing or unevenly"),
        ("sliceorientation/001", "2 orientations"),
    ],
)
def test_failing_series_are_refused_by_name(awkward, name, message):
    folder = awkward / PLACE / "failing" / name
    series = survey(folder).series
    assert len(series) == 1
    assert isinstance(series[0].problem, GeometryError)
    assert re.search(message, str(series[0].problem))
    with pytest.raises(CaseError):
        read_examination(folder)


def test_nine_transfer_syntaxes_decode_to_the_same_pixels(awkward):
    with quiet_pydicom():
        files = [parse(path, path.name) for path in sorted((awkward / "dcm_qa_ts" / "In").iterdir())]
    assert len(files) == 9
    assert len({file.tags.transfer_syntax for file in files}) >= 7
    # In this process: the child process is tested with the other series.
    frames = [next(_frames([(str(file.frames[0].path), 0)], file.frames[0].shape, "a frame")) for file in files]
    assert frames[0].max() > 100
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])
    with pytest.raises(CaseError, match="mosaic"):
        read_scan(survey(awkward / "dcm_qa_ts").series[0])


def test_a_real_examination_survives_dicom(shared_data, tmp_path):
    path = shared_data / "native" / "TCGA-FG-6692" / "native_with_skull" / "TCGA-FG-6692_native_flair.nii.gz"
    if not path.exists():
        pytest.skip(f"needs {path}")
    image = nib.load(path)
    volume = np.clip(np.rint(np.asarray(image.dataobj)), 0, 65535)
    affine = image.affine
    if np.linalg.det(affine) < 0:
        # Slices ascend along the normal of their rows and columns, so a left-handed grid comes back with its rows
        # reversed.
        affine, volume = (
            affine @ np.diag([-1, 1, 1, 1]) + np.outer(affine[:, 0] * (volume.shape[0] - 1), [0, 0, 0, 1]),
            volume[::-1],
        )
    geometry = Geometry(volume.shape, affine)
    scan = read_examination(write_series(tmp_path / "s", volume, geometry, "flair", 2)).scans[Sequence.FLAIR]
    assert scan.geometry.same_grid(geometry)
    np.testing.assert_array_equal(scan.volume, volume)
