import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask.cli.main import run
from gliomask.errors import EngineUnavailableError, UsageError
from gliomask.io.brats import find_cases, read_case, read_reference
from gliomask.labels import Label, Region
from gliomask.preprocess.normalise import normalise_volume
from gliomask.sequences import PAPER_ORDER, Sequence
from gliomask.simulate import atlas as atlas_module
from gliomask.simulate.anatomy import ATLAS_CENTRE, Anatomy, Mass, draw_frame, push_aside
from gliomask.simulate.artefacts import scan
from gliomask.simulate.contrast import tissue_signals
from gliomask.simulate.fields import BRATS_GEOMETRY, FULL_GRID, SMALL_GRID, SMALL_SHAPE, Grid, interpolate, smooth_noise
from gliomask.simulate.patient import simulate_case
from gliomask.simulate.tumour import Grade, Tumour, TumourPlan, grow_tumour
from gliomask.simulate.write import MAX_PATIENTS, RECORD_NAME, write_patients

needs_atlas = pytest.mark.skipif(
    importlib.util.find_spec("nilearn") is None, reason="needs the extra 'simulate' (nilearn's tissue maps)"
)

GRID = Grid((24, 26, 28), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SLABS = {
    "white": slice(0, 4),
    "grey": slice(4, 8),
    "fluid": slice(8, 12),
    "necrotic": slice(12, 16),
    "enhancing": slice(16, 20),
    "oedema": slice(20, 24),
}


def slab(name: str) -> np.ndarray:
    share = np.zeros(GRID.shape, np.float32)
    share[SLABS[name]] = 1
    return share


def block_of_tissue(white: float = 1.0) -> Anatomy:
    """A brain without edges, of one mixture of white and grey matter."""
    full, none = np.ones(GRID.shape, np.float32), np.zeros(GRID.shape, np.float32)
    return Anatomy(full > 0, full * (1 - white), full * white, none, none, none, full * 12)


def slabs_of_tissue() -> tuple[Anatomy, Tumour]:
    full, none = np.ones(GRID.shape, np.float32), np.zeros(GRID.shape, np.float32)
    anatomy = Anatomy(full > 0, slab("grey"), slab("white"), slab("fluid"), none, none, full * 12)
    return anatomy, Tumour(slab("necrotic"), slab("enhancing"), slab("oedema"))


@pytest.fixture(scope="module")
def small_patients():
    """Four small patients, the last of low grade."""
    if importlib.util.find_spec("nilearn") is None:
        pytest.skip("needs the extra 'simulate' (nilearn's tissue maps)")
    return [
        (grade, *simulate_case(np.random.default_rng(n), grade=grade, size="small"))
        for n, grade in enumerate(["high", "high", "high", "low"])
    ]


# Fields


@pytest.mark.parametrize("scale_mm", [1.0, 3.0, 9.0])
def test_noise_has_mean_zero_and_variance_one(rng, scale_mm):
    fields = np.stack([smooth_noise(rng, GRID, scale_mm) for _ in range(60)])
    assert fields.dtype == np.float32
    assert fields.shape == (60, *GRID.shape)
    # The largest scale leaves some 60 x 3 x 3 x 3 independent lumps.
    assert abs(fields.mean()) < 0.12
    assert fields.var() == pytest.approx(1, abs=0.12)


def test_noise_is_smoother_for_a_larger_scale(rng):
    rough, smooth = (np.diff(smooth_noise(rng, GRID, scale), axis=0).std() for scale in (2.0, 12.0))
    assert smooth < rough / 3


def test_interpolation_keeps_the_nodes_and_is_linear_between():
    grid = Grid((7, 4, 5), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    values = (
        np.arange(7, dtype=np.float32)[:, None, None]
        + 10 * np.arange(4, dtype=np.float32)[None, :, None]
        + np.zeros(5, np.float32)
    )
    assert np.allclose(interpolate(values[::3, ::1, ::2], grid, [3, 1, 2]), values, atol=1e-5)


# Atlas


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'gliomask\[simulate\]'"):
        atlas_module.atlas_files()


@needs_atlas
def test_a_nilearn_without_maps_is_refused(monkeypatch):
    monkeypatch.setattr(atlas_module, "FILE_NAME", "no_such_{}.nii.gz")
    with pytest.raises(EngineUnavailableError, match="lacks no_such_t1"):
        atlas_module.atlas_files()


@needs_atlas
def test_the_atlas_is_symmetric_with_ventricles_at_its_centre():
    atlas = atlas_module.load_atlas()
    assert atlas.brain.shape == atlas.ventricles.shape == (197, 233, 189)
    assert np.abs(atlas.white - atlas.white[::-1]).mean() < 0.01
    centre = np.array(np.nonzero(atlas.ventricles > 0.5)).mean(axis=1)
    assert np.linalg.norm(centre - ATLAS_CENTRE) < 20
    # The lateral ventricles of adults hold 10 to 30 ml, and the third a few.
    assert 8 < atlas.ventricles.sum() / 1000 < 60


@needs_atlas
def test_nilearn_is_not_imported():
    script = (
        "import sys; from gliomask.simulate.atlas import load_atlas; load_atlas(); sys.exit('nilearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# Anatomy


def test_tissue_round_a_mass_comes_from_nearer_its_centre_and_far_away_nothing_moves(rng):
    frame = draw_frame(rng, SMALL_GRID)
    mass = Mass((90.0, 120.0, 90.0), 15.0, 0.6)
    pushed = push_aside(frame, SMALL_GRID, mass)
    shift = np.linalg.norm(pushed - frame, axis=0)
    i, j, k = (axis - c for axis, c in zip(SMALL_GRID.axes_mm(), mass.centre_mm, strict=True))
    distance = np.sqrt(i**2 + j**2 + k**2)
    edge = np.abs(distance - 15) < 2
    # At the ball's edge q**3 = r**3 - 0.6 r**3, so tissue has moved by r (1 - 0.4 ** (1/3)) = 0.26 r; the atlas is
    # about a tenth larger.
    assert 3.3 < np.median(shift[edge]) < 5.2
    assert shift[distance > 60].max() < 0.3
    centre = frame[:, *np.unravel_index(distance.argmin(), distance.shape)]
    nearer = (
        np.linalg.norm(pushed - centre[:, None, None, None], axis=0)[edge]
        < np.linalg.norm(frame - centre[:, None, None, None], axis=0)[edge]
    )
    assert nearer.mean() > 0.95


# Tumour


def test_labels_follow_the_larger_share():
    tumour = Tumour(
        *(
            np.array([[values]], np.float32)
            for values in ([0.0, 0.6, 0.2, 0.1, 0.3], [0.0, 0.3, 0.5, 0.1, 0.0], [0.4, 0.0, 0.1, 0.5, 0.1])
        )
    )
    assert tumour.label_map().tolist() == [[[0, Label.NECROTIC, Label.ENHANCING, Label.OEDEMA, 0]]]


def plan(grade: Grade = Grade.HIGH, share: float = 0.6) -> TumourPlan:
    return TumourPlan(grade, Mass((12.0, 13.0, 14.0), 5.0, 0.5), oedema_ml=2.0, enhancing_share=share)


@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 0.95))
@settings(max_examples=10)
def test_shares_of_tumour_tissue_are_shares(seed, share):
    tumour = grow_tumour(np.random.default_rng(seed), GRID, block_of_tissue(), plan(share=share))
    parts = np.stack([tumour.necrotic, tumour.enhancing, tumour.oedema])
    assert parts.min() >= 0
    assert parts.sum(axis=0).max() <= 1 + 1e-5


def test_oedema_reaches_the_planned_volume(rng):
    labels = grow_tumour(rng, GRID, block_of_tissue(), plan()).label_map()
    assert np.count_nonzero(labels == Label.OEDEMA) == pytest.approx(2000, rel=0.1)


def test_oedema_prefers_white_matter(rng):
    anatomy = block_of_tissue()
    anatomy.white[:, :13], anatomy.grey[:, :13] = 0, 1
    oedema = grow_tumour(rng, GRID, anatomy, plan()).label_map() == Label.OEDEMA
    assert np.count_nonzero(oedema[:, 13:]) > 2 * np.count_nonzero(oedema[:, :13])


def test_without_enhancing_share_nothing_enhances(rng):
    tumour = grow_tumour(rng, GRID, block_of_tissue(), plan(Grade.LOW, 0.0))
    assert not tumour.enhancing.any()
    assert (tumour.label_map() == Label.NECROTIC).any()


def test_the_enhancing_part_lies_at_the_edge_of_the_core(rng):
    tumour = grow_tumour(rng, GRID, block_of_tissue(), plan(share=0.5))
    i, j, k = (axis - c for axis, c in zip(GRID.axes_mm(), (12.0, 13.0, 14.0), strict=True))
    distance = np.sqrt(i**2 + j**2 + k**2)
    labels = tumour.label_map()
    assert distance[labels == Label.ENHANCING].mean() > distance[labels == Label.NECROTIC].mean()


# Contrast


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(Grade))
@settings(max_examples=25)
def test_order_of_signals_that_every_radiologist_knows(seed, grade):
    anatomy, tumour = slabs_of_tissue()
    signals = tissue_signals(np.random.default_rng(seed), GRID, anatomy, tumour, grade)
    level = {
        (sequence, name): np.median(signals[sequence][part]) for sequence in PAPER_ORDER for name, part in SLABS.items()
    }
    flair, t1, t1ce, t2 = PAPER_ORDER
    for sequence in (flair, t1, t1ce):
        assert level[sequence, "fluid"] < min(level[sequence, "white"], level[sequence, "grey"])
    assert level[t2, "fluid"] > level[t2, "grey"] > level[t2, "white"]
    assert level[t1, "white"] > level[t1, "grey"]
    assert level[flair, "oedema"] > level[flair, "grey"]
    assert level[t2, "oedema"] > level[t2, "white"]
    assert level[t1ce, "enhancing"] > max(level[t1ce, name] for name in SLABS if name != "enhancing")
    assert level[t1ce, "enhancing"] > level[t1, "enhancing"] + 0.3


