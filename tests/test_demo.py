"""The demonstration, with the shipped model and the packaged sample: what a newcomer runs first."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from gliomask.cli.main import run
from gliomask.demo import run_demo, sample_case
from gliomask.io.brats import read_case
from gliomask.labels import Region
from gliomask.models.registry import shipped_models
from gliomask.preprocess.checks import check_case
from gliomask.segmentation import Options


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
    assert run(["demo", "-o", str(tmp_path / "demo")]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("model", shipped_models())
def test_each_shipped_model_finds_the_samples_tumour_in_the_samples_grid(model, tmp_path):
    demo = run_demo(tmp_path, Options(model=model))
    assert demo.dice[Region.WT] > 0.7
    with sample_case() as files:
        scan, label_map = nib.load(files.paths()[0]), nib.load(demo.results.label_map)
        np.testing.assert_array_equal(scan.affine, label_map.affine)
        assert scan.shape == label_map.shape
