"""DICOM into the server and out of it, and to and from a real archive."""

import base64
import gzip
import hashlib
import io
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from conftest import make_tiny_case
from dicom_series import STUDY, write_series
from orthanc import PASSWORD, USER, running_orthanc
from pydicom.uid import generate_uid
from server_process import running_server, wait_for

from gliomask.cli.main import run
from gliomask.errors import FileFormatError, InputError, UsageError
from gliomask.io.brats import read_label_map
from gliomask.labels import convention
from gliomask.server.instances import read_instance
from gliomask.server.pacs import Pacs

pytestmark = pytest.mark.server

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
FINAL = ("done", "failed")


def write_study(folder: Path, study: str = STUDY, seed: int = 0) -> list[Path]:
    case = make_tiny_case(seed=seed)

    def change(dataset, k):
        dataset.StudyInstanceUID = study

    for number, (sequence, volume) in enumerate(case.volumes.items(), start=1):
        write_series(folder / sequence.value, volume, case.geometry, sequence.value, number, change=change)
    return sorted(path for path in folder.rglob("*.dcm"))


@pytest.fixture
def study(tmp_path) -> list[Path]:
    return write_study(tmp_path / "study")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("dicomweb") / "data", study_quiet_seconds=2.0) as running:
        yield running


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with running_orthanc(tmp_path_factory.mktemp("archive") / "orthanc") as running:
        yield running


def finished(client, count: int = 1) -> list[dict]:
    return wait_for(lambda: len(jobs := client.jobs()) >= count and all(job["state"] in FINAL for job in jobs) and jobs)


def test_dicom_files_of_a_browser_become_a_result_with_objects(server, study):
    with server.client() as client:
        job = client.wait(client.submit(study[0].parent.parent, raw="never")["id"])
    assert job["state"] == "done", job["failure"]
    assert job["kind"] == "dicom"
    assert {"case_seg.nii.gz", "case_seg_seg.dcm", "case_seg_sr.dcm"} <= {file["name"] for file in job["results"]}, job[
        "notes"
    ]
    # A correction of it comes back as an object, too, that refers to the same series.
    here = f"{server.url}/api/v1/jobs/{job['id']}"
    shape = make_tiny_case().geometry.shape
    labels = np.zeros(shape, np.uint8)
    labels[5:9, 5:9, 5:9] = 3
    sent = {"who": "A. B.", "steps": [], "labels": base64.b64encode(gzip.compress(labels.tobytes(order="F"))).decode()}
    answer = httpx.post(f"{here}/corrections", json=sent, timeout=60, trust_env=False)
    assert answer.status_code == 201, answer.text
    kept = answer.json()
    assert kept["notes"] == []
    objects = {}
    for name in [file["name"] for file in kept["results"] if file["name"].endswith(".dcm")]:
        content = httpx.get(f"{here}/corrections/1/{name}", trust_env=False).content
        objects[name.rpartition("_")[2]] = pydicom.dcmread(io.BytesIO(content))
    before = pydicom.dcmread(
        io.BytesIO(httpx.get(f"{here}/results/case_seg_seg.dcm", trust_env=False).content), stop_before_pixels=True
    )
    segmentation = objects["seg.dcm"]
    assert str(segmentation.ContentCreatorName) == "A. B.^"
    assert segmentation.ReferencedSeriesSequence == before.ReferencedSeriesSequence
    assert segmentation.SOPInstanceUID != before.SOPInstanceUID
    assert int(segmentation.pixel_array.sum()) == 64
    assert objects["sr.dcm"].Modality == "SR"


