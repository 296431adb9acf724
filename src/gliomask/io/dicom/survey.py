"""Every series of a folder: what it is, where it lies, or why it cannot be read; and which of them stand for the four
sequences.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gliomask.errors import CaseError, FileFormatError, InputError, LimitError, UsageError
from gliomask.geometry import Geometry
from gliomask.io.dicom.archive import DICOM_NAMES, MAX_MEMBERS, Opened, at
from gliomask.io.dicom.headers import MR_CLASSES, Frame, ParsedFile, Tags, class_in_meta, is_dicom, parse
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.recognise import Guess, recognise
from gliomask.io.dicom.stack import in_order
from gliomask.io.dicom.two_valued import two_valued
from gliomask.sequences import Sequence

MAX_DEPTH = 12
"""Folders below the one given."""

MAX_TOTAL_FRAMES = 100_000
MAX_TOTAL_READS, READS_EACH = 20_000_000, 3_000
"""Of pydicom from all headers: so many in all, or so many for each file. A classic header needs some hundreds."""

STRUCK_OUT = "***"
SHARPER_MM = 0.2
"""Slices this much thinner are reason to prefer a series."""
HEAD_MM = 100.0
"""A series whose shortest side is less shows a part of the head: a brain is some 120 mm high, and the last slices may
lack.
"""


@dataclass(frozen=True, eq=False)
class Series:
    """One volume's worth of files.

    Args:
        label: the number in the table: SeriesNumber, with a letter where several share it.
        description: SeriesDescription or ProtocolName, with the words that identify the patient struck out.
        tags: of its first file.
        frames: sorted along their normal where that worked.
        geometry: its grid; None where `problem` says why it has none.
        problem: what stops it from being read.
        guess: which sequence it is taken for.
        notes: what was done or found besides.
    """

    label: str
    description: str
    tags: Tags
    frames: tuple[Frame, ...]
    geometry: Geometry | None
    problem: InputError | None
    guess: Guess
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"series {self.label}"


@dataclass(frozen=True, eq=False)
class Survey:
    """What a place holds.

    Args:
        series: all volumes.
        other_files: number of files that are not DICOM.
        links: number of symbolic links that lead outside the folder or nowhere, and are not followed.
        unread: number of DICOM objects that are no MR images and cannot be read.
    """

    series: tuple[Series, ...]
    other_files: int
    links: int = 0
    unread: int = 0


Progress = Callable[[int, int], None]
"""Told how many headers have been read, and of how many."""


@dataclass
class _Tally:
    parsed: list[ParsedFile] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    other: int = 0
    unread: int = 0
    reads: int = 0
    frames: int = 0


def survey(place: Opened | Path, progress: Progress | None = None) -> Survey:
    """Reads every header of a place and tells the series apart.

    Args:
        place: what `archive.opened` gave, or a folder.
        progress: told how far the reading is.

    Raises:
        FileFormatError: a file that must be DICOM cannot be read; the message names it.
        CaseError: no DICOM file at all, or more than one patient.
        LimitError: more files than `archive.MAX_MEMBERS`, more frames or more elements than an examination has.
    """
    place = at(place) if isinstance(place, Path) else place
    with quiet_pydicom():
        paths, links = _files(place)
        tally = _parse_all(place, paths, progress)
    parsed, other = tally.parsed, tally.other
    if not parsed:
        besides = f", {_links(links)}" if links else ""
        unread = f"; {tally.unread} DICOM objects that are no MR images cannot be read" if tally.unread else ""
        raise CaseError(
            f"{place.title}: no DICOM file found among {other} files{besides}{unread}. Give the folder or zip that "
            "the scanner or archive exported."
        )
    _refuse_two_patients(parsed, place.title)
    words = frozenset().union(*(file.tags.identifiers for file in parsed))
    groups: dict[str, list[ParsedFile]] = {}
    for file in parsed:
        groups.setdefault(file.tags.series_uid, []).append(file)
    parts = [(tags, frames, notes) for files in groups.values() for tags, frames, notes in _volumes(files)]
    parts.sort(key=lambda part: (part[0].number is None, part[0].number or 0, part[0].series_uid))
    labels = _labels([part[0].number for part in parts])
    return Survey(
        tuple(_series(label, *part, words) for label, part in zip(labels, parts, strict=True)),
        other,
        links,
        tally.unread,
    )


def _parse_all(place: Opened, paths: list[Path], progress: Progress | None) -> _Tally:
    tally = _Tally()
    for done, path in enumerate(paths, start=1):
        try:
            _parse_one(path, tally)
        except OSError as error:
            tally.broken.append((path, f"cannot be opened ({error.strerror or error}). Check that it may be read."))
        if tally.frames > MAX_TOTAL_FRAMES or tally.reads > max(MAX_TOTAL_READS, READS_EACH * done):
            raise LimitError(
                f"{place.title}: its headers claim more frames or elements than an examination has. Give one "
                "examination."
            )
        if progress is not None:
            progress(done, len(paths))
    if tally.broken:
        # The file's name is struck through as descriptions are: exports put patients' names there.
        words = frozenset().union(*(file.tags.identifiers for file in tally.parsed))
        path, why = tally.broken[0]
        more = f" ({len(tally.broken)} such files)" if len(tally.broken) > 1 else ""
        raise FileFormatError(
            f"{place.title}: {strike_out(place.shown(path), words)}{more}: cannot be read as DICOM: {why}"
        )
    return tally


def _parse_one(path: Path, tally: _Tally) -> None:
    if not is_dicom(path):
        if path.suffix.lower() in DICOM_NAMES:
            tally.broken.append(
                (
                    path,
                    "has no DICOM prefix and does not begin as a data set does. Remove it, or copy it again "
                    "from its source.",
                )
            )
        else:
            tally.other += 1
        return
    try:
        file = parse(path, "it")
    except FileFormatError as error:
        if _is_no_mr_image(path):
            tally.unread += 1
        else:
            tally.broken.append((path, str(error).removeprefix("it: ")))
        return
    if file is not None:
        tally.parsed.append(file)
        tally.reads += file.reads
        tally.frames += len(file.frames)


def _is_no_mr_image(path: Path) -> bool:
    """Whether an object that cannot be parsed says that it is of another kind; then nothing is lost."""
    try:
        return class_in_meta(path) not in ("", *MR_CLASSES)
    except Exception:
        # What is wrong has been told by `parse`.
        return False


def _files(place: Opened) -> tuple[list[Path], int]:
    """Regular files in sorted order, hidden ones left out, and the number of links that were not followed.

    A link to a file that stays inside the folder is followed, as git-annex and DataLad lay files out; one to a file
    that is met anyway is not met twice. Links to folders are not followed.
    """
    if place.files is not None:
        return list(place.files), 0
    folder = place.folder
    if folder.is_file():
        return [folder], 0
    root, files, annexed, links = folder.resolve(), [], set(), 0
    for where, folders, names in os.walk(folder):
        depth = len(Path(where).relative_to(folder).parts)
        shown = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        links += sum(not _inside(Path(where) / name, root) for name in shown if (Path(where) / name).is_symlink())
        folders[:] = shown if depth < MAX_DEPTH else []
        for name in sorted(names):
            path = Path(where) / name
            if name.startswith("."):
                continue
            if path.is_symlink():
                target = _inside(path, root)
                links += target is None
                if (
                    target is None
                    or target in annexed
                    or not any(part.startswith(".") for part in target.relative_to(root).parts)
                ):
                    continue
                annexed.add(target)
            if path.is_file():
                files.append(path)
            if len(files) > MAX_MEMBERS:
                raise LimitError(
                    f"{place.title}: holds more than {MAX_MEMBERS:,} files. Give the folder of one examination."
                )
    return files, links


def _inside(link: Path, root: Path) -> Path | None:
    """What a link leads to; None where that lies outside, or nowhere."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return target if target.is_relative_to(root) else None


