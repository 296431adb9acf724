import copy
import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from heads import make_head, moved_examination, posed, scan_head, scanner_grid, true_mask
from PIL import Image
from test_cohort_here import segment_all

from gliomask.cli.main import run
from gliomask.errors import CaseError, FileFormatError, GeometryError, QualityError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.flag import Flag
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.brats import explicit_case, find_cases
from gliomask.io.nifti import read_volume, write_volume
from gliomask.labels import convention
from gliomask.postprocess import LostPart
from gliomask.preprocess.raw.align import (
    SEQUENCE_LEVELS,
    Alignment,
    align_sequences,
    align_to_frame,
    choose_reference,
    downsampled,
    head_mask,
    near_brain,
    refuse_unbelievable,
)
from gliomask.preprocess.raw.atlas import BRATS_FRAME, load_atlas
from gliomask.preprocess.raw.deface import FacePlane, face_in
from gliomask.preprocess.raw.interface import GivenMask, GivenTransforms, Transform
from gliomask.preprocess.raw.registration import Image as Compared
from gliomask.preprocess.raw.registration import Level, thin
from gliomask.preprocess.raw.route import RawCase, prepare_examination
from gliomask.preprocess.raw.settings import PreparationSettings, PreparationStep
from gliomask.preprocess.raw.transforms import about, distance_mm, move, to_itk_text, turn
from gliomask.report.volumes import measure
from gliomask.results.layout import CaseLayout
from gliomask.results.reports import Reporting, write_report, write_reports
from gliomask.results.row import KEPT
from gliomask.segmentation import Delivery, Options, Segmenter
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.source import FileSource
from gliomask.sequences import PAPER_ORDER, Sequence
from gliomask.simulate.patient import simulate_case

pytest.importorskip("SimpleITK")
WRITING = Delivery(preview=False)


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


@pytest.fixture(scope="module")
def head():
    case, _ = simulate_case(np.random.default_rng(11), size="small")
    return make_head(case)


@pytest.fixture(scope="module")
def moved(head):
    return moved_examination(head)


@pytest.fixture(scope="module")
def told():
    return []


class Told(logging.Handler):
    """Keeps the text of messages."""

    def __init__(self, lines):
        super().__init__(logging.DEBUG)
        self.lines = lines

    def emit(self, record):
        self.lines.append((record.levelno, record.getMessage()))


@pytest.fixture(scope="module")
def steps_done():
    return []


@pytest.fixture(scope="module")
def prepared(moved, told, steps_done):
    logger, handler = logging.getLogger("gliomask"), Told(told)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        return prepare_examination(moved[0], progress=lambda done, total: steps_done.append((done, total)))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def brain_points(head):
    index = np.argwhere(head.brain)[::200].astype(float)
    return move(head.geometry.affine, index)


def test_sequences_of_a_head_that_moved_between_them_come_together(prepared, moved, head):
    # Wherever the reference went in the frame, the others must have gone too.
    expected = np.linalg.inv(prepared.matrices[Sequence.T1CE]) @ moved[1][Sequence.T1CE]
    for sequence, truth in moved[1].items():
        found = np.linalg.inv(prepared.matrices[sequence]) @ truth
        assert distance_mm(found, expected, brain_points(head)).mean() < 1.5, sequence


def test_the_head_comes_near_its_place_in_the_frame_at_its_own_size(prepared, moved, head):
    matrix = prepared.matrices[Sequence.T1CE]
    assert distance_mm(matrix, moved[1][Sequence.T1CE], brain_points(head)).mean() < 8
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)


def test_the_brain_is_found_under_its_skull(prepared, moved, head):
    truth = true_mask(head, moved[1][Sequence.T2], moved[0].scans[Sequence.T2].geometry)
    assert dice(prepared.mask_in(Sequence.T2), truth) > 0.93


def test_the_case_lies_in_the_frame_and_is_bare(prepared):
    assert prepared.case.geometry.same_grid(BRATS_FRAME)
    for volume in prepared.case.volumes.values():
        assert (volume[~prepared.case.brain_mask] == 0).all()


def test_every_step_is_told_in_words_and_measured_for_those_who_ask(prepared, told, steps_done):
    assert steps_done == [(n, 6) for n in range(1, 7)]
    words = [line for level, line in told if level == logging.INFO]
    assert [step.name for step in prepared.steps] == [
        "reference",
        "frame",
        "coregister",
        "coregister",
        "coregister",
        "mask",
    ]
    assert words[0].startswith("  T1ce: the others are brought to it")
    assert "brought to BraTS space" in words[1]
    assert all("brought to T1ce (turned by" in line and line.endswith("the fit is good).") for line in words[2:5])
    assert words[5].startswith("  Brain: found")
    assert not any("mutual information" in line for line in words)
    assert sum("mutual information nats" in line for level, line in told if level == logging.DEBUG) == 4
    assert prepared.reference == Sequence.T1CE
    assert all(
        step.measured["gain_over_displaced"] > 1.15 for step in prepared.steps if step.name in ("frame", "coregister")
    )


