"""Damaged and hostile NIfTI files: read as nibabel reads them or refused, a documented exit code, one message, nothing
left behind. Seeds are made by code.
"""

from __future__ import annotations

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from harness import damage, damaged, fuzz, holds, refusal, temporary
from hypothesis import example, given
from hypothesis import strategies as st

from gliomask.errors import InputError, LimitError
from gliomask.io.nifti import read_volume

SHAPE = (5, 4, 6)
HEADER_BYTES = 352


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """NIfTI-1 and 2, of several types of numbers, not packed."""
    folder, values = tmp_path_factory.mktemp("seeds"), np.arange(120).reshape(SHAPE)
    made = []
    for number, (kind, dtype) in enumerate(
        (
            (nib.Nifti1Image, np.int16),
            (nib.Nifti1Image, np.float32),
            (nib.Nifti2Image, np.uint8),
            (nib.Nifti1Image, ">i2"),
        )
    ):
        image = kind(
            values.astype(dtype),
            np.diag([-1.0, -1, 1, 1]),
            kind.header_class(endianness=">" if dtype == ">i2" else "<"),
        )
        image.set_data_dtype(dtype)
        nib.save(image, folder / f"{number}.nii")
        made.append((folder / f"{number}.nii").read_bytes())
    return made


def read_or_refused(path) -> None:
    """What is read is finite in its place, and is what nibabel reads."""
    message = refusal(read_volume, path, (InputError, LimitError))
    if message:
        assert path.name in message
        return
    found = read_volume(path)
    assert np.isfinite(found.geometry.affine).all()
    values = np.squeeze(np.asanyarray(nib.load(path).dataobj))
    np.testing.assert_array_equal(found.values, values.reshape(found.values.shape).astype(np.float32))


@given(st.integers(0, 3), st.lists(damage(), min_size=1, max_size=3), st.booleans())
@example(0, [("end", 0.0, b"x")], True)
@fuzz(250)
def test_damaged_files_are_read_or_refused(seeds, tmp_path, kind, changes, packed):
    content = damaged(seeds[kind], changes)
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    read_or_refused(path)


@given(st.integers(0, 3), st.integers(0, HEADER_BYTES - 8), st.binary(min_size=1, max_size=8))
@example(0, 42, b"\xff\x7f\xff\x7f\xff\x7f")  # dim: 35 thousand billion voxels
@example(0, 40, b"\x00\x80")  # a negative number of dimensions
@example(0, 108, b"\x00\x00\x80\xff")  # vox_offset: minus infinity
@example(0, 108, b"\x00\x00\xc0\x7f")  # vox_offset: NaN
@example(0, 112, b"\x00\x00\x80\x7f")  # scl_slope: infinite
@example(0, 254, b"\x06\x00")  # sform_code 6
@example(0, 344, b"n+1x")  # magic
@fuzz(250)
def test_headers_are_not_believed(seeds, tmp_path, kind, place, piece):
    content = bytearray(seeds[kind])
    content[place : place + len(piece)] = piece
    path = tmp_path / "x.nii"
    path.write_bytes(content)
    read_or_refused(path)


@given(st.lists(damage(), min_size=1, max_size=3))
@fuzz(200)
def test_damaged_gzip_streams_are_refused_or_harmless(seeds, tmp_path, changes):
    path = tmp_path / "x.nii.gz"
    path.write_bytes(damaged(gzip.compress(seeds[0], 1), changes))
    try:
        found = read_volume(path)
    except (InputError, LimitError):
        return
    (tmp_path / "whole.nii").write_bytes(seeds[0])
    np.testing.assert_array_equal(found.values, read_volume(tmp_path / "whole.nii").values)


@given(st.integers(0, HEADER_BYTES - 8), st.binary(min_size=1, max_size=8))
@fuzz(12)
def test_a_case_with_a_damaged_scan_is_segmented_or_leaves_nothing(tmp_path, temporary, fake_model, place, piece):
    shutil.rmtree(tmp_path / "cases", ignore_errors=True)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    path = write_brats_case(tmp_path / "cases", make_tiny_case("tiny"), suffix=".nii") / "tiny_t2.nii"
    content = bytearray(path.read_bytes())
    content[place : place + len(piece)] = piece
    path.write_bytes(content)
    code = holds(temporary, "segment", tmp_path / "cases", "-o", tmp_path / "out", "--no-preview", "--raw", "never")
    assert (tmp_path / "out" / "tiny_seg.nii.gz").exists() == (code == 0)
    assert not list(tmp_path.rglob("*.part"))
