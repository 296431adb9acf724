"""DICOM files from anywhere in, an `Examination` in memory out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gliomask.arrays import Volume
from gliomask.errors import CaseError, FileFormatError
from gliomask.examination import Examination, Scan
from gliomask.io.dicom.archive import Source, opened
from gliomask.io.dicom.decoder import decode
from gliomask.io.dicom.describe import Inspection, describe
from gliomask.io.dicom.headers import MR_CLASSES
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.survey import STRUCK_OUT, Choice, Progress, Series, Survey, choose, strike_out, survey
from gliomask.sequences import Sequence


@dataclass(frozen=True, eq=False)
class Reading:
    """An examination, and how its series were chosen.

    Args:
        examination: the scans, in memory.
        inspection: every series with the reason for or against it; names no patient unless that was asked for.
    """

    examination: Examination
    inspection: Inspection


def read_examination(
    source: Source, sequences: Mapping[Sequence, str] | None = None, *, progress: Progress | None = None
) -> Examination:
    """Reads the sequences of one patient at one time point into memory; those of the four that are there.

    Args:
        source: a folder, a zip or one enhanced multi-frame file by its path; the bytes of a zip or of one file; or
            several of a path, bytes, a binary stream or a pydicom data set. What is in memory lies in a temporary
            folder for the time of reading.
        sequences: number or SeriesInstanceUID of the series to take, by sequence; the others are recognised.
        progress: called with the number of headers read so far and the number of files.

    Returns:
        The scans, each (I, J, K) in float32 on its own grid, RAS millimetres; `source` of each is `series` and its
            number.

    Raises:
        CaseError: two patients, two examinations, no sequence recognised, or several series equally good for one.
        FileFormatError: a file is truncated, corrupt or compressed in an unknown way.
        GeometryError: the slices of a series are no even stack.
        LimitError: a zip or folder is too large.
        UsageError: a path does not exist, or `sequences` names no series.
        EngineUnavailableError: pydicom is not installed.
    """
    return read(source, sequences, progress=progress).examination


def read(
    source: Source,
    sequences: Mapping[Sequence, str] | None = None,
    *,
    needed: Iterable[Sequence] = (),
    include_identifiers: bool = False,
    before: Callable[[str, tuple[Sequence, ...]], None] | None = None,
    progress: Progress | None = None,
) -> Reading:
    """Reads as `read_examination` does, and tells how the series were chosen.

    Args:
        source: see `read_examination`.
        sequences: see there.
        needed: sequences without which nothing is read.
        include_identifiers: keep names, numbers and UIDs in the inspection and in the name of the case.
        before: called with the name of the case and the sequences found, before any pixel is read; what it raises stops
            the reading.
        progress: see there.

    Raises:
        InputError: as `read_examination`; CaseError also where a needed sequence is not found.
    """
    with quiet_pydicom():
        # A missing pydicom is told before anything is unpacked.
        pass
    with opened(source) as place:
        surveyed = survey(place, progress)
        choice = choose(surveyed, sequences)
        _refuse_undecided(place.title, surveyed, choice, needed)
        words = (
            frozenset()
            if include_identifiers
            else frozenset().union(*(series.tags.identifiers for series in surveyed.series))
        )
        name = case_name(place.name, words)
        if before is not None:
            before(name, tuple(choice.chosen))
        scans = {sequence: read_scan(series) for sequence, series in choice.chosen.items()}
    return Reading(Examination(name, scans), describe(surveyed, choice, include_identifiers=include_identifiers))


def _refuse_undecided(title: str, surveyed: Survey, choice: Choice, needed: Iterable[Sequence]) -> None:
    how = "Name the series by --series; `gliomask dicom inspect` shows all of them"
    if choice.problems:
        raise CaseError(f"{title}: cannot tell the sequences: {'; '.join(choice.problems)}. {how}.")
    if not choice.chosen:
        raise CaseError(f"{title}: none of {len(surveyed.series)} series is a T1, T1ce, T2 or FLAIR. {how}.")
    missing = [sequence.value for sequence in needed if sequence not in choice.chosen]
    if missing:
        what = f"no series is a {' or a '.join(missing)}, `gliomask dicom inspect` says why"
        raise CaseError(
            f"{title}: {what}. Name the series by --series, or by --without what the patient does not have."
        )


def read_scan(series: Series) -> Scan:
    """Reads the pixels of one series. Raises as `read_examination`."""
    tags = series.tags
    if (
        tags.modality != "MR"
        or tags.sop_class not in MR_CLASSES
        or tags.samples_per_pixel != 1
        or "MOSAIC" in tags.image_type
    ):
        raise CaseError(
            f"{series.name}: cannot be taken for a sequence: {series.guess.reason}. Give an anatomical MR series."
        )
    if series.problem is not None:
        raise series.problem
    if series.geometry is None:
        raise CaseError(f"{series.name} has no grid. Give a series that is one volume.")
    return Scan(_volume(series), series.geometry, series.name)


def case_name(name: str, identifiers: frozenset[str]) -> str:
    """The folder's or archive's name, unless it identifies the patient or holds letters that cannot be shown."""
    return "examination" if STRUCK_OUT in strike_out(name, identifiers) or not name.isprintable() or not name else name


def _volume(series: Series) -> Volume:
    frames = series.frames
    wanted = [(str(frame.path), frame.index) for frame in frames]
    stored = decode(wanted, frames[0].shape, series.tags.transfer_syntax, series.name)
    slopes = np.array([frame.slope for frame in frames])[:, np.newaxis, np.newaxis]
    intercepts = np.array([frame.intercept for frame in frames])[:, np.newaxis, np.newaxis]
    if not (np.isfinite(slopes).all() and np.isfinite(intercepts).all() and (slopes != 0).all()):
        raise FileFormatError(
            f"{series.name}: RescaleSlope or RescaleIntercept is 0 or no number. The header is corrupt."
        )
    stored *= slopes
    stored += intercepts
    return np.ascontiguousarray(stored.transpose(2, 1, 0), np.float32)
