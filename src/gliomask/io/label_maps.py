"""Finding label maps on disk by case: references and predictions, whichever way their owners lay them out.

Unlike `io.brats.find_cases` this needs no scans. It takes one file, a flat folder (`<case>.nii.gz` or `<case>_seg.nii.gz`), a BraTS tree, or the root
of Decathlon Task01. Only names decide what a file is; a label convention is reported where the layout's names say it, and is None where they do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import CaseError, UsageError
from gliomask.io import nifti
from gliomask.io.brats import DECATHLON_LABELS, DEPTH, NEW_NAMES, REFERENCE_WORDS
from gliomask.labels import LabelConvention, convention
from gliomask.sequences import sequence_of_file_name

LABEL_MAP_WORDS = (*REFERENCE_WORDS, "segmentation", "prediction", "pred")
"""Last words of a label map's name that are not part of the case id."""

OTHER_RESULTS = ("probabilities", "probability", "uncertainty", "disagreement")
"""Last words of NIfTI files that `gliomask segment` and other tools write beside label maps."""

IN_A_SPACE = re.compile(r"(.+)_space-[^_]+_[^_]+")
"""Name of what the raw route writes beside a case's label map: the same, masks and scans in other spaces."""


@dataclass(frozen=True)
class LabelMapFile:
    """A label map that was found.

    Args:
        case_id: the case it belongs to.
        path: the file.
        labels: the convention that the names of the layout stand for; None where they leave it open.
    """

    case_id: str
    path: Path
    labels: LabelConvention | None


def find_label_maps(place: Path) -> dict[str, LabelMapFile]:
    """Returns every label map at or below `place`, by case id in sorted order.

    A folder that holds files named after sequences is a case and lends it its name; other label maps are named by their files.

    Raises:
        UsageError: `place` does not exist.
        CaseError: two files are label maps of one case.
    """
    if not place.exists():
        raise UsageError(f"{place} does not exist. Give a label map, or a folder of label maps.")
    found: dict[str, LabelMapFile] = {}
    for file in _label_maps(place, DEPTH):
        if file.case_id in found:
            raise CaseError(f"Case {file.case_id}: two label maps, {found[file.case_id].path} and {file.path}. Keep one, or give a folder that holds one.")
        found[file.case_id] = file
    return {case_id: found[case_id] for case_id in sorted(found)}


def _label_maps(place: Path, depth: int) -> Iterator[LabelMapFile]:
    if place.is_file():
        yield _named_by_file(place)
        return
    if (place / DECATHLON_LABELS).is_dir():
        place = place / DECATHLON_LABELS
    files = [path for path in sorted(place.iterdir()) if path.is_file() and nifti.is_nifti_name(path) and not path.name.startswith(".")]
    stems = {nifti.stem(path) for path in files}
    files = [path for path in files if not _further(nifti.stem(path), stems)]
    scans = [path for path in files if sequence_of_file_name(nifti.stem(path))]
    if scans:
        labels = convention("brats2023" if any(_last_word(path) in NEW_NAMES for path in scans) else "brats2021")
        yield from (LabelMapFile(place.resolve().name, path, labels) for path in files if _last_word(path) in LABEL_MAP_WORDS)
        return
    yield from (_named_by_file(path) for path in files if _last_word(path) not in OTHER_RESULTS)
    if depth > 0:
        for child in sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from _label_maps(child, depth - 1)


def _further(stem: str, stems: set[str]) -> bool:
    """True for a file of the raw route that lies beside the case's own label map."""
    named = IN_A_SPACE.fullmatch(stem)
    return named is not None and f"{named[1]}_seg" in stems


def _last_word(path: Path) -> str:
    return re.split(r"[_-]", nifti.stem(path).lower())[-1]


def _named_by_file(path: Path) -> LabelMapFile:
    stem = nifti.stem(path)
    if stem.lower() in LABEL_MAP_WORDS:
        stem = path.resolve().parent.name
    elif _last_word(path) in LABEL_MAP_WORDS:
        stem = stem[: -len(_last_word(path)) - 1]
    return LabelMapFile(stem, path, _convention_of_name(stem, path.resolve().parent))


def _convention_of_name(case_id: str, folder: Path) -> LabelConvention | None:
    """What a published name says: `BraTS-GLI-...` is 2023 or later, `Brats18_...` and `BraTS2021_...` 2017 to 2021, `labelsTr` Decathlon."""
    if folder.name.startswith("labelsT"):
        return convention("decathlon")
    if re.match(r"brats-[a-z]+-\d", case_id.lower()):
        return convention("brats2023")
    if re.match(r"brats(17|18|19|20|2021)_", case_id.lower()):
        return convention("brats2021")
    return None
