"""Synthetic patients whose tumour hardly enhances, made of real ones whose tumour does.

Such patients, most of them with low-grade glioma, are the fewest in the data, and a core that does not enhance is what
networks miss most. Here the contrast agent is taken back out of a tumour: T1ce becomes what T1 lets expect of it, and
what was enhancing is labelled as core that does not enhance. The idea and its numbers are ours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomask.labels import Label
from gliomask.sampling import SliceStack

RIM_PIXELS = 2
"""How far beyond its label enhancement is taken out, pixels: an outline halves the slope of a bright rim."""

EDGE_SIGMA = 1.0
"""Width of the passage from changed to unchanged voxels, voxels."""

TEXTURE_SIGMA = 0.7
"""T1 is smoothed by this and noise as smooth as that is added, voxels: a T1ce that repeats T1 to the last grain would
give the change away.
"""

GRAIN_SIGMA = 1.5
"""Grain is what is left when this wide a Gaussian is taken away, voxels."""

LARGEST_NODULE = 12.0
"""Largest radius of the part that goes on enhancing, voxels. Most tumours of the kind in question have some millilitres
that do.
"""


def without_enhancement(stack: SliceStack, t1: int, t1ce: int, generator: np.random.Generator) -> SliceStack | None:
    """Returns the patient with most of the enhancement gone; None if the tumour does not enhance anyway, or nothing
    else is there.

    Args:
        stack: the patient.
        t1: channel of T1.
        t1ce: channel of T1ce.
        generator: source of randomness: which part goes on enhancing, and the noise.

    Returns:
        A stack on the same grid with another T1ce and other labels; `centres` are those of `stack`, so that a pixel can
            be drawn from either.
    """
    enhancing = stack.labels == Label.ENHANCING
    brain = (stack.slices != np.float16(stack.background)).any(axis=-1)
    unenhanced = brain & ~enhancing
    if not enhancing.any() or not unenhanced.any():
        return None
    gone = enhancing & ~_nodule(enhancing, generator)
    channels = stack.slices.astype(np.float32)
    plain = _expected(channels[..., t1], channels[..., t1ce], unenhanced, stack.labels == Label.OEDEMA, generator)
    weight = ndimage.gaussian_filter(
        ndimage.binary_dilation(gone, iterations=RIM_PIXELS).astype(np.float32), EDGE_SIGMA
    )
    weight[(enhancing & ~gone) | ~brain] = 0
    slices = stack.slices.copy()
    slices[..., t1ce] -= (weight * np.maximum(channels[..., t1ce] - plain, 0)).astype(np.float16)
    return replace(stack, slices=slices, labels=np.where(gone, np.uint8(Label.NECROTIC), stack.labels))


def _nodule(enhancing: npt.NDArray[np.bool_], generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A ball of random radius, which may be next to nothing, about a random enhancing voxel."""
    voxels = np.argwhere(enhancing)
    centre = voxels[generator.integers(len(voxels))]
    k, i, j = np.ogrid[tuple(slice(length) for length in enhancing.shape)]
    squared = (k - centre[0]) ** 2 + (i - centre[1]) ** 2 + (j - centre[2]) ** 2
    inside: npt.NDArray[np.bool_] = squared < generator.uniform(0, LARGEST_NODULE) ** 2
    return inside


def _expected(
    t1: npt.NDArray[np.float32],
    t1ce: npt.NDArray[np.float32],
    unenhanced: npt.NDArray[np.bool_],
    oedema: npt.NDArray[np.bool_],
    generator: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """T1ce as T1 lets expect it: a straight line through the voxels that do not enhance, as grainy as T1ce is in the
    oedema.
    """
    slope, offset = np.polyfit(t1[unenhanced], t1ce[unenhanced], 1)
    expected: npt.NDArray[np.float32] = slope * ndimage.gaussian_filter(t1, TEXTURE_SIGMA) + offset
    if oedema.any():
        expected += np.median((t1ce - expected)[oedema])
        lacking = _grain(t1ce, oedema) ** 2 - _grain(expected, oedema) ** 2
        noise = ndimage.gaussian_filter(generator.standard_normal(t1.shape, np.float32), TEXTURE_SIGMA)
        expected += noise * (np.sqrt(max(lacking, 0.0)) / _grain(noise, oedema))
    return expected.astype(np.float32)


def _grain(volume: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> float:
    """Spread of what is finer than `GRAIN_SIGMA` within slices; by the median, since a few edges would otherwise decide
    it.
    """
    fine = volume - ndimage.gaussian_filter(volume, (0, GRAIN_SIGMA, GRAIN_SIGMA))
    return float(np.median(np.abs(fine[where])))
