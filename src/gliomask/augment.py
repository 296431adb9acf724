"""Augmentation of training patches: a random draw is made first, then applied, so that each can be tested and repeated
alone.
"""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Strength:
    """How far augmentation may go; each value is the largest change, drawn evenly below it. All zero: no augmentation.

    Args:
        flips: mirror each axis with probability one half.
        rotation_degrees: in-plane rotation, either way.
        scaling: relative zoom, 0.15 for 0.85 to 1.15, drawn for each axis.
        gain: relative change of contrast of each sequence.
        offset: shift of each sequence, in standard deviations of the brain.
        gamma: exponent of a monotone contrast curve, as the logarithm.
        bias: height of a smooth multiplicative field across the patch.
        noise: standard deviation of added noise.
        shading: height of a smooth field that is added, standard deviations of the brain.
        reverse: mirror the order of neighbouring slices with probability one half.
        exchange_share: share of patches whose two axes are exchanged.
        warp_share: share of patches that are turned and scaled.
        gamma_share: share of patches with another contrast curve.
        shading_share: share of patches with a field that is added.
        noise_share: share of patches with added noise.
        thick_share: share of patches in which sequences look as if scanned in thick slices, seen from the side.
    """

    flips: bool = True
    rotation_degrees: float = 20.0
    scaling: float = 0.15
    gain: float = 0.15
    offset: float = 0.15
    gamma: float = 0.2
    bias: float = 0.15
    noise: float = 0.1
    shading: float = 0.0
    reverse: bool = False
    exchange_share: float = 0.0
    warp_share: float = 1.0
    gamma_share: float = 1.0
    shading_share: float = 1.0
    noise_share: float = 1.0
    thick_share: float = 0.0


NONE = Strength(flips=False, rotation_degrees=0, scaling=0, gain=0, offset=0, gamma=0, bias=0, noise=0, shading=0)
"""The paper's published code has no augmentation."""


BACKGROUND_ROUNDING = 1e-5
"""Largest distance from the background's value, in standard deviations of the brain, at which a pixel still counts as
background.
"""


