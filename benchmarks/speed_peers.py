"""The networks of others, with random weights, on the brain's box: run by `benchmarks/speed.py` in an environment of
its own (torch, monai, dynamic_network_architectures): `python benchmarks/speed_peers.py NAME SHAPE-AS-JSON THREADS
REPEATS`. Prints one line of JSON.

SegResNet as MONAI's model zoo configures it for BraTS (brats_mri_segmentation: 16 filters, blocks 1 2 2 4 and 1 1 1,
dropout .2), its roi of 240 x 240 x 160 cut to the brain's box, so one window. PlainConvUNet as nnU-Net v2 plans it for
BraTS in 3d_fullres (32 to 320 features, six stages, instance normalisation, leaky ReLU, patch 128 x 128 x 128, step .5,
no mirroring).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import product
from typing import Any

import numpy as np
import torch


def segresnet() -> Any:
    from monai.networks.nets import SegResNet

    return SegResNet(
        blocks_down=[1, 2, 2, 4], blocks_up=[1, 1, 1], init_filters=16, in_channels=4, out_channels=3, dropout_prob=0.2
    )


def plain_conv_unet() -> Any:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        input_channels=4,
        n_stages=6,
        features_per_stage=(32, 64, 128, 256, 320, 320),
        conv_op=torch.nn.Conv3d,
        kernel_sizes=3,
        strides=(1, 2, 2, 2, 2, 2),
        n_conv_per_stage=2,
        num_classes=3,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def whole_box(model: Any, volume: torch.Tensor) -> None:
    sides = [-(-side // 8) * 8 for side in volume.shape[2:]]
    padded = torch.zeros(1, 4, *sides)
    padded[..., : volume.shape[2], : volume.shape[3], : volume.shape[4]] = volume
    model(padded)


def windows(model: Any, volume: torch.Tensor, patch: tuple[int, int, int] = (128, 128, 128), step: float = 0.5) -> None:
    """As nnU-Net's predictor: windows of one size, at most half a window apart, spread evenly, weighted by a
    Gaussian.
    """
    sides = [max(side, length) for side, length in zip(patch, volume.shape[2:], strict=True)]
    padded = torch.zeros(1, 4, *sides)
    padded[..., : volume.shape[2], : volume.shape[3], : volume.shape[4]] = volume
    starts = []
    for side, length in zip(patch, sides, strict=True):
        count = int(np.ceil((length - side) / (side * step))) + 1
        starts.append([round(n * (length - side) / max(count - 1, 1)) for n in range(count)])
    total, weight = torch.zeros(3, *sides), torch.zeros(sides)
    # nnU-Net's: a standard deviation of an eighth of the patch.
    bells = [torch.exp(-0.5 * ((torch.arange(side) - (side - 1) / 2) / (side / 8)) ** 2) for side in patch]
    gaussian = bells[0][:, None, None] * bells[1][None, :, None] * bells[2][None, None, :]
    for i, j, k in product(*starts):
        box = (slice(i, i + patch[0]), slice(j, j + patch[1]), slice(k, k + patch[2]))
        total[(slice(None), *box)] += model(padded[(slice(None), slice(None), *box)])[0] * gaussian
        weight[box] += gaussian


def main() -> None:
    """Times one network."""
    name, shape, threads, repeats = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    model = {"segresnet": segresnet, "plainconvunet": plain_conv_unet}[name]().eval()
    run = whole_box if name == "segresnet" else windows
    volume, seconds = torch.randn(1, 4, *shape), []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.perf_counter()
            run(model, volume)
            seconds.append(round(time.perf_counter() - start, 3))
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
