"""Finding cases on disk: BraTS folders of every naming since 2017, Decathlon Task01, and four explicit files.

What a folder holds is decided by file names alone, and the label convention by the layout: files named `t1c`, `t2w` belong to BraTS 2023
or later (enhancing is 3), `t1ce`, `t2` to 2017-2021 (enhancing is 4). A name that fits two files is an error that lists both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.case import Case
from gliomask.errors import CaseError, GeometryError, UsageError
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.labels import LabelConvention, convention
from gliomask.sequences import PAPER_ORDER, Sequence, sequence_of_file_name

REFERENCE_WORDS = ("seg", "label", "mask")
DECATHLON_ORDER = (Sequence.FLAIR, Sequence.T1, Sequence.T1CE, Sequence.T2)
"""Channels of Medical Segmentation Decathlon Task01 (`modality` in its dataset.json)."""
DECATHLON_IMAGES, DECATHLON_LABELS = "imagesTr", "labelsTr"
NEW_NAMES = ("t1n", "t1c", "t2w", "t2f")
"""Suffixes of BraTS 2023 and later."""


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case: one per sequence, or one 4-D file for all; and the reference label map, where there is one."""

    case_id: str
    sequences: Mapping[Sequence, Path]
    reference: Path | None
    labels: LabelConvention
    channels: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """The files that hold the scans."""
        return (self.channels,) if self.channels is not None else tuple(self.sequences[sequence] for sequence in PAPER_ORDER)

    def describe(self) -> str:
        """The mapping that was found, one line a sequence, for people to check."""
        if self.channels is not None:
            lines = [f"  {sequence.value:6} <- {self.channels.name} [channel {c}]" for c, sequence in enumerate(DECATHLON_ORDER)]
        else:
            lines = [f"  {sequence.value:6} <- {self.sequences[sequence].name}" for sequence in PAPER_ORDER]
        return "\n".join([f"{self.case_id}:", *lines])


def find_cases(folder: Path) -> list[CaseFiles]:
    """Returns every case at or below `folder`, sorted by id.

    A folder that holds files named after sequences is one case; otherwise its sub-folders are searched, three levels deep (BraTS
    2017-2019 keep HGG and LGG trees). A folder with `imagesTr` is Decathlon Task01.

    Raises:
        CaseError: no case was found, a case is incomplete or ambiguous, or two cases have the same id.
    """
    if not folder.is_dir():
        raise CaseError(f"{folder}: not a folder. Give a folder of one case, a folder of cases, or four files by --flair, --t1, --t1ce, --t2.")
    cases = _decathlon_cases(folder) if (folder / DECATHLON_IMAGES).is_dir() else list(_folder_cases(folder, depth=3))
    if not cases:
        raise CaseError(f"{folder}: no case found: no NIfTI file here or below is named after a sequence (such as NAME_flair.nii.gz or NAME-t2f.nii.gz).")
    by_id: dict[str, CaseFiles] = {}
    for case in cases:
        if case.case_id in by_id:
            raise CaseError(f"{folder}: two folders hold a case named {case.case_id}. Give them one at a time.")
        by_id[case.case_id] = case
    return [by_id[case_id] for case_id in sorted(by_id)]


def _folder_cases(folder: Path, depth: int) -> Iterable[CaseFiles]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and nifti.is_nifti_name(path) and not path.name.startswith(".")]
    if any(sequence_of_file_name(nifti.stem(path)) for path in files):
        yield case_from_files(folder.name, files)
    elif depth > 0:
        for child in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from _folder_cases(child, depth - 1)


def case_from_files(case_id: str, files: Iterable[Path]) -> CaseFiles:
    """Sorts one case's NIfTI files by the sequence in their names.

    Raises:
        CaseError: a sequence is missing, or two files match one sequence.
    """
    found: dict[Sequence, list[Path]] = defaultdict(list)
    references = []
    for path in files:
        sequence = sequence_of_file_name(nifti.stem(path))
        if sequence is not None:
            found[sequence].append(path)
        elif nifti.stem(path).lower().split("_")[-1].split("-")[-1] in REFERENCE_WORDS:
            references.append(path)
    for what, paths in [*((sequence.value, found[sequence]) for sequence in PAPER_ORDER), ("the reference label map", references)]:
        if len(paths) > 1:
            names = ", ".join(str(path) for path in paths)
            raise CaseError(f"Case {case_id}: {len(paths)} files match {what}: {names}. Keep one, or name the files by --flair, --t1, --t1ce, --t2.")
    missing = [sequence.value for sequence in PAPER_ORDER if not found[sequence]]
    if missing:
        names = ", ".join(paths[0].name for paths in found.values() if paths) or "no sequence"
        raise CaseError(f"Case {case_id}: missing {', '.join(missing)}; found {names}. All four sequences are needed.")
    sequences = {sequence: found[sequence][0] for sequence in PAPER_ORDER}
    new = any(nifti.stem(path).lower().endswith(NEW_NAMES) for path in sequences.values())
    return CaseFiles(case_id, sequences, references[0] if references else None, convention("brats2023" if new else "brats2021"))


