"""Whatever scans come in, the same patient gives the same label map; what is no patient is refused in words, before a
scan is read.
"""

import io
import zipfile

import nibabel as nib
import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from dicom_series import write_series

import gliomask
from gliomask.case import Case
from gliomask.errors import GeometryError, GliomaskError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.segmentation.source import CaseSource, FileSource, MemorySource, open_source
from gliomask.sequences import PAPER_ORDER


class Stop(Exception):
    """Raised to stop a reading."""


@pytest.fixture
def case():
    """A tiny patient in whole numbers, as DICOM stores them."""
    tiny = make_tiny_case()
    return Case("tiny", {sequence: np.round(volume) for sequence, volume in tiny.volumes.items()}, tiny.geometry)


@pytest.fixture
def folder(case, tmp_path):
    return write_brats_case(tmp_path / "cases", case)


@pytest.fixture
def dicom(case, tmp_path):
    place = tmp_path / "examination"
    for number, sequence in enumerate(PAPER_ORDER, start=1):
        write_series(
            place / sequence.value, case.volumes[sequence].astype(np.int64), case.geometry, sequence.value, number
        )
    return place


def zip_of(place):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(place.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(place).as_posix())
    return stream.getvalue()


def as_files(folder):
    return {sequence.value: folder / f"tiny_{sequence.value}.nii.gz" for sequence in PAPER_ORDER}


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (FileSource, lambda folder, case: folder),
        (FileSource, lambda folder, case: str(folder)),
        (FileSource, lambda folder, case: as_files(folder)),
        (
            FileSource,
            lambda folder, case: {
                "T1w": str(as_files(folder)["t1"]),
                **{name: as_files(folder)[name] for name in ("flair", "t1ce", "t2")},
            },
        ),
        (MemorySource, lambda folder, case: {name: nib.load(path) for name, path in as_files(folder).items()}),
        (
            MemorySource,
            lambda folder, case: Examination(
                "x", {one: Scan(case.volumes[one], case.geometry, one.value) for one in PAPER_ORDER}
            ),
        ),
        (CaseSource, lambda folder, case: case),
    ],
)
def test_files_images_and_values_give_the_same(fake_model, folder, case, kind, make):
    given = make(folder, case)
    assert isinstance(open_source(given), kind)
    found = gliomask.segment(given, raw="never")
    np.testing.assert_array_equal(found.label_map, gliomask.segment(case, raw="never").label_map)
    assert found.geometry.same_grid(case.geometry)
    assert found.label_map.any()


def test_arrays_with_their_affine_give_the_same(fake_model, case):
    found = gliomask.segment(
        {one.value: case.volumes[one] for one in PAPER_ORDER}, affine=case.geometry.affine, raw="never"
    )
    np.testing.assert_array_equal(found.label_map, gliomask.segment(case, raw="never").label_map)


@pytest.mark.parametrize("way", ["folder", "zip", "bytes", "files", "streams"])
def test_dicom_from_anywhere_gives_the_same(fake_model, case, dicom, tmp_path, way):
    paths = sorted(path for path in dicom.rglob("*") if path.is_file())
    if way == "zip":
        (tmp_path / "examination.zip").write_bytes(zip_of(dicom))
    given = {
        "folder": dicom,
        "zip": tmp_path / "examination.zip",
        "bytes": zip_of(dicom),
        "files": paths,
        "streams": [io.BytesIO(path.read_bytes()) for path in paths],
    }[way]
    before = sorted(tmp_path.rglob("*"))
    found = gliomask.segment(given, raw="never")
    expected = gliomask.segment(case, raw="never")
    turn = found.geometry.reorientation_from(expected.geometry)
    np.testing.assert_array_equal(found.label_map, turn.apply(expected.label_map))
    assert found.scans.dicom, "which series were taken, and why"
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (np.ones((3, 3, 3)), {}, "says not which sequence"),
        (nib.Nifti1Image(np.ones((3, 3, 3)), np.eye(4)), {}, "says not which sequence"),
        (["a_flair.nii.gz", "a_t1.nii.gz"], {}, "says not which sequence is which"),
        ([np.ones(3)], {}, "taken for DICOM"),
        ([], {}, "taken for DICOM"),
        (7, {}, "A int cannot be segmented"),
        (None, {}, "A NoneType cannot be segmented"),
        ({"flair": "a.nii.gz", "t1": np.ones((3, 3, 3))}, {}, "not several kinds"),
        ({"flair": nib.Nifti1Image(np.ones((3, 3, 3)), np.eye(4)), "t1": np.ones((3, 3, 3))}, {}, "not several kinds"),
        ({"flair": "a.nii.gz"}, {"affine": np.eye(4)}, "affine with arrays only"),
        ({"flair": np.array(["x"])}, {}, "no array of real numbers"),
        ({"flair": np.ones((3, 3, 3)), "FLAIR": np.ones((3, 3, 3))}, {}, "Two arrays stand for one sequence"),
        ({"pet": np.ones((3, 3, 3))}, {}, "pet"),
        (make_tiny_case(), {"without": ["t1"]}, "A Case says itself"),
        (make_tiny_case(), {"affine": np.eye(4)}, "affine is given with arrays only"),
        (make_tiny_case(), {"series": {"t1": 4}}, "Series are named with DICOM files only"),
    ],
)
def test_what_is_no_patient_is_refused_in_words(given, more, message):
    with pytest.raises(UsageError, match=message):
        open_source(given, **more)


