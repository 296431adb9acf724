"""The tumour: where it sits, its core with an enhancing rim, and oedema that spreads along white matter.

Sizes and shares follow the label volumes of 65 labelled training cases (50 high grade, 15 lower grade or without
enhancement).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from gliomask.arrays import LabelMap, Volume
from gliomask.labels import Label
from gliomask.simulate.anatomy import ATLAS_CENTRE, Anatomy, Mass
from gliomask.simulate.atlas import TissueAtlas
from gliomask.simulate.fields import Grid, interpolate, smooth_noise


class Grade(StrEnum):
    """How malignant a tumour is, which decides whether it enhances."""

    HIGH = "high"
    LOW = "low"


# Median, spread of the logarithm, and limits (millilitres): medians 36 and 59 (cores), 59 and 48 (oedema); limits near
# their 5th and 95th percentiles.
CORE_ML = {Grade.HIGH: (33.0, 0.8, 4.0, 75.0), Grade.LOW: (50.0, 0.7, 8.0, 120.0)}
OEDEMA_ML = {Grade.HIGH: (59.0, 0.65, 16.0, 160.0), Grade.LOW: (48.0, 0.65, 19.0, 120.0)}

ENHANCING_SHARE = (0.68, 0.16, 0.35, 0.95)
"""Mean, spread and limits of the enhancing share of a high-grade core: quartiles of the cases 0.55, 0.66, 0.82."""
NO_ENHANCEMENT = 0.45
"""Share of low-grade tumours without any enhancing voxel; the others have up to `LOW_ENHANCING_SHARE`."""
LOW_ENHANCING_SHARE = 0.35

LOWEST_SITE = 62
"""Atlas level (10 mm below the commissures) under which no tumour starts: adults' gliomas lie above the tentorium."""
MIDLINE_MM = 16.0
"""Distance from the midplane within which no tumour starts: that keeps off the brain stem and the third ventricle."""

LOBULATION = ((0.9, 0.26), (0.4, 0.14), (0.15, 0.06))
"""(scale, amplitude) in core radii of the noise that makes a ball irregular."""

EDGE_MM = 0.8
"""Half width of the change from one tissue to the next: partial volume and true blur."""

SPEED = {"white": 1.0, "grey": 0.2, "fluid": 0.03}
"""Relative speed of oedema: it follows fibres and stops at cortex and sulci. Glioma growth models put white over grey
at 5 (Swanson et al., Cell Proliferation 2000, doi:10.1046/j.1365-2184.2000.00177.x)."""
TRAVEL_STEP_MM = 3.0
OEDEMA_EDGE_MM = 2.5


@dataclass(frozen=True)
class TumourPlan:
    """What was drawn for a tumour before it grew.

    Args:
        grade: high or low.
        mass: where it sits, how large it is and how much it pushes.
        oedema_ml: volume of oedema to reach.
        enhancing_share: share of the core that enhances; 0 for none.
    """

    grade: Grade
    mass: Mass
    oedema_ml: float
    enhancing_share: float


@dataclass(frozen=True, eq=False)
class Tumour:
    """Shares of tumour tissue in each voxel, each 0 to 1 and together at most 1: (I, J, K)."""

    necrotic: Volume
    enhancing: Volume
    oedema: Volume

    def label_map(self) -> LabelMap:
        """The label of each voxel: (I, J, K).

        Core where core tissue is the larger part, oedema where all tumour tissue is.
        """
        core = self.necrotic + self.enhancing
        labels = np.where(core + self.oedema > 0.5, np.uint8(Label.OEDEMA), np.uint8(Label.BACKGROUND))
        labels[core > 0.5] = Label.NECROTIC
        labels[(core > 0.5) & (self.enhancing > self.necrotic)] = Label.ENHANCING
        return labels


