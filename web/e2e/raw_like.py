"""Writes a case on a grid as scanners have: python raw_like.py CASE OUT.

Every third slice of a cropped case, its axes in another order, turned by eight degrees about left to right; no
interpolation, so nothing but the grid differs from the case.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gliomask.geometry import Geometry
from gliomask.io.nifti import read_volume, write_volume

STEP, START, DEGREES = 3, (20, 20, 1), 8

case, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
cos, sin = np.cos(np.radians(DEGREES)), np.sin(np.radians(DEGREES))
turn = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1.0]])
for sequence in ("flair", "t1", "t1ce", "t2"):
    scan = read_volume(case / f"{case.name}_{sequence}.nii.gz")
    thinned = scan.values[START[0] : -START[0], START[1] : -START[1], START[2] :: STEP]
    # From (i, j, k) to (j, k backwards, i).
    laid = np.ascontiguousarray(thinned.transpose(1, 2, 0)[:, ::-1])
    first = [*START[:2], START[2] + STEP * (thinned.shape[2] - 1)]
    steps = np.array([[0, 0, 1, first[0]], [1, 0, 0, first[1]], [0, -STEP, 0, first[2]], [0, 0, 0, 1.0]])
    write_volume(out / f"{out.name}_{sequence}.nii.gz", laid, Geometry(laid.shape, turn @ scan.geometry.affine @ steps))
