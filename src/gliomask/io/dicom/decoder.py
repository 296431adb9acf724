"""Pixels of DICOM files as arrays; also a program that does this for compressed files in a process of its own.

Decoders of compressed images are written in C and get bytes from anywhere. A corrupt file may crash them or never let
them end, and here that ends a child process with limits on time and memory, not the one that asked. Uncompressed pixels
need no such decoder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.errors import FileFormatError
from gliomask.files.atomic import temporary_folder
from gliomask.io.dicom.headers import DEFLATED, NATIVE, read_dataset
from gliomask.io.dicom.quiet import quiet_pydicom

SECONDS_PER_SERIES = 300
MEMORY_BYTES = 4 << 30
"""Limits of the child process."""

PLUGINS = ("pyjpegls", "pylibjpeg", "gdcm", "pillow", "pydicom")
"""Preferred decoders; each stands for some of JPEG-LS, JPEG 2000, JPEG and RLE."""

AGAIN = "Check that it is still there and may be read."
"""A file's name may be the patient's, so it is not told."""

Wanted = list[tuple[str, int]]
"""File and frame in it, from 0."""


def decode(wanted: Wanted, shape: tuple[int, int], transfer_syntax: str, name: str) -> npt.NDArray[np.float64]:
    """Returns the stored values of frames, (N, rows, columns), before rescaling.

    Args:
        wanted: the frames in order.
        shape: rows and columns that each must have.
        transfer_syntax: of the files.
        name: how messages call them.

    Raises:
        FileFormatError: pixels are missing, truncated, corrupt or compressed in a way that no decoder knows.
    """
    if transfer_syntax in NATIVE:
        return np.stack(list(_frames(wanted, shape, name)))
    with temporary_folder() as folder:
        target = folder / "frames.npy"
        request = json.dumps({"wanted": wanted, "shape": shape, "target": str(target)})
        try:
            # -P keeps the working folder, which may hold anything, out of the search for modules.
            command = [sys.executable, "-P", "-m", "gliomask.io.dicom.decoder"]
            child = subprocess.run(
                command, input=request, capture_output=True, text=True, timeout=SECONDS_PER_SERIES, check=False
            )
        except subprocess.TimeoutExpired:
            raise FileFormatError(
                f"{name}: decoding took over {SECONDS_PER_SERIES} s. The files are corrupt; export them uncompressed."
            ) from None
        if child.returncode != 0 or not target.exists():
            why = (
                child.stderr.strip().splitlines()[-1]
                if child.returncode == REFUSED and child.stderr.strip()
                else "the decoder crashed"
            )
            raise FileFormatError(
                f"{name}: its compressed pixels ({transfer_syntax}) cannot be decoded: {why}. Export it uncompressed."
            )
        return np.asarray(np.load(target, allow_pickle=False))


def _frames(wanted: Wanted, shape: tuple[int, int], name: str) -> Iterator[npt.NDArray[np.float64]]:
    from pydicom.pixels import pixel_array

    with quiet_pydicom():
        path, dataset = "", None
        for file, index in wanted:
            try:
                if file != path:
                    path, dataset = file, read_dataset(Path(file), pixels=True)[0]
                frame = _one(pixel_array, dataset, index)
            except FileFormatError:
                raise
            except OSError as error:
                raise FileFormatError(
                    f"{name}: one of its files cannot be read any more "
                    f"({error.strerror or type(error).__name__}). {AGAIN}"
                ) from None
            except Exception as error:
                raise FileFormatError(
                    f"{name}: the pixels are missing, truncated or corrupt ({type(error).__name__}). Copy the "
                    "files again."
                ) from None
            if frame.shape != shape:
                raise FileFormatError(
                    f"{name}: an image has {frame.shape} pixels, its header says {shape}. The file is corrupt."
                )
            yield frame.astype(np.float64)


def _one(pixel_array: Any, dataset: Any, index: int) -> npt.NDArray[np.generic]:
    if str(dataset.file_meta.TransferSyntaxUID) in (*NATIVE, DEFLATED):
        return np.asarray(pixel_array(dataset, index=index, raw=True))
    failure: Exception = FileFormatError("no decoder for this transfer syntax is installed")
    for plugin in PLUGINS:
        try:
            return np.asarray(pixel_array(dataset, index=index, raw=True, decoding_plugin=plugin))
        except ValueError as error:
            # The plugin does not know this transfer syntax, or is not installed.
            failure = error
        except Exception as error:
            failure = error
    raise failure


REFUSED = 3
"""Exit code of the child when it refuses with a sentence."""


def main() -> int:
    """Decodes what standard input asks for; the frames go to the file that it names."""
    request = json.load(sys.stdin)
    _limit_memory()
    try:
        wanted = [(str(file), int(index)) for file, index in request["wanted"]]
        frames = np.stack(list(_frames(wanted, (request["shape"][0], request["shape"][1]), "an image")))
        np.save(request["target"], frames, allow_pickle=False)
    except FileFormatError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"the unpacked pixels cannot be kept ({error.strerror or type(error).__name__})\n")
        return REFUSED
    return 0


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