# Scanner


def test_a_scan_is_whole_numbers_in_the_brain_and_exactly_zero_outside(rng):
    brain = np.zeros(GRID.shape, bool)
    brain[4:20, 4:20, 4:20] = True
    values = scan(rng, GRID, np.full(GRID.shape, -20, np.float32), brain)
    assert values.dtype == np.float32
    assert np.array_equal(values, np.rint(values))
    assert (values[brain] >= 1).all()
    assert values.max() <= np.iinfo(np.int16).max
    assert not values[~brain].any()


# Patients


def test_tumour_is_nested_in_the_brain_with_the_labels_of_its_grade(small_patients):
    for grade, case, labels in small_patients:
        assert labels.dtype == np.uint8
        assert labels.shape == case.geometry.shape == SMALL_SHAPE
        assert set(np.unique(labels)) >= {0, Label.NECROTIC, Label.OEDEMA}
        if grade == "high":
            assert (labels == Label.ENHANCING).any()
        assert not labels[~case.brain_mask].any()


def test_background_is_exactly_zero_and_the_same_in_all_sequences(small_patients):
    for _, case, _ in small_patients:
        masks = [volume != 0 for volume in case.volumes.values()]
        assert all(np.array_equal(mask, masks[0]) for mask in masks)
        assert 0.15 < masks[0].mean() < 0.6
        assert min(volume.min() for volume in case.volumes.values()) == 0


