"""Laying out what the viewer on a job's page shows: done by the job's worker."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from gliomask.files.atomic import write_bytes
from gliomask.server.view_files import MANIFEST
from gliomask.view.exams import find_exam
from gliomask.view.page import describe


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
