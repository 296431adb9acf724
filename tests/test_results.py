"""Writing results whole: a process that dies at any step leaves old results or new ones; a record that is none is
refused by name.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask.errors import FileFormatError, UsageError
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RECORD_VERSION, parse_record, read_record, record_schema
from gliomask.results.resume import damaged
from gliomask.results.write import held, recover, write_case

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
"""Audit events (Python documentation, "Audit events table") that change a folder."""

AMOUNT = {"title": "whole tumour", "voxels": 1, "volume_ml": 0.001, "volume_mm3": 1.0}
FIELDS = {
    "record_version": RECORD_VERSION,
    "command": "segment",
    "finished": "2026-01-01T00:00:00+00:00",
    "case": "x",
    "inputs": {},
    "model": {"name": "m", "sha256": "0" * 64},
    "options": {},
    "volumes": {"labels": {"oedema": AMOUNT}, "regions": {"WT": AMOUNT}},
    "outputs": {},
}
OLD = {"x_seg.nii.gz": b"old map", "x_volumes.tsv": b"old volumes", "x_preview.png": b"old picture"}
NEW = {"x_seg.nii.gz": b"new map", "x_volumes.tsv": b"new volumes", "x_uncertainty.nii.gz": b"new doubts"}


def write(folder, files, case_id="x"):
    layout = CaseLayout.of(folder, case_id)

    def fill(staged):
        for name, content in files.items():
            (staged / name).write_bytes(content)

    record = read_record(layout.record) if layout.record.exists() else None
    earlier = () if record is None else tuple(record.outputs)
    return write_case(
        layout.place(case_id),
        fill,
        lambda outputs: parse_record(FIELDS | {"case": case_id, "outputs": outputs}, "x").to_bytes(),
        earlier,
    )


def visible(folder):
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith(".") and not path.name.endswith("_run.json")
    }


def die_at(step, folder):
    """Writes NEW in a child that ends without any clean-up before the given change of a folder; returns whether it came
    to its end.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event, arguments):
            nonlocal count
            writes = event != "open" or (
                isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if event in STEPS and writes:
                count += 1
                if count == step:
                    os._exit(9)

        sys.addaudithook(watch)
        try:
            write(folder, NEW)
        except BaseException:
            os._exit(8)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_dies_at_any_step_leaves_old_results_or_new_ones(tmp_path):
    outcomes, code, step = set(), 9, 0
    while code == 9:
        step += 1
        folder = tmp_path / str(step)
        write(folder, OLD)
        code = die_at(step, folder)
        record = read_record(folder / "x_run.json")
        if record is not None:
            # What a reader sees before anything is mended is whole.
            assert not damaged(record.outputs, folder), step
            assert visible(folder) in (OLD, NEW), step
        recover(CaseLayout.of(folder, "x").place("x"))
        record = read_record(folder / "x_run.json")
        assert record is not None, step
        assert not damaged(record.outputs, folder), step
        assert visible(folder) in (OLD, NEW), step
        assert not [path for path in folder.iterdir() if path.name.startswith(".gliomask-")], step
        outcomes.add(visible(folder) == NEW)
    assert code == 0
    assert outcomes == {False, True}
    assert step > 12


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux which file is flushed")
def test_results_survive_a_loss_of_power(tmp_path, monkeypatch):
    """The order of system calls: what must last before a name counts is flushed before it is given."""
    calls = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def seen(kind, path):
        calls.append((kind, Path(path).relative_to(tmp_path).as_posix().replace(".part", ".ready")))

    monkeypatch.setattr(os, "fsync", lambda fd: (seen("flush", Path(f"/proc/self/fd/{fd}").readlink()), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (seen("name", to), replace(self, to))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (seen("name", to), rename(self, to))[1])
    write(tmp_path, NEW)
    calls = [(kind, re.sub(r"-[0-9a-f]{16}\.([0-9a-f]{8}\.)?", ".", name)) for kind, name in calls]
    ready, hidden = calls.index(("name", ".gliomask.ready")), ".gliomask.ready"
    before = [name for kind, name in calls[:ready] if kind == "flush"]
    record, manifest = before.index(f"{hidden}/files/x_run.json"), before.index(f"{hidden}/manifest.json")
    assert f"{hidden}/files" in before[record:]
    assert hidden in before[manifest:]
    after = calls[ready + 1 :]
    place = after.index(("name", "x_run.json"))
    assert ("flush", ".") in after[:1]
    assert {name for kind, name in after[:place] if kind == "name"} == set(NEW)
    assert after[place - 1 : place + 2] == [("flush", "."), ("name", "x_run.json"), ("flush", ".")]


def test_an_error_leaves_the_old_results_and_nothing_else(tmp_path):
    write(tmp_path, OLD)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(staged):
        (staged / "x_seg.nii.gz").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_case(CaseLayout.of(tmp_path, "x").place("x"), fail, lambda outputs: b"")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["../other.txt", "y_seg.nii.gz", "/etc/hostname", "x_notes.txt"])
def test_a_record_that_names_files_of_others_gets_none_of_them_removed(tmp_path, name):
    write(tmp_path / "out", OLD)
    for path in (tmp_path / "other.txt", tmp_path / "out" / "y_seg.nii.gz", tmp_path / "out" / "x_notes.txt"):
        path.write_text("mine")
    record = tmp_path / "out" / "x_run.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"outputs": values["outputs"] | {name: "0" * 64}}))
    write(tmp_path / "out", NEW)
    assert visible(tmp_path / "out") == NEW | {"y_seg.nii.gz": b"mine", "x_notes.txt": b"mine"}
    assert (tmp_path / "other.txt").read_text() == "mine"


def test_a_folder_that_only_looks_like_ours_is_refused(tmp_path):
    place = CaseLayout.of(tmp_path, "x").place("x")
    place.ready.mkdir()
    (place.ready / "manifest.json").write_text(json.dumps({"files": ["../x", "x_run.json"], "stale": []}))
    with pytest.raises(UsageError, match="do not belong to case x"):
        recover(place)


def test_names_of_any_length_and_kind_are_written(tmp_path):
    name = "é" * 100
    write(tmp_path, {f"{name}_seg.nii.gz": b"1"}, name)
    assert (tmp_path / f"{name}_run.json").is_file()


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from([path.name for path in CaseLayout.of("out", "x").all()[:-1]]),
        st.binary(max_size=20),
        min_size=1,
    )
)
def test_what_was_written_is_what_the_record_hashes(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("out")
    write(folder, OLD)
    write(folder, files)
    record = read_record(folder / "x_run.json")
    assert record.outputs == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert visible(folder) == files


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        max_size=4,
    )
)
def test_options_come_back_from_a_record_as_they_were(options):
    record = parse_record(FIELDS | {"options": options}, "x")
    assert parse_record(json.loads(record.to_bytes()), "x").options == options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"record_version": 3}, "run record of version 3; this gliomask reads 1 and 2"),
        ({"unknown": 1}, "unknown: Extra inputs"),
        ({"outputs": None}, "has outputs and volumes"),
        ({"inputs": {"a": "no hash"}}, "inputs.a: "),
        ({"seconds": {"total": float("inf")}}, "seconds.total: "),
        ({"model": "m"}, "model: "),
    ],
)
def test_what_is_no_record_is_refused_by_its_name(change, message):
    with pytest.raises(FileFormatError, match=message) as refused:
        parse_record(FIELDS | change, "x_run.json")
    assert str(refused.value).startswith("x_run.json: is ")


