"""The paper's qualitative panel of an evaluated cohort: which cases, which slice, and what each column shows."""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from pathlib import Path

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.errors import CaseError, FileFormatError, GeometryError, UsageError
from gliomask.evaluate.scoring import CaseResult, Evaluation, Status
from gliomask.geometry import Geometry
from gliomask.io.brats import CaseFiles, find_cases, read_case, read_label_map_on
from gliomask.io.label_maps import find_label_maps
from gliomask.io.nifti import stem
from gliomask.labels import LabelConvention, Region
from gliomask.metrics.overlap import count
from gliomask.postprocess import postprocess
from gliomask.report.panel import PanelRow, draw_panel
from gliomask.results.record import read_record

COLUMNS = {"network": "none", "+ 1": "1", "+ 1 + 2": "1+2"}
"""The paper's columns after the reference, and the post-processing that each shows."""

ORIENTATION = "LPS"
"""Axial slices lie along K, the patient's right is at low I."""

PANEL_FILE = "panel.png"


def write_panel(evaluation: Evaluation, scans: Path, picture: Path, *, cases: Ordered[str] = (), count: int = 4, predictions: Path | None = None) -> None:
    """Draws the panel of some evaluated cases, at the axial slice with most reference tumour.

    Args:
        evaluation: what `evaluate` returned.
        scans: a BraTS tree or Decathlon Task01 with the cases' FLAIR.
        picture: the PNG file.
        cases: ids to show; otherwise `count` cases at even ranks of whole-tumour Dice, from the lowest to the highest: nobody picks.
        count: how many, where `cases` is empty.
        predictions: label maps without post-processing; those that were evaluated where it is None.

    Raises:
        UsageError: a case was not scored, or its label map was already post-processed.
        CaseError: scans or a prediction are missing.
        GeometryError: scans and label maps lie on different grids.
    """
    chosen = _named(evaluation, cases) if cases else spread(evaluation, count)
    files = {case.case_id: case for case in find_cases(scans)}
    raw = {case_id: file.path for case_id, file in find_label_maps(predictions).items()} if predictions else {}
    rows = []
    for result in chosen:
        path = raw.get(result.case_id) if predictions else result.prediction
        if result.case_id not in files or path is None:
            place = scans if result.case_id not in files else predictions
            raise CaseError(f"The panel lacks case {result.case_id} in {place}. Name cases that are there by --panel-case.")
        rows.append(_row(result, files[result.case_id], path, evaluation))
    draw_panel(rows, picture)


def spread(evaluation: Evaluation, count: int) -> list[CaseResult]:
    """Returns `count` scored cases at even ranks of whole-tumour Dice, lowest first.

    Raises:
        UsageError: no case was scored.
    """
    scored = sorted((row for row in evaluation.rows if row.status is Status.SCORED), key=lambda row: (row.scores[Region.WT].dice, row.case_id))
    if not scored:
        raise UsageError("No case was scored, so there is none to draw a panel of.")
    ranks = sorted({round(rank) for rank in np.linspace(0, len(scored) - 1, count)})
    return [scored[rank] for rank in ranks]


def _named(evaluation: Evaluation, cases: Ordered[str]) -> list[CaseResult]:
    scored = {row.case_id: row for row in evaluation.rows if row.status is Status.SCORED}
    unknown = [case_id for case_id in cases if case_id not in scored]
    if unknown:
        raise UsageError(f"--panel-case {unknown[0]}: no scored case has this id. Scored: {', '.join(list(scored)[:5])}.")
    return [scored[case_id] for case_id in cases]


def _row(result: CaseResult, files: CaseFiles, prediction: Path, evaluation: Evaluation) -> PanelRow:
    _refuse_processed(prediction)
    case = read_case(files)
    turn = case.geometry.reorientation_to(ORIENTATION)

    def read(path: Path, labels: LabelConvention) -> LabelMap:
        found = read_label_map_on(path, labels, case.geometry)
        if isinstance(found, Geometry):
            raise GeometryError(f"{path} lies on another grid than the scans of case {case.case_id}: {found} against {case.geometry}.")
        return turn.apply(found[0])

    assert result.reference is not None
    assert result.reference_labels is not None
    reference = read(result.reference, result.reference_labels)
    network = read(prediction, evaluation.labels)
    variants = {title: postprocess(network, chain, turn.target.spacing_mm) for title, chain in COLUMNS.items()}
    k = int(np.count_nonzero(reference, axis=(0, 1)).argmax())
    slices = {"reference": reference[:, :, k]} | {title: variant[:, :, k] for title, variant in variants.items()}
    captions = {title: _dice_line(reference, variant) for title, variant in variants.items()}
    flair = turn.apply(case.volumes[case.sequences[0]])[:, :, k]
    return PanelRow(result.case_id, flair, slices, turn.target.spacing_mm[:2], captions)


def _dice_line(reference: LabelMap, prediction: LabelMap) -> str:
    """Dice of the whole volume by region; a dash where both regions are empty."""
    scores = {region: count(region.mask(reference), region.mask(prediction)).dice for region in Region}
    return "  ".join(f"{region} {dice:.2f}" if dice == dice else f"{region} \N{EN DASH}" for region, dice in scores.items())


def _refuse_processed(prediction: Path) -> None:
    """Raises where the run record beside a label map says that it is not the network's own answer."""
    path = prediction.with_name(stem(prediction).removesuffix("_seg") + "_run.json")
    record = read_record(path)
    if record is None:
        return
    chain = record.options.get("postprocess")
    if chain is None:
        raise FileFormatError(f"{path}: is no run record of a segmentation: it names no post-processing. Remove it, or segment the case again.")
    if chain != "none":
        raise UsageError(
            f"{prediction} was post-processed ('{chain}'); the panel starts from the network's own answer. "
            "Segment with --postprocess none into another folder and give that by --panel-predictions."
        )