def test_a_label_map_comes_back_to_where_it_was(prepared, moved):
    labels = np.zeros(BRATS_FRAME.shape, np.uint8)
    labels[90:120, 110:150, 60:100] = 2
    labels[100:112, 120:140, 70:90] = 3
    native = prepared.label_map_in(Sequence.T2, labels)
    grid = moved[0].scans[Sequence.T2].geometry
    for label, apart_mm in ((2, 1.0), (3, max(grid.spacing_mm) / 2)):
        here = move(grid.affine, np.argwhere(native == label).astype(float)).mean(axis=0)
        there = move(
            prepared.matrices[Sequence.T2], move(BRATS_FRAME.affine, np.argwhere(labels == label).astype(float))
        ).mean(axis=0)
        assert np.linalg.norm(here - there) < apart_mm
    assert np.count_nonzero(native) * grid.voxel_ml == pytest.approx(np.count_nonzero(labels) / 1000, rel=0.05)


@pytest.fixture
def coarse(monkeypatch):
    """Registration at 8 mm only."""
    monkeypatch.setattr("gliomask.preprocess.raw.align.SEQUENCE_LEVELS", SEQUENCE_LEVELS[:1] * 2)


def test_the_same_scans_give_the_same_numbers_alone_and_beside_others(coarse, moved, head):
    scans = moved[0].scans
    brain = move(moved[1][Sequence.T1CE], brain_points(head))
    fixed = near_brain(scans[Sequence.T1CE], brain)
    alone = align_sequences(near_brain(scans[Sequence.T1CE], brain), scans[Sequence.T2], brain)
    with ThreadPoolExecutor(2) as pool:
        beside = list(
            pool.map(
                lambda sequence: align_sequences(fixed, scans[sequence], brain),
                (Sequence.FLAIR, Sequence.T2),
            )
        )[1]
    assert alone.matrix.tobytes() == beside.matrix.tobytes()
    assert alone.measured() == beside.measured()


def test_a_scan_that_shows_something_else_is_refused(coarse, moved, head):
    scans = moved[0].scans
    noise = np.random.default_rng(3).gamma(2, 50, scans[Sequence.T2].geometry.shape)
    other = Scan(noise.astype(np.float32), scans[Sequence.T2].geometry, "noise.nii.gz")
    brain = move(moved[1][Sequence.T1CE], brain_points(head))
    with pytest.raises(QualityError, match=r"the images share \S+ nats of information"):
        refuse_unbelievable(align_sequences(near_brain(scans[Sequence.T1CE], brain), other, brain), "rigid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": 1.02}, "hardly more"),
        ({"information": 0.02}, "share 0.020 nats"),
        ({"angle_degrees": 75.0}, "turned by 75 degrees"),
        ({"scales": (1.6, 1.0, 0.9)}, "scaled by 0.90 to 1.60"),
        ({"scales": (1.1, 1.0, 0.5)}, "scaled by 0.50 to 1.10"),
        ({"coverage": 0.6}, "40% of the brain lies outside"),
    ],
)
def test_what_cannot_be_believed_is_said(change, message):
    good = Alignment(np.eye(4), 0.5, 1.5, 1.0, 5.0, (1.05, 1.0, 0.95))
    refuse_unbelievable(good, "affine")
    with pytest.raises(QualityError, match=message):
        refuse_unbelievable(replace(good, **change), "affine")


def test_t1ce_leads_unless_another_has_much_smaller_voxels(moved):
    assert choose_reference(moved[0]) == Sequence.T1CE
    fine = scanner_grid((150, 150, 150), (1.0, 1.0, 1.0))
    sharp = Scan(np.random.default_rng(0).random(fine.shape, np.float32), fine, "t1.nii.gz")
    assert choose_reference(Examination("x", {**moved[0].scans, Sequence.T1: sharp})) == Sequence.T1


def test_only_scans_of_very_small_voxels_are_made_lighter(moved):
    thick = moved[0].scans[Sequence.T1]
    assert downsampled(thick) is thick
    grid = scanner_grid((120, 100, 30), (0.45, 0.5, 3.0), (10, 0, 0))
    ahead = move(grid.affine, np.indices(grid.shape).reshape(3, -1).T.astype(float))[:, 1].reshape(grid.shape)
    fine = downsampled(Scan(ahead, grid, "fine.nii.gz"))
    np.testing.assert_allclose(fine.geometry.spacing_mm, (0.9, 1.0, 3.0))
    # Each voxel still shows what is where it lies.
    there = move(fine.geometry.affine, np.indices(fine.volume.shape).reshape(3, -1).T.astype(float))[:, 1].reshape(
        fine.volume.shape
    )
    np.testing.assert_allclose(fine.volume[3:-3, 8:-8], there[3:-3, 8:-8], atol=0.02)


def noisy(scan):
    """Noise of a fifth of the signal, as magnitude images have it."""
    generator, level = np.random.default_rng(7), 0.2 * np.percentile(scan.volume, 90)
    volume = np.hypot(
        scan.volume + generator.normal(0, level, scan.volume.shape), generator.normal(0, level, scan.volume.shape)
    )
    return replace(scan, volume=volume.astype(np.float32))


