"""Real series made to trip converters, and a real examination written as DICOM: read rightly or refused by name."""

from __future__ import annotations

import tarfile

import nibabel as nib
import numpy as np
import pytest
from dicom_series import write_series

from gliomask.errors import CaseError, GeometryError, GliomaskError
from gliomask.geometry import Geometry
from gliomask.io.dicom.decoder import decode
from gliomask.io.dicom.read import read_examination, read_scan
from gliomask.io.dicom.survey import survey
from gliomask.sequences import Sequence

pytestmark = pytest.mark.data

PLACE = "dicom2nifti/tests/data/"


@pytest.fixture
def unpacked(shared_data, tmp_path):
    """Unpacks the members of an archive whose names start so."""

    def unpack(archive, start):
        path = shared_data / "awkward" / f"{archive}.tar.xz"
        if not path.exists():
            pytest.skip(f"needs {path}")
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path, [member for member in tar.getmembers() if member.name.startswith(start)], filter="data")
        return tmp_path / start

    return unpack


def test_five_ways_of_compression_give_the_voxels_of_the_uncompressed_series(unpacked):
    folder = unpacked("dicom2nifti", PLACE + "generic")
    scans = [read_scan(survey(folder / kind / "001").series[0]) for kind in ("anatomical", "compressed_jpeg", "compressed_jpegls", "compressed_rle")]
    assert scans[0].geometry.shape == (256, 256, 4)
    for scan in scans[1:]:
        assert scan.geometry.same_grid(scans[0].geometry)
        np.testing.assert_array_equal(scan.volume, scans[0].volume)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gantrytilting/001", "modality CT|gantry tilt"),
        ("notavolume/001", "lie at one place"),
        ("slicecount/001", "2 slices"),
        ("sliceincrement/001", "10.00 mm between images 9 and 10"),
        ("sliceincrement/002", "missing or unevenly"),
        ("sliceorientation/001", "2 orientations"),
    ],
)
def test_failing_series_are_refused_by_name(unpacked, name, message):
    folder = unpacked("dicom2nifti", f"{PLACE}failing/{name}")
    series = survey(folder).series
    assert len(series) == 1
    with pytest.raises(GeometryError, match=message) as caught:
        raise series[0].problem
    assert isinstance(caught.value, GliomaskError)
    with pytest.raises(CaseError):
        read_examination(folder)


def test_nine_transfer_syntaxes_decode_to_the_same_pixels(unpacked):
    folder = unpacked("dcm_qa_ts", "dcm_qa_ts/In")
    series = survey(folder).series[0]
    assert len(series.frames) == 9
    syntaxes, frames = set(), []
    for frame in series.frames:
        alone = folder.parent / frame.path.stem
        alone.mkdir()
        copy = alone / frame.path.name
        copy.write_bytes(frame.path.read_bytes())
        syntaxes.add(survey(alone).series[0].tags.transfer_syntax)
        frames.append(decode([(str(copy), 0)], frame.shape, survey(alone).series[0].tags.transfer_syntax, frame.path.name))
    assert len(syntaxes) >= 7
    assert frames[0].max() > 100
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])
    with pytest.raises(CaseError, match="mosaic"):
        read_scan(series)


def test_a_real_examination_survives_dicom(shared_data, tmp_path):
    path = shared_data / "native" / "TCGA-FG-6692" / "native_with_skull" / "TCGA-FG-6692_native_flair.nii.gz"
    if not path.exists():
        pytest.skip(f"needs {path}")
    image = nib.load(path)
    volume = np.clip(np.rint(np.asarray(image.dataobj)), 0, 65535)
    affine = image.affine
    if np.linalg.det(affine) < 0:
        # Slices ascend along the normal of their rows and columns, so a left-handed grid comes back with its rows reversed.
        affine, volume = affine @ np.diag([-1, 1, 1, 1]) + np.outer(affine[:, 0] * (volume.shape[0] - 1), [0, 0, 0, 1]), volume[::-1]
    geometry = Geometry(volume.shape, affine)
    scan = read_examination(write_series(tmp_path / "s", volume, geometry, "flair", 2)).scans[Sequence.FLAIR]
    assert scan.geometry.same_grid(geometry)
    np.testing.assert_array_equal(scan.volume, volume)
