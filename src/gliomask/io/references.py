"""Which file beside the scans of a case is the tumour's label map, by its name.

Brain masks and tissue maps lie beside scans as well, in public sets under names that end alike (`brain_segmentation`
and `tumor_segmentation` in UCSF-PDGM), so the word before the last is read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gliomask.files.hashing import sha256_of
from gliomask.files.json import UNREADABLE, read_json
from gliomask.io import nifti

RECORD_SUFFIX, MAX_RECORD_BYTES = "_run.json", 1 << 24

REFERENCE_WORDS = ("seg", "label", "labels", "segm")
"""Last words of a reference label map's name. `segm` is for `W39_1998.09.19_Segm.nii`, the one misnamed file of BraTS
2020 (case 355).
"""

FURTHER_WORDS = ("segmentation", "segmentations", "tumormask", "tumourmask")
"""Last words that are taken where no file has one of the others: UCSF-PDGM, RHUH-GBM and MU-Glioma-Post name references
so.
"""

TUMOUR_WORDS = frozenset({"tumor", "tumour", "lesion", "glioma"})
OTHER_TISSUE = frozenset(
    {
        "brain",
        "parenchyma",
        "bet",
        "hdbet",
        "synthstrip",
        "head",
        "skull",
        "tissue",
        "ventricle",
        "ventricles",
        "vessel",
        "vessels",
    }
)
"""Words of a label map of something else, where none of the tumour's stands beside them."""


def tumour_label_maps(
    files: Iterable[Path], scans: Iterable[Path], words: tuple[str, ...] = REFERENCE_WORDS
) -> list[Path]:
    """Returns the files beside scans that are label maps of the tumour.

    Args:
        files: all NIfTI files of the folder.
        scans: those that are sequences; words that all of them share are the patient's name, and say nothing.
        words: last words that are taken first; `FURTHER_WORDS` only where no file ends in one of these.
    """
    scans = list(scans)
    others = [path for path in files if path not in scans]
    of_tumour = [path for path in others if not _of_other_tissue(path, scans)]
    first = [path for path in of_tumour if last_word(path) in words]
    return first or [path for path in of_tumour if last_word(path) in FURTHER_WORDS or _is_tumour_mask(path)]


def is_result(path: Path) -> bool:
    """Whether a label map is a result of gliomask that nobody has changed since: the run record beside it lists it with
    its hash.

    Results may lie in the folder of their case; they are no reference there.
    """
    stem = nifti.stem(path)
    record = path.parent / f"{stem.removesuffix('_seg')}{RECORD_SUFFIX}"
    if not stem.endswith("_seg") or not record.is_file():
        return False
    try:
        values = read_json(record, MAX_RECORD_BYTES)
        outputs = values.get("outputs") if isinstance(values, dict) else None
        return isinstance(outputs, dict) and outputs.get(path.name) == sha256_of(path)
    except UNREADABLE:
        return False


def masks_of_unknown_kind(files: Iterable[Path], scans: Iterable[Path]) -> list[Path]:
    """Returns the files named `mask` that may be of the tumour or of the brain: never taken, but worth naming."""
    scans = list(scans)
    masks = [path for path in files if path not in scans and last_word(path) in ("mask", "masks")]
    return [path for path in masks if not _of_other_tissue(path, scans) and not _is_tumour_mask(path)]


def last_word(path: Path) -> str:
    """The last word of a NIfTI file's name, in lower case."""
    return _words(path)[-1]


def _words(path: Path) -> list[str]:
    return re.split(r"[_\-]", nifti.stem(path).lower())


def _is_tumour_mask(path: Path) -> bool:
    words = _words(path)
    return words[-1] == "mask" and len(words) > 1 and words[-2] in TUMOUR_WORDS


def _of_other_tissue(path: Path, scans: list[Path]) -> bool:
    shared = set.intersection(*(set(_words(scan)) for scan in scans)) if scans else set()
    words = set(_words(path)) - shared
    return bool(words & OTHER_TISSUE) and not words & TUMOUR_WORDS
