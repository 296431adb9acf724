"""Fixtures that several test modules share: a seeded generator, a tiny patient in memory and on disk, and the real
cases.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hand_model import model_by_hand
from hypothesis import settings

from gliomask.case import Case
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases
from gliomask.segmentation import Segmenter
from gliomask.sequences import Sequence

# A loaded machine is no reason for a property to fail, and a test's outcome no matter of the day.
settings.register_profile("gliomask", deadline=None, derandomize=True)
settings.load_profile("gliomask")

REAL_CASES = Path(__file__).resolve().parents[2] / "shared" / "data"

TINY_SHAPE = (24, 28, 20)
TINY_AFFINE = np.array([[-1.0, 0, 0, 12], [0, -1, 0, 14], [0, 0, 1, -10], [0, 0, 0, 1]])
"""1 mm, stored as BraTS stores its volumes: I to the left, J to posterior, K to superior."""

TISSUE = {Sequence.FLAIR: 300.0, Sequence.T1: 500.0, Sequence.T1CE: 520.0, Sequence.T2: 250.0}
TUMOUR = {
    # Necrotic core, oedema, enhancing rim.
    Sequence.FLAIR: (350.0, 700.0, 600.0),
    Sequence.T1: (300.0, 420.0, 450.0),
    Sequence.T1CE: (320.0, 430.0, 1000.0),
    Sequence.T2: (600.0, 550.0, 450.0),
}

DEFAULT_SIGNALS = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "getattr(signal, 'SIGHUP', None) and signal.signal(signal.SIGHUP, signal.SIG_DFL); "
)
"""Python that a child process begins with where a test sends it signals: what is started in the background, or by
nohup, is born ignoring them.
"""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real cases beside the checkout; skips where there is none."""
    if not (REAL_CASES / "brats").is_dir():
        pytest.skip(f"needs the real cases in {REAL_CASES}")
    return REAL_CASES


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20200)


def tiny_labels(shape: tuple[int, int, int] = TINY_SHAPE) -> np.ndarray:
    """A label map with a lump: necrotic centre (1), enhancing rim (3), oedema round it (2)."""
    distance = _distance(shape, centre=(0.6, 0.5, 0.5))
    return np.select([distance < 0.1, distance < 0.18, distance < 0.28], [1, 3, 2], 0).astype(np.uint8)


def make_tiny_case(case_id: str = "tiny", affine: np.ndarray = TINY_AFFINE, seed: int = 0) -> Case:
    """An ellipsoid of noisy tissue with the lump of `tiny_labels` in it, air round it."""
    generator = np.random.default_rng(seed)
    brain, labels = _distance(TINY_SHAPE) < 0.42, tiny_labels()
    volumes = {}
    for sequence, tissue in TISSUE.items():
        level = np.choose(labels, (tissue, TUMOUR[sequence][0], TUMOUR[sequence][1], TUMOUR[sequence][2]))
        volumes[sequence] = np.where(brain, level + generator.normal(0, 20, TINY_SHAPE), 0).astype(np.float32)
    return Case(case_id, volumes, Geometry(TINY_SHAPE, affine))


def _distance(shape: tuple[int, int, int], centre: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> np.ndarray:
    axes = [(np.arange(n) + 0.5) / n - c for n, c in zip(shape, centre, strict=True)]
    i, j, k = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(i**2 + j**2 + k**2)


def write_brats_case(folder: Path, case: Case, labels: np.ndarray | None = None, suffix: str = ".nii.gz") -> Path:
    """Writes a case with 2021 names, and its label map with the 2021 numbers; returns the case's folder."""
    target = folder / case.case_id
    target.mkdir(parents=True, exist_ok=True)
    for sequence, volume in case.volumes.items():
        nib.save(nib.Nifti1Image(volume, case.geometry.affine), target / f"{case.case_id}_{sequence.value}{suffix}")
    if labels is not None:
        on_disk = np.array([0, 1, 2, 4], np.uint8)[labels]
        nib.save(nib.Nifti1Image(on_disk, case.geometry.affine), target / f"{case.case_id}_seg{suffix}")
    return target


@pytest.fixture
def tiny_case() -> Case:
    """A `Case` of 24 x 28 x 20 voxels with a bright lump."""
    return make_tiny_case()


@pytest.fixture
def tiny_brats_folder(tmp_path: Path, tiny_case: Case) -> Path:
    """A folder `cases` that holds one case, `tiny`, with its reference label map."""
    write_brats_case(tmp_path / "cases", tiny_case, tiny_labels())
    return tmp_path / "cases"


@pytest.fixture
def fake_model(monkeypatch):
    """Every model name opens the network made by hand."""
    model = model_by_hand()
    monkeypatch.setattr("gliomask.segmentation.segmenter.load_model", lambda name: model)
    return model


@pytest.fixture
def segmenter(fake_model):
    """A segmenter of the network made by hand."""
    with Segmenter() as opened:
        yield opened


@pytest.fixture
def case_files(tiny_brats_folder):
    """The files of the case `tiny`."""
    return find_cases(tiny_brats_folder)[0]
