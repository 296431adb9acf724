"""Many at once, and whatever the API's description allows: nothing is lost, and the server's memory stays bounded."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import schemathesis
from conftest import make_tiny_case, write_brats_case
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from server_process import running_server, wait_for

pytestmark = pytest.mark.server

SEQUENCES = ("flair", "t1", "t1ce", "t2")
UPLOADS = 50
PADDING_BYTES = 4 << 20
MOST_GROWTH_BYTES = 64 << 20
"""Fifty uploads of 4 MB each would be 200 MB in memory."""

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
)


RELATED = 'multipart/related; type="application/dicom"'


@schemathesis.serializer(RELATED)
def one_part(context, value):
    """Anything as one DICOM part of a body."""
    content = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    return b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--b--\r\n"


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10


@pytest.mark.slow
def test_fifty_uploads_at_once_are_all_kept_in_bounded_memory(tmp_path, rng):
    folder = write_brats_case(tmp_path / "cases", make_tiny_case())
    scans = {name: (folder / f"tiny_{name}.nii.gz").read_bytes() for name in SEQUENCES}
    # Bytes after the end of a gzip stream's volume: an upload of a real size with a tiny volume. Such a job fails,
    # which is an end as well.
    padded = scans | {"t1": scans["t1"] + rng.bytes(PADDING_BYTES)}
    limits = {"upload_bytes": 8 << 20, "uploads": 3}
    with (
        running_server(tmp_path / "data", limits=limits, workers=1) as server,
        httpx.Client(base_url=server.url, timeout=120, trust_env=False) as http,
    ):
        http.get("/")
        before = resident_bytes(server.process.pid)

        def send(number: int) -> str:
            answer = http.post("/api/v1/jobs", files=padded, data={"title": f"number {number}"})
            assert answer.status_code == 201, answer.text
            return answer.json()["id"]

        with ThreadPoolExecutor(UPLOADS) as threads:
            ids = list(threads.map(send, range(UPLOADS)))
        assert resident_bytes(server.process.pid, "VmHWM") - before < MOST_GROWTH_BYTES
        assert len(set(ids)) == UPLOADS
        jobs = {job["id"]: job for job in http.get("/api/v1/jobs").json()}
        assert {jobs[job_id]["options"]["title"] for job_id in ids} == {f"number {number}" for number in range(UPLOADS)}
        for job_id in ids:
            assert (server.folder / "jobs" / job_id / "input" / "t1.nii.gz").stat().st_size == len(padded["t1"])
            http.delete(f"/api/v1/jobs/{job_id}")
        assert not list((server.folder / "jobs").iterdir())


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("schema") / "data", limits={"waiting_jobs": 100_000}) as server:
        yield server


def test_the_api_keeps_to_its_description(described):
    schema = schemathesis.openapi.from_url(f"{described.url}/openapi.json")
    # By hand, since the plugin for pytest does not know the newest pytest.
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 9
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            def check(case):
                if case.media_type == RELATED:
                    case.headers = {**(case.headers or {}), "Content-Type": f"{RELATED}; boundary=b"}
                response = case.call(timeout=30)
                case.validate_response(response, checks=CHECKS)
                assert "Traceback" not in response.text
                assert str(described.folder) not in response.text

            with suppress(Unsatisfiable):
                # Of an operation that takes anything, nothing can be wrong.
                check()


def test_the_server_is_well_after_all_that(described):
    wait_for(lambda: httpx.get(f"{described.url}/healthz", trust_env=False).status_code == 200)
    assert "Traceback" not in described.log()
