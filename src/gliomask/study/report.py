"""Writing up a study, finished or not: tables, pictures, page."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gliomask.evaluate.panel import PanelSource, write_panel
from gliomask.evaluate.scoring import CaseResult, Evaluation, Status
from gliomask.files.json import read_json
from gliomask.io.brats import find_cases
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region, convention
from gliomask.metrics.empty import policy
from gliomask.report.run_record import environment
from gliomask.results.layout import CaseLayout
from gliomask.study.figures import Curve, draw_comparison, draw_curves
from gliomask.study.folder import StudyFolder, merge_rows
from gliomask.study.page import Facts, page
from gliomask.study.plan import StudyPlan, Task, TaskKind
from gliomask.study.results import Results
from gliomask.study.tables import read_tsv, to_tsv

PANEL_ROWS = 4


def write_report(
    folder: StudyFolder, plan: StudyPlan, data: Path | None, changed: Collection[str] | None = None
) -> Results:
    """Writes tables, pictures and page from what is there.

    Args:
        folder: of the study.
        plan: the study.
        data: its cases, for the panel, which needs their FLAIR; None leaves the panel as it is.
        changed: experiments that have new scores; pictures of other comparisons, the learning curves and the panel are
            left as they are. None writes everything.
    """
    folder.table("any").parent.mkdir(parents=True, exist_ok=True)
    facts = Facts(
        trainings=_trainings(folder, plan), predictions=_predictions(folder, plan), curves=_curves(folder, plan)
    )
    results = Results.read(folder, plan)
    for name, rows in (
        ("summary", results.summary_rows()),
        ("paired", results.paired_rows()),
        ("status", results.state_rows()),
    ):
        if rows:
            write_bytes(folder.table(name), to_tsv(rows))
    _draw(folder, results, facts, changed)
    if data is not None and changed is None:
        _draw_panel(folder, results, data)
    drawn = {path.stem for path in folder.figure("any").parent.glob("*.png")}
    write_bytes(folder.page, page(results, facts, drawn).encode())
    return results


def _draw(folder: StudyFolder, results: Results, facts: Facts, changed: Collection[str] | None) -> None:
    plan = results.plan
    for comparison in plan.study.comparisons:
        baseline = plan.study.baseline_of(comparison)
        names = [baseline, *comparison.experiments]
        if (changed is not None and not set(names) & set(changed)) or not any(
            results.cells[name].scores for name in names
        ):
            continue
        scores = {
            plan.rows[name].experiment.label: {
                region: list(results.cells[name].column(region, "dice").values()) for region in Region
            }
            for name in names
        }
        draw_comparison(comparison.title, scores, plan.rows[baseline].experiment.label, folder.figure(comparison.name))
    panels = _curve_panels(plan, facts)
    if panels and changed is None:
        draw_curves(panels, folder.figure("learning_curves"))


def _curve_panels(plan: StudyPlan, facts: Facts) -> dict[str, list[Curve]]:
    """The curves of each comparison of several trainings."""
    panels = {}
    for comparison in plan.study.comparisons:
        names = [plan.study.baseline_of(comparison), *comparison.experiments]
        trainings = {plan.rows[name].training: name for name in reversed(names)}
        curves = [
            curve
            for name in names
            if trainings[plan.rows[name].training] == name
            for curve in _curves_of(plan, name, facts)
        ]
        if len(trainings) > 1 and curves:
            panels[comparison.title] = curves
    return panels


def _curves_of(plan: StudyPlan, name: str, facts: Facts) -> list[Curve]:
    row, curves = plan.rows[name], []
    for fold in plan.folds:
        points = [point for point in facts.curves if (point["training"], point["fold"]) == (row.training, str(fold))]
        if points:
            shares = [float(point["epoch"]) / row.config.epochs for point in points]
            curves.append(Curve(row.experiment.label, shares, [float(point["loss"]) for point in points]))
    return curves


def _done(folder: StudyFolder, plan: StudyPlan, kind: TaskKind, names: list[str]) -> list[Task]:
    return [
        task
        for name in dict.fromkeys(names)
        for fold in plan.folds
        if folder.done(plan, task := Task(kind, name, fold))
    ]


def _known(folder: StudyFolder, table: str, name: str) -> set[tuple[str, str]]:
    path = folder.table(table)
    return {(row[name], row["fold"]) for row in read_tsv(path)} if path.exists() else set()


def _text(rows: list[dict[str, Any]], names: set[str], key: str) -> list[dict[str, str]]:
    """Rows of this study's trainings or predictions, as a table reads them."""
    return [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in rows if row[key] in names
    ]


