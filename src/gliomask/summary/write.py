"""All that `gliomask summarise` writes, in the order of the work."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gliomask.cohort.rows import COLUMNS
from gliomask.cohort.table import CohortSummary
from gliomask.errors import InputError
from gliomask.evaluate.results import refuse_existing as refuse_existing_scores
from gliomask.evaluate.results import write_evaluation
from gliomask.evaluate.scoring import Evaluation, evaluate
from gliomask.files.atomic import make_folder, refuse_existing, write_bytes
from gliomask.io import nifti
from gliomask.labels import Region
from gliomask.report.run_record import write_record
from gliomask.summary.cases import StudyCase, conventions_of, read_cases
from gliomask.summary.compare import RunComparison, compare
from gliomask.summary.frequency import FrequencyMap, frequency_map
from gliomask.summary.page import template
from gliomask.summary.pictures import frequency_picture
from gliomask.summary.statistics import outliers
from gliomask.summary.study import CohortStudy, page_of
from gliomask.summary.tables import FEATURE_COLUMNS, case_rows, comparison_rows, feature_rows, write_table

Progress = Callable[[str, int, int], None]

PAGE, RECORD, SCORES = "review.html", "summarise_run.json", "scores"


@dataclass(frozen=True)
class Choices:
    """What is written.

    Args:
        other: a second run to compare with; None for none.
        references: label maps to score the cohort against; None for none.
        policy: what empty regions score then, a name in `metrics.empty.POLICIES`.
        features: also shapes and intensities of every region.
        parquet: also tables as Parquet.
        frequency: the map of all tumours.
        overwrite: replace what is there.
    """

    other: Path | None = None
    references: Path | None = None
    policy: str = "brats2020"
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
        evaluation: against references; None where none were given.
        left_out: why cases are not in the map or in the features, by case.
    """

    files: tuple[Path, ...]
    summary: CohortSummary
    outliers: dict[str, list[str]]
    comparison: RunComparison | None
    evaluation: Evaluation | None
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
        EngineUnavailableError: the extra `summary` is not installed.
    """
    template()
    refuse_existing([folder / name for name in (RECORD, "cases.tsv", PAGE)], overwrite=choices.overwrite)
    if choices.references is not None:
        refuse_existing_scores(folder / SCORES, choices.overwrite)
    cases = read_cases(place)
    comparison = None if choices.other is None else compare(cases, read_cases(choices.other))
    evaluation = _evaluation(place, choices)
    make_folder(folder)
    done = [case for case in cases if case.done]
    outlying = outliers({case.case: {region: case.volume_ml(region) or 0.0 for region in Region} for case in done})
    columns = (*COLUMNS, "outlier")
    written = write_table(folder / "cases.tsv", case_rows(cases, outlying), columns, parquet=choices.parquet)
    left_out: dict[str, str] = {}
    if choices.features:
        rows = _features(done, left_out, progress)
        written += write_table(folder / "features.tsv", rows, FEATURE_COLUMNS, parquet=choices.parquet)
    frequency = frequency_map(done) if choices.frequency else None
    if frequency is not None:
        written += _write_map(frequency, folder)
        left_out |= frequency.left_out
    if comparison is not None:
        rows = comparison_rows(comparison)
        written += write_table(folder / "comparison.tsv", rows, list(rows[0]), parquet=choices.parquet)
    if evaluation is not None:
        write_evaluation(evaluation, folder / SCORES, overwrite=choices.overwrite)
    study = CohortStudy(place, tuple(cases), outlying, comparison, frequency, evaluation)
    write_bytes(folder / PAGE, page_of(study, folder).html())
    write_record(folder / RECORD, "summarise", _record(study, choices, left_out))
    paths = (*written, folder / PAGE, folder / RECORD)
    return Summarised(paths, study.summary, outlying, comparison, evaluation, left_out)


def _evaluation(place: Path, choices: Choices) -> Evaluation | None:
    if choices.references is None:
        return None
    return evaluate(place, choices.references, policy=choices.policy, labels=conventions_of(place))


def _record(study: CohortStudy, choices: Choices, left_out: dict[str, str]) -> dict[str, Any]:
    options = {
        "features": choices.features,
        "parquet": choices.parquet,
        "frequency": choices.frequency,
        "compare": choices.other and str(choices.other),
        "references": choices.references and str(choices.references),
        "policy": None if choices.references is None else choices.policy,
    }
    agreements = {} if study.comparison is None else study.comparison.agreements
    return {
        "options": options,
        "cases": len(study.cases),
        "done": study.summary.done,
        "agreement_ml": {region.value: asdict(value) for region, value in agreements.items() if value.count > 1},
        "left_out": left_out,
    }


def _features(cases: Ordered[StudyCase], left_out: dict[str, str], progress: Progress) -> list[dict[str, Any]]:
    rows = []
    for number, case in enumerate(cases, 1):
        try:
            rows += feature_rows(case)
        except InputError as error:
            left_out[case.case] = str(error)
        progress(case.case, number, len(cases))
    return rows


def _write_map(frequency: FrequencyMap, folder: Path) -> list[Path]:
    paths = [folder / "frequency.nii.gz", folder / "frequency.png"]
    nifti.write_volume(paths[0], frequency.counts, frequency.geometry, overwrite=True)
    write_bytes(paths[1], frequency_picture(frequency))
    return paths
