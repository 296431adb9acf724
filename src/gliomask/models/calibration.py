"""The parts of `model.json` that come from cross-validated cases: calibrations of the model's doubts, what missing
sequences cost, what is core where hardly anything enhances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator

from gliomask.labels import REGION_NAMES, Region
from gliomask.models.schema import StrictMapping, Text, parsed
from gliomask.postprocess import CoreRule, EnhancementRule
from gliomask.quality import Calibration, Cost
from gliomask.sequences import Sequence

Share = Annotated[float, Field(ge=0, le=1)]
RegionName = Literal["WT", "TC", "ET"]
Dice = Annotated[float, Field(ge=0, le=1)]


class QualityLine(StrictMapping):
    """What a region's expected Dice is worth: a straight line, and how far below and above it the cases lay; see
    `gliomask.quality`.

    Args:
        intercept, slope: of the line from what the network expects to what is to be expected.
        below, above: how far the interval reaches from the line, Dice.
        spearman: rank correlation of the estimate with the Dice that cases had; null where all were alike.
        held: share of the cases whose Dice lay in the interval.
        width: median width of the intervals, Dice.

    The last three are of cases each judged by a line that was fitted to others.
    """

    intercept: float
    slope: Annotated[float, Field(ge=0)]
    below: Dice
    above: Dice
    spearman: Annotated[float, Field(ge=-1, le=1)] | None
    held: Share
    width: Dice


class SubsetLine(QualityLine):
    """The same for patients who lack certain sequences, with the Dice that they had: median and mean of the cases."""

    median: Dice
    mean: Dice


Line = TypeVar("Line", bound=QualityLine)


def _all_three(regions: dict[RegionName, Line]) -> dict[RegionName, Line]:
    if set(regions) != set(REGION_NAMES):
        raise ValueError(
            f"a line is needed for each of {', '.join(REGION_NAMES)}; found {', '.join(regions) or 'none'}"
        )
    return regions


def _calibration(regions: Mapping[RegionName, Line], coverage: float) -> Calibration:
    lines = {Region(name): (line.intercept, line.slope) for name, line in regions.items()}
    return Calibration(lines, {Region(name): (line.below, line.above) for name, line in regions.items()}, coverage)


class Quality(StrictMapping):
    """Calibration of the model's own doubts by cross-validated cases.

    Args:
        regions: a line for each of WT, TC and ET.
        coverage: share of the cases that the intervals are meant to hold; how many they held stands with each region.
        cases: how many there were.
        flagged: how many of them would have been flagged `doubtful`.
        worst: how many worst cases were asked about.
        worst_flagged: how many of these were flagged.
        protocol: how it was done, in words.
        command: what did it.
    """

    regions: Annotated[dict[RegionName, QualityLine], AfterValidator(_all_three)]
    coverage: Annotated[float, Field(gt=0, lt=1)]
    cases: Annotated[int, Field(ge=1)]
    flagged: Annotated[int, Field(ge=0)]
    worst: Annotated[int, Field(ge=0)]
    worst_flagged: Annotated[int, Field(ge=0)]
    protocol: Text
    command: Text

    def calibration(self) -> Calibration:
        """The same, as `gliomask.quality` takes it."""
        return _calibration(self.regions, self.coverage)


class Subset(StrictMapping):
    """What the model is worth, alone, for patients who lack certain sequences.

    Args:
        without: what they lack; nothing, for comparison.
        regions: a line for each of WT, TC and ET.
        flagged: how many of the cases would have been flagged `doubtful`.
    """

    without: tuple[Sequence, ...]
    regions: Annotated[dict[RegionName, SubsetLine], AfterValidator(_all_three)]
    flagged: Annotated[int, Field(ge=0)]


class Subsets(StrictMapping):
    """The same cross-validated cases with every subset of the sequences, segmented by the model alone, without its
    second ensemble member.

    Args:
        sets: a subset each; the first is that of all sequences.
        coverage: share of the cases that the intervals are meant to hold.
        cases: how many there were, each with every subset.
        protocol: how it was done, in words.
        command: what did it.
    """

    sets: Annotated[tuple[Subset, ...], Field(min_length=1)]
    coverage: Annotated[float, Field(gt=0, lt=1)]
    cases: Annotated[int, Field(ge=1)]
    protocol: Text
    command: Text

    @field_validator("sets")
    @classmethod
    def _each_once_and_all_first(cls, sets: tuple[Subset, ...]) -> tuple[Subset, ...]:
        if sets[0].without:
            raise ValueError(f"the first set must lack nothing; it lacks {', '.join(sets[0].without)}")
        if len({frozenset(one.without) for one in sets}) < len(sets):
            raise ValueError("a set of sequences is there twice")
        return sets

    def calibration(self, without: Iterable[Sequence]) -> Calibration | None:
        """Returns how to read the doubts of the model alone about a patient who lacks these sequences; None where that
        was not measured.
        """
        subset = self._of(without)
        return None if subset is None else _calibration(subset.regions, self.coverage)

    def cost(self, without: Iterable[Sequence]) -> Cost | None:
        """Returns what lacking these sequences costs; None where nothing lacks or it was not measured."""
        subset = self._of(without)
        if subset is None or not subset.without:
            return None
        medians, with_all = (
            {Region(name): line.median for name, line in one.regions.items()} for one in (subset, self.sets[0])
        )
        return Cost(self.cases, medians, with_all)

    def _of(self, without: Iterable[Sequence]) -> Subset | None:
        wanted = frozenset(without)
        return next((one for one in self.sets if frozenset(one.without) == wanted), None)


class CoreNumbers(StrictMapping):
    """The numbers of the model's `postprocess.CoreRule`, and the command that chose them."""

    enhancing_share: Annotated[float, Field(gt=0, lt=1)]
    core_probability: Annotated[float, Field(gt=0, lt=0.5)]
    command: Text

    def rule(self) -> CoreRule:
        """The same, as `gliomask.postprocess` takes it."""
        return CoreRule(self.enhancing_share, self.core_probability)


class EnhancementNumbers(StrictMapping):
    """The numbers of the model's `postprocess.EnhancementRule`, and the command that chose them."""

    probability: Annotated[float, Field(gt=0.5, lt=1)]
    seed_ml: Annotated[float, Field(gt=0)]
    command: Text

    def rule(self) -> EnhancementRule:
        """The same, as `gliomask.postprocess` takes it."""
        return EnhancementRule(self.probability, self.seed_ml)


def parse_quality(content: bytes, origin: str) -> Quality:
    """Returns the calibration that a file of `benchmarks/calibrate_quality.py` holds; arguments and errors are those of
    `models.spec.parse_spec`.
    """
    return parsed(
        Quality, content, f"{origin}: not a calibration", "Make it again with benchmarks/calibrate_quality.py."
    )


def parse_subsets(content: bytes, origin: str) -> Subsets:
    """Returns what a file of `benchmarks/calibrate_subsets.py` holds; arguments and errors are those of
    `models.spec.parse_spec`.
    """
    return parsed(
        Subsets,
        content,
        f"{origin}: not a calibration by subsets",
        "Make it again with benchmarks/calibrate_subsets.py.",
    )
