"""A BIDS dataset on disk: its participants, their sessions, and the file of each sequence.

What a file holds is decided by its name alone. What the rule of `filters` leaves open is an error that lists the files,
never a guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.bids.filters import Filters
from gliomask.bids.names import BidsName, is_label, parse_name
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.files.json import UNREADABLE, read_json
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles
from gliomask.labels import convention
from gliomask.sequences import PAPER_ORDER, Sequence, refuse_too_few

DESCRIPTION = "dataset_description.json"
LABELS = "brats2023"
"""Convention of the label maps that are written: 1, 2 and 3 without a gap, as a table of labels has them."""

LISTED = 12
"""Names listed in a message before it says how many more there are."""


@dataclass(frozen=True)
class Dataset:
    """A BIDS dataset.

    Args:
        root: its folder.
        description: what its `dataset_description.json` says.
    """

    root: Path
    description: dict[str, Any]


@dataclass(frozen=True)
class Session:
    """One participant at one time point.

    Args:
        subject: the label behind `sub-`.
        session: the label behind `ses-`; None where the dataset has no sessions.
    """

    subject: str
    session: str | None

    @property
    def entities(self) -> dict[str, str]:
        """As they stand in file names."""
        return {"sub": self.subject} | ({} if self.session is None else {"ses": self.session})

    @property
    def case_id(self) -> str:
        """`sub-01`, or `sub-01_ses-02`: how the names of its files begin."""
        return "_".join(f"{key}-{label}" for key, label in self.entities.items())

    @property
    def folder(self) -> Path:
        """Its folder in a dataset."""
        return Path(*(f"{key}-{label}" for key, label in self.entities.items()))


def open_dataset(root: Path) -> Dataset:
    """Reads what makes a folder a BIDS dataset.

    Raises:
        CaseError: it is no folder, or holds no `dataset_description.json` or no participant.
        FileFormatError: the description is none.
    """
    if not root.is_dir():
        raise CaseError(
            f"{root}: {'is no folder' if root.exists() else 'does not exist'}. Give the root of a BIDS dataset."
        )
    if not (root / DESCRIPTION).is_file():
        raise CaseError(
            f"{root}: is no BIDS dataset: it holds no {DESCRIPTION}. Give the folder that does; for other layouts "
            "there is gliomask segment."
        )
    dataset = Dataset(root, read_description(root / DESCRIPTION))
    if not participants(dataset):
        raise CaseError(
            f"{root}: this BIDS dataset holds no participant: no folder is named sub-LABEL, with letters and digits. "
            "Check that it is whole."
        )
    return dataset


def read_description(path: Path) -> dict[str, Any]:
    """Reads a `dataset_description.json`.

    Raises:
        FileFormatError: it is none.
    """
    try:
        content = read_json(path)
    except UNREADABLE as error:
        raise FileFormatError(
            f"{path}: cannot be read as JSON ({error}). Repair it; the BIDS validator says what belongs in it."
        ) from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path}: holds no object of names and values. Repair it; the BIDS validator says what belongs in it."
        )
    return content


def participants(dataset: Dataset) -> list[str]:
    """Returns the labels behind `sub-`, sorted."""
    return _labels(dataset.root, "sub")


def _labels(folder: Path, entity: str) -> list[str]:
    start = f"{entity}-"
    return sorted(
        path.name.removeprefix(start)
        for path in folder.iterdir()
        if path.name.startswith(start) and is_label(path.name[len(start) :]) and path.is_dir()
    )


def chosen(known: Ordered[str], asked: Iterable[str], entity: str) -> list[str]:
    """Returns the labels that were asked for, with or without their entity (`01` or `sub-01`); all where none was.

    Raises:
        UsageError: there is no such label.
    """
    wanted = [label.removeprefix(f"{entity}-") for label in asked]
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise UsageError(
            f"The dataset has no {entity}-{f', {entity}-'.join(unknown)}. It has {_listed(known, entity)}."
        )
    return [label for label in known if label in wanted or not wanted]


def _listed(labels: Ordered[str], entity: str) -> str:
    shown = ", ".join(f"{entity}-{label}" for label in labels[:LISTED]) or f"no {entity}-"
    return shown + (f" and {len(labels) - LISTED} more" if len(labels) > LISTED else "")


def find_sessions(dataset: Dataset, subjects: Iterable[str] = (), sessions: Iterable[str] = ()) -> list[Session]:
    """Returns the sessions to do, by participant.

    A session without an anatomical image is left out, a participant without any is not.

    Args:
        dataset: where to look.
        subjects: labels of participants, with or without `sub-`; all where none is given.
        sessions: labels of sessions, with or without `ses-`; all where none is given.

    Raises:
        UsageError: there is no such participant or session.
    """
    asked = list(sessions)
    sessions_chosen: list[Session] = []
    known: set[str] = set()
    for subject in chosen(participants(dataset), subjects, "sub"):
        labels = _labels(dataset.root / f"sub-{subject}", "ses")
        known.update(labels)
        wanted = [label for label in labels if label in {name.removeprefix("ses-") for name in asked} or not asked]
        units = [*([] if asked else [Session(subject, None)]), *(Session(subject, label) for label in wanted)]
        with_images = [unit for unit in units if anatomical_images(dataset, unit)]
        sessions_chosen += with_images or ([] if asked else units[:1])
    chosen(sorted(known), asked, "ses")
    if not sessions_chosen:
        raise UsageError(
            f"No participant that was asked for has an anatomical image in ses-{', ses-'.join(asked)}. Leave "
            "--session-label out, or give another."
        )
    return sessions_chosen


def anatomical_images(dataset: Dataset, session: Session) -> dict[Path, BidsName]:
    """Returns the NIfTI files in the session's `anat` folder whose names are BIDS names, sorted.

    Raises:
        CaseError: the folder cannot be listed.
    """
    folder = dataset.root / session.folder / "anat"
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise CaseError(
            f"{folder}: cannot be listed ({error.strerror or error}). Check that the folder may be read."
        ) from error
    # Links that lead nowhere stay: data sets kept by git-annex have them, and reading one says so.
    named = {path: parse_name(path.name) for path in paths if nifti.is_nifti_name(path)}
    return {
        path: name
        for path, name in named.items()
        if name is not None and session.entities.items() <= name.entities.items()
    }


def session_files(
    dataset: Dataset, session: Session, filters: Filters, without: frozenset[Sequence] = frozenset()
) -> CaseFiles:
    """Returns the file of each sequence of a session.

    Args:
        dataset: where it lies.
        session: whose files.
        filters: which file is which sequence.
        without: sequences to do without, whether there is a file or not.

    Raises:
        CaseError: a sequence is missing, or several files may be it.
        UsageError: too little is left.
    """
    refuse_too_few(without)
    images = anatomical_images(dataset, session)
    paths_of: dict[Sequence, list[Path]] = defaultdict(list)
    for sequence in PAPER_ORDER:
        if sequence not in without:
            paths_of[sequence] = [path for path, name in images.items() if filters.accepts(sequence, name)]
    _refuse_several(session, paths_of)
    missing = [f"{sequence.value} ({filters.in_words(sequence)})" for sequence, paths in paths_of.items() if not paths]
    if missing:
        names = ", ".join(path.name for path in images) or "no anatomical image"
        raise CaseError(
            f"{session.case_id}: missing {'; '.join(missing)}; found {names}. Where a file is named otherwise, say "
            "so by --bids-filter-file; "
            "where the patients do not have a sequence, say --without."
        )
    return CaseFiles(
        session.case_id,
        {sequence: paths[0] for sequence, paths in paths_of.items()},
        None,
        convention(LABELS),
        without=without,
    )


def _refuse_several(session: Session, paths_of: dict[Sequence, list[Path]]) -> None:
    for sequence, paths in paths_of.items():
        if len(paths) > 1:
            example = f'{{"{sequence.value}": {{"run": 1}}}}'
            names = ", ".join(path.name for path in paths)
            raise CaseError(
                f"{session.case_id}: {len(paths)} files may be {sequence.value}: {names}. Say which by "
                f"--bids-filter-file, with JSON such as {example}."
            )
    taken: dict[Path, Sequence] = {}
    for sequence, paths in paths_of.items():
        for path in paths:
            if path in taken:
                raise CaseError(
                    f"{session.case_id}: {path.name} is both {taken[path].value} and {sequence.value} by the filter "
                    "file. Tell the two apart in it."
                )
            taken[path] = sequence
