import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from gliomask.errors import FileFormatError
from gliomask.files.npz import pack_npz, parse_npz, read_npz


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An array file with a header of one's own."""
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little") + text + data


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    stream.seek(0)
    return stream


NUMBERS = st.sampled_from(["<f4", "<f8", "<f2", "<i8", "<u4", "|u1", "|b1", "|i1"])


@given(
    st.dictionaries(
        st.from_regex(r"[a-z/]{1,8}", fullmatch=True),
        of_numpy.arrays(NUMBERS, of_numpy.array_shapes(min_dims=0, min_side=0)),
        max_size=3,
    )
)
def test_what_numpy_writes_comes_back(arrays):
    found = parse_npz(io.BytesIO(pack_npz(arrays)))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_columns_first_and_later_versions_are_read():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    fortran = io.BytesIO()
    np.lib.format.write_array(fortran, np.asfortranarray(array), version=(2, 0))
    np.testing.assert_array_equal(parse_npz(archive(("a.npy", fortran.getvalue())))["a"], array)


@pytest.mark.parametrize(
    "header",
    [
        "{",
        "",
        "(",
        '{"descr"',
        "-" * 3000 + "1",
        "[" * 2000,
        "__import__('os').mkdir('sprung')",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1" + "0" * 400 + ",), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 40 + "), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
        "\x00" * 60,
    ],
)
def test_headers_that_numpy_does_not_write_are_refused_unread(tmp_path, monkeypatch, header):
    monkeypatch.chdir(tmp_path)
    for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        with pytest.raises(ValueError, match=r"a\.npy"):
            parse_npz(archive(("a.npy", npy(header, b"\0" * 4, version))))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (io.BytesIO(b""), "not a zip file"),
        (archive(("a.npy", b"")), "is no array"),
        (archive(("a.npy", npy("", version=b"\x09\x00"))), "is no array"),
        (archive(("a.npy", b"\x93NUMPY\x03\x00\xff\xff\xff\xff")), "is no array"),
        (archive(("a.npy", b"\x93NUM")), "is no array"),
        (archive(("a", npy("{}")), ("a.npy", npy("{}"))), "header"),
        (archive(("a.npy", bytes(1 << 20)), compression=zipfile.ZIP_DEFLATED), "compressed"),
        (archive(("a.npy", bytes(1 << 20)), compression=zipfile.ZIP_LZMA), "compressed"),
    ],
)
def test_archives_of_something_else_are_refused(stream, message):
    with pytest.raises(ValueError, match=message):
        parse_npz(stream)


def test_two_arrays_of_one_name_are_refused():
    one = io.BytesIO()
    np.save(one, np.zeros(1))
    with pytest.raises(ValueError, match="two arrays of one name"):
        parse_npz(archive(("a", one.getvalue()), ("a.npy", one.getvalue())))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_bytes_break_the_reader(content, place):
    whole = pack_npz({"a": np.arange(4)})
    for attempt in (content, whole[:place] + content + whole[place + len(content) :]):
        try:
            parse_npz(io.BytesIO(attempt))
        except ValueError:
            continue


def test_a_file_is_named_and_bounded(tmp_path):
    path = tmp_path / "some.npz"
    path.write_bytes(pack_npz({"a": np.zeros(100)}))
    assert read_npz(path, "a checkpoint", 2000)["a"].shape == (100,)
    with pytest.raises(
        FileFormatError, match=r"some\.npz: not a checkpoint that can be read \(it has .* no more than 500 are read\)"
    ):
        read_npz(path, "a checkpoint", 500)
    with pytest.raises(FileFormatError, match="it is a folder"):
        read_npz(tmp_path, "a checkpoint", 500)
    with pytest.raises(FileFormatError, match="No such file"):
        read_npz(tmp_path / "none", "a checkpoint", 500)
