"""Damaged and hostile zip archives: a documented exit code, one message, nothing left behind and nothing outside.

Seeds are made by code.
"""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np
import pytest
from dicom_series import write_series
from harness import damage, damaged, holds, temporary
from hypothesis import example, given
from hypothesis import strategies as st
from test_fuzz_dicom import FUZZ, GRID, SHAPE

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
CENTRAL_ENTRY_BYTES = 46
"""Of an entry of the central directory before its name (APPNOTE, 4.3.12)."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A series in a zip, packed in each way."""
    folder = write_series(tmp_path_factory.mktemp("seeds") / "s", np.arange(120).reshape(SHAPE) * 7 % 101, GRID)
    made = []
    for method in METHODS:
        stream = BytesIO()
        with zipfile.ZipFile(stream, "w", method) as target:
            for path in sorted(folder.iterdir()):
                target.writestr(f"a/{path.name}", path.read_bytes())
        made.append(stream.getvalue())
    return made


@given(st.integers(0, 3), st.lists(damage(), min_size=1, max_size=3))
@FUZZ
def test_damaged_archives_are_read_or_refused(seeds, temporary, kind, changes):
    place = temporary.parent / "ward.zip"
    place.write_bytes(damaged(seeds[kind], changes))
    before = sorted(path.name for path in temporary.parent.iterdir())
    holds(temporary, "dicom", "inspect", place)
    assert sorted(path.name for path in temporary.parent.iterdir()) == before


@given(st.integers(0, 3), st.integers(0, CENTRAL_ENTRY_BYTES - 1), st.integers(0, 255), st.integers(-70, 70))
@example(1, 0, 0x50, 60)
@FUZZ
def test_claims_of_the_central_directory_are_not_believed(seeds, temporary, kind, byte, value, shift):
    content = bytearray(seeds[kind])
    content[content.index(b"PK\x01\x02") + byte] = value
    end = content.rindex(b"PK\x05\x06")
    where = max(0, int.from_bytes(content[end + 16 : end + 20], "little") + shift)
    content[end + 16 : end + 20] = where.to_bytes(4, "little")
    place = temporary.parent / "ward.zip"
    place.write_bytes(content)
    holds(temporary, "dicom", "inspect", place)


@given(st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=60)), max_size=5))
@example([("../up", b"x")])
@example([("a\x00b", b"x"), ("b\x1b[2J.dcm", b"x")])
@FUZZ
def test_names_of_entries_go_nowhere(temporary, entries):
    place = temporary.parent / "ward.zip"
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            try:
                target.writestr(info, content)
            except (UnicodeEncodeError, UserWarning):
                return
    place.write_bytes(stream.getvalue())
    before = sorted(path.name for path in temporary.parent.iterdir())
    assert holds(temporary, "dicom", "inspect", place) == 3
    assert sorted(path.name for path in temporary.parent.iterdir()) == before
