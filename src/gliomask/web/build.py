"""Writing the application: a folder of static files that any server can serve, also below another path."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from gliomask.errors import ModelError, UsageError
from gliomask.files.atomic import write_bytes
from gliomask.models.files import INT8_GRAPH
from gliomask.models.registry import Model
from gliomask.web.model import GRAPH, browser_files

APP = "app"
"""Folder of the package that holds what `npm run build` made of `web/`."""

MANIFEST = "files.json"
"""Every file with its SHA-256: those that the service worker fetches at once and keeps for use without a network, and
those that it keeps once they were needed.
"""

FOR_CARDS = ".jspi"
"""In the names of what only a graphics card needs: the runtime for WebGPU, which waits for it by JSPI."""

SERVICE_WORKER, VERSION_MARK = "service-worker.js", b"__GLIOMASK_VERSION__"

MAX_UNPACKED_BYTES = 64 << 20


def application(model: Model, precision: str = "auto") -> dict[str, bytes]:
    """Returns every file of the application with this model, by its path below the folder.

    Args:
        model: the model to build in.
        precision: see `browser_files`.

    Raises:
        ModelError: the browser cannot run the model, or the package holds no application.
    """
    packaged = dict(_packaged(files("gliomask.web") / APP))
    if "index.html" not in packaged or SERVICE_WORKER not in packaged:
        raise ModelError(
            "This installation holds no application for the browser. In a checkout: cd web && npm ci && npm run build."
        )
    packaged |= {f"model/{name}": content for name, content in browser_files(model, precision).items()}
    # A card computes in float32; with an int8 graph, nobody else needs the other.
    cards_alone = f"model/{GRAPH}" if f"model/{INT8_GRAPH}" in packaged else None
    only_cards = {path for path in packaged if FOR_CARDS in path or path == cards_alone}
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(packaged.items())}
    parts = {
        "first": {path: digest for path, digest in hashes.items() if path not in only_cards},
        "later": {path: digest for path, digest in hashes.items() if path in only_cards},
    }
    manifest = (json.dumps(parts, indent=1) + "\n").encode()
    # A browser takes up a new version when the bytes of its service worker change.
    version = hashlib.sha256(manifest).hexdigest()[:16].encode()
    packaged[SERVICE_WORKER] = packaged[SERVICE_WORKER].replace(VERSION_MARK, version)
    return {**packaged, MANIFEST: manifest}


def build(model: Model, folder: Path, precision: str = "auto") -> list[Path]:
    """Writes the application into a new or empty folder and returns its files.

    Args:
        model: the model to build in.
        folder: new or empty.
        precision: see `browser_files`.

    Raises:
        UsageError: the folder holds something already, or is a file.
        ModelError: as `application`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is not an empty folder. Name a new one.")
    contents = application(model, precision)
    # The page last: a folder that was not finished shows nothing.
    order = sorted(contents, key=lambda path: (path == "index.html", path))
    for path in order:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / path, contents[path], exclusive=True)
    return [folder / path for path in order]


def _packaged(place: Traversable, below: str = "") -> Iterator[tuple[str, bytes]]:
    """The files of the package's application; WebAssembly is kept compressed there."""
    if not place.is_dir():
        return
    for entry in place.iterdir():
        path = f"{below}{entry.name}"
        if entry.is_dir():
            yield from _packaged(entry, f"{path}/")
        elif path.endswith(".wasm.gz"):
            yield path.removesuffix(".gz"), _unpacked(entry)
        else:
            yield path, entry.read_bytes()


def _unpacked(entry: Traversable) -> bytes:
    try:
        with entry.open("rb") as packed, gzip.open(packed) as stream:
            content = stream.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(_damaged(entry, f"cannot be unpacked ({error})")) from error
    if len(content) > MAX_UNPACKED_BYTES:
        raise ModelError(_damaged(entry, f"holds more than {MAX_UNPACKED_BYTES:,} bytes"))
    return content


def _damaged(entry: Traversable, what: str) -> str:
    return f"This installation is damaged: the application's {entry.name} {what}. Install gliomask again."
