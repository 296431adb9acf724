"""Jobs of a running server: uploads, results, progress, cancelling, expiry, and what is left when a process is
killed.
"""

import gzip
import hashlib
import io
import os
import signal
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from server_process import running_server, wait_for

from gliomask.case import Case
from gliomask.geometry import Geometry
from gliomask.segmentation import Options, Segmenter
from gliomask.server.client import RefusedError

pytestmark = pytest.mark.server

SEQUENCES = ("flair", "t1", "t1ce", "t2")
FINAL = ("done", "failed", "cancelled")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as found:
        yield found


def scans_of(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{folder.name}_{name}.nii.gz" for name in SEQUENCES}


@pytest.fixture
def scans(tmp_path, tiny_case) -> dict[str, Path]:
    return scans_of(write_brats_case(tmp_path / "cases", tiny_case))


def expected(case: Case) -> np.ndarray:
    """The label map as the library gives it, with the numbers of 2021."""
    with Segmenter(Options()) as segmenter:
        return np.array([0, 1, 2, 4], np.uint8)[segmenter.run(case).label_map]


def label_map(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).astype(np.uint8)


def test_four_files_become_the_label_map_that_the_library_gives(client, scans, tiny_case, tmp_path, fake_model):
    seen = []
    job = client.wait(client.submit(scans, title="first")["id"], lambda job: seen.append(job["state"]))
    assert job["state"] == "done", job["failure"]
    assert job["options"]["title"] == "first"
    assert seen[-1] == "done"
    names = {path.name for path in client.fetch(job, tmp_path / "results")}
    assert {"case_seg.nii.gz", "case_volumes.tsv", "case_run.json", "case_report.html", "case_preview.png"} <= names
    np.testing.assert_array_equal(label_map(tmp_path / "results" / "case_seg.nii.gz"), expected(tiny_case))
    assert job["volumes_ml"]["WT"] > 0


def test_results_do_not_tell_where_the_server_keeps_them(server, client, scans, tmp_path):
    job = client.wait(client.submit(scans)["id"])
    for path in client.fetch(job, tmp_path / "results"):
        assert str(server.folder).encode() not in path.read_bytes(), path.name


def test_scans_are_given_to_viewers_as_they_came(server, client, scans):
    job_id = client.wait(client.submit(scans)["id"])["id"]
    for name, path in scans.items():
        answer = httpx.get(f"{server.url}/api/v1/jobs/{job_id}/scans/{name}", trust_env=False)
        assert answer.content == path.read_bytes()
        assert answer.headers["content-disposition"] == f'attachment; filename="case_{name}.nii.gz"'
    assert httpx.get(f"{server.url}/api/v1/jobs/{job_id}/scans/..%2f..", trust_env=False).status_code == 404
    assert httpx.get(f"{server.url}/api/v1/jobs/{job_id}/scans/other", trust_env=False).status_code == 422


def test_the_archive_of_results_holds_them_all(server, client, scans, tmp_path):
    job = client.wait(client.submit(scans)["id"])
    content = httpx.get(f"{server.url}/api/v1/jobs/{job['id']}/results/results.zip", trust_env=False).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        hashes = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    assert hashes == {file["name"]: file["sha256"] for file in job["results"] if file["name"] != "results.zip"}


def test_a_folder_and_a_zip_are_told_apart_by_names_of_files(client, scans, tmp_path):
    # What is no scan of the four is left out, and that is said.
    (next(iter(scans.values())).parent / "tiny_seg.nii.gz").write_bytes(scans["t1"].read_bytes())
    archive = tmp_path / "patient.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in [*scans.values(), scans["t1"].with_name("tiny_seg.nii.gz")]:
            packed.write(path, f"some/{path.name}")
    ids = [client.submit(place)["id"] for place in (next(iter(scans.values())).parent, archive)]
    by_folder, by_zip = (client.wait(job_id) for job_id in ids)
    assert by_folder["state"] == by_zip["state"] == "done", (by_folder, by_zip)
    assert by_folder["volumes_ml"] == by_zip["volumes_ml"]
    assert (
        by_folder["notes"]
        == by_zip["notes"]
        == ["1 file was left out: by name or content no scan of the four sequences."]
    )


def test_two_patients_at_once_get_their_own_results(client, tmp_path, fake_model):
    cases = [make_tiny_case(f"patient{number}", seed=number) for number in range(4)]
    # The lump of every second one is mirrored, so that a mix-up shows.
    cases = [
        Case(
            case.case_id,
            {s: v[:, ::-1, :].copy() if n % 2 else v for s, v in case.volumes.items()},
            Geometry(case.geometry.shape, case.geometry.affine),
        )
        for n, case in enumerate(cases)
    ]
    folders = [write_brats_case(tmp_path / "cases", case) for case in cases]
    with ThreadPoolExecutor(4) as threads:
        jobs = list(threads.map(lambda folder: client.wait(client.submit(scans_of(folder))["id"]), folders))
    for case, job in zip(cases, jobs, strict=True):
        client.fetch(job, tmp_path / job["id"])
        np.testing.assert_array_equal(label_map(tmp_path / job["id"] / "case_seg.nii.gz"), expected(case))


def test_a_job_that_cannot_be_done_says_why_and_tells_no_path(server, client, scans, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(scans["t1"].read_bytes()[:200])
    job = client.wait(client.submit(scans | {"t1": broken})["id"])
    assert (job["state"], job["failure"]["code"]) == ("failed", "input")
    assert "t1.nii.gz" in job["failure"]["message"]
    assert "/" not in job["failure"]["message"].replace("gzip/", "")
    assert job["failure"]["hint"]
    with pytest.raises(Exception, match="no results"):
        client.fetch(job, tmp_path / "none")


@pytest.mark.parametrize(("title", "code"), [("crash", "unexpected"), ("memory", "limit")])
def test_a_worker_that_fails_is_a_failed_job_without_a_traceback(client, scans, title, code):
    job = client.wait(client.submit(scans, title=title)["id"])
    assert (job["state"], job["failure"]["code"]) == ("failed", code)
    assert "secret" not in str(job)
    assert "passwd" not in str(job)


def test_a_job_is_cancelled_while_it_runs_and_while_it_waits(client, scans):
    ids = [client.submit(scans, title="sleep")["id"] for _ in range(3)]
    wait_for(lambda: client.job(ids[0])["state"] == "running" and client.job(ids[1])["state"] == "running")
    assert client.job(ids[2])["state"] == "queued"
    for job_id in reversed(ids):
        client.cancel(job_id)
    assert {client.wait(job_id)["state"] for job_id in ids} == {"cancelled"}
    with pytest.raises(RefusedError, match="ended already"):
        client.cancel(ids[0])


def test_a_removed_job_is_gone_from_the_disk(server, client, scans):
    job_id = client.submit(scans, title="sleep")["id"]
    wait_for(lambda: client.job(job_id)["state"] == "running")
    assert (server.folder / "jobs" / job_id).is_dir()
    client.remove(job_id)
    assert not (server.folder / "jobs" / job_id).exists()
    with pytest.raises(RefusedError) as refused:
        client.job(job_id)
    assert (refused.value.status, refused.value.code) == (410, "expired")


def test_events_tell_of_progress_and_end_with_the_job(server, client, scans):
    job_id = client.submit(scans, title="pause1")["id"]
    with httpx.stream("GET", f"{server.url}/api/v1/jobs/{job_id}/events", timeout=60, trust_env=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    assert text.count("event: job\n") >= 2
    assert '"state":"done"' in text.splitlines()[-2]
    assert '"stage":"' in text


def test_a_killed_worker_is_a_failed_job(tmp_path, scans):
    with running_server(tmp_path / "data") as server, server.client() as client:
        job_id = client.submit(scans, title="sleep")["id"]
        pid = wait_for(lambda: worker_of(job_id))
        os.kill(pid, signal.SIGKILL)
        job = client.wait(job_id)
        assert (job["state"], job["failure"]["code"]) == ("failed", "worker_ended")
        # The queue goes on.
        assert client.wait(client.submit(scans)["id"])["state"] == "done"


def worker_of(job_id: str) -> int | None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if job_id.encode() in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
    return None


def test_a_killed_server_takes_its_workers_along_and_loses_no_job(tmp_path, scans):
    with running_server(tmp_path / "data") as server, server.client() as client:
        done = client.wait(client.submit(scans)["id"])
        ids = [client.submit(scans, title="pause3")["id"] for _ in range(4)]
        wait_for(lambda: worker_of(ids[0]) and worker_of(ids[1]))
        server.kill()
        wait_for(lambda: worker_of(ids[0]) is None and worker_of(ids[1]) is None, 20)
    with running_server(tmp_path / "data") as server, server.client() as client:
        assert client.job(done["id"])["state"] == "done"
        assert {client.wait(job_id)["state"] for job_id in ids} == {"done"}


def test_a_job_that_the_server_dies_of_again_and_again_fails(tmp_path, scans):
    with running_server(tmp_path / "data") as server, server.client() as client:
        job_id = client.submit(scans, title="sleep")["id"]
        wait_for(lambda: client.job(job_id)["state"] == "running")
        server.kill()
    with running_server(tmp_path / "data") as server, server.client() as client:
        wait_for(lambda: client.job(job_id)["state"] == "running")
        server.kill()
    with running_server(tmp_path / "data") as server, server.client() as client:
        job = client.job(job_id)
        assert (job["state"], job["failure"]["code"]) == ("failed", "interrupted")


def test_a_server_that_is_stopped_goes_on_where_it_was(tmp_path, scans):
    with running_server(tmp_path / "data") as server, server.client() as client:
        job_id = client.submit(scans, title="pause2")["id"]
        wait_for(lambda: client.job(job_id)["state"] == "running")
    assert server.process.returncode in (0, -signal.SIGTERM)
    with running_server(tmp_path / "data") as server, server.client() as client:
        assert client.wait(job_id)["state"] == "done"


def test_two_servers_do_not_share_a_folder(tmp_path, server):
    with pytest.raises(AssertionError), running_server(server.folder):
        pass


def test_jobs_end_at_their_time_limit_and_expire(tmp_path, scans):
    with (
        running_server(tmp_path / "data", limits={"job_seconds": 1.5, "keep_seconds": 0.2}) as server,
        server.client() as client,
    ):
        job_id = client.submit(scans, title="sleep")["id"]
        state = wait_for(lambda: client.job(job_id)["state"] not in ("queued", "running") and client.job(job_id))
        assert state["failure"]["code"] == "time_limit"
        server.kill()
    # What has expired is removed at the start, and then once a minute.
    with running_server(tmp_path / "data") as server:
        wait_for(lambda: not (server.folder / "jobs" / job_id).exists())
        answer = httpx.get(f"{server.url}/api/v1/jobs/{job_id}", trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (410, "expired")


def changed(content: bytes, at: int, new: bytes) -> bytes:
    raw = bytearray(gzip.decompress(content))
    raw[at : at + len(new)] = new
    return gzip.compress(bytes(raw), 1)


# Offsets of nifti1.h: dim 40, datatype 70, pixdim 76, vox_offset 108, sform 280.
HOSTILE = {
    "more voxels than any memory": (40, b"\x03\0\xff\x7f\xff\x7f\xff\x7f"),
    "no voxels": (40, b"\x03\0\0\0\0\0\0\0"),
    "a negative dimension": (40, b"\x03\0\xff\xff\x10\0\x10\0"),
    "99 dimensions": (40, b"\x63\0"),
    "an unknown data type": (70, b"\xff\x7f"),
    "voxels beyond the end": (108, np.float32(1e9).tobytes()),
    "voxels inside the header": (108, np.float32(-8).tobytes()),
    "an affine that is no number": (280, np.float32("nan").tobytes() * 12),
    "an affine of zeros": (280, np.float32(0).tobytes() * 12),
}


def test_hostile_headers_end_as_failed_jobs_with_a_reason(server, client, scans, tmp_path):
    content, ids = scans["t1"].read_bytes(), {}
    for name, (at, new) in HOSTILE.items():
        (tmp_path / "t1.nii.gz").write_bytes(changed(content, at, new))
        ids[name] = client.submit(scans | {"t1": tmp_path / "t1.nii.gz"})["id"]
    for name, job_id in ids.items():
        job = client.wait(job_id)
        assert (job["state"], job["failure"]["code"]) == ("failed", "input"), (name, job)
        assert "t1.nii.gz" in job["failure"]["message"], name
        assert str(server.folder) not in str(job), name


def test_the_pages_take_scans_show_jobs_and_remove_them(server, scans):
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as browser:
        empty = [("files", ("", b"")), ("model", (None, "")), ("without", (None, ""))]
        sent = browser.post(
            "/jobs", files=[*empty, *((name, (path.name, path.read_bytes())) for name, path in scans.items())]
        )
        assert sent.status_code == 303, sent.text
        page = sent.headers["location"]
        text = wait_for(lambda: "Volumes" in (found := browser.get(page).text) and found)
        assert 'id="viewer"' in text
        report = browser.get(f"{page}/report")
        assert report.headers["content-type"].startswith("text/html")
        assert "sandbox" in report.headers["content-security-policy"]
        assert browser.get(f"{page}/picture").content.startswith(b"\x89PNG")
        assert page in browser.get("/").text
        assert browser.post(f"{page}/cancel").headers["location"] == page
        assert browser.post(f"{page}/delete").status_code == 303
        gone = browser.get(page, headers={"Accept": "text/html"})
        assert (gone.status_code, "have expired" in gone.text) == (410, True)
        assert page not in browser.get("/").text
        assert browser.get("/nothing", headers={"Accept": "text/html"}).text.startswith("<!doctype html>")