def _links(count: int) -> str:
    return f"{count} link{'s' * (count != 1)} that lead{'s' * (count == 1)} outside the folder or nowhere not followed"


def _refuse_two_patients(parsed: list[ParsedFile], title: str) -> None:
    patients = {file.tags.patient for file in parsed}
    if len(patients) > 1:
        raise CaseError(
            f"{title}: holds files of {len(patients)} patients (by PatientID and PatientName). Give one patient's "
            "files at a time."
        )


def _volumes(files: list[ParsedFile]) -> Iterator[tuple[Tags, list[Frame], tuple[str, ...]]]:
    """The frames of one series, parted by echo and kind where several lie at one place."""
    frames, notes = _without_copies(files)
    parts: dict[object, list[Frame]] = {}
    places = {(frame.position_mm, frame.directions) for frame in frames}
    for frame in frames:
        key = (round(frame.echo_time_ms or 0), frame.kind) if len(places) < len(frames) else None
        parts.setdefault(key, []).append(frame)
    tags_of = {(frame.path, frame.index): file.tags for file in files for frame in file.frames}
    for part in parts.values():
        yield _of_part(tags_of[part[0].path, part[0].index], part), part, notes


def _of_part(tags: Tags, part: list[Frame]) -> Tags:
    """The tags with what the frames of this part say of themselves: FrameType, component and echo time of an enhanced
    file's part.
    """
    kinds, echoes = {frame.kind for frame in part}, {frame.echo_time_ms for frame in part}
    kind = part[0].kind if len(kinds) == 1 and part[0].kind else tags.image_type
    echo_ms = part[0].echo_time_ms if len(echoes) == 1 and part[0].echo_time_ms else tags.echo_time_ms
    return replace(tags, image_type=kind, echo_time_ms=echo_ms)


