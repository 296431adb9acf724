"""Makes the sample that travels with the package: python scripts/make_sample.py (needs the extra simulate)

One synthetic patient of `gliomask simulate`'s model, its intensities reduced to 8 bits to keep the wheel small. The
same versions and seed give the same bytes. After a change, run the demonstration's tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gliomask.io.nifti import write_volume
from gliomask.labels import convention
from gliomask.simulate.patient import simulate_case

SEED = 2020
CASE_ID = "synthetic_0001"
FOLDER = Path(__file__).resolve().parents[1] / "src" / "gliomask" / "sample" / CASE_ID


def main() -> None:
    """Writes the four sequences and the label map."""
    case, label_map = simulate_case(np.random.default_rng(SEED), CASE_ID, grade="high", size="full")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for sequence, volume in case.volumes.items():
        brightest = np.percentile(volume[volume > 0], 99.9)
        reduced = np.where(volume > 0, np.clip(np.rint(volume / brightest * 255), 1, 255), 0).astype(np.uint8)
        write_volume(FOLDER / f"{CASE_ID}_{sequence.value}.nii.gz", reduced, case.geometry, case.header, overwrite=True)
    write_volume(
        FOLDER / f"{CASE_ID}_seg.nii.gz",
        convention("brats2021").to_disk(label_map),
        case.geometry,
        case.header,
        overwrite=True,
    )


if __name__ == "__main__":
    main()