def test_other_files_in_a_folder_of_dicom_files_do_not_matter(server, study):
    (study[0].parent / "README.txt").write_text("burnt by the scanner")
    with server.client() as client:
        job = client.wait(client.submit(study[0].parent.parent, raw="never")["id"])
    assert job["state"] == "done", job["failure"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda dataset: setattr(dataset, "Rows", 65535),
        lambda dataset: setattr(dataset, "PixelSpacing", ["0", "0"]),
        lambda dataset: setattr(dataset, "PatientID", "somebody else"),
        lambda dataset: delattr(dataset, "PixelData"),
    ],
)
def test_hostile_dicom_headers_end_as_failed_jobs_that_name_nobody(server, study, damage):
    for path in study[: len(study) // 2]:
        dataset = pydicom.dcmread(path)
        damage(dataset)
        dataset.save_as(path)
    with server.client() as client:
        job = client.wait(client.submit(study[0].parent.parent, raw="never")["id"])
    assert (job["state"], job["failure"]["code"]) == ("failed", "input"), job
    assert not [word for word in ("SMITH", "4711", "somebody", str(server.folder)) if word in str(job)]


def test_a_study_that_comes_in_pieces_becomes_one_job_and_gives_its_objects(server, tmp_path):
    uid = generate_uid()
    paths = write_study(tmp_path / "s", uid)
    with Pacs(f"{server.url}/dicomweb") as pacs:
        for start in range(0, len(paths), 30):
            assert pacs.store(paths[start : start + 30]).stored == len(paths[start : start + 30])
        # Sent again, it takes the place of the first.
        assert pacs.store(paths[:5]).stored == 5
        assert pacs.find({"StudyInstanceUID": uid}) == []
        with server.client() as client:
            job = wait_for(
                lambda: next(
                    (
                        job
                        for job in client.jobs()
                        if job["kind"] == "dicom" and job["state"] in FINAL and _of(server, job, uid)
                    ),
                    None,
                )
            )
        assert job["state"] == "done", job["failure"]
        assert len(list((server.folder / "jobs" / job["id"] / "input" / "dicom").iterdir())) == len(paths)
        assert [found.study_uid for found in pacs.find({"StudyInstanceUID": uid})] == [uid]
        (tmp_path / "out").mkdir()
        objects = [pydicom.dcmread(path) for path in pacs.fetch(uid, tmp_path / "out")]
    assert {found.SOPClassUID for found in objects} == {SEG, SR}
    assert {found.StudyInstanceUID for found in objects} == {uid}
    assert {found.PatientID for found in objects} == {"4711"}
    rows = httpx.get(f"{server.url}/dicomweb/studies/{uid}/instances", trust_env=False).json()
    assert {row["00080016"]["Value"][0] for row in rows} == {SEG, SR}
    row = rows[0]
    series_uid, instance_uid = row["0020000E"]["Value"][0], row["00080018"]["Value"][0]
    one = f"{server.url}/dicomweb/studies/{uid}/series/{series_uid}/instances/{instance_uid}"
    assert httpx.get(one, trust_env=False).headers["content-type"].startswith("multipart/related")
    # Identifiers are in no log and in no page.
    assert uid not in server.log()
    assert "4711" not in server.log()
    assert uid not in httpx.get(f"{server.url}/jobs/{job['id']}", trust_env=False).text


def _of(server, job, uid) -> bool:
    """Whether a job is of a study; other jobs of this module hold files that are no DICOM."""
    for path in (server.folder / "jobs" / job["id"] / "input" / "dicom").iterdir():
        with suppress(FileFormatError):
            return read_instance(path).study_uid == uid
    return False


def test_instances_are_refused_one_by_one(server, study, tmp_path):
    broken, other = tmp_path / "broken.dcm", write_study(tmp_path / "other", generate_uid())[0]
    broken.write_bytes(study[0].read_bytes()[:150] + b"\xff" * 500)
    with Pacs(f"{server.url}/dicomweb") as pacs:
        assert pacs.store([broken]).failures == (0xC000,)
        mixed = pacs.store([broken, other])
        assert (mixed.stored, mixed.failures) == (1, (0xC000,))
    boundary = "b"
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + other.read_bytes() + b"\r\n--b--\r\n"
    answer = httpx.post(
        f"{server.url}/dicomweb/studies/1.2.3",
        content=body,
        headers={"Content-Type": f"multipart/related; boundary={boundary}"},
        trust_env=False,
    )
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]