def test_noise_in_the_air_is_no_head(moved):
    plain = moved[0].scans[Sequence.T1CE]
    clear, found = (head_mask(thin(Compared(scan.volume, scan.geometry), 4).volume) for scan in (plain, noisy(plain)))
    assert dice(clear, found) > 0.9


def test_a_head_that_fills_its_field_of_view_is_one_all_the_same(moved):
    plain = moved[0].scans[Sequence.T1CE].volume[25:85, 25:90, 8:24]
    assert head_mask(plain).mean() > 0.3


def test_where_nothing_stands_out_there_is_no_head():
    with pytest.raises(QualityError, match="no head stands out from the air"):
        head_mask(np.full((20, 20, 20), -5, np.float32))


@pytest.mark.slow
def test_a_head_turned_to_its_side_is_found_in_a_noisy_scan(head):
    matrix, atlas = posed(head, (-10, 5, 25), (4, -6, 8)), load_atlas()
    scan = noisy(scan_head(head, Sequence.T1CE, matrix, scanner_grid((110, 116, 38), (1.9, 1.9, 5.0))))
    found = align_to_frame(scan, atlas)
    refuse_unbelievable(found, "affine")
    assert distance_mm(found.matrix, matrix, atlas.brain_points).mean() < 12


def test_the_average_brain_lies_where_it_did_whatever_the_number_of_threads(moved, monkeypatch):
    # Few points and rounds: it is the order of the work that is tried, not its quality.
    monkeypatch.setattr("gliomask.preprocess.raw.align.FRAME_LEVELS", (Level(8, 300, 4, 1), Level(4, 300, 4, 1)))
    scan, atlas = moved[0].scans[Sequence.T1CE], load_atlas()
    alone, beside = (align_to_frame(scan, atlas, threads) for threads in (1, 3))
    assert alone.matrix.tobytes() == beside.matrix.tobytes()
    assert alone.measured() == beside.measured()


def test_a_step_that_does_not_exist_cannot_be_skipped():
    with pytest.raises(UsageError, match="no step 'registration'"):
        PreparationSettings(frozenset({"registration"}))


@pytest.fixture
def stub_alignment(monkeypatch, prepared):
    """No registration: the matrices found before."""
    reference = prepared.matrices[Sequence.T1CE]
    pose = Alignment(reference, 0.5, 1.5, 1.0, 5.0, (1.0, 1.0, 1.0))
    monkeypatch.setattr("gliomask.preprocess.raw.place.align_to_frame", lambda scan, atlas, threads: pose)
    monkeypatch.setattr("gliomask.preprocess.raw.place.rigid_to_frame", lambda scan, atlas, affine: reference)
    grids = {scan.geometry: sequence for sequence, scan in prepared.examination.scans.items()}

    def align(fixed, moving, brain):
        return replace(pose, matrix=prepared.matrices[grids[moving.geometry]] @ np.linalg.inv(reference))

    monkeypatch.setattr("gliomask.preprocess.raw.place.align_sequences", align)


def test_a_brain_mask_that_is_given_is_used(stub_alignment, moved, head):
    grid = moved[0].scans[Sequence.T2].geometry
    mask = true_mask(head, moved[1][Sequence.T2], grid)
    found = prepare_examination(moved[0], PreparationSettings(brain_extraction=GivenMask(mask, grid)))
    assert dice(found.mask_in(Sequence.T2), mask) > 0.97
    assert found.steps[-1].what == "as given"


def test_a_brain_mask_on_another_grid_is_refused(stub_alignment, moved):
    grid = Geometry((50, 50, 50), np.diag([4.0, 4.0, 4.0, 1.0]))
    with pytest.raises(GeometryError, match="the brain mask lies on no sequence's grid"):
        prepare_examination(moved[0], PreparationSettings(brain_extraction=GivenMask(np.ones(grid.shape, bool), grid)))


class Scanner:
    """A tool that knows how the head moved, and where its brain is."""

    name = "scanner 1.0"

    def __init__(self, moved, head):
        self.moved, self.head = moved, head

    def register(self, examination, reference):
        assert examination is self.moved[0]
        truth = self.moved[1]
        given = {sequence: Transform("brats", truth[sequence]) for sequence in (Sequence.T1, reference)}
        return given | {Sequence.T2: Transform(reference, truth[Sequence.T2] @ np.linalg.inv(truth[reference]))}

    def extract(self, examination, reference):
        grid = examination.scans[reference].geometry
        return true_mask(self.head, self.moved[1][reference], grid), grid


