"""Where DICOM files may come from: links, bare data sets, memory, pipes; and what is left behind: nothing."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
import pydicom
import pytest
from conftest import DEFAULT_SIGNALS
from dicom_series import write_enhanced, write_series
from test_dicom_read import SHAPE, chosen, oblique, with_value

from gliomask.cli.main import run
from gliomask.errors import CaseError, FileFormatError, LimitError, UsageError
from gliomask.io.dicom import headers, survey
from gliomask.io.dicom.read import read, read_examination
from gliomask.sequences import Sequence


@pytest.fixture
def volume(rng):
    return rng.integers(0, 4000, SHAPE)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder that temporary files go to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def bare(path, implicit):
    """Writes a file again without preamble, prefix and header of its own, under a name without an ending."""
    dataset = pydicom.dcmread(path)
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, pydicom.Dataset(dataset), implicit_vr=implicit, little_endian=True, enforce_file_format=False
    )
    path.unlink()
    path.with_suffix("").write_bytes(stream.getvalue())


@pytest.mark.parametrize("implicit", [True, False])
def test_data_sets_without_preamble_are_read(tmp_path, volume, implicit):
    folder = write_series(tmp_path / "s", volume, oblique())
    for path in list(folder.iterdir()):
        bare(path, implicit)
    scan = read_examination(folder).scans[Sequence.T1CE]
    np.testing.assert_array_equal(scan.volume, volume)


def test_one_bare_series_among_others_is_not_lost(tmp_path, volume):
    write_series(tmp_path / "s" / "a", volume, oblique(), "t1", 1)
    for path in list(write_series(tmp_path / "s" / "b", volume, oblique(), "t2", 2).iterdir()):
        bare(path, implicit=True)
    (tmp_path / "s" / "notes").write_bytes(b"\x08\x00 is no data set, though it begins as one" * 9)
    found = chosen(tmp_path / "s")
    assert (found["t1"], found["t2"]) == ("1", "2")


def test_links_that_stay_inside_are_followed_and_others_are_counted(tmp_path, volume, capsys):
    store = write_series(tmp_path / "ward" / ".git" / "annex", volume, oblique())
    for number, path in enumerate(sorted(store.iterdir())):
        (tmp_path / "ward" / f"{number}.dcm").symlink_to(path)
    assert run(["dicom", "inspect", str(tmp_path / "ward")]) == 0
    assert "not followed" not in capsys.readouterr().out
    np.testing.assert_array_equal(read_examination(tmp_path / "ward").scans[Sequence.T1CE].volume, volume)
    outside = write_series(tmp_path / "outside", volume, oblique())
    (tmp_path / "ward" / "x.dcm").symlink_to(next(outside.iterdir()))
    (tmp_path / "ward" / "y.dcm").symlink_to("nowhere")
    assert run(["dicom", "inspect", str(tmp_path / "ward"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["links_not_followed"] == 2
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x").symlink_to(next(outside.iterdir()))
    with pytest.raises(CaseError, match="among 0 files, 1 link that leads outside the folder or nowhere not followed"):
        read_examination(tmp_path / "only")


def test_a_link_to_a_file_beside_it_is_not_read_twice(tmp_path, volume):
    folder = write_series(tmp_path / "s", volume, oblique())
    (folder / "zz.dcm").symlink_to(sorted(folder.iterdir())[0])
    (series,) = survey.survey(folder).series
    assert (len(series.frames), series.notes) == (SHAPE[2], ())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_pipes_and_devices_are_not_opened(tmp_path, volume, capsys):
    folder = write_series(tmp_path / "s", volume, oblique())
    os.mkfifo(folder / "pipe.dcm")
    assert Sequence.T1CE in read_examination(folder).scans
    for place in (folder / "pipe.dcm", "/dev/zero"):
        assert run(["dicom", "inspect", str(place)]) == 3
        assert "no regular file" in capsys.readouterr().err


def test_an_object_that_is_no_mr_image_stops_nothing(tmp_path, volume, capsys):
    folder = write_series(tmp_path / "s", volume, oblique())
    report = sorted(write_series(tmp_path / "other", volume, oblique(), skip=range(1, 7)).iterdir())[0]
    content = report.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.4\0", b"1.2.840.10008.5.1.4.1.1.2\0")
    (folder / "report.dcm").write_bytes(content[:500])
    assert run(["dicom", "inspect", str(folder)]) == 0
    assert "1 DICOM object that cannot be read left out: no MR image." in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["bytes", "paths", "streams", "datasets", "zip"])
def test_an_examination_in_memory(tmp_path, volume, temporary, kind):
    paths = list(write_series(tmp_path / "s", volume, oblique()).iterdir())
    contents = [path.read_bytes() for path in paths]
    if kind == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as target:
            for path in paths:
                target.write(path, path.name)
        source = stream.getvalue()
    else:
        source = {
            "bytes": contents,
            "paths": paths,
            "streams": [io.BytesIO(content) for content in contents],
            "datasets": [pydicom.dcmread(path) for path in paths],
        }[kind]
    told = []
    found = read_examination(source, progress=lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(found.scans[Sequence.T1CE].volume, volume)
    assert found.case_id == "examination"
    assert told == [(number, len(paths)) for number in range(1, len(paths) + 1)]
    assert list(temporary.iterdir()) == []


def test_one_file_in_memory(tmp_path, volume):
    path = write_enhanced(tmp_path / "one.dcm", volume, oblique(), "flair", 3)
    reading = read(path.read_bytes(), {Sequence.FLAIR: "3"})
    assert reading.inspection.values["chosen"] == {"flair": "3"}
    np.testing.assert_array_equal(reading.examination.scans[Sequence.FLAIR].volume, volume)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="item 1 is a int"):
        read_examination([3])
    with pytest.raises(UsageError, match="is no file"):
        read_examination([tmp_path / "none.dcm"])
    with pytest.raises(FileFormatError, match="item 2: cannot be read as DICOM"):
        read_examination([b"text", b"\0" * 128 + b"DICM" + b"\xff" * 50])


def test_needed_sequences_and_results_that_exist_are_refused_before_pixels_are_read(
    tmp_path, volume, monkeypatch, capsys
):
    folder = write_series(tmp_path / "s", volume, oblique())
    monkeypatch.setattr("gliomask.io.dicom.read.read_scan", lambda series: pytest.fail("pixels were read"))
    with pytest.raises(CaseError, match="no series is a t2"):
        read(folder, needed=[Sequence.T2])
    out = tmp_path / "out"
    out.mkdir()
    (out / "s_t1ce.nii.gz").write_bytes(b"mine")
    assert run(["dicom", "convert", str(folder), "-o", str(out)]) == 2
    (out / "s_t1ce.nii.gz").unlink()
    (out / "dicom_run.json").write_text("mine")
    assert run(["dicom", "convert", str(folder), "-o", str(out)]) == 2
    assert "dicom_run.json exists" in capsys.readouterr().err
    assert (out / "dicom_run.json").read_text() == "mine"


def zipped(path, contents, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in contents.items():
            target.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_broken_entry_is_refused_by_its_place(tmp_path, method, temporary, capsys):
    content = bytearray(
        zipped(tmp_path / "bad.zip", {"a.dcm": os.urandom(4000), "b.dcm": os.urandom(4000)}, method).read_bytes()
    )
    second = content.index(b"b.dcm")
    content[second + 40 : second + 400] = bytes(360)
    (tmp_path / "bad.zip").write_bytes(content)
    assert run(["dicom", "inspect", str(tmp_path / "bad.zip")]) == 3
    printed = capsys.readouterr().err
    assert "bad.zip: entry 2 of the zip archive is corrupt" in printed
    assert str(temporary) not in printed
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("shift", [-60, 60, 3])
def test_a_central_directory_that_lies_elsewhere_is_refused(tmp_path, shift, temporary, capsys):
    path = zipped(tmp_path / "bad.zip", {"a.dcm": b"a" * 100, "b.dcm": b"b" * 100})
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    where = int.from_bytes(content[end + 16 : end + 20], "little")
    content[end + 16 : end + 20] = (where + shift).to_bytes(4, "little")
    path.write_bytes(content)
    assert run(["dicom", "inspect", str(path)]) == 3
    assert capsys.readouterr().err.count("Error: ") == 1
    assert list(temporary.iterdir()) == []


def test_a_zip_names_its_entry_and_not_the_temporary_folder(tmp_path, volume, temporary, capsys):
    folder = write_series(tmp_path / "s", volume, oblique())
    contents = {f"scans/{path.name}": path.read_bytes() for path in folder.iterdir()} | {
        "scans/smith_notes.dcm": b"text"
    }
    assert run(["dicom", "inspect", str(zipped(tmp_path / "ward.zip", contents))]) == 3
    printed = capsys.readouterr().err
    assert "ward.zip: scans/***_notes.dcm: cannot be read as DICOM" in printed
    assert str(temporary) not in printed
    assert ".." not in printed


def test_codecs_of_the_zip_tests_are_there():
    assert lzma.compress(b"x")
    assert bz2.compress(b"x")


def test_deflated_swarms_of_items_are_refused(tmp_path, volume):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    def swarm(dataset, k):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.OtherPatientIDsSequence = [pydicom.Dataset() for _ in range(9)]

    folder = write_series(tmp_path / "s", volume, oblique(), skip=range(1, 7), change=swarm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers, "MAX_READS", 40)
        with pytest.raises(FileFormatError, match="more elements than any image's"):
            read_examination(folder)
        patch.undo()
        patch.setattr(headers, "MAX_ITEMS", 5)
        patch.setattr(headers, "MAX_READS", 10_000)
        with pytest.raises((FileFormatError, CaseError)):
            read_examination(folder)


def test_frames_of_all_files_together_are_bounded(tmp_path, volume, monkeypatch):
    folder = write_series(tmp_path / "s", volume, oblique())
    monkeypatch.setattr(survey, "MAX_TOTAL_FRAMES", 5)
    with pytest.raises(LimitError, match="more frames or elements"):
        read_examination(folder)


def test_what_steers_a_terminal_is_not_shown(tmp_path, volume, capsys):
    folder = write_series(
        tmp_path / "s", volume, oblique(), change=with_value("SeriesDescription", "T1 post \x1b[2J\x1b]0;owned\x07")
    )
    assert run(["dicom", "inspect", str(folder)]) == 0
    assert run(["dicom", "convert", str(folder), "-o", str(tmp_path / "out")]) == 0
    printed = "".join(capsys.readouterr())
    assert not any(ord(letter) < 32 and letter != "\n" for letter in printed)


STOPPED = """
import os, signal, sys
from gliomask.cli.main import run
from gliomask.io.dicom import archive
def unpack(place, folder, title):
    (folder / "SMITH").write_text("a patient")
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    import time; time.sleep(60)
archive._unpack = unpack
sys.exit(run(["dicom", "inspect", sys.argv[2]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130), ("SIGKILL", -signal.SIGKILL)]
)
def test_unpacked_files_do_not_outlive_the_run_or_the_next_one(tmp_path, volume, name, code):
    packed = zipped(
        tmp_path / "ward.zip",
        {path.name: path.read_bytes() for path in write_series(tmp_path / "s", volume, oblique()).iterdir()},
    )
    (tmp_path / "t").mkdir()
    place = os.environ | {"TMPDIR": str(tmp_path / "t")}
    stopped = subprocess.run(
        [sys.executable, "-c", DEFAULT_SIGNALS + STOPPED, name, str(packed)],
        env=place,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert stopped.returncode == code, stopped.stderr
    if name == "SIGKILL":
        assert len(list((tmp_path / "t").rglob("SMITH"))) == 1
        time.sleep(0.01)
        again = [sys.executable, "-m", "gliomask", "dicom", "inspect", str(packed)]
        assert subprocess.run(again, env=place, check=False, capture_output=True, timeout=60).returncode == 0
    assert list((tmp_path / "t").iterdir()) == []
