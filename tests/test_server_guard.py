"""What a server refuses: strangers, other sites, other names, names that are paths, bombs, floods and slow uploads; and
what its answers carry.
"""

import gzip
import io
import json
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner
from conftest import DEFAULT_SIGNALS, write_brats_case
from server_process import running_server, wait_for

from gliomask.errors import UsageError
from gliomask.server.access import session, session_holds
from gliomask.server.client import RefusedError
from gliomask.server.guard import host_name, same_site
from gliomask.server.problems import KINDS
from gliomask.server.settings import Limits, ServerSettings

SEQUENCES = ("flair", "t1", "t1ce", "t2")
TOKEN = "a-token-for-these-tests"
HOSTILE_NAMES = [
    "../../etc/passwd_t1.nii.gz",
    "C:\\windows\\t1.nii",
    "<script>alert(1)</script>_t1.nii.gz",
    "\u202et1.nii.gz",
    "a" * 3000 + "_t1.nii.gz",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    limits = {
        "upload_bytes": 3_000_000,
        "files": 20,
        "idle_seconds": 1.5,
        "least_bytes_per_second": 2000,
        "waiting_jobs": 60,
    }
    with running_server(tmp_path_factory.mktemp("guard") / "data", limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("closed") / "data", token=TOKEN) as running:
        yield running


@pytest.fixture
def scans(tmp_path, tiny_case) -> dict[str, bytes]:
    folder = write_brats_case(tmp_path / "cases", tiny_case)
    return {name: (folder / f"tiny_{name}.nii.gz").read_bytes() for name in SEQUENCES}


def send(server, files, data=None, **options) -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1/jobs", files=files, data=data or {}, timeout=60, trust_env=False, **options)


def get(server, path, **options) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False, timeout=30, **options)


def left_of_uploads(server) -> list[Path]:
    return list((server.folder / "incoming").iterdir())


# Settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_others_are_let_in_with_a_token_only(tmp_path, host):
    with pytest.raises(UsageError, match="a token is needed"):
        ServerSettings(tmp_path, host)
    assert ServerSettings(tmp_path, host, token=TOKEN).token == TOKEN
    assert TOKEN not in repr(ServerSettings(tmp_path, host, token=TOKEN))


@pytest.mark.parametrize("token", ["", "short", "with\nbreak-and-more-of-it", "ümlaut-ümlaut-ümlaut"])
def test_weak_tokens_are_refused(tmp_path, token):
    with pytest.raises(UsageError, match="printable ASCII"):
        ServerSettings(tmp_path, token=token)


def test_limits_must_make_sense():
    with pytest.raises(UsageError, match="upload_bytes is 0"):
        Limits(upload_bytes=0)


def test_the_command_refuses_others_without_a_token(tmp_path, monkeypatch):
    from gliomask.cli.main import run

    monkeypatch.delenv("GLIOMASK_TOKEN", raising=False)
    assert run(["serve", "-o", str(tmp_path), "--host", "0.0.0.0"]) == 2
    assert CliRunner().invoke(__import__("gliomask.cli.serve", fromlist=["command"]).command, ["--help"]).exit_code == 0


def test_sessions_end_and_cannot_be_made_up():
    cookie = session(TOKEN, now=1000.0)
    assert session_holds(cookie, TOKEN, now=1001.0)
    assert not session_holds(cookie, TOKEN, now=1000.0 + 13 * 3600)
    assert not session_holds(cookie, TOKEN + "x", now=1001.0)
    assert not session_holds("9" + cookie, TOKEN, now=1001.0)
    assert not session_holds("", TOKEN)
    assert not session_holds("é.é", TOKEN)


