"""Finding cases: every naming since 2017, Decathlon Task01, and what cannot be told apart."""

import json
import os
import shutil
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import TINY_AFFINE, make_tiny_case, tiny_labels, write_brats_case

from gliomask.case import Case
from gliomask.errors import CaseError, FileFormatError, GeometryError, InputError, LabelError, LimitError, UsageError
from gliomask.evaluate import evaluate
from gliomask.geometry import Geometry
from gliomask.io.brats import CaseFiles, explicit_case, find_cases, read_case, read_label_map, read_reference, survey
from gliomask.io.label_maps import find_label_maps
from gliomask.io.tree import walk
from gliomask.labels import convention
from gliomask.sequences import PAPER_ORDER, Sequence

OLD, NEW = ("flair", "t1", "t1ce", "t2", "seg"), ("t2f", "t1n", "t1c", "t2w", "seg")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def named(prefix: str, words: tuple[str, ...] = OLD, suffix: str = ".nii.gz") -> list[str]:
    return [prefix + word + suffix for word in words]


def message(place: Path, error: type[InputError] = CaseError) -> str:
    """Looks for cases where none must be found, and returns what is said."""
    with pytest.raises(error) as caught:
        find_cases(place)
    assert caught.value.exit_code == 3
    return str(caught.value)


def by_name(files: CaseFiles) -> dict[str, str]:
    return {sequence.value: path.name for sequence, path in files.sequences.items()}


# Namings.


@pytest.mark.parametrize(
    ("folder", "prefix", "words", "labels"),
    [
        ("HGG/Brats17_TCIA_186_1", "Brats17_TCIA_186_1_", OLD, "brats2021"),
        ("LGG/Brats18_CBICA_AAM_1", "Brats18_CBICA_AAM_1_", OLD, "brats2021"),
        ("MICCAI_BraTS_2019_Data_Training/HGG/BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB_1_", OLD, "brats2021"),
        ("BraTS20_Training_001", "BraTS20_Training_001_", OLD, "brats2021"),
        ("BraTS2021_00000", "BraTS2021_00000_", OLD, "brats2021"),
        ("BraTS-GLI-00008-000", "BraTS-GLI-00008-000-", NEW, "brats2023"),
        ("BraTS-GLI-00011-000", "BraTS-GLI-00011-000_", OLD, "brats2021"),
        ("patient", "", ("FLAIR", "T1", "T1c", "T2", "seg"), "brats2021"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_every_naming_since_2017(
    tmp_path: Path, folder: str, prefix: str, words: tuple[str, ...], labels: str, suffix: str
) -> None:
    touch(tmp_path / folder, *named(prefix, words, suffix))
    for place in (tmp_path, tmp_path / folder):
        (files,) = find_cases(place)
        assert files.case_id == folder.rsplit("/", maxsplit=1)[-1]
        assert by_name(files) == {old: f"{prefix}{word}{suffix}" for old, word in zip(OLD[:4], words[:4], strict=True)}
        assert files.reference is not None
        assert files.reference.name == f"{prefix}seg{suffix}"
        assert files.labels.name == labels


def test_trees_are_searched_and_sorted_by_id(tmp_path: Path) -> None:
    for place in ("LGG/b", "HGG/c", "HGG/a", "deep/er/HGG/d"):
        touch(tmp_path / place, *named("x_", OLD[:4]))
    assert [files.case_id for files in find_cases(tmp_path)] == ["a", "b", "c", "d"]


def test_time_points_are_cases_of_their_own(tmp_path: Path) -> None:
    for name in ("BraTS-GLI-00008-000", "BraTS-GLI-00008-001"):
        touch(tmp_path / name, *named(f"{name}-", NEW))
    assert [files.case_id for files in find_cases(tmp_path)] == ["BraTS-GLI-00008-000", "BraTS-GLI-00008-001"]


def test_other_files_and_hidden_ones_are_left_alone(tmp_path: Path) -> None:
    case = touch(
        tmp_path / "a",
        *named("a_"),
        "._a_t1.nii.gz",
        ".a_t2.nii.gz.part",
        "a_t1.json",
        "a_hdbet_mask.nii.gz",
        "a_t1_brain.nii.gz",
    )
    touch(tmp_path, "name_mapping.csv", "survival_info.csv", "README.md", "._.DS_Store")
    touch(tmp_path / ".git", *named("b_"))
    touch(tmp_path / "__MACOSX" / "a", *named("._a_"))
    touch(case / "derived", "a_t1.nii.gz", "a_seg.nii.gz")
    (files,) = find_cases(tmp_path)
    assert files.case_id == "a"
    assert files.reference == case / "a_seg.nii.gz"


def test_a_folder_with_another_name_than_its_files_names_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "visit2", *named("BraTS2021_00000_"))
    assert find_cases(tmp_path)[0].case_id == "visit2"
    monkeypatch.chdir(tmp_path / "visit2")
    assert find_cases(Path())[0].case_id == "visit2"


def test_the_misnamed_label_map_of_brats_2020_is_found(tmp_path: Path) -> None:
    name = "BraTS20_Training_355"
    touch(tmp_path / name, *named(f"{name}_", OLD[:4], ".nii"), "W39_1998.09.19_Segm.nii")
    (files,) = find_cases(tmp_path)
    assert files.reference is not None
    assert files.reference.name == "W39_1998.09.19_Segm.nii"


def test_the_mapping_is_described_for_people(tiny_brats_folder: Path) -> None:
    assert find_cases(tiny_brats_folder)[0].describe().splitlines() == [
        "tiny:",
        "  flair  <- tiny_flair.nii.gz",
        "  t1     <- tiny_t1.nii.gz",
        "  t1ce   <- tiny_t1ce.nii.gz",
        "  t2     <- tiny_t2.nii.gz",
        "  labels <- tiny_seg.nii.gz [brats2021]",
    ]


# Refusals.


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ("a_T1C.nii.gz", "t1ce"),
        ("a_t1ce.nii", "t1ce"),
        ("b_flair.nii.gz", "flair"),
        ("a_ct1.nii", "t1ce"),
        ("b_seg.nii.gz", "the reference"),
    ],
)
def test_two_files_for_one_sequence_are_listed(tmp_path: Path, second: str, what: str) -> None:
    touch(tmp_path / "a", *named("a_"), second)
    said = message(tmp_path)
    assert f"2 files match {what}" in said
    first = "seg" if "reference" in what else what
    assert str(tmp_path / "a" / f"a_{first}.nii.gz") in said
    assert str(tmp_path / "a" / second) in said


