r"""Calibrates a model's doubts: what it expected of itself against the Dice that it had.

    python benchmarks/calibrate_quality.py PREDICTIONS SCORES --folds TABLE -o docs/tables/quality_NAME.tsv \
        --json quality.json

PREDICTIONS holds the run records of cross-validated cases, as `benchmarks/cross_validate.py --postprocess CHAIN` leaves
them in OUT/CHAIN (each case segmented by a network that never saw its patient; `expected_dice` is that of the label map
that was scored); SCORES is the `scores.tsv` that `gliomask evaluate` wrote for the same label maps. Each fold's cases
are judged by a line and an interval fitted to the other folds alone (to the other cases, where there is one fold only),
which is what the table and the picture show, with 95 % bootstrap intervals over patients. What ships, the JSON file for
`benchmarks/ship_model.py --quality`, is fitted to all. A picture goes to docs/images where the table goes to
docs/tables.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import pearsonr, spearmanr, theilslopes

from gliomask.colours import PALETTE
from gliomask.errors import GliomaskError
from gliomask.io.nifti import write_bytes
from gliomask.judgement import DOUBTFUL_DICE, doubtful
from gliomask.labels import Region
from gliomask.quality import Calibration, Estimate
from gliomask.training.folds import read_folds

COVERAGE = 0.8
"""Share of cases that an interval is to hold: with some tens of cases, tails beyond a tenth on each side are one or two
cases.
"""

WORST = 10
"""How many of the worst cases are asked about."""

RESAMPLES = 1000
CASE = "mean of all"
"""Name of the row that takes a case as a whole: the mean over its regions, and whether it would have been flagged at
all.
"""


@dataclass(frozen=True)
class Judged:
    """One case: what the network expected of each region and the Dice that it had, NaN where the table has none."""

    case: str
    fold: int
    expected: dict[Region, float]
    dice: dict[Region, float]


@dataclass(frozen=True, eq=False)
class Column:
    """What was found of one region, or of cases as wholes, an entry per case.

    Args:
        predicted: the Dice to be expected by a calibration that the case took no part in.
        dice: what it had.
        held: whether the interval held it; NaN for cases as wholes, which have none.
        width: of the interval; likewise.
        flagged: whether it would have been flagged.
    """

    predicted: npt.NDArray[np.float64]
    dice: npt.NDArray[np.float64]
    held: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    flagged: npt.NDArray[np.bool_]

    def of(self, cases: npt.NDArray[np.int64]) -> Column:
        """The same of some cases."""
        return Column(self.predicted[cases], self.dice[cases], self.held[cases], self.width[cases], self.flagged[cases])


def read(predictions: Path, scores: Path, folds: dict[str, int]) -> list[Judged]:
    """Joins run records and scores; a case without either ends the run."""
    with scores.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return [_judged(row, predictions / f"{row['case']}_run.json", folds) for row in rows]


def _judged(row: dict[str, str], path: Path, folds: dict[str, int]) -> Judged:
    if row["case"] not in folds:
        raise SystemExit(f"{row['case']} is scored but is not in the table of folds.")
    if not path.is_file():
        raise SystemExit(
            f"{path} is missing. benchmarks/cross_validate.py --postprocess CHAIN leaves a record of each case "
            "in OUT/CHAIN."
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    if "expected_dice" not in record:
        raise SystemExit(
            f"{path} does not say what the network expected of itself (expected_dice). Segment the case again with "
            "this version."
        )
    expected = {region: float(record["expected_dice"][region.value]) for region in Region}
    return Judged(
        row["case"], folds[row["case"]], expected, {region: float(row[f"{region}_dice"] or "nan") for region in Region}
    )


def fit(cases: Iterable[Judged]) -> Calibration:
    """A line by the median of slopes (Theil and Sen), which single failures do not bend, and the middle `COVERAGE` of
    what lies about it.
    """
    known = list(cases)
    lines, spread = {}, {}
    for region in Region:
        pairs = [(case.expected[region], case.dice[region]) for case in known if not math.isnan(case.dice[region])]
        if len(pairs) < 3:
            raise SystemExit(f"A line needs three cases with a Dice of {region}; there are {len(pairs)}.")
        expected, dice = np.array(pairs).T
        # A network that is surer where it is worse has nothing to tell: a level line.
        slope = max(float(theilslopes(dice, expected).slope), 0.0) if np.ptp(expected) > 0 else 0.0
        intercept = float(np.median(dice - slope * expected))
        residuals = np.sort(dice - np.clip(intercept + slope * expected, 0, 1))
        # Finite samples: the rank is taken among n + 1, as in conformal prediction (Vovk et al. 2005).
        rank = min(math.ceil((len(residuals) + 1) * (1 + COVERAGE) / 2), len(residuals))
        lines[region] = (intercept, slope)
        spread[region] = (max(0.0, -float(residuals[len(residuals) - rank])), max(0.0, float(residuals[rank - 1])))
    return Calibration(lines, spread, COVERAGE)


def judge(cases: list[Judged]) -> list[dict[Region, Estimate]]:
    """Returns what is to be expected of each case by the calibration of the other folds, or cases where there is one
    fold only.
    """
    groups = [case.fold for case in cases] if len({case.fold for case in cases}) > 1 else list(range(len(cases)))
    calibrations = {
        left_out: fit(case for case, group in zip(cases, groups, strict=True) if group != left_out)
        for left_out in set(groups)
    }
    return [calibrations[group].estimates(case.expected) for case, group in zip(cases, groups, strict=True)]


def column(region: Region, cases: list[Judged], estimates: list[dict[Region, Estimate]]) -> Column:
    """What was found of one region; cases without a Dice of it are left out."""
    pairs = [
        (case.dice[region], found[region])
        for case, found in zip(cases, estimates, strict=True)
        if not math.isnan(case.dice[region])
    ]
    return Column(
        np.array([found.dice for _, found in pairs]),
        np.array([dice for dice, _ in pairs]),
        np.array([float(found.low <= dice <= found.high) for dice, found in pairs]),
        np.array([found.high - found.low for _, found in pairs]),
        np.array([found.dice < DOUBTFUL_DICE[region] for _, found in pairs]),
    )


def whole_cases(cases: list[Judged], estimates: list[dict[Region, Estimate]]) -> Column:
    """Cases as wholes: means over the regions, and the flag that a user would have seen."""
    unknown = np.full(len(cases), np.nan)
    predicted = [float(np.mean([estimate.dice for estimate in found.values()])) for found in estimates]
    dice = [float(np.nanmean(list(case.dice.values()))) for case in cases]
    return Column(
        np.array(predicted), np.array(dice), unknown, unknown, np.array([bool(doubtful(found)) for found in estimates])
    )


def worst_flagged(found: Column) -> float:
    """How many of the worst cases were flagged."""
    return float(found.flagged[np.argsort(found.dice, kind="stable")[:WORST]].sum())


def worst_least_expected(found: Column) -> float:
    """How many of the worst cases are among the same number and as many again of those of which least was expected."""
    return float(
        len(
            set(np.argsort(found.dice, kind="stable")[:WORST])
            & set(np.argsort(found.predicted, kind="stable")[: 2 * WORST])
        )
    )


def _correlation(measure: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], object], found: Column) -> float:
    if np.ptp(found.predicted) == 0 or np.ptp(found.dice) == 0:
        return math.nan
    return float(measure(found.predicted, found.dice).statistic)  # type: ignore[attr-defined]


FIGURES: dict[str, Callable[[Column], float]] = {
    "spearman": lambda found: _correlation(spearmanr, found),
    "pearson": lambda found: _correlation(pearsonr, found),
    "mean_error": lambda found: float(np.abs(found.dice - found.predicted).mean()),
    "in_interval": lambda found: float(found.held.mean()),
    "median_width": lambda found: float(np.median(found.width)),
    f"worst_{WORST}_flagged": worst_flagged,
    f"worst_{WORST}_among_{2 * WORST}_least_expected": worst_least_expected,
}
"""What the table tells of each column, with its bootstrap interval."""


def rows(columns: dict[str, Column]) -> list[dict[str, str]]:
    """The table: each figure with the 2.5th and 97.5th percentile over resampled patients."""
    table = []
    for name, found in columns.items():
        drawn = [
            found.of(cases)
            for cases in np.random.default_rng(0).integers(0, len(found.dice), (RESAMPLES, len(found.dice)))
        ]
        row = {"region": name, "cases": str(len(found.dice)), "flagged": str(int(found.flagged.sum()))}
        for figure, measure in FIGURES.items():
            sample = np.array([measure(one) for one in drawn])
            low, high = np.nanpercentile(sample, [2.5, 97.5]) if not np.isnan(sample).all() else (math.nan, math.nan)
            row |= {figure: _text(measure(found)), f"{figure}_low": _text(low), f"{figure}_high": _text(high)}
        table.append(row)
    return table


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}".removesuffix(".000")


def line_fields(calibration: Calibration, region: Region, found: Column) -> dict[str, float | None]:
    """Returns a region's line as model.json has it, with what such lines were worth for cases that took no part."""
    spearman = _correlation(spearmanr, found)
    return {
        "intercept": round(calibration.lines[region][0], 4),
        "slope": round(calibration.lines[region][1], 4),
        "below": round(calibration.spread[region][0], 4),
        "above": round(calibration.spread[region][1], 4),
        "spearman": None if math.isnan(spearman) else round(spearman, 3),
        "held": round(float(found.held.mean()), 3),
        "width": round(float(np.median(found.width)), 3),
    }


