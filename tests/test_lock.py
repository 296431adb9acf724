import subprocess
import sys

import pytest

from gliomask.errors import UsageError
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
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=rf"\(process {process.pid}\)"), locked(tmp_path):
            pass
        process.kill()
        process.wait()
        with locked(tmp_path) as held:
            assert held


def test_a_file_system_without_locks_is_told_and_not_hidden(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked(tmp_path) as held:
        assert not held