def test_brains_and_tumours_have_the_volumes_of_patients(small_patients):
    for _, case, labels in small_patients:
        assert 1000 < np.count_nonzero(case.brain_mask) * case.geometry.voxel_ml < 2000
        assert 15 < np.count_nonzero(labels) * case.geometry.voxel_ml < 330


def test_tumour_stands_out_as_on_real_scans(small_patients):
    for grade, case, labels in small_patients:
        z = {sequence: normalise_volume(volume, case.brain_mask) for sequence, volume in case.volumes.items()}
        assert z[Sequence.FLAIR][Region.WT.mask(labels)].mean() > 0.8
        if grade == "high":
            enhancing = Region.ET.mask(labels)
            assert z[Sequence.T1CE][enhancing].mean() > z[Sequence.T1][enhancing].mean() + 0.4
            assert z[Sequence.T1CE][enhancing].mean() > z[Sequence.T1CE][labels == Label.NECROTIC].mean() + 0.8


@needs_atlas
def test_the_same_state_gives_the_same_patient_and_another_gives_another():
    (first, labels), (again, labels_again), (other, other_labels) = (
        simulate_case(np.random.default_rng(seed), size="small") for seed in (5, 5, 6)
    )
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(labels, other_labels)
    for sequence in PAPER_ORDER:
        assert np.array_equal(first.volumes[sequence], again.volumes[sequence])
        assert not np.array_equal(first.volumes[sequence], other.volumes[sequence])


@needs_atlas
def test_a_full_patient_lies_in_the_brats_grid_where_brains_lie():
    case, labels = simulate_case(np.random.default_rng(2), "patient")
    assert case.case_id == "patient"
    assert case.geometry.same_grid(BRATS_GEOMETRY)
    assert case.geometry.orientation == "LPS"
    assert labels.shape == (240, 240, 155)
    voxels = np.array(np.nonzero(case.brain_mask))
    assert np.all(np.abs(voxels.mean(axis=1) - (118.9, 133.7, 75.0)) < 8)
    assert 1.0e6 < voxels.shape[1] < 2.0e6
    # Nothing is cut off by the box that is computed.
    assert (voxels.min(axis=1) > FULL_GRID.origin)[:2].all()