def test_other_tools_take_the_place_of_registration_and_brain_extraction(stub_alignment, moved, head, monkeypatch):
    def refuse(*arguments):
        raise QualityError("the average brain is not needed")

    monkeypatch.setattr("gliomask.preprocess.raw.place.align_to_frame", refuse)
    tool, reference = Scanner(moved, head), Sequence.T1CE
    found = prepare_examination(moved[0], PreparationSettings(registration=tool, brain_extraction=tool))
    for sequence in (Sequence.T1, Sequence.T1CE, Sequence.T2):
        np.testing.assert_allclose(found.matrices[sequence], moved[1][sequence], atol=1e-6)
    assert found.registered_by == {
        Sequence.T1CE: "scanner 1.0",
        Sequence.FLAIR: "gliomask",
        Sequence.T1: "scanner 1.0",
        Sequence.T2: "scanner 1.0",
    }
    assert found.brain_by == "scanner 1.0"
    assert found.steps[-1].what == "found by scanner 1.0"
    mask, truth = found.mask_in(reference), tool.extract(moved[0], reference)[0]
    # T1 has the same grid, in which the head lies otherwise: the mask is taken for the reference's.
    assert moved[0].scans[Sequence.T1].geometry.same_grid(moved[0].scans[reference].geometry)
    assert dice(mask, truth) > 0.97
    with pytest.raises(QualityError, match=r"transform that was given for t1 \(x.mat\) does not lay it on t1ce"):
        wrong = {Sequence.T1: Transform(reference, about((0, 0, 0), turn((0, 0, 40)), (20, 0, 0)), "x.mat")}
        prepare_examination(
            moved[0],
            PreparationSettings(
                registration=GivenTransforms({reference: Transform("brats", moved[1][reference])} | wrong),
                brain_extraction=tool,
            ),
        )


def test_a_mask_without_the_shape_of_its_grid_is_refused(stub_alignment, moved):
    class Broken:
        name = "broken"

        def extract(self, examination, reference):
            return np.ones((2, 3, 4), bool), examination.scans[reference].geometry

    with pytest.raises(GeometryError, match=r"brain mask of broken has the shape \(2, 3, 4\)"):
        prepare_examination(moved[0], PreparationSettings(brain_extraction=Broken()))


def test_a_brain_cut_off_by_the_field_of_view_is_refused(stub_alignment, moved, head, monkeypatch):
    scans = dict(moved[0].scans)
    flair = scans[Sequence.FLAIR]
    cut = Geometry((104, 120, 18), flair.geometry.affine)
    scans[Sequence.FLAIR] = Scan(flair.volume[:, :, :18], cut, "flair.nii.gz")
    pose = Alignment(
        moved[1][Sequence.FLAIR] @ np.linalg.inv(moved[1][Sequence.T1CE]), 0.5, 1.5, 1.0, 5.0, (1.0, 1.0, 1.0)
    )
    monkeypatch.setattr("gliomask.preprocess.raw.place.align_sequences", lambda fixed, moving, brain: pose)
    with pytest.raises(QualityError, match=r"flair \(flair.nii.gz\): \d+% of the brain lies outside the field of view"):
        prepare_examination(Examination("cut", scans))


def test_a_registration_that_fails_names_its_sequence(stub_alignment, moved, monkeypatch):
    bad = Alignment(np.eye(4), 0.1, 1.01, 1.0, 5.0, (1.0, 1.0, 1.0))
    monkeypatch.setattr("gliomask.preprocess.raw.place.align_sequences", lambda fixed, moving, brain: bad)
    with pytest.raises(QualityError, match="Case moved: flair cannot be registered to t1ce: .*--skip coregister"):
        prepare_examination(moved[0])


@pytest.mark.parametrize("problem", ["twice", "ct", "slab", "missing"])
def test_what_no_step_could_mend_is_refused_first(moved, problem):
    scans = dict(moved[0].scans)
    t1 = scans[Sequence.T1]
    if problem == "twice":
        scans[Sequence.T1] = replace(scans[Sequence.T1CE], source="other.nii.gz")
    elif problem == "ct":
        scans[Sequence.T1] = Scan(np.where(t1.volume < 60, -1000, t1.volume), t1.geometry, "ct.nii.gz")
    elif problem == "slab":
        scans[Sequence.T1] = Scan(
            t1.volume[:, :, :1], Geometry((*t1.geometry.shape[:2], 1), t1.geometry.affine), "one.nii.gz"
        )
    else:
        del scans[Sequence.T1]
    message = {
        "twice": "hold the same image",
        "ct": "looks like a CT",
        "slab": "is no whole head",
        "missing": "missing t1",
    }[problem]
    with pytest.raises(CaseError, match=message):
        prepare_examination(Examination("bad", scans))


def asked(segmenter, **options):
    """The same engines, asked for something else."""
    other = copy.copy(segmenter)
    other.options = replace(segmenter.options, **options)
    return other


@pytest.fixture
def segmenter(fake_model):
    with Segmenter(Options()) as opened:
        yield opened


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.endswith("_run.json")
    }


def test_prepared_scans_go_straight_through_to_the_byte(segmenter, tiny_brats_folder, tmp_path, caplog):
    (files,) = find_cases(tiny_brats_folder)
    segment_to_files(segmenter, FileSource(files), CaseLayout.of(tmp_path / "before", files.case_id), WRITING)
    caplog.set_level(logging.INFO, "gliomask")
    segment_to_files(segmenter, FileSource(files), CaseLayout.of(tmp_path / "now", files.case_id), WRITING)
    assert hashes(tmp_path / "before") == hashes(tmp_path / "now")
    assert caplog.messages == []