@pytest.mark.parametrize("left_out", OLD[:4])
def test_three_sequences_are_no_case(tmp_path: Path, left_out: str) -> None:
    touch(tmp_path / "a", *[name for name in named("a_") if f"_{left_out}." not in name], f"a_{left_out}_to_mni.nii.gz")
    said = message(tmp_path)
    assert f"Case a: missing {left_out}; found" in said
    assert f"Not understood: a_{left_out}_to_mni.nii.gz" in said


def test_a_name_of_two_sequences_is_not_guessed(tmp_path: Path) -> None:
    touch(tmp_path / "a", *named("a_", ("flair", "t1", "t2")), "a_t1ce_to_flair.nii.gz")
    assert "Not understood: a_t1ce_to_flair.nii.gz" in message(tmp_path)


def test_empty_folders_missing_folders_and_other_folders_are_refused(tmp_path: Path) -> None:
    assert "no case found" in message(tmp_path)
    said = message(tmp_path / "absent")
    assert "does not exist" in said
    # Other commands read cases, too, and have no such options.
    assert "gliomask segment also takes four files by --flair" in said
    touch(tmp_path / "a", "notes.txt", "brain.nii.gz")
    said = message(tmp_path)
    assert "no case found" in said
    assert str(tmp_path) in said


def test_one_name_in_two_places_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a_b" / "c", *named("p1_"))
    touch(tmp_path / "a" / "b_c", *named("p1_"))
    touch(tmp_path / "c", *named("p1_"))
    touch(tmp_path / "b_c", *named("p1_"))
    said = message(tmp_path)
    assert f"Two folders hold a case named {tmp_path.name}_a_b_c" in said
    assert str(tmp_path / "a_b" / "c") in said


