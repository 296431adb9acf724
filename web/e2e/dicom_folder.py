"""Writes a synthetic DICOM examination for the end-to-end test: python dicom_folder.py CASE OUT.

Four series on one grid from the files of a case, a localiser, and a T2 on a grid of its own, as scanners give them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gliomask.geometry import Geometry
from gliomask.io.nifti import read_volume

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from dicom_series import write_series


def described(text: str) -> Callable[[Any, int], None]:
    """Returns what gives every image of a series this description."""
    return lambda dataset, _: setattr(dataset, "SeriesDescription", text)


case, out = map(Path, sys.argv[1:])
for number, sequence in enumerate(("flair", "t1", "t1ce", "t2"), start=2):
    scan = read_volume(case / f"{case.name}_{sequence}.nii.gz")
    write_series(out / f"S{number}", scan.values.astype(np.uint16), scan.geometry, sequence, number)
own = Geometry(scan.geometry.shape, scan.geometry.affine @ np.diag([1.0, 1.0, 1.1, 1.0]))
t2 = scan.values.astype(np.uint16)
write_series(out / "S1", t2, own, "t2", 1, change=described("3-plane localizer"))
write_series(out / "S9", t2, own, "t2", 9, change=described("thick, no words"))
