"""Corrections on a server: what the viewer is told, what is kept beside the result, and what is refused."""

import asyncio
import base64
import gzip
import html
import io
import json
import zipfile
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from conftest import write_brats_case
from server_process import running_server, wait_for

from gliomask.errors import UsageError
from gliomask.io.brats import find_cases, read_label_map
from gliomask.labels import convention
from gliomask.server import view_files
from gliomask.server.client import Client
from gliomask.server.correction_job import _for_training
from gliomask.server.corrections import Corrector
from gliomask.server.delivery import TRIES, deliver
from gliomask.server.jobs import (
    Correction,
    DeliveryState,
    Job,
    JobOptions,
    JobOutcome,
    Kind,
    ResultFile,
    State,
    new_id,
)
from gliomask.server.keeper import Folders, recover
from gliomask.server.problems import RequestError
from gliomask.server.receive import Receiver
from gliomask.server.settings import Limits, ServerSettings
from gliomask.server.store import JobStore
from gliomask.server.training_copies import case_of
from gliomask.server.worker import without_paths

SEQUENCES = ("flair", "t1", "t1ce", "t2")
TOKEN = "a-token-for-these-tests"
WHO = "A. <B>"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrections")
    with running_server(
        folder / "data", token=TOKEN, corrections=str(folder / "training"), limits={"corrections": 2}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def http(server):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as found:
        yield found


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    from conftest import make_tiny_case

    folder = write_brats_case(tmp_path_factory.mktemp("cases"), make_tiny_case())
    return {name: folder / f"{folder.name}_{name}.nii.gz" for name in SEQUENCES}


@pytest.fixture(scope="module")
def job(server, scans):
    with server.client() as client:
        found = client.wait(client.submit(scans)["id"])
    assert found["state"] == "done", found["failure"]
    return found


@pytest.fixture(scope="module")
def result(http, job, tmp_path_factory):
    path = tmp_path_factory.mktemp("result") / "case_seg.nii.gz"
    path.write_bytes(http.get(f"/api/v1/jobs/{job['id']}/results/case_seg.nii.gz").content)
    return read_label_map(path, convention("brats2021"))[0]


def packed(labels: np.ndarray) -> str:
    return base64.b64encode(gzip.compress(labels.astype(np.uint8).tobytes(order="F"))).decode()


def changed(result: np.ndarray) -> np.ndarray:
    labels = result.copy()
    labels[2, 3, 4] = (labels[2, 3, 4] + 1) % 4
    return labels


def send(http, job, labels, who=WHO, **options) -> httpx.Response:
    body = {"who": who, "steps": [{"tool": "paint", "steps": 1, "voxels": 1}], "labels": labels}
    return http.post(f"/api/v1/jobs/{job['id']}/corrections", json=body, **options)


def manifest_of(page: str) -> dict:
    return json.loads(page.partition('id="manifest">')[2].partition("</script>")[0])


@pytest.mark.server
def test_the_page_of_a_job_shows_the_viewer_with_its_scans_and_label_map(http, job, scans):
    page = http.get(f"/jobs/{job['id']}")
    viewer = http.get(f"/jobs/{job['id']}/view")
    assert f'<iframe src="/jobs/{job["id"]}/view"' in page.text or http.get("/static/view.js").status_code == 404
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    assert viewer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "script-src 'self';" in viewer.headers["content-security-policy"]
    manifest = manifest_of(viewer.text)
    (exam,) = manifest["exams"]
    assert manifest["corrections"] == f"/api/v1/jobs/{job['id']}/corrections"
    for name, path in scans.items():
        found = http.get(f"/jobs/{job['id']}/files/{exam['scans'][name]['file']}")
        assert found.content == path.read_bytes()
    assert exam["segmentation"]["codes"] == [0, 1, 2, 4]
    for path in ("files/99", "files/..%2fjob.json", "files/manifest.json", "files/-1", "view/manifest.json"):
        assert http.get(f"/jobs/{job['id']}/{path}").status_code in (404, 422), path
    assert http.get(f"/jobs/{new_id()}/view").status_code == 404


@pytest.mark.server
def test_a_correction_is_kept_beside_the_result_with_its_own_report_and_for_training(
    server, http, job, result, tmp_path
):
    before = http.get(f"/api/v1/jobs/{job['id']}/results/case_seg.nii.gz").content
    labels = changed(result)
    with server.client() as client:
        kept = client.correct(job["id"], labels, WHO)
        fetched = client.fetch_correction(job["id"], kept, tmp_path / "fetched")
    assert (kept["number"], kept["who"]) == (1, WHO)
    assert kept["notes"] == ["The scans did not come as DICOM, so there is no DICOM segmentation."]
    assert str(server.folder) not in str(kept)
    files = {path.name: path.read_bytes() for path in fetched}
    assert files.keys() == {file["name"] for file in kept["results"]}
    # The result is what it was, and no file of a correction is called as one of it.
    assert http.get(f"/api/v1/jobs/{job['id']}/results/case_seg.nii.gz").content == before
    assert not {file["name"] for file in job["results"]} & set(files)
    case = next(name for name in files if name.endswith(".zip")).removesuffix(".zip")
    zipfile.ZipFile(io.BytesIO(files[f"{case}.zip"])).extractall(tmp_path / "unpacked")
    for folder in (tmp_path / "unpacked", server.folder.parent / "training"):
        (found,) = find_cases(folder)
        assert found.case_id == case
        np.testing.assert_array_equal(read_label_map(found.reference, found.labels)[0], labels)
    about = json.loads(files[f"{case}_correction.json"])
    assert (about["who"], about["original"]) == (WHO, "case_seg.nii.gz")
    assert about["tool"].startswith("gliomask serve ")
    assert f"Corrected by hand by {html.escape(WHO)}" in files[f"{case}_report.html"].decode()
    assert kept["volumes_ml"] == pytest.approx(
        {row.split("\t")[1]: float(row.split("\t")[4]) for row in files[f"{case}_volumes.tsv"].decode().splitlines()
         if row.startswith("region")}
    )  # fmt: skip
    report = http.get(f"/jobs/{job['id']}/corrections/1/report")
    assert "sandbox" in report.headers["content-security-policy"]
    page = http.get(f"/jobs/{job['id']}").text
    assert WHO not in page
    assert f"Correction 1 by {html.escape(WHO)}" in page
    shown = manifest_of(http.get(f"/jobs/{job['id']}/view?correction=1").text)
    assert shown["exams"][0]["segmentation"]["url"].endswith(f"/corrections/1/{case}_seg.nii.gz")
    assert len(manifest_of(http.get(f"/jobs/{job['id']}/view?beside=1").text)["exams"]) == 2
    for path in (f"corrections/1/..%2f{case}.zip", "corrections/1/sent.json", "corrections/2/x", "corrections/1/x"):
        assert http.get(f"/api/v1/jobs/{job['id']}/{path}").status_code == 404, path
    with Client(server.url, TOKEN) as client:
        assert [one["number"] for one in client.job(job["id"])["corrections"]] == [1]
    assert job["id"] not in server.log()
    assert "A. <B>" not in server.log()


@pytest.mark.server
def test_what_is_no_correction_is_refused_and_leaves_nothing(server, http, job, result):
    place = f"/api/v1/jobs/{job['id']}/corrections"
    folder = server.folder / "jobs" / job["id"] / "corrections"
    before = sorted(folder.iterdir()) if folder.is_dir() else []
    good = packed(changed(result))
    assert httpx.post(server.url + place, json={}, trust_env=False).status_code == 401
    refusals = [
        (send(http, job, good, headers={"Origin": "http://evil.example"}), 403, "cross_site"),
        (send(http, job, good, headers={"Sec-Fetch-Site": "cross-site"}), 403, "cross_site"),
        (http.post(place, content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type"),
        (http.post(f"/api/v1/jobs/{new_id()}/corrections", json={}), 404, "no_such_job"),
        (send(http, job, packed(np.zeros((300, 300, 300)))), 422, "no_correction"),
    ]
    for answer, status, code in refusals:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    pieces, headers = iter([b" " * (1 << 20)] * 65), {"Content-Type": "application/json"}
    with http.stream("POST", place, content=pieces, headers=headers) as long:
        assert long.status_code == 413
    assert (sorted(folder.iterdir()) if folder.is_dir() else []) == before
    wait_for(lambda: not list((server.folder / "incoming").iterdir()), 10)


@pytest.mark.server
def test_a_job_that_has_not_ended_has_nothing_to_correct(server, http, scans):
    with server.client() as client:
        waiting = client.submit(scans, title="sleep")
        answer = send(http, waiting, "")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_finished")
        assert http.get(f"/jobs/{waiting['id']}/view").status_code == 409
        client.cancel(waiting["id"])
        wait_for(lambda: client.job(waiting["id"])["state"] == "cancelled")
    assert send(http, waiting, "").json()["code"] == "no_such_result"


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan])
def test_the_client_sends_no_values_that_would_become_other_labels(value):
    with Client("http://127.0.0.1:9") as client, pytest.raises(UsageError, match="A label map holds"):
        client.correct("0" * 32, np.full((2, 2, 2), value), WHO)


def test_a_correction_beyond_the_limit_is_refused_also_where_another_was_kept_meanwhile(tmp_path):
    store, folders = JobStore(tmp_path / "jobs.sqlite3"), Folders(tmp_path)
    job = Job(new_id(), Kind.NIFTI, State.QUEUED, JobOptions(), 1.0)
    store.add(job)
    store.claim()
    store.finish(job.id, State.DONE, JobOutcome(), 60)
    kept = Correction(who=WHO, when="2026-11-27T12:00:00Z", changed_ml=1.0, results=(), volumes_ml={})

    class SlowReceiver:
        @asynccontextmanager
        async def body(self, *_):
            store.corrected(job.id, "other", kept, 1)
            yield tmp_path / "body"

    corrector = Corrector(ServerSettings(tmp_path, limits=Limits(corrections=1)), folders, store, SlowReceiver())
    with pytest.raises(RequestError) as refused:
        asyncio.run(corrector.receive(None, job))
    assert refused.value.code == "too_many_corrections"
    assert not (folders.jobs / job.id).exists()
    store.close()


def test_a_copy_for_training_that_cannot_be_made_is_said_and_logged(tmp_path, caplog):
    (tmp_path / "kept").mkdir()
    (tmp_path / "no folder").write_text("a file")
    assert _for_training(tmp_path / "kept", tmp_path / "no folder", "a") == [
        "No copy could be put into the folder for training. Tell whoever runs the server."
    ]
    assert "no folder" in caplog.text


def test_a_copy_for_training_gets_its_place_once_the_table_knows_it_also_after_a_kill(tmp_path):
    # The copy was made before the table knew: a kill between the two left one without the other.
    store, folders, training = JobStore(tmp_path / "jobs.sqlite3"), Folders(tmp_path / "data"), tmp_path / "training"
    folders.make()
    job = Job(new_id(), Kind.NIFTI, State.QUEUED, JobOptions(), 1.0)
    store.add(job)
    store.claim()
    store.finish(job.id, State.DONE, JobOutcome(), 60)
    given = Correction(who=WHO, when="2026-11-27T12:00:00Z", changed_ml=1.0, results=(), volumes_ml={})
    for name in ("a", "b", "c"):
        (folders.jobs / job.id / "corrections" / name).mkdir(parents=True)
        (tmp_path / name).mkdir()
        (tmp_path / name / "x_seg.nii.gz").write_text(name)
        assert _for_training(tmp_path / name, training, name) == []
    assert {path.name[0] for path in training.iterdir()} == {"."}
    for name in "ab":
        store.corrected(job.id, name, given, 5)
    recover(folders, store, Limits(), training)
    (place,) = training.iterdir()
    assert (place.name, (place / "x_seg.nii.gz").read_text()) == (case_of(job.id), "b")
    store.close()


def test_a_turn_for_receiving_ends_with_the_body(tmp_path):
    # A correction held it while its worker ran, for up to five minutes.
    async def run():
        receiver = Receiver(tmp_path, Limits(uploads=1, free_disk_bytes=0))

        def request():
            async def stream():
                yield b"{}"

            return SimpleNamespace(headers={"content-type": "application/json"}, stream=stream)

        async with receiver.body(request(), "application/json", 10) as first:
            async with asyncio.timeout(5), receiver.body(request(), "application/json", 10) as second:
                assert first.read_bytes() == second.read_bytes() == b"{}"
            assert not second.exists()
        assert list(tmp_path.iterdir()) == []

    asyncio.run(run())


def test_a_damaged_manifest_is_logged_and_a_missing_one_is_not(tmp_path, caplog):
    assert view_files.manifest_of(tmp_path) is None
    assert caplog.text == ""
    (tmp_path / view_files.VIEW).mkdir()
    (tmp_path / view_files.VIEW / view_files.MANIFEST).write_text('{"gliomask": "0.1", "exams": []}')
    assert view_files.manifest_of(tmp_path) is None
    assert "manifest.json is damaged" in caplog.text


def test_corrections_are_counted_limited_and_forgotten_with_their_job(tmp_path):
    store = JobStore(tmp_path / "jobs.sqlite3")
    one = Job(new_id(), Kind.NIFTI, State.QUEUED, JobOptions(), 1.0)
    store.add(one)
    given = Correction(who="Dr Unmistakable", when="2026-11-27T12:00:00Z", changed_ml=1.0, results=(), volumes_ml={})
    assert store.corrected(one.id, "a", given, 2) is None
    store.claim()
    store.finish(one.id, State.DONE, JobOutcome(), 60)
    assert store.corrected("another", "a", given, 2) is None
    assert [store.corrected(one.id, name, given, 2).number for name in "ab"] == [1, 2]
    assert store.corrected(one.id, "c", given, 2) is None
    # What a server that was killed left unfinished goes at the next start.
    folders = Folders(tmp_path)
    folders.make()
    for name in "abz":
        (folders.jobs / one.id / "corrections" / name).mkdir(parents=True)
    recover(folders, store, Limits())
    assert {path.name for path in (folders.jobs / one.id / "corrections").iterdir()} == {"a", "b"}
    assert {folder: found.number for folder, found in store.corrections(one.id).items()} == {"a": 1, "b": 2}
    known = [path for path in tmp_path.glob("jobs.sqlite3*") if b"Unmistakable" in path.read_bytes()]
    assert known
    store.expire([one.id])
    # Not in free pages or in the log either, while the table is open.
    assert not [path for path in tmp_path.glob("jobs.sqlite3*") if b"Unmistakable" in path.read_bytes()]
    assert store.corrections(one.id) == {}
    assert store.corrected(one.id, "d", given, 2) is None
    store.close()


def test_a_correction_is_sent_until_the_archive_has_it_or_the_tries_are_over(tmp_path):
    store = JobStore(tmp_path / "jobs.sqlite3")
    one = Job(new_id(), Kind.DICOM, State.QUEUED, JobOptions(), 1.0, study_uid="1.2.3")
    store.add(one)
    store.claim()
    store.finish(one.id, State.DONE, JobOutcome(), 60)
    given = Correction(who="A. B.", when="2026-11-27T12:00:00Z", changed_ml=1.0, results=(), volumes_ml={})
    store.corrected(one.id, "kept here", given, 5)
    store.corrected(one.id, "to send", given.model_copy(update={"delivery": DeliveryState.DUE}), 5)
    ((job, folder, due),) = store.due_corrections()
    assert (job.id, folder, due.number, due.deliveries) == (one.id, "to send", 2, 0)
    store.correction_delivered(one.id, 2, DeliveryState.DUE)
    ((_, _, due),) = store.due_corrections()
    assert due.deliveries == 1
    store.correction_delivered(one.id, 2, DeliveryState.SENT)
    assert store.due_corrections() == []
    assert [found.delivery for found in store.corrections(one.id).values()] == [DeliveryState.NONE, DeliveryState.SENT]
    store.close()
    # An archive that does not answer is asked again, and not for ever.
    settings = ServerSettings(folder=tmp_path, send_to="http://127.0.0.1:9/dicom-web")
    (tmp_path / "a.dcm").write_bytes(b"x")
    assert [deliver(settings, "short", [tmp_path / "a.dcm"], before) for before in (0, TRIES - 1)] == [
        DeliveryState.DUE,
        DeliveryState.FAILED,
    ]
    assert deliver(settings, "short", [], 0) is DeliveryState.SENT


@pytest.mark.parametrize(
    ("study_uid", "send_to", "name", "expected"),
    [
        ("1.2.3", "http://archive", "case_seg_seg.dcm", DeliveryState.DUE),
        ("", "http://archive", "case_seg_seg.dcm", DeliveryState.NONE),
        ("1.2.3", None, "case_seg_seg.dcm", DeliveryState.NONE),
        ("1.2.3", "http://archive", "case_seg.nii.gz", DeliveryState.NONE),
    ],
)
def test_objects_of_corrections_go_where_those_of_the_job_went(tmp_path, study_uid, send_to, name, expected):
    settings = ServerSettings(folder=tmp_path, send_to=send_to)
    job = Job(new_id(), Kind.DICOM, State.DONE, JobOptions(), 1.0, study_uid=study_uid)
    file = ResultFile(name=name, bytes=1, sha256="0")
    given = Correction(who="A", when="2026-11-27T12:00:00Z", changed_ml=1.0, results=(file,), volumes_ml={})
    corrector = Corrector(settings, None, None, None)
    assert corrector._to_be_sent(job, given).delivery is expected


def test_a_message_that_names_a_folder_of_the_server_goes_to_its_log_alone(caplog):
    told = without_paths("/srv/gliomask/secret: cannot be written")
    assert told == "What went wrong names a folder of the server, so it stands in the job's log alone."
    assert "/srv/gliomask/secret: cannot be written" in caplog.text
    assert without_paths("results/case_seg.nii.gz: is empty") == "case_seg.nii.gz: is empty"
