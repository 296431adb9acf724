"""DICOM series written from arrays and read back: the same voxels at the same places, or a refusal by name."""

from __future__ import annotations

import copy
import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_series import item, write_enhanced, write_series
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from gliomask.cli.main import run
from gliomask.errors import CaseError, FileFormatError, GeometryError, GliomaskError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.io.dicom.read import read_examination
from gliomask.io.dicom.survey import choose, survey
from gliomask.sequences import Sequence

SHAPE = (36, 40, 7)


def oblique(spacing=(0.9, 0.8, 4.0), angles=(12, -9, 20)) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = (
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag([-1.0, -1, 1]) @ np.diag(spacing)
    )
    affine[:3, 3] = (80, 90, -20)
    return Geometry(SHAPE, affine)


@pytest.fixture
def volume(rng):
    return rng.integers(0, 4000, SHAPE)


@pytest.fixture
def examination(tmp_path, volume):
    """Four sequences in one folder, the FLAIR as one enhanced object with its frames shuffled, and a scout."""
    folder = tmp_path / "ward"
    for number, sequence in enumerate(("t1", "t1ce", "t2"), start=3):
        write_series(folder / f"{number}", volume // number, oblique(), sequence, number)
    write_enhanced(folder / "flair.dcm", volume, oblique((0.8, 0.8, 5.0)), "flair", 8, order=[3, 1, 0, 2, 6, 5, 4])
    write_series(
        folder / "scout",
        volume,
        oblique(),
        "t2",
        1,
        change=lambda dataset, k: setattr(dataset, "SeriesDescription", "3-plane localizer"),
    )
    (folder / "notes.txt").write_text("not DICOM")
    return folder


def one_series(folder, volume, **options):
    return read_examination(write_series(folder / "series", volume, oblique(), **options))


def test_four_sequences_come_back_voxel_for_voxel_on_grids_of_their_own(examination, volume):
    found = read_examination(examination)
    assert found.case_id == "ward"
    assert list(found.scans) == [Sequence.FLAIR, Sequence.T1, Sequence.T1CE, Sequence.T2]
    np.testing.assert_array_equal(found.scans[Sequence.FLAIR].volume, volume)
    np.testing.assert_array_equal(found.scans[Sequence.T1CE].volume, volume // 4)
    np.testing.assert_allclose(found.scans[Sequence.FLAIR].geometry.affine, oblique((0.8, 0.8, 5.0)).affine, atol=1e-5)
    np.testing.assert_allclose(found.scans[Sequence.T1].geometry.affine, oblique().affine, atol=1e-5)


@pytest.mark.parametrize("angles", [(0, 0, 0), (90, 0, 0), (0, 90, 0), (90, 0, 90), (170, 10, 5), (35, 40, 80)])
def test_any_orientation(tmp_path, volume, angles):
    grid = oblique(angles=angles)
    scan = read_examination(write_series(tmp_path / "s", volume, grid)).scans[Sequence.T1CE]
    assert scan.geometry.same_grid(grid)
    np.testing.assert_array_equal(scan.volume, volume)


def test_order_of_the_files_and_their_numbers_say_nothing(tmp_path, volume):
    scan = one_series(tmp_path, volume, order=[6, 5, 4, 3, 2, 1, 0]).scans[Sequence.T1CE]
    np.testing.assert_array_equal(scan.volume, volume)
    assert scan.geometry.same_grid(oblique())


def test_a_stack_that_descends_is_read_upwards(tmp_path, volume):
    down = oblique()
    affine = down.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (SHAPE[2] - 1)
    affine[:3, 2] *= -1
    scan = read_examination(write_series(tmp_path / "s", volume, Geometry(SHAPE, affine))).scans[Sequence.T1CE]
    np.testing.assert_array_equal(scan.volume, volume[:, :, ::-1])
    assert scan.geometry.same_grid(down)


def test_rescaling_is_applied(tmp_path, volume):
    scan = one_series(tmp_path, volume, slope=0.5).scans[Sequence.T1CE]
    np.testing.assert_allclose(scan.volume, volume * 0.5 - 3)


def test_a_file_sent_twice_counts_once(tmp_path, volume):
    folder = write_series(tmp_path / "s", volume, oblique())
    first = sorted(folder.iterdir())[0]
    shutil.copyfile(first, folder / "copy.dcm")
    np.testing.assert_array_equal(read_examination(folder).scans[Sequence.T1CE].volume, volume)


def tilted(dataset, k):
    x, y, z = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y + 0.6 * k, z]


def without(*keywords):
    def change(dataset, k):
        for keyword in keywords:
            delattr(dataset, keyword)

    return change


def with_value(keyword, value, only=None):
    def change(dataset, k):
        if only is None or k == only:
            setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"skip": (3,)}, GeometryError, "missing or unevenly spaced: 8.00 mm between images 3 and 5"),
        ({"skip": (5,)}, GeometryError, "missing or unevenly spaced"),
        ({"skip": (1, 2, 3, 4, 5)}, GeometryError, "2 slices; a volume needs at least 3"),
        ({"order": [0, 1, 2, 3, 3, 4, 5, 6]}, GeometryError, "8 slices at 7 places"),
        ({"order": [0, 1, 2, 3, 4, 5, 6] * 2}, GeometryError, "2 images at each of 7 places"),
        ({"order": [2] * 4}, GeometryError, "lie at one place"),
        ({"change": tilted}, GeometryError, "gantry tilt"),
        (
            {"change": with_value("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], only=2)},
            GeometryError,
            "2 orientations",
        ),
        ({"change": with_value("PixelSpacing", [2, 2], only=2)}, GeometryError, "pixel spacings"),
        ({"change": with_value("PixelSpacing", [0, 0])}, GeometryError, "pixel spacings are 0"),
        ({"change": with_value("ImageOrientationPatient", [1, 0, 0, 1, 0, 0])}, GeometryError, "right angles"),
        ({"change": with_value("Rows", 12, only=2)}, GeometryError, "2 sizes"),
        ({"change": without("ImagePositionPatient")}, FileFormatError, "ImagePositionPatient is missing"),
        ({"change": without("PixelData")}, FileFormatError, "its pixels alone need"),
        (
            {"change": lambda dataset, k: setattr(dataset, "PixelData", dataset.PixelData[:100])},
            FileFormatError,
            "its pixels alone need",
        ),
        ({"change": with_value("Modality", "CT")}, CaseError, "none of 1 series"),
    ],
)
def test_what_is_no_even_stack_is_refused_by_name(tmp_path, volume, options, error, message):
    with pytest.raises((error, CaseError), match=message):
        one_series(tmp_path, volume, **options)


