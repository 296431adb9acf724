"""What the viewer on a job's page shows, laid out by the job's worker, so that the server itself reads no scan."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from gliomask.errors import EngineUnavailableError
from gliomask.files.atomic import write_bytes
from gliomask.files.json import UNREADABLE, read_json
from gliomask.labels import convention
from gliomask.server.jobs import Correction
from gliomask.view.corrections import WRITTEN_AS
from gliomask.view.exams import find_exam
from gliomask.view.page import SCRIPT, STYLE, built, codes_of, describe

VIEW = Path("view")
"""Folder of a job: the manifest, and the files that it numbers."""

MANIFEST = "manifest.json"

MAX_MANIFEST_BYTES = 1 << 20


def lay_out(label_map: Path, folder: Path) -> None:
    """Writes the viewer's files of a result: scans and label map as links, maps as one byte a voxel.

    Args:
        label_map: the result, with its run record beside it.
        folder: made anew.

    Raises:
        GliomaskError: something of it cannot be read or written.
    """
    manifest, contents = describe([find_exam(label_map, title="Segmentation")])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, content in enumerate(contents):
        place = folder / str(number)
        if isinstance(content, bytes):
            write_bytes(place, content)
            continue
        try:
            os.link(content, place)
        except OSError:
            shutil.copyfile(content, place)
    write_bytes(folder / MANIFEST, json.dumps(manifest).encode())


def manifest_of(job_folder: Path) -> dict[str, Any] | None:
    """Returns what the viewer of a job is told; None where its worker left nothing to look at."""
    try:
        found = read_json(job_folder / VIEW / MANIFEST, MAX_MANIFEST_BYTES)
        return {"gliomask": str(found["gliomask"]), "exams": [dict(found["exams"][0])], "corrections": None}
    except (*UNREADABLE, KeyError, TypeError, IndexError):
        return None


def corrected_exam(exam: dict[str, Any], correction: Correction, url: str) -> dict[str, Any]:
    """Returns an exam of a manifest with the corrected label map in the place of the result.

    Args:
        exam: of the result.
        correction: that is shown.
        url: of its label map.
    """
    name = url.rpartition("/")[2]
    label_map = {"file": -1, "name": name, "url": url, "codes": codes_of(convention(WRITTEN_AS))}
    facts = dict(exam["facts"]) | {"expected": []}
    title = f"Correction {correction.number}, {correction.who}"
    return exam | {"title": title, "segmentation": label_map, "maps": [], "facts": facts}


def viewer_is_built() -> bool:
    """Whether this installation holds the viewer."""
    try:
        return bool(built(SCRIPT) and built(STYLE))
    except EngineUnavailableError:
        return False
