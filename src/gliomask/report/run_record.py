"""The run record: what every command that writes a result leaves beside it, so that the result can be traced and
repeated.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gliomask import __version__
from gliomask.files.hashing import sha256_of
from gliomask.io.nifti import write_bytes
from gliomask.processors import thread_count

RECORDED_PACKAGES = (
    "numpy",
    "scipy",
    "nibabel",
    "openvino",
    "onnxruntime",
    "keras",
    "tensorflow-cpu",
    "jax",
    "SimpleITK",
    "pydicom",
    "highdicom",
)
"""Packages whose version can change a result; the record names those that the process has loaded."""


def environment() -> dict[str, Any]:
    """Returns the versions and the machine's kind; nothing that names a person or a host."""
    return {
        "gliomask": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": thread_count(None),
        "packages": {name: loaded for name in RECORDED_PACKAGES if (loaded := _version_if_loaded(name))},
    }


def _version_if_loaded(package: str) -> str | None:
    if package.removesuffix("-cpu") not in sys.modules:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peak_memory_mb() -> float | None:
    """Returns the largest resident memory of this process so far, 10^6 bytes; None where the system tells none."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes (getrusage(2)).
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def input_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Returns the SHA-256 of each file, by its path as given."""
    return {str(path): sha256_of(path) for path in paths}


def compose_record(command: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Returns a run record: the command, the present time, the environment, then `fields`."""
    return {
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "peak_memory_mb": peak_memory_mb(),
        **fields,
        "notice": "Research software, not a medical device.",
    }


def write_record(path: Path, command: str, fields: dict[str, Any]) -> None:
    """Writes what `compose_record` returns; whole or not at all."""
    write_composed(path, compose_record(command, fields))


def write_composed(path: Path, record: dict[str, Any]) -> None:
    """Writes a run record that was composed before; whole or not at all."""
    write_bytes(path, (json.dumps(record, indent=1) + "\n").encode())
