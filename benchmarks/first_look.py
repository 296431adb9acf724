"""How views along three planes are best joined: every patient segmented along three planes of the whole brain, and each
way made of the same views:

    python benchmarks/first_look.py MODEL CASES -o docs/tables/first_look.tsv [--append]

MODEL is the model folder of one fold; only cases that it held out are segmented, so five calls with --append score
every patient once. CASES is a folder of BraTS cases with references. Float32, post-processing 3d, the rule for
enhancement of docs/decisions/0013-three-planes.md.

A row a case and way: its cost, in views of the whole brain (pixels of the boxes that would go through the network), and
the Dice of each region. What this leaves out is that a network sees less of the surroundings in a smaller box;
`shortcuts.py` measures that.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomask.arrays import LabelMap, Mask, Probabilities
from gliomask.io.brats import CaseFiles, find_cases, read_case, read_reference
from gliomask.labels import REGION_NAMES, Label, Region
from gliomask.metrics.overlap import count
from gliomask.planes import VOLUME_AXES, Plane
from gliomask.postprocess import EnhancementRule, decide, postprocess
from gliomask.predict.brain import PatchPlan, answers, predict_brain
from gliomask.predict.planes import along
from gliomask.preprocess.channels import Prepared, prepare_on_demand
from gliomask.segmentation import Options, Segmenter

RULE = EnhancementRule(probability=0.9, seed_ml=0.03)
SUSPICION = 0.1
LOOKS = ((3, SUSPICION, 4), (3, SUSPICION, 6), (3, SUSPICION, 8), (3, 0.03, 4), (4, SUSPICION, 6))
"""Every how many slices are looked at, what is suspected, and how many voxels round that the three views are taken in.
"""

Row = dict[str, str | float]


def views(segmenter: Segmenter, prepared: Prepared) -> list[Probabilities]:
    """Returns the probabilities (I, J, K, 4) that each plane gives the whole brain."""
    member, found = segmenter.first, []
    for plane in Plane:
        normal, rows, columns = VOLUME_AXES[plane]
        seen = predict_brain(along(prepared, plane), member.network, PatchPlan(), member.engine.predict)
        found.append(seen.transpose(*np.argsort((rows, columns, normal)), 3))
    return found


def pixels(segmenter: Segmenter, prepared: Prepared, region: Mask, planes: tuple[Plane, ...]) -> int:
    """Returns how many pixels go through the network for a region."""
    total = 0

    def counted(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        nonlocal total
        total += int(np.prod(batch.shape[:-1]))
        return np.zeros((*batch.shape[:-1], len(Label)), np.float32)

    for plane in planes:
        for _ in answers(along(replace(prepared, brain=region), plane), segmenter.first.network, PatchPlan(), counted):
            pass
    return total


def ways(segmenter: Segmenter, prepared: Prepared) -> Iterator[tuple[str, float, Probabilities, tuple[str, ...]]]:
    """Yields each way: its name, its cost, the probabilities, and by what they are decided."""
    axial, *further = views(segmenter, prepared)
    brain, mean = prepared.brain, (axial + further[0] + further[1]) / 3
    whole = pixels(segmenter, prepared, brain, (Plane.AXIAL,))
    yield "axial", 1.0, axial, segmenter.model.spec.outputs
    yield "three views", pixels(segmenter, prepared, brain, tuple(Plane)) / whole, mean, REGION_NAMES
    suspected = brain & (axial[..., Label.BACKGROUND] < 1 - SUSPICION)
    cost = 1 + pixels(segmenter, prepared, suspected, (Plane.CORONAL, Plane.SAGITTAL)) / whole
    yield "three views where the axial one suspects", cost, np.where(suspected[..., None], mean, axial), REGION_NAMES
    for step, suspicion, margin in LOOKS:
        looked = (
            brain & (axial[..., Label.BACKGROUND] < 1 - suspicion) & (np.arange(brain.shape[2]) % step == step // 2)
        )
        region = brain & ndimage.binary_dilation(looked, np.ones((3, 3, 3), bool), iterations=margin)
        cost = 1 / step + pixels(segmenter, prepared, region, tuple(Plane)) / whole
        joined = np.where(region[..., None], mean, np.eye(len(Label), dtype=np.float32)[Label.BACKGROUND])
        yield f"every {step} slices, from {suspicion}, margin {margin}", cost, joined, REGION_NAMES


def scored(segmenter: Segmenter, files: CaseFiles) -> Iterator[Row]:
    """Yields the rows of one case."""
    case = read_case(files)
    spec = segmenter.model.spec
    prepared = prepare_on_demand(case, spec.inputs, spec.normalisation.method)
    reference: LabelMap = prepared.reorientation.apply(read_reference(files, case.geometry))
    spacing_mm = prepared.reorientation.target.spacing_mm
    for way, cost, probabilities, outputs in ways(segmenter, prepared):
        labels = postprocess(decide(probabilities, outputs), "3d", spacing_mm)
        labels[~prepared.brain] = Label.BACKGROUND
        labels, _ = RULE.confirm(labels, np.ascontiguousarray(probabilities[..., Label.ENHANCING]), spacing_mm)
        row: Row = {"case": files.case_id, "way": way, "cost": round(cost, 3)}
        for region in Region:
            dice = count(region.mask(reference), region.mask(labels)).dice
            # Empty in both counts as 1, as BraTS 2020 has it.
            row[region.value] = 1.0 if np.isnan(dice) else round(dice, 5)
        yield row


def main() -> None:
    """Segments, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("cases", type=Path)
    parser.add_argument("--append", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rows: list[Row] = []
    if options.append and options.output.exists():
        with options.output.open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    there = {row["case"] for row in rows}
    with Segmenter(Options(model=options.model, precision="fp32", ensemble_member="none")) as segmenter:
        training = segmenter.model.spec.training
        held_out = () if training is None else training.held_out_cases
        for files in find_cases(options.cases):
            if files.case_id in held_out and files.case_id not in there:
                rows.extend(scored(segmenter, files))
                print(f"scored {files.case_id}", flush=True)
    if not rows:
        raise SystemExit(f"{options.cases} holds none of the cases that {options.model} held out.")
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for way in dict.fromkeys(row["way"] for row in rows):
        chosen = [row for row in rows if row["way"] == way]
        means = " / ".join(f"{np.mean([float(row[region.value]) for row in chosen]):.4f}" for region in Region)
        print(
            f"{way}: cost {np.mean([float(row['cost']) for row in chosen]):.2f}, mean Dice {means}, {len(chosen)} cases"
        )


if __name__ == "__main__":
    main()