@pytest.fixture
def small(tiny_case):
    """A raw case as `prepare_examination` would return it, from scans of 10 slices and a frame of 20."""
    grid = Geometry((16, 20, 10), np.array([[-1.5, 0, 0, 11], [0, -1.4, 0, 13], [0, 0, 2.2, -10], [0, 0, 0, 1]]))
    wide = Geometry((20, 20, 10), np.array([[-1.3, 0, 0, 12], [0, -1.4, 0, 13], [0, 0, 2.2, -10], [0, 0, 0, 1]]))
    grids = {sequence: wide if sequence == Sequence.FLAIR else grid for sequence in PAPER_ORDER}
    generator = np.random.default_rng(0)
    scans = {
        sequence: Scan(generator.random(one.shape, np.float32), one, sequence.value) for sequence, one in grids.items()
    }
    matrices = {sequence: about((0, 0, 0), turn((0, 0, 5)), (0, 0, 1)) for sequence in PAPER_ORDER}
    return RawCase(
        tiny_case,
        Examination("tiny", scans),
        Sequence.T1CE,
        matrices,
        (PreparationStep("mask", "", "by hand", {"volume_ml": 3.0}),),
    )


@pytest.fixture
def raw_files(tmp_path, small, monkeypatch):
    monkeypatch.setattr(
        "gliomask.preprocess.raw.route.prepare_examination", lambda examination, settings, progress: small
    )
    folder = tmp_path / "scanner"
    folder.mkdir()
    for sequence, scan in small.examination.scans.items():
        write_volume(folder / f"{sequence.value}.nii.gz", scan.volume, scan.geometry)
    return explicit_case("tiny", {sequence: folder / f"{sequence.value}.nii.gz" for sequence in PAPER_ORDER})


