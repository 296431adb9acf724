"""BIDS datasets made for tests: tiny patients under BIDS names, prepared or as if a scanner had given them."""

import json

import numpy as np
from conftest import make_tiny_case

from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.io.nifti import write_volume
from gliomask.preprocess.raw.route import RawCase
from gliomask.preprocess.raw.settings import PreparationStep
from gliomask.preprocess.raw.transforms import about, turn
from gliomask.sequences import PAPER_ORDER, Sequence

ENDINGS = {Sequence.FLAIR: "FLAIR", Sequence.T1: "T1w", Sequence.T1CE: "ce-gadolinium_T1w", Sequence.T2: "T2w"}


def make_dataset(root, name="Tiny"):
    """An empty dataset that is valid once it holds a participant."""
    root.mkdir(parents=True)
    description = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "Authors": ["A. Author", "B. Author"],
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("Tiny patients made by arithmetic, for tests; they are nobody's scans. " * 3)
    return root


def add_session(root, subject, session=None, case=None, leave_out=(), ending=".nii.gz"):
    """Writes one session of a prepared patient; returns its `anat` folder."""
    case = case or make_tiny_case()
    start = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    folder = root / start.replace("_", "/") / "anat"
    folder.mkdir(parents=True)
    for sequence, volume in case.volumes.items():
        if sequence not in leave_out:
            write_volume(folder / f"{start}_{ENDINGS[sequence]}{ending}", volume, case.geometry)
    return folder


def raw_case():
    """A case as `prepare_examination` returns it, from noise on two small grids."""
    grid = Geometry((16, 20, 10), np.array([[-1.5, 0, 0, 11], [0, -1.4, 0, 13], [0, 0, 2.2, -10], [0, 0, 0, 1]]))
    wide = Geometry((20, 20, 10), np.array([[-1.3, 0, 0, 12], [0, -1.4, 0, 13], [0, 0, 2.2, -10], [0, 0, 0, 1]]))
    generator = np.random.default_rng(0)
    grids = {sequence: wide if sequence == Sequence.FLAIR else grid for sequence in PAPER_ORDER}
    scans = {
        sequence: Scan(generator.random(one.shape, np.float32), one, sequence.value) for sequence, one in grids.items()
    }
    matrices = {sequence: about((0, 0, 0), turn((0, 0, 5)), (0, 0, 1)) for sequence in PAPER_ORDER}
    return RawCase(
        make_tiny_case("raw"),
        Examination("raw", scans),
        Sequence.T1CE,
        matrices,
        (PreparationStep("mask", "", "by hand", {"volume_ml": 3.0}),),
    )


def add_raw_session(root, subject, prepared):
    """Writes the scans that a `raw_case` says it was made from."""
    folder = root / f"sub-{subject}" / "anat"
    folder.mkdir(parents=True)
    for sequence, scan in prepared.examination.scans.items():
        write_volume(folder / f"sub-{subject}_{ENDINGS[sequence]}.nii.gz", scan.volume, scan.geometry)
    return folder
