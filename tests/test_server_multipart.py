"""Bodies in parts: the same parts however the bytes are cut, nothing but the two refusals whatever the bytes are."""

import contextlib
import tempfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gliomask.errors import FileFormatError, LimitError
from gliomask.server.multipart import MAX_VALUES, PartWriter, boundary_of

BOUNDARY = "xyz"
CONTENTS = st.binary(max_size=300) | st.sampled_from(
    [b"\r\n--xyz", b"\r\n--xy", b"--xyz--", b"\r\n", b"\r", b"\r\n--xyz-"[:-1]]
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters='\r\n"\\'), max_size=20)


def body(files: list[tuple[str, bytes]], values: Iterable[tuple[str, str]] = ()) -> bytes:
    pieces = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content
        for name, content in files
    ]
    pieces += [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in values
    ]
    return b"".join(piece + b"\r\n" for piece in pieces) + f"--{BOUNDARY}--\r\n".encode()


def write(content: bytes, cuts: list[int], folder: Path, **limits):
    writer = PartWriter(BOUNDARY, folder, **{"max_bytes": 1 << 20, "max_files": 100, **limits})
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    try:
        for start, end in pairwise(places):
            writer.write(content[start:end])
        return writer.finish()
    finally:
        writer.close()


@given(
    st.lists(CONTENTS.filter(lambda content: b"\r\n--xyz" not in content), min_size=1, max_size=4),
    st.lists(st.integers(0, 5000), max_size=30),
)
def test_files_arrive_byte_for_byte_however_the_body_is_cut(contents, cuts):
    with tempfile.TemporaryDirectory() as folder:
        parts = write(
            body([(f"n{n}", content) for n, content in enumerate(contents)], [("title", "t")]), cuts, Path(folder)
        )
        assert [part.path.read_bytes() for part in parts[:-1]] == contents
        assert [part.path.name for part in parts[:-1]] == [f"{n:06d}" for n in range(len(contents))]
        assert (parts[-1].name, parts[-1].value, parts[-1].path) == ("title", "t", None)


@given(NAMES)
@example("../../etc/passwd")
@example("")
@example("a;b=c")
def test_names_never_leave_the_folder(name):
    with tempfile.TemporaryDirectory() as folder:
        (part,) = write(body([(name, b"x")]), [], Path(folder))
        assert [path.name for path in Path(folder).iterdir()] == ["000000"]
        assert isinstance(part.filename, str)


@given(st.binary(max_size=400), st.integers(0, 200), st.lists(st.integers(0, 1000), max_size=5))
@settings(max_examples=300)
def test_any_bytes_are_parts_or_refused(noise, at, cuts):
    content = body([("a", b"1" * 50), ("b", b"2")], [("c", "d")])
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(FileFormatError, LimitError):
        write(content[:at] + noise + content[at:], cuts, Path(folder))


@pytest.mark.parametrize("cut", range(0, 150, 7))
def test_a_body_that_breaks_off_is_refused(tmp_path, cut):
    content = body([("a", b"1" * 50)], [("c", "d")])
    with pytest.raises(FileFormatError, match="ended before its last part"):
        write(content[: len(content) - 6 - cut], [], tmp_path)


def test_limits_hold(tmp_path):
    for number, (content, limits, words) in enumerate(
        [
            (body([("a", b"1" * 500)]), {"max_bytes": 400}, "more than 400 bytes"),
            (body([("a", b"1")] * 4), {"max_files": 3}, "more than 3 files"),
            (body([], [("a", "b")] * (MAX_VALUES + 1)), {}, "values"),
            (body([], [("a", "b" * 5000)]), {}, "4,096 bytes"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(LimitError, match=words):
            write(content, [], folder, **limits)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; boundary="a b"', "a b"),
        ("Multipart/Form-Data; Boundary=abc", "abc"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=" + "x" * 201, None),
        ("multipart/form-data; boundary=é", None),
        ("multipart/mixed; boundary=abc", None),
        ("", None),
        ("garbage\r\n: ;;;", None),
    ],
)
def test_boundaries_are_read_or_refused(header, found):
    if found is None:
        with pytest.raises(FileFormatError):
            boundary_of(header, "multipart/form-data")
    else:
        assert boundary_of(header, "multipart/form-data") == found
