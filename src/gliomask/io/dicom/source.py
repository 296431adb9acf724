"""The series that a label map belongs to: found by its grid, and its headers kept, since what is written refers to them
image by image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.errors import CaseError, FileFormatError, GeometryError
from gliomask.geometry import Geometry
from gliomask.io.dicom.archive import Opened
from gliomask.io.dicom.decoder import AGAIN
from gliomask.io.dicom.drawn_on import DrawnOn
from gliomask.io.dicom.headers import MR_CLASSES, read_dataset
from gliomask.io.dicom.mend import Mended, mend
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.survey import Progress, Series, survey


@dataclass(frozen=True, eq=False)
class SourceImages:
    """One series as written objects refer to it.

    Args:
        series: what is known of it, its frames in the order of the slices.
        datasets: the headers of its files, mended: one for each slice, or one for all.
        left_out: keywords of the source whose value is not valid, and which written objects leave empty or out.
        notes: what else was changed in the headers.
    """

    series: Series
    datasets: tuple[Any, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def multi_frame(self) -> bool:
        """True where one file holds all slices."""
        return len(self.datasets) == 1

    @property
    def geometry(self) -> Geometry:
        """The grid; I along a row, J along a column, K in the order of the frames."""
        if self.series.geometry is None:
            raise GeometryError(f"{self.series.name} has no grid. Give a series that is one volume.")
        return self.series.geometry


def load_source(
    place: Opened, grid: Geometry, number: str | None, drawn_on: DrawnOn | None = None, progress: Progress | None = None
) -> SourceImages:
    """Returns the series of a place that lies in `grid`, whose axes may be permuted and flipped.

    Args:
        place: folder or unpacked zip with the series, and perhaps others.
        grid: of the label map.
        number: number or SeriesInstanceUID that the user names.
        drawn_on: the series that the label map's record names.
        progress: told how many headers have been read, and of how many.

    Raises:
        GeometryError: no series has this grid.
        CaseError: several have it and `number` does not say which, or the record of the label map names another one.
        FileFormatError: the series lacks a frame of reference, or is part of a file.
    """
    surveyed = survey(place, progress)
    candidates = [
        series for series in surveyed.series if series.geometry is not None and series.tags.sop_class in MR_CLASSES
    ]
    if number is not None:
        candidates = [series for series in candidates if number in (series.label, series.tags.series_uid)]
    matching = [series for series in candidates if series.geometry is not None and series.geometry.same_voxels(grid)]
    if not matching:
        grids = "; ".join(f"{series.name}: {series.geometry}" for series in candidates) or "no MR volume was found"
        raise GeometryError(
            f"The label map ({grid}) is in the grid of no series here ({grids}). Resample it to the series' grid first."
        )
    if drawn_on is not None:
        matching = _recorded(matching, drawn_on)
    if len(matching) > 1:
        labels = ", ".join(series.label for series in matching)
        raise CaseError(
            f"Series {labels} all have the grid of the label map. Say which it was drawn on, for example --number "
            f"{matching[0].label}."
        )
    mended = _datasets(matching[0], matching[0].geometry or grid)
    return SourceImages(matching[0], mended.datasets, mended.left_out, mended.notes)


def _recorded(matching: list[Series], drawn_on: DrawnOn) -> list[Series]:
    """Of the series in the label map's grid the one that its record names."""
    recorded = [series for series in matching if drawn_on.is_series(series.label, series.tags.number)]
    if not recorded:
        labels = ", ".join(series.label for series in matching)
        raise CaseError(
            f"{drawn_on.record.name} says that the label map was drawn on series {drawn_on.label} "
            f"({drawn_on.sequence.value}), not on series {labels}, "
            f"though the grids are equal. Give the place that holds series {drawn_on.label}, without --number."
        )
    return recorded


def in_source_order(label_map: LabelMap, grid: Geometry, source: SourceImages) -> LabelMap:
    """Returns a label map, (I, J, K), as (slices, rows, columns) of the source."""
    return np.ascontiguousarray(grid.reorientation_to(source.geometry.orientation).apply(label_map).transpose(2, 1, 0))


def _datasets(series: Series, geometry: Geometry) -> Mended:
    paths = list(dict.fromkeys(frame.path for frame in series.frames))
    try:
        with quiet_pydicom():
            datasets = [read_dataset(path)[0] for path in paths]
            if len(paths) not in (1, len(series.frames)) or int(datasets[0].get("NumberOfFrames") or 1) * len(
                paths
            ) != len(series.frames):
                raise FileFormatError(
                    f"{series.name}: its volume is only a part of its files. Give a series that holds one volume."
                )
            return mend(datasets, geometry, series.name)
    except OSError as error:
        raise FileFormatError(
            f"{series.name}: one of its files cannot be read any more "
            f"({error.strerror or type(error).__name__}). {AGAIN}"
        ) from None
    except (FileFormatError, MemoryError):
        raise
    except Exception as error:
        raise unusable_header(series, error) from None


def unusable_header(series: Series, error: Exception) -> FileFormatError:
    """The refusal for whatever pydicom or highdicom raise over a header.

    Their words quote values, so only the kind of error is told.
    """
    return FileFormatError(
        f"{series.name}: no DICOM object can be made that refers to its headers ({type(error).__name__}). Give the "
        "original export of the scanner."
    )