def to_json(cases: list[Judged], columns: dict[str, Column], command: str) -> dict[str, object]:
    """What goes into model.json: lines fitted to all cases, and what such lines were worth for cases that they were not
    fitted to.
    """
    everything = fit(cases)
    several = len({case.fold for case in cases}) > 1
    return {
        "regions": {region.value: line_fields(everything, region, columns[region.value]) for region in Region},
        "coverage": COVERAGE,
        "cases": len(cases),
        "flagged": int(columns[CASE].flagged.sum()),
        "worst": min(WORST, len(cases)),
        "worst_flagged": int(worst_flagged(columns[CASE])),
        "protocol": f"The lines are fitted to {len(cases)} cross-validated cases; the figures are of each case "
        "judged by lines "
        f"fitted to the {'other folds' if several else 'other cases'} alone.",
        "command": command,
    }


def draw(cases: list[Judged], estimates: list[dict[Region, Estimate]], picture: Path) -> None:
    """One panel a region: the Dice that each case had over the one that was expected, with the interval that was given
    for it.
    """
    figure = Figure(figsize=(12, 4.9), layout="constrained")
    for axes, region in zip(figure.subplots(1, len(Region), sharey=True), Region, strict=True):
        _panel(
            axes,
            region,
            [
                (case.dice[region], found[region])
                for case, found in zip(cases, estimates, strict=True)
                if not math.isnan(case.dice[region])
            ],
        )
    figure.axes[0].set_ylabel("Dice that the case had")
    figure.supxlabel(
        f"bar: the interval that was given, meant to hold {COVERAGE:.0%} of the cases   hollow: outside it   dotted: "
        "flagged as doubtful to the left of it",
        fontsize=9,
        color="0.35",
    )
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, dpi=150)
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(picture, stream.getvalue())