def test_the_folders_above_tell_visits_apart(tmp_path: Path) -> None:
    for place in ("Patient-001/week-000", "Patient-001/week-044", "Patient-002/week-000", "Patient-003"):
        touch(tmp_path / place, *named("x_"))
    ids = ["Patient-001_week-000", "Patient-001_week-044", "Patient-002_week-000", "Patient-003"]
    assert [files.case_id for files in find_cases(tmp_path)] == ids
    assert list(find_label_maps(tmp_path)) == ids
    assert [files.case_id for files in find_cases(tmp_path / "Patient-001")] == ["week-000", "week-044"]
    touch(tmp_path / "site2" / "Patient-001" / "week-000", *named("x_"))
    assert f"{tmp_path.name}_Patient-001_week-000" in [files.case_id for files in find_cases(tmp_path)]
    assert "site2_Patient-001_week-000" in list(find_label_maps(tmp_path))


def test_refused_visits_of_one_name_are_both_told(tmp_path: Path) -> None:
    for place in ("P1/week-000", "P2/week-000"):
        touch(tmp_path / place, *named("x_", OLD[:3]))
    assert list(survey(tmp_path).refused) == ["P1_week-000", "P2_week-000"]


def test_a_case_does_not_hide_the_cases_below_it(tmp_path: Path) -> None:
    touch(tmp_path / "P1", *named("x_"))
    touch(tmp_path / "P1" / "followup", *named("x_"))
    touch(tmp_path / "P1" / "native", "x_t1.nii.gz", "x_seg.nii.gz")
    for place in (tmp_path, tmp_path / "P1"):
        found = survey(place)
        assert [files.case_id for files in found.cases] == ["P1", "followup"]
        assert not found.refused
        assert len(found.notes) == 1
        assert "native: lies below a case and was left alone" in found.notes[0]
        assert "missing flair" in found.notes[0]
        assert list(find_label_maps(place)) == ["P1", "followup"]


def test_links_are_cases_under_their_own_names(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "REALNAME_1950", *named("x_"))
    for name in ("P001", "P002"):
        (tmp_path / "cohort").mkdir(exist_ok=True)
        (tmp_path / "cohort" / name).symlink_to(tmp_path / "store" / "REALNAME_1950")
    assert [files.case_id for files in find_cases(tmp_path / "cohort")] == ["P001", "P002"]
    assert [files.case_id for files in find_cases(tmp_path / "cohort" / "P001")] == ["P001"]
    assert list(find_label_maps(tmp_path / "cohort")) == ["P001", "P002"]


def test_references_that_are_links_are_named_by_their_own_folders(tmp_path: Path) -> None:
    store = touch(tmp_path / "annex" / "k1", "seg.nii.gz")
    for name in ("P1", "P2"):
        (tmp_path / "refs" / name).mkdir(parents=True)
        (tmp_path / "refs" / name / "seg.nii.gz").symlink_to(store / "seg.nii.gz")
    assert list(find_label_maps(tmp_path / "refs")) == ["P1", "P2"]
    assert list(find_label_maps(tmp_path / "refs" / "P1" / "seg.nii.gz")) == ["P1"]


def test_links_that_lead_up_or_across_are_searched_once(tmp_path: Path) -> None:
    for n in range(20):
        folder = tmp_path / "top" / f"f{n}"
        folder.mkdir(parents=True)
        for m in range(60):
            (folder / f"l{m}").symlink_to(tmp_path / "top" / f"f{m % 20}")
    touch(tmp_path / "top" / "f3" / "p", *named("x_"))
    (tmp_path / "top" / "f3" / "p" / "up").symlink_to(tmp_path / "top")
    assert [files.case_id for files in find_cases(tmp_path / "top")] == ["p"]
    assert sum(1 for _ in walk(tmp_path / "top")) == 22


def test_a_whole_disk_is_not_searched_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        (tmp_path / str(n)).mkdir()
    monkeypatch.setattr("gliomask.io.tree.MAX_FOLDERS", 4)
    with pytest.raises(LimitError, match="holds more than 4 folders"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (("U_brain_segmentation", "U_brain_parenchyma_segmentation", "U_tumor_segmentation"), "U_tumor_segmentation"),
        (("U_tumorMask",), "U_tumorMask"),
        (("U_tumour_mask", "U_brain_mask"), "U_tumour_mask"),
        (("U_0_segmentations",), "U_0_segmentations"),
        (("U_seg", "U_segmentations"), "U_seg"),
        (("U_brain_seg",), None),
        (("U_hdbet_mask",), None),
    ],
)
def test_references_of_public_sets_are_found_and_brain_masks_are_not(
    tmp_path: Path, names: tuple[str, ...], reference: str | None
) -> None:
    touch(tmp_path / "U", *named("U_", OLD[:4]), *(f"{name}.nii.gz" for name in names))
    (files,) = find_cases(tmp_path)
    assert (files.reference and files.reference.name) == (reference and f"{reference}.nii.gz")
    assert not files.left_alone
    assert [file.path.name for file in find_label_maps(tmp_path).values()] == (
        [f"{reference}.nii.gz"] if reference else []
    )


