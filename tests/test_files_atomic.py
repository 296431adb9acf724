"""Files are whole or not there, temporary names are unique, and what killed runs left is cleared away."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gliomask.errors import LimitError, UsageError
from gliomask.files.atomic import all_or_none, make_folder, replacing, sweep, temporary_folder, write_bytes
from gliomask.files.owner import Owner, this_process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dead_owner() -> Owner:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Owner(this_process().place, process.pid, 1)


def test_many_writers_of_one_path_all_succeed_and_one_content_stays(tmp_path):
    path, contents, errors = tmp_path / "x", [bytes([n]) * 100_000 for n in range(40)], []

    def write(content: bytes) -> None:
        try:
            write_bytes(path, content)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["x"]


def test_one_of_two_exclusive_writers_is_refused_and_the_first_stays(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(UsageError, match="exists. Give --overwrite"), replacing(path, exclusive=True) as slow:
        slow.write(b"slow")
        write_bytes(path, b"quick", exclusive=True)
    assert path.read_bytes() == b"quick"
    assert names(tmp_path) == ["x"]


def test_exclusive_writing_works_without_hard_links(tmp_path, monkeypatch):
    def unsupported(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    write_bytes(tmp_path / "x", b"1", exclusive=True)
    with pytest.raises(UsageError, match="exists"):
        write_bytes(tmp_path / "x", b"2", exclusive=True)
    assert (tmp_path / "x").read_bytes() == b"1"


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are POSIX's")
def test_results_have_the_rights_of_any_new_file(tmp_path):
    write_bytes(tmp_path / "ours", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("letters", [250, 300])
def test_long_names_are_written_or_refused_in_words(tmp_path, letters):
    path = tmp_path / ("x" * letters)
    if letters < 256:
        write_bytes(path, b"1")
        assert path.read_bytes() == b"1"
        return
    with pytest.raises(UsageError, match="name too long.*Give a shorter name"):
        write_bytes(path, b"1")
    assert names(tmp_path) == []


def test_a_block_that_fails_removes_what_it_wrote_and_nothing_else(tmp_path):
    old, mine, theirs = tmp_path / "old", tmp_path / "mine", tmp_path / "theirs"
    write_bytes(old, b"old")
    with pytest.raises(RuntimeError), all_or_none([old, mine, theirs, tmp_path / "replaced"]):
        write_bytes(old, b"new")
        write_bytes(mine, b"1")
        write_bytes(tmp_path / "replaced", b"mine")
        # Another run writes meanwhile: what it wrote is not this run's to delete.
        for name in ("theirs", "replaced"):
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    f"import pathlib; p=pathlib.Path({str(tmp_path / 'n')!r}); p.write_text('x'); "
                    f"p.replace({str(tmp_path / name)!r})",
                ]
            )
        raise RuntimeError
    assert names(tmp_path) == ["old", "replaced", "theirs"]


def test_what_a_killed_writer_left_is_cleared_away_by_the_next_and_a_living_ones_stays(tmp_path):
    script = """
import sys, time
from pathlib import Path
from gliomask.files.atomic import replacing
with replacing(Path(sys.argv[1])) as stream:
    stream.write(b"half"); stream.flush()
    print("writing", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        assert sweep(tmp_path, again=True) == []
        (left,) = names(tmp_path)
        process.kill()
    (swept,) = sweep(tmp_path, again=True)
    assert swept.name == left
    assert names(tmp_path) == []


def test_leftovers_of_unknown_owners_stay_until_they_are_old(tmp_path):
    for name in (
        ".gliomask-0a0a0a0a-12-7_abc.part",
        "gliomask-0a0a0a0a-12-7_abc",
        ".gliomask-me.part",
        ".x_seg.nii.gz.12.part",
        "gliomask-notes",
    ):
        (tmp_path / name).touch()
    assert sweep(tmp_path, again=True) == []
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 10 * 24 * 3600,) * 2)
    assert sorted(path.name for path in sweep(tmp_path, again=True)) == [
        ".gliomask-0a0a0a0a-12-7_abc.part",
        "gliomask-0a0a0a0a-12-7_abc",
    ]
    assert names(tmp_path) == [".gliomask-me.part", ".x_seg.nii.gz.12.part", "gliomask-notes"]


def test_temporary_folders_go_with_their_block_and_with_the_next_run(tmp_path):
    left = tmp_path / f"gliomask-{dead_owner()}_abc"
    left.mkdir()
    (left / "patient.dcm").touch()
    with temporary_folder(tmp_path) as folder:
        (folder / "x").touch()
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []


def test_a_link_under_a_leftovers_name_is_removed_and_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "scan").touch()
    (tmp_path / f"gliomask-{dead_owner()}_abc").symlink_to(kept)
    assert len(sweep(tmp_path, again=True)) == 1
    assert names(kept) == ["scan"]


def test_a_full_disk_is_a_limit(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LimitError, match="Make room there"):
        write_bytes(tmp_path / "x", b"1")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["", "abc", "0a0a0a0a-1", "0a0a0a0a-x-1", "0a0a0a0a-1-" + "9" * 30, "0a0a0a0a-1-\u0663"]
)
def test_what_is_no_owner_is_none(text):
    assert Owner.parse(text) is None


def test_an_owner_is_read_back_and_lives():
    me = this_process()
    assert Owner.parse(str(me)) == me
    assert me.is_dead is False
    assert dead_owner().is_dead is True
    assert Owner("0a0a0a0a", 1, 1).is_dead is None


def test_a_folder_whose_name_is_too_long_is_refused_in_words(tmp_path):
    with pytest.raises(UsageError, match="Give a shorter name"):
        make_folder(tmp_path / ("x" * 300))