@pytest.mark.parametrize(
    ("headers", "is_same"),
    [
        ({"host": "a"}, True),
        ({"host": "a", "origin": "http://a"}, True),
        ({"host": "a", "origin": "http://b"}, False),
        ({"host": "a", "origin": "null"}, False),
        ({"host": "a:1", "origin": "http://a:2"}, False),
        ({"host": "a", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a", "sec-fetch-site": "same-site", "origin": "http://a"}, False),
        ({"host": "a", "sec-fetch-site": "cross-site"}, False),
        ({"host": "a", "sec-fetch-site": "none"}, True),
    ],
)
def test_pages_of_other_sites_are_told_by_headers(headers, is_same):
    assert same_site(headers) is is_same


def test_names_of_hosts_are_read_without_ports():
    assert [host_name(host) for host in ("LocalHost:80", "[::1]:9", "127.0.0.1", "", "[", "a b")] == [
        "localhost",
        "::1",
        "127.0.0.1",
        "",
        "",
        "a b",
    ]


# Doors


@pytest.mark.server
def test_nothing_but_health_and_the_sign_in_is_open_without_the_token(closed):
    for path in ("/", "/api/v1/jobs", "/openapi.json", "/metrics", "/api", "/dicomweb/studies"):
        answer = get(closed, path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert get(closed, path, headers={"Authorization": "Bearer wrong-wrong-wrong"}).status_code == 401
    assert get(closed, "/", headers={"Accept": "text/html"}).headers["location"] == "/login"
    assert get(closed, "/healthz").json() == {"status": "ok", "reasons": []}
    assert get(closed, "/api/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).json() == []
    assert get(closed, "/api/v1/jobs", auth=("anybody", TOKEN)).status_code == 200
    assert send(closed, {"t1": b"x"}).status_code == 401


@pytest.mark.server
def test_a_browser_signs_in_with_a_cookie_that_no_script_reads(closed):
    with httpx.Client(base_url=closed.url, trust_env=False) as browser:
        assert browser.post("/login", data={"token": "wrong"}).status_code == 401
        answer = browser.post("/login", data={"token": TOKEN})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert browser.get("/").status_code == 200
        browser.post("/logout")
        assert browser.get("/").status_code == 401


@pytest.mark.server
def test_other_names_of_the_host_are_refused(server):
    answer = get(server, "/healthz", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


@pytest.mark.server
@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_other_sites_cannot_send(server, scans, headers):
    answer = send(server, scans, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


@pytest.mark.server
def test_every_answer_forbids_foreign_content_and_framing(server):
    for path in ("/", "/api", "/nothing", "/api/v1/jobs", "/static/server.css", "/healthz"):
        headers = get(server, path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'"), path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.server
@pytest.mark.parametrize("path", ["/", "/api", "/login"])
def test_pages_ask_no_other_site_and_hold_no_inline_script(server, path):
    text = get(server, path, headers={"Accept": "text/html"}).text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<style" not in text
    assert all('src="/static/' in piece.partition(">")[0] for piece in text.split("<script")[1:])


# Uploads


@pytest.mark.server
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_of_files_are_data(server, scans, name):
    title = "<b>bold</b> & 'quoted'"
    files = [("files", (f"x_{other}.nii.gz", scans[other])) for other in SEQUENCES if other != "t1"]
    answer = send(server, [*files, ("t1", (name, scans["t1"]))], {"title": title})
    assert answer.status_code == 201, answer.text
    job_id = answer.json()["id"]
    # By its own name or by a number, and nowhere else.
    names = {path.name for path in (server.folder / "jobs" / job_id / "input").iterdir()}
    assert names == {f"{sequence}.nii.gz" for sequence in SEQUENCES}
    page = get(server, f"/jobs/{job_id}").text
    assert title not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "alert(1)" not in page
    httpx.delete(f"{server.url}/api/v1/jobs/{job_id}", timeout=30, trust_env=False)


@pytest.mark.server
def test_no_file_but_the_results_is_given_out(server, scans):
    job_id = send(server, scans).json()["id"]
    wait_for(lambda: get(server, f"/api/v1/jobs/{job_id}").json()["state"] == "done")
    for name in ["..%2f..%2fjob.json", "job.json", "%2e%2e", "..%5cjob.json", "worker.log", "results.zip%00", "."]:
        answer = get(server, f"/api/v1/jobs/{job_id}/results/{name}")
        assert answer.status_code == 404, name
        assert "memory_bytes" not in answer.text


@pytest.mark.server
@pytest.mark.parametrize(
    ("files", "data", "code"),
    [
        ({}, {"title": "none"}, "not_scans"),
        ({"t1": b"no scan at all"}, {}, "not_scans"),
        ({"t1": gzip.compress(b"x")}, {}, "not_scans"),
        ({"evil": gzip.compress(b"x")}, {}, "invalid"),
        ({"files": ("unnamed.nii.gz", gzip.compress(b"x"))}, {}, "not_scans"),
        ({"t1": gzip.compress(b"x")}, {"model": "../../etc"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"model": "/etc/passwd"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"without": "flair,t1ce"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"without": "t9"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"raw": "perhaps"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"title": "a\nb"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"title": "x" * 81}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"threads": "64"}, "invalid"),
        ({"t1": gzip.compress(b"x")}, {"title": "x" * 5000}, "too_large"),
    ],
)
def test_what_is_no_case_is_refused_with_a_code_and_leaves_nothing(server, files, data, code):
    answer = send(server, files or {"t1": ("", b"")}, data)
    assert answer.json()["code"] == code, answer.text
    assert answer.status_code == KINDS[code].status
    assert "/etc" not in answer.text
    wait_for(lambda: not left_of_uploads(server), 10)


@pytest.mark.server
def test_too_many_bytes_and_files_are_refused(server):
    assert send(server, {"t1": b"\0" * 3_100_000}).json()["code"] == "too_large"
    # Without a length in the header, too.
    body = (
        piece
        for piece in [
            b'--b\r\nContent-Disposition: form-data; name="t1"; filename="a"\r\n\r\n',
            *[b"\0" * 100_000] * 40,
        ]
    )
    with _either() as answers:
        answers.append(
            httpx.post(
                f"{server.url}/api/v1/jobs",
                content=body,
                headers={"Content-Type": "multipart/form-data; boundary=b"},
                timeout=30,
                trust_env=False,
            ).json()["code"]
        )
    assert answers == ["too_large"]
    assert send(server, [("files", (f"{n}", b"x")) for n in range(21)]).json()["code"] == "too_large"
    wait_for(lambda: not left_of_uploads(server), 10)


class _either:
    """A server may end the connection before all was sent; then the refusal is the connection's end."""

    def __enter__(self):
        self.answers = []
        return self.answers

    def __exit__(self, kind, error, trace):
        if isinstance(error, httpx.WriteError | httpx.RemoteProtocolError | httpx.ReadError):
            self.answers.append("too_large")
            return True
        return False


@pytest.mark.server
@pytest.mark.parametrize(
    "body", [b"", b"--b", b"--b\r\n\r\n", b"garbage", b"--b\r\nA: " + b"x" * 25000, b"--b\r\n" + b"A: b\r\n" * 40]
)
def test_bodies_that_are_not_in_parts_are_refused(server, body):
    answer = httpx.post(
        f"{server.url}/api/v1/jobs",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        trust_env=False,
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.server
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "x" * 250,
        "multipart/related; boundary=b",
        "",
    ],
)
def test_bodies_of_other_types_are_refused(server, kind):
    answer = httpx.post(f"{server.url}/api/v1/jobs", content=b"{}", headers={"Content-Type": kind}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.server
@pytest.mark.parametrize("pause", [3.0, 0.3])
def test_slow_uploads_are_ended_and_do_not_stop_others(server, scans, pause):
    address = urlsplit(server.url)
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000000\r\nContent-Type: "
        "multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="t1"; filename="a"\r\n\r\n'
    )

    def drip(_):
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(head.encode())
            try:
                for _ in range(40):
                    time.sleep(pause)
                    connection.sendall(b"x" * 10)
                    connection.settimeout(0.01)
                    try:
                        if found := connection.recv(4096):
                            return found
                    except TimeoutError:
                        pass
            except OSError:
                return b"ended"
        return b""

    with ThreadPoolExecutor(6) as threads:
        drips = threads.map(drip, range(6))
        assert send(server, scans).status_code == 201
        for answer in drips:
            assert b" 408 " in answer or answer == b"ended", answer
    wait_for(lambda: not left_of_uploads(server), 10)


@pytest.mark.server
def test_connections_without_a_request_are_closed(server):
    address = urlsplit(server.url)
    opened = [socket.create_connection((address.hostname, address.port), timeout=15) for _ in range(40)]
    for number, connection in enumerate(opened):
        # Some say nothing, some begin a head and never end it.
        connection.sendall(b"" if number % 2 else b"GET / HTTP/1.1\r\nHost: ")
    assert get(server, "/healthz").status_code == 200
    for connection in opened:
        assert connection.recv(100) == b""
        connection.close()


@pytest.mark.server
def test_more_connections_than_allowed_are_closed_at_once(tmp_path):
    with running_server(tmp_path / "data", limits={"connections": 5}) as server:
        address = urlsplit(server.url)
        opened = [socket.create_connection((address.hostname, address.port), timeout=5) for _ in range(8)]
        assert [connection.recv(1) for connection in opened[5:]] == [b""] * 3
        for connection in opened:
            connection.close()
        wait_for(lambda: _answers(server))


def _answers(server) -> bool:
    try:
        return get(server, "/healthz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.server
def test_the_command_serves_and_ends_with_its_signal(tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    program = f"{DEFAULT_SIGNALS}from gliomask.cli.main import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "serve",
        "-o",
        str(tmp_path / "data"),
        "--port",
        "0",
        "--token-file",
        str(token),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith("Listening on http://127.0.0.1:")
        url = line.split()[2].rstrip(".")
        wait_for(lambda: _answers(SimpleNamespace(url=url)))
        assert httpx.get(f"{url}/api/v1/jobs", trust_env=False).status_code == 401
        assert (
            httpx.get(f"{url}/api/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False).json() == []
        )
        # The folder is the server's user's alone, and no second server gets in.
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        assert (tmp_path / "data" / "jobs.sqlite3").stat().st_mode & 0o077 == 0
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert "another server runs in this folder" in second.stderr
        assert "Traceback" not in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert TOKEN not in process.stderr.read()


@pytest.mark.server
def test_bombs_end_as_failed_jobs(server, scans, tmp_path):
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in SEQUENCES:
            archive.writestr(f"x_{name}.nii.gz", b"\0" * (400 << 20) if name == "t1" else scans[name])
    header = bytearray(gzip.decompress(scans["t1"])[:352])
    gzipped = gzip.compress(bytes(header) + b"\0" * (300 << 20), 9)
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        for name in SEQUENCES:
            archive.writestr(f"../../../x_{name}.nii.gz", scans[name])
    ids = [
        send(server, {"files": ("a.zip", zeros.getvalue())}).json()["id"],
        send(server, scans | {"t1": gzipped}).json()["id"],
        send(server, {"files": ("a.zip", outside.getvalue())}).json()["id"],
    ]
    found = [
        wait_for(
            lambda job_id=job_id: (
                (job := get(server, f"/api/v1/jobs/{job_id}").json())["state"] in ("failed", "done") and job
            )
        )
        for job_id in ids
    ]
    assert [job["state"] for job in found] == ["failed"] * 3
    assert [job["failure"]["code"] for job in found] == ["limit", "input", "input"], [job["failure"] for job in found]
    assert not any("/" in job["failure"]["message"].replace("gzip/", "") for job in found), [
        job["failure"]["message"] for job in found
    ]


@pytest.mark.server
def test_a_full_queue_is_said(tmp_path, scans):
    with running_server(tmp_path / "data", workers=1, limits={"waiting_jobs": 1}) as server, server.client() as client:
        first = send(server, scans, {"title": "sleep"}).json()["id"]
        wait_for(lambda: client.job(first)["state"] == "running")
        assert send(server, scans).status_code == 201
        answer = send(server, scans)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "queue_full", "10")


@pytest.mark.server
def test_logs_name_no_file_and_no_whole_id(server, scans):
    job_id = send(
        server, [("files", (f"SMITH_JANE_{name}.nii.gz", content)) for name, content in scans.items()]
    ).json()["id"]
    wait_for(lambda: get(server, f"/api/v1/jobs/{job_id}").json()["state"] == "done")
    log = server.log()
    assert job_id[:6] in log
    assert job_id not in log
    assert "SMITH" not in log


@pytest.mark.server
def test_metrics_and_health_tell_figures(server):
    text = get(server, "/metrics").text
    assert 'gliomask_jobs{state="queued"}' in text
    assert "gliomask_free_disk_bytes" in text
    assert "gliomask_requests_total" in text


@pytest.mark.server
def test_the_client_says_what_the_server_refused(server, tmp_path):
    (tmp_path / "x_t1.nii.gz").write_bytes(b"nothing")
    with server.client() as client, pytest.raises(RefusedError) as refused:
        client.submit(tmp_path / "x_t1.nii.gz")
    assert (refused.value.status, refused.value.code) == (422, "not_scans")
    assert json.dumps(str(refused.value))
