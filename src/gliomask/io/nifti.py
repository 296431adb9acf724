"""NIfTI files: read with every claim of the header checked before memory is taken, written whole or not at all.

A `.nii.gz` of 58 bytes can claim a volume of many gigabytes, and a library that trusts it takes them. Here the header
is read first, its claims are held against `MAX_VOXELS`, and the stream is then read up to the claimed length and a
little further, to reach its checksum. Voxels become float32 block by block, so that no copy in the file's own type is
ever held.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from gliomask.arrays import Volume, short_repr
from gliomask.errors import FileFormatError, GeometryError, UsageError
from gliomask.files.atomic import all_or_none, make_folder, refuse_existing, refuse_unwritable, replacing, write_bytes
from gliomask.files.hashing import HashedStream
from gliomask.files.regular import NotRegularError, open_regular
from gliomask.geometry import QUATERNION_THRESHOLD, Geometry
from gliomask.io.gunzip import GZIP_MAGIC, ByteStream, Gunzip, GunzipError

MAX_VOXELS = 512 * 512 * 512
"""Largest volume that is read: 512 MiB as float32. A BraTS volume has 8.9 million voxels, a 0.5 mm head about 130
million.
"""

MAX_EXTENSION_BYTES = 64 << 20
"""Largest header extension that is skipped before the voxels; converters that keep the whole DICOM header there need
some megabytes.
"""

MAX_TRAILING_BYTES = 64 << 10
"""Bytes after the voxels that are read past, to reach the checksum; more means that the header does not describe the
file.
"""

BLOCK_VOXELS = 1 << 18
"""Voxels converted at a time."""

# Also under these names, which much code imports from here.
__all__ = [
    "NiftiVolume",
    "all_or_none",
    "is_nifti_name",
    "make_folder",
    "read_channels",
    "read_shape",
    "read_volume",
    "refuse_unwritable",
    "replacing",
    "stem",
    "write_bytes",
    "write_volume",
]

NIFTI1_HEADER_BYTES = 348
NIFTI2_HEADER_BYTES = 540
EXTENDER_BYTES = 4
"""After the header; NIfTI-1 standard, `extender`."""
SINGLE_FILE_MAGIC = (b"n+1", b"n+2")
REAL_KINDS = "iuf"
"""Numpy kinds of the data types that can be intensities or labels: integers and floats; not complex, not RGB."""

HIGHEST_FORM_CODE = 5
"""Of `qform_code` and `sform_code`: NIFTI_XFORM_TEMPLATE_OTHER. Other programs take an unknown code for none, and the
scan for lying elsewhere.
"""

SPACE_UNITS = {1: "metres", 3: "micrometres"}
"""`xyzt_units`, its lowest three bits: what is no millimetre. 2 is millimetres; 0, unknown, is taken for millimetres by
all programs.
"""

SHEAR_TOLERANCE = 1e-4
"""A quaternion holds rotations and spacings. Where it misses the affine by more (mm per voxel), it is left unset."""

LABEL_LEVEL, PROBABILITY_LEVEL = 4, 1
"""gzip levels: label maps shrink a hundredfold at any level; probabilities hardly shrink, and take seconds above
level 1.
"""

OTHER_KINDS = {
    GZIP_MAGIC: "It is compressed with gzip twice: unpack it once.",
    b"PK\x03\x04": "It is a zip archive: unpack it.",
    b"BZh": "It is compressed with bzip2: unpack it.",
    b"\xfd7zXZ": "It is compressed with xz: unpack it.",
    b"\x28\xb5\x2f\xfd": "It is compressed with zstd: unpack it.",
    b"version https://git-lfs": "It is a pointer to a file kept by Git LFS: fetch the file itself.",
    b"NRRD": "It is an NRRD file: convert it to NIfTI.",
}
"""First bytes of other kinds of file that turn up under a NIfTI name, and what to do."""


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """What a file held: (I, J, K) or (I, J, K, C) values, the grid, the header as bytes, and the SHA-256 of the file's
    own bytes.
    """

    values: npt.NDArray[np.float32]
    geometry: Geometry
    header: bytes
    sha256: str

    __repr__ = short_repr


class _Hashed:
    """A stream that tells the SHA-256 of what was read from it: the hash is of the bytes that were used, whatever
    becomes of the file.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self.digest = raw, hashlib.sha256()

    def read(self, count: int, /) -> bytes:
        data = self._raw.read(count)
        self.digest.update(data)
        return data


