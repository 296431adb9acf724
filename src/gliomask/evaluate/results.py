"""Writing an evaluation: two tables, the same as JSON, box plots and the run record."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gliomask.errors import CaseError
from gliomask.evaluate.scoring import Evaluation
from gliomask.files import atomic
from gliomask.files.atomic import make_folder, write_bytes
from gliomask.files.json import to_json
from gliomask.files.tables import to_tsv
from gliomask.labels import Region
from gliomask.metrics.summary import RESAMPLES, MetricSummary
from gliomask.report.plots import BoxPlot, draw_box_plots
from gliomask.report.run_record import environment, input_hashes, write_record

FILES = ("scores.tsv", "summary.tsv", "scores.json", "boxplots.png", "evaluate_run.json")
"""What is left in the folder; the run record last, so that a folder with a record is complete."""

DEFINITIONS = {
    "dice": "2 TP / (2 TP + FP + FN)",
    "sensitivity": "TP / (TP + FN)",
    "specificity_grid": "TN / (TN + FP) over the whole grid, air included",
    "hd95_mm": "95th percentile of the Hausdorff distance; the policy says of which surface",
    "false_positive_ml": "volume predicted although the reference region is empty; blank where it is not",
    "lesion_dice": "mean over reference lesions and false predicted ones, as BraTS 2023 ranks",
    "missing, failed": "Dice, sensitivity and specificity 0 and the policy's greatest distance, also where the "
    "reference region is empty",
    "interval": f"2.5th and 97.5th percentile of {RESAMPLES} bootstrap samples over cases",
}
"""What the columns mean, for readers of scores.json."""


def refuse_existing(folder: Path, overwrite: bool, more: tuple[str, ...] = ()) -> None:
    """Raises UsageError where the folder holds results and they may not be replaced."""
    paths = [folder / name for name in (*FILES, *more)]
    atomic.refuse_existing(
        paths, overwrite=overwrite, remedy="Give --overwrite to replace the results, or another output folder."
    )


def write_evaluation(
    evaluation: Evaluation, folder: Path, *, overwrite: bool = False, seconds: dict[str, float] | None = None
) -> None:
    """Writes `FILES` into a folder, which is made where it does not exist.

    Args:
        evaluation: what `evaluate` returned.
        folder: where to.
        overwrite: replace results that exist.
        seconds: time taken by stage, for the record.

    Raises:
        UsageError: a result exists and `overwrite` is false.
    """
    refuse_existing(folder, overwrite)
    make_folder(folder)
    write_bytes(folder / "scores.tsv", to_tsv(_case_rows(evaluation)))
    write_bytes(folder / "summary.tsv", to_tsv(_summary_rows(evaluation)))
    write_bytes(folder / "scores.json", to_json(_blank(as_dict(evaluation))))
    draw_box_plots(_plots(evaluation), folder / "boxplots.png")
    paths = [
        path
        for row in evaluation.rows
        for path in (row.prediction, row.reference)
        if path is not None and path.is_file()
    ]
    flags = [f"{row.case_id}: {row.status}" for row in evaluation.rows if row.reason]
    flags += [f"{row.case_id}: {row.note}" for row in evaluation.rows if row.note]
    write_record(
        folder / "evaluate_run.json",
        "evaluate",
        {
            "options": options(evaluation),
            "threads": 1,
            "seconds": seconds or {},
            "quality_flags": flags,
            "inputs": input_hashes(paths),
        },
    )


def options(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the choices that the scores rest on."""
    return {
        "policy": evaluation.policy.name,
        "labels": evaluation.labels.name,
        "reference_labels": evaluation.reference_labels.name
        if evaluation.reference_labels
        else "as the layout names them",
        "seed": evaluation.seed,
    }


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Returns everything, in the form of scores.json but with NaN for blank cells."""
    cases = [
        {
            "case": row.case_id,
            "status": row.status.value,
            "reason": row.reason,
            "note": row.note,
            "prediction": str(row.prediction) if row.prediction else None,
            "reference": str(row.reference) if row.reference else None,
            "reference_labels": row.reference_labels.name if row.reference_labels else None,
            "scores": {
                region.value: {metric: getattr(scores, metric) for metric in evaluation.metrics}
                for region, scores in row.scores.items()
            },
        }
        for row in evaluation.rows
    ]
    summary = {
        region.value: {metric: asdict(value) for metric, value in metrics.items()}
        for region, metrics in evaluation.summary.items()
    }
    settings = {
        "options": options(evaluation),
        "policy": asdict(evaluation.policy),
        "definitions": DEFINITIONS,
        "environment": environment(),
    }
    return {**settings, "cases": cases, "summary": summary}


def _case_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for row in evaluation.rows:
        cells: dict[str, Any] = {"case": row.case_id, "status": row.status.value, "policy": evaluation.policy.name}
        for region in Region:
            for metric in evaluation.metrics:
                cells[f"{region}_{metric}"] = getattr(row.scores[region], metric) if row.scores else math.nan
        rows.append(cells | {"reason": row.reason})
    return rows


def _summary_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {"region": region.value, "metric": metric, "policy": evaluation.policy.name, **asdict(value)}
        for region, metrics in evaluation.summary.items()
        for metric, value in metrics.items()
        if value.n
    ]


def _blank(value: Any) -> Any:
    """The same structure with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _plots(evaluation: Evaluation) -> list[BoxPlot]:
    lesions = (
        [("lesion_dice", "lesion-wise Dice", False), ("lesion_hd95_mm", "lesion-wise HD95 (mm)", True)]
        if evaluation.policy.lesions
        else []
    )
    columns = [
        ("dice", "Dice", False),
        ("sensitivity", "sensitivity", False),
        ("hd95_mm", f"HD95 (mm), {evaluation.policy.name}", True),
        *lesions,
    ]
    return [
        BoxPlot(
            title, {region.value: list(evaluation.column(region, metric).values()) for region in Region}, logarithmic
        )
        for metric, title, logarithmic in columns
    ]


