"""Reading ahead: each result once, to whom it belongs, errors where they would have been, and every file read once."""

import threading
from collections import Counter

import pytest
from conftest import write_brats_case

from gliomask.cli.main import run
from gliomask.io import nifti
from gliomask.io.ahead import Ahead


class Key:
    pass


def test_work_that_was_begun_is_done_once_and_handed_out_once():
    calls = []
    ahead = Ahead(lambda key: calls.append(threading.current_thread().name) or len(calls))
    key, other = Key(), Key()
    ahead.begin(key)
    assert ahead.result(key) == 1
    assert calls == ["gliomask-ahead"]
    assert (ahead.result(other), ahead.result(key)) == (2, 3)
    assert calls[1:] == ["MainThread"] * 2


def test_an_error_is_raised_where_the_result_is_asked_for():
    def fail(key):
        raise ValueError("broken")

    ahead, key = Ahead(fail), Key()
    ahead.begin(key)
    with pytest.raises(ValueError, match="broken"):
        ahead.result(key)


def test_without_a_thread_the_work_is_done_when_it_is_asked_for(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ahead, key = Ahead(lambda key: "done"), Key()
    ahead.begin(key)
    assert ahead.result(key) == "done"


def test_a_command_reads_each_file_once(tiny_case, fake_model, tmp_path, monkeypatch):
    reads, read = Counter(), nifti.read_volume
    monkeypatch.setattr(nifti, "read_volume", lambda path: reads.update([path.name]) or read(path))
    folder = write_brats_case(tmp_path / "case", tiny_case)
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--raw", "never"]) == 0
    assert len(reads) == 4
    assert set(reads.values()) == {1}


def test_a_file_that_cannot_be_read_ends_the_command_as_before(tiny_case, fake_model, tmp_path, capsys):
    folder = write_brats_case(tmp_path / "case", tiny_case)
    broken = next(folder.glob("*t1ce*"))
    broken.write_bytes(broken.read_bytes()[:100])
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--raw", "never"]) == 3
    assert broken.name in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*seg*"))
