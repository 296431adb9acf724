"""NIfTI files: read with every claim of the header checked before memory is taken, written whole or not at all.

A `.nii.gz` of 58 bytes can claim a volume of many gigabytes, and a library that trusts it takes them. Here the header is read
first, its claims are held against `MAX_VOXELS`, and the stream is then read up to the claimed length and no further.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image

from gliomask.arrays import Volume
from gliomask.errors import FileFormatError, GeometryError, LimitError, UsageError
from gliomask.geometry import Geometry

MAX_VOXELS = 512 * 512 * 512
"""Largest volume that is read: 512 MiB as float32. A BraTS volume has 8.9 million voxels, a 0.5 mm head about 130 million."""

MAX_OFFSET_BYTES = 1 << 20
"""Largest header extension that is skipped before the voxels."""

NIFTI1_HEADER_BYTES = 348
NIFTI2_HEADER_BYTES = 540
SINGLE_FILE_MAGIC = (b"n+1\0", b"n+2\0")
REAL_KINDS = "iufb"
"""Numpy kinds of the data types that can be intensities or labels: integers, floats, booleans; not complex, not RGB."""


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """What a file held: (I, J, K) or (I, J, K, C) values, the grid, and the header as bytes."""

    values: npt.NDArray[np.float32]
    geometry: Geometry
    header: bytes


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
        FileFormatError: not a file, not NIfTI, truncated, corrupt, or not 3-D.
        GeometryError: the affine is not finite or not invertible.
        LimitError: the header claims more than `MAX_VOXELS`.
    """
    return _read(path, dimensions=3)


def read_channels(path: Path) -> NiftiVolume:
    """Reads a 4-D NIfTI file, (I, J, K, C), as the Medical Segmentation Decathlon stores its sequences. Raises as `read_volume`."""
    return _read(path, dimensions=4)


def _read(path: Path, dimensions: int) -> NiftiVolume:
    try:
        with _opened(path) as stream:
            header = _read_header(stream, path)
            shape = _checked_shape(header, path, dimensions)
            values = _read_voxels(stream, header, shape, path)
    except (zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise FileFormatError(f"{path}: the gzip stream is truncated or corrupt ({error}). Copy the file again from its source.") from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}). Check that the file exists and may be read.") from error
    return NiftiVolume(values, _geometry(header, shape, path), header.binaryblock)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The uncompressed stream; whether it is gzip is decided by its first bytes, since copies often lose or gain `.gz`."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if compressed:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield cast(BinaryIO, stream)
        else:
            yield raw


def _read_header(stream: BinaryIO, path: Path) -> Nifti1Header:
    head = stream.read(NIFTI1_HEADER_BYTES)
    size = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    if NIFTI2_HEADER_BYTES in size:
        head += stream.read(NIFTI2_HEADER_BYTES - NIFTI1_HEADER_BYTES)
    elif NIFTI1_HEADER_BYTES not in size:
        raise FileFormatError(f"{path}: not a NIfTI file (its first bytes are {head[:4]!r}). Convert it to NIfTI first.")
    kind, length = (Nifti2Header, NIFTI2_HEADER_BYTES) if NIFTI2_HEADER_BYTES in size else (Nifti1Header, NIFTI1_HEADER_BYTES)
    if len(head) < length:
        raise FileFormatError(f"{path}: ends inside its header ({len(head)} of {length} bytes). Copy the file again from its source.")
    header = kind(head, check=False)
    if bytes(header["magic"].item())[:3] not in {magic[:3] for magic in SINGLE_FILE_MAGIC}:
        raise FileFormatError(f"{path}: not a single-file NIfTI (magic {header['magic'].item()!r}). Convert .hdr/.img pairs to .nii.gz first.")
    return header


def _checked_shape(header: Nifti1Header, path: Path, dimensions: int) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise FileFormatError(f"{path}: the header claims {count} dimensions; NIfTI allows 1 to 7. The file is corrupt.")
    shape = [int(n) for n in header["dim"][1 : count + 1]]
    if min(shape) < 1:
        raise FileFormatError(f"{path}: the header claims the shape {tuple(shape)}. The file is corrupt.")
    while len(shape) > dimensions and shape[-1] == 1:
        shape.pop()
    if len(shape) != dimensions:
        raise FileFormatError(f"{path}: {dimensions} dimensions are needed, found {len(shape)} with shape {tuple(shape)}.{_dimension_hint(len(shape))}")
    # Python integers: the product of hostile dimensions must not wrap round.
    voxels = int(np.prod(np.array(shape, object)))
    if voxels > MAX_VOXELS:
        raise LimitError(f"{path}: the header claims {voxels:,} voxels {tuple(shape)}; the limit is {MAX_VOXELS:,}. The header is wrong, or crop the scan.")
    return tuple(shape)


def _dimension_hint(found: int) -> str:
    if found == 4:
        return " A 4-D file holds several volumes: give one 3-D file for each sequence."
    return " Give a volume of several slices."


