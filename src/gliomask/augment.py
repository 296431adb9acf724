"""Augmentation of training patches: a random draw is made first, then applied, so that each can be tested and repeated alone."""

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


NONE = Strength(flips=False, rotation_degrees=0, scaling=0, gain=0, offset=0, gamma=0, bias=0, noise=0, shading=0)
"""The paper's published code has no augmentation."""


BACKGROUND_ROUNDING = 1e-5
"""Largest distance from the background's value, in standard deviations of the brain, at which a pixel still counts as background."""


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
    """True for a share of all patches; certainty takes nothing from the generator, so that recipes without shares draw what they always drew."""
    return share >= 1 or generator.random() < share


def reverse_slices(patch: npt.NDArray[np.float32], strength: Strength, generator: np.random.Generator, slices: int) -> npt.NDArray[np.float32]:
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
    patch: npt.NDArray[np.float32], background: float, strength: Strength, generator: np.random.Generator, slices: int = 1
) -> npt.NDArray[np.float32]:
    """Changes a patch as another scanner might: contrast curve, gain, offset, fields and noise, for each sequence on its own.

    Background keeps its value: a scanner adds nothing where the brain was cut out. Neighbouring slices of a sequence change alike, but for noise.

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
    stack = patch.reshape(height, width, slices, depth // slices)
    channels: int = stack.shape[3]
    # Interpolated background differs from itself by rounding.
    inside = (np.abs(stack - np.float32(background)) > BACKGROUND_ROUNDING).any(axis=3, keepdims=True)
    changed = stack
    if _chosen(strength.gamma_share, generator):
        exponent = np.exp(generator.uniform(-strength.gamma, strength.gamma, channels)).astype(np.float32)
        changed = np.sign(stack) * np.abs(stack) ** exponent
    gain = (1 + generator.uniform(-strength.gain, strength.gain, channels)).astype(np.float32)
    offset = generator.uniform(-strength.offset, strength.offset, channels).astype(np.float32)
    changed = changed * gain
    if strength.bias or strength.shading == 0:
        changed = changed * _field((height, width, channels), strength.bias, generator, 1.0)[:, :, None]
    if strength.shading and _chosen(strength.shading_share, generator):
        changed = changed + _field((height, width, channels), strength.shading, generator, 0.0)[:, :, None]
    changed = changed + offset
    if _chosen(strength.noise_share, generator):
        noise = generator.standard_normal(stack.shape, np.float32) * np.float32(generator.uniform(0, strength.noise))
        changed = changed + noise
    return np.where(inside, changed, stack).reshape(patch.shape)


def drop_sequences(
    patch: npt.NDArray[np.float32], background: float, subsets: Ordered[tuple[int, ...]], sequences: int, generator: np.random.Generator
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


def _field(shape: tuple[int, ...], height: float, generator: np.random.Generator, mean: float) -> npt.NDArray[np.float32]:
    """A plane and a saddle of random tilt about a mean: coils vary slowly over the size of a patch."""
    i = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
    j = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    a, b, c = generator.uniform(-height, height, (3, shape[2])).astype(np.float32)
    field: npt.NDArray[np.float32] = np.float32(mean) + a * i + b * j + c * i * j
    return field
