"""The page: what the viewer is told and handed, and the HTML around it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomask import __version__
from gliomask.errors import EngineUnavailableError, FileFormatError
from gliomask.files.atomic import temporary_folder
from gliomask.files.regular import read_regular, reason
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.labels import LabelConvention
from gliomask.report.html import escaped

if TYPE_CHECKING:
    # Not at run: the server of jobs imports this module, and does without what exams need.
    from gliomask.view.exams import Exam, LabelFile, MapFile

SCRIPT, STYLE = "view.js", "view.css"
"""Made from `web/` by `npm run build`; the wheel holds them."""

MAX_FILE_BYTES = 2 << 30
"""A scan of more bytes than this is not handed to a browser."""

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Page:
    """Everything a page needs.

    Args:
        manifest: what the script is told, in plain values.
        contents: the files that the manifest numbers: on disk, or in memory where they were made for the page.
        script: of the viewer.
        style: of the viewer.
    """

    manifest: dict[str, Any]
    contents: tuple[Path | bytes, ...]
    script: bytes
    style: bytes

    def content(self, number: int) -> bytes:
        """Returns the bytes of a file.

        Raises:
            FileFormatError: it can no longer be read.
        """
        content = self.contents[number]
        if isinstance(content, bytes):
            return content
        try:
            return read_regular(content, MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{content}: cannot be read ({reason(error)}).") from error


def make_page(exams: Ordered[Exam], corrections: str | None = None) -> Page:
    """Gathers a page.

    Args:
        exams: one or two.
        corrections: where the page sends corrections; None where they are downloaded.

    Raises:
        InputError: a file cannot be read.
        EngineUnavailableError: the viewer has not been built.
    """
    script, style = built(SCRIPT), built(STYLE)
    manifest, contents = describe(exams, corrections)
    return Page(manifest, contents, script, style)


def describe(exams: Ordered[Exam], corrections: str | None = None) -> tuple[dict[str, Any], tuple[Path | bytes, ...]]:
    """Returns what the viewer's script is told, and the files that this numbers.

    Args:
        exams: one or two.
        corrections: where the page sends corrections; None where they are downloaded.

    Raises:
        InputError: a file cannot be read.
    """
    contents: list[Path | bytes] = []
    described = [_described(exam, contents) for exam in exams]
    return {"gliomask": __version__, "exams": described, "corrections": corrections}, tuple(contents)


def served_html(page: Page) -> bytes:
    """Returns the HTML of a page whose script, style and files lie beside it."""
    head = f'<link rel="stylesheet" href="{STYLE}">'
    return _html(page, head, f'<script type="module" src="{SCRIPT}"></script>')


def single_html(page: Page) -> bytes:
    """Returns the page as one file that opens from disk, and that its own policy keeps from asking for anything
    elsewhere.
    """
    script = page.script.replace(b"</script", b"<\\/script")
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src data: blob:; font-src data:"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{page.style.decode()}</style>'
    parts = [
        f'<script type="text/plain" id="file-{n}">{_packed(page.content(n))}</script>'
        for n in range(len(page.contents))
    ]
    return _html(page, head, "\n".join([*parts, f'<script type="module">{script.decode()}</script>']))


def _packed(content: bytes) -> str:
    packed = content if content.startswith(GZIP_MAGIC) else gzip.compress(content, 6, mtime=0)
    return base64.b64encode(packed).decode()


def _html(page: Page, head: str, end: str) -> bytes:
    title = escaped(_title(page.manifest["exams"]))
    manifest = script_json(page.manifest)
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
{head}
<style>body {{ margin: 0.5rem; }} h1 {{ font: 600 1.1rem system-ui, sans-serif; margin: 0 0 0.4rem; }}
#view.viewer {{ height: calc(100vh - 3rem); }}
@media (max-width: 700px) {{ #view.viewer {{ height: auto; }} }}</style>
<link rel="icon" href="data:,">
<title>{title} · gliomask</title>
</head>
<body>
<main><h1>{title}</h1><div id="view"></div></main>
<script type="application/json" id="manifest">{manifest}</script>
{end}
</body>
</html>
"""
    return text.encode()


