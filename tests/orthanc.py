"""A real archive: Orthanc with its DICOMweb plug-in, on free ports, with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from server_process import wait_for

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "tester", "secret-of-tests"


@dataclass
class Orthanc:
    url: str

    @property
    def web(self) -> str:
        return f"{self.url}/dicom-web"

    def get(self, path: str, **options) -> httpx.Response:
        return httpx.get(self.url + path, auth=(USER, PASSWORD), trust_env=False, timeout=30, **options)

    def post(self, path: str, **options) -> httpx.Response:
        return httpx.post(self.url + path, auth=(USER, PASSWORD), trust_env=False, timeout=60, **options)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running_orthanc(folder: Path, servers: dict | None = None) -> Iterator[Orthanc]:
    """Skips where Orthanc is not installed; CI installs it (`.ci/debian-packages`)."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None or not PLUGIN.exists():
        # In CI they are installed: there a skipped test would be a check that was never made.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "needs Orthanc and its DICOMweb plug-in (apt install orthanc orthanc-dicomweb)"
        )
    port = free_port()
    settings = {
        "Name": "tests", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "HttpPort": port,
        "DicomPort": free_port(), "HttpBindAddresses": ["127.0.0.1"], "RemoteAccessAllowed": False,
        "DicomServerEnabled": False, "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": servers or {}},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
    orthanc = Orthanc(f"http://127.0.0.1:{port}")

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return orthanc.get("/dicom-web/studies").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for(ready, 60)
        yield orthanc
    finally:
        process.terminate()
        process.wait(30)