def test_a_patient_named_brain_keeps_its_reference(tmp_path: Path) -> None:
    touch(tmp_path / "P", *named("brain_"))
    assert find_cases(tmp_path)[0].reference == tmp_path / "P" / "brain_seg.nii.gz"


def test_a_mask_of_unknown_kind_is_named_and_not_taken(tmp_path: Path) -> None:
    touch(tmp_path / "EGD-1", "FLAIR.nii.gz", "T1.nii.gz", "T1GD.nii.gz", "T2.nii.gz", "MASK.nii.gz")
    (files,) = find_cases(tmp_path)
    assert files.reference is None
    assert "labels <- nothing; MASK.nii.gz may be a brain mask" in files.describe()
    with pytest.raises(
        CaseError, match=r"no reference label map .* Left alone, since it may be a brain mask: MASK\.nii\.gz"
    ):
        read_reference(files, make_tiny_case().geometry)
    with pytest.raises(CaseError, match=r"no reference label map found.*MASK\.nii\.gz may be a brain mask"):
        evaluate(tmp_path, tmp_path)


def test_a_survey_lists_what_is_refused_beside_the_cases(tmp_path: Path) -> None:
    touch(tmp_path / "good", *named("x_"))
    touch(tmp_path / "half", *named("x_", ("t1", "t2")))
    touch(tmp_path / "twice", *named("x_"), "x_t1.nii")
    found = survey(tmp_path)
    assert [files.case_id for files in found.cases] == ["good"]
    assert list(found.refused) == ["half", "twice"]
    assert "missing flair, t1ce" in str(found.refused["half"])
    assert "Case half" in message(tmp_path)


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "open", *named("x_"))
    touch(tmp_path / "closed", *named("x_"))
    listed = Path.iterdir

    def iterdir(self: Path) -> object:
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert "cannot be listed (Permission denied)" in message(tmp_path)
    assert list(survey(tmp_path).refused) == ["closed"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    closed = touch(tmp_path / "closed", *named("x_"))
    closed.chmod(0)
    try:
        assert "cannot be listed" in message(closed)
    finally:
        closed.chmod(0o755)


def test_a_folder_with_a_scans_name_is_refused_when_it_is_read(tmp_path: Path, tiny_brats_folder: Path) -> None:
    path = tiny_brats_folder / "tiny" / "tiny_t1.nii.gz"
    path.unlink()
    path.mkdir()
    with pytest.raises(FileFormatError, match=r"tiny_t1\.nii\.gz: is a folder"):
        read_case(find_cases(tiny_brats_folder)[0])


# Reading.


@pytest.mark.parametrize("threads", [1, 4])
def test_a_case_is_read_as_it_was_written(tiny_brats_folder: Path, tiny_case: Case, threads: int) -> None:
    (files,) = find_cases(tiny_brats_folder)
    case = read_case(files, threads)
    assert case.case_id == "tiny"
    for sequence in PAPER_ORDER:
        np.testing.assert_array_equal(case.volumes[sequence], tiny_case.volumes[sequence])
    assert case.geometry.same_grid(tiny_case.geometry)
    assert case.header is not None
    np.testing.assert_array_equal(read_reference(files, case.geometry), tiny_labels())
    assert files.paths() == tuple(tiny_brats_folder / "tiny" / f"tiny_{word}.nii.gz" for word in OLD[:4])


def test_another_grid_is_refused_by_file(tiny_brats_folder: Path, tiny_case: Case) -> None:
    moved = TINY_AFFINE.copy()
    moved[2, 3] += 3
    path = tiny_brats_folder / "tiny" / "tiny_t1ce.nii.gz"
    nib.save(nib.Nifti1Image(tiny_case.volumes[Sequence.T1CE], moved), path)
    with pytest.raises(
        GeometryError, match=r"Case tiny: tiny_t1ce\.nii\.gz lies on another grid than tiny_flair\.nii\.gz.*3 mm apart"
    ):
        read_case(find_cases(tiny_brats_folder)[0])
    nib.save(nib.Nifti1Image(tiny_case.volumes[Sequence.T1CE][:-1], TINY_AFFINE), path)
    with pytest.raises(GeometryError, match="23 x 28 x 20 voxels"):
        read_case(find_cases(tiny_brats_folder)[0])


def test_the_first_bad_file_in_the_papers_order_is_named(tiny_brats_folder: Path) -> None:
    for word in ("t1", "t2"):
        (tiny_brats_folder / "tiny" / f"tiny_{word}.nii.gz").write_bytes(b"")
    for _ in range(5):
        with pytest.raises(FileFormatError, match=r"tiny_t1\.nii\.gz: is empty"):
            read_case(find_cases(tiny_brats_folder)[0])


def test_a_resection_cavity_is_never_read_as_enhancing(tmp_path: Path, tiny_case: Case) -> None:
    folder = tmp_path / "BraTS-GLI-02073-100"
    folder.mkdir()
    for sequence, word in zip(PAPER_ORDER, NEW, strict=False):
        nib.save(nib.Nifti1Image(tiny_case.volumes[sequence], TINY_AFFINE), folder / f"{folder.name}-{word}.nii.gz")
    on_disk = np.where(tiny_labels() == 1, 4, tiny_labels()).astype(np.uint8)
    nib.save(nib.Nifti1Image(on_disk, TINY_AFFINE), folder / f"{folder.name}-seg.nii.gz")
    (files,) = find_cases(tmp_path)
    with pytest.raises(LabelError, match=r"02073-100-seg\.nii\.gz: .*resection cavity"):
        read_reference(files, tiny_case.geometry)


def test_a_label_convention_can_be_named(tiny_brats_folder: Path, tiny_case: Case) -> None:
    (files,) = find_cases(tiny_brats_folder, labels="brats2023")
    with pytest.raises(LabelError, match="tiny_seg"):
        read_reference(files, tiny_case.geometry)
    with pytest.raises(UsageError):
        find_cases(tiny_brats_folder, labels="brats1999")


def test_a_reference_elsewhere_or_none_is_refused(tiny_brats_folder: Path, tiny_case: Case) -> None:
    path = tiny_brats_folder / "tiny" / "tiny_seg.nii.gz"
    (files,) = find_cases(tiny_brats_folder)
    with pytest.raises(GeometryError, match="another grid than the scans"):
        read_reference(files, Geometry((24, 28, 20), np.eye(4)))
    path.unlink()
    with pytest.raises(CaseError, match="no reference label map"):
        read_reference(find_cases(tiny_brats_folder)[0], tiny_case.geometry)


@pytest.mark.parametrize("name", ["brats2021", "brats2023", "decathlon"])
def test_label_maps_survive_the_disk(tmp_path: Path, name: str) -> None:
    on_disk = convention(name).to_disk(tiny_labels())
    nib.save(nib.Nifti1Image(on_disk, TINY_AFFINE), tmp_path / "a.nii.gz")
    label_map, geometry = read_label_map(tmp_path / "a.nii.gz", convention(name))
    np.testing.assert_array_equal(label_map, tiny_labels())
    np.testing.assert_array_equal(geometry.affine, TINY_AFFINE)


# Explicit files.


def test_explicit_files_in_any_order(tiny_brats_folder: Path, tiny_case: Case) -> None:
    files = {
        sequence: tiny_brats_folder / "tiny" / f"tiny_{sequence.value}.nii.gz" for sequence in reversed(PAPER_ORDER)
    }
    case = read_case(explicit_case("mine", files))
    np.testing.assert_array_equal(case.volumes[Sequence.T1], tiny_case.volumes[Sequence.T1])


def test_explicit_files_that_lack_one_or_name_one_twice_are_refused(tmp_path: Path) -> None:
    files = {sequence: tmp_path / f"{sequence.value}.nii" for sequence in PAPER_ORDER}
    with pytest.raises(UsageError, match="One file was given for two"):
        explicit_case("mine", {**files, Sequence.T2: tmp_path / "sub" / ".." / "t1.nii"})
    del files[Sequence.T1]
    with pytest.raises(UsageError, match="Missing --t1"):
        explicit_case("mine", files)


# Decathlon.


@pytest.fixture
def task01(tmp_path: Path) -> Path:
    """Two training cases, one with a label map, and a test case."""
    root = tmp_path / "Task01_BrainTumour"
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (root / name).mkdir(parents=True)
    for place, seed in (("imagesTr/BRATS_001", 1), ("imagesTr/BRATS_002", 2), ("imagesTs/BRATS_485", 3)):
        case = make_tiny_case(seed=seed)
        stack = np.stack([case.volumes[sequence] for sequence in PAPER_ORDER], axis=-1)
        nib.save(nib.Nifti1Image(stack, TINY_AFFINE), root / f"{place}.nii.gz")
    (root / "imagesTr" / "._BRATS_001.nii.gz").touch()
    nib.save(
        nib.Nifti1Image(convention("decathlon").to_disk(tiny_labels()), TINY_AFFINE),
        root / "labelsTr" / "BRATS_001.nii.gz",
    )
    return root


def test_task01_of_links_is_read_as_its_links_say(tmp_path: Path, task01: Path) -> None:
    """As DataLad keeps it: the files lie in a store under names of their own."""
    linked = tmp_path / "linked"
    described = {"0": "t1gd", "1": "T2w", "2": "FLAIR", "3": "T1w"}
    for number, place in enumerate(("imagesTr/BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz")):
        key = tmp_path / "annex" / str(number) / "X.nii.gz"
        key.parent.mkdir(parents=True)
        shutil.copy(task01 / place, key)
        (linked / place).parent.mkdir(parents=True)
        (linked / place).symlink_to(key)
    describe_task(linked, modality=described)
    order = (Sequence.T1CE, Sequence.T2, Sequence.FLAIR, Sequence.T1)
    for place in (linked, linked / "imagesTr", linked / "imagesTr" / "BRATS_001.nii.gz"):
        (files,) = find_cases(place)
        assert (files.case_id, files.channel_order, files.reference and files.reference.name) == (
            "BRATS_001",
            order,
            "BRATS_001.nii.gz",
        )
    assert {id: file.labels and file.labels.name for id, file in find_label_maps(linked).items()} == {
        "BRATS_001": "decathlon"
    }
    (tmp_path / "elsewhere.nii.gz").symlink_to(linked / "imagesTr" / "BRATS_001.nii.gz")
    # The link's last target is the store, but each link on the way to it says more than the standard order does.
    assert find_cases(tmp_path / "elsewhere.nii.gz")[0].channel_order == order


def describe_task(root: Path, **fields: object) -> None:
    (root / "dataset.json").write_text(json.dumps(fields))


TASK01 = {
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}


@pytest.mark.parametrize("described", [True, False])
def test_decathlon_by_its_root_its_folder_or_one_file(task01: Path, described: bool) -> None:
    if described:
        describe_task(task01, **TASK01)
    assert [files.case_id for files in find_cases(task01)] == ["BRATS_001", "BRATS_002", "BRATS_485"]
    assert [files.case_id for files in find_cases(task01 / "imagesTr")] == ["BRATS_001", "BRATS_002"]
    (files,) = find_cases(task01 / "imagesTr" / "BRATS_001.nii.gz")
    case, expected = read_case(files), make_tiny_case(seed=1)
    for sequence in PAPER_ORDER:
        np.testing.assert_array_equal(case.volumes[sequence], expected.volumes[sequence])
    np.testing.assert_array_equal(read_reference(files, case.geometry), tiny_labels())
    assert "  t1ce   <- BRATS_001.nii.gz [channel 2]" in files.describe()
    assert [other.reference is None for other in find_cases(task01)] == [False, True, True]


def test_channels_that_the_description_orders_otherwise_are_obeyed(task01: Path) -> None:
    describe_task(task01, channel_names={"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"})
    case, expected = read_case(find_cases(task01 / "imagesTs")[0]), make_tiny_case(seed=3)
    np.testing.assert_array_equal(case.volumes[Sequence.T1], expected.volumes[Sequence.FLAIR])
    np.testing.assert_array_equal(case.volumes[Sequence.FLAIR], expected.volumes[Sequence.T2])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"modality": {"0": "MRI"}}, "not the four sequences"),
        ({"modality": {"0": "T1", "1": "T1", "2": "T2", "3": "FLAIR"}}, "each once"),
        ({"labels": {"0": "background", "1": "necrosis", "2": "edema", "3": "enhancing"}}, "label 1 is 'necrosis'"),
        ({"labels": {"0": "background", "1": "edema", "2": "necrosis", "3": "non-enhancing"}}, "label 3"),
    ],
)
def test_a_description_at_odds_with_task01_is_refused(task01: Path, fields: dict[str, object], words: str) -> None:
    describe_task(task01, **fields)
    assert words in message(task01)


