"""Averages the region probabilities of several cross-validated networks: python benchmarks/combine.py CV [CV ...]
--postprocess CHAIN -o OUT

Each CV is a folder of `benchmarks/cross_validate.py` with the probabilities of the same cases; a case's networks never
saw it, so neither did their mean. A voxel is tumour where the mean probability of tumour is above one half, core or
enhancing tumour likewise, each within the one before: with a single CV that is another decision on the same
probabilities than the most probable label. OUT gets label maps after the chain, for `gliomask evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from region_probabilities import RegionProbabilities

from gliomask.arrays import LabelMap
from gliomask.io.brats import read_label_map
from gliomask.io.nifti import write_volume
from gliomask.labels import REGION_NAMES, Label, Region
from gliomask.postprocess import CHAINS, decide, postprocess
from gliomask.preprocess.channels import NETWORK_ORIENTATION
from gliomask.study.work import LABELS


def decide_regions(members: list[RegionProbabilities]) -> LabelMap:
    """Returns the label of each voxel, from the mean of the members' probabilities, as a network of regions is
    decided.
    """
    whole, core, enhancing = (
        np.mean([member.volume(region) for member in members], axis=0, dtype=np.float32)
        for region in (Region.WT, Region.TC, Region.ET)
    )
    shares = {
        Label.BACKGROUND: 1 - whole,
        Label.NECROTIC: core - enhancing,
        Label.OEDEMA: whole - core,
        Label.ENHANCING: enhancing,
    }
    return decide(np.stack([shares[label] for label in Label], axis=-1), REGION_NAMES)


def main() -> None:
    """Combines, case by case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--postprocess", default="3d", choices=CHAINS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    cases = [{path.stem for path in (folder / "probabilities").glob("*.npz")} for folder in options.networks]
    only = set.union(*cases) - set.intersection(*cases)
    if only or not cases[0]:
        raise SystemExit(
            f"Not every network has the probabilities of the same cases: {', '.join(sorted(only)) or 'there are none'}"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    for case in sorted(cases[0]):
        members = [RegionProbabilities.read(folder / "probabilities" / f"{case}.npz") for folder in options.networks]
        _, geometry = read_label_map(options.networks[0] / "predictions" / f"{case}_seg.nii.gz", LABELS)
        turn = geometry.reorientation_to(NETWORK_ORIENTATION)
        decided = turn.apply(decide_regions(members))
        found = turn.undo(postprocess(decided, options.postprocess, turn.target.spacing_mm))
        write_volume(options.output / f"{case}_seg.nii.gz", LABELS.to_disk(found), geometry, overwrite=True)


if __name__ == "__main__":
    main()
