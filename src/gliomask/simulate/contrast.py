"""How bright each tissue is on each sequence, and what is bright on them besides tumour.

All signals are standard deviations from the mean of the brain. The numbers for tissues are averages over 17 of the
labelled training cases after clipping at percentiles 0.5 and 99.5 and z-scoring over the brain: medians of each tumour
label, and of white and grey matter found by a three-class Gaussian mixture with the atlas as prior; pure fluid from the
extreme percentiles, since its voxels are mostly mixed. They hold no patient's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from gliomask.arrays import Volume
from gliomask.sequences import PAPER_ORDER, Sequence
from gliomask.simulate.anatomy import Anatomy
from gliomask.simulate.fields import Grid, smooth_noise
from gliomask.simulate.tumour import Grade, Tumour


@dataclass(frozen=True)
class Signal:
    """Mean over patients and spread between patients on FLAIR, T1, T1ce and T2, and the texture within a patient."""

    mean: tuple[float, float, float, float]
    spread: tuple[float, float, float, float]
    texture: float


HEALTHY = MappingProxyType(
    {
        "white": Signal((-0.20, 0.96, 0.62, -0.62), (0.18, 0.18, 0.17, 0.15), 0.10),
        "grey": Signal((0.18, -0.29, -0.31, 0.04), (0.20, 0.18, 0.16, 0.18), 0.16),
        "fluid": Signal((-2.3, -2.5, -1.9, 3.2), (0.35, 0.30, 0.30, 0.55), 0.30),
    }
)
TUMOUR = MappingProxyType(
    {
        "necrotic": Signal((2.0, -0.55, -0.65, 1.9), (0.9, 0.40, 0.35, 0.8), 0.45),
        "enhancing": Signal((2.2, 0.15, 2.6, 1.1), (0.7, 0.40, 0.70, 0.5), 0.50),
        "oedema": Signal((2.5, 0.05, -0.17, 1.25), (0.6, 0.35, 0.30, 0.45), 0.30),
    }
)
LOW_GRADE_CORE = Signal((2.4, -0.65, -0.60, 2.5), (0.8, 0.30, 0.25, 0.8), 0.38)
"""The solid non-enhancing core of a lower grade: brighter on T2 than necrosis."""

COMMON_SHARE = 0.5
"""Correlation, between patients, of the signals of tumour tissues on one sequence; 0.3 to 0.7 in the cases."""
SPREAD_LIMIT = 1.6
"""Draws beyond so many spreads are cut: rarer scans would not test more, and order facts such as dark fluid on FLAIR
must hold.
"""

TEXTURE_SCALES_MM = (3.0, 8.0)

DETAIL_GAIN = MappingProxyType({Sequence.FLAIR: -1.5, Sequence.T1: 4.0, Sequence.T1CE: 3.5, Sequence.T2: -2.0})
"""Signal per unit of the atlas's T1 detail: the deep nuclei are bright on T1 and dark on T2."""

Signals = dict[Sequence, Volume]


def tissue_signals(
    generator: np.random.Generator, grid: Grid, anatomy: Anatomy, tumour: Tumour, grade: Grade
) -> Signals:
    """Returns the ideal signal of the brain and its tumour on each sequence: (I, J, K) each."""
    healthy = np.clip(1 - tumour.necrotic - tumour.enhancing - tumour.oedema, 0, 1)
    shares = {name: getattr(anatomy, name) * healthy for name in HEALTHY} | {
        name: getattr(tumour, name) for name in TUMOUR
    }
    kinds = {**HEALTHY, **TUMOUR, "necrotic": LOW_GRADE_CORE if grade is Grade.LOW else TUMOUR["necrotic"]}
    rough = sum(np.float32(kinds[name].texture) * share for name, share in shares.items())
    common = generator.standard_normal(len(PAPER_ORDER))
    means = {name: _draw_means(generator, kind, common if name in TUMOUR else None) for name, kind in kinds.items()}
    patterns = [smooth_noise(generator, grid, scale) for scale in TEXTURE_SCALES_MM]
    signals = {}
    for s, sequence in enumerate(PAPER_ORDER):
        signal = sum(np.float32(means[name][s]) * share for name, share in shares.items())
        own = smooth_noise(generator, grid, TEXTURE_SCALES_MM[0])
        # Sequences share part of their texture: it is tissue that varies, not only signal.
        sign = -1 if sequence in (Sequence.T1, Sequence.T1CE) else 1
        signal += rough * (np.float32(sign * 0.5) * (patterns[0] + patterns[1]) + np.float32(0.7) * own)
        signals[sequence] = signal + np.float32(DETAIL_GAIN[sequence]) * anatomy.detail * healthy
    return signals


def _draw_means(generator: np.random.Generator, kind: Signal, common: npt.NDArray[np.float64] | None) -> list[float]:
    own = generator.standard_normal(len(PAPER_ORDER))
    draw = own if common is None else np.sqrt(COMMON_SHARE) * common + np.sqrt(1 - COMMON_SHARE) * own
    return [
        float(m + s * d)
        for m, s, d in zip(kind.mean, kind.spread, np.clip(draw, -SPREAD_LIMIT, SPREAD_LIMIT), strict=True)
    ]