@pytest.mark.parametrize("text", ["{", "[]", "\xff", "[" * 100_000])
def test_a_description_that_is_none_is_refused(task01: Path, text: str) -> None:
    (task01 / "dataset.json").write_bytes(text.encode("latin-1"))
    assert "dataset.json" in message(task01, FileFormatError)


def test_a_4d_file_of_three_channels_is_no_case(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / "three.nii.gz")
    with pytest.raises(CaseError, match="has 3 channels; 4 are needed"):
        read_case(find_cases(tmp_path / "three.nii.gz")[0])


def test_a_single_3d_file_and_a_text_file_are_no_case(tmp_path: Path, tiny_brats_folder: Path) -> None:
    assert "single file must hold all four" in message(tiny_brats_folder / "tiny" / "tiny_t1.nii.gz")
    (tmp_path / "notes.txt").write_text("hello " * 100)
    assert "not a NIfTI file" in message(tmp_path / "notes.txt", FileFormatError)


# Real cases.


@pytest.mark.data
def test_the_released_cases_are_read(shared_data: Path) -> None:
    found = find_cases(shared_data / "brats")
    assert [files.case_id for files in found] == ["BraTS2021_00000", "BraTS2021_01478", "Brats18_CBICA_APY_1"]
    case = read_case(found[0])
    assert str(case.geometry) == "240 x 240 x 155 voxels of 1 x 1 x 1 mm, LPS"
    assert set(np.unique(read_reference(found[0], case.geometry))) == {0, 1, 2, 3}


