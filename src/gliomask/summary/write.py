"""All that `gliomask summarise` writes, in the order of the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gliomask.cohort.rows import COLUMNS
from gliomask.cohort.table import Summary
from gliomask.errors import InputError
from gliomask.files.atomic import make_folder, refuse_existing, write_bytes
from gliomask.io import nifti
from gliomask.labels import Region
from gliomask.report.case_table import CaseLine, case_table
from gliomask.report.document import TableBlock
from gliomask.report.run_record import write_record
from gliomask.summary.cases import StudyCase, read_cases
from gliomask.summary.compare import Comparison, compare
from gliomask.summary.frequency import FrequencyMap, frequency_map
from gliomask.summary.page import PageCase, StudyPage
from gliomask.summary.pictures import comparison_picture, frequency_picture, thumbnail, volumes_picture
from gliomask.summary.statistics import outliers
from gliomask.summary.tables import FEATURE_COLUMNS, case_rows, comparison_rows, feature_rows, write_table

Progress = Callable[[str, int, int], None]

RECORD = "summarise_run.json"


@dataclass(frozen=True)
class Choices:
    """What is written.

    Args:
        other: a second run to compare with; None for none.
        features: also shapes and intensities of every region.
        parquet: also tables as Parquet.
        frequency: the map of all tumours.
        overwrite: replace what is there.
    """

    other: Path | None = None
    features: bool = True
    parquet: bool = False
    frequency: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class Summarised:
    """What was written.

    Args:
        files: their paths.
        summary: counts of the cohort.
        outliers: what lies apart, by case.
        comparison: with the second run; None where none was asked for.
        left_out: why cases are not in the map or in the features, by case.
    """

    files: tuple[Path, ...]
    summary: Summary
    outliers: dict[str, list[str]]
    comparison: Comparison | None
    left_out: dict[str, str]


def summarise(
    place: Path,
    folder: Path,
    choices: Choices = Choices(),
    progress: Callable[[str, int, int], None] = lambda case, done, total: None,
) -> Summarised:
    """Writes tables, the map and the page of a cohort.

    Args:
        place: the output folder of `gliomask cohort` or `gliomask segment`.
        folder: where to write.
        choices: what to write.
        progress: called with a case, how many are measured and how many there are.

    Raises:
        InputError: there are no cases, or a record is damaged.
        UsageError: a file exists and may not be replaced.
    """
    refuse_existing([folder / name for name in (RECORD, "cases.tsv", "review.html")], overwrite=choices.overwrite)
    cases = read_cases(place)
    comparison = None if choices.other is None else compare(cases, read_cases(choices.other))
    make_folder(folder)
    done = [case for case in cases if case.done]
    apart = outliers({case.case: {region: case.volume_ml(region) or 0.0 for region in Region} for case in done})
    written = write_table(folder / "cases.tsv", case_rows(cases, apart), (*COLUMNS, "outlier"), parquet=choices.parquet)
    left_out: dict[str, str] = {}
    if choices.features:
        written += write_table(
            folder / "features.tsv", _features(done, left_out, progress), FEATURE_COLUMNS, parquet=choices.parquet
        )
    found = frequency_map(done) if choices.frequency else None
    if found is not None:
        written += _write_map(found, folder)
        left_out |= found.left_out
    if comparison is not None:
        rows = comparison_rows(comparison)
        written += write_table(folder / "comparison.tsv", rows, list(rows[0]), parquet=choices.parquet)
    summary = Summary.of(case.row for case in cases)
    write_bytes(folder / "review.html", page_of(place, folder, cases, summary, apart, comparison, found).html())
    options = {
        "features": choices.features,
        "parquet": choices.parquet,
        "frequency": choices.frequency,
        "compare": choices.other and str(choices.other),
    }
    agreements = (
        {}
        if comparison is None
        else {region.value: asdict(value) for region, value in comparison.agreements.items() if value.count > 1}
    )
    fields = {
        "options": options,
        "cases": len(cases),
        "done": summary.done,
        "agreement_ml": agreements,
        "left_out": left_out,
    }
    write_record(folder / RECORD, "summarise", fields)
    return Summarised((*written, folder / "review.html", folder / RECORD), summary, apart, comparison, left_out)


def _features(cases: Ordered[StudyCase], left_out: dict[str, str], progress: Progress) -> list[dict[str, Any]]:
    rows = []
    for number, case in enumerate(cases, 1):
        try:
            rows += feature_rows(case)
        except InputError as error:
            left_out[case.case] = str(error)
        progress(case.case, number, len(cases))
    return rows


def _write_map(found: FrequencyMap, folder: Path) -> list[Path]:
    paths = [folder / "frequency.nii.gz", folder / "frequency.png"]
    nifti.write_volume(paths[0], found.counts, found.geometry, overwrite=True)
    write_bytes(paths[1], frequency_picture(found))
    return paths


def page_of(
    place: Path,
    folder: Path,
    cases: Ordered[StudyCase],
    summary: Summary,
    apart: dict[str, list[str]],
    comparison: Comparison | None,
    found: FrequencyMap | None,
) -> StudyPage:
    """Returns the page of a cohort, as it lies in `folder`; cases that ask for attention come first."""
    volumes = {region: [case.volume_ml(region) or 0.0 for case in cases if case.done] for region in Region}
    pictures = [
        ("Volumes of the regions over all cases that are done; the axis is logarithmic.", volumes_picture(volumes))
    ]
    if comparison is not None and comparison.agreements:
        changed = sum(pair.status == "changed" for pair in comparison.pairs)
        text = (
            f"The second run against the first (Bland and Altman): bias and limits of agreement. {changed} of "
            f"{len(comparison.pairs)} label maps changed."
        )
        pictures.append((text, comparison_picture(comparison)))
    if found is not None:
        pictures.append(
            (
                f"How many of {found.cases} whole tumours hold each voxel of BraTS space. The patient's right is "
                "on the left.",
                frequency_picture(found),
            )
        )
    shown = sorted((_page_case(case, apart.get(case.case, [])) for case in cases), key=lambda case: not case.attention)
    failures = tuple(
        (item.reason, str(item.count), item.example.case, item.example.message) for item in summary.failures
    )
    facts = (
        f"{summary.done} of {len(cases)} cases are done, {summary.failed} failed, {summary.waiting} wait.",
        f"Outliers by volume: {len(apart)}.",
    )
    return StudyPage(
        f"Cohort {place.resolve().name}", facts, failures, tuple(pictures), tuple(shown), _table(cases, folder)
    )


def _table(cases: Ordered[StudyCase], folder: Path) -> TableBlock:
    caption = (
        "A heading sorts by its column; a case's name leads to its report, where it has one (segment --report html)."
    )
    return case_table([_line(case, folder) for case in cases], "Case", ("Status", "Flags"), caption, (0.9, 2.0))


def _line(case: StudyCase, folder: Path) -> CaseLine:
    row = case.row
    expected = {Region.WT: row.expected_dice_wt, Region.TC: row.expected_dice_tc, Region.ET: row.expected_dice_et}
    volumes_ml = {region: case.volume_ml(region) for region in Region} if case.done else {}
    flags = "" if case.record is None else " ".join(flag.name for flag in case.record.quality_flags).replace("_", " ")
    report = None if case.layout is None else case.layout.report("html")
    return CaseLine(
        row.case,
        {region: value for region, value in volumes_ml.items() if value is not None},
        {region: value for region, value in expected.items() if value is not None},
        (row.status, flags),
        Path(os.path.relpath(report, folder)).as_posix() if report is not None and report.is_file() else None,
    )


def _page_case(case: StudyCase, apart: list[str]) -> PageCase:
    row = case.row
    flags = [] if case.record is None else [flag.message for flag in case.record.quality_flags]
    failure = [f"{row.reason}: {row.message}"] if row.status == "failed" else []
    facts = (
        [f"WT {row.wt_ml:.1f} ml, TC {row.tc_ml or 0:.1f} ml, ET {row.et_ml or 0:.1f} ml"]
        if row.wt_ml is not None
        else []
    )
    if row.expected_dice_wt is not None:
        facts.append(
            f"Expected Dice of WT {row.expected_dice_wt:.2f} ({row.expected_dice_wt_low:.2f} to "
            f"{row.expected_dice_wt_high:.2f})"
        )
    picture = None if case.layout is None else thumbnail(case.layout.preview)
    return PageCase(case.case, row.status, tuple(facts), (*failure, *flags, *apart), picture)
