"""The paper's qualitative panel of an evaluated cohort: which cases, which slice, and what each column shows."""

from __future__ import annotations

from collections.abc import Container, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.errors import CaseError, FileFormatError, GeometryError, UsageError
from gliomask.evaluate.scoring import CaseResult, Evaluation, Status, pair_label_maps
from gliomask.geometry import Geometry
from gliomask.io.brats import CaseFiles, find_cases, read_case, read_label_map_on
from gliomask.io.label_maps import find_label_maps
from gliomask.io.nifti import read_shape
from gliomask.labels import LabelConvention, Region
from gliomask.metrics.overlap import count
from gliomask.postprocess import postprocess
from gliomask.report.panel import PanelRow, draw_panel
from gliomask.results.layout import CaseLayout
from gliomask.results.record import read_record

PAPER_COLUMNS = {"network alone": "none", "small parts dropped": "1", "and outline smoothed": "1+2"}
"""The paper's columns after the reference, and the post-processing that each shows."""

RESULT = "result"
"""The column after the reference where label maps were post-processed already."""

ORIENTATION = "LPS"
"""Axial slices lie along K, the patient's right is at low I."""

PANEL_FILE = "panel.png"


@dataclass(frozen=True)
class PanelSource:
    """What a panel is drawn from, looked through before anything is scored.

    Args:
        scans: files of the cases, by id.
        label_maps: label maps that are shown, by id.
        chosen: ids to show; empty for an even spread.
        count: how many are shown, where `chosen` is empty.
        chains: the post-processing that each label map's run record names, by its path; label maps without a record are
            not in it.
    """

    scans: Mapping[str, CaseFiles]
    label_maps: Mapping[str, Path]
    chosen: tuple[str, ...]
    count: int
    chains: Mapping[Path, str]

    @property
    def columns(self) -> Mapping[str, str | None]:
        """Columns after the reference, and the post-processing that each applies; None for none, because it was done
        already.
        """
        return PAPER_COLUMNS if all(chain == "none" for chain in self.chains.values()) else {RESULT: None}


def panel_source(
    predictions: Path,
    references: Path,
    scans: Path,
    *,
    cases: Ordered[str] = (),
    count: int = 4,
    shown: Path | None = None,
) -> PanelSource:
    """Finds what a panel needs, so that nothing is scored for a panel that cannot be drawn.

    Args:
        predictions: the label maps that are to be scored.
        references: what they are to be scored against.
        scans: a BraTS tree or Decathlon Task01 with the cases' FLAIR.
        cases: ids to show; otherwise `count` of them, see `spread`.
        count: how many, where `cases` is empty.
        shown: other label maps of the same cases to show, such as those without post-processing; None for
            `predictions`.

    Raises:
        UsageError: a case that was asked for is not scored.
        CaseError: a case's scans or its label map are not there or lie on another grid, or no case has both.
        FileFormatError: a run record beside a label map names no post-processing.
    """
    scored = {
        pair.case_id: prediction.path
        for pair, prediction in pair_label_maps(predictions, references)[0]
        if prediction is not None
    }
    label_maps = {case_id: file.path for case_id, file in find_label_maps(shown).items()} if shown else scored
    files = {case.case_id: case for case in find_cases(scans)}
    unknown = [case_id for case_id in cases if case_id not in scored]
    if unknown:
        raise UsageError(
            f"--panel-case {unknown[0]}: no case with a label map and a reference has this id. There are "
            f"{', '.join(list(scored)[:5])}."
        )
    lacking = {
        case_id: why for case_id in cases or scored if (why := _lacking(case_id, label_maps, files, scans, shown))
    }
    complete = [case_id for case_id in cases or scored if case_id not in lacking]
    if lacking and (cases or not complete):
        case_id, why = next(iter(lacking.items()))
        raise CaseError(f"The panel cannot show case {case_id}: {why}")
    chains = {label_maps[case_id]: chain for case_id in complete if (chain := _chain(label_maps[case_id])) is not None}
    chosen = {case_id: label_maps[case_id] for case_id in complete}
    return PanelSource(
        {case_id: files[case_id] for case_id in complete}, chosen, tuple(cases), count, MappingProxyType(chains)
    )


def _lacking(
    case_id: str, label_maps: Mapping[str, Path], files: Mapping[str, CaseFiles], scans: Path, shown: Path | None
) -> str:
    """Why a case cannot be shown, as a sentence; empty where it can."""
    if case_id not in files:
        return f"{scans} has no scans of it. Give the folder of the scans that were segmented."
    if case_id not in label_maps:
        return f"{shown} has no label map of it. Name cases that are there by --panel-case."
    used = files[case_id]
    scan = used.channels or used.sequences[used.used()[0]]
    shapes = [read_shape(path)[:3] for path in (scan, label_maps[case_id])]
    if sorted(shapes[0]) != sorted(shapes[1]):
        return (
            f"its label map has {shapes[1]} voxels, its scan {scan.name} {shapes[0]}. The panel needs scans on the "
            "label map's grid (--keep-images)."
        )
    return ""