def _panel(axes: Axes, region: Region, pairs: list[tuple[float, Estimate]]) -> None:
    colour = PALETTE.region_hex(region)
    for dice, found in pairs:
        inside = found.low <= dice <= found.high
        axes.plot(
            [found.dice, found.dice],
            [found.low, found.high],
            color="0.82",
            linewidth=2,
            zorder=1,
            solid_capstyle="butt",
        )
        axes.plot(
            found.dice, dice, "o", color=colour, markerfacecolor=colour if inside else "white", markersize=5, zorder=3
        )
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, zorder=2)
    axes.axvline(DOUBTFUL_DICE[region], color="0.5", linewidth=0.8, linestyle=":", zorder=2)
    axes.set(
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
        box_aspect=1,
        title=f"{region.title} ({region})",
        xlabel="Dice to be expected",
    )


def picture_of(table: Path) -> Path:
    """docs/tables/NAME.tsv has its picture at docs/images/NAME.png; other tables beside them."""
    folder = table.parent.parent / "images" if table.parent.name == "tables" else table.parent
    return folder / f"{table.stem}.png"


def main() -> None:
    """Judges by nested cross-validation, writes the table, the picture and the calibration of all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    try:
        cases = read(options.predictions, options.scores, read_folds(options.folds))
    except GliomaskError as error:
        raise SystemExit(str(error)) from error
    estimates = judge(cases)
    columns = {region.value: column(region, cases, estimates) for region in Region} | {
        CASE: whole_cases(cases, estimates)
    }
    table = rows(columns)
    text = "\n".join(["\t".join(table[0]), *("\t".join(row.values()) for row in table)]) + "\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.output, text.encode())
    draw(cases, estimates, picture_of(options.output))
    # Names of files, not where this machine keeps them.
    names = [f"{path.parent.name}/{path.name}" for path in (options.predictions, options.scores)]
    command = (
        f"python benchmarks/calibrate_quality.py {' '.join(names)} --folds {options.folds.name} -o "
        f"docs/tables/{options.output.name} --json quality.json"
    )
    write_bytes(options.json, (json.dumps(to_json(cases, columns, command), indent=1) + "\n").encode())
    print(text, end="")
    for case, found in zip(cases, estimates, strict=True):
        if flags := doubtful(found):
            print(
                f"{case.case}: {flags[0].message} It had "
                f"{', '.join(f'{region} {dice:.2f}' for region, dice in case.dice.items())}."
            )


if __name__ == "__main__":
    main()
