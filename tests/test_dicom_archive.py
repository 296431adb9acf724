"""Zip archives: read as folders are, and refused where they lie, reach out or swell."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_series
from test_dicom_read import SHAPE, oblique

from gliomask.errors import FileFormatError, LimitError
from gliomask.io.dicom import archive
from gliomask.io.dicom.archive import opened
from gliomask.io.dicom.read import read_examination
from gliomask.sequences import Sequence


def zipped(path: Path, members: dict[str, bytes], change=lambda info: None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            target.writestr(info, content)
    return path


def test_a_zip_is_read_as_its_folder_and_leaves_nothing_behind(tmp_path, rng, monkeypatch):
    volume = rng.integers(0, 900, SHAPE)
    folder = write_series(tmp_path / "ward", volume, oblique())
    packed = zipped(tmp_path / "case 7.zip", {f"a/b/{path.name}": path.read_bytes() for path in folder.iterdir()})
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    found = read_examination(packed)
    np.testing.assert_array_equal(found.scans[Sequence.T1CE].volume, volume)
    assert found.case_id == "case 7"
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("name", ["../up.dcm", "/etc/up.dcm", "a/../../up.dcm", "..\\up.dcm", "C:\\up.dcm"])
def test_names_that_reach_outside_are_refused(tmp_path, name):
    with pytest.raises(FileFormatError, match="reaches outside"), opened(zipped(tmp_path / "bad.zip", {name: b"x"})):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip"]


def test_links_are_refused(tmp_path):
    def link(info):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    with (
        pytest.raises(FileFormatError, match="link or a device"),
        opened(zipped(tmp_path / "bad.zip", {"link": b"/etc/passwd"}, link)),
    ):
        pass


def test_bombs_are_refused_before_they_burst(tmp_path, monkeypatch):
    bomb = zipped(tmp_path / "bomb.zip", {"zeros": bytes(5 << 20)})
    monkeypatch.setattr(archive, "RATIO_FREE_BYTES", 1 << 20)
    with pytest.raises(LimitError, match="times its own size"), opened(bomb):
        pass


def test_a_size_that_lies_is_found_out(tmp_path, monkeypatch):
    bomb = zipped(tmp_path / "bomb.zip", {"zeros": bytes(5 << 20)})
    content = bytearray(bomb.read_bytes())
    # The uncompressed size stands in the local header at 22 and in the central directory at 24 (APPNOTE, 4.3.7 and
    # 4.3.12).
    content[22:26] = (100).to_bytes(4, "little")
    central = content.index(b"PK\x01\x02")
    content[central + 24 : central + 28] = (100).to_bytes(4, "little")
    bomb.write_bytes(content)
    monkeypatch.setattr(archive, "RATIO_FREE_BYTES", 1 << 20)
    with pytest.raises((LimitError, FileFormatError)), opened(bomb):
        pass


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with (
        pytest.raises(LimitError, match="4 files"),
        opened(zipped(tmp_path / "many.zip", {str(n): b"" for n in range(4)})),
    ):
        pass


def test_a_corrupt_archive_is_refused(tmp_path):
    packed = zipped(tmp_path / "bad.zip", {"a": bytes(range(256)) * 40})
    content = bytearray(packed.read_bytes())
    content[60:90] = bytes(30)
    packed.write_bytes(content)
    with pytest.raises(FileFormatError, match="corrupt"), opened(packed):
        pass
