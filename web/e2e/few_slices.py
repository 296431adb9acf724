"""Writes the slices of a case that hold most of its tumour: python few_slices.py CASE OUT.

A browser segments them in a quarter of the time of a whole brain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gliomask.geometry import Geometry
from gliomask.io.nifti import read_volume, write_volume

SLICES = 40

case, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
tumour = read_volume(case / f"{case.name}_seg.nii.gz").values > 0
first = int(np.argmax(np.convolve(tumour.sum(axis=(0, 1)), np.ones(SLICES), "valid")))
for sequence in ("flair", "t1", "t1ce", "t2"):
    scan = read_volume(case / f"{case.name}_{sequence}.nii.gz")
    part = np.ascontiguousarray(scan.values[:, :, first : first + SLICES])
    affine = scan.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    write_volume(out / f"{out.name}_{sequence}.nii.gz", part, Geometry(part.shape, affine))