def is_nifti_name(path: Path) -> bool:
    """True when the name ends in `.nii` or `.nii.gz`, in any case."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def stem(path: Path) -> str:
    """The file's name without `.nii` or `.nii.gz`."""
    name = path.name
    for ending in (".nii.gz", ".nii"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def read_volume(path: Path) -> NiftiVolume:
    """Reads a 3-D NIfTI file, intensities as float32 with the header's scaling applied.

    Raises:
        FileFormatError: not a file, not NIfTI, truncated, corrupt, not 3-D, or claiming more than `MAX_VOXELS`.
        GeometryError: the affine is not finite or not invertible.
    """
    return _read(path, dimensions=3)


def read_channels(path: Path) -> NiftiVolume:
    """Reads a 4-D NIfTI file, (I, J, K, C), as the Medical Segmentation Decathlon stores its sequences.

    Raises as `read_volume`.
    """
    return _read(path, dimensions=4)


def read_shape(path: Path) -> tuple[int, ...]:
    """Returns the shape that a NIfTI file's header claims, without axes of length 1 at its end; reads no voxel.

    Raises:
        FileFormatError: not a file, not NIfTI, or corrupt.
    """
    with _opened(path) as (stream, _):
        return _claimed_shape(_read_header(stream, path), path)


def _read(path: Path, dimensions: int) -> NiftiVolume:
    with _opened(path) as (stream, hashed):
        header = _read_header(stream, path)
        shape = _checked_shape(header, path, dimensions)
        geometry = _geometry(header, shape, path)
        # Reads to the end of the file, so that the hash is that of all its bytes.
        values = _read_voxels(stream, header, shape, path)
    return NiftiVolume(values, geometry, header.binaryblock, hashed.digest.hexdigest())


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ByteStream, _Hashed]]:
    """The uncompressed stream, and the file's own beneath it; whether it is gzip is decided by its first bytes, since
    copies often lose or gain `.gz`.
    """
    try:
        with open_regular(path) as raw:
            compressed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            raw.seek(0)
            hashed = _Hashed(raw)
            yield Gunzip(hashed) if compressed else hashed, hashed
    except GunzipError as error:
        raise FileFormatError(
            f"{path}: the gzip stream is truncated or corrupt ({error}). Copy the file again from its source."
        ) from error
    except NotRegularError as error:
        raise FileFormatError(
            f"{path}: {str(error.strerror).removeprefix('it ')}. Give the NIfTI file itself."
        ) from error
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be read ({error.strerror or error}). Check that the file exists and may be read."
        ) from error


def _read_header(stream: ByteStream, path: Path) -> Nifti1Header:
    head = stream.read(NIFTI1_HEADER_BYTES)
    size = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    if not head:
        raise FileFormatError(f"{path}: is empty. Copy the file again from its source.")
    if NIFTI1_HEADER_BYTES not in size and NIFTI2_HEADER_BYTES not in size:
        raise FileFormatError(f"{path}: not a NIfTI file (its first bytes are {head[:4]!r}). {_what_else(head)}")
    kind, length = (
        (Nifti2Header, NIFTI2_HEADER_BYTES) if NIFTI2_HEADER_BYTES in size else (Nifti1Header, NIFTI1_HEADER_BYTES)
    )
    head += stream.read(length - NIFTI1_HEADER_BYTES)
    if len(head) < length:
        raise FileFormatError(
            f"{path}: ends inside its header ({len(head)} of {length} bytes). Copy the file again from its source."
        )
    header = kind(head, check=False)
    header.quaternion_threshold = QUATERNION_THRESHOLD
    # The sign alone counts, and 0 is 1, as in the standard's own library (nifti1_io.c, nifti_convert_nhdr2nim).
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    if bytes(header["magic"].item()) not in SINGLE_FILE_MAGIC:
        raise FileFormatError(
            f"{path}: not a single-file NIfTI (magic {header['magic'].item()!r}). Convert .hdr/.img pairs to "
            ".nii.gz first."
        )
    return header


