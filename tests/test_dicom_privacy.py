"""From DICOM to report and back: nothing that names a patient is in any byte of what is written or shown, but for the
DICOM objects, which must carry it.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from conftest import TINY_AFFINE, TINY_SHAPE, make_tiny_case
from dicom_series import private, write_series
from pydicom import dcmread

from gliomask.cli.main import run
from gliomask.geometry import Geometry

SECRETS = {
    "PatientName": "Quxworth-Zwiebel^Ottilie^Xantippe",
    "PatientID": "PQ-7391846",
    "PatientBirthDate": "18760419",
    "PatientBirthTime": "031415.926535",
    "OtherPatientNames": "Vlkovic^Ottilie",
    "PatientBirthName": "Wumm^Ottilie",
    "PatientMotherBirthName": "Jaxtheim^Frieda",
    "PatientAddress": "Nirgendweg 4913",
    "PatientComments": "prefers Tzatziki",
    "AccessionNumber": "ACX5528817",
    "StudyID": "STUDYQX9",
    "StudyDate": "18991231",
    "StudyTime": "222324.252627",
    "SeriesDate": "18991230",
    "AcquisitionDate": "18991229",
    "InstitutionName": "Klinikum Hinterwalden",
    "InstitutionAddress": "Pfortengasse 8826",
    "ReferringPhysicianName": "Brzezinski^Ladislaus",
    "PerformingPhysicianName": "Fitzgibbon^Aurelia",
    "OperatorsName": "Ngugi^Wanjiru",
    "StationName": "STATIONQX3",
    "StudyDescription": "Kopf Sonderauftrag Vierwaldstaetter",
    "DeviceSerialNumber": "SERIALQX77",
    "RequestedProcedureDescription": "Nachkontrolle Xylander",
    "ImageComments": "Kommentar Yggdrasil",
}
DESCRIPTIONS = {
    "t1": "AX T1 Ottilie",
    "t1ce": "AX T1 POST GD Quxworth",
    "t2": "AX T2 PQ-7391846",
    "flair": "AX FLAIR ACX5528817",
}
PRIVATE = "Geheimnis Wolpertinger"


def words_of(secrets) -> set[str]:
    """Every part of five letters or digits and more, in small letters; dates also as they are written in ISO 8601."""
    found = {part.lower() for text in secrets for part in re.split(r"[^\w]+", text) if len(part) >= 5}
    found -= {word for word in found if word in "kopf sonderauftrag nachkontrolle kommentar geheimnis klinikum prefers"}
    return found | {f"{word[:4]}-{word[4:6]}-{word[6:]}" for word in found if re.fullmatch("18[0-9]{6}", word)}


def change(sequence):
    def apply(dataset, k):
        for keyword, value in SECRETS.items():
            setattr(dataset, keyword, value)
        dataset.SeriesDescription = dataset.ProtocolName = DESCRIPTIONS[sequence]
        dataset.add(private(PRIVATE))

    return apply


def everything_in(path: Path) -> bytes:
    """A file's bytes, and what is packed in them."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content += gzip.decompress(content)
    if path.suffix == ".pdf":
        document = pypdfium2.PdfDocument(io.BytesIO(content))
        content += " ".join(page.get_textpage().get_text_range() for page in document).encode()
        content += json.dumps(document.get_metadata_dict()).encode()
    return content.lower() + path.name.lower().encode()


@pytest.fixture
def ward(tmp_path):
    """Four series in folders and files that are named after the patient, on one grid."""
    case = make_tiny_case()
    # Slices ascend along the normal of their rows and columns.
    grid = Geometry(TINY_SHAPE, TINY_AFFINE)
    for number, (sequence, volume) in enumerate(case.volumes.items(), start=1):
        folder = tmp_path / "ward" / f"Quxworth_Ottilie_{number}"
        write_series(
            folder,
            np.rint(np.maximum(volume, 0)).astype(int),
            grid,
            sequence.value,
            number,
            change=change(sequence.value),
        )
        for path in folder.iterdir():
            path.rename(path.with_name(f"Zwiebel_18760419_{path.name}"))
    return tmp_path / "ward"


def test_no_byte_tells_who_it_is(ward, tmp_path, fake_model, capfd):
    secrets = words_of([*SECRETS.values(), *DESCRIPTIONS.values(), PRIVATE]) - {"flair"}
    header = dcmread(next((ward / "Quxworth_Ottilie_1").iterdir()))
    secrets |= {str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.FrameOfReferenceUID)}
    assert len(secrets) > 40
    scans, results, objects = tmp_path / "scans", tmp_path / "results", tmp_path / "objects"
    for words in (
        ["dicom", "inspect", ward],
        ["dicom", "inspect", ward, "--json"],
        ["dicom", "convert", ward, "-o", scans],
        ["segment", scans, "-o", results, "--raw", "never", "--report", "html,pdf,json", "--probabilities"],
        ["report", results, "-o", tmp_path / "reports"],
        ["segment", ward, "-o", tmp_path / "at_once", "--raw", "never", "--no-preview"],
        ["dicom", "export", tmp_path / "at_once" / "ward_seg.nii.gz", "--series", ward, "--number", "3", "-o", objects],
    ):
        assert run(list(map(str, words))) == 0, words
    assert (
        run(["dicom", "convert", str(ward), "-o", str(tmp_path / "again"), "--series", "t1=2", "--series", "t2=9"]) == 2
    )
    next((ward / "Quxworth_Ottilie_2").iterdir()).write_bytes(b"no DICOM")
    assert run(["dicom", "inspect", str(ward)]) == 3
    printed = capfd.readouterr()
    written = [
        path
        for folder in (scans, results, objects, tmp_path / "at_once", tmp_path / "reports")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert {path.suffix for path in written} == {".gz", ".json", ".tsv", ".png", ".html", ".pdf", ".dcm"}
    sources = {path.name: everything_in(path) for path in written if path.suffix != ".dcm"} | {
        "printed": (printed.out + printed.err).lower().encode()
    }
    for name, content in sources.items():
        assert not [secret for secret in secrets if secret.encode() in content], name
    for path in objects.glob("*.dcm"):
        written_object = dcmread(path)
        assert written_object.PatientID == SECRETS["PatientID"]
        assert written_object.StudyInstanceUID == header.StudyInstanceUID
        assert b"wolpertinger" not in everything_in(path)


def test_identifiers_are_kept_when_asked_for(ward, tmp_path, capsys):
    assert run(["dicom", "convert", str(ward), "-o", str(tmp_path / "scans"), "--include-identifiers"]) == 0
    record = json.loads((tmp_path / "scans" / "dicom_run.json").read_text())["dicom"]
    assert record["patient"]["id"] == SECRETS["PatientID"]
    assert "Ottilie" in json.dumps([series["description_as_written"] for series in record["series"]])
