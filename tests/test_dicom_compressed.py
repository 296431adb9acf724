"""Series compressed with loss, or as whole files: read, and said, or refused before they burst."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from dicom_series import write_series
from pydicom.uid import JPEG2000, DeflatedExplicitVRLittleEndian
from test_dicom_read import SHAPE, oblique

from gliomask.cli.main import run
from gliomask.errors import FileFormatError
from gliomask.io.dicom import headers
from gliomask.io.dicom.read import read_examination
from gliomask.sequences import Sequence

WORDS = "compressed with loss"


@pytest.fixture
def smooth():
    """A volume that compression with loss keeps nearly as it is."""
    i, j, k = np.indices(SHAPE)
    return np.rint(2000 + 900 * np.sin(i / 6) * np.cos(j / 7) + 40 * k).astype(int)


def with_loss(dataset, k):
    dataset.compress(JPEG2000, j2k_cr=[8], generate_instance_uid=False)
    dataset.LossyImageCompression = "01"


def deflated(dataset, k):
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def test_a_series_compressed_with_loss_is_read_and_said_to_be(tmp_path, smooth, capsys):
    folder = write_series(tmp_path / "s", smooth, oblique(), change=with_loss)
    values = read_examination(folder).scans[Sequence.T1CE].volume
    assert 0 < np.abs(values - smooth).max() < 100
    assert run(["dicom", "convert", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert WORDS in capsys.readouterr().out
    (series,) = json.loads((tmp_path / "out" / "dicom_run.json").read_text())["dicom"]["series"]
    assert series["lossy"] is True
    assert WORDS in series["why"]


def test_a_deflated_series_is_read_exactly_and_has_no_loss(tmp_path, smooth, capsys):
    folder = write_series(tmp_path / "s", smooth, oblique(), change=deflated)
    np.testing.assert_array_equal(read_examination(folder).scans[Sequence.T1CE].volume, smooth)
    assert run(["dicom", "inspect", str(folder)]) == 0
    assert WORDS not in capsys.readouterr().out


def test_a_deflated_bomb_is_refused_before_it_bursts(tmp_path, smooth, monkeypatch):
    folder = write_series(tmp_path / "s", smooth, oblique(), change=deflated)
    path = sorted(folder.iterdir())[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(FileFormatError, match="cut short|corrupt"):
        read_examination(folder)
    start = headers.PREFIX_BYTES + headers.META_LENGTH_BYTES + int.from_bytes(whole[140:144], "little")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(whole[:start] + packer.compress(bytes(8 << 20)) + packer.flush())
    monkeypatch.setattr(headers, "MAX_INFLATED_BYTES", 1 << 20)
    with pytest.raises(FileFormatError, match=r"inflates to more than 1 MiB"):
        read_examination(folder)
