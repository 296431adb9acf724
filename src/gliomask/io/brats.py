"""Finding cases on disk: BraTS folders of every naming since 2017, Decathlon Task01, and four explicit files.

What a file holds is decided by its name alone, and the label convention by the layout: `t1n`, `t2f` belong to BraTS
2023 or later (enhancing is 3), `t1ce`, `flair` to 2017-2021 (enhancing is 4). A sequence that two files match is an
error that lists both.
"""

from __future__ import annotations

import os
import threading
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Ordered
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.case import Case
from gliomask.errors import CaseError, GeometryError, InputError, LabelError, UsageError, printable
from gliomask.geometry import Geometry
from gliomask.io import decathlon, nifti
from gliomask.io.ahead import Ahead
from gliomask.io.dicom.headers import is_dicom
from gliomask.io.references import is_result, last_word, masks_of_unknown_kind, tumour_label_maps
from gliomask.io.tree import DEPTH, Folder, case_ids, in_other_space, sequence_of_path, walk
from gliomask.labels import LabelConvention, convention
from gliomask.preprocess.fitness import refuse_ct_and_copies
from gliomask.sequences import PAPER_ORDER, Sequence, refuse_too_few

NEW_NAMES = ("t1n", "t2f")
"""Last words that only BraTS 2023 and later use; `t1c` and `t2w` are older than that."""

DECATHLON_LABELS = decathlon.IMAGE_FOLDERS["imagesTr"]
"""Folder of Task01's label maps."""

FEWEST_SLICES = 3
"""Along any axis: below, it is an image, not a volume. DICOM series are held to the same."""

MAX_CASE_ID_BYTES = 200
"""File systems take names of 255 bytes, and the longest ending of a result has some thirty."""

LOOKED_AT = 200
"""Files looked at before a folder is said to hold no DICOM."""


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case: one per sequence, or one 4-D file for all; and the reference label map, where there is
    one.

    Args:
        case_id: the name of the case's folder, or of its 4-D file.
        sequences: one file per sequence; empty when `channels` is given.
        reference: the reference label map.
        labels: how the reference is written.
        channels: a 4-D file that holds all sequences.
        channel_order: the sequences in `channels`.
        without: sequences that are to be done without, whether there is a file or not.
        left_alone: files that may be a reference, or a brain mask; their names do not say.

    Raises:
        CaseError: the case has no name, or it holds characters that cannot be shown.
    """

    case_id: str
    sequences: Mapping[Sequence, Path]
    reference: Path | None
    labels: LabelConvention
    channels: Path | None = None
    channel_order: tuple[Sequence, ...] = decathlon.CHANNEL_ORDER
    without: frozenset[Sequence] = frozenset()
    left_alone: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.case_id:
            raise CaseError("The top of a disk lends a case no name. Put the scans into a folder of their own.")
        size = len(os.fsencode(self.case_id))
        if size > MAX_CASE_ID_BYTES:
            short = printable(self.case_id[:40])
            raise CaseError(
                f"Case '{short}...': its name has {size} bytes; up to {MAX_CASE_ID_BYTES} leave room for the endings "
                "of results. Rename the folder or file."
            )
        if not self.case_id.isprintable():
            # It becomes part of file names, tables and lines on a terminal.
            name = printable(self.case_id)
            raise CaseError(
                f"Case '{name}': its name holds a line break, a control character or bytes that are no text. Rename "
                "the folder or file."
            )

    def used(self) -> tuple[Sequence, ...]:
        """The sequences that are read, in the paper's order."""
        return tuple(sequence for sequence in PAPER_ORDER if sequence not in self.without)

    def paths(self) -> tuple[Path, ...]:
        """The files that hold the scans."""
        return (
            (self.channels,)
            if self.channels is not None
            else tuple(self.sequences[sequence] for sequence in self.used())
        )

    def describe(self) -> str:
        """The mapping that was found, one line a file or channel, for people to check."""
        if self.channels is not None:
            numbered = enumerate(self.channel_order)
            lines = [
                f"  {sequence.value:6} <- {printable(self.channels.name)} [channel {c}]"
                for c, sequence in numbered
                if sequence not in self.without
            ]
        else:
            lines = [f"  {sequence.value:6} <- {printable(self.sequences[sequence].name)}" for sequence in self.used()]
        lines += [f"  {sequence.value:6} <- nothing, as asked" for sequence in PAPER_ORDER if sequence in self.without]
        if self.reference is not None:
            lines.append(f"  labels <- {printable(self.reference.name)} [{self.labels.name}]")
        elif self.left_alone:
            names = ", ".join(printable(path.name) for path in self.left_alone)
            lines.append(
                f"  labels <- nothing; {names} may be a brain mask (a reference is named "
                f"{printable(self.case_id)}_seg.nii.gz)"
            )
        return "\n".join([f"{self.case_id}:", *lines])


