"""Carrying images and masks along: from one space of a finished case to another, through the transforms that the case's
results hold.

A case has these spaces: each of its sequences as scanned, `brats` (BraTS space) and `mni152` (ICBM 152 nonlinear
symmetric 2009a, by an affine map from the frame: good for showing patients together, not for measuring). A prepared
case's sequences lie in BraTS space already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gliomask.arrays import Affine, Volume
from gliomask.errors import CaseError, FileFormatError, GeometryError, UsageError
from gliomask.files.regular import read_text
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.atlas import BRATS_FRAME, FRAME_TO_MNI
from gliomask.preprocess.raw.back import filled
from gliomask.preprocess.raw.deface import FacePlane, face_plane
from gliomask.preprocess.raw.transforms import LPS, inverse
from gliomask.results.layout import FRAME, CaseLayout
from gliomask.results.record import RunRecord, read_record
from gliomask.sequences import PAPER_ORDER, Sequence

MNI = "mni152"
SPACES = (FRAME, MNI, *(sequence.value for sequence in PAPER_ORDER))

MNI_GRID = Geometry((197, 233, 189), np.array([[1.0, 0, 0, -98], [0, 1.0, 0, -134], [0, 0, 1.0, -72], [0, 0, 0, 1]]))
"""The template's own grid at 1 mm (McConnell BIC, ICBM 2009a Nonlinear Symmetric)."""

MAX_TRANSFORM_BYTES = 1 << 16
MOST_LABELS = 64
"""Different values of a mask or label map; more is an image."""

RUN_RECORD = "_run.json"


@dataclass(frozen=True)
class CaseSpaces:
    """The spaces of a finished case.

    Args:
        case: its id.
        matrices: the frame's world to each space's, RAS millimetres.
        grids: of each space whose grid is known.
    """

    case: str
    matrices: Mapping[str, Affine]
    grids: Mapping[str, Geometry]

    def matrix(self, source: str, target: str) -> Affine:
        """Returns the target's world to the source's.

        Raises:
            UsageError: the case has no such space.
        """
        for space in (source, target):
            if space not in self.matrices:
                raise UsageError(f"Case {self.case} has no space '{space}'. It has: {', '.join(self.matrices)}.")
        if source == target:
            # Exactly: a voxel's value stays what it was.
            return np.eye(4)
        return np.asarray(self.matrices[source] @ inverse(self.matrices[target]), np.float64)

    def grid(self, space: str) -> Geometry:
        """Returns the grid of a space.

        Raises:
            CaseError: the scan whose grid it is is gone.
        """
        if space not in self.grids:
            raise CaseError(
                f"Case {self.case}: the scan of {space} is not where its run record says, so its grid is not known. "
                "Put it back, or give --like."
            )
        return self.grids[space]


def read_spaces(record_path: Path) -> CaseSpaces:
    """Reads the spaces of a case.

    Args:
        record_path: its run record, `CASE_run.json`; the transforms lie beside it.

    Raises:
        UsageError: there is no such file.
        FileFormatError: it is no run record, or a transform is damaged.
    """
    record, layout = _recorded(record_path)
    matrices: dict[str, Affine] = {FRAME: np.eye(4), MNI: FRAME_TO_MNI}
    for sequence in PAPER_ORDER:
        if sequence in record.sequences:
            matrices[sequence.value] = (
                np.eye(4) if record.raw_route is None else read_transform(layout.transform(sequence))
            )
    return CaseSpaces(record.case, matrices, {FRAME: BRATS_FRAME, MNI: MNI_GRID} | _grids(record.sequences, layout))


