"""Draws the cases that a model did worst on: python benchmarks/worst_cases.py SCORES PREDICTIONS --data CASES -o
docs/images/worst_NAME.png

SCORES is the `scores.tsv` of `gliomask evaluate`, PREDICTIONS the folder of label maps that it scored. The cases are
those with the lowest mean Dice over the three regions, the lowest first; each is shown at the axial slice where most
voxels have another label than the reference.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gliomask.io.brats import CaseFiles, find_cases, read_case, read_label_map, read_reference
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region, convention
from gliomask.report.panel import box_round, grey, label_patches, tinted
from gliomask.sequences import Sequence
from gliomask.study.tables import read_tsv

COLUMNS = ("FLAIR", "T1ce", "reference", "prediction")
INCHES = 2.4


def mean_dice(row: dict[str, str]) -> float:
    """Mean over the regions that have a Dice."""
    found = [float(row[f"{region}_dice"]) for region in Region if row[f"{region}_dice"]]
    return sum(found) / len(found) if found else math.inf


def caption(row: dict[str, str]) -> list[str]:
    """A line below each picture: the case, nothing, the reference's and the prediction's volumes with Dice."""
    dice = "  ".join(f"{region} {float(row[f'{region}_dice']):.2f}" for region in Region)
    volumes = {
        kind: "  ".join(f"{region} {float(row[f'{region}_{kind}_ml']):.1f}" for region in Region)
        for kind in ("reference", "prediction")
    }
    return [row["case"], f"Dice {dice}", f"ml {volumes['reference']}", f"ml {volumes['prediction']}"]


def pictures(files: CaseFiles, prediction: Path) -> list[npt.NDArray[np.floating]]:
    """The four pictures of a case, (I, J, 3), I to the patient's left, J to posterior."""
    case = read_case(files)
    turn = case.geometry.reorientation_to("LPS")
    reference = turn.apply(read_reference(files, case.geometry))
    found = turn.apply(read_label_map(prediction, convention("brats2021"))[0])
    k = int(np.count_nonzero(reference != found, axis=(0, 1)).argmax())
    flair, t1ce = (turn.apply(case.volumes[sequence]) for sequence in (Sequence.FLAIR, Sequence.T1CE))
    box = box_round(flair[:, :, k] != 0)
    base = grey(flair[:, :, k], flair)
    return [
        picture[box]
        for picture in (base, grey(t1ce[:, :, k], t1ce), tinted(base, reference[:, :, k]), tinted(base, found[:, :, k]))
    ]


def draw(axes: Axes, picture: npt.NDArray[np.floating], text: str) -> None:
    """One picture, the patient's right on the left, and its line."""
    axes.imshow(picture.transpose(1, 0, 2), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(text, y=-0.09, color="white", fontsize=7)


def write_with_legend(figure: Figure, output: Path) -> None:
    """Adds the legend of the labels and writes the picture."""
    patches = label_patches()
    figure.legend(
        handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, labelcolor="white", fontsize=9
    )
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, dpi=110, facecolor="black")
    write_bytes(output, stream.getvalue())


def main() -> None:
    """Chooses, draws, prints the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5)
    options = parser.parse_args()
    worst = sorted((row for row in read_tsv(options.scores) if row["status"] == "scored"), key=mean_dice)[
        : options.count
    ]
    files = {case.case_id: case for case in find_cases(options.data)}
    figure = Figure(
        figsize=(INCHES * len(COLUMNS), INCHES * 1.27 * len(worst) + 0.6), facecolor="black", layout="constrained"
    )
    grid = figure.subplots(len(worst), len(COLUMNS), squeeze=False)
    for axes, row in zip(grid, worst, strict=True):
        for one, picture, text in zip(
            axes,
            pictures(files[row["case"]], options.predictions / f"{row['case']}_seg.nii.gz"),
            caption(row),
            strict=True,
        ):
            draw(one, picture, text)
        print(row["case"], f"{mean_dice(row):.3f}", *caption(row)[1:])
    for axes, title in zip(grid[0], COLUMNS, strict=True):
        axes.text(0.5, 1.03, title, transform=axes.transAxes, color="white", ha="center", fontsize=10)
    write_with_legend(figure, options.output)


if __name__ == "__main__":
    main()
