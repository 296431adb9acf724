"""Finding label maps on disk by case: references and predictions, whichever way their owners lay them out.

Unlike `io.brats.find_cases` this needs no scans. It takes one file, a flat folder (`<case>.nii.gz` or
`<case>_seg.nii.gz`), a BraTS tree, or the root of Decathlon Task01. Only names decide what a file is; a label
convention is reported where the layout's names say it, and is None where they do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import CaseError, UsageError
from gliomask.files.paths import as_given
from gliomask.io import nifti
from gliomask.io.brats import DECATHLON_LABELS, NEW_NAMES, is_whole
from gliomask.io.references import (
    FURTHER_WORDS,
    REFERENCE_WORDS,
    is_result,
    last_word,
    masks_of_unknown_kind,
    tumour_label_maps,
)
from gliomask.io.tree import Folder, case_ids, in_other_space, walk
from gliomask.labels import LabelConvention, convention

PREDICTION_WORDS = ("prediction", "pred")
"""Last words of what other tools predict; never a reference."""

BESIDE_SCANS = (*REFERENCE_WORDS, "segmentation", *PREDICTION_WORDS)
"""Last words of a label map beside scans."""

LABEL_MAP_WORDS = (*BESIDE_SCANS, *FURTHER_WORDS)
"""Last words of a label map's name that are not part of the case id."""

OTHER_RESULTS = ("probabilities", "probability", "uncertainty", "disagreement")
"""Last words of NIfTI files that `gliomask segment` and other tools write beside label maps."""


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


def find_label_maps(place: Path, *, references: bool = False) -> dict[str, LabelMapFile]:
    """Returns every label map at or below `place`, by case id in sorted order.

    A folder that holds files named after sequences is a case and lends it its name, as `io.brats.find_cases` does;
    other label maps are named by their files, and by their folders where the file is called `seg` or the like.

    Beside scans may lie both an expert's label map and a result of gliomask, told by its run record and hash
    (`io.references.is_result`).

    Args:
        place: a label map or a folder.
        references: beside scans neither a result nor what is named a prediction is one; without it, both come before
            an expert's label map.

    Raises:
        UsageError: `place` does not exist.
        CaseError: two files are label maps of one case, or a folder cannot be listed.
    """
    if not place.exists():
        raise UsageError(f"{place} does not exist. Give a label map, or a folder of label maps.")
    label_maps: dict[str, LabelMapFile] = {}
    for file in [_named_by_file(place)] if place.is_file() else _below(place, references):
        if file.case_id in label_maps:
            raise CaseError(
                f"Case {file.case_id}: two label maps, {label_maps[file.case_id].path} and {file.path}. Keep one, "
                "or give a folder that holds one."
            )
        label_maps[file.case_id] = file
    return {case_id: label_maps[case_id] for case_id in sorted(label_maps)}


def unknown_masks(place: Path) -> list[Path]:
    """Returns the files beside scans that may be label maps of the tumour or brain masks: their names do not say, so
    they are never taken.
    """
    folders = list(walk(place)) if place.is_dir() else []
    return [path for folder in folders if folder.scans for path in masks_of_unknown_kind(folder.files, folder.scans)]


def _below(top: Path, references: bool) -> Iterator[LabelMapFile]:
    folders = _without_decathlon_images(list(walk(top)))
    closed = next((folder for folder in folders if folder.error), None)
    if closed is not None:
        raise CaseError(f"{closed.path}: cannot be listed ({closed.error}). Check that the folder may be read.")
    # Below a case only whole cases count: beside scans lie folders of intermediate results.
    folders = [folder for folder in folders if not folder.below_case or is_whole(folder)]
    lenders = [
        folder
        for folder in folders
        if folder.scans or any(nifti.stem(path).lower() in LABEL_MAP_WORDS for path in folder.files)
    ]
    names = {folder.path: name for folder, name in zip(lenders, case_ids(lenders), strict=True)}
    for folder in folders:
        yield from _label_maps(folder, names.get(folder.path, ""), references)


def _without_decathlon_images(folders: list[Folder]) -> list[Folder]:
    """Beside a folder of Task01's label maps nothing else is one."""
    roots = {folder.path.parent for folder in folders if folder.path.name == DECATHLON_LABELS}

    def counts(folder: Folder) -> bool:
        above = [root for root in (folder.path, *folder.path.parents) if root in roots]
        return all(folder.path.is_relative_to(root / DECATHLON_LABELS) for root in above)

    return [folder for folder in folders if counts(folder)]


def _label_maps(folder: Folder, name: str, references: bool) -> Iterator[LabelMapFile]:
    stems = {nifti.stem(path) for path in folder.files}
    files = [path for path in folder.files if path.is_file() and not in_other_space(nifti.stem(path), stems)]
    if folder.scans:
        labels = convention("brats2023" if any(last_word(path) in NEW_NAMES for path in folder.scans) else "brats2021")
        results = [path for path in files if is_result(path)]
        others = [path for path in files if last_word(path) in PREDICTION_WORDS]
        asked = [path for path in files if path not in results] if references else results or others or files
        words = REFERENCE_WORDS if references else BESIDE_SCANS
        yield from (LabelMapFile(name, path, labels) for path in tumour_label_maps(asked, folder.scans, words))
    else:
        yield from (_named_by_file(path, name) for path in files if last_word(path) not in OTHER_RESULTS)


def _named_by_file(path: Path, folder_name: str = "") -> LabelMapFile:
    stem, folder = nifti.stem(path), as_given(path).parent
    if stem.lower() in LABEL_MAP_WORDS:
        stem = folder_name or folder.name
    elif last_word(path) in LABEL_MAP_WORDS:
        stem = stem[: -len(last_word(path)) - 1]
    return LabelMapFile(stem, path, _convention_of_name(stem, folder))


def _convention_of_name(case_id: str, folder: Path) -> LabelConvention | None:
    """What a published name says: `BraTS-GLI-...` is 2023 or later, `Brats18_...` and `BraTS2021_...` 2017 to 2021,
    `labelsTr` Decathlon.
    """
    if folder.name.startswith("labelsT"):
        return convention("decathlon")
    if re.match(r"brats-[a-z]+-\d", case_id.lower()):
        return convention("brats2023")
    if re.match(r"brats(17|18|19|20|2021)_", case_id.lower()):
        return convention("brats2021")
    return None
