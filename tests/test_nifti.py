"""NIfTI reading and writing, with nibabel as the referee; every refusal by its class, its exit code and the file it
names.
"""

import gzip
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from gliomask.errors import FileFormatError, GeometryError, InputError, LimitError, UsageError
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.gunzip import Gunzip, GunzipError

OBLIQUE = np.array([[-0.9, 0.2, 0.1, 30], [0.25, 1.1, -0.3, -20], [-0.05, 0.35, 2.0, 11], [0, 0, 0, 1]])
FIELDS = (
    *("sform_code", "srow_x", "srow_y", "srow_z"),
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("pixdim", "xyzt_units"),
)
"""What a result must have from its scan, bit for bit."""


def header_bytes(shape: tuple[int, ...], dtype: int = 4, bits: int = 16, **fields: float) -> bytes:
    header = nib.Nifti1Header()
    header["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    header["datatype"], header["bitpix"], header["vox_offset"] = dtype, bits, 352
    header["srow_x"], header["srow_y"], header["srow_z"], header["sform_code"] = (
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        1,
    )
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4)


def refused(path: Path, error: type[InputError] = FileFormatError, dimensions: int = 3) -> str:
    """Reads a file that must be refused, and returns the message."""
    with pytest.raises(error) as caught:
        (nifti.read_volume if dimensions == 3 else nifti.read_channels)(path)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def scan(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A small int16 scan, gzipped."""
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(rng.integers(0, 900, (7, 6, 5)).astype(np.int16), OBLIQUE), path)
    return path


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_every_type_and_byte_order_reads_as_nibabel_reads_it(
    tmp_path: Path, rng: np.random.Generator, dtype: type, order: str, name: str
) -> None:
    values = rng.integers(0, 120, (5, 4, 3)).astype(dtype)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(values, OBLIQUE, header, dtype=dtype), tmp_path / name)
    read = nifti.read_volume(tmp_path / name)
    assert nib.load(tmp_path / name).header.endianness == order
    assert read.values.dtype == np.float32
    np.testing.assert_array_equal(read.values, nib.load(tmp_path / name).get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(read.geometry.affine, nib.load(tmp_path / name).affine)


@pytest.mark.parametrize(
    ("slope", "intercept"), [(2.5, -7.0), (0.0, 5.0), (np.nan, 0.0), (np.inf, 0.0), (1.0, 0.0), (0.001, 0.0)]
)
def test_scaling_is_as_nibabel_applies_it(
    tmp_path: Path, rng: np.random.Generator, slope: float, intercept: float
) -> None:
    values = rng.integers(-3000, 3000, (6, 5, 4)).astype(np.int16)
    path = tmp_path / "scaled.nii"
    path.write_bytes(header_bytes(values.shape, scl_slope=slope, scl_inter=intercept) + values.tobytes(order="F"))
    np.testing.assert_array_equal(nifti.read_volume(path).values, nib.load(path).get_fdata().astype(np.float32))


def test_more_than_one_block_is_read_in_order(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 30000, (101, 83, 70)).astype(np.int16)
    assert values.size > 2 * nifti.BLOCK_VOXELS
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "large.nii.gz")
    np.testing.assert_array_equal(nifti.read_volume(tmp_path / "large.nii.gz").values, values)


def test_nifti2_and_header_extensions_are_read(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.normal(size=(5, 4, 3)).astype(np.float32)
    first = nib.Nifti1Image(values, OBLIQUE)
    first.header.extensions.append(Nifti1Extension("comment", b"x" * 5000))
    nib.save(first, tmp_path / "extended.nii.gz")
    nib.save(nib.Nifti2Image(values, OBLIQUE), tmp_path / "two.nii.gz")
    for name in ("extended.nii.gz", "two.nii.gz"):
        np.testing.assert_array_equal(nifti.read_volume(tmp_path / name).values, values)


def test_axes_of_one_voxel_at_the_end_are_dropped(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    nib.save(nib.Nifti1Image(values[..., None, None], np.eye(4)), tmp_path / "five.nii")
    assert nifti.read_volume(tmp_path / "five.nii").values.shape == (4, 3, 2)
    assert nifti.read_shape(tmp_path / "five.nii") == (4, 3, 2)


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path, scan: Path) -> None:
    plain = tmp_path / "plain.nii.gz"
    plain.write_bytes(gzip.decompress(scan.read_bytes()))
    packed = tmp_path / "packed.nii"
    packed.write_bytes(scan.read_bytes())
    for path in (plain, packed):
        np.testing.assert_array_equal(nifti.read_volume(path).values, nifti.read_volume(scan).values)


# Gzip streams.


def test_members_one_after_another_are_one_stream(tmp_path: Path, scan: Path) -> None:
    content = gzip.decompress(scan.read_bytes())
    path = tmp_path / "members.nii.gz"
    path.write_bytes(
        b"".join(gzip.compress(content[start : start + 100]) for start in range(0, len(content), 100)) + bytes(512)
    )
    np.testing.assert_array_equal(nifti.read_volume(path).values, nifti.read_volume(scan).values)


def test_bytes_after_the_stream_are_refused_but_zeros_are_padding(tmp_path: Path, scan: Path) -> None:
    path = tmp_path / "longer.nii.gz"
    path.write_bytes(scan.read_bytes() + bytes(1000))
    nifti.read_volume(path)
    path.write_bytes(scan.read_bytes() + b"garbage")
    assert "not gzip" in refused(path)


@pytest.mark.parametrize("kept", [3, 9, 15, 60, 0.5, -9, -1])
def test_a_truncated_gzip_is_refused(tmp_path: Path, scan: Path, kept: float) -> None:
    content = scan.read_bytes()
    path = tmp_path / "short.nii.gz"
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    assert "truncated" in refused(path)


def test_every_flipped_byte_of_a_gzip_is_noticed_or_harmless(tmp_path: Path, scan: Path) -> None:
    content, values = scan.read_bytes(), nifti.read_volume(scan).values
    path = tmp_path / "flipped.nii.gz"
    noticed = 0
    positions = range(10, len(content), 4)
    for position in positions:
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            read = nifti.read_volume(path).values
        except InputError:
            noticed += 1
        else:
            np.testing.assert_array_equal(read, values)
    # All but the file's own name in the gzip header.
    assert noticed >= len(positions) - len("scan.nii")


def test_a_bomb_is_read_to_its_claimed_length_and_no_further(tmp_path: Path) -> None:
    shape = (8, 8, 8)
    packer = zlib.compressobj(1, wbits=31)
    path = tmp_path / "bomb.nii.gz"
    zeros = bytes(1 << 20)
    with path.open("wb") as stream:
        stream.write(packer.compress(header_bytes(shape)))
        for _ in range(64):
            stream.write(packer.compress(zeros))
        stream.write(packer.flush())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "more than the 512 voxels" in refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_gunzip_equals_gzip_for_any_pieces(rng: np.random.Generator, tmp_path: Path) -> None:
    content = np.repeat(rng.integers(0, 255, 4000).astype(np.uint8), rng.integers(1, 400, 4000)).tobytes()
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with (tmp_path / "x.gz").open("rb") as raw:
        stream, found = Gunzip(raw), b""
        while piece := stream.read(int(rng.integers(1, 50_000))):
            found += piece
    assert found == content
    (tmp_path / "x.gz").write_bytes(gzip.compress(content)[:-4])
    with (tmp_path / "x.gz").open("rb") as raw, pytest.raises(GunzipError):
        Gunzip(raw).read(len(content) + 1)


# Refusals.


def test_a_header_of_58_bytes_that_claims_gigabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    huge, large = tmp_path / "huge.nii.gz", tmp_path / "large.nii.gz"
    huge.write_bytes(gzip.compress(header_bytes((2000, 2000, 1100)), 9))
    large.write_bytes(gzip.compress(header_bytes((512, 512, 512)), 9))
    assert huge.stat().st_size < 100
    script = """
import resource, sys
from pathlib import Path
from gliomask.errors import FileFormatError
from gliomask.io.nifti import read_volume
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        read_volume(Path(name))
    except FileFormatError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""
    found = subprocess.run(
        [sys.executable, "-c", script, huge, large], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "claims 4,400,000,000 voxels" in found[0]
    assert str(huge) in found[0]
    assert "ends after 0 of" in found[1]
    assert int(found[2]) < 20_000


def test_dimensions_whose_product_wraps_round_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrap.nii"
    header = nib.Nifti2Header()
    header["dim"] = [3, 2**32, 2**32, 4, 1, 1, 1, 1]
    header["vox_offset"] = 544
    path.write_bytes(header.binaryblock + bytes(4))
    assert "the limit is" in refused(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b", "truncated"),
        (b"patient,age\n1,63\n" * 40, "not a NIfTI file"),
        (b"PK\x03\x04" + bytes(500), "zip"),
        (bytes(128) + b"DICM" + bytes(500), "DICOM"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (header_bytes((4, 4, 4))[:200], "ends inside its header (200 of 348 bytes)"),
        (header_bytes((4, 4, 4)) + bytes(100), "ends after 100 of 128 bytes"),
        (header_bytes((4, 4, 4), magic=b"ni1"), "not a single-file NIfTI"),
        (header_bytes((4, 4, 4), magic=b""), "not a single-file NIfTI"),
        (header_bytes((4, 4, 4), vox_offset=1e30), "places the voxels"),
        (header_bytes((4, 4, 4), vox_offset=np.nan), "places the voxels"),
        (header_bytes((4, 4, 4), vox_offset=0), "places the voxels"),
        (header_bytes((4, 4, 4), dtype=9999), "unknown data type"),
        (header_bytes((4, 4, 4), dtype=32, bits=64) + bytes(512), "integers or floats"),
        (header_bytes((4, 4, 4), dtype=128, bits=24) + bytes(192), "integers or floats"),
        (header_bytes((4, -4, 4)), "claims the shape (4, -4, 4)"),
        (header_bytes((4, 0, 4)), "claims the shape (4, 0, 4)"),
        (header_bytes((4, 4)) + bytes(32), "Give a volume of several slices"),
    ],
)
def test_a_file_that_is_no_volume_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "patient_t1.nii.gz"
    path.write_bytes(content)
    assert words in refused(path)


def test_a_4d_file_is_no_volume_and_a_3d_file_no_stack(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4, 2), np.uint8), np.eye(4)), tmp_path / "four.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "three.nii.gz")
    assert "3 dimensions are needed, found 4 with shape (4, 4, 4, 2)" in refused(tmp_path / "four.nii.gz")
    assert "4 dimensions are needed, found 3" in refused(tmp_path / "three.nii.gz", dimensions=4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"srow_x": (np.nan, 0, 0, 0)}, "finite"),
        ({"srow_y": (0, 1, 0, np.inf)}, "finite"),
        ({"srow_z": (0, 0, 0, 0)}, "cannot be inverted"),
        ({"srow_x": (1, 0, 1, 0), "srow_y": (0, 1, 1, 0), "srow_z": (0, 0, 1e-5, 0)}, "cannot be inverted"),
        ({"srow_z": (0, 0, 1e-4, 0)}, "spacing is"),
        ({"pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "spacing is [0.0"),
        ({"pixdim": [1, np.nan, 1, 1, 0, 0, 0, 0]}, "spacing is [nan"),
        (
            {"sform_code": 0, "qform_code": 1, "quatern_b": 0.9, "quatern_c": 0.9, "pixdim": [1, 1, 1, 1, 0, 0, 0, 0]},
            "cannot be used",
        ),
    ],
)
def test_an_impossible_affine_is_refused(tmp_path: Path, fields: dict[str, object], words: str) -> None:
    path = tmp_path / "placed.nii"
    path.write_bytes(header_bytes((2, 2, 2), **fields) + bytes(16))
    assert words in refused(path, GeometryError)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.nii.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.nii")
    assert "is a folder" in refused(tmp_path / "folder.nii.gz")
    assert "not a regular file" in refused(tmp_path / "pipe.nii")
    assert "No such file" in refused(tmp_path / "absent.nii.gz")
    assert "cannot be read" in refused(tmp_path / "absent" / "a.nii")
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "nowhere")
    assert "No such file" in refused(tmp_path / "dangling.nii")