def add_distractors(
    generator: np.random.Generator, grid: Grid, anatomy: Anatomy, tumour: Tumour, signals: Signals
) -> None:
    """Adds, in place, what a network may mistake for tumour: enhancing vessels, dura and choroid plexus, and bright
    caps round the ventricles.
    """
    healthy = np.clip(1 - 2 * (tumour.necrotic + tumour.enhancing + tumour.oedema), 0, 1) * anatomy.brain
    _add_vessels(generator, grid, anatomy, healthy, signals)
    _add_surface(generator, grid, anatomy, healthy, signals)
    _add_choroid(generator, grid, anatomy, healthy, signals)
    _add_caps(generator, grid, anatomy, healthy, signals)


def _add_vessels(
    generator: np.random.Generator, grid: Grid, anatomy: Anatomy, healthy: Volume, signals: Signals
) -> None:
    # Where two smooth fields are both near zero lie curves: tubes that wind through the sulci.
    first, second = (smooth_noise(generator, grid, 12) for _ in range(2))
    width = np.float32(generator.uniform(0.1, 0.22))
    tube = np.exp(-(first**2 + second**2) / (2 * width**2))
    near_fluid = np.clip(2.5 * ndi.gaussian_filter(anatomy.fluid, 1.5 / np.array(grid.spacing_mm), truncate=2), 0, 1)
    vessels = tube * near_fluid * healthy
    signals[Sequence.T1CE] += np.float32(generator.uniform(2.0, 4.5)) * vessels
    # Flowing blood leaves no signal on spin echoes.
    signals[Sequence.T2] -= np.float32(1.5) * vessels
    signals[Sequence.FLAIR] -= np.float32(0.5) * vessels


def _add_surface(
    generator: np.random.Generator, grid: Grid, anatomy: Anatomy, healthy: Volume, signals: Signals
) -> None:
    """Dura, sinuses and what skull stripping leaves: a dark shell, bright in places after contrast and on T1."""
    shell_mm = generator.uniform(0.8, 2.2)
    shell = np.clip((np.float32(shell_mm) - anatomy.depth_mm) / np.float32(1.0) + 0.5, 0, 1) * healthy
    for sequence in PAPER_ORDER:
        patches = smooth_noise(generator, grid, 12)
        gain = generator.uniform(1.0, 3.5) if sequence is Sequence.T1CE else generator.uniform(0, 2.0)
        bright = np.float32(gain) * np.clip(patches - np.float32(0.9), 0, 1.5)
        dark = np.float32(-generator.uniform(0.6, 1.8))
        signals[sequence] += shell * (dark - np.float32(0.4) * signals[sequence] + bright)
    left, _, up = grid.axes_mm()
    sinus = (
        np.exp(-((left - np.float32(119)) ** 2) / 8)
        * np.clip((up - 60) / 20, 0, 1)
        * np.clip((5 - anatomy.depth_mm) / 2, 0, 1)
        * healthy
    )
    signals[Sequence.T1CE] += np.float32(generator.uniform(1.5, 4.5)) * sinus


def _add_choroid(
    generator: np.random.Generator, grid: Grid, anatomy: Anatomy, healthy: Volume, signals: Signals
) -> None:
    clumps = np.clip(smooth_noise(generator, grid, 7) - np.float32(1.1), 0, 1) * anatomy.ventricles * healthy
    signals[Sequence.T1CE] += np.float32(generator.uniform(3, 8)) * clumps
    signals[Sequence.T1] += np.float32(2.0) * clumps
    signals[Sequence.FLAIR] += np.float32(2.5) * clumps
    signals[Sequence.T2] -= np.float32(1.5) * clumps


def _add_caps(generator: np.random.Generator, grid: Grid, anatomy: Anatomy, healthy: Volume, signals: Signals) -> None:
    """Bright caps and bands along the ventricles and, in some, spots in deep white matter, as in ageing brains."""
    near = ndi.gaussian_filter(anatomy.ventricles, 2.5 / np.array(grid.spacing_mm), truncate=3)
    caps = np.clip(2 * near, 0, 1) * np.clip(0.6 + 0.6 * smooth_noise(generator, grid, 15), 0, 1.5)
    spots = np.clip(smooth_noise(generator, grid, 6) - np.float32(generator.uniform(2.3, 3.5)), 0, 1)
    extent = (np.float32(generator.uniform(0.2, 1.4)) * caps + 2 * spots) * anatomy.white * healthy
    signals[Sequence.FLAIR] += extent
    signals[Sequence.T2] += np.float32(0.6) * extent
    signals[Sequence.T1] -= np.float32(0.3) * extent
    signals[Sequence.T1CE] -= np.float32(0.3) * extent