@dataclass(frozen=True)
class CaseSurvey:
    """What a folder holds.

    Args:
        cases: those that can be read.
        refused: those that are incomplete, ambiguous or unreadable, by id.
        notes: what was left alone although it may have been meant, in words.
    """

    cases: list[CaseFiles] = field(default_factory=list)
    refused: dict[str, InputError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_cases(folder: Path, labels: str | None = None, without: Iterable[Sequence] = ()) -> list[CaseFiles]:
    """Returns every case at or below `folder`, sorted by id; the first that is refused is raised.

    A folder that holds files named after sequences is a case, named as the folder; where two folders have one name, the
    id takes the names of the folders above (`io.tree.case_ids`). Complete cases below a case are cases too. A folder
    with `imagesTr` or `imagesTs`, or one of the two, is Decathlon Task01, and so is a single 4-D file. Other files and
    hidden ones are left alone.

    Args:
        folder: where to look.
        labels: name of the label convention, where it is not the one that the layout stands for.
        without: sequences to do without; their files need not be there, and are not read.

    Raises:
        CaseError: no case was found, a case is incomplete or ambiguous, or two cases have the same id.
        FileFormatError: a single file that is not a 4-D NIfTI file, or a `dataset.json` that is none.
        UsageError: there is no such convention.
    """
    surveyed = survey(folder, labels, without)
    for error in surveyed.refused.values():
        raise error
    return surveyed.cases


def survey(folder: Path, labels: str | None = None, without: Iterable[Sequence] = ()) -> CaseSurvey:
    """As `find_cases`, but cases that are incomplete, ambiguous or unreadable are listed beside the others, for cohorts
    to account for.

    Raises:
        CaseError: nothing was found at all, or two cases have the same id.
        FileFormatError: as `find_cases`.
        UsageError: there is no such convention, or too little is left.
    """
    surveyed = CaseSurvey()
    absent = frozenset(without)
    refuse_too_few(absent)
    for files in _candidates(folder, absent, surveyed):
        surveyed.cases.append(files if labels is None else replace(files, labels=convention(labels)))
    if not surveyed.cases and not surveyed.refused:
        if holds_dicom(folder):
            raise CaseError(
                f"{folder}: holds DICOM files. Convert them first: gliomask dicom convert, then give the folder "
                "that it writes."
            )
        raise CaseError(
            f"{folder}: no case found: no NIfTI file here or up to {DEPTH} folders below is named after a sequence "
            f"(such as NAME_flair.nii.gz or NAME-t2f.nii.gz). Name the files so; {decathlon.FOUR_FILES}."
        )
    surveyed.cases.sort(key=lambda files: files.case_id)
    return surveyed


def holds_dicom(place: Path) -> bool:
    """Whether a place is a DICOM file or a zip, or a folder among whose first files there are DICOM ones and none is
    named as NIfTI files are.
    """
    if not place.is_dir():
        return _is_dicom(place) or (place.is_file() and not nifti.is_nifti_name(place) and zipfile.is_zipfile(place))
    looked_at = list(islice((Path(folder) / name for folder, _, names in os.walk(place) for name in names), LOOKED_AT))
    return not any(map(nifti.is_nifti_name, looked_at)) and any(map(_is_dicom, looked_at))


def _is_dicom(path: Path) -> bool:
    try:
        return path.is_file() and is_dicom(path)
    except OSError:
        return False


def _candidates(folder: Path, without: frozenset[Sequence], surveyed: CaseSurvey) -> Iterable[CaseFiles]:
    if not folder.exists():
        raise CaseError(
            f"{folder}: does not exist. Give a folder of one case or a folder of cases; {decathlon.FOUR_FILES}."
        )
    if not folder.is_dir():
        return [_decathlon_case(decathlon.single_item(folder), without)]
    items = decathlon.items(folder)
    return (
        _folder_cases(folder, without, surveyed)
        if items is None
        else [_decathlon_case(item, without) for item in items]
    )


def _decathlon_case(item: decathlon.Item, without: frozenset[Sequence]) -> CaseFiles:
    return CaseFiles(
        nifti.stem(item.images), {}, item.labels, convention("decathlon"), item.images, item.order, without
    )


def _folder_cases(top: Path, without: frozenset[Sequence], surveyed: CaseSurvey) -> Iterator[CaseFiles]:
    folders = [folder for folder in walk(top) if folder.error or folder.scans]
    folders = [
        folder
        for folder in folders
        if not folder.below_case or folder.error or is_whole(folder, without, surveyed.notes)
    ]
    for name, folder in zip(case_ids(folders), folders, strict=True):
        if folder.error:
            surveyed.refused[printable(name)] = CaseError(
                f"{folder.path}: cannot be listed ({folder.error}). Check that the folder may be read."
            )
            continue
        try:
            yield case_from_files(name, folder.files, without)
        except CaseError as error:
            surveyed.refused[printable(name)] = error


def is_whole(folder: Folder, without: frozenset[Sequence] = frozenset(), notes: list[str] | None = None) -> bool:
    """True where a folder below a case is a case as well; otherwise that is noted where there are scans, for derived
    ones lie in such folders.
    """
    if not folder.scans:
        return False
    try:
        case_from_files(folder.path.name, folder.files, without)
    except CaseError as error:
        if notes is not None:
            notes.append(
                f"{folder.path}: lies below a case and was left alone, since it is no whole case itself. {error}"
            )
        return False
    return True


def case_from_files(case_id: str, files: Iterable[Path], without: frozenset[Sequence] = frozenset()) -> CaseFiles:
    """Sorts one case's NIfTI files by the sequence in their names; those `without` which it is to be done are left
    alone.

    Raises:
        CaseError: a sequence is missing, or two files match one sequence.
    """
    by_sequence: dict[Sequence, list[Path]] = defaultdict(list)
    files = tuple(files)
    stems = {nifti.stem(path) for path in files}
    files = tuple(path for path in files if not in_other_space(nifti.stem(path), stems))
    for path in files:
        sequence = sequence_of_path(path)
        if sequence is not None and sequence not in without:
            by_sequence[sequence].append(path)
    scans = [path for path in files if sequence_of_path(path)]
    # Results are left out first: beside one, an expert's map of a less usual name is still the reference.
    references = tumour_label_maps([path for path in files if not is_result(path)], scans)
    others = [path for path in files if path not in (*scans, *references)]
    for what, paths in [
        *((sequence.value, by_sequence[sequence]) for sequence in PAPER_ORDER),
        ("the reference label map", references),
    ]:
        if len(paths) > 1:
            names = ", ".join(str(path) for path in paths)
            raise CaseError(
                f"Case {case_id}: {len(paths)} files match {what}: {names}. Keep one; {decathlon.FOUR_FILES}."
            )
    missing = [sequence.value for sequence in PAPER_ORDER if sequence not in without and not by_sequence[sequence]]
    if missing:
        names = ", ".join(paths[0].name for paths in by_sequence.values() if paths)
        aside = f" Not understood: {', '.join(path.name for path in others)}." if others else ""
        raise CaseError(
            f"Case {case_id}: missing {', '.join(missing)}; found {names}.{aside} "
            f"Where a name is not understood, rename the file ({decathlon.FOUR_FILES}). "
            "Where the patient does not have a sequence, say --without."
        )
    sequences = {sequence: by_sequence[sequence][0] for sequence in PAPER_ORDER if sequence not in without}
    new = any(last_word(path) in NEW_NAMES for path in sequences.values())
    labels = convention("brats2023" if new else "brats2021")
    unknown = () if references else tuple(masks_of_unknown_kind(files, scans))
    return CaseFiles(
        case_id, sequences, references[0] if references else None, labels, without=without, left_alone=unknown
    )


def explicit_case(
    case_id: str, files: Mapping[Sequence, Path], labels: str = "brats2021", without: Iterable[Sequence] = ()
) -> CaseFiles:
    """Returns a case of files that the user named.

    Raises:
        UsageError: a sequence was neither named nor said to be missing, was both, one file was named twice, or too
            little is left.
    """
    absent = frozenset(without)
    refuse_too_few(absent)
    missing = [f"--{sequence.value}" for sequence in PAPER_ORDER if sequence not in files and sequence not in absent]
    if missing:
        raise UsageError(
            f"Missing {', '.join(missing)}. Give the file, or, where the patient does not have the sequence, --without."
        )
    both = [f"--{sequence.value}" for sequence in absent.intersection(files)]
    if both:
        raise UsageError(f"{', '.join(sorted(both))} was given and is to be done without. Leave one of the two out.")
    if len({os.path.realpath(path) for path in files.values()}) < len(files):
        raise UsageError(
            "One file was given for two sequences: " + ", ".join(f"--{s.value} {p}" for s, p in files.items()) + "."
        )
    return CaseFiles(case_id, dict(files), None, convention(labels), without=absent)


@dataclass(frozen=True, eq=False)
class ReadFiles:
    """What the files of a case held, each of them read once, on grids that may differ.

    Args:
        files: where they are.
        volumes: what was read, in the order of `files.paths()`.
    """

    files: CaseFiles
    volumes: tuple[nifti.NiftiVolume, ...]

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file as it was read, by its path as given."""
        return {str(path): volume.sha256 for path, volume in zip(self.files.paths(), self.volumes, strict=True)}

    def case(self) -> Case:
        """Returns the scans as a case, on the grid of the first; made once.

        Sequences that have the same voxels with their axes in another order are laid out as the first; `Case.reordered`
        names them.

        Raises:
            CaseError: the case is incomplete, empty or holds values that are not finite.
            GeometryError: the sequences are not on one grid.
        """
        return self._case

    @cached_property
    def _case(self) -> Case:
        files, first = self.files, self.volumes[0]
        if files.channels is not None:
            return _case_of_channels(files, files.channels, first)
        paths = files.paths()
        volumes, reordered = {}, []
        for sequence, path, volume in zip(files.used(), paths, self.volumes, strict=True):
            turn = first.geometry.reorientation_from(volume.geometry)
            if turn is None:
                raise _other_grid(files.case_id, path, volume.geometry, paths[0], first.geometry)
            same = first.geometry.same_grid(volume.geometry)
            volumes[sequence] = volume.values if same else turn.apply(volume.values)
            reordered += [] if same else [sequence]
        return fit(
            Case(files.case_id, volumes, first.geometry, files.sequences, first.header, files.without, tuple(reordered))
        )


def read_files(files: CaseFiles, threads: int = len(PAPER_ORDER)) -> ReadFiles:
    """Reads the scans of a case, whatever their grids.

    Args:
        files: where they are.
        threads: files read at the same time; unpacking releases the GIL.

    Raises:
        FileFormatError: a file cannot be read.
        GeometryError: an affine or a spacing is impossible.
    """
    if files.channels is not None:
        return ReadFiles(files, (nifti.read_channels(files.channels),))
    return ReadFiles(files, tuple(_at_once(nifti.read_volume, files.paths(), threads)))


def _read_and_look(files: CaseFiles) -> ReadFiles:
    """Reads the scans and, where they are those of one grid, finds what stands out from air: both are remembered."""
    read = read_files(files)
    # Whoever asks for the case is told what is wrong with it.
    with suppress(InputError):
        _ = read.case().foreground
    return read


_ahead: Ahead[CaseFiles, ReadFiles] = Ahead(_read_and_look)


def read_ahead(files: CaseFiles) -> None:
    """Begins to read the scans of a case in the background, and to look at them; `read_begun` then waits for them."""
    _ahead.begin(files)


def read_begun(files: CaseFiles) -> ReadFiles:
    """Returns what `read_files` returns, and raises what it raises; scans that `read_ahead` has begun to read for this
    object are not read again.
    """
    return _ahead.result(files)


def _at_once(read: Callable[[Path], nifti.NiftiVolume], paths: Ordered[Path], threads: int) -> list[nifti.NiftiVolume]:
    """Applies `read` to all paths; the first error in their order is raised.

    The calling thread works as well, so that all is read also where no further thread can be started, for lack of
    memory.
    """
    done: dict[int, nifti.NiftiVolume | BaseException] = {}
    waiting = deque(range(len(paths)))

    def work() -> None:
        while waiting:
            try:
                n = waiting.popleft()
            except IndexError:
                return
            try:
                done[n] = read(paths[n])
            except BaseException as error:
                done[n] = error

    helpers = []
    for _ in range(min(threads, len(paths)) - 1):
        helper = threading.Thread(target=work, name="reading", daemon=True)
        try:
            helper.start()
        except (RuntimeError, MemoryError):
            break
        helpers.append(helper)
    work()
    for helper in helpers:
        helper.join()
    outcomes = [done[n] for n in range(len(paths))]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def read_case(files: CaseFiles, threads: int = len(PAPER_ORDER)) -> Case:
    """Reads the scans of a case.

    Args:
        files: where they are.
        threads: files read at the same time.

    Raises:
        CaseError: the case is incomplete, empty or holds values that are not finite.
        FileFormatError: a file cannot be read.
        GeometryError: the sequences are not on one grid.
    """
    return read_files(files, threads).case()


def fit(case: Case) -> Case:
    """Refuses what cannot be four MR sequences of a head, whichever network would look at it."""
    if min(case.geometry.shape) < FEWEST_SLICES:
        raise CaseError(
            f"Case {case.case_id}: its grid, {case.geometry}, is no volume; at least {FEWEST_SLICES} slices are "
            "needed. Give the whole scan."
        )
    refuse_ct_and_copies(case.case_id, case.volumes, case.sources)
    return case


def _other_grid(case_id: str, path: Path, geometry: Geometry, first: Path, expected: Geometry) -> GeometryError:
    distance = (
        ""
        if expected.shape != geometry.shape
        else f", with corners up to {expected.corner_distance_mm(geometry):.3g} mm apart"
    )
    return GeometryError(
        f"Case {case_id}: {path.name} lies on another grid than {first.name}: {geometry} against {expected}{distance}. "
        "Register and resample the sequences to one grid first."
    )


def _case_of_channels(files: CaseFiles, path: Path, stack: nifti.NiftiVolume) -> Case:
    order = files.channel_order
    if stack.values.shape[3] != len(order):
        raise CaseError(
            f"Case {files.case_id}: {path} has {stack.values.shape[3]} channels; {len(order)} are needed "
            f"({', '.join(order)})."
        )
    volumes = {sequence: stack.values[..., c] for c, sequence in enumerate(order) if sequence not in files.without}
    return fit(Case(files.case_id, volumes, stack.geometry, dict.fromkeys(volumes, path), stack.header, files.without))


def read_label_map(path: Path, labels: LabelConvention) -> tuple[LabelMap, Geometry]:
    """Reads a label map written in the named convention; returns it with the values of `labels.Label`, and its grid.

    Raises:
        FileFormatError: the file cannot be read.
        LabelError: it holds a value that the convention does not define.
    """
    volume = nifti.read_volume(path)
    try:
        return labels.from_disk(volume.values), volume.geometry
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def read_label_map_on(path: Path, labels: LabelConvention, grid: Geometry) -> tuple[LabelMap, bool] | Geometry:
    """Reads a label map and lays its voxels out as a grid's.

    Returns:
        The label map on `grid`, and whether its axes were re-ordered for that; or its own grid, where that has other
            voxels.

    Raises:
        FileFormatError: the file cannot be read.
        LabelError: it holds a value that the convention does not define.
    """
    label_map, own_grid = read_label_map(path, labels)
    if grid.same_grid(own_grid):
        return label_map, False
    turn = grid.reorientation_from(own_grid)
    return own_grid if turn is None else (np.ascontiguousarray(turn.apply(label_map)), True)


def read_reference(files: CaseFiles, geometry: Geometry) -> LabelMap:
    """Reads the reference label map of a case, on the case's grid; its axes may be in another order.

    Raises:
        CaseError: there is none.
        LabelError: it holds a value that its convention does not define.
        GeometryError: it does not have the voxels of the case's grid.
    """
    if files.reference is None:
        aside = (
            f" Left alone, since it may be a brain mask: {', '.join(path.name for path in files.left_alone)}."
            if files.left_alone
            else ""
        )
        raise CaseError(
            f"Case {files.case_id}: no reference label map (a file named like {files.case_id}_seg.nii.gz) was "
            f"found.{aside}"
        )
    read = read_label_map_on(files.reference, files.labels, geometry)
    if isinstance(read, Geometry):
        raise GeometryError(
            f"Case {files.case_id}: the reference {files.reference.name} lies on another grid than the scans: {read} "
            f"against {geometry}. "
            "Give the label map that belongs to them."
        )
    return read[0]