def test_a_killed_server_keeps_the_instances_that_it_confirmed(tmp_path, study):
    with running_server(tmp_path / "data", study_quiet_seconds=600.0) as server, Pacs(f"{server.url}/dicomweb") as pacs:
        assert pacs.store(study).stored == len(study)
        server.kill()
    with running_server(tmp_path / "data", study_quiet_seconds=1.0) as server, server.client() as client:
        (job,) = finished(client)
        assert job["state"] == "done", job["failure"]


@pytest.mark.parametrize(
    "content",
    [b"", b"DICM", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\x08\x00\x16\x00UI\xff\xff" * 1000, b"x" * 5000],
)
def test_what_is_no_instance_is_told(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FileFormatError):
        read_instance(tmp_path / "a")


def test_a_deflated_instance_is_not_inflated(tmp_path, study):
    dataset = pydicom.dcmread(study[0])
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(FileFormatError, match="Deflated"):
        read_instance(tmp_path / "a.dcm")


# With Orthanc


def test_a_study_goes_to_the_archive_and_comes_back_byte_for_byte(orthanc, study, tmp_path):
    with Pacs(orthanc.web, (USER, PASSWORD)) as archive:
        assert archive.store(study).stored == len(study)
        (found,) = archive.find({"PatientID": "4711"})
        assert (found.study_uid, found.patient_id, found.date) == (STUDY, "4711", "20200102")
        assert archive.find({"PatientID": "nobody"}) == []
        (tmp_path / "back").mkdir()
        back = archive.fetch(STUDY, tmp_path / "back")
        with pytest.raises(InputError, match="status 404"):
            (tmp_path / "none").mkdir()
            archive.fetch("1.2.3.4.5", tmp_path / "none")
        with pytest.raises(UsageError, match="not empty"):
            archive.fetch(STUDY, tmp_path / "back")
        with pytest.raises(UsageError, match="no StudyInstanceUID"):
            archive.fetch("../patients", tmp_path / "none")

    def pixels(paths):
        return {
            (found := pydicom.dcmread(path)).SOPInstanceUID: hashlib.sha256(found.PixelData).hexdigest()
            for path in paths
        }

    assert pixels(back) == pixels(study)
    with (
        Pacs(orthanc.web, (USER, "wrong")) as stranger,
        pytest.raises(InputError, match="does not let this program in"),
    ):
        stranger.find()


def test_the_commands_find_fetch_and_store(orthanc, study, tmp_path, capsys):
    (tmp_path / "login").write_text(f"{USER}:{PASSWORD}\n")
    common = ["--url", orthanc.web, "--login-file", str(tmp_path / "login")]
    for folder in {path.parent for path in study}:
        assert run(["pacs", "store", str(folder), *common]) == 0
    capsys.readouterr()
    assert run(["pacs", "find", *common, "--match", "PatientID=4711"]) == 0
    assert STUDY in capsys.readouterr().out
    assert run(["pacs", "fetch", STUDY, *common, "-o", str(tmp_path / "fetched")]) == 0
    assert len(list((tmp_path / "fetched").glob("*.dcm"))) >= len(study)
    assert run(["pacs", "fetch", STUDY, *common, "-o", str(tmp_path / "fetched")]) == 2
    assert run(["pacs", "fetch", "1.2.3.4.5", *common, "-o", str(tmp_path / "none")]) == 3
    assert not (tmp_path / "none").exists()
    assert run(["pacs", "find", "--url", "http://127.0.0.1:9/dicom-web"]) == 3


def test_the_archive_sends_a_study_and_gets_the_objects_back(tmp_path):
    uid = generate_uid()
    token = "a-token-for-these-tests"
    with running_orthanc(tmp_path / "orthanc") as archive:
        sending = {"send_to": archive.web, "send_login": [USER, PASSWORD]}
        with running_server(tmp_path / "data", token=token, study_quiet_seconds=3.0, **sending) as server:
            # As an archive is told of a DICOMweb server: with a user and a password, the token.
            peer = {"Url": f"{server.url}/dicomweb/", "Username": "orthanc", "Password": token}
            assert (
                httpx.put(
                    f"{archive.web}/servers/gliomask", json=peer, auth=(USER, PASSWORD), trust_env=False
                ).status_code
                == 200
            )
            with Pacs(archive.web, (USER, PASSWORD)) as client:
                client.store(write_study(tmp_path / "study", uid))
            study_id = archive.get("/studies").json()[0]
            sent = archive.post("/dicom-web/servers/gliomask/stow", json={"Resources": [study_id], "Synchronous": True})
            assert sent.status_code == 200, sent.text
            with server.client() as client:
                (job,) = finished(client)
                assert job["state"] == "done", job["failure"]
                wait_for(lambda: client.job(job["id"])["delivery"] == "sent")
            modalities = wait_for(lambda: {"SEG", "SR"} <= (found := _modalities(archive, study_id)) and found)
            assert modalities == {"MR", "SEG", "SR"}
            with server.client() as client:
                client.fetch(job, tmp_path / "results")
                label_map = next((tmp_path / "results").glob("*_seg.nii.gz"))
                labels = read_label_map(label_map, convention("brats2021"))[0].copy()
                labels[2, 3, 4] = (labels[2, 3, 4] + 1) % 4
                client.correct(job["id"], labels, "A. B.")
                wait_for(lambda: client.job(job["id"])["corrections"][0]["delivery"] == "sent")
                page = httpx.get(
                    f"{server.url}/jobs/{job['id']}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
                ).text
                assert page.count("The DICOM objects were sent to the archive.") == 2
            # As archived: both objects of the correction beside both of the job, with who corrected.
            found = [pydicom.dcmread(io.BytesIO(one)) for one in _objects_in(archive, study_id)]
            assert sorted(one.Modality for one in found) == ["SEG", "SEG", "SR", "SR"]
            assert len({one.SOPInstanceUID for one in found}) == len({one.SeriesInstanceUID for one in found}) == 4
            assert {one.StudyInstanceUID for one in found} == {uid}
            assert ["A. B." in str(one) for one in found].count(True) == 2


def _objects_in(archive, study_id) -> list[bytes]:
    series = archive.get(f"/studies/{study_id}/series").json()
    found = [one for one in series if one["MainDicomTags"]["Modality"] != "MR"]
    return [archive.get(f"/instances/{name}/file").content for one in found for name in one["Instances"]]


def _modalities(archive, study_id) -> set[str]:
    return {series["MainDicomTags"]["Modality"] for series in archive.get(f"/studies/{study_id}/series").json()}


def test_what_an_archive_answers_is_not_believed(tmp_path):
    def answering(content: bytes, kind: str = "application/dicom+json", status: int = 200) -> Pacs:
        return Pacs(
            "http://archive",
            transport=httpx.MockTransport(
                lambda request: httpx.Response(status, content=content, headers={"Content-Type": kind})
            ),
        )

    with pytest.raises(FileFormatError, match="no JSON"):
        answering(b"<html>").find()
    with pytest.raises(FileFormatError, match="no JSON"):
        answering(b"[" * 100_000).find()
    assert answering(b'[{"00100010": 5, "0020000D": {"Value": [{"a": 1}]}}, 7]').find()[0].patient_name == ""
    (tmp_path / "a").mkdir()
    with pytest.raises(FileFormatError, match="multipart/related"):
        answering(b"x", "text/html").fetch("1.2.3", tmp_path / "a")
    with pytest.raises(FileFormatError, match="ended before its last part"):
        answering(b"--b\r\n\r\nabc", "multipart/related; boundary=b").fetch("1.2.3", tmp_path / "a")
    with pytest.raises(InputError, match="status 302"):
        answering(b"", status=302).find()
    with pytest.raises(UsageError, match="no address"):
        Pacs("ftp://archive")