def _read_voxels(stream: BinaryIO, header: Nifti1Header, shape: tuple[int, ...], path: Path) -> npt.NDArray[np.float32]:
    try:
        dtype = header.get_data_dtype()
    except (nib.spatialimages.HeaderDataError, KeyError) as error:
        raise FileFormatError(f"{path}: unknown data type code {int(header['datatype'])}. The file is corrupt.") from error
    if dtype.kind not in REAL_KINDS:
        raise FileFormatError(f"{path}: its data type is {dtype}; integers or floats are needed.")
    offset = float(header["vox_offset"]) - len(header.binaryblock)
    if not 0 <= offset <= MAX_OFFSET_BYTES:
        raise FileFormatError(f"{path}: the header places the voxels at byte {float(header['vox_offset'])}. The file is corrupt.")
    stream.read(int(offset))
    count = int(np.prod(shape))
    data = stream.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise FileFormatError(f"{path}: ends after {len(data):,} of {count * dtype.itemsize:,} bytes of voxels. Copy the file again from its source.")
    values = np.frombuffer(data, dtype).reshape(shape, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        return _scaled(values, header)


def _scaled(values: npt.NDArray[np.generic], header: Nifti1Header) -> npt.NDArray[np.float32]:
    # NIfTI-1 standard, `scl_slope`: 0 means no scaling; nibabel treats a non-finite slope alike.
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    result = values.astype(np.float32, order="F")
    if np.isfinite(slope) and slope != 0 and np.isfinite(intercept) and (slope, intercept) != (1, 0):
        result = (values.astype(np.float64) * slope + intercept).astype(np.float32, order="F")
    return result


def _geometry(header: Nifti1Header, shape: tuple[int, ...], path: Path) -> Geometry:
    if not (np.isfinite(header["pixdim"][1:4]).all() and (header["pixdim"][1:4] != 0).all()):
        raise GeometryError(f"{path}: the header's spacing is {header['pixdim'][1:4].tolist()} mm. Repair the header first.")
    try:
        return Geometry((shape[0], shape[1], shape[2]), header.get_best_affine())
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
    except (nib.spatialimages.HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise GeometryError(f"{path}: the header's affine cannot be used ({error}). Repair the header first.") from error


def write_volume(
    path: Path, values: npt.NDArray[np.uint8] | Volume, geometry: Geometry, header: bytes | None = None, *, overwrite: bool = False
) -> None:
    """Writes a volume or a 4-D stack of volumes, in the data type it has, to a temporary name beside `path` and renames it.

    Args:
        path: must end in `.nii` or `.nii.gz`.
        values: (I, J, K) or (I, J, K, C), uint8 or float32.
        geometry: the grid of the first three axes.
        header: the header of the scan this belongs to; its sform and qform with their codes, units and description of space
            are kept exactly. Without it both codes are 1 (scanner) and the affine is the geometry's.
        overwrite: replace an existing file.

    Raises:
        UsageError: the file exists and `overwrite` is false, or the name has another ending.
        GeometryError: `values` does not have the geometry's shape.
    """
    if not is_nifti_name(path):
        raise UsageError(f"{path}: the name of a NIfTI file ends in .nii or .nii.gz.")
    if values.shape[:3] != geometry.shape:
        raise GeometryError(f"{path}: the values have the shape {values.shape}, the grid has {geometry.shape}.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists. Give --overwrite to replace it.")
    # The codes of the input are kept, also when one of them is 0: a reader must find the result where it finds the scan.
    image = _image(values, geometry, header)
    stream = io.BytesIO()
    image.to_stream(stream)
    content = stream.getvalue()
    if path.name.lower().endswith(".gz"):
        # A fixed time stamp, so that the same result has the same bytes.
        content = gzip.compress(content, compresslevel=4, mtime=0)
    write_bytes(path, content)


def _image(values: npt.NDArray[np.generic], geometry: Geometry, header: bytes | None) -> Nifti1Image:
    if header is None:
        image = Nifti1Image(values, geometry.affine)
        image.set_sform(geometry.affine, code=1)
        image.set_qform(geometry.affine, code=1)
        image.header.set_xyzt_units("mm")
        return image
    kind, image_kind = (Nifti2Header, Nifti2Image) if len(header) == NIFTI2_HEADER_BYTES else (Nifti1Header, Nifti1Image)
    source = kind(header, check=False).as_byteswapped("<")
    image = image_kind(values, None, header=source)
    image.header.set_data_dtype(values.dtype)
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        image.header[field] = source[field]
    for field in ("srow_x", "srow_y", "srow_z"):
        image.header[field] = source[field]
    image.header["pixdim"][:4] = source["pixdim"][:4]
    image.header["cal_min"] = image.header["cal_max"] = 0
    return image


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name in the same folder, flushes it to disk and renames it: whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
