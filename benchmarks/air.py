"""What becomes of a case whose air is not exactly 0: volumes, and Dice with the result of the untouched case.

    python benchmarks/air.py --case FOLDER/BraTS2021_00000

Needs the extra `raw` for SimpleITK's B-splines. The result table is printed, tab-separated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi
import SimpleITK as sitk  # noqa: N813

from gliomask.arrays import Volume
from gliomask.case import Case
from gliomask.io.brats import find_cases, read_case
from gliomask.labels import Region
from gliomask.segmentation import Options, Segmenter
from gliomask.sequences import Sequence

SHIFT_MM = (0.3, 0.2, 0.1)
SCALP_MM = 18.0


def splined(volume: Volume) -> Volume:
    """Laid on the same grid again, a part of a voxel off, by cubic B-splines."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    moved = sitk.Resample(image, image, sitk.TranslationTransform(3, SHIFT_MM), sitk.sitkBSpline, 0.0)
    return np.ascontiguousarray(sitk.GetArrayFromImage(moved).transpose(2, 1, 0))


def rounded(volume: Volume) -> Volume:
    return np.rint(splined(volume))


def rounded_from_zero(volume: Volume) -> Volume:
    return np.maximum(rounded(volume), 0)


def forms(case: Case) -> dict[str, Callable[[], Mapping[Sequence, Volume]]]:
    """Returns the case's volumes as they are and with their air spoiled, by the name of what was done."""
    brain, generator = case.brain_mask, np.random.default_rng(0)

    def changed(change: Callable[[Volume], Volume], *sequences: Sequence) -> Callable[[], Mapping[Sequence, Volume]]:
        chosen = sequences or tuple(case.volumes)
        return lambda: {
            sequence: change(volume) if sequence in chosen else volume for sequence, volume in case.volumes.items()
        }

    def z_scored(air: float) -> Callable[[Volume], Volume]:
        def change(volume: Volume) -> Volume:
            inside, result = volume[brain], np.full(volume.shape, air, np.float32)
            result[brain] = (inside - inside.mean()) / inside.std()
            return result

        return change

    def with_noise(level: float) -> Callable[[Volume], Volume]:
        return lambda volume: (volume + np.abs(generator.normal(0, level, volume.shape))).astype(np.float32)

    def with_scalp(volume: Volume) -> Volume:
        away = ndi.distance_transform_edt(~brain)
        level = volume[brain].mean() * (1 + 0.2 * np.sin(away))
        return with_noise(0.02 * float(volume[brain].mean()))(np.where((away > 0) & (away < SCALP_MM), level, volume))

    one = Sequence.T2
    return {
        "as it is": lambda: case.volumes,
        "T2 by B-splines": changed(splined, one),
        "T2 by B-splines, rounded": changed(rounded, one),
        "T2 by B-splines, rounded, nothing below 0": changed(rounded_from_zero, one),
        "T1ce and T2 by B-splines": changed(splined, one, Sequence.T1CE),
        "all by B-splines": changed(splined),
        "all by B-splines, rounded, nothing below 0": changed(rounded_from_zero),
        "noise of 1e-4 in the air of all": changed(
            lambda volume: np.where(brain, volume, 1e-4 * generator.random(volume.shape)).astype(np.float32)
        ),
        "1e-8 added everywhere": changed(lambda volume: volume + np.float32(1e-8)),
        "all z-scored, air 0": changed(z_scored(0.0)),
        "all z-scored, air -3.8": changed(z_scored(-3.8)),
        "T2 z-scored, air -3.8": changed(z_scored(-3.8), one),
        "air NaN in all": changed(lambda volume: np.where(volume == 0, np.float32(np.nan), volume)),
        "T2 with noise": changed(with_noise(60.0), one),
        "T1 with a head of fluid and scalp": changed(with_scalp, Sequence.T1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, required=True)
    options = parser.parse_args()
    case = read_case(find_cases(options.case)[0])
    print(
        "\t".join(
            (
                "form",
                "mask_ml",
                *(f"{region.name}_ml" for region in Region),
                *(f"{region.name}_dice" for region in Region),
                "flags",
            )
        )
    )
    base = None
    with Segmenter(Options()) as segmenter:
        for name, volumes in forms(case).items():
            result = segmenter.run(replace(case, volumes=volumes()))
            base = result.label_map if base is None else base
            found = [(region.mask(result.label_map), region.mask(base)) for region in Region]
            volumes_ml = [f"{np.count_nonzero(mask) * case.geometry.voxel_ml:.1f}" for mask, _ in found]
            dice = [
                f"{2 * np.count_nonzero(mask & right) / (np.count_nonzero(mask) + np.count_nonzero(right)):.3f}"
                for mask, right in found
            ]
            mask_ml = f"{np.count_nonzero(result.case.brain_mask) * case.geometry.voxel_ml:.1f}"
            print(
                "\t".join((name, mask_ml, *volumes_ml, *dice, " ".join(flag.name for flag in result.flags))), flush=True
            )


if __name__ == "__main__":
    main()
