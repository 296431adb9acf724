"""Draws patients beside their synthetic twins whose tumour hardly enhances: python benchmarks/twin_pictures.py CASES
--case ID... -o PICTURE

CASES is a tree of labelled cases. Each patient is shown at the axial slice with most enhancing tumour, its twin as
`training.unenhanced` makes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from worst_cases import INCHES, draw, write_with_legend

from gliomask.io.brats import CaseFiles, find_cases
from gliomask.labels import Label
from gliomask.report.panel import box_round, grey, tinted
from gliomask.sequences import Sequence
from gliomask.training.config import TrainConfig, make_config
from gliomask.training.dataset import load_case
from gliomask.training.unenhanced import without_enhancement

COLUMNS = ("T1", "T1ce", "T1ce of the twin", "labels", "labels of the twin")


def pictures(files: CaseFiles, config: TrainConfig, seed: int) -> list[npt.NDArray[np.floating]]:
    """The pictures of a case, (I, J, 3), I to the patient's left, J to posterior."""
    t1, t1ce = map(config.sequences.index, (Sequence.T1, Sequence.T1CE))
    patient = load_case(files, config).stack
    twin = without_enhancement(patient, t1, t1ce, np.random.default_rng(seed))
    if twin is None:
        raise SystemExit(f"{files.case_id}: its tumour does not enhance.")
    k = int(np.count_nonzero(patient.labels == Label.ENHANCING, axis=(1, 2)).argmax())
    plain, before, after = (
        stack.slices[..., channel].astype(np.float32)
        for stack, channel in ((patient, t1), (patient, t1ce), (twin, t1ce))
    )
    # Both T1ce in the greys of the patient's own.
    brain = before[k] != np.float32(patient.background)
    first, base, changed = (
        brain[..., None] * grey(shown[k], window)
        for shown, window in ((plain, plain), (before, before), (after, before))
    )
    return [
        picture[box_round(brain)]
        for picture in (first, base, changed, tinted(base, patient.labels[k]), tinted(changed, twin.labels[k]))
    ]


def main() -> None:
    """Draws a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--case", action="append", required=True, help="may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    files, config = {case.case_id: case for case in find_cases(options.cases)}, make_config("unet")
    figure = Figure(
        figsize=(INCHES * len(COLUMNS), INCHES * 1.27 * len(options.case) + 0.6),
        facecolor="black",
        layout="constrained",
    )
    for axes, case in zip(figure.subplots(len(options.case), len(COLUMNS), squeeze=False), options.case, strict=True):
        for one, picture, text in zip(axes, pictures(files[case], config, options.seed), COLUMNS, strict=True):
            draw(one, picture, text)
    write_with_legend(figure, options.output)


if __name__ == "__main__":
    main()