def read_face(record_path: Path) -> FacePlane:
    """Returns what parts the face from the rest of the head of a finished case, in BraTS space.

    Args:
        record_path: its run record; the brain mask in BraTS space lies beside it.

    Raises:
        UsageError: there is no such file, the brain mask is gone, or the skull of the scans was off, so that there is
            no face.
        FileFormatError: it is no run record, or the mask cannot be read.
        QualityError: the mask is empty.
    """
    record, layout = _recorded(record_path)
    if record.raw_route is None:
        raise UsageError(
            f"{record_path}: the skull of this case's scans was off when they came, so there is no face to take off."
        )
    if not layout.mask_in(FRAME).is_file():
        raise UsageError(f"{layout.mask_in(FRAME)}: the brain mask is gone, and --deface needs it. Segment again.")
    mask = nifti.read_volume(layout.mask_in(FRAME))
    return face_plane(mask.values > 0, mask.geometry)


def _recorded(record_path: Path) -> tuple[RunRecord, CaseLayout]:
    """The record of a finished case, and where its results lie."""
    record = read_record(record_path)
    if record is None:
        raise UsageError(f"{record_path}: does not exist. Give the run record of a finished case (CASE{RUN_RECORD}).")
    return record, CaseLayout(record_path.with_name(record_path.name.removesuffix(RUN_RECORD) + "_seg.nii.gz"))


def _grids(sequences: Mapping[Sequence, str], layout: CaseLayout) -> dict[str, Geometry]:
    grids = {}
    for sequence, path in sequences.items():
        place = next((place for place in (Path(path), layout.mask_in(sequence.value)) if place.is_file()), None)
        if place is not None:
            grids[sequence.value] = nifti.read_volume(place).geometry
    return grids


def read_transform(path: Path) -> Affine:
    """Reads an affine ITK transform as gliomask writes it; returns it in RAS millimetres.

    Raises:
        FileFormatError: it cannot be read, or is another kind of transform.
    """
    text = read_text(path, MAX_TRANSFORM_BYTES, "a transform")
    parameters = re.search(r"^Parameters:(.*)$", text, re.MULTILINE)
    fixed = re.search(r"^FixedParameters:(.*)$", text, re.MULTILINE)
    try:
        numbers = [float(word) for word in parameters.group(1).split()] if parameters else []
        centre = [float(word) for word in fixed.group(1).split()] if fixed else []
    except ValueError:
        numbers = []
    if (
        "Transform: AffineTransform_double_3_3" not in text
        or len(numbers) != 12
        or any(centre)
        or not np.isfinite(numbers).all()
    ):
        raise FileFormatError(f"{path}: is no affine transform as gliomask writes it. Segment the case again.")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.reshape(numbers[:9], (3, 3)), numbers[9:]
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise FileFormatError(f"{path}: the transform has no way back. Segment the case again.")
    return np.asarray(LPS @ matrix @ LPS, np.float64)


def carry(values: Volume, grid: Geometry, target: Geometry, matrix: Affine, *, labels: bool) -> Volume:
    """Returns an image or a mask on another grid.

    Args:
        values: (I, J, K) on `grid`.
        grid: its grid.
        target: the grid of the result.
        matrix: the target's world to the image's.
        labels: whole numbers that stand for things: a voxel takes the one that fills most of it. Otherwise linear
            between voxels, 0 outside.

    Raises:
        GeometryError: it has more than three axes.
        UsageError: labels were said, and there are more than `MOST_LABELS` values, or some are no whole numbers from 0
            to 255.
        EngineUnavailableError: SimpleITK is not installed (extra `raw`).
    """
    if values.ndim != 3:
        raise GeometryError(f"An image of three axes is needed; found the shape {values.shape}.")
    if not labels:
        return itk.resample(values, grid, target, matrix)
    numbers = np.unique(values)
    if len(numbers) > MOST_LABELS or not np.isin(numbers, np.arange(256)).all():
        raise UsageError(
            f"A mask or label map holds few whole numbers from 0 to 255; found {len(numbers)} values. Leave --labels "
            "out for an image."
        )
    best = np.zeros(target.shape, np.float32)
    inner = [number for number in numbers if number]
    shares = [filled(values == number, grid, target, matrix) for number in inner]
    if shares:
        background = np.float32(1) - np.sum(shares, axis=0, dtype=np.float32)
        share = background
        for number, part in zip(inner, shares, strict=True):
            more = part > share
            best[more], share = number, np.maximum(share, part)
    return best
