"""One synthetic patient, in memory: scans and labels from the same forward model."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gliomask.arrays import LabelMap, Volume
from gliomask.case import Case
from gliomask.errors import UsageError
from gliomask.geometry import Geometry
from gliomask.sequences import PAPER_ORDER
from gliomask.simulate.anatomy import anatomy_of, brain_of, draw_frame, push_aside
from gliomask.simulate.artefacts import scan
from gliomask.simulate.atlas import load_atlas
from gliomask.simulate.contrast import add_distractors, tissue_signals
from gliomask.simulate.fields import BRATS_GEOMETRY, FULL_GRID, SMALL_GRID, Grid
from gliomask.simulate.tumour import Grade, draw_plan, grow_tumour

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T", bound=np.generic)


class Size(StrEnum):
    """Which grid a patient is made on."""

    FULL = "full"
    SMALL = "small"


def simulate_case(
    generator: np.random.Generator,
    case_id: str = "SIM_0000",
    grade: Grade | str = Grade.HIGH,
    size: Size | str = Size.FULL,
) -> tuple[Case, LabelMap]:
    """Returns one synthetic patient: four sequences and the label map that belongs to them.

    Args:
        generator: source of all randomness; the same state gives the same patient.
        case_id: the name of the case.
        grade: `high` (a rim that enhances) or `low` (little or no enhancement).
        size: `full` is the BraTS grid, 240 x 240 x 155 at 1 mm; `small` is 64 x 72 x 40 at 2.5 x 2.5 x 3.75 mm, for
            tests.

    Returns:
        A case whose intensities are positive whole numbers in the brain and exactly 0 outside, and a label map, (I, J,
            K), with the values of
        `labels.Label`; tumour lies inside the brain.

    Raises:
        UsageError: there is no such grade or size.
        EngineUnavailableError: the extra `simulate` is not installed.

    Examples:
        >>> case, label_map = simulate_case(np.random.default_rng(7), size="small")
        >>> case.geometry.shape
        (64, 72, 40)
    """
    grade, size = member(Grade, grade, "grade"), member(Size, size, "size")
    grid, geometry = (FULL_GRID, BRATS_GEOMETRY) if size is Size.FULL else (SMALL_GRID, _small_geometry())
    signals, label_map = _simulate(generator, grid, grade)
    if size is Size.FULL:
        signals = [_paste(signal, grid, geometry) for signal in signals]
        label_map = _paste(label_map, grid, geometry)
    return Case(case_id, dict(zip(PAPER_ORDER, signals, strict=True)), geometry), label_map


def _simulate(generator: np.random.Generator, grid: Grid, grade: Grade) -> tuple[list[Volume], LabelMap]:
    atlas = load_atlas()
    frame = draw_frame(generator, grid)
    brain = brain_of(generator, grid, atlas, frame)
    plan = draw_plan(generator, atlas, frame, grid, grade)
    anatomy = anatomy_of(generator, grid, atlas, push_aside(frame, grid, plan.mass), brain)
    tumour = grow_tumour(generator, grid, anatomy, plan)
    signals = tissue_signals(generator, grid, anatomy, tumour, grade)
    add_distractors(generator, grid, anatomy, tumour, signals)
    return [scan(generator, grid, signals[sequence], brain) for sequence in PAPER_ORDER], tumour.label_map()


def member(kind: type[E], value: str, what: str, *more: str) -> E:
    """Returns the member of an enumeration with that value.

    Args:
        kind: the enumeration.
        value: as typed.
        what: what it is called in the message.
        more: other values to name in the message.

    Raises:
        UsageError: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"There is no {what} '{value}'. Known ones: {', '.join([*kind, *more])}.") from None


def _small_geometry() -> Geometry:
    first = BRATS_GEOMETRY.affine @ np.array([*SMALL_GRID.origin, 1.0])
    affine = BRATS_GEOMETRY.affine @ np.diag([*SMALL_GRID.spacing_mm, 1.0])
    affine[:, 3] = first
    return Geometry(SMALL_GRID.shape, affine)


def _paste(values: npt.NDArray[T], grid: Grid, geometry: Geometry) -> npt.NDArray[T]:
    """Puts the computed box into the whole grid; the rest is 0."""
    result = np.zeros(geometry.shape, values.dtype)
    box = tuple(slice(int(o), int(o) + n) for o, n in zip(grid.origin, grid.shape, strict=True))
    result[box] = values
    return result
