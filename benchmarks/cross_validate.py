"""Segments every case with the model that never saw it: python benchmarks/cross_validate.py RUN... --data CASES -o OUT

Each RUN is a folder that `gliomask train --folds TABLE --fold N` has left. Its model is exported to OUT/models/RUN, and
the cases that it held out are segmented without post-processing into OUT/predictions, where
`benchmarks/choose_postprocess.py` and `gliomask evaluate` find them; OUT/probabilities gets what the network thought of
each region (`region_probabilities.py`). With --postprocess CHAIN, OUT/CHAIN gets the predictions post-processed, and a
run record for each whose `expected_dice` is that of the post-processed label map, for
`benchmarks/calibrate_quality.py`. With --ensemble-member RUN... of another network on the same folds, each pair is
asked together. A case held out by two runs is an error; cases that are there already are left alone. `gliomask study`
does the same for whole tables of experiments, trainings and comparison included.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from region_probabilities import RegionProbabilities

from gliomask.io.brats import find_cases, read_label_map
from gliomask.io.nifti import write_bytes, write_volume
from gliomask.models.files import SPEC_NAME
from gliomask.postprocess import postprocess
from gliomask.preprocess.channels import NETWORK_ORIENTATION
from gliomask.results.layout import CaseLayout
from gliomask.segmentation import Options
from gliomask.study.work import LABELS, predict_missing
from gliomask.training.backend import use_backend


def held_out_cases(runs: list[Path]) -> dict[Path, list[str]]:
    """Returns the cases that each run held out; none may be held out twice."""
    held_out = {run: json.loads((run / "train_run.json").read_text())["held_out_cases"] for run in runs}
    everything = [case for cases in held_out.values() for case in cases]
    twice = sorted({case for case in everything if everything.count(case) > 1})
    if twice:
        raise SystemExit(f"Held out by more than one run: {', '.join(twice)}")
    return held_out


def probabilities_of(output: Path, case: str) -> Path:
    """Where the probabilities of a case go."""
    return output / "probabilities" / f"{case}.npz"


def apply_chain(chain: str, output: Path) -> None:
    """Post-processes every label map as `gliomask segment` would have, and tells what is then to be expected of it."""
    raw, cleaned = output / "predictions", output / chain
    cleaned.mkdir(parents=True, exist_ok=True)
    for path in sorted(raw.glob("*_seg.nii.gz")):
        label_map, geometry = read_label_map(path, LABELS)
        reorientation = geometry.reorientation_to(NETWORK_ORIENTATION)
        case = path.name.removesuffix("_seg.nii.gz")
        kept = (
            RegionProbabilities.read(probabilities_of(output, case))
            if probabilities_of(output, case).exists()
            else None
        )
        found = reorientation.undo(postprocess(reorientation.apply(label_map), chain, reorientation.target.spacing_mm))
        write_volume(cleaned / path.name, LABELS.to_disk(found), geometry, overwrite=True)
        if kept is not None:
            record = json.loads((raw / f"{case}_run.json").read_text(encoding="utf-8"))
            record["expected_dice"] = {
                region.value: round(dice, 4) for region, dice in kept.expected_dice(found).items()
            }
            record["options"]["postprocess"] = chain
            write_bytes(cleaned / f"{case}_run.json", (json.dumps(record, indent=1) + "\n").encode())


def export_once(run: Path, output: Path) -> Path:
    """Returns the model folder of a run, made if it is not there yet."""
    from gliomask.training.export import export_model

    model = output / "models" / run.name
    if not (model / SPEC_NAME).exists():
        export_model(run, model, name=run.name, licence="Apache-2.0", attribution=[], postprocess="none")
    return model


def partner(cases: list[str], others: dict[Path, list[str]]) -> Path | None:
    """Returns the run of another network that held the same cases out, where there are others."""
    if not others:
        return None
    for run, held_out in others.items():
        if held_out == cases:
            return run
    raise SystemExit(
        f"No run of --ensemble-member held out just {', '.join(cases)}; another would have seen patients it "
        "is scored on."
    )


def main() -> None:
    """Exports and segments, run by run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--ensemble-member",
        "--second-opinion",
        nargs="+",
        type=Path,
        default=[],
        metavar="RUN",
        help="runs to be asked as well",
    )
    parser.add_argument("--flips", action="store_true", help="average over mirror images")
    parser.add_argument("--n4", action="store_true", help="correct the bias field first")
    parser.add_argument("--postprocess", help="also write the predictions after this chain")
    options = parser.parse_args()
    use_backend("tensorflow", options.threads)
    others = held_out_cases(options.ensemble_member) if options.ensemble_member else {}
    files = {case.case_id: case for case in find_cases(options.data)}
    for run, cases in held_out_cases(options.runs).items():
        model, second = export_once(run, options.output), partner(cases, others)
        asked = Options(
            model=str(model),
            ensemble_member=None if second is None else str(export_once(second, options.output)),
            postprocess="none",
            threads=options.threads,
            flips=options.flips,
            bias_correction=options.n4,
        )
        for case in cases:
            if not probabilities_of(options.output, case).exists():
                # What is left of a case without its probabilities is no complete result: the record stands for one.
                CaseLayout.of(options.output / "predictions", case).record.unlink(missing_ok=True)
        predict_missing(
            asked,
            [files[case] for case in cases],
            options.output / "predictions",
            lambda line, run=run: print(f"{run.name}: {line}", flush=True),
            lambda result: RegionProbabilities.of(result.probabilities).write(
                probabilities_of(options.output, result.case.case_id)
            ),
        )
    if options.postprocess:
        apply_chain(options.postprocess, options.output)


if __name__ == "__main__":
    main()