def test_raw_scans_are_refused_where_the_route_is_not_wanted(segmenter, raw_files, tmp_path):
    with pytest.raises(GeometryError, match="lies on another grid"):
        segment_to_files(
            asked(segmenter, raw="never"), FileSource(raw_files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING
        )
    assert not (tmp_path / "out").exists()


def test_bare_brains_on_two_grids_are_refused_unless_it_is_said(segmenter, tiny_brats_folder, tmp_path):
    (files,) = find_cases(tiny_brats_folder)
    flair = read_volume(files.sequences[Sequence.FLAIR])
    affine = flair.geometry.affine + 5 * np.eye(4, k=3)
    write_volume(files.sequences[Sequence.FLAIR], flair.values, Geometry(flair.geometry.shape, affine), overwrite=True)
    with pytest.raises(GeometryError, match="lies on another grid than .*--raw always"):
        segment_to_files(segmenter, FileSource(files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING)


def test_results_of_raw_scans_lie_in_the_scanners_grids(segmenter, raw_files, tmp_path, small, caplog):
    results = CaseLayout.of(tmp_path / "out", "tiny")
    caplog.set_level(logging.INFO, "gliomask")
    delivery = replace(WRITING, spaces=(Sequence.FLAIR,), keep_images=True)
    result = segment_to_files(segmenter, FileSource(raw_files), results, delivery)
    assert caplog.messages[0].startswith(
        "tiny: the sequences lie on different grids, skull on, so the scans are registered"
    )
    for name, sequence in (("tiny_seg.nii.gz", Sequence.T1CE), ("tiny_space-flair_seg.nii.gz", Sequence.FLAIR)):
        written = read_volume(tmp_path / "out" / name)
        assert written.geometry.same_grid(read_volume(raw_files.sequences[sequence]).geometry)
        expected = convention("brats2021").to_disk(small.label_map_in(sequence, result.label_map_in("brats")))
        np.testing.assert_array_equal(written.values, expected)
        assert expected.any()
    assert (
        read_volume(tmp_path / "out" / "tiny_space-brats_seg.nii.gz").values.shape == result.label_map_in("brats").shape
    )
    assert {path.name for path in (tmp_path / "out").glob("*.tfm")} == {
        f"tiny_from-{sequence.value}_to-brats.tfm" for sequence in PAPER_ORDER
    }
    record = json.loads(results.record.read_text())
    assert record["raw_route"]["reference"] == "t1ce"
    assert (list(record["seconds"])[:2], list(record["seconds"])[-2:]) == (["read", "prepare"], ["write", "total"])
    assert record["raw_route"]["steps"][0]["what"] == "by hand"
    assert json.loads(results.volumes_json.read_text())["space"] == "t1ce"
    with pytest.raises(UsageError, match="exists"):
        segment_to_files(segmenter, FileSource(raw_files), results, delivery)


def test_what_the_preparation_found_is_judged_with_the_rest_and_places_are_the_scans_own(
    segmenter, raw_files, tmp_path, small, monkeypatch
):
    # A Dice was promised beside `mask_uncertain`, and removed parts were told in the coordinates of BraTS space.
    flag = Flag("mask_uncertain", "The mask may reach beyond the brain.", 1.2, 1.3)
    doubted = replace(small, flags=(flag,))
    monkeypatch.setattr(
        "gliomask.preprocess.raw.route.prepare_examination", lambda examination, settings, progress: doubted
    )
    centre = (3.0, 4.0, 5.0)
    lost = LostPart(2000, 2.0, centre)
    monkeypatch.setattr("gliomask.segmentation.segmenter.lost_parts", lambda *arguments: [lost])
    results = CaseLayout.of(tmp_path / "out", "tiny")
    result = segment_to_files(segmenter, FileSource(raw_files), results, WRITING)
    names = [found.name for found in result.flags]
    assert names.count("mask_uncertain") == 1
    assert "doubtful" in names
    assert not result.estimates
    place = nib.affines.apply_affine(small.matrices[Sequence.T1CE] @ small.case.geometry.affine, centre)
    (told,) = json.loads(results.record.read_text())["removed"]
    np.testing.assert_allclose(told["centre_ras_mm"], place, atol=0.06)


def test_the_picture_of_raw_scans_tells_the_volumes_of_the_label_map_that_is_delivered(
    segmenter, raw_files, tmp_path, monkeypatch
):
    # It told those of BraTS space: 23.1 ml beside 22.7 on the screen and in the tables.
    drawn = []
    monkeypatch.setattr(
        "gliomask.segmentation.deliver.draw_preview", lambda *arguments, **options: drawn.append(options["volumes"])
    )
    result = segment_to_files(segmenter, FileSource(raw_files), CaseLayout.of(tmp_path / "out", "tiny"), Delivery())
    assert drawn == [measure(result.label_map, result.geometry)]


def test_transforms_and_a_mask_from_files_reach_the_preparation_and_the_record(
    segmenter, raw_files, tmp_path, small, monkeypatch
):
    matrix = about((1, 2, 3), turn((4, 5, 6)), (7, 8, 9))
    transform, mask = tmp_path / "t1.tfm", tmp_path / "mask.nii.gz"
    transform.write_text(to_itk_text(matrix))
    grid = small.examination.scans[Sequence.T1].geometry
    write_volume(mask, np.ones(grid.shape, np.uint8), grid)
    asked_for = []

    def prepare(examination, settings, progress):
        asked_for.append(settings)
        return replace(small, registered_by={Sequence.T1: "t1.tfm"}, brain_by="mask.nii.gz")

    monkeypatch.setattr("gliomask.preprocess.raw.route.prepare_examination", prepare)
    results = CaseLayout.of(tmp_path / "out", "tiny")
    asking = asked(segmenter, transforms=(f"t1-to-t1ce={transform}",), brain_mask=mask)
    segment_to_files(asking, FileSource(raw_files), results, WRITING)
    (settings,) = asked_for
    given = settings.registration.transforms[Sequence.T1]
    assert given.target == Sequence.T1CE
    np.testing.assert_allclose(given.matrix, matrix, atol=1e-9)
    assert settings.brain_extraction.geometry.same_grid(grid)
    record = json.loads(results.record.read_text())
    assert record["inputs"][str(transform)] == hashlib.sha256(transform.read_bytes()).hexdigest()
    assert str(mask) in record["inputs"]
    assert record["raw_route"]["registered_by"] == {"t1": "t1.tfm"}
    assert record["raw_route"]["brain_by"] == "mask.nii.gz"
    assert "transforms" not in record["options"]
    with pytest.raises(UsageError, match="is an input"):
        there = CaseLayout.of(tmp_path / "mask.nii.gz", "tiny")
        segment_to_files(asking, FileSource(raw_files), there, replace(WRITING, overwrite=True))


def test_transforms_of_a_prepared_case_are_refused(segmenter, tiny_brats_folder, tmp_path):
    (files,) = find_cases(tiny_brats_folder)
    (tmp_path / "t1.tfm").write_text(to_itk_text(np.eye(4)))
    asking = asked(segmenter, transforms=(f"t1-to-t1ce={tmp_path / 't1.tfm'}",))
    with pytest.raises(UsageError, match="go straight to the network, so transforms"):
        segment_to_files(asking, FileSource(files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING)


def test_faces_are_taken_off_where_there_are_some(
    segmenter, raw_files, tiny_brats_folder, tmp_path, small, caplog, monkeypatch
):
    # These grids are too small for a margin of a centimetre: the plane runs through their middle.
    monkeypatch.setitem(small.__dict__, "face", FacePlane(np.array([0.0, 0.6, -0.8]), 0.6))
    caplog.set_level(logging.INFO, "gliomask")
    results, delivery = CaseLayout.of(tmp_path / "out", "tiny"), replace(WRITING, deface=True)
    segment_to_files(segmenter, FileSource(raw_files), results, delivery)
    for sequence, scan in small.examination.scans.items():
        face = face_in(small.face, scan.geometry, small.matrices[sequence])
        found = read_volume(results.defaced(sequence))
        assert found.geometry.same_grid(scan.geometry)
        np.testing.assert_array_equal(found.values[~face], scan.volume[~face])
        assert (found.values[face] == scan.volume.min()).all()
        assert face.any()
        in_frame = read_volume(results.defaced_in_frame(sequence)).values
        assert (in_frame[face_in(small.face, small.case.geometry, np.eye(4))] == in_frame.min()).all()
    with Image.open(results.faces) as picture:
        assert picture.size == (900, 4 * 306)
    plane = json.loads(results.record.read_text())["raw_route"]["defaced"]
    assert plane["rule"] == "quickshear"
    (prepared_files,) = find_cases(tiny_brats_folder)
    bare = CaseLayout.of(tmp_path / "bare", "tiny")
    segment_to_files(segmenter, FileSource(prepared_files), bare, delivery)
    assert "Nothing to deface: the skull is off in all sequences already." in caplog.messages
    assert not list((tmp_path / "bare").glob("*defaced*"))


def test_nothing_is_left_of_a_raw_case_that_fails_while_it_is_written(segmenter, raw_files, tmp_path, monkeypatch):
    def fail(*arguments):
        raise UsageError("full")

    monkeypatch.setattr("gliomask.segmentation.deliver._write_volumes", fail)
    with pytest.raises(UsageError, match="full"):
        segment_to_files(segmenter, FileSource(raw_files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING)
    assert not (tmp_path / "out").exists()


def test_a_cohort_takes_raw_and_prepared_cases(segmenter, raw_files, tiny_brats_folder, tmp_path):
    (prepared_files,) = find_cases(tiny_brats_folder)
    cases = [prepared_files, replace(raw_files, case_id="scanner")]
    result = segment_all(segmenter, cases, tmp_path / "out", WRITING)
    assert [row.status for row in result] == ["done", "done"]
    assert "raw_route" not in json.loads((tmp_path / "out" / "tiny_run.json").read_text())
    assert "raw_route" in json.loads((tmp_path / "out" / "scanner_run.json").read_text())


def test_a_finished_raw_case_is_kept_and_another_way_is_refused(segmenter, raw_files, tmp_path):
    writing = WRITING
    segment_all(segmenter, [raw_files], tmp_path / "out", writing)
    again = segment_all(
        segmenter,
        [raw_files],
        tmp_path / "out",
        writing,
        progress=lambda done, total: pytest.fail("nothing is left to do"),
        resume=True,
    )
    assert [row.message for row in again] == [KEPT]
    # One number: that of the grid in which the label map is delivered.
    table = json.loads((tmp_path / "out" / "tiny_volumes.json").read_text())
    assert again[0].wt_ml == table["regions"]["WT"]["volume_ml"]
    with pytest.raises(UsageError, match="other --keep-images"):
        segment_all(segmenter, [raw_files], tmp_path / "out", replace(writing, keep_images=True), resume=True)


def test_a_four_dimensional_file_in_place_of_a_sequence_is_refused(segmenter, raw_files, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((20, 20, 12, 30), np.float32), np.eye(4)), raw_files.sequences[Sequence.T2])
    with pytest.raises(FileFormatError, match="3 dimensions are needed, found 4"):
        segment_to_files(
            asked(segmenter, raw="always"), FileSource(raw_files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING
        )


@pytest.mark.parametrize(("field", "value"), [("srow_x", (np.nan, 0, 0, 0)), ("pixdim", (1, 0, 1, 1, 1, 1, 1, 1))])
def test_an_impossible_header_is_refused_by_its_file(segmenter, raw_files, tmp_path, field, value):
    path = raw_files.sequences[Sequence.T2]
    image = nib.Nifti1Image(np.random.default_rng(0).random((16, 20, 10)).astype(np.float32), np.eye(4))
    nib.save(image, path.with_suffix("").with_suffix(".nii"))
    plain = path.with_suffix("").with_suffix(".nii")
    content = bytearray(plain.read_bytes())
    offset = {"srow_x": 280, "pixdim": 76}[field]
    content[offset : offset + 4 * len(value)] = np.array(value, "<f4").tobytes()
    path.write_bytes(content)
    with pytest.raises(GeometryError, match=r"t2\.nii\.gz"):
        segment_to_files(segmenter, FileSource(raw_files), CaseLayout.of(tmp_path / "out", "tiny"), WRITING)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_the_raw_route_and_says_so(fake_model, raw_files, tmp_path, capsys):
    arguments = [word for sequence, path in raw_files.sequences.items() for word in (f"--{sequence.value}", str(path))]
    assert run(["segment", *arguments, "-o", str(tmp_path / "out"), "--space", "t2", "--no-preview"]) == 0
    assert "so the scans are registered to BraTS space first" in capsys.readouterr().err
    assert (tmp_path / "out" / "case_space-t2_seg.nii.gz").exists()
    assert run(["segment", *arguments, "-o", str(tmp_path / "none"), "--raw", "never", "--no-preview"]) == 3
    assert run(["segment", *arguments, "-o", str(tmp_path / "none"), "--space", "adc"]) == 2


def test_a_raw_case_is_reported_later_as_at_once_where_its_images_were_kept(segmenter, raw_files, tmp_path):
    results, html = CaseLayout.of(tmp_path / "out", "tiny"), Reporting(("html",))
    delivery = replace(WRITING, keep_images=True, spaces=(Sequence.T2,), report=("html",))
    segment_to_files(segmenter, FileSource(raw_files), results, delivery)
    page = (tmp_path / "out" / "tiny_report.html").read_bytes()
    assert b"in the frame of BraTS, not in the scanner" in page
    assert {
        name: [path.read_bytes() for path in paths]
        for name, paths in write_reports(tmp_path / "out", html, output=tmp_path / "later").items()
    } == {"tiny": [page]}
    results.image(Sequence.T1).unlink()
    with pytest.raises(UsageError, match="no tiny_space-brats_t1.nii.gz beside it. Segment again with --report"):
        write_report(results.label_map, html, output=tmp_path / "none")


def test_dicom_becomes_a_report_in_two_commands(fake_model, raw_files, small, tmp_path):
    write_series = pytest.importorskip("dicom_series").write_series
    for n, (sequence, scan) in enumerate(small.examination.scans.items()):
        write_series(tmp_path / "dicom" / sequence.value, 1000 * scan.volume, scan.geometry, sequence.value, n + 1)
    assert run(["dicom", "convert", str(tmp_path / "dicom"), "-o", str(tmp_path / "scans")]) == 0
    assert (
        run(["segment", str(tmp_path / "scans"), "-o", str(tmp_path / "out"), "--report", "html,json", "--no-preview"])
        == 0
    )
    (page,) = (tmp_path / "out").glob("*_report.html")
    assert "in the frame of BraTS, not in the scanner" in page.read_text()
    told, table = (
        json.loads(next((tmp_path / "out").glob(f"*_{name}.json")).read_text()) for name in ("report", "volumes")
    )
    assert {name: told["volumes"][name] for name in ("labels", "regions")} == {
        name: table[name] for name in ("labels", "regions")
    }
    (label_map,) = (path for path in (tmp_path / "out").glob("*_seg.nii.gz") if "_space-" not in path.name)
    assert read_volume(label_map).geometry.same_grid(small.examination.scans[Sequence.T1CE].geometry)
    assert not [path for path in (tmp_path / "out").iterdir() if b"SMITH" in path.read_bytes()]


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were opened for reading."""
    names, open_file = [], Path.open

    def counted(path, mode="r", *arguments, **keywords):
        if mode == "rb":
            names.append(path.name)
        return open_file(path, mode, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", counted)
    return names


def test_every_raw_scan_is_read_once_and_its_hash_is_of_what_was_read(segmenter, raw_files, tmp_path, opened):
    results = CaseLayout.of(tmp_path / "out", "tiny")
    segment_to_files(segmenter, FileSource(raw_files), results, WRITING)
    scans = [path.name for path in raw_files.paths()]
    assert sorted(name for name in opened if name in scans) == sorted(scans)
    hashes = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in raw_files.paths()}
    assert json.loads(results.record.read_text())["inputs"] == hashes


def test_every_prepared_scan_is_read_once(segmenter, tiny_brats_folder, tmp_path, opened):
    (files,) = find_cases(tiny_brats_folder)
    results = CaseLayout.of(tmp_path / "out", "tiny")
    segment_to_files(segmenter, FileSource(files), results, WRITING)
    scans = [path.name for path in files.paths()]
    assert sorted(name for name in opened if name in scans) == sorted(scans)
    assert json.loads(results.record.read_text())["inputs"] == {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files.paths()
    }


def test_a_brain_mask_is_read_once_and_recorded(segmenter, raw_files, tmp_path, small, opened):
    path = tmp_path / "mask.nii.gz"
    write_volume(path, np.ones((16, 20, 10), np.uint8), small.examination.scans[Sequence.T1CE].geometry)
    results = CaseLayout.of(tmp_path / "out", "tiny")
    segment_to_files(asked(segmenter, brain_mask=path), FileSource(raw_files), results, WRITING)
    assert opened.count("mask.nii.gz") == 1
    assert json.loads(results.record.read_text())["inputs"][str(path)] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_a_scan_that_vanishes_while_the_others_are_read_is_named(
    fake_model, raw_files, tmp_path, monkeypatch, capsys, mode
):
    gone, read = raw_files.sequences[Sequence.T2], nifti.read_volume

    def read_slowly(path):
        if path == gone:
            gone.unlink()
        return read(path)

    monkeypatch.setattr(nifti, "read_volume", read_slowly)
    arguments = [word for sequence, path in raw_files.sequences.items() for word in (f"--{sequence.value}", str(path))]
    assert run(["segment", *arguments, "-o", str(tmp_path / "out"), "--raw", mode]) == 3
    assert "t2.nii.gz: cannot be read (No such file or directory)" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_a_disk_that_fails_while_a_scan_is_read_is_named(fake_model, raw_files, tmp_path, monkeypatch, capsys):
    def fail(self, count):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("gliomask.io.gunzip.Gunzip.read", fail)
    arguments = [word for sequence, path in raw_files.sequences.items() for word in (f"--{sequence.value}", str(path))]
    assert run(["segment", *arguments, "-o", str(tmp_path / "out")]) == 3
    assert "nii.gz: cannot be read (Input/output error)" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))
