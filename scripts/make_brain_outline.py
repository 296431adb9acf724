"""Writes the coarse outline of the average brain that `gliomask.preprocess.shape` holds masks against.

    python scripts/make_brain_outline.py        # needs the extra `raw`

From MNI152, laid into the BraTS frame (`gliomask.preprocess.raw.atlas`): 4 mm voxels, axes to the left, to posterior
and up, one bit each.
"""

from pathlib import Path

import numpy as np

from gliomask.preprocess.raw.atlas import ATLAS_SPACING_MM, load_atlas
from gliomask.preprocess.shape import OUTLINE_FILE, OUTLINE_MM

step = round(OUTLINE_MM / ATLAS_SPACING_MM)
outline = load_atlas().brain[step // 2 :: step, step // 2 :: step, step // 2 :: step]
target = Path(__file__).resolve().parents[1] / "src" / "gliomask" / "preprocess" / OUTLINE_FILE
target.write_bytes(np.packbits(outline).tobytes())
print(f"{target.name}: {outline.shape}, {np.count_nonzero(outline) * OUTLINE_MM**3 / 1000:.0f} ml")
