r"""Puts a trained network and its scores into the package, with its card:

    python benchmarks/ship_model.py RUN NAME --evaluation FOLDER --postprocess 3d --protocol TEXT \
        --reading TEXT --command LINE... [--quality FILE] [--subsets FILE]

RUN is a run folder of `gliomask train`; NAME a shipped model's name; FOLDER what `gliomask evaluate` wrote for
cross-validated predictions. --quality FILE, as `benchmarks/calibrate_quality.py --json` writes it, puts the calibration
of the model's own doubts into model.json; without it no result comes with a Dice that is to be expected. --subsets
FILE, as `benchmarks/calibrate_subsets.py --json` writes it, does the same for patients who lack sequences. The card
goes to docs/model-cards/NAME.md, the tables of cases and regions to docs/tables/.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from gliomask.models.calibration import CoreNumbers, EnhancementNumbers, parse_quality, parse_subsets
from gliomask.models.card import card
from gliomask.models.registry import SHIPPED, SHIPPED_FOLDER
from gliomask.models.spec import Timing
from gliomask.training.backend import use_backend

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("dice", "sensitivity", "specificity_grid", "hd95_mm")
LICENCE = "Apache-2.0"


def scores_of(evaluation: Path, protocol: str, reading: str, commands: list[str]) -> dict[str, object]:
    """Returns what model.json keeps of an evaluation."""
    found = json.loads((evaluation / "scores.json").read_text())
    regions = {
        region: {
            metric: {name: round(value, 4) for name, value in metrics[metric].items() if value is not None}
            for metric in METRICS
        }
        for region, metrics in found["summary"].items()
    }
    return {
        "protocol": protocol,
        "reading": reading,
        "policy": found["options"]["policy"],
        "cases": len(found["cases"]),
        "regions": regions,
        "commands": commands,
    }


def main() -> None:
    """Exports, scores attached, and writes the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name", choices=list(SHIPPED))
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--postprocess", required=True)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--reading", required=True, help="how the scores are to be read; stands on the card below them")
    parser.add_argument("--command", action="append", default=[])
    parser.add_argument(
        "--timing",
        nargs=3,
        metavar=("SECONDS", "CONDITIONS", "COMMAND"),
        help="how long a case takes, what was measured, and by what command",
    )
    parser.add_argument("--quality", type=Path, help="calibration, as benchmarks/calibrate_quality.py --json writes it")
    parser.add_argument(
        "--subsets",
        type=Path,
        help="calibration by subsets of the sequences, as benchmarks/calibrate_subsets.py --json writes it",
    )
    parser.add_argument(
        "--ensemble-member",
        "--second-opinion",
        choices=list(SHIPPED),
        help="model that is asked as well; the evaluation must have asked its like",
    )
    parser.add_argument(
        "--core-rule",
        nargs=3,
        metavar=("SHARE", "PROBABILITY", "COMMAND"),
        help="numbers that benchmarks/case_rules.py core chose on all cases, and its command",
    )
    parser.add_argument(
        "--enhancement-rule",
        nargs=3,
        metavar=("PROBABILITY", "SEED_ML", "COMMAND"),
        help="numbers of the rule for enhancement, and where they come from",
    )
    options = parser.parse_args()
    # Read first: a file that is no calibration is found out before the graph is built.
    quality = None if options.quality is None else parse_quality(options.quality.read_bytes(), str(options.quality))
    subsets = None if options.subsets is None else parse_subsets(options.subsets.read_bytes(), str(options.subsets))
    use_backend("tensorflow", None)
    from gliomask.training.export import export_model

    seconds, conditions, command = options.timing or (None, None, None)
    share, probability, chooser = options.core_rule or (None, None, None)
    certain, seed_ml, origin = options.enhancement_rule or (None, None, None)
    spec = export_model(
        options.run,
        SHIPPED_FOLDER / options.name,
        name=options.name,
        licence=LICENCE,
        attribution=(ROOT / "docs/model-cards/attribution.txt").read_text().splitlines(),
        postprocess=options.postprocess,
        scores=scores_of(options.evaluation, options.protocol, options.reading, options.command),
        timing=Timing(seconds=float(seconds), conditions=conditions, command=command) if seconds else None,
        quality=quality,
        subsets=subsets,
        ensemble_member=options.ensemble_member,
        core_rule=CoreNumbers(enhancing_share=float(share), core_probability=float(probability), command=chooser)
        if share
        else None,
        enhancement_rule=EnhancementNumbers(probability=float(certain), seed_ml=float(seed_ml), command=origin)
        if certain
        else None,
        overwrite=True,
    )
    (ROOT / f"docs/model-cards/{options.name}.md").write_text(card(spec))
    shutil.copyfile(options.evaluation / "scores.tsv", ROOT / f"docs/tables/{options.name}_cases.tsv")
    shutil.copyfile(options.evaluation / "summary.tsv", ROOT / f"docs/tables/{options.name}_summary.tsv")


if __name__ == "__main__":
    main()
