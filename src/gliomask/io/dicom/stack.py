"""Frames put in order and their grid: every frame on an even ladder along one normal, or a sentence that says which
rung is missing.

Nothing is interpolated, sheared back or left out: a series with a gap or a tilt is refused by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence as Frames

import numpy as np
import numpy.typing as npt

from gliomask.errors import FileFormatError, GeometryError
from gliomask.geometry import Geometry
from gliomask.io.dicom.headers import Frame
from gliomask.io.nifti import MAX_VOXELS

MIN_SLICES = 3
"""Two slices have a distance but nothing to check it against."""

DIRECTION_TOLERANCE = 1e-3
"""Direction cosines of one volume differ by rounding alone; scanners write four to sixteen digits."""

SPACING_TOLERANCE = 1e-3
"""Relative difference of pixel spacings within a volume."""

RUNG_TOLERANCE = 0.1
"""A slice may lie so far off its rung, as a share of the distance between slices: positions are written with one to six
decimals.
"""

SAME_PLACE_MM = 1e-3
"""Two slices nearer than this lie at one place."""

TILT_TOLERANCE_DEGREES = 0.5
"""Between the way from slice to slice and the normal of the slices. Rounded positions reach 0.1; a gantry tilts by
several degrees.
"""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def in_order(frames: Frames[Frame], name: str) -> tuple[tuple[Frame, ...], Geometry]:
    """Returns the frames sorted along their normal, and the grid: I along a row, J along a column, K from slice to
    slice.

    Args:
        frames: of one series.
        name: how messages call it.

    Raises:
        FileFormatError: a frame lacks its position, directions or spacing.
        GeometryError: too few slices, two sizes, spacings or orientations, several slices at one place, a gap, or a
            tilt.
    """
    _refuse_incomplete(frames, name)
    _refuse_mixed(frames, name)
    directions = np.asarray(frames[0].directions, np.float64).reshape(2, 3)
    normal = np.cross(directions[0], directions[1])
    if not np.allclose(directions @ directions.T, np.eye(2), atol=10 * DIRECTION_TOLERANCE):
        raise GeometryError(
            f"{name}: the directions of its rows and columns are not at right angles (ImageOrientationPatient). The "
            "header is corrupt."
        )
    ordered = tuple(sorted(frames, key=lambda frame: float(np.dot(normal, _position(frame)))))
    _refuse_same_places(ordered, normal, name)
    if len(ordered) < MIN_SLICES:
        raise GeometryError(
            f"{name}: {_slices(len(ordered))}; a volume needs at least {MIN_SLICES}. Give the whole series."
        )
    positions = np.array([_position(frame) for frame in ordered])
    _refuse_uneven(ordered, positions @ normal, name)
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    _refuse_tilt(step, normal, name)
    rows, columns = ordered[0].shape
    between_rows, between_columns = ordered[0].spacing_mm or (0.0, 0.0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = directions[0] * between_columns, directions[1] * between_rows, step
    affine[:3, 3] = positions[0]
    try:
        return ordered, Geometry((columns, rows, len(ordered)), LPS_TO_RAS @ affine)
    except GeometryError as error:
        raise GeometryError(f"{name}: {error}") from error


def _refuse_incomplete(frames: Frames[Frame], name: str) -> None:
    for keyword, field in (
        ("ImagePositionPatient", "position_mm"),
        ("ImageOrientationPatient", "directions"),
        ("PixelSpacing", "spacing_mm"),
    ):
        bad = sum(not _usable(getattr(frame, field)) for frame in frames)
        if bad:
            raise FileFormatError(
                f"{name}: {keyword} is missing or no number in {bad} of {_slices(len(frames))}. Without it no one "
                "knows where they lie."
            )


def _usable(values: tuple[float, ...] | None) -> bool:
    return values is not None and all(map(math.isfinite, values))


def _refuse_mixed(frames: Frames[Frame], name: str) -> None:
    first = frames[0]
    sizes = Counter(frame.shape for frame in frames)
    if len(sizes) > 1:
        raise GeometryError(
            f"{name}: slices of {len(sizes)} sizes ({_sizes(sizes)}). It is no single volume; give the series that is."
        )
    if min(first.shape) < 1 or math.prod(first.shape) * len(frames) > MAX_VOXELS:
        raise GeometryError(
            f"{name}: its header claims {len(frames)} slices of {_sizes(sizes)}; the limit is {MAX_VOXELS:,} voxels. "
            "The header is wrong."
        )
    directions = np.array([frame.directions for frame in frames])
    if np.abs(directions - directions[0]).max() > DIRECTION_TOLERANCE:
        count = len({tuple(np.round(row, 2)) for row in directions})
        raise GeometryError(
            f"{name}: slices of {count} orientations. It is a localiser or several volumes; give each its own series."
        )
    spacing = np.array([frame.spacing_mm for frame in frames])
    if spacing.min() <= 0 or np.abs(spacing / spacing[0] - 1).max() > SPACING_TOLERANCE:
        raise GeometryError(
            f"{name}: its pixel spacings are 0 or differ between slices ({spacing.min():g} to {spacing.max():g} mm). "
            "It is no single volume."
        )


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{columns} x {rows}" for rows, columns in sizes)


def _refuse_same_places(ordered: Frames[Frame], normal: npt.NDArray[np.float64], name: str) -> None:
    heights = np.array([np.dot(normal, _position(frame)) for frame in ordered])
    places = 1 + int((np.diff(heights) > SAME_PLACE_MM).sum())
    if places == len(ordered):
        return
    volumes, rest = divmod(len(ordered), places)
    if places == 1:
        raise GeometryError(f"{name}: all {_slices(len(ordered))} lie at one place. It is no volume.")
    if rest == 0:
        raise GeometryError(
            f"{name}: {volumes} images at each of {places} places: a 4-D series (functional, diffusion, dynamic) or "
            "one sent twice. Give one volume."
        )
    raise GeometryError(
        f"{name}: {_slices(len(ordered))} at {places} places: some are there twice. Remove the duplicates."
    )


def _refuse_uneven(ordered: Frames[Frame], heights: npt.NDArray[np.float64], name: str) -> None:
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    rungs = np.linspace(heights[0], heights[-1], len(heights))
    if (
        np.abs(gaps - usual).max() <= 2 * RUNG_TOLERANCE * usual
        and np.abs(heights - rungs).max() <= RUNG_TOLERANCE * usual
    ):
        return
    odd = int(np.abs(gaps - usual).argmax())
    places = f"between images {ordered[odd].number} and {ordered[odd + 1].number}"
    what = f"slices are missing or unevenly spaced: {gaps[odd]:.2f} mm {places}, {usual:.2f} mm elsewhere"
    raise GeometryError(
        f"{name}: {what}. Send the series again; if the scanner made it so, resample it to even slices first."
    )


def _refuse_tilt(step: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], name: str) -> None:
    degrees = math.degrees(math.atan2(float(np.linalg.norm(np.cross(step, normal))), float(np.dot(step, normal))))
    if degrees > TILT_TOLERANCE_DEGREES:
        how = "Resample it to a straight grid first: dcm2niix does"
        raise GeometryError(
            f"{name}: its slices are stacked {degrees:.1f} degrees off their normal (gantry tilt). {how}."
        )


def _position(frame: Frame) -> npt.NDArray[np.float64]:
    return np.asarray(frame.position_mm, np.float64)


def _slices(count: int) -> str:
    return f"{count} slice{'' if count == 1 else 's'}"
