"""The three steps of a study, each for one held-out fold: train a network, let it predict, score what it predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gliomask.errors import CaseError, GeometryError
from gliomask.geometry import Geometry
from gliomask.io.brats import CaseFiles, find_cases, read_label_map, read_label_map_on
from gliomask.io.nifti import write_bytes
from gliomask.labels import Region, convention
from gliomask.metrics.empty import Policy, policy
from gliomask.metrics.region import RegionScores, score_region
from gliomask.models.files import SPEC_NAME
from gliomask.postprocess import postprocess
from gliomask.preprocess.channels import NETWORK_ORIENTATION
from gliomask.results.layout import CaseLayout
from gliomask.segmentation import Delivery, Options, Segmentation, Segmenter
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.source import FileSource
from gliomask.study.folder import StudyFolder
from gliomask.study.plan import StudyPlan, Task, TaskKind
from gliomask.study.tables import Cells, to_tsv

LABELS = convention("brats2021")
"""How predictions are written."""

Tell = Callable[[str], None]
"""Takes a line about how the work goes."""


def do_task(
    folder: StudyFolder, plan: StudyPlan, task: Task, data: Path, *, threads: int | None, backend: str, tell: Tell
) -> None:
    """Does one step; what an interrupted process left of it is gone on with.

    Args:
        folder: of the study.
        plan: the study.
        task: the step; the one that it needs is done.
        data: the labelled cases.
        threads: of the training or the engine.
        backend: what Keras runs on.
        tell: told of every epoch or case.

    Raises:
        GliomaskError: whatever the training, the segmentation or the scoring refuses.
    """
    if task.kind is TaskKind.TRAIN:
        _train(folder, plan, task, data, threads, backend, tell)
        return
    files = {case.case_id: case for case in find_cases(data)}
    cases = [files[case] for case in plan.cases(task.fold)]
    if task.kind is TaskKind.PREDICT:
        row = plan.row_of_prediction(task.name)
        cut = row.experiment.inference
        model = str(folder.model(row.training, task.fold))
        options = Options(
            model=model,
            raw="never",
            patches=cut.patches,
            patch_size=cut.patch_size,
            stride=cut.stride,
            postprocess="none",
            threads=threads,
        )
        predict_missing(options, cases, folder.prediction(task.name), tell)
    else:
        row = plan.rows[task.name]
        scored = score_cases(
            folder.prediction(row.prediction), cases, row.experiment.postprocess, policy(plan.study.policy), tell
        )
        everything = Cells(folder.read_cells(task.name).scores | scored.scores)
        folder.cells(task.name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder.cells(task.name), to_tsv(everything.rows(plan.fold_of)))


class _StudyTeller:
    """Shows a training line by line."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def read(self, case_id: str, done: int, total: int) -> None:
        """Says when all cases have been read."""
        if done == total:
            self.tell(f"read {total} cases, the last {case_id}")

    def step(self, step: object) -> None:
        """Steps are too many to tell of."""

    def epoch(self, history: list[dict[str, float]]) -> None:
        """Tells the newest row."""
        self.tell("  ".join(f"{name} {value:g}" for name, value in history[-1].items()))

    def note(self, text: str) -> None:
        """Passes it on."""
        self.tell(text)


def _train(
    folder: StudyFolder, plan: StudyPlan, task: Task, data: Path, threads: int | None, backend: str, tell: Tell
) -> None:
    from gliomask.training.backend import use_backend

    use_backend(backend, threads)
    from gliomask.training.export import export_model
    from gliomask.training.run import run_training

    config = plan.config(task.name).model_copy(update={"threads": threads})
    table = folder.work / "folds.tsv"
    rows = [{"case": case, "fold": fold} for case, fold in plan.fold_of.items()]
    write_bytes(table, to_tsv(rows))
    run = folder.training(task.name, task.fold)
    run_training(data, run, config, table, task.fold, _StudyTeller(tell))
    model = folder.model(task.name, task.fold)
    if not (model / SPEC_NAME).exists():
        # For this study alone; a model that is handed on is exported again, with its licence and the names of those who
        # gave the data.
        export_model(
            run,
            model,
            name=f"{task.name}-fold{task.fold}",
            licence="not to be handed on",
            attribution=[],
            postprocess="none",
        )


def predict_missing(
    options: Options,
    cases: list[CaseFiles],
    output: Path,
    tell: Tell,
    keep: Callable[[Segmentation], None] = lambda result: None,
) -> None:
    """Segments the cases that have no complete result in a folder yet; results that are there are left alone.

    Args:
        options: model, cut, post-processing, threads.
        cases: that may be segmented with this model.
        output: gets CASE_seg.nii.gz and the other results of each.
        tell: told of every case.
        keep: given every result, to keep more of it than the files do.
    """
    missing = [case for case in cases if not CaseLayout.of(output, case.case_id).record.exists()]
    if not missing:
        return
    # The record is written last: what lies there without one is what a killed process left.
    delivery = Delivery(LABELS, preview=False, overwrite=True)
    with Segmenter(options) as segmenter:
        for case in missing:
            for leftover in (*output.glob(f".{case.case_id}_*.part"), *CaseLayout.of(output, case.case_id).all()):
                leftover.unlink(missing_ok=True)
            keep(segment_to_files(segmenter, FileSource(case), output, delivery))
            tell(f"segmented {case.case_id}")


def score_cases(predictions: Path, cases: list[CaseFiles], chain: str, rules: Policy, tell: Tell) -> Cells:
    """Scores label maps after post-processing, as `gliomask evaluate` scores what `gliomask segment --postprocess`
    writes.

    Args:
        predictions: CASE_seg.nii.gz of each case, without post-processing.
        cases: with their references.
        chain: name of the post-processing.
        rules: what empty regions score.
        tell: told of every case.

    Raises:
        CaseError: a case has no reference.
        GeometryError: a prediction lies on another grid than its reference.
    """
    scores = {}
    for case in cases:
        scores[case.case_id] = _score(predictions / f"{case.case_id}_seg.nii.gz", case, chain, rules)
        tell(f"scored {case.case_id}")
    return Cells(scores)


def _score(prediction: Path, case: CaseFiles, chain: str, rules: Policy) -> dict[Region, RegionScores]:
    if case.reference is None:
        raise CaseError(
            f"Case {case.case_id}: no reference label map (a file named like {case.case_id}_seg.nii.gz) was found."
        )
    label_map, geometry = read_label_map(prediction, LABELS)
    read = read_label_map_on(case.reference, case.labels, geometry)
    if isinstance(read, Geometry):
        raise GeometryError(
            f"{prediction} lies on another grid than its reference: {geometry} against {read}. Segment the case again."
        )
    reference = read[0]
    turn = geometry.reorientation_to(NETWORK_ORIENTATION)
    spacing_mm = turn.target.spacing_mm
    cleaned, reference = (
        postprocess(turn.apply(label_map), chain, spacing_mm),
        np.ascontiguousarray(turn.apply(reference)),
    )
    return {region: score_region(region.mask(reference), region.mask(cleaned), spacing_mm, rules) for region in Region}