@pytest.mark.data
def test_a_raw_examination_on_four_grids_is_refused(shared_data: Path) -> None:
    (files,) = find_cases(shared_data / "native" / "TCGA-FG-6692" / "native_with_skull")
    with pytest.raises(GeometryError, match="another grid.*Register and resample"):
        read_case(files)


@pytest.mark.data
def test_a_brain_mask_beside_the_scans_is_no_reference(shared_data: Path) -> None:
    (files,) = find_cases(shared_data / "native" / "TCGA-FG-6692" / "brats_space_brain")
    assert files.reference is None


def test_a_case_moved_elsewhere_is_the_same_case(tmp_path: Path) -> None:
    folder = write_brats_case(tmp_path, make_tiny_case("p1"), suffix=".nii")
    shutil.move(folder, tmp_path / "p2")
    assert read_case(find_cases(tmp_path)[0]).case_id == "p2"


# The same voxels with their axes in another order.


def canonical(path: Path) -> None:
    """Writes a file anew with its axes in RAS order, as `nibabel.as_closest_canonical` and many programs do."""
    image = nib.load(path)
    nib.save(nib.as_closest_canonical(nib.Nifti1Image(np.asarray(image.dataobj), image.affine)), path)


def test_a_sequence_and_a_reference_with_their_axes_in_another_order_are_laid_out_as_the_first(
    tiny_brats_folder: Path,
) -> None:
    (files,) = find_cases(tiny_brats_folder)
    before = read_case(files)
    for word in ("t1ce", "seg"):
        canonical(tiny_brats_folder / "tiny" / f"tiny_{word}.nii.gz")
    case = read_case(files)
    assert case.reordered == (Sequence.T1CE,)
    assert before.reordered == ()
    for sequence in PAPER_ORDER:
        np.testing.assert_array_equal(case.volumes[sequence], before.volumes[sequence])
    np.testing.assert_array_equal(read_reference(files, case.geometry), tiny_labels())


def test_where_no_thread_can_be_started_the_files_are_read_all_the_same(
    tiny_brats_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert read_case(find_cases(tiny_brats_folder)[0]).case_id == "tiny"