def test_a_file_that_may_not_be_read_is_refused(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in refused(scan)


# Writing.


def orientations() -> dict[str, nib.Nifti1Image]:
    """A scan whose place is told in every way a header can tell it."""
    values = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    rigid = nib.Nifti1Image(values, OBLIQUE).get_qform()
    both = nib.Nifti1Image(values, rigid)
    both.set_sform(rigid, 4)
    both.set_qform(rigid, 1)
    apart = nib.Nifti1Image(values, OBLIQUE)
    apart.set_sform(OBLIQUE, 2)
    apart.set_qform(np.diag([1, 2, 3, 1]), 3)
    sform = nib.Nifti1Image(values, OBLIQUE)
    sform.set_sform(OBLIQUE, 1)
    sform.header["qform_code"] = 0
    qform = nib.Nifti1Image(values, rigid)
    qform.set_qform(rigid, 2)
    qform.header["sform_code"] = 0
    neither = nib.Nifti1Image(values, None)
    neither.header.set_zooms((0.9, 1.1, 3))
    neither.header["sform_code"] = neither.header["qform_code"] = 0
    flipped = nib.Nifti1Image(values, np.diag([-1, 1, 1, 1]))
    flipped.set_qform(np.diag([-1, 1, 1, 1]), 1)
    for image in (both, apart, sform, qform, neither, flipped):
        image.header.set_xyzt_units("mm", "sec")
    two = nib.Nifti2Image(values, OBLIQUE)
    two.set_sform(OBLIQUE, 3)
    return {
        "both": both,
        "apart": apart,
        "sform": sform,
        "qform": qform,
        "neither": neither,
        "qfac -1": flipped,
        "NIfTI-2": two,
    }


@pytest.mark.parametrize("name", orientations())
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_a_result_has_its_scans_place_bit_for_bit(
    tmp_path: Path, rng: np.random.Generator, name: str, kind: str
) -> None:
    nib.save(orientations()[name], tmp_path / "scan.nii.gz")
    scan = nifti.read_volume(tmp_path / "scan.nii.gz")
    values = (
        rng.integers(0, 4, (5, 4, 3)).astype(np.uint8)
        if kind == "labels"
        else rng.random((5, 4, 3, 4)).astype(np.float32)
    )
    nifti.write_volume(tmp_path / "result.nii.gz", values, scan.geometry, scan.header)
    before, after = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "result.nii.gz")
    assert type(before) is type(after)
    np.testing.assert_array_equal(after.affine, before.affine)
    for field in FIELDS:
        expected = before.header[field].copy()
        if field == "pixdim" and kind == "probabilities":
            expected[4] = after.header["pixdim"][4]
            assert expected[4] > 0
        assert after.header[field].tobytes() == expected.tobytes(), field
    assert after.header.get_data_dtype() == values.dtype
    np.testing.assert_array_equal(np.asarray(after.dataobj), values)
    assert type(after.header).diagnose_binaryblock(after.header.binaryblock) == ""