def _title(exams: Ordered[Mapping[str, Any]]) -> str:
    """What the page is called: its exams, and the case where their titles do not tell it."""
    titles = " and ".join(exam["title"] for exam in exams)
    case = exams[0]["id"]
    return titles if case in titles or any(exam["id"] != case for exam in exams) else f"{case}: {titles}"


def script_json(values: object) -> str:
    """Returns values as JSON that stands in a script element: only the element's own end could end it early."""
    return json.dumps(values).replace("<", "\\u003c")


def built(name: str) -> bytes:
    """Returns the viewer's script or style.

    Raises:
        EngineUnavailableError: it has not been built.
    """
    place = files("gliomask.view") / "built" / name
    try:
        return place.read_bytes()
    except OSError:
        raise EngineUnavailableError(
            "This installation holds no viewer. In a checkout: cd web && npm ci && npm run build (needs Node 20); a "
            "wheel holds it."
        ) from None


def _described(exam: Exam, contents: list[Path | bytes]) -> dict[str, Any]:
    return {
        "id": exam.case_id,
        "title": exam.title,
        "scans": _scans(exam, contents),
        "segmentation": _label_map(exam.segmentation, contents),
        "reference": _label_map(exam.reference, contents),
        "maps": _maps(exam.maps, contents),
        "facts": _facts(exam),
    }


def _scans(exam: Exam, contents: list[Path | bytes]) -> dict[str, Any]:
    if exam.files.channels is None:
        by_sequence: dict[str, Path | bytes] = {
            sequence.value: exam.files.sequences[sequence] for sequence in exam.files.used()
        }
    else:
        stack = nifti.read_channels(exam.files.channels)
        used = [
            (n, sequence) for n, sequence in enumerate(exam.files.channel_order) if sequence not in exam.files.without
        ]
        by_sequence = {
            sequence.value: volume_bytes(stack.values[..., n], stack.geometry, stack.header) for n, sequence in used
        }
    return {name: _numbered(content, name, contents) for name, content in by_sequence.items()}


def _label_map(label_file: LabelFile | None, contents: list[Path | bytes]) -> dict[str, Any] | None:
    return (
        None
        if label_file is None
        else {**_numbered(label_file.path, label_file.path.name, contents), "codes": codes_of(label_file.labels)}
    )


def _maps(maps: Ordered[MapFile], contents: list[Path | bytes]) -> list[dict[str, Any]]:
    """Maps as one byte a voxel: no eye tells more steps apart, and 4-D probabilities of a case have 143 MB."""
    described, read = [], {one.path: None for one in maps}
    for path in read:
        here = [one for one in maps if one.path == path]
        volume = nifti.read_volume(path) if here[0].channel is None else nifti.read_channels(path)
        for one in here:
            values = volume.values if one.channel is None else volume.values[..., one.channel]
            small = np.rint(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)
            described.append(
                {
                    **_numbered(volume_bytes(small, volume.geometry, volume.header), one.path.name, contents),
                    "title": one.title,
                }
            )
    return described


def _facts(exam: Exam) -> dict[str, Any]:
    record = exam.record
    if record is None:
        return {"model": "", "flags": [], "expected": []}
    expected = [
        {"region": region.value, "dice": one.dice, "low": one.low, "high": one.high}
        for region, one in record.predicted_dice.items()
    ]
    return {"model": record.model.name, "flags": [flag.message for flag in record.quality_flags], "expected": expected}


def _numbered(content: Path | bytes, name: str, contents: list[Path | bytes]) -> dict[str, Any]:
    contents.append(content)
    # The name without folders, which carry names of people and places.
    return {"file": len(contents) - 1, "name": content.name if isinstance(content, Path) else name}


def codes_of(labels: LabelConvention) -> list[int]:
    """Returns the numbers that stand for background, necrotic, oedema and enhancing in a convention."""
    return list(labels.codes)


def volume_bytes(values: Any, geometry: Geometry, header: bytes | None = None) -> bytes:
    """Returns a volume as the bytes of a `.nii.gz` file."""
    with temporary_folder() as folder:
        path = folder / "volume.nii.gz"
        nifti.write_volume(path, np.ascontiguousarray(values), geometry, header)
        return path.read_bytes()