def test_a_record_of_an_earlier_version_is_read():
    old = {name: value for name, value in FIELDS.items() if name not in ("record_version", "outputs", "volumes")}
    assert parse_record(old | {"fields_of_then": 1}, "x").record_version == 1


def test_the_schema_describes_the_record():
    assert {"record_version", "inputs", "outputs", "model", "volumes"} <= set(record_schema()["properties"])


def test_only_its_own_names_belong_to_a_case():
    owns = CaseLayout.of("out", "x").place("x").owns
    assert owns(PurePosixPath("x_seg.nii.gz"))
    assert not owns(PurePosixPath("x_other.nii.gz"))
    assert not owns(PurePosixPath("y_seg.nii.gz"))


def test_what_a_process_has_in_hand_is_left_to_it(tmp_path):
    place = CaseLayout.of(tmp_path, "x").place("x")
    with held(place):
        part = place.new_folder()
        assert not recover(place)
        assert part.is_dir()
    assert not recover(place)
    assert not part.exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_lock_of_a_killed_run_goes_with_the_rest(tmp_path):
    place = CaseLayout.of(tmp_path, "x").place("x")
    write(tmp_path, OLD)
    child = os.fork()
    if child == 0:
        with held(place):
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / place.lock_name).exists()
    assert not recover(place)
    assert not (tmp_path / place.lock_name).exists()
    assert visible(tmp_path) == OLD


def test_a_folder_is_taken_away_again_where_nothing_came_of_it(tmp_path):
    place = CaseLayout.of(tmp_path / "out", "x").place("x")
    with held(place):
        assert place.folder.is_dir()
    assert not place.folder.exists()