def _without_copies(files: list[ParsedFile]) -> tuple[list[Frame], tuple[str, ...]]:
    """All frames; a file that is there twice, byte for byte, counts once."""
    kept: dict[str, ParsedFile] = {}
    frames: list[Frame] = []
    copies = 0
    for file in files:
        twin = kept.get(file.frames[0].instance_uid)
        if twin is not None and filecmp.cmp(twin.frames[0].path, file.frames[0].path, shallow=False):
            copies += 1
            continue
        kept.setdefault(file.frames[0].instance_uid, file)
        frames.extend(file.frames)
    return frames, (f"{copies} identical copies of its files left out",) if copies else ()


def _labels(numbers: list[int | None]) -> list[str]:
    texts = ["0" if number is None else str(number) for number in numbers]
    seen: dict[str, int] = {}
    labels = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        letters = seen[text] - 1
        suffix = "" if texts.count(text) == 1 else (chr(ord("a") + letters) if letters < 26 else f".{letters + 1}")
        labels.append(text + suffix)
    return labels


def _series(label: str, tags: Tags, frames: list[Frame], notes: tuple[str, ...], words: frozenset[str]) -> Series:
    description = strike_out(tags.description or tags.protocol, words)
    geometry: Geometry | None = None
    problem: InputError | None = None
    ordered = tuple(frames)
    try:
        ordered, geometry = in_order(frames, f"series {label}")
    except InputError as error:
        problem = error
    if tags.lossy:
        notes = (*notes, "compressed with loss: intensities are not the scanner's")
    if (
        tags.images_in_acquisition
        and len(frames) < tags.images_in_acquisition
        and len({frame.path for frame in frames}) > 1
    ):
        notes = (*notes, f"{len(frames)} images, the header speaks of {tags.images_in_acquisition}")
    return Series(label, description, tags, ordered, geometry, problem, recognise(tags), notes)


def strike_out(text: str, words: frozenset[str]) -> str:
    """Returns the text with every word that is also part of a patient's name, number or the like replaced."""
    return re.sub(r"[^\W_]+", lambda match: STRUCK_OUT if match.group().lower() in words else match.group(), text)


@dataclass(frozen=True, eq=False)
class Choice:
    """Which series stands for each sequence, and a sentence for every series."""

    chosen: Mapping[Sequence, Series]
    verdicts: Mapping[str, str]
    problems: tuple[str, ...]


def choose(surveyed: Survey, overrides: Mapping[Sequence, str] | None = None) -> Choice:
    """Decides for each sequence: the series that was named, else the one recognised, else the sharpest of several.

    Args:
        surveyed: the series.
        overrides: label or SeriesInstanceUID by sequence.

    Raises:
        UsageError: an override names no series, or one series twice.
    """
    named = {sequence: _named(surveyed, wanted) for sequence, wanted in (overrides or {}).items()}
    if len({series.label for series in named.values()}) < len(named):
        raise UsageError("--series names one series for two sequences. Give each sequence its own.")
    chosen = dict(named)
    verdicts = {series.label: series.guess.reason for series in surveyed.series}
    problems = []
    taken = {series.label for series in named.values()}
    guesses = _guesses(surveyed, verdicts)
    for sequence in Sequence:
        rivals = [
            series
            for series in surveyed.series
            if guesses[series.label].sequence == sequence and series.label not in taken
        ]
        for series in rivals:
            if series.problem is not None:
                verdicts[series.label] += f"; cannot be read: {_within(series.problem)}"
        if sequence in chosen:
            verdicts[chosen[sequence].label] = "named by --series"
            continue
        usable = _without_masks([series for series in rivals if series.geometry is not None], verdicts)
        if usable:
            best, why = _best(usable, guesses)
            if why is None:
                labels = ", ".join(series.label for series in usable)
                problems.append(
                    f"{sequence.value}: series {labels} are equally good; name one, for example --series "
                    f"{sequence.value}={usable[0].label}"
                )
            else:
                chosen[sequence] = best
                verdicts[best.label] += f"; {why}" if why else ""
        else:
            problems += [
                f"{sequence.value}: {_within(series.problem)}" for series in rivals if series.problem is not None
            ][:1]
    _refuse_two_studies(chosen, problems, all_named=len(named) == len(chosen))
    ordered = {sequence: chosen[sequence] for sequence in Sequence if sequence in chosen}
    return Choice(ordered, verdicts, tuple(problems))


