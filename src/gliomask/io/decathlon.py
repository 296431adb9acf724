"""Medical Segmentation Decathlon Task01 (Antonelli et al., Nature Communications 2022): one 4-D file a case,
`imagesTr`, `labelsTr`, `imagesTs`.

The order of channels and the numbers of labels are those of Task01 unless `dataset.json` beside the folders says
otherwise; other channels that it names are obeyed, other labels are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.files.json import UNREADABLE, read_json
from gliomask.files.paths import as_given
from gliomask.io import nifti
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence

FOUR_FILES = "gliomask segment also takes four files by --flair, --t1, --t1ce, --t2"
"""Said where scans are not understood. It names the command, since others that read cases have no such options."""

CHANNEL_ORDER = (Sequence.FLAIR, Sequence.T1, Sequence.T1CE, Sequence.T2)
"""Channels of Task01 (`modality` in its dataset.json: FLAIR, T1w, t1gd, T2w)."""

IMAGE_FOLDERS = {"imagesTr": "labelsTr", "imagesTs": "labelsTs"}
"""Folders of 4-D files, and where their label maps are; Task01 itself keeps its test labels to itself."""

LABEL_WORDS = {"1": ("edema", "oedema"), "2": ("non-enhancing", "necro"), "3": ("enhancing",)}
"""Task01's labels: a word of what dataset.json calls each."""

MAX_DESCRIPTION_BYTES = 10 << 20
"""Largest dataset.json that is read; Task01's has 100 KB."""


MAX_LINKS = 40
"""Links followed from one to the next, as Linux does."""


@dataclass(frozen=True)
class Item:
    """One 4-D file, its label map where there is one, and the sequences in it."""

    images: Path
    labels: Path | None
    order: tuple[Sequence, ...]


def items(folder: Path) -> list[Item] | None:
    """Returns the 4-D files of a Task01 folder, or of its `imagesTr` or `imagesTs`; None where the folder is neither.

    Raises:
        FileFormatError: dataset.json is not JSON, or too large.
        CaseError: dataset.json names other channels or labels than the four sequences and Task01's.
    """
    place = as_given(folder)
    if place.name in IMAGE_FOLDERS:
        root, names = place.parent, [place.name]
    else:
        root, names = folder, [name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
    if not names:
        return None
    order = _described_order(root / "dataset.json")
    return [
        Item(path, _labels_of(path), order)
        for name in names
        for path in sorted((root / name).iterdir())
        if _is_image(path)
    ]


def single_item(path: Path) -> Item:
    """Returns a 4-D file that was given by itself.

    Raises:
        FileFormatError: not a NIfTI file.
        CaseError: not 4-D, or dataset.json is at odds with the four sequences.
    """
    shape = nifti.read_shape(path)
    if len(shape) != 4:
        raise CaseError(
            f"{path}: a single file must hold all four sequences in four dimensions, found the shape {shape}. "
            f"Give the folder of the case; {FOUR_FILES}."
        )
    return Item(path, _labels_of(path), _described_order(_description_of(path)))


def _description_of(path: Path) -> Path:
    """The dataset.json of a 4-D file: beside the link that was given, else beside the first of its targets that has
    one.
    """
    place = as_given(path)
    for _ in range(MAX_LINKS):
        described = (place.parent.parent if place.parent.name in IMAGE_FOLDERS else place.parent) / "dataset.json"
        if described.is_file() or not place.is_symlink():
            break
        place = as_given(place.parent / place.readlink())
    return described


def _is_image(path: Path) -> bool:
    return nifti.is_nifti_name(path) and not path.name.startswith(".")


def _labels_of(path: Path) -> Path | None:
    folder = as_given(path).parent
    labels = folder.parent / IMAGE_FOLDERS.get(folder.name, "") / path.name
    return labels if folder.name in IMAGE_FOLDERS and labels.is_file() else None


def _described_order(path: Path) -> tuple[Sequence, ...]:
    if not path.is_file():
        return CHANNEL_ORDER
    description = _read_description(path)
    _refuse_other_labels(description.get("labels"), path)
    names = description.get("modality", description.get("channel_names"))
    if not isinstance(names, dict):
        return CHANNEL_ORDER
    try:
        order = tuple(parse_sequence(str(names[str(c)])) for c in range(len(names)))
    except (KeyError, UsageError) as error:
        raise CaseError(
            f"{path}: its channels {names} are not the four sequences ({error}). Correct dataset.json; {FOUR_FILES}."
        ) from error
    if sorted(order) != sorted(PAPER_ORDER):
        raise CaseError(
            f"{path}: its channels {names} are not the four sequences, each once. Correct dataset.json; {FOUR_FILES}."
        )
    return order


def _read_description(path: Path) -> dict[str, object]:
    try:
        description = read_json(path, MAX_DESCRIPTION_BYTES)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path}: cannot be read as JSON ({error}). Repair it, or move it away to use Task01's own order."
        ) from error
    if not isinstance(description, dict):
        raise FileFormatError(
            f"{path}: not the description of a data set (a JSON object). Repair it, or move it away to use "
            "Task01's own order."
        )
    return description


def _refuse_other_labels(labels: object, path: Path) -> None:
    if not isinstance(labels, dict):
        return
    for number, words in LABEL_WORDS.items():
        name = str(labels.get(number, words[0])).lower()
        if not any(word in name for word in words) or (number == "3" and "non" in name):
            raise CaseError(
                f"{path}: label {number} is '{name}' there, but {words[0]} in Task01. Only Task01's labels are "
                "known; see docs/input.md."
            )
