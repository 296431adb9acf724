"""What the viewer on a job's page is told. The job's worker lays it out (`view_layout`): the server reads no scan."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from gliomask.errors import EngineUnavailableError
from gliomask.files.json import UNREADABLE, read_json
from gliomask.labels import convention
from gliomask.results.correction import WRITTEN_AS
from gliomask.server.jobs import Correction
from gliomask.view.page import SCRIPT, STYLE, built, codes_of

log = logging.getLogger("gliomask.server")

VIEW = Path("view")
"""Folder of a job: the manifest, and the files that it numbers."""

MANIFEST = "manifest.json"

MAX_MANIFEST_BYTES = 1 << 20


def manifest_of(job_folder: Path) -> dict[str, Any] | None:
    """Returns what the viewer of a job is told; None where its worker left nothing to look at, or a damaged file, which
    is logged.
    """
    path = job_folder / VIEW / MANIFEST
    if not path.exists():
        return None
    try:
        kept = read_json(path, MAX_MANIFEST_BYTES)
        return {"gliomask": str(kept["gliomask"]), "exams": [dict(kept["exams"][0])], "corrections": None}
    except (*UNREADABLE, KeyError, TypeError, IndexError) as error:
        log.error("job %s: %s is damaged (%s), so its page shows no viewer", job_folder.name[:6], path.name, error)
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
