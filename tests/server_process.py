"""Starts a server in a process of its own, with the worker of the tests, so that it can be killed like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gliomask.server.client import Client

HERE = Path(__file__).resolve().parent
WORKER = (sys.executable, str(HERE / "server_worker.py"))
START_SECONDS = 60


@dataclass
class Running:
    url: str
    process: subprocess.Popen
    folder: Path
    token: str | None = None

    def client(self, **options) -> Client:
        return Client(self.url, self.token, **options)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()


@contextmanager
def running_server(
    folder: Path, *, real_worker: bool = False, token: str | None = None, limits: dict | None = None, **settings
) -> Iterator[Running]:
    """A server on a free port; `limits` and `settings` are fields of `server.settings`."""
    values = {
        "folder": str(folder),
        "port": 0,
        "token": token,
        "limits": limits or {},
        "workers": 2,
        "threads": 1,
        **settings,
    }
    if not real_worker:
        values["worker_command"] = WORKER
    log = folder.parent / f"{folder.name}.log"
    path = os.pathsep.join([str(HERE), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "server_process.py"), json.dumps(values)],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http"), log.read_text()
        running = Running(url, process, folder, token)
        wait_for(lambda: _healthy(running), START_SECONDS)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def _healthy(running: Running) -> bool:
    import httpx

    assert running.process.poll() is None, running.log()
    try:
        return httpx.get(f"{running.url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition, seconds: float = 60):
    """Returns the first true value of a condition."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def main(text: str) -> None:
    import click

    from gliomask.server.listen import listen
    from gliomask.server.settings import Limits, ServerSettings

    values = json.loads(text)
    values["limits"] = Limits(**values["limits"])
    for name in ("folder", "corrections"):
        if name in values:
            values[name] = Path(values[name])
    for name in ("worker_command", "host_names", "send_login"):
        if name in values:
            values[name] = tuple(values[name])
    listen(ServerSettings(**values), click.echo)


if __name__ == "__main__":
    main(sys.argv[1])
