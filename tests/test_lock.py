import os
import subprocess
import sys
import time

import pytest

from gliomask.errors import UsageError
from gliomask.files.json import to_json
from gliomask.files.lock import STALE_SECONDS, awaited
from gliomask.files.owner import machine, this_process
from gliomask.training.lock import locked

HOLD = """
import sys
from pathlib import Path
from gliomask.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_and_free_again_after(tmp_path):
    with locked(tmp_path) as held:
        assert held
        with pytest.raises(UsageError, match="another training runs in this folder"), locked(tmp_path):
            pass
    with locked(tmp_path) as held:
        assert held


def test_a_lock_names_its_process_and_dies_with_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(
                UsageError, match=rf"another training runs in this folder \(process {process.pid} on .+, since 20\d\d-"
            ),
            locked(tmp_path),
        ):
            pass
        process.kill()
        process.wait()
        with locked(tmp_path) as held:
            assert held


@pytest.fixture
def no_kernel_locks(monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)


def test_a_file_system_without_locks_is_locked_by_the_record(tmp_path, no_kernel_locks):
    with locked(tmp_path) as held:
        assert held
        with pytest.raises(UsageError, match=r"process \d+ on "), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def leave(folder, **fields):
    """The record of a process that is gone, or runs on another machine."""
    holder = {
        "what": "training",
        "host": "node7",
        "machine": "other",
        "owner": "0a0a0a0a-17-5",
        "pid": 17,
        "since": "2026-11-27 09:00:00",
    }
    (folder / ".lock").write_bytes(to_json(holder | fields))


def test_a_holder_on_another_machine_keeps_others_out_while_it_renews_its_time(tmp_path):
    leave(tmp_path)
    with pytest.raises(UsageError, match="process 17 on node7, since 2026-11-27 09:00:00"), locked(tmp_path):
        pass
    long_ago = time.time() - STALE_SECONDS - 60
    os.utime(tmp_path / ".lock", (long_ago, long_ago))
    with locked(tmp_path) as held:
        assert held


def test_a_dead_holder_without_the_kernels_locks_is_recognised(tmp_path, no_kernel_locks):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    me = this_process()
    leave(tmp_path, machine=machine(), owner=f"{me.place}-{dead.pid}-1")
    with locked(tmp_path) as held:
        assert held


def test_a_lock_that_is_no_record_is_taken(tmp_path):
    (tmp_path / ".lock").write_bytes(b"[" * 3000)
    with locked(tmp_path) as held:
        assert held
    assert (tmp_path / ".lock").read_bytes() == b""


def test_a_lock_that_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UsageError, match="cannot be written"), locked(tmp_path):
        pass


def test_only_another_holder_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(
        time, "sleep", lambda seconds: pytest.fail("a place that cannot be written to does not change by waiting")
    )
    (tmp_path / ".table.lock").mkdir()
    with pytest.raises(UsageError, match="cannot be written"), awaited(tmp_path, "table", ".table.lock"):
        pass