def test_a_big_endian_scan_gives_a_result_in_the_same_place(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    image = nib.Nifti1Image(np.ones((4, 3, 2), np.float32), OBLIQUE, header)
    image.set_qform(OBLIQUE, 2)
    nib.save(image, tmp_path / "big.nii")
    scan = nifti.read_volume(tmp_path / "big.nii")
    nifti.write_volume(tmp_path / "result.nii", np.ones((4, 3, 2), np.uint8), scan.geometry, scan.header)
    before, after = nib.load(tmp_path / "big.nii").header, nib.load(tmp_path / "result.nii").header
    assert (before.endianness, after.endianness) == (">", "<")
    for field in FIELDS:
        np.testing.assert_array_equal(before[field], after[field])


def test_text_and_scaling_of_the_scan_do_not_reach_the_result(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full((4, 3, 2), 7, np.int16), np.eye(4))
    image.header["descrip"], image.header["db_name"], image.header["aux_file"] = b"Jane Doe", b"Jane Doe", b"jane.txt"
    image.header["cal_max"], image.header["intent_code"] = 900, 3
    image.header.set_slope_inter(2.0, 5.0)
    nib.save(image, tmp_path / "scan.nii")
    scan = nifti.read_volume(tmp_path / "scan.nii")
    nifti.write_volume(tmp_path / "result.nii", np.ones((4, 3, 2), np.uint8), scan.geometry, scan.header)
    assert b"ane" not in (tmp_path / "result.nii").read_bytes()
    result = nib.load(tmp_path / "result.nii")
    assert result.header["cal_max"] == 0
    assert result.header["intent_code"] == 0
    np.testing.assert_array_equal(result.get_fdata(), 1)


def test_without_a_header_the_affine_is_written_with_scanner_codes(tmp_path: Path) -> None:
    straight, sheared = Geometry((4, 3, 2), np.diag([-1.0, -1, 2, 1])), Geometry((4, 3, 2), OBLIQUE)
    nifti.write_volume(tmp_path / "a.nii", np.zeros((4, 3, 2), np.uint8), straight)
    nifti.write_volume(tmp_path / "b.nii", np.zeros((4, 3, 2), np.uint8), sheared)
    first, second = nib.load(tmp_path / "a.nii"), nib.load(tmp_path / "b.nii")
    np.testing.assert_allclose(first.get_qform(), straight.affine, atol=1e-6)
    assert (int(first.header["sform_code"]), int(first.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(second.affine, OBLIQUE, atol=1e-6)
    # A quaternion cannot hold a shear, so none is written that would be wrong.
    assert (int(second.header["sform_code"]), int(second.header["qform_code"])) == (1, 0)


def test_the_same_result_has_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    values, grid = rng.integers(0, 4, (6, 5, 4)).astype(np.uint8), Geometry((6, 5, 4), np.eye(4))
    nifti.write_volume(tmp_path / "a.nii.gz", values, grid)
    nifti.write_volume(tmp_path / "b.nii.gz", np.asfortranarray(values), grid)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_existing_result_stays_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    path, grid = tmp_path / "a.nii.gz", Geometry((2, 2, 2), np.eye(4))
    path.write_bytes(b"before")
    with pytest.raises(UsageError, match="--overwrite"):
        nifti.write_volume(path, np.zeros((2, 2, 2), np.uint8), grid)
    assert path.read_bytes() == b"before"
    nifti.write_volume(path, np.zeros((2, 2, 2), np.uint8), grid, overwrite=True)
    assert nifti.read_shape(path) == (2, 2, 2)


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        ("a.img", np.zeros((2, 2, 2), np.uint8), UsageError),
        ("a.nii", np.zeros((2, 2, 2), np.int64), UsageError),
        ("a.nii", np.zeros((2, 2, 3), np.uint8), GeometryError),
        ("a.nii", np.zeros((2, 2), np.uint8), GeometryError),
        ("absent/a.nii", np.zeros((2, 2, 2), np.uint8), UsageError),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, values: np.ndarray, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"a\.(img|nii)"):
        nifti.write_volume(tmp_path / name, values, Geometry((2, 2, 2), np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(b"before")

    def write_and_fail() -> None:
        with nifti.replacing(path) as stream:
            stream.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(LimitError, match="No space left"):
        write_and_fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def with_header(tmp_path: Path, **fields: object) -> Path:
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1.0, -1, 1, 1]))
    image.set_qform(image.affine, 1)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    path = tmp_path / "odd.nii"
    path.write_bytes(header.binaryblock + bytes(content[348:]))
    return path


@pytest.mark.parametrize(
    ("fields", "error", "what"),
    [
        ({"magic": b"n+1x"}, FileFormatError, "not a single-file NIfTI"),
        ({"sform_code": 6}, GeometryError, "the header's sform_code is 6; NIfTI defines 0 to 5"),
        ({"qform_code": -1}, GeometryError, "qform_code is -1"),
        ({"xyzt_units": 1}, GeometryError, "counts in metres"),
        ({"xyzt_units": 3 | 8}, GeometryError, "counts in micrometres"),
        ({"scl_slope": 2, "scl_inter": np.nan}, FileFormatError, "scl_inter is nan"),
        ({"scl_slope": -1, "scl_inter": 0}, FileFormatError, "turns dark into bright"),
        ({"sform_code": 0, "quatern_d": 1.001}, GeometryError, "affine cannot be used"),
        ({"sform_code": 0, "pixdim": [1, 1, -1, 1, 0, 0, 0, 0]}, GeometryError, "pixdims[1,2,3] should be positive"),
    ],
)
def test_headers_that_programs_read_differently_are_refused(
    tmp_path: Path, fields: dict[str, object], error: type[InputError], what: str
) -> None:
    assert what in refused(with_header(tmp_path, **fields), error)


@pytest.mark.parametrize(
    "fields", [{}, {"scl_slope": np.nan, "scl_inter": np.nan}, {"scl_slope": 0, "scl_inter": 7}, {"xyzt_units": 0}]
)
def test_headers_that_only_look_odd_are_read(tmp_path: Path, fields: dict[str, object]) -> None:
    assert nifti.read_volume(with_header(tmp_path, **fields)).values.max() == 59


@pytest.mark.parametrize("length", [np.float32(1.0000002384), np.float32(1.00001)])
def test_a_quaternion_a_rounding_error_too_long_is_a_rotation(tmp_path: Path, length: np.float32) -> None:
    path = with_header(tmp_path, sform_code=0, quatern_d=length)
    np.testing.assert_allclose(nifti.read_volume(path).geometry.affine, np.diag([-1.0, -1, 1, 1]), atol=1e-3)


@pytest.mark.parametrize(("first", "sign"), [(0, 1), (-0.5, -1), (7, 1)])
def test_the_sign_of_the_first_spacing_alone_counts(tmp_path: Path, first: float, sign: int) -> None:
    path = with_header(tmp_path, sform_code=0, pixdim=[first, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(nifti.read_volume(path).geometry.affine[:3, 2], [0, 0, sign], atol=1e-6)


def test_a_negative_spacing_beside_an_sform_is_its_size(tmp_path: Path) -> None:
    read = nifti.read_volume(with_header(tmp_path, pixdim=[1, 1, -1, 1, 0, 0, 0, 0]))
    np.testing.assert_allclose(read.geometry.affine, np.diag([-1.0, -1, 1, 1]))
    nib.Nifti1Header(read.header).get_qform()


def test_twice_gzipped_is_told(tmp_path: Path) -> None:
    path = with_header(tmp_path)
    path.write_bytes(gzip.compress(gzip.compress(path.read_bytes())))
    assert "compressed with gzip twice: unpack it once" in refused(path)


def test_empty_gzip_members_are_read_and_their_number_is_bounded(tmp_path: Path) -> None:
    path = with_header(tmp_path)
    content = path.read_bytes()
    path.write_bytes(gzip.compress(b"") * 20_000 + gzip.compress(content))
    assert nifti.read_volume(path).values.max() == 59
    path.write_bytes(gzip.compress(b"") * 120_000)
    assert "more than 100,000 members" in refused(path)
