"""Two runs or two models on the same cases: how far their volumes agree, and which cases changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gliomask.errors import InputError
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.summary.cases import StudyCase
from gliomask.summary.statistics import Agreement, agreement


@dataclass(frozen=True)
class Pair:
    """One case in two runs.

    Args:
        case: its id.
        status: `same`, `changed`, or what became of it where it is done in one alone.
        volumes_ml: by region, in the first and in the second run.
        dice: of the two label maps, by region; None where they lie on different grids, or both are empty.
    """

    case: str
    status: str
    volumes_ml: dict[Region, tuple[float, float]]
    dice: dict[Region, float | None]


@dataclass(frozen=True)
class RunComparison:
    """Two runs.

    Args:
        pairs: by case.
        agreements: of the volumes in millilitres, by region, over cases that are done in both.
    """

    pairs: tuple[Pair, ...]
    agreements: dict[Region, Agreement]


def compare(first: Iterable[StudyCase], second: Iterable[StudyCase]) -> RunComparison:
    """Compares the cases that two runs have in common, and lists the others."""
    ours, theirs = ({case.case: case for case in cases} for cases in (first, second))
    pairs = tuple(_pair(ours.get(case), theirs.get(case)) for case in sorted({*ours, *theirs}))
    both = [pair for pair in pairs if pair.volumes_ml]
    agreements = (
        {region: agreement(*zip(*(pair.volumes_ml[region] for pair in both), strict=True)) for region in Region}
        if both
        else {}
    )
    return RunComparison(pairs, agreements)


def _pair(first: StudyCase | None, second: StudyCase | None) -> Pair:
    case = (first or second).case  # type: ignore[union-attr]
    if first is None or second is None or not first.done or not second.done:
        words = ["not in it" if run is None else run.row.status for run in (first, second)]
        return Pair(case, f"first {words[0]}, second {words[1]}", {}, {})
    volumes = {region: (first.volume_ml(region) or 0.0, second.volume_ml(region) or 0.0) for region in Region}
    if first.row.label_map_sha256 and first.row.label_map_sha256 == second.row.label_map_sha256:
        return Pair(case, "same", volumes, dict.fromkeys(Region, 1.0))
    try:
        (ours, grid), (theirs, other) = first.label_map(), second.label_map()
    except InputError:
        return Pair(case, "changed", volumes, dict.fromkeys(Region))
    if not grid.same_grid(other):
        return Pair(case, "changed", volumes, dict.fromkeys(Region))
    masks = {region: (region.mask(ours), region.mask(theirs)) for region in Region}
    dices = {region: count(*pair).dice if pair[0].any() or pair[1].any() else None for region, pair in masks.items()}
    return Pair(case, "same" if (ours == theirs).all() else "changed", volumes, dices)
