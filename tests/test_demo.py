"""The demonstration, with the shipped model and the packaged sample: what a newcomer runs first."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from gliomask.case import Case
from gliomask.cli.main import run
from gliomask.demo import sample_case
from gliomask.geometry import Geometry
from gliomask.io.brats import read_case, read_reference
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.models.registry import shipped_models
from gliomask.preprocess.checks import check_case
from gliomask.segmentation import Options, Segmenter
from gliomask.sequences import Sequence


def test_the_sample_is_a_case_that_nothing_is_wrong_with():
    with sample_case() as files:
        assert files.reference is not None
        assert check_case(read_case(files)) == []


@pytest.mark.slow
def test_the_demonstration_finds_the_tumour_and_writes_everything(tmp_path, capsys):
    assert run(["demo", "-o", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    assert "Dice against the labels" in printed
    found = {path.name.removeprefix("synthetic_0001_") for path in (tmp_path / "demo").iterdir()}
    assert found == {"seg.nii.gz", "volumes.tsv", "volumes.json", "preview.png", "run.json"}
    assert json.loads((tmp_path / "demo" / "synthetic_0001_run.json").read_text())["quality_flags"] == []
    with sample_case() as files:
        scan, label_map = nib.load(files.paths()[0]), nib.load(tmp_path / "demo" / "synthetic_0001_seg.nii.gz")
        np.testing.assert_array_equal(scan.affine, label_map.affine)
        assert scan.shape == label_map.shape
    assert run(["demo", "-o", str(tmp_path / "demo")]) == 2


@pytest.mark.parametrize("model", shipped_models())
def test_each_shipped_model_finds_the_samples_tumour(model):
    with sample_case() as files:
        case = read_case(files)
        reference = read_reference(files, case.geometry)
    # A few slices through the middle of the tumour: a whole brain takes some of the networks ten seconds.
    held = np.flatnonzero(reference.any(axis=(0, 1)))
    middle = int(held[len(held) // 2])
    near = slice(middle - 8, middle + 8)
    affine = case.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * near.start
    part = np.s_[:, :, near]
    volumes = {sequence: volume[part] for sequence, volume in case.volumes.items()}
    geometry = Geometry(volumes[Sequence.FLAIR].shape, affine)
    with Segmenter(Options(model=model)) as segmenter:
        label_map = segmenter.run(Case(case.case_id, volumes, geometry)).label_map
    assert label_map.shape == geometry.shape
    assert count(Region.WT.mask(reference[part]), Region.WT.mask(label_map)).dice > 0.7
