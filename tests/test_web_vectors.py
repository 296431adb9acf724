"""The vectors that the browser's pipeline is held to are what the Python code makes today
(`scripts/make_web_vectors.py`).
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gliomask.io import nifti

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "make_web_vectors.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="the sources of the browser's application come with the repository only"
)


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("make_web_vectors", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alike(found, kept):
    """Equal, numbers within rounding: sums may differ in their last bits between processors."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(alike(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(alike, found, kept))
    if isinstance(kept, float) and isinstance(found, float):
        return abs(found - kept) <= 1e-6 * max(1, abs(kept))
    return found == kept


@pytest.mark.parametrize("name", ["functions.json", "refusals.json"])
def test_tables_are_current(made, name):
    found, kept = json.loads(made.tables()[name]), json.loads((made.VECTORS / name).read_text())
    stale = [key for key in kept if not alike(found[key], kept[key])]
    assert not stale, f"run scripts/make_web_vectors.py: {name} is stale in {stale}"


def test_the_words_by_which_series_are_recognised_are_current(made):
    assert made.words() == made.WORDS.read_text(), "run scripts/make_web_vectors.py"


def test_the_tiny_case_and_its_label_map_are_current(made, tmp_path):
    made.write_pipeline(tmp_path)
    kept = made.VECTORS / "pipeline"
    for path in sorted(kept.glob("*.nii.gz")):
        values, found = nifti.read_volume(path).values, nifti.read_volume(tmp_path / path.name).values
        # Of the label map some voxels of 57,000 may differ between processors.
        allowed = 57 if path.name == "tiny_seg.nii.gz" else 0
        assert np.count_nonzero(values != found) <= allowed, f"run scripts/make_web_vectors.py: {path.name} is stale"
    assert (
        json.loads((tmp_path / "tiny.json").read_text())["model"]
        == json.loads((kept / "tiny.json").read_text())["model"]
    )