def _trainings(folder: StudyFolder, plan: StudyPlan) -> list[dict[str, str]]:
    """A row per finished training; those that a deleted `work/` held are kept."""
    known, rows = _known(folder, "trainings", "training"), []
    machine = environment()
    for task in _done(folder, plan, TaskKind.TRAIN, [row.training for row in plan.rows.values()]):
        if (task.name, str(task.fold)) in known:
            continue
        record = read_json(folder.training(task.name, task.fold) / "train_run.json")
        rows.append(
            {
                "training": task.name,
                "fold": task.fold,
                "network": record["config"]["network"],
                "seed": record["config"]["seed"],
                "cases": len(record["training_cases"]),
                "patches": record["patches"],
                "patch_size": record["config"]["patch_size"],
                "epochs": folder.epochs_done(task.name, task.fold),
                "hours": record["hours"],
                **{name: record[name] for name in ("threads", "backend", "device", "gliomask", "keras")},
                "machine": f"{machine['system']}, {machine['processors']} processors",
            }
        )
    return _text(
        merge_rows(folder.table("trainings"), rows, ("training", "fold")),
        {row.training for row in plan.rows.values()},
        "training",
    )


CURVE_COLUMNS = ("validation_loss", "epoch", "loss", "seconds", "waiting_share")
"""Of a training's log, those that logs of all versions have: rows of several go into one table."""


def _curves(folder: StudyFolder, plan: StudyPlan) -> list[dict[str, str]]:
    known, rows = _known(folder, "curves", "training"), list[dict[str, Any]]()
    for task in _done(folder, plan, TaskKind.TRAIN, [row.training for row in plan.rows.values()]):
        if (task.name, str(task.fold)) not in known:
            for point in folder.learning_curve(task.name, task.fold):
                rows.append(
                    {"training": task.name, "fold": task.fold, **{name: point.get(name) for name in CURVE_COLUMNS}}
                )
    return _text(
        merge_rows(folder.table("curves"), rows, ("training", "fold", "epoch")),
        {row.training for row in plan.rows.values()},
        "training",
    )


def _predictions(folder: StudyFolder, plan: StudyPlan) -> list[dict[str, str]]:
    known, rows = _known(folder, "predictions", "prediction"), []
    for task in _done(folder, plan, TaskKind.PREDICT, [row.prediction for row in plan.rows.values()]):
        if (task.name, str(task.fold)) in known:
            continue
        paths = [CaseLayout.of(folder.prediction(task.name), case).record for case in plan.cases(task.fold)]
        records = [read_json(path) for path in paths]
        medians = {
            f"{stage}_seconds": statistics.median(record["seconds"][stage] for record in records)
            for stage in ("network", "total")
        }
        rows.append(
            {
                "prediction": task.name,
                "fold": task.fold,
                "cases": len(records),
                **medians,
                "threads": records[0]["threads"],
            }
        )
    return _text(
        merge_rows(folder.table("predictions"), rows, ("prediction", "fold")),
        {row.prediction for row in plan.rows.values()},
        "prediction",
    )


def _draw_panel(folder: StudyFolder, results: Results, data: Path) -> None:
    """Draws the paper's panel of the baseline, where its label maps are there."""
    plan = results.plan
    predictions = folder.prediction(plan.rows[plan.study.baseline].prediction)
    files = {case.case_id: case for case in find_cases(data)}
    rows = [
        CaseResult(case, Status.SCORED, "", label_map, files[case].reference, files[case].labels, scores)
        for case, scores in results.cells[plan.study.baseline].scores.items()
        if case in files and (label_map := CaseLayout.of(predictions, case).label_map).exists()
    ]
    if rows:
        evaluation = Evaluation(tuple(rows), policy(plan.study.policy), convention("brats2021"), None, plan.study.seed)
        label_maps = {row.case_id: row.prediction for row in rows if row.prediction is not None}
        source = PanelSource(
            {case: files[case] for case in label_maps},
            label_maps,
            (),
            PANEL_ROWS,
            dict.fromkeys(label_maps.values(), "none"),
        )
        write_panel(evaluation, source, folder.figure("panel"))
