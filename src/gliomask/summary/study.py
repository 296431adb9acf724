"""A study, and what its page says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import isnan
from pathlib import Path
from urllib.parse import quote

from gliomask.cohort.table import CohortSummary
from gliomask.evaluate.scoring import Evaluation
from gliomask.in_words import dice
from gliomask.labels import Region
from gliomask.report.case_table import CaseLine, case_table
from gliomask.report.document import TableBlock
from gliomask.summary.cases import StudyCase
from gliomask.summary.compare import RunComparison
from gliomask.summary.frequency import FrequencyMap
from gliomask.summary.page import EMBEDDED_BYTES, PageCase, StudyPage
from gliomask.summary.pictures import comparison_picture, frequency_picture, thumbnail, volumes_picture


@dataclass(frozen=True)
class CohortStudy:
    """A cohort and what was found out about it.

    Args:
        place: the output folder of `gliomask cohort` or `gliomask segment`.
        cases: all of them.
        outlying: why a case is an outlier, by case.
        comparison: with a second run; None where none was asked for.
        frequency: the map of all tumours; None where there is none.
        evaluation: against references; None where none were given.
    """

    place: Path
    cases: tuple[StudyCase, ...]
    outlying: dict[str, list[str]]
    comparison: RunComparison | None = None
    frequency: FrequencyMap | None = None
    evaluation: Evaluation | None = None

    @cached_property
    def summary(self) -> CohortSummary:
        """What became of the cases."""
        return CohortSummary.of(case.row for case in self.cases)

    @cached_property
    def dice(self) -> dict[str, dict[Region, float]]:
        """Dice against the references, by case and region; of cases with a reference."""
        rows = () if self.evaluation is None else self.evaluation.rows
        return {row.case_id: {region: row.scores[region].dice for region in Region} for row in rows if row.scores}


def page_of(study: CohortStudy, folder: Path) -> StudyPage:
    """Returns the page of a study, as it lies in `folder`; cases that ask for attention come first."""
    summary = study.summary
    failures = tuple(
        (item.reason, str(item.count), item.example.case, item.example.message) for item in summary.failures
    )
    facts = [
        f"{summary.done} of {len(study.cases)} cases are done, {summary.failed} failed, {summary.waiting} wait.",
        f"Outliers by volume: {len(study.outlying)}.",
    ]
    if study.evaluation is not None:
        medians = {region: values["dice"] for region, values in study.evaluation.summary.items()}
        words = ", ".join(f"{region.value} {dice(value.median)}" for region, value in medians.items() if value.n)
        facts.append(
            f"Median Dice of {len(study.dice)} cases against their references: {words}. All scores: scores/scores.tsv."
        )
    return StudyPage(
        f"Cohort {study.place.resolve().name}",
        tuple(facts),
        failures,
        tuple(_pictures(study)),
        tuple(_page_cases(study, folder)),
        _table(study, folder),
        sha256(os.fsencode(study.place.resolve())).hexdigest()[:16],
    )


def _pictures(study: CohortStudy) -> Iterator[tuple[str, bytes]]:
    """Caption and PNG of each figure."""
    volumes = {region: [case.volume_ml(region) or 0.0 for case in study.cases if case.done] for region in Region}
    yield "Volumes of the regions over all cases that are done; the axis is logarithmic.", volumes_picture(volumes)
    if study.comparison is not None and study.comparison.agreements:
        changed = sum(pair.status == "changed" for pair in study.comparison.pairs)
        yield (
            f"The second run against the first (Bland and Altman): bias and limits of agreement. {changed} of "
            f"{len(study.comparison.pairs)} label maps changed.",
            comparison_picture(study.comparison),
        )
    if study.frequency is not None:
        yield (
            f"How many of {study.frequency.cases} whole tumours hold each voxel of BraTS space. The patient's right is "
            "on the left.",
            frequency_picture(study.frequency),
        )


def _page_cases(study: CohortStudy, folder: Path) -> Iterator[PageCase]:
    """Cases that ask for attention first, and so the first whose pictures the page holds itself."""
    changed = {} if study.comparison is None else {pair.case: pair.status for pair in study.comparison.pairs}
    left = EMBEDDED_BYTES
    described = [(case, _attention(study, case, changed.get(case.case))) for case in study.cases]
    for case, attention in sorted(described, key=lambda pair: not pair[1]):
        picture: bytes | str | None = None
        if case.layout is not None:
            picture = thumbnail(case.layout.preview) if left > 0 else _link(case.layout.preview, folder)
            left -= len(picture) if isinstance(picture, bytes) else 0
        facts = _facts(case, study.dice.get(case.case, {}))
        yield PageCase(case.case, case.row.status, facts, attention, picture, case.row.label_map_sha256)


def _attention(study: CohortStudy, case: StudyCase, compared: str | None) -> tuple[str, ...]:
    row = case.row
    failure = [f"{row.reason}: {row.message}"] if row.status == "failed" else []
    flags = [] if case.record is None else [flag.message for flag in case.record.quality_flags]
    changes = ["The second run has another label map."] if compared == "changed" else []
    return (*failure, *flags, *study.outlying.get(case.case, []), *changes)


def _facts(case: StudyCase, scores: dict[Region, float]) -> tuple[str, ...]:
    row = case.row
    facts = []
    if row.wt_ml is not None:
        facts.append(f"WT {row.wt_ml:.1f} ml, TC {row.tc_ml or 0:.1f} ml, ET {row.et_ml or 0:.1f} ml")
    if row.expected_dice_wt is not None:
        facts.append(
            f"Expected Dice of WT {row.expected_dice_wt:.2f} ({row.expected_dice_wt_low:.2f} to "
            f"{row.expected_dice_wt_high:.2f})"
        )
    if scores:
        words = ", ".join(f"{region.value} {dice(value)}" for region, value in scores.items() if not isnan(value))
        facts.append(f"Dice against the reference: {words}")
    return tuple(facts)


def _table(study: CohortStudy, folder: Path) -> TableBlock:
    caption = (
        "A heading sorts by its column; a case's name leads to its report, where it has one (segment --report html)."
    )
    more = ("Status", "Flags") if study.evaluation is None else ("Dice, WT", "Dice, TC", "Dice, ET", "Status", "Flags")
    widths = (0.9, 2.0) if study.evaluation is None else (0.7, 0.7, 0.7, 0.9, 1.6)
    return case_table([_line(study, case, folder) for case in study.cases], "Case", more, caption, widths)


def _line(study: CohortStudy, case: StudyCase, folder: Path) -> CaseLine:
    row = case.row
    expected = {Region.WT: row.expected_dice_wt, Region.TC: row.expected_dice_tc, Region.ET: row.expected_dice_et}
    volumes_ml = {region: case.volume_ml(region) for region in Region} if case.done else {}
    flags = "" if case.record is None else " ".join(flag.name for flag in case.record.quality_flags).replace("_", " ")
    scores = study.dice.get(row.case, {})
    measured = () if study.evaluation is None else tuple(dice(scores[r]) if r in scores else "" for r in Region)
    report = None if case.layout is None else case.layout.report("html")
    return CaseLine(
        row.case,
        {region: value for region, value in volumes_ml.items() if value is not None},
        {region: value for region, value in expected.items() if value is not None},
        (*measured, row.status, flags),
        _relative(report, folder) if report is not None and report.is_file() else None,
    )


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _link(path: Path, folder: Path) -> str | None:
    return quote(_relative(path, folder)) if path.is_file() else None