def _decathlon_cases(folder: Path) -> list[CaseFiles]:
    cases = []
    for path in sorted((folder / DECATHLON_IMAGES).iterdir()):
        if not nifti.is_nifti_name(path) or path.name.startswith("."):
            continue
        reference = folder / DECATHLON_LABELS / path.name
        cases.append(CaseFiles(nifti.stem(path), {}, reference if reference.is_file() else None, convention("decathlon"), channels=path))
    return cases


def explicit_case(case_id: str, files: Mapping[Sequence, Path], labels: str = "brats2021") -> CaseFiles:
    """Returns a case of four files that the user named.

    Raises:
        UsageError: fewer than four sequences were named, or one file was named twice.
    """
    missing = [f"--{sequence.value}" for sequence in PAPER_ORDER if sequence not in files]
    if missing:
        raise UsageError(f"All four sequences are needed; missing {', '.join(missing)}.")
    if len({path.resolve() for path in files.values()}) < len(PAPER_ORDER):
        raise UsageError("One file was given for two sequences: " + ", ".join(f"--{s.value} {p}" for s, p in files.items()) + ".")
    return CaseFiles(case_id, dict(files), None, convention(labels))


def read_case(files: CaseFiles) -> Case:
    """Reads the scans of a case.

    Raises:
        CaseError: the case is incomplete, empty or holds values that are not finite.
        FileFormatError: a file cannot be read.
        GeometryError: the sequences are not on one grid.
        LimitError: a header claims more than `nifti.MAX_VOXELS`.
    """
    if files.channels is not None:
        return _read_decathlon(files.case_id, files.channels)
    first: nifti.NiftiVolume | None = None
    volumes = {}
    for sequence in PAPER_ORDER:
        path = files.sequences[sequence]
        volume = nifti.read_volume(path)
        if first is None:
            first = volume
        _refuse_other_grid(files, first.geometry, volume.geometry, path)
        volumes[sequence] = volume.values
    assert first is not None
    return Case(files.case_id, volumes, first.geometry, files.sequences, first.header)


def _refuse_other_grid(files: CaseFiles, expected: Geometry, found: Geometry, path: Path) -> None:
    if not expected.same_grid(found):
        raise GeometryError(
            f"Case {files.case_id}: {path.name} lies on another grid than {files.sequences[PAPER_ORDER[0]].name}: {found} against {expected}. "
            "Register and resample the sequences to one grid first."
        )


def _read_decathlon(case_id: str, path: Path) -> Case:
    stack = nifti.read_channels(path)
    if stack.values.shape[3] != len(DECATHLON_ORDER):
        raise CaseError(f"Case {case_id}: {path} has {stack.values.shape[3]} channels; Task01 has 4 ({', '.join(DECATHLON_ORDER)}).")
    volumes = {sequence: np.asfortranarray(stack.values[..., c]) for c, sequence in enumerate(DECATHLON_ORDER)}
    return Case(case_id, volumes, stack.geometry, dict.fromkeys(DECATHLON_ORDER, path), stack.header)


def read_label_map(path: Path, labels: LabelConvention) -> tuple[LabelMap, Geometry]:
    """Reads a label map written in the named convention; returns it with the values of `labels.Label`, and its grid.

    Raises:
        FileFormatError: the file cannot be read, or holds values that are not whole numbers.
        LabelError: it holds a value that the convention does not define.
    """
    volume = nifti.read_volume(path)
    return labels.from_disk(volume.values), volume.geometry


def read_reference(files: CaseFiles, geometry: Geometry) -> LabelMap:
    """Reads the reference label map of a case.

    Raises:
        CaseError: there is none.
        GeometryError: it does not lie on the case's grid.
    """
    if files.reference is None:
        raise CaseError(f"Case {files.case_id}: no reference label map (a file named like {files.case_id}_seg.nii.gz) was found.")
    label_map, found = read_label_map(files.reference, files.labels)
    if not geometry.same_grid(found):
        raise GeometryError(f"Case {files.case_id}: the reference {files.reference.name} lies on another grid: {found} against {geometry}.")
    return label_map