def _within(problem: InputError) -> str:
    """A message as a part of another one, which ends with a full stop of its own."""
    return str(problem).removesuffix(".")


def _named(surveyed: Survey, wanted: str) -> Series:
    matches = [series for series in surveyed.series if wanted in (series.label, series.tags.series_uid)]
    if len(matches) != 1:
        known = ", ".join(series.label for series in surveyed.series)
        what = "no series has" if not matches else f"{len(matches)} volumes share"
        raise UsageError(f"--series {wanted}: {what} this number or SeriesInstanceUID. Numbers here: {known}.")
    return matches[0]


def _guesses(surveyed: Survey, verdicts: dict[str, str]) -> dict[str, Guess]:
    """What each series is taken for, seen beside the others.

    Where the header of every MR series names a contrast agent, as scanners write it for a whole examination, it tells
    nothing apart: beside a T1ce that words name, a T1 without a word on contrast agent is T1.
    """
    guesses = {series.label: series.guess for series in surveyed.series}
    by_words = any(guess.sequence == Sequence.T1CE and not guess.agent_by_header for guess in guesses.values())
    if by_words and all(series.tags.contrast_agent for series in surveyed.series if series.tags.modality == "MR"):
        for label, guess in guesses.items():
            if guess.sequence == Sequence.T1CE and guess.agent_by_header:
                guesses[label] = replace(guess, sequence=Sequence.T1, agent_by_header=False)
                verdicts[label] += "; but so it is in all series, and another one is named as with contrast agent"
    return guesses


def _without_masks(candidates: list[Series], verdicts: dict[str, str]) -> list[Series]:
    scans = []
    for series in candidates:
        if two_valued(series.frames, series.tags.transfer_syntax, series.name):
            verdicts[series.label] = "a mask: its pixels have two values"
        else:
            scans.append(series)
    return scans


def _best(usable: list[Series], guesses: Mapping[str, Guess]) -> tuple[Series, str | None]:
    """The preferred series and why; the reason is None where two are equally good, empty where there is no other."""
    ranked = sorted(usable, key=lambda series: _rank(series, guesses[series.label]), reverse=True)
    if len(ranked) == 1:
        return ranked[0], ""
    first, second = (_rank(series, guesses[series.label]) for series in ranked[:2])
    if first == second:
        return ranked[0], None
    reason = next(why for why, mine, other in zip(PREFERENCES, first, second, strict=True) if mine != other)
    return ranked[0], f"{reason} of series {', '.join(series.label for series in usable)}"


PREFERENCES = (
    "named, not told by timing alone,",
    "the one whose words name a contrast agent",
    "the one that covers the head",
    "not reformatted",
    "the sharpest",
    "normalised (NORM in ImageType)",
    "corrected for distortion (DIS3D or DIS2D in ImageType)",
    "the one with the most voxels",
)
"""Why the first of several series is taken, in the order in which they are compared."""


def _rank(series: Series, guess: Guess) -> tuple[int, ...]:
    """One number for each of `PREFERENCES`; more is better."""
    geometry, kind = series.geometry, series.tags.image_type
    if geometry is None:
        return (-9,) * len(PREFERENCES)
    thickest = round(max(geometry.spacing_mm) / SHARPER_MM)
    corrected = 2 * ("DIS3D" in kind) or int("DIS2D" in kind)
    voxels = geometry.shape[0] * geometry.shape[1] * geometry.shape[2]
    extent = [size * mm for size, mm in zip(geometry.shape, geometry.spacing_mm, strict=True)]
    return (
        int(guess.named),
        -int(guess.agent_by_header),
        int(min(extent) >= HEAD_MM),
        -int(guess.reformatted),
        -thickest,
        int("NORM" in kind),
        corrected,
        voxels,
    )


def _refuse_two_studies(chosen: Mapping[Sequence, Series], problems: list[str], *, all_named: bool) -> None:
    studies = {series.tags.study_uid for series in chosen.values()}
    if len(studies) > 1 and not all_named:
        problems.append(
            f"the series chosen come from {len(studies)} examinations (StudyInstanceUID); give one examination, or "
            "name every series"
        )