def draw_matrix(strength: Strength, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Returns a (2, 2) map from patch offsets to slice offsets, for `sampling.cut_patch`."""
    matrix = np.eye(2)
    if (strength.rotation_degrees or strength.scaling) and _chosen(strength.warp_share, generator):
        angle = np.deg2rad(generator.uniform(-strength.rotation_degrees, strength.rotation_degrees))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag(1 + generator.uniform(-strength.scaling, strength.scaling, 2))
    if strength.flips:
        matrix = matrix @ np.diag(generator.choice([-1.0, 1.0], 2))
    if strength.exchange_share and _chosen(strength.exchange_share, generator):
        matrix = matrix[:, ::-1].copy()
    return matrix


def _chosen(share: float, generator: np.random.Generator) -> bool:
    """True for a share of all patches; certainty takes nothing from the generator, so that recipes without shares draw
    what they always drew.
    """
    return share >= 1 or generator.random() < share


def reverse_slices(
    patch: npt.NDArray[np.float32], strength: Strength, generator: np.random.Generator, slices: int
) -> npt.NDArray[np.float32]:
    """Mirrors a patch along its normal, or not: the lowest slice becomes the highest.

    Args:
        patch: (H, W, slices x C), as `sampling.cut_patch` returns it.
        strength: whether that is wanted at all.
        generator: source of randomness.
        slices: how many slices the channels hold.
    """
    if not strength.reverse or slices == 1 or generator.random() < 0.5:
        return patch
    height, width, depth = patch.shape
    return patch.reshape(height, width, slices, depth // slices)[:, :, ::-1].reshape(patch.shape)


def vary_intensity(
    patch: npt.NDArray[np.float32],
    background: float,
    strength: Strength,
    generator: np.random.Generator,
    slices: int = 1,
) -> npt.NDArray[np.float32]:
    """Changes a patch as another scanner might: contrast curve, gain, offset, fields and noise, for each sequence on
    its own.

    Background keeps its value: a scanner adds nothing where the brain was cut out. Neighbouring slices of a sequence
    change alike, but for noise.

    Args:
        patch: (H, W, slices x C) z-scores, as `sampling.cut_patch` returns them.
        background: their value outside the brain.
        strength: how far to go.
        generator: source of randomness.
        slices: how many slices the channels hold.

    Returns:
        A new (H, W, slices x C) array.
    """
    if not (strength.gain or strength.offset or strength.gamma or strength.bias or strength.noise or strength.shading):
        return patch
    height, width, depth = patch.shape
    channels = depth // slices
    # Work on whole rows of memory: broadcasting over the few sequences of a pixel is several times slower.
    stack = patch.reshape(-1, channels)
    near = np.abs(stack - np.float32(background)) <= BACKGROUND_ROUNDING
    # Interpolated background differs from itself by rounding. A pixel is outside where every sequence is background.
    outside = np.repeat(np.logical_and.reduce([near[:, channel] for channel in range(channels)]), channels).reshape(
        patch.shape
    )

    def each(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Repeats what belongs to the sequences, (..., C), for each slice, (..., slices x C)."""
        return np.tile(values, slices)

    changed = patch
    if _chosen(strength.gamma_share, generator):
        exponent = np.exp(generator.uniform(-strength.gamma, strength.gamma, channels)).astype(np.float32)
        if strength.gamma:
            # a ** b for a > 0, by the two functions that NumPy has for vectors of the processor.
            power = np.exp(each(exponent) * np.log(np.maximum(np.abs(patch), np.float32(1e-12))))
            changed = np.copysign(power, patch)
    gain = (1 + generator.uniform(-strength.gain, strength.gain, channels)).astype(np.float32)
    offset = generator.uniform(-strength.offset, strength.offset, channels).astype(np.float32)
    changed = changed * each(gain)
    if strength.bias or strength.shading == 0:
        changed *= each(_field((height, width, channels), strength.bias, generator, 1.0))
    added = np.broadcast_to(offset, (height, width, channels))
    if strength.shading and _chosen(strength.shading_share, generator):
        added = added + _field((height, width, channels), strength.shading, generator, 0.0)
    changed += each(added)
    if _chosen(strength.noise_share, generator):
        noise = generator.standard_normal(patch.shape, np.float32)
        noise *= np.float32(generator.uniform(0, strength.noise))
        changed += noise
    np.copyto(changed, patch, where=outside)
    return changed


THICKNESS_PIXELS = (2.0, 5.0)
"""Thickness of simulated slices; clinical 2-D sequences have 3 to 6 mm (Ellingson et al., Neuro-Oncology 2015, ask for
at most 4).
"""


def thicken(
    patch: npt.NDArray[np.float32],
    background: float,
    strength: Strength,
    generator: np.random.Generator,
    slices: int = 1,
) -> npt.NDArray[np.float32]:
    """Blurs some sequences along one axis as slices of 2 to 5 pixels, interpolated back, are blurred.

    Background keeps its value.

    Args:
        patch: (H, W, slices x C), as `sampling.cut_patch` returns it.
        background: value outside the brain.
        strength: how often.
        generator: source of randomness.
        slices: how many slices the channels hold.

    Returns:
        A new array of the same shape, or the patch itself where it is not changed.
    """
    if not strength.thick_share or not _chosen(strength.thick_share, generator):
        return patch
    height, width, depth = patch.shape
    channels = depth // slices
    axis, thickness = int(generator.integers(2)), generator.uniform(*THICKNESS_PIXELS)
    blurred = generator.random(channels) < 0.5
    blurred[generator.integers(channels)] = True
    matrix = _slices_and_back((height, width)[axis], thickness, generator.uniform(0, thickness))
    thick = np.tensordot(matrix, patch, (1, axis))
    if axis:
        thick = np.moveaxis(thick, 0, 1)
    inside = np.abs(patch - np.float32(background)) > BACKGROUND_ROUNDING
    return np.where(inside & np.tile(blurred, slices), thick, patch)


def _slices_and_back(length: int, thickness: float, shift: float) -> npt.NDArray[np.float32]:
    """(length, length): means over slices of a thickness, then linear interpolation between the slices' centres."""
    positions = np.arange(length)
    index = ((positions + shift) // thickness).astype(int)
    index -= index[0]
    means = (index[:, None] == np.arange(index[-1] + 1)).astype(float)
    means /= means.sum(axis=0)
    centres = positions @ means
    back = np.stack([np.interp(positions, centres, unit) for unit in np.eye(len(centres))], axis=1)
    matrix: npt.NDArray[np.float32] = (back @ means.T).astype(np.float32)
    return matrix


def drop_sequences(
    patch: npt.NDArray[np.float32],
    background: float,
    subsets: Ordered[tuple[int, ...]],
    sequences: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Blanks some sequences of a patch, so that a network learns to do without them.

    Args:
        patch: (..., slices x C), as `sampling.cut_patch` returns it.
        background: the value that a missing sequence has, in training and in use.
        subsets: which sequences to drop, by their index; one of these at random.
        sequences: C.
        generator: source of randomness.

    Returns:
        A new array of the same shape.
    """
    result = patch.copy()
    for index in subsets[int(generator.integers(len(subsets)))]:
        result[..., index::sequences] = background
    return result


def _field(
    shape: tuple[int, ...], height: float, generator: np.random.Generator, mean: float
) -> npt.NDArray[np.float32]:
    """A plane and a saddle of random tilt about a mean: coils vary slowly over the size of a patch."""
    i = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
    j = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    a, b, c = generator.uniform(-height, height, (3, shape[2])).astype(np.float32)
    field: npt.NDArray[np.float32] = np.float32(mean) + a * i + b * j + c * i * j
    return field
