"""The study's tables on disk: tab-separated, blank for what does not exist; and the scores of one experiment, case by
case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gliomask.errors import FileFormatError
from gliomask.files.tables import read_table, to_tsv
from gliomask.labels import Region
from gliomask.metrics.region import RegionScores

__all__ = ["SCORES", "Cells", "read_tsv", "to_tsv"]

SCORES = tuple(item.name for item in fields(RegionScores))


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table of the study.

    Raises:
        FileFormatError: it cannot be read, or a row has other columns than the first.
    """
    try:
        return read_table(path, delimiter="\t")
    except FileFormatError as error:
        why = str(error).removeprefix(f"{path}: ").removesuffix(".")
        raise FileFormatError(
            f"{path}: not a table that can be read ({why}). Move it away to have it made again."
        ) from error


@dataclass(frozen=True)
class Cells:
    """Scores of one experiment.

    Args:
        scores: by case, then by region.
    """

    scores: dict[str, dict[Region, RegionScores]]

    def covers(self, cases: Iterable[str]) -> bool:
        """True where every one of these cases is scored."""
        return all(case in self.scores for case in cases)

    def of(self, cases: Iterable[str]) -> Cells:
        """The scores of some cases, in that order; those without scores are left out."""
        return Cells({case: self.scores[case] for case in cases if case in self.scores})

    def column(self, region: Region, metric: str) -> dict[str, float]:
        """One metric of one region by case; NaN is a blank cell."""
        return {case: getattr(regions[region], metric) for case, regions in self.scores.items()}

    def rows(self, fold_of: dict[str, int]) -> list[dict[str, Any]]:
        """A row per case and region."""
        return [
            {
                "case": case,
                "fold": fold_of[case],
                "region": region.value,
                **{name: getattr(scores, name) for name in SCORES},
            }
            for case, regions in sorted(self.scores.items())
            for region, scores in regions.items()
        ]

    @classmethod
    def from_rows(cls, rows: list[dict[str, str]], path: Path) -> Cells:
        """The inverse of `rows`; a case that lacks a region is left out, so that it is scored again.

        Args:
            rows: of the table.
            path: where it was read, for messages.

        Raises:
            FileFormatError: a column is missing or a cell is no number.
        """
        scores_by_case: dict[str, dict[Region, RegionScores]] = {}
        try:
            for row in rows:
                scores = RegionScores(**{name: float(row.get(name, "") or math.nan) for name in SCORES if name in row})
                scores_by_case.setdefault(row["case"], {})[Region(row["region"])] = scores
        except (KeyError, ValueError, TypeError) as error:
            raise FileFormatError(
                f"{path}: not the scores of an experiment ({error!r}). Move it away to have the cases scored again."
            ) from error
        return cls({case: regions for case, regions in scores_by_case.items() if len(regions) == len(Region)})