def write_panel(evaluation: Evaluation, source: PanelSource, picture: Path) -> None:
    """Draws the panel of some evaluated cases, at the axial slice with most reference tumour.

    Label maps that are the network's own answer are shown as in the paper: alone, and after its two steps of
    post-processing. Where one of them was post-processed, which is what `gliomask segment` does unless told otherwise,
    all are shown as they are.

    Args:
        evaluation: what `evaluate` returned.
        source: what `panel_source` found.
        picture: the PNG file.

    Raises:
        UsageError: a case was not scored.
        GeometryError: scans and label maps lie on different grids.
    """
    chosen = _named(evaluation, source.chosen) if source.chosen else spread(evaluation, source.count, source.scans)
    draw_panel([_row(result, source, evaluation) for result in chosen], picture)


def spread(evaluation: Evaluation, count: int, among: Container[str]) -> list[CaseResult]:
    """Returns `count` scored cases at even ranks of whole-tumour Dice, lowest first: nobody picks.

    Args:
        evaluation: what `evaluate` returned.
        count: how many; fewer where there are fewer.
        among: ids that may be chosen.

    Raises:
        UsageError: none of them was scored.
    """
    scored = [row for row in evaluation.rows if row.status is Status.SCORED and row.case_id in among]
    if not scored:
        raise UsageError("No case of the panel was scored, so there is none to draw.")
    scored.sort(key=lambda row: (row.scores[Region.WT].dice, row.case_id))
    ranks = sorted({round(rank) for rank in np.linspace(0, len(scored) - 1, count)})
    return [scored[rank] for rank in ranks]


def _named(evaluation: Evaluation, cases: Ordered[str]) -> list[CaseResult]:
    scored = {row.case_id: row for row in evaluation.rows if row.status is Status.SCORED}
    unknown = [case_id for case_id in cases if case_id not in scored]
    if unknown:
        raise UsageError(
            f"--panel-case {unknown[0]}: no scored case has this id. Scored: {', '.join(list(scored)[:5])}."
        )
    return [scored[case_id] for case_id in cases]


def _row(result: CaseResult, source: PanelSource, evaluation: Evaluation) -> PanelRow:
    case = read_case(source.scans[result.case_id])
    turn = case.geometry.reorientation_to(ORIENTATION)

    def read(path: Path, labels: LabelConvention) -> LabelMap:
        read_or_grid = read_label_map_on(path, labels, case.geometry)
        if isinstance(read_or_grid, Geometry):
            raise GeometryError(
                f"{path} lies on another grid than the scans of case {case.case_id}: {read_or_grid} against "
                f"{case.geometry}."
            )
        return turn.apply(read_or_grid[0])

    assert result.reference is not None
    assert result.reference_labels is not None
    reference = read(result.reference, result.reference_labels)
    network = read(source.label_maps[result.case_id], evaluation.labels)
    spacing_mm = turn.target.spacing_mm
    variants = {
        title: network if chain is None else postprocess(network, chain, spacing_mm)
        for title, chain in source.columns.items()
    }
    k = int(np.count_nonzero(reference, axis=(0, 1)).argmax())
    slices = {"reference": reference[:, :, k]} | {title: variant[:, :, k] for title, variant in variants.items()}
    captions = {title: _dice_line(reference, variant) for title, variant in variants.items()}
    flair = turn.apply(case.volumes[case.sequences[0]])[:, :, k]
    return PanelRow(result.case_id, flair, slices, spacing_mm[:2], captions)


def _dice_line(reference: LabelMap, prediction: LabelMap) -> str:
    """Dice of the whole volume by region; a dash where both regions are empty."""
    scores = {region: count(region.mask(reference), region.mask(prediction)).dice for region in Region}
    return "  ".join(
        f"{region} {dice:.2f}" if dice == dice else f"{region} \N{EN DASH}" for region, dice in scores.items()
    )


def _chain(label_map: Path) -> str | None:
    """The post-processing that a label map's run record names; None where there is no record."""
    path = CaseLayout(label_map).record
    record = read_record(path)
    if record is None:
        return None
    chain = record.options.get("postprocess")
    if chain is None:
        raise FileFormatError(
            f"{path}: is no run record of a segmentation: it names no post-processing. Remove it, or segment "
            "the case again."
        )
    return str(chain)
