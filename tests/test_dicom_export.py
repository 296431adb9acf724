"""Label maps written as DICOM objects and read back: voxel for voxel, in the frame of their source."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_series import FRAME, write_enhanced, write_series
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon
from test_dicom_read import SHAPE, oblique, with_value

from gliomask.cli.main import run
from gliomask.errors import UsageError
from gliomask.io.dicom.contours import polygons
from gliomask.io.dicom.export import Kinds, export
from gliomask.io.dicom.segmentation_object import name_creator
from gliomask.labels import convention

highdicom = pytest.importorskip("highdicom")

ON_DISK = np.array([0, 1, 2, 4], np.uint8)


@pytest.fixture
def labels(rng):
    """A lump with a ring in it, specks, and specks missing: holes, islands and corners that touch."""
    made = np.zeros(SHAPE, np.uint8)
    made[3:17, 4:20, 1:6], made[6:14, 7:17, 2:5], made[8:12, 9:15, 3:5] = 2, 3, 1
    made[rng.random(SHAPE) < 0.06] = 0
    made[2, 2, 3] = 3
    return made


@pytest.fixture
def series(tmp_path, rng):
    return write_series(tmp_path / "series", rng.integers(0, 900, SHAPE), oblique(), "t1ce", 5)


def exported(folder, labels, source, *words, affine=None):
    """Exports to `folder`/out and returns the exit code."""
    nib.save(nib.Nifti1Image(ON_DISK[labels], oblique().affine if affine is None else affine), folder / "tumour.nii.gz")
    return run(
        ["dicom", "export", str(folder / "tumour.nii.gz"), "--series", str(source), "-o", str(folder / "out"), *words]
    )


def segment_masks(path):
    """(I, J, K) boolean by segment number, placed by each frame's position alone, as an independent reader would."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.astype(bool)
    inverse = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ oblique().affine)
    masks = {number: np.zeros(SHAPE, bool) for number in (1, 2, 3)}
    for frame, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array([*map(float, groups.PlanePositionSequence[0].ImagePositionPatient), 1])
        index = inverse @ position
        np.testing.assert_allclose(index[:2], 0, atol=1e-3)
        masks[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber][:, :, round(index[2])] = frame.T
    return dataset, masks


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ("A. B.", "A. B.^"),
        ("Jürgen 山田", "Jürgen 山田^"),
        ("Doe^Jane=\\" + "x" * 80, "Doe Jane  " + "x" * 53 + "^"),
    ],
)
def test_objects_of_a_corrected_label_map_say_who_corrected_it(tmp_path, labels, series, who, name):
    nib.save(nib.Nifti1Image(ON_DISK[labels], oblique().affine), tmp_path / "tumour.nii.gz")
    kinds = Kinds(segmentation=True, structure_set=False, report=True)
    export(tmp_path / "tumour.nii.gz", tmp_path / "series", tmp_path, kinds, convention("brats2021"), corrected_by=who)
    segmentation, masks = segment_masks(tmp_path / "tumour_seg.dcm")
    np.testing.assert_array_equal(masks[3], labels == 3)
    assert str(segmentation.ContentCreatorName) == name
    assert {str(one.SegmentAlgorithmType) for one in segmentation.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert (segmentation.SeriesNumber, segmentation.SeriesDescription) == (
        9011,
        "gliomask segmentation, corrected by hand",
    )
    source = pydicom.dcmread(next((tmp_path / "series").iterdir()))
    assert str(segmentation.PatientName) == str(source.PatientName)
    report = pydicom.dcmread(tmp_path / "tumour_sr.dcm")
    people = [str(item.PersonName) for item in report.ContentSequence if "PersonName" in item]
    assert people == [name]
    assert str(report.PatientName) == str(source.PatientName)


@pytest.mark.parametrize("who", ["^=\\\\", " ^ "])
def test_a_name_without_a_letter_is_refused_never_empty(who):
    with pytest.raises(UsageError, match="named by no letter"):
        name_creator(pydicom.Dataset(), who)


def filled(dataset, number):
    """The voxels whose centres lie inside the contours of a region of interest."""
    inverse = np.linalg.inv(oblique().affine)
    columns, rows = np.meshgrid(range(SHAPE[0]), range(SHAPE[1]), indexing="ij")
    mask = np.zeros(SHAPE, bool)
    for contour in next(item for item in dataset.ROIContourSequence if item.ReferencedROINumber == number).get(
        "ContourSequence", []
    ):
        world = np.array(contour.ContourData, float).reshape(-1, 3) * (-1, -1, 1)
        index = world @ inverse[:3, :3].T + inverse[:3, 3]
        k = round(index[0, 2])
        np.testing.assert_allclose(index[:, 2], k, atol=1e-3)
        assert len(world) == contour.NumberOfContourPoints
        mask[:, :, k] |= fill(index[:, :2], columns, rows)
    return mask


def fill(points, columns, rows):
    closed = Polygon(np.vstack([points, points[:1]]))
    return closed.contains_points(np.column_stack([columns.ravel(), rows.ravel()])).reshape(columns.shape)


@pytest.mark.parametrize("enhanced", [False, True])
def test_segmentation_and_contours_give_the_label_map_back(tmp_path, labels, series, rng, enhanced):
    if enhanced:
        series = write_enhanced(
            tmp_path / "enhanced" / "one.dcm",
            rng.integers(0, 900, SHAPE),
            oblique(),
            "t1ce",
            5,
            order=[3, 1, 0, 2, 6, 5, 4],
        ).parent
    assert exported(tmp_path, labels, series, "--seg", "--rtstruct") == 0
    dataset, masks = segment_masks(tmp_path / "out" / "tumour_seg.dcm")
    structures = pydicom.dcmread(tmp_path / "out" / "tumour_rtstruct.dcm")
    for number in (1, 2, 3):
        np.testing.assert_array_equal(masks[number], labels == number)
        np.testing.assert_array_equal(filled(structures, number), labels == number)
    source = pydicom.dcmread(next(series.iterdir()))
    for written in (dataset, structures):
        assert written.PatientName == "SMITH^JANE"
        assert written.StudyInstanceUID == source.StudyInstanceUID
        assert "9" not in {f"{element.tag.group:x}" for element in written}
    assert dataset.FrameOfReferenceUID == structures.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == FRAME
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID


def test_codes_of_the_segments(tmp_path, labels, series):
    assert exported(tmp_path, labels, series, "--seg") == 0
    segments = pydicom.dcmread(tmp_path / "out" / "tumour_seg.dcm").SegmentSequence
    types = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    codes = [(code.CodeValue, code.CodingSchemeDesignator) for code in types]
    # CID 7168, Brain Lesion Segmentation Type With Necrosis.
    assert codes == [("6574001", "SCT"), ("79654002", "SCT"), ("C113842", "NCIt")]
    assert {segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue for segment in segments} == {"49755003"}


def test_every_contour_names_the_image_it_lies_on(tmp_path, labels, series):
    assert exported(tmp_path, labels, series, "--rtstruct") == 0
    positions = {}
    for path in series.iterdir():
        image = pydicom.dcmread(path)
        positions[image.SOPInstanceUID] = (
            np.array(image.ImagePositionPatient, float),
            np.array(image.ImageOrientationPatient, float),
        )
    structures = pydicom.dcmread(tmp_path / "out" / "tumour_rtstruct.dcm")
    contours = [contour for item in structures.ROIContourSequence for contour in item.ContourSequence]
    assert len(contours) >= 9
    for contour in contours:
        position, directions = positions[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        np.testing.assert_allclose((points - position) @ np.cross(directions[:3], directions[3:]), 0, atol=1e-3)


def test_the_report_gives_the_volumes_and_points_at_the_segments(tmp_path, labels, series):
    assert exported(tmp_path, labels, series, "--sr") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dicom_run.json",
        "tumour_seg.dcm",
        "tumour_sr.dcm",
    ]
    segmentation = pydicom.dcmread(tmp_path / "out" / "tumour_seg.dcm")
    report = highdicom.sr.srread(tmp_path / "out" / "tumour_sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    volumes = [group.get_measurements()[0].value for group in groups]
    np.testing.assert_allclose(
        volumes, [(labels == number).sum() * oblique().voxel_ml for number in (1, 2, 3)], atol=6e-4
    )
    assert [
        group.referenced_segmentation_sop_instance_uid
        if hasattr(group, "referenced_segmentation_sop_instance_uid")
        else None
        for group in groups
    ]
    assert segmentation.SOPInstanceUID in str(report)
    sums = [group.get_measurements()[0].value for group in report.content.get_image_measurement_groups()]
    np.testing.assert_allclose(
        sums, [(labels > 0).sum() * oblique().voxel_ml, np.isin(labels, (1, 3)).sum() * oblique().voxel_ml], atol=6e-4
    )
    assert "SMITH" not in (tmp_path / "out" / "dicom_run.json").read_text()


def test_an_empty_label_map_makes_empty_objects(tmp_path, series):
    assert exported(tmp_path, np.zeros(SHAPE, np.uint8), series) == 0
    _, masks = segment_masks(tmp_path / "out" / "tumour_seg.dcm")
    assert not any(mask.any() for mask in masks.values())
    assert "ContourSequence" not in pydicom.dcmread(tmp_path / "out" / "tumour_rtstruct.dcm").ROIContourSequence[0]


def test_a_label_map_with_its_axes_flipped_lies_in_the_same_grid(tmp_path, labels, series):
    flips = np.diag([-1.0, -1, 1, 1])
    flips[:2, 3] = SHAPE[0] - 1, SHAPE[1] - 1
    assert exported(tmp_path, labels[::-1, ::-1], series, "--seg", affine=oblique().affine @ flips) == 0
    _, masks = segment_masks(tmp_path / "out" / "tumour_seg.dcm")
    np.testing.assert_array_equal(masks[3], labels == 3)


def test_another_grid_is_refused(tmp_path, labels, series, capsys):
    assert exported(tmp_path, labels, series, affine=oblique((1.0, 0.8, 4.0)).affine) == 3
    assert "in the grid of no series here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_series_of_one_grid_need_a_number(tmp_path, labels, series, rng, capsys):
    write_series(series / "other", rng.integers(0, 900, SHAPE), oblique(), "t1", 6)
    assert exported(tmp_path, labels, series) == 3
    assert "--number 5" in capsys.readouterr().err
    assert exported(tmp_path, labels, series, "--number", "6", "--seg") == 0


def test_other_refusals(tmp_path, labels, rng, series):
    nowhere = write_series(
        tmp_path / "nowhere", rng.integers(0, 900, SHAPE), oblique(), change=with_value("FrameOfReferenceUID", "")
    )
    assert exported(tmp_path, labels, nowhere) == 3
    assert exported(tmp_path, labels, series, "--labels", "brats2023") == 3
    assert exported(tmp_path, labels, series) == 0
    before = (tmp_path / "out" / "tumour_seg.dcm").read_bytes()
    assert exported(tmp_path, labels, series) == 2
    assert (tmp_path / "out" / "tumour_seg.dcm").read_bytes() == before
    assert exported(tmp_path, labels, series, "--overwrite") == 0
    assert json.loads((tmp_path / "out" / "dicom_run.json").read_text())["command"] == "dicom export"


@given(arrays(bool, (7, 9)))
def test_polygons_fill_to_the_mask_they_were_drawn_from(mask):
    columns, rows = np.meshgrid(range(9), range(7))
    covered = np.zeros(mask.shape, int)
    for points in polygons(mask):
        assert len(points) >= 4
        covered += fill(points, columns, rows)
    np.testing.assert_array_equal(covered, mask.astype(int))


@given(st.integers(1, 4))
def test_a_ring_is_one_polygon_with_a_channel(width):
    mask = np.ones((12, 12), bool)
    mask[width : 12 - width, width : 12 - width] = False
    assert len(polygons(mask)) == 1


DATES = ("1950", "19500000", "17.03.1950", "1950-03-17")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(("PatientSex", value) for value in ("U", "W", "FEMALE", "0000", "m")),
        *(("PatientBirthDate", value) for value in DATES),
        ("StudyDate", "2020.13.45"),
        ("StudyTime", "noon"),
        ("PatientAge", "seventy"),
        ("PatientWeight", "72,5 kg"),
    ],
)
def test_a_value_that_is_not_valid_is_left_empty_and_said_without_the_value(
    tmp_path, labels, rng, capfd, keyword, value
):
    source = write_series(
        tmp_path / "s", rng.integers(0, 900, SHAPE), oblique(), "t1ce", 5, change=as_text(keyword, value)
    )
    assert exported(tmp_path, labels, source) == 0
    printed = "".join(capfd.readouterr())
    assert printed.count(keyword) == 1
    assert len(value) == 1 or value not in printed
    for kind in ("seg", "rtstruct", "sr"):
        written = pydicom.dcmread(tmp_path / "out" / f"tumour_{kind}.dcm")
        assert not written.get(keyword)
        assert (written.PatientID, written.PatientName) == ("4711", "SMITH^JANE")
    record = (tmp_path / "out" / "dicom_run.json").read_text()
    assert json.loads(record)["left_out"] == [keyword]
    assert len(value) == 1 or value not in record