def test_a_place_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(GliomaskError, match="nothing_here"):
        open_source(tmp_path / "nothing_here")


def test_images_on_several_grids_are_no_prepared_case(fake_model, folder):
    images = {name: nib.load(path) for name, path in as_files(folder).items()}
    images["t2"] = nib.Nifti1Image(images["t2"].get_fdata(dtype=np.float32), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(GeometryError, match="different grids"):
        gliomask.segment(images, raw="never")


@pytest.mark.parametrize("way", ["files", "dicom", "memory"])
def test_who_wants_to_refuse_is_asked_before_a_scan_is_read(folder, dicom, case, monkeypatch, way):
    def fail(*arguments, **more):
        raise AssertionError("a scan was read")

    monkeypatch.setattr("gliomask.segmentation.source.read_begun", fail)
    monkeypatch.setattr("gliomask.io.dicom.read.read_scan", fail)
    monkeypatch.setattr("gliomask.segmentation.source.of_examination", fail)

    def refuse(name):
        names.append(name)
        raise Stop

    names = []
    source = open_source(
        {
            "files": folder,
            "dicom": dicom,
            "memory": {one.value: nib.load(as_files(folder)[one.value]) for one in PAPER_ORDER},
        }[way]
    )
    with pytest.raises(Stop):
        source.read(refuse)
    assert names == [{"files": "tiny", "dicom": "examination", "memory": "array"}[way]]


def test_sources_say_what_they_are_without_their_voxels(folder, dicom, case):
    assert "flair" in open_source(folder).describe()
    for given in (folder, dicom, case, {one.value: nib.load(as_files(folder)[one.value]) for one in PAPER_ORDER}):
        assert "array(" not in repr(open_source(given))
        assert "array(" not in repr(open_source(given).read())


def test_hashes_without_reading_are_those_of_what_is_read(folder, dicom):
    for place in (folder, dicom):
        source = open_source(place)
        assert source.hashes() == dict(source.read().hashes)
        assert source.hashes()


def test_a_mapping_of_paths_is_called_what_its_files_share(folder):
    files = {sequence.value: folder / f"tiny_{sequence.value}.nii.gz" for sequence in PAPER_ORDER}
    assert open_source(files).name == "tiny"
    for name, path in files.items():
        path.rename(folder / f"{name}.nii.gz")
    assert open_source({name: folder / f"{name}.nii.gz" for name in files}).name == "array"


def test_two_words_for_the_model_that_differ_are_refused():
    with pytest.raises(UsageError, match="'network' is another word for 'model'"):
        gliomask.segment({}, network="sparse", model="dense")


def test_numbers_that_are_not_real_are_called_what_they_are():
    with pytest.raises(UsageError, match="flair: a ndarray of complex128 is no array of real numbers"):
        open_source({name: np.zeros((4, 4, 4), complex) for name in ("flair", "t1", "t1ce", "t2")})