def test_both_grids_show_the_same_part_of_the_world():
    full, small = ([axis.ravel() for axis in grid.axes_mm()] for grid in (FULL_GRID, SMALL_GRID))
    for a, b in zip(full, small, strict=True):
        assert abs((a[0] + a[-1]) / 2 - (b[0] + b[-1]) / 2) < 12


@pytest.mark.parametrize("wrong", [{"grade": "medium"}, {"size": "tiny"}])
def test_an_unknown_grade_or_size_is_refused(rng, wrong):
    with pytest.raises(UsageError, match="Known ones"):
        simulate_case(rng, **wrong)


# Files


@needs_atlas
def test_files_are_a_brats_folder_that_reads_back(tmp_path):
    reported = []
    rows = write_patients(tmp_path, 2, seed=3, size="small", report=lambda *progress: reported.append(progress))
    assert reported == [("SIM_0000", 1, 2), ("SIM_0001", 2, 2)]
    cases = find_cases(tmp_path)
    assert [case.case_id for case in cases] == ["SIM_0000", "SIM_0001"] == [row["case"] for row in rows]
    for files, row in zip(cases, rows, strict=True):
        case = read_case(files)
        labels = read_reference(files, case.geometry)
        assert [np.count_nonzero(labels == label) for label in list(Label)[1:]] == row["voxels"]
        generator = np.random.default_rng([3, int(files.case_id[-4:])])
        generator.random()
        expected, expected_labels = simulate_case(generator, grade=row["grade"], size="small")
        assert np.array_equal(labels, expected_labels)
        assert all(np.array_equal(case.volumes[sequence], expected.volumes[sequence]) for sequence in PAPER_ORDER)
        assert nib.load(files.sequences[Sequence.T2]).get_data_dtype() == np.int16
        assert set(np.unique(nib.load(files.reference).dataobj)) <= {0, 1, 2, 4}


@needs_atlas
def test_the_same_seed_gives_the_same_bytes_and_more_patients_keep_the_first(tmp_path):
    write_patients(tmp_path / "a", 1, seed=4, size="small")
    write_patients(tmp_path / "b", 2, seed=4, size="small")
    write_patients(tmp_path / "c", 1, seed=5, size="small")

    def files(folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / folder / "SIM_0000").iterdir()}

    assert len(files("a")) == 5
    assert files("a") == files("b")
    assert all(files("a")[name] != content for name, content in files("c").items())


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"count": MAX_PATIENTS + 1}, {"seed": -1}, {"grade": "medium"}, {"size": "tiny"}]
)
def test_bad_options_are_refused_and_leave_nothing(tmp_path, wrong):
    with pytest.raises(UsageError):
        write_patients(tmp_path / "out", **{"count": 1, "seed": 0, **wrong})
    assert not (tmp_path / "out").exists()


@needs_atlas
@pytest.mark.parametrize("existing", ["SIM_0001", RECORD_NAME])
def test_what_exists_is_not_overwritten_unasked(tmp_path, existing):
    (tmp_path / existing).mkdir()
    with pytest.raises(UsageError, match=f"{existing} exists"):
        write_patients(tmp_path, 2, seed=0, size="small")
    assert [path.name for path in tmp_path.iterdir()] == [existing]


@needs_atlas
def test_the_command_writes_patients_and_a_record_and_repeats_only_when_told(tmp_path: Path, capsys):
    arguments = [
        "simulate",
        "-n",
        "1",
        "-o",
        str(tmp_path / "out"),
        "--seed",
        "8",
        "--grade",
        "low",
        "--shape",
        "small",
    ]
    assert run(arguments) == 0
    record = json.loads((tmp_path / "out" / RECORD_NAME).read_text())
    assert record["command"] == "simulate"
    assert record["options"] == {"count": 1, "seed": 8, "grade": "low", "shape": "small"}
    assert record["patients"][0]["grade"] == "low"
    assert len(record["inputs"]) == 3
    assert record["seconds"]["total"] > 0
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0


def test_the_command_without_its_extra_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    assert run(["simulate", "-o", str(tmp_path / "out"), "--shape", "small"]) == 4
    assert "gliomask[simulate]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--grade", "medium"], ["--shape", "tiny"], ["-n", "0"], ["--seed", "-1"], []])
def test_the_command_refuses_bad_options(tmp_path, wrong):
    output = ["-o", str(tmp_path / "out")] if wrong else []
    assert run(["simulate", *output, *wrong]) == 2