def test_two_patients_are_refused_without_their_names(tmp_path, volume):
    write_series(tmp_path / "both" / "a", volume, oblique(), "t1", 1)
    write_series(tmp_path / "both" / "b", volume, oblique(), "t2", 2, change=with_value("PatientID", "0815"))
    with pytest.raises(CaseError, match="2 patients") as caught:
        read_examination(tmp_path / "both")
    assert "SMITH" not in str(caught.value)
    assert "0815" not in str(caught.value)


def test_two_examinations_are_not_mixed(tmp_path, volume):
    write_series(tmp_path / "both" / "a", volume, oblique(), "t1", 1)
    write_series(tmp_path / "both" / "b", volume, oblique(), "t2", 2, change=with_value("StudyInstanceUID", "1.2.3"))
    with pytest.raises(CaseError, match="2 examinations"):
        read_examination(tmp_path / "both")
    assert len(read_examination(tmp_path / "both", {Sequence.T1: "1", Sequence.T2: "2"}).scans) == 2


def test_two_equal_series_are_for_the_user_to_choose_from(tmp_path, volume):
    write_series(tmp_path / "both" / "a", volume, oblique(), "t1", 1)
    write_series(tmp_path / "both" / "b", volume // 2, oblique(), "t1", 2)
    with pytest.raises(CaseError, match="series 1, 2 are equally good"):
        read_examination(tmp_path / "both")
    np.testing.assert_array_equal(
        read_examination(tmp_path / "both", {Sequence.T1: "2"}).scans[Sequence.T1].volume, volume // 2
    )
    with pytest.raises(UsageError, match="no series has this number"):
        read_examination(tmp_path / "both", {Sequence.T1: "7"})


def test_the_sharper_of_two_series_is_taken(tmp_path, volume):
    write_series(tmp_path / "both" / "a", volume, oblique(), "t1", 1)
    write_series(tmp_path / "both" / "b", volume // 2, oblique((0.9, 0.9, 1.0)), "t1", 2)
    assert read_examination(tmp_path / "both").scans[Sequence.T1].source == "series 2"


def test_two_echoes_of_one_series_are_two_volumes(tmp_path, volume):
    uid = generate_uid()
    write_series(tmp_path / "s" / "a", volume, oblique(), "t2", 4, series_uid=uid)
    write_series(
        tmp_path / "s" / "b", volume // 2, oblique(), "t2", 4, series_uid=uid, change=with_value("EchoTime", 20)
    )
    found = read_examination(tmp_path / "s")
    np.testing.assert_array_equal(found.scans[Sequence.T2].volume, volume)
    assert found.scans[Sequence.T2].source == "series 4a"


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLSLossless", "JPEG2000Lossless"])
def test_compressed_series_are_decoded_exactly(tmp_path, volume, syntax):
    from pydicom import uid

    scan = one_series(
        tmp_path, volume, change=lambda dataset, k: dataset.compress(getattr(uid, syntax), generate_instance_uid=False)
    ).scans[Sequence.T1CE]
    np.testing.assert_array_equal(scan.volume, volume)


def test_a_decoder_that_fails_or_hangs_is_a_refusal(tmp_path, volume, monkeypatch):
    from pydicom.uid import JPEG2000Lossless

    def broken(dataset, k):
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData[:60] + bytes(len(dataset.PixelData) - 60)

    folder = write_series(tmp_path / "s", volume, oblique(), change=broken)
    with pytest.raises(FileFormatError, match="series 1: its compressed pixels"):
        read_examination(folder)
    monkeypatch.setattr("gliomask.io.dicom.decoder.SECONDS_PER_SERIES", 0.01)
    with pytest.raises(FileFormatError, match="decoding took over"):
        read_examination(folder)


@pytest.mark.parametrize("cut", [100, 140, 400, 900])
def test_a_truncated_file_is_refused_by_name(examination, cut):
    path = next((examination / "3").iterdir())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FileFormatError, match=path.name):
        read_examination(examination)


def refusal_of(folder) -> str:
    """The words of a refusal; empty where the folder is read."""
    try:
        read_examination(folder)
    except GliomaskError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_bytes_turned_at_random_never_crash_and_never_leak(tmp_path, volume, rng, capfd):
    folder = write_series(tmp_path / "s", volume, oblique(), skip=(3, 4, 5, 6))
    path = sorted(folder.iterdir())[0]
    whole = path.read_bytes()
    words = []
    for _ in range(15):
        content = bytearray(whole)
        for place in rng.integers(132, 1200, 4):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        words.append(refusal_of(folder))
    assert sum(map(bool, words)) > 2
    assert "SMITH" not in "".join([*words, *capfd.readouterr()])


def test_inspect_shows_every_series_and_no_name(examination, capsys):
    assert run(["dicom", "inspect", str(examination)]) == 0
    text = capsys.readouterr().out
    assert [line.split()[:2] for line in text.splitlines()[1:6]] == [
        ["1", "-"],
        ["3", "t1"],
        ["4", "t1ce"],
        ["5", "t2"],
        ["8", "flair"],
    ]
    assert "a localiser, says the description" in text
    assert "1 file that is not DICOM left out." in text
    for secret in ("SMITH", "JANE", "4711", "ACC123", "JONES", "1950"):
        assert secret not in text.upper()


def test_names_in_descriptions_and_folders_are_struck_out(tmp_path, volume, capsys):
    folder = write_series(
        tmp_path / "Smith_Jane", volume, oblique(), change=with_value("SeriesDescription", "T1 post Gd Smith, 4711")
    )
    assert run(["dicom", "inspect", str(folder), "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["series"][0]["description"] == "T1 post Gd ***, ***"
    assert "mith" not in printed
    assert read_examination(folder).case_id == "examination"
    assert run(["dicom", "inspect", str(folder), "--json", "--include-identifiers"]) == 0
    assert json.loads(capsys.readouterr().out)["patient"] == {"id": "4711", "name": "SMITH JANE"}


def test_hyphens_and_carets_of_names_do_not_hide_them(tmp_path, volume, capsys):
    def change(dataset, k):
        dataset.PatientName, dataset.SeriesDescription = "MILLER-WEST^ANN", "T1 post Gd west_Ann"

    assert run(["dicom", "inspect", str(write_series(tmp_path / "s", volume, oblique(), change=change))]) == 0
    assert "T1 post Gd ***_***" in capsys.readouterr().out


def test_convert_writes_each_sequence_and_a_record_without_names(examination, volume, tmp_path, capsys):
    out = tmp_path / "nifti"
    assert run(["dicom", "convert", str(examination), "-o", str(out), "--series", "t2=5"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "dicom_run.json",
        *(f"ward_{name}.nii.gz" for name in ("flair", "t1", "t1ce", "t2")),
    ]
    image = nib.load(out / "ward_t1.nii.gz")
    np.testing.assert_array_equal(image.dataobj, volume // 3)
    np.testing.assert_allclose(image.affine, oblique().affine, atol=1e-5)
    record = (out / "dicom_run.json").read_text()
    assert json.loads(record)["dicom"]["chosen"] == {"flair": "8", "t1": "3", "t1ce": "4", "t2": "5"}
    assert not any(secret in record.upper() for secret in ("SMITH", "4711", "ACC123", "JONES"))
    assert run(["dicom", "convert", str(examination), "-o", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--series", "t1"],
        ["--series", "t9=3"],
        ["--series", "t1=3", "--series", "t1=4"],
        ["--series", "t1=3", "--series", "t2=3"],
    ],
)
def test_overrides_that_make_no_sense(examination, words):
    assert run(["dicom", "inspect", str(examination), *words]) == 2


def test_places_without_dicom(tmp_path, capsys):
    assert run(["dicom", "inspect", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "readme.txt").write_text("nothing")
    assert run(["dicom", "inspect", str(tmp_path)]) == 3
    assert "no DICOM file found among 1 files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "grid", "error", "message"),
    [
        (np.full(SHAPE, 7), SHAPE, CaseError, "shows nothing: every voxel is 7"),
        (np.full(SHAPE, np.nan), SHAPE, CaseError, "shows nothing: every voxel is 0 or no number"),
        (np.full(SHAPE, np.inf), SHAPE, CaseError, "NaN or infinite"),
        (np.arange(8.0).reshape(2, 2, 2), (2, 2, 3), GeometryError, "its grid has"),
    ],
)
def test_a_scan_that_exists_shows_something_on_its_grid(values, grid, error, message):
    with pytest.raises(error, match=f"series 9.*{message}"):
        Scan(values, Geometry(grid, np.eye(4)), "series 9")


def test_an_examination_holds_at_least_one_scan():
    with pytest.raises(CaseError, match="holds no scan"):
        Examination("empty", {})


def chosen(folder) -> dict[str, str]:
    """Labels of the series taken, by sequence, with the verdicts under `why`."""
    found = survey(folder)
    choice = choose(found)
    assert choice.problems == ()
    return {sequence.value: series.label for sequence, series in choice.chosen.items()} | {"why": dict(choice.verdicts)}


def described(text, **values):
    def change(dataset, k):
        dataset.SeriesDescription = text
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def test_a_stir_is_not_taken_for_the_flair(examination, volume):
    thin = oblique((0.8, 0.8, 3.0))
    stir = described("t2_tirm_cor", RepetitionTime=4000, EchoTime=60, InversionTime=160)
    write_series(examination / "9", volume, thin, "flair", 9, change=stir)
    assert chosen(examination)["flair"] == "8"
    (examination / "flair.dcm").unlink()
    assert "flair" not in chosen(examination)


def test_a_post_contrast_series_without_fat_saturation_is_no_t1(examination, volume):
    write_series(examination / "9", volume, oblique((0.8, 0.8, 2.0)), "t1", 9, change=described("AX 3D T1 POST W/O FS"))
    found = chosen(examination)
    assert (found["t1"], found["t1ce"]) == ("3", "9")


def test_words_go_before_an_agent_that_the_header_gives_for_all_series(tmp_path, volume):
    agent = {"ContrastBolusAgent": "GADOVIST"}
    write_series(
        tmp_path / "s" / "a", volume, oblique((0.9, 0.8, 2.0)), "t1", 2, change=described("SAG 3D T1 MPRAGE", **agent)
    )
    write_series(tmp_path / "s" / "b", volume // 2, oblique(), "t1", 3, change=described("AX T1 SE POST GD", **agent))
    write_series(
        tmp_path / "s" / "c", volume // 3, oblique(), "t2", 4, change=with_value("ContrastBolusAgent", "GADOVIST")
    )
    found = chosen(tmp_path / "s")
    assert (found["t1"], found["t1ce"]) == ("2", "3")
    assert "in all series" in found["why"]["2"]


def test_what_a_description_names_goes_before_timing_alone(tmp_path, volume):
    write_series(tmp_path / "s" / "a", volume, oblique((0.9, 0.8, 1.0)), "t1", 2, change=described("Brain"))
    write_series(tmp_path / "s" / "b", volume // 2, oblique(), "t1", 3)
    assert chosen(tmp_path / "s")["t1"] == "3"


@pytest.mark.parametrize(
    ("worse", "better", "why"),
    [
        (
            ["ORIGINAL", "PRIMARY", "M", "ND"],
            ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
            "normalised (NORM in ImageType) of series 2, 3",
        ),
        (["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "M", "DIS2D"], "corrected for distortion"),
    ],
)
def test_of_two_reconstructions_the_corrected_one_is_taken(tmp_path, volume, worse, better, why):
    write_series(tmp_path / "s" / "a", volume, oblique(), "t1", 2, change=with_value("ImageType", worse))
    write_series(tmp_path / "s" / "b", volume // 2, oblique(), "t1", 3, change=with_value("ImageType", better))
    found = chosen(tmp_path / "s")
    assert found["t1"] == "3"
    assert why in found["why"]["3"]


def test_a_mask_does_not_stand_in_the_way_of_the_scan(tmp_path, volume):
    write_series(tmp_path / "s" / "a", volume, oblique(), "flair", 2)
    write_series(tmp_path / "s" / "b", (volume > 2000) * 1, oblique(), "flair", 3)
    found = chosen(tmp_path / "s")
    assert found["flair"] == "2"
    assert found["why"]["3"] == "a mask: its pixels have two values"


def test_each_part_of_an_enhanced_file_is_judged_by_its_own_frame_type(tmp_path, volume):
    path = write_enhanced(tmp_path / "s" / "one.dcm", volume, oblique(), "t2", 4)
    dataset = pydicom.dcmread(path)
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    kinds = {"PHASE": frames, "MAGNITUDE": [copy.deepcopy(frame) for frame in frames]}
    for component, groups in kinds.items():
        for group in groups:
            group.MRImageFrameTypeSequence = [
                item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], ComplexImageComponent=component)
            ]
    dataset.PerFrameFunctionalGroupsSequence = kinds["PHASE"] + kinds["MAGNITUDE"]
    dataset.NumberOfFrames = 2 * SHAPE[2]
    dataset.PixelData *= 2
    dataset.save_as(path)
    found = chosen(tmp_path / "s")
    assert found["t2"] == "4b"
    assert found["why"]["4a"] == "a phase image, says FrameType"
