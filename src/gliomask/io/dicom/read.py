"""A folder or zip of DICOM files in, an `Examination` out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gliomask.arrays import Volume
from gliomask.errors import CaseError, FileFormatError
from gliomask.examination import Examination, Scan
from gliomask.io.dicom.archive import opened
from gliomask.io.dicom.decoder import decode
from gliomask.io.dicom.headers import MR_CLASSES
from gliomask.io.dicom.survey import STRUCK_OUT, Series, choose, strike_out, survey
from gliomask.sequences import Sequence


def read_examination(place: Path, overrides: Mapping[Sequence, str] | None = None) -> Examination:
    """Reads the sequences of one patient at one time point; those of the four that are there.

    Args:
        place: a folder or a zip of DICOM files, or one enhanced multi-frame file.
        overrides: number or SeriesInstanceUID of the series to take, by sequence.

    Raises:
        CaseError: two patients, two examinations, no sequence recognised, or several series equally good for one.
        FileFormatError: a file is truncated, corrupt or compressed in an unknown way.
        GeometryError: the slices of a series are no even stack.
        LimitError: a zip or folder is too large.
        UsageError: `place` does not exist, or an override names no series.
    """
    with opened(place) as folder:
        found = survey(folder)
        choice = choose(found, overrides)
        if choice.problems:
            raise CaseError(f"{place}: cannot tell the sequences: {'; '.join(choice.problems)}. `gliomask dicom inspect` shows every series.")
        if not choice.chosen:
            raise CaseError(
                f"{place}: none of {len(found.series)} series is a T1, T1ce, T2 or FLAIR. `gliomask dicom inspect` says why; name them by --series."
            )
        words = frozenset().union(*(series.tags.identifiers for series in found.series))
        scans = {sequence: read_scan(series) for sequence, series in choice.chosen.items()}
    return Examination(case_name(place, words), scans)


def read_scan(series: Series) -> Scan:
    """Reads the pixels of one series. Raises as `read_examination`."""
    tags = series.tags
    if tags.modality != "MR" or tags.sop_class not in MR_CLASSES or tags.samples_per_pixel != 1 or "MOSAIC" in tags.image_type:
        raise CaseError(f"{series.name}: cannot be taken for a sequence: {series.guess.reason}. Give an anatomical MR series.")
    if series.problem is not None:
        raise series.problem
    if series.geometry is None:
        raise CaseError(f"{series.name} has no grid. Give a series that is one volume.")
    return Scan(_volume(series), series.geometry, series.name, series.tags.series_uid)


def case_name(place: Path, identifiers: frozenset[str]) -> str:
    """The folder's or archive's name, unless it holds words that identify the patient, or letters that cannot be shown."""
    name = place.resolve().name
    name = name[:-4] if name.lower().endswith(".zip") else name
    return "examination" if STRUCK_OUT in strike_out(name, identifiers) or not name.isprintable() or not name else name


def _volume(series: Series) -> Volume:
    frames = series.frames
    wanted = [(str(frame.path), frame.index) for frame in frames]
    stored = decode(wanted, frames[0].shape, series.tags.transfer_syntax, series.name)
    slopes = np.array([frame.slope for frame in frames])[:, np.newaxis, np.newaxis]
    intercepts = np.array([frame.intercept for frame in frames])[:, np.newaxis, np.newaxis]
    if not (np.isfinite(slopes).all() and np.isfinite(intercepts).all() and (slopes != 0).all()):
        raise FileFormatError(f"{series.name}: RescaleSlope or RescaleIntercept is 0 or no number. The header is corrupt.")
    stored *= slopes
    stored += intercepts
    return np.ascontiguousarray(stored.transpose(2, 1, 0), np.float32)
