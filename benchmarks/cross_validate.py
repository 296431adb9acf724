"""Segments every case with the model that never saw it: python benchmarks/cross_validate.py RUN... --data CASES -o OUT

Each RUN is a folder that `gliomask train --folds TABLE --fold N` has left. Its model is exported to OUT/models/RUN, and the cases
that it held out are segmented without post-processing into OUT/predictions, where `benchmarks/choose_postprocess.py` and
`gliomask evaluate` find them; with --postprocess CHAIN, OUT/CHAIN gets them post-processed. A case held out by two runs is an error;
cases that are there already are left alone. `gliomask study` does the same for whole tables of experiments, trainings and comparison included.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gliomask.io.brats import find_cases, read_label_map
from gliomask.io.nifti import write_volume
from gliomask.models.files import SPEC_NAME
from gliomask.postprocess import postprocess
from gliomask.preprocess.channels import NETWORK_ORIENTATION
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


def apply_chain(chain: str, raw: Path, cleaned: Path) -> None:
    """Post-processes every label map of a folder into another, as `gliomask segment` would have."""
    cleaned.mkdir(parents=True, exist_ok=True)
    for path in sorted(raw.glob("*_seg.nii.gz")):
        label_map, geometry = read_label_map(path, LABELS)
        reorientation = geometry.reorientation_to(NETWORK_ORIENTATION)
        found = postprocess(reorientation.apply(label_map), chain, reorientation.target.spacing_mm)
        write_volume(cleaned / path.name, LABELS.to_disk(reorientation.undo(found)), geometry, overwrite=True)


def main() -> None:
    """Exports and segments, run by run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--postprocess", help="also write the predictions after this chain")
    options = parser.parse_args()
    use_backend("tensorflow", options.threads)
    from gliomask.training.export import export_model

    files = {case.case_id: case for case in find_cases(options.data)}
    for run, cases in held_out_cases(options.runs).items():
        model = options.output / "models" / run.name
        if not (model / SPEC_NAME).exists():
            export_model(run, model, name=run.name, licence="Apache-2.0", attribution=[], postprocess="none")
        segmentation = Options(model=str(model), postprocess="none", threads=options.threads)
        predict_missing(
            segmentation, [files[case] for case in cases], options.output / "predictions", lambda line, run=run: print(f"{run.name}: {line}", flush=True)
        )
    if options.postprocess:
        apply_chain(options.postprocess, options.output / "predictions", options.output / options.postprocess)


if __name__ == "__main__":
    main()