def describe(evaluation: Evaluation) -> str:
    """Returns the main scores as a table in text, with what the numbers rest on."""
    summary = evaluation.summary
    metrics = [
        ("dice", "Dice"),
        ("sensitivity", "sensitivity"),
        ("specificity_grid", "specificity"),
        ("hd95_mm", "HD95 mm"),
    ]
    if evaluation.policy.lesions is not None:
        metrics += [("lesion_dice", "lesion Dice"), ("lesion_hd95_mm", "lesion HD95 mm")]
    lines = [f"{'region':7}{'metric':16}{'n':>4}{'median':>9}{'95 % interval':>20}{'mean':>9}{'95 % interval':>20}"]
    for region in Region:
        for metric, title in metrics:
            lines.append(f"{region.value:7}{title:16}{_numbers(summary[region][metric])}")
    counts = Counter(row.status.value for row in evaluation.rows)
    lines.append("Cases: " + ", ".join(f"{number} {status}" for status, number in counts.items()) + ".")
    lines.append(
        f"Policy {evaluation.policy.name}: {evaluation.policy.description}; HD95 of {evaluation.policy.surface}; "
        "specificity over the whole grid."
    )
    return "\n".join(lines)


def _numbers(value: MetricSummary) -> str:
    if value.n == 0:
        return f"{0:>4}"
    median, mean = (
        f"{low:.3f} to {high:.3f}"
        for low, high in ((value.median_low, value.median_high), (value.mean_low, value.mean_high))
    )
    return f"{value.n:>4}{value.median:>9.3f}{median:>20}{value.mean:>9.3f}{mean:>20}"


def raise_without_scores(evaluation: Evaluation) -> None:
    """Raises CaseError where a reference case has no usable prediction or no usable reference; call it when all is
    written.
    """
    bad = evaluation.without_scores
    if bad:
        total = sum(row.reference is not None for row in evaluation.rows)
        names = ", ".join(f"{row.case_id} ({row.status})" for row in bad[:10]) + (", ..." if len(bad) > 10 else "")
        raise CaseError(
            f"{len(bad)} of {total} reference cases could not be scored: {names}. The reasons stand in scores.tsv; "
            f"the first: {bad[0].reason}"
        )