def _what_else(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "It is a DICOM file: give the folder of the series to gliomask dicom convert first."
    return next((hint for start, hint in OTHER_KINDS.items() if head.startswith(start)), "Convert it to NIfTI first.")


def _claimed_shape(header: Nifti1Header, path: Path) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise FileFormatError(
            f"{path}: the header claims {count} dimensions; NIfTI allows 1 to 7. The file is corrupt."
        )
    shape = [int(n) for n in header["dim"][1 : count + 1]]
    if min(shape) < 1:
        raise FileFormatError(f"{path}: the header claims the shape {tuple(shape)}. The file is corrupt.")
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _checked_shape(header: Nifti1Header, path: Path, dimensions: int) -> tuple[int, ...]:
    shape = _claimed_shape(header, path)
    if len(shape) != dimensions:
        raise FileFormatError(
            f"{path}: {dimensions} dimensions are needed, found {len(shape)} with shape {shape}. "
            f"{_dimension_hint(len(shape))}"
        )
    # Python integers: the product of hostile dimensions must not wrap round.
    voxels = math.prod(shape)
    if voxels > MAX_VOXELS:
        raise FileFormatError(
            f"{path}: the header claims {voxels:,} voxels {shape}; the limit is {MAX_VOXELS:,}. The header is wrong, "
            "or crop the scan."
        )
    return shape


def _dimension_hint(dimensions: int) -> str:
    if dimensions > 3:
        return "The file holds several volumes: give one 3-D file for each sequence."
    return (
        "Give one file with all four sequences, or four files."
        if dimensions == 3
        else "Give a volume of several slices."
    )


def _read_voxels(
    stream: ByteStream, header: Nifti1Header, shape: tuple[int, ...], path: Path
) -> npt.NDArray[np.float32]:
    dtype = _data_type(header, path)
    _refuse_odd_scaling(header, path)
    _skip_to_voxels(stream, header, path)
    count = math.prod(shape)
    # Pages are only taken when they are written to, so that a claim costs nothing before its voxels have come.
    values = np.empty(count, np.float32)
    for start in range(0, count, BLOCK_VOXELS):
        wanted = min(BLOCK_VOXELS, count - start) * dtype.itemsize
        data = stream.read(wanted)
        if len(data) < wanted:
            raise FileFormatError(
                f"{path}: ends after {start * dtype.itemsize + len(data):,} of {count * dtype.itemsize:,} bytes of "
                "voxels. Copy the file again from its source."
            )
        values[start : start + BLOCK_VOXELS] = _scaled(np.frombuffer(data, dtype), header)
    if len(stream.read(MAX_TRAILING_BYTES + 1)) > MAX_TRAILING_BYTES:
        raise FileFormatError(
            f"{path}: holds more than the {count:,} voxels that its header claims {shape}. The header is wrong; "
            "write the file anew."
        )
    return values.reshape(shape, order="F")


def _data_type(header: Nifti1Header, path: Path) -> np.dtype[np.generic]:
    try:
        dtype = cast("np.dtype[np.generic]", header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise FileFormatError(
            f"{path}: unknown data type code {int(header['datatype'])}. The file is corrupt."
        ) from error
    if dtype.kind not in REAL_KINDS:
        raise FileFormatError(f"{path}: its data type is {dtype}; integers or floats are needed.")
    return dtype


def _skip_to_voxels(stream: ByteStream, header: Nifti1Header, path: Path) -> None:
    start = float(header["vox_offset"])
    extension = start - len(header.binaryblock)
    if not (EXTENDER_BYTES <= extension <= MAX_EXTENSION_BYTES and start.is_integer()):
        raise FileFormatError(f"{path}: the header places the voxels at byte {start}. The file is corrupt.")
    for skipped in range(0, int(extension), BLOCK_VOXELS):
        stream.read(min(BLOCK_VOXELS, int(extension) - skipped))


def _refuse_odd_scaling(header: Nifti1Header, path: Path) -> None:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not (np.isfinite(slope) and slope != 0):
        return
    if not np.isfinite(intercept):
        raise FileFormatError(
            f"{path}: the header's scl_slope is {slope:g} but its scl_inter is {intercept}. Repair the header first."
        )
    if slope < 0:
        raise FileFormatError(
            f"{path}: the header's scl_slope is {slope:g}, which turns dark into bright. Write the voxels out as "
            "they are meant."
        )


def _scaled(values: npt.NDArray[np.generic], header: Nifti1Header) -> npt.NDArray[np.generic]:
    # NIfTI-1 standard, `scl_slope`: 0 means no scaling; nibabel treats a slope that is not finite alike.
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not (np.isfinite(slope) and slope != 0 and np.isfinite(intercept)):
        slope, intercept = 1, 0
    with np.errstate(over="ignore", invalid="ignore"):
        # What overflows becomes infinite, which a `Case` refuses.
        return (
            values.astype(np.float32)
            if (slope, intercept) == (1, 0)
            else (values.astype(np.float64) * slope + intercept).astype(np.float32)
        )


def _geometry(header: Nifti1Header, shape: tuple[int, ...], path: Path) -> Geometry:
    _refuse_odd_place(header, path)
    if not (np.isfinite(header["pixdim"][1:4]).all() and (header["pixdim"][1:4] != 0).all()):
        raise GeometryError(
            f"{path}: the header's spacing is {header['pixdim'][1:4].tolist()} mm. Repair the header first."
        )
    if header["sform_code"] > 0:
        # The sform says which way axes run, so the sign of a spacing says nothing. In a qform programs read it
        # differently, and nibabel refuses it.
        header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    try:
        return Geometry((shape[0], shape[1], shape[2]), header.get_best_affine())
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise GeometryError(
            f"{path}: the header's affine cannot be used ({error}). Repair the header first."
        ) from error


def _refuse_odd_place(header: Nifti1Header, path: Path) -> None:
    for name in ("sform_code", "qform_code"):
        code = int(header[name])
        if not 0 <= code <= HIGHEST_FORM_CODE:
            raise GeometryError(
                f"{path}: the header's {name} is {code}; NIfTI defines 0 to {HIGHEST_FORM_CODE}, and programs differ "
                "in where they would place the scan. "
                "Repair the header first."
            )
    units = SPACE_UNITS.get(int(header["xyzt_units"]) & 7)
    if units is not None:
        spacing = header["pixdim"][1:4].tolist()
        raise GeometryError(
            f"{path}: the header counts in {units} (spacing {spacing}); millimetres are needed. Write the header in "
            "millimetres first."
        )


def write_volume(
    path: Path,
    values: npt.NDArray[np.uint8 | np.int16] | Volume,
    geometry: Geometry,
    header: bytes | None = None,
    *,
    overwrite: bool = False,
) -> str:
    """Writes a volume or a 4-D stack of volumes, in the data type it has, to a temporary name beside `path` and renames
    it.

    Args:
        path: must end in `.nii` or `.nii.gz`.
        values: (I, J, K) or (I, J, K, C), uint8, int16 or float32.
        geometry: the grid of the first three axes.
        header: the header of the scan this belongs to; its sform and qform with their codes, its spacing and its units
            are kept exactly, its free text and its intensity range are not. Without it both codes are 1 (scanner) and
            the affine is the geometry's.
        overwrite: replace an existing file.

    Returns:
        The SHA-256 of the file's bytes.

    Raises:
        UsageError: the file exists and `overwrite` is false, the name has another ending, or the file cannot be
            written.
        LimitError: the disk is full.
        GeometryError: `values` does not have the geometry's shape.
    """
    if not is_nifti_name(path):
        raise UsageError(f"{path}: the name of a NIfTI file ends in .nii or .nii.gz.")
    if values.dtype not in (np.uint8, np.int16, np.float32):
        raise UsageError(f"{path}: values are written as uint8, int16 or float32; found {values.dtype}.")
    if values.ndim not in (3, 4) or values.shape[:3] != geometry.shape:
        raise GeometryError(f"{path}: the values have the shape {values.shape}, the grid has {geometry.shape}.")
    refuse_existing([path], overwrite=overwrite)
    written = _fresh_header(geometry) if header is None else _header_of_result(header)
    _describe_values(written, values)
    with replacing(path, exclusive=not overwrite) as file:
        stream = HashedStream(file)
        if path.name.lower().endswith(".gz"):
            # No name and a fixed time stamp, so that the same result has the same bytes.
            level = LABEL_LEVEL if values.dtype == np.uint8 else PROBABILITY_LEVEL
            with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=stream, mtime=0) as compressed:
                _write_all(cast(BinaryIO, compressed), written, values)
        else:
            _write_all(cast(BinaryIO, stream), written, values)
    return stream.sha256


def _fresh_header(geometry: Geometry) -> Nifti1Header:
    header = Nifti1Header()
    header.set_xyzt_units("mm")
    header.set_data_shape(geometry.shape)
    header.set_qform(geometry.affine, code=1)
    if not np.allclose(header.get_qform(), geometry.affine, rtol=0, atol=SHEAR_TOLERANCE):
        header["qform_code"] = 0
    header.set_sform(geometry.affine, code=1)
    return header


def _header_of_result(source: bytes) -> Nifti1Header:
    """The codes of the input are kept, also when one of them is 0: a reader must find the result where it finds the
    scan.
    """
    kind = Nifti2Header if len(source) == NIFTI2_HEADER_BYTES else Nifti1Header
    header = kind(source, check=False).as_byteswapped("<")
    for field in ("descrip", "aux_file", "intent_name"):
        header[field] = b""
    for field in (
        "intent_code",
        "intent_p1",
        "intent_p2",
        "intent_p3",
        "cal_min",
        "cal_max",
        "slice_code",
        "slice_start",
        "slice_end",
        "slice_duration",
    ):
        header[field] = 0
    if kind is Nifti1Header:
        # Left over from ANALYZE; some converters keep the patient's name there.
        header["db_name"] = b""
    return header


def _describe_values(header: Nifti1Header, values: npt.NDArray[np.generic]) -> None:
    header.set_data_dtype(values.dtype)
    header["dim"] = [values.ndim, *values.shape, *[1] * (7 - values.ndim)]
    if values.ndim == 4 and not (np.isfinite(header["pixdim"][4]) and header["pixdim"][4] > 0):
        # ITK refuses a spacing of 0 along any axis.
        header["pixdim"][4] = 1
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = len(header.binaryblock) + EXTENDER_BYTES
    header["descrip"] = b"gliomask"


def _write_all(stream: BinaryIO, header: Nifti1Header, values: npt.NDArray[np.uint8 | np.int16] | Volume) -> None:
    stream.write(header.binaryblock + bytes(EXTENDER_BYTES))
    little = values.dtype.newbyteorder("<")
    stack = values if values.ndim == 4 else values[..., np.newaxis]
    for c, k in np.ndindex(stack.shape[3], stack.shape[2]):
        stream.write(stack[:, :, k, c].astype(little, copy=False).tobytes(order="F"))