def as_text(keyword, value):
    """Sets a value as a scanner's software would that checks nothing."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.tag import Tag

    def change(dataset, k):
        tag = Tag(tag_for_keyword(keyword))
        dataset.pop(tag, None)
        dataset._dict[tag] = RawDataElement(
            tag, dictionary_VR(tag), len(value), value.encode("latin-1"), 0, False, True
        )
        assert not isinstance(dataset._dict[tag], DataElement)

    return change


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东"),
        (["ISO_IR 100", "ISO_IR 144"], "Müller^Jörg"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["ISO 2022 IR 6", "ISO 2022 IR 100"], "Müller^Jörg"),
        ("", "Smith^Jane"),
    ],
)
def test_names_in_any_character_set_come_back(tmp_path, labels, rng, character_set, name):
    def change(dataset, k):
        dataset.SpecificCharacterSet, dataset.PatientName = character_set, name

    source = write_series(tmp_path / "s", rng.integers(0, 900, SHAPE), oblique(), "t1ce", 5, change=change)
    assert exported(tmp_path, labels, source) == 0
    for kind in ("seg", "rtstruct", "sr"):
        written = pydicom.dcmread(tmp_path / "out" / f"tumour_{kind}.dcm")
        assert str(written.PatientName) == str(pydicom.dcmread(next(source.iterdir())).PatientName)


def test_an_unknown_character_set_is_written_as_utf_8(tmp_path, labels, rng):
    source = write_series(
        tmp_path / "s", rng.integers(0, 900, SHAPE), oblique(), change=with_value("SpecificCharacterSet", "ISO_IR 192")
    )
    for path in source.iterdir():
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO_IR 999"))
    assert exported(tmp_path, labels, source) == 0
    written = pydicom.dcmread(tmp_path / "out" / "tumour_seg.dcm")
    assert (written.SpecificCharacterSet, written.PatientName) == ("ISO_IR 192", "SMITH^JANE")


def test_a_missing_thickness_is_the_distance_between_slices_and_said(tmp_path, labels, rng, capsys):
    source = write_series(
        tmp_path / "s",
        rng.integers(0, 900, SHAPE),
        oblique(),
        change=lambda dataset, k: delattr(dataset, "SliceThickness"),
    )
    assert exported(tmp_path, labels, source) == 0
    assert "SliceThickness is missing" in capsys.readouterr().out
    dataset, masks = segment_masks(tmp_path / "out" / "tumour_seg.dcm")
    assert float(dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == pytest.approx(
        4.0
    )
    np.testing.assert_array_equal(masks[1], labels == 1)


def test_a_series_without_a_study_is_refused_by_name(tmp_path, labels, rng, capsys):
    source = write_series(
        tmp_path / "s",
        rng.integers(0, 900, SHAPE),
        oblique(),
        change=lambda dataset, k: delattr(dataset, "StudyInstanceUID"),
    )
    assert exported(tmp_path, labels, source) == 3
    assert "has no StudyInstanceUID" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_measures_in_the_groups_of_each_frame_are_lifted(tmp_path, labels, rng):
    """As Siemens XA30 and Philips write enhanced objects."""
    path = write_enhanced(
        tmp_path / "enhanced" / "one.dcm",
        rng.integers(0, 900, SHAPE),
        oblique(),
        "t1ce",
        5,
        order=[3, 1, 0, 2, 6, 5, 4],
    )
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PixelMeasuresSequence, group.PlaneOrientationSequence = (
            shared.PixelMeasuresSequence,
            shared.PlaneOrientationSequence,
        )
    del shared.PixelMeasuresSequence, shared.PlaneOrientationSequence
    dataset.save_as(path)
    assert exported(tmp_path, labels, path.parent) == 0
    _, masks = segment_masks(tmp_path / "out" / "tumour_seg.dcm")
    for number in (1, 2, 3):
        np.testing.assert_array_equal(masks[number], labels == number)


def test_whatever_highdicom_raises_is_a_refusal_without_its_words(tmp_path, labels, series, monkeypatch, capfd):
    def fails(*_, **__):
        raise ValueError("invalid value 19500101 of SMITH^JANE")

    monkeypatch.setattr(highdicom.seg, "Segmentation", fails)
    assert exported(tmp_path, labels, series) == 3
    printed = "".join(capfd.readouterr())
    assert "series 5: no DICOM object can be made" in printed
    assert not any(secret in printed for secret in ("1950", "SMITH", "Traceback"))


def records_beside(folder, reference="t1ce", label="5"):
    """What `gliomask segment` of DICOM files leaves: a run record beside the label map and a conversion's beside the
    scans.
    """
    (folder / "scans").mkdir()
    (folder / "scans" / "dicom_run.json").write_text(json.dumps({"dicom": {"chosen": {reference: label, "t2": "7"}}}))
    (folder / "tumour_run.json").write_text(
        json.dumps({"inputs": {"elsewhere/scans/x.nii.gz": ""}, "raw_route": {"reference": reference}})
    )


def exported_as_segmented(folder, labels, source, *words):
    nib.save(nib.Nifti1Image(ON_DISK[labels], oblique().affine), folder / "tumour_seg.nii.gz")
    return run(
        [
            "dicom",
            "export",
            str(folder / "tumour_seg.nii.gz"),
            "--series",
            str(source),
            "-o",
            str(folder / "out"),
            *words,
        ]
    )


def test_the_series_that_the_record_names_is_used(tmp_path, labels, series, rng, capsys):
    write_series(series / "other", rng.integers(0, 900, SHAPE), oblique(), "t1", 3)
    records_beside(tmp_path)
    assert exported_as_segmented(tmp_path, labels, series, "--seg") == 0
    written = pydicom.dcmread(tmp_path / "out" / "tumour_seg_seg.dcm")
    used = written.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert used == pydicom.dcmread(next(series.glob("*.dcm"))).SeriesInstanceUID
    assert exported_as_segmented(tmp_path, labels, series, "--number", "3", "--overwrite") == 3
    printed = capsys.readouterr().err
    assert "says that the label map was drawn on series 5 (t1ce), not on series 3" in printed
    assert exported_as_segmented(tmp_path, labels, series / "other", "--overwrite") == 3


def test_a_record_of_one_run_that_read_dicom_itself(tmp_path, labels, series, rng):
    write_series(series / "other", rng.integers(0, 900, SHAPE), oblique(), "t1", 3)
    (tmp_path / "tumour_run.json").write_text(
        json.dumps({"space": "t1", "dicom": {"chosen": {"t1": "3", "t1ce": "5"}}})
    )
    assert exported_as_segmented(tmp_path, labels, series, "--seg", "--number", "5") == 3
    assert exported_as_segmented(tmp_path, labels, series, "--seg") == 0


def test_a_record_that_is_not_ours_is_not_believed(tmp_path, labels, series, rng):
    write_series(series / "other", rng.integers(0, 900, SHAPE), oblique(), "t1", 3)
    (tmp_path / "tumour_run.json").write_text("[1, 2")
    assert exported_as_segmented(tmp_path, labels, series) == 3
    assert exported_as_segmented(tmp_path, labels, series, "--number", "5", "--seg") == 0


def test_the_record_of_an_export_is_not_replaced_silently(tmp_path, labels, series):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dicom_run.json").write_text("mine")
    assert exported(tmp_path, labels, series) == 2
    assert (tmp_path / "out" / "dicom_run.json").read_text() == "mine"


def test_colours_are_those_of_the_one_palette(tmp_path, labels, series):
    from gliomask.colours import PALETTE
    from gliomask.labels import Label

    assert exported(tmp_path, labels, series) == 0
    structures = pydicom.dcmread(tmp_path / "out" / "tumour_rtstruct.dcm").ROIContourSequence
    assert {item.ReferencedROINumber: tuple(item.ROIDisplayColor) for item in structures} == {
        int(label): PALETTE.labels[label] for label in Label if label
    }
    segments = pydicom.dcmread(tmp_path / "out" / "tumour_seg.dcm").SegmentSequence
    for segment in segments:
        expected = highdicom.color.CIELabColor.from_rgb(*PALETTE.labels[Label(segment.SegmentNumber)])
        assert list(segment.RecommendedDisplayCIELabValue) == list(expected.value)