def draw_plan(
    generator: np.random.Generator, atlas: TissueAtlas, frame: npt.NDArray[np.float32], grid: Grid, grade: Grade
) -> TumourPlan:
    """Draws site, size and kind of a tumour for the brain that `frame`, (3, I, J, K), lays into the grid."""
    radius_mm = (_log_normal(generator, CORE_ML[grade]) * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    centre_mm = _draw_site(generator, atlas, frame, grid)
    if grade is Grade.HIGH:
        mean, spread, low, high = ENHANCING_SHARE
        share = float(np.clip(generator.normal(mean, spread), low, high))
    else:
        share = 0.0 if generator.random() < NO_ENHANCEMENT else float(generator.uniform(0.03, LOW_ENHANCING_SHARE))
    # Low-grade gliomas infiltrate more than they push.
    displaced = float(generator.uniform(0.35, 0.75) if grade is Grade.HIGH else generator.uniform(0.1, 0.4))
    return TumourPlan(grade, Mass(centre_mm, radius_mm, displaced), _log_normal(generator, OEDEMA_ML[grade]), share)


def _log_normal(generator: np.random.Generator, numbers: tuple[float, float, float, float]) -> float:
    median, spread, low, high = numbers
    return float(np.clip(median * np.exp(generator.normal(0, spread)), low, high))


def _draw_site(
    generator: np.random.Generator, atlas: TissueAtlas, frame: npt.NDArray[np.float32], grid: Grid
) -> tuple[float, float, float]:
    """Draws a place in the white matter of the hemispheres, in BraTS voxels."""
    sites = np.argwhere(atlas.white[::3, ::3, ::3] > 0.6) * 3
    sites = sites[(sites[:, 2] >= LOWEST_SITE) & (np.abs(sites[:, 0] - ATLAS_CENTRE[0]) >= MIDLINE_MM)]
    site = sites[generator.integers(len(sites))]
    thin = frame[:, ::2, ::2, ::2]
    distance = sum((thin[a] - np.float32(site[a])) ** 2 for a in range(3))
    nearest = np.unravel_index(int(np.argmin(distance)), thin.shape[1:])
    i, j, k = (o + 2 * s * int(n) for o, s, n in zip(grid.origin, grid.spacing_mm, nearest, strict=True))
    return float(i), float(j), float(k)


def grow_tumour(generator: np.random.Generator, grid: Grid, anatomy: Anatomy, plan: TumourPlan) -> Tumour:
    """Grows a planned tumour in a brain that its mass has already pushed aside."""
    inside_mm = _core_depth(generator, grid, plan.mass)
    solid = np.clip(1 - 1.5 * ndi.gaussian_filter(anatomy.ventricles, 0.7), 0, 1) * anatomy.brain
    core = _rise(inside_mm, EDGE_MM) * solid
    enhancing = core * _enhancement(generator, grid, inside_mm, plan)
    oedema = _oedema(generator, grid, anatomy, core, plan.oedema_ml)
    return Tumour(core - enhancing, enhancing, oedema)


def _core_depth(generator: np.random.Generator, grid: Grid, mass: Mass) -> Volume:
    """Depth below the core's surface in millimetres, negative outside: a ball, stretched, turned and dented."""
    stretch = np.exp(generator.normal(0, 0.15, 3))
    stretch /= np.cbrt(stretch.prod())
    offsets = [
        (axis - np.float32(c)) / np.float32(s)
        for axis, c, s in zip(grid.axes_mm(), mass.centre_mm, stretch, strict=True)
    ]
    depth = 1 - np.sqrt(sum(offset**2 for offset in offsets)) / np.float32(mass.radius_mm)
    for scale, amplitude in LOBULATION:
        depth += np.float32(amplitude) * smooth_noise(generator, grid, max(scale * mass.radius_mm, 2.0))
    return np.asarray(depth * np.float32(mass.radius_mm), np.float32)


def _enhancement(generator: np.random.Generator, grid: Grid, inside_mm: Volume, plan: TumourPlan) -> Volume:
    """Share of the core tissue that enhances: a rim of uneven thickness with gaps, and islands within."""
    if plan.enhancing_share == 0:
        return np.zeros(grid.shape, np.float32)
    # Irregularity and gaps take from the rim what islands give back, so the thickness is that of a smooth ball's shell.
    thickness_mm = plan.mass.radius_mm * (1 - np.cbrt(1 - plan.enhancing_share))
    thickness = np.float32(thickness_mm) * np.exp(np.float32(0.45) * smooth_noise(generator, grid, 14))
    rim_mm = thickness - inside_mm
    if plan.grade is Grade.LOW:
        # What enhances in a lower grade is a nodule or a thin stretch, not a closed rim.
        rim_mm = np.minimum(rim_mm, 6 * (smooth_noise(generator, grid, 22) - np.float32(0.2)))
    else:
        rim_mm = np.minimum(rim_mm, 8 * (smooth_noise(generator, grid, 18) + np.float32(1.7)))
        rim_mm = np.maximum(rim_mm, 5 * (smooth_noise(generator, grid, 9) - np.float32(1.4)))
    return _rise(rim_mm, EDGE_MM)


def _oedema(generator: np.random.Generator, grid: Grid, anatomy: Anatomy, core: Volume, oedema_ml: float) -> Volume:
    """Share of oedema: the tissue that a front from the core reaches first, as much as was asked for."""
    speed = SPEED["white"] * anatomy.white + SPEED["grey"] * anatomy.grey + SPEED["fluid"] * anatomy.fluid
    speed = np.clip(speed * np.exp(np.float32(0.5) * smooth_noise(generator, grid, 16)), 0.01, None)
    arrival_mm = _arrival(speed, core > 0.5, anatomy.brain, grid) + 1.5 * smooth_noise(generator, grid, 4)
    open_to_it = anatomy.brain & (core <= 0.5) & (anatomy.fluid < 0.5)
    times = np.sort(arrival_mm[open_to_it])
    last = times[min(int(oedema_ml * 1000 / grid.voxel_mm3), len(times) - 1)]
    wet = _rise(np.float32(last) - arrival_mm, OEDEMA_EDGE_MM)
    return np.asarray(wet * (1 - anatomy.fluid) * (1 - core) * anatomy.brain, np.float32)


def _arrival(speed: Volume, source: npt.NDArray[np.bool_], brain: npt.NDArray[np.bool_], grid: Grid) -> Volume:
    """Time of a front that starts at `source`, in millimetres of white matter, on a coarser grid and interpolated: (I,
    J, K).

    Shortest paths over the 6 neighbours, relaxed until they settle; the random field on the speed hides the grid's
    preferred directions.
    """
    steps = [max(round(TRAVEL_STEP_MM / spacing), 1) for spacing in grid.spacing_mm]
    thin = tuple(slice(None, None, step) for step in steps)
    cost = np.where(brain[thin], 1 / speed[thin], np.float32(1e4)).astype(np.float32)
    time = np.where(source[thin], np.float32(0), np.float32(1e6))
    for _ in range(400):
        before = time.copy()
        for axis, (step, spacing) in enumerate(zip(steps, grid.spacing_mm, strict=True)):
            ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
            behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
            toll = np.float32(step * spacing / 2) * (cost[ahead] + cost[behind])
            np.minimum(time[ahead], time[behind] + toll, out=time[ahead])
            np.minimum(time[behind], time[ahead] + toll, out=time[behind])
        if np.array_equal(time, before):
            break
    return interpolate(np.clip(time, 0, 1e3), grid, steps)


def _rise(distance_mm: Volume, half_width_mm: float) -> Volume:
    """0 well below, 1 well above distance 0; smooth between."""
    u = np.clip(distance_mm / np.float32(2 * half_width_mm) + np.float32(0.5), 0, 1)
    return np.asarray(u * u * (3 - 2 * u), np.float32)
