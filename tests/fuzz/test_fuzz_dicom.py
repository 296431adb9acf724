"""Damaged and hostile DICOM files: a documented exit code, one message without a name, and nothing left behind.

Seeds are made by code.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_series import write_enhanced, write_series
from harness import damage, damaged, fuzz, holds, temporary
from hypothesis import example, given
from hypothesis import strategies as st

from gliomask.geometry import Geometry

pytest.importorskip("highdicom")

SHAPE = (6, 5, 4)
GRID = Geometry(SHAPE, np.diag([-1.0, -1.0, 2.0, 1.0]))
KEYWORDS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "SpecificCharacterSet", "SeriesDescription", "ImageType",
    "ScanningSequence", "RepetitionTime", "EchoTime", "InversionTime", "SliceThickness", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "SeriesNumber", "InstanceNumber", "Modality",
    "ContrastBolusAgent", "RescaleSlope", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDescription",
    "ReferringPhysicianName", "Manufacturer", "ImagesInAcquisition",
)  # fmt: skip
FUZZ = fuzz(30)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Whole series: classic, enhanced, deflated and compressed ones; the contents of their files."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

    volume = np.arange(120).reshape(SHAPE) * 7 % 101
    place = tmp_path_factory.mktemp("seeds")

    def deflated(dataset, k):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    write_series(place / "classic", volume, GRID)
    write_series(place / "deflated", volume, GRID, change=deflated)
    write_series(
        place / "rle",
        volume,
        GRID,
        change=lambda dataset, k: dataset.compress(RLELossless, generate_instance_uid=False),
    )
    write_enhanced(place / "enhanced" / "one.dcm", volume, GRID)
    return [[path.read_bytes() for path in sorted(folder.iterdir())] for folder in sorted(place.iterdir())]


@given(st.integers(0, 3), st.integers(0, 3), st.lists(damage(), min_size=1, max_size=4))
@example(0, 0, [("end", 0.0, b"x")])
@FUZZ
def test_damaged_files_are_read_or_refused(seeds, temporary, kind, which, changes):
    files = list(seeds[kind])
    files[which % len(files)] = damaged(files[which % len(files)], changes)
    with tempfile.TemporaryDirectory(dir=temporary.parent) as folder:
        place = Path(folder) / "ward"
        place.mkdir()
        for number, content in enumerate(files):
            (place / f"{number}.dcm").write_bytes(content)
        holds(temporary, "dicom", "inspect", place, "--json")
        before = sorted(path.name for path in place.iterdir())
        code = holds(temporary, "dicom", "convert", place, "-o", Path(folder) / "out")
        assert (Path(folder) / "out").exists() == (code == 0)
        assert sorted(path.name for path in place.iterdir()) == before


@given(
    st.binary(max_size=300),
    st.sampled_from(
        (b"", b"\0" * 128 + b"DICM", b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", b"\x08\x00\x16\x00\x04\0\0\x001.2\0")
    ),
)
@FUZZ
def test_bytes_that_are_no_image_are_refused(temporary, content, start):
    with tempfile.TemporaryDirectory(dir=temporary.parent) as folder:
        (Path(folder) / "one.dcm").write_bytes(start + content)
        assert holds(temporary, "dicom", "inspect", folder) == 3


def with_element(content: bytes, keyword: str, value: bytes) -> bytes:
    """A file in explicit little endian with an element put in by its bytes, as nothing that checks would write it."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag, vr = tag_for_keyword(keyword), dictionary_VR(tag_for_keyword(keyword)).encode()
    element = (
        (tag >> 16).to_bytes(2, "little")
        + (tag & 0xFFFF).to_bytes(2, "little")
        + vr
        + len(value).to_bytes(2, "little")
        + value
    )
    at = 132
    while at < len(content):
        group, number = (int.from_bytes(content[at + n : at + n + 2], "little") for n in (0, 2))
        long = content[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        length = int.from_bytes(content[at + 8 : at + 12] if long else content[at + 6 : at + 8], "little")
        end = at + (12 if long else 8) + length
        if (group << 16 | number) >= tag:
            return content[:at] + element + content[end if (group << 16 | number) == tag else at :]
        at = end
    return content + element


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KEYWORDS),
            st.one_of(
                st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.just(b"\x1b[2J"), st.just(b"9" * 400)
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
@example([("SpecificCharacterSet", b"\\ISO 2022 IR 87 ")])
@example([("PatientSex", b"0000")])
@example([("StudyDate", b"\\\\\\")])
@FUZZ
def test_any_value_in_a_header_is_exported_or_refused(temporary, values):
    volume = np.arange(120).reshape(SHAPE)
    with tempfile.TemporaryDirectory(dir=temporary.parent) as folder:
        place = write_series(Path(folder) / "s", volume, GRID)
        for path in place.iterdir():
            content = path.read_bytes()
            for keyword, value in values:
                content = with_element(content, keyword, value)
            path.write_bytes(content)
        labels = np.zeros(SHAPE, np.uint8)
        labels[1:3, 1:3, 1:3] = 4
        nib.save(nib.Nifti1Image(labels, GRID.affine), Path(folder) / "l.nii.gz")
        code = holds(
            temporary, "dicom", "export", Path(folder) / "l.nii.gz", "--series", place, "-o", Path(folder) / "out"
        )
        assert (Path(folder) / "out").exists() == (code == 0)
        if code == 0:
            for kind in ("seg", "rtstruct", "sr"):
                assert pydicom.dcmread(Path(folder) / "out" / f"l_{kind}.dcm").Modality in ("SEG", "RTSTRUCT", "SR")
