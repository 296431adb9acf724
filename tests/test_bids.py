"""The BIDS App from a dataset to a derivative dataset: names, sidecars, tables, pages, failures, and what the BIDS
validator says of all that.
"""

import gzip
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from bids_dataset import ENDINGS, add_raw_session, add_session, make_dataset, raw_case
from conftest import make_tiny_case
from hand_model import model_by_hand
from PIL import Image

from gliomask import __version__
from gliomask.bids.layout import open_dataset
from gliomask.bids.output import description
from gliomask.bids.validate import refuse_invalid, validate
from gliomask.cli.bids import command, main, spread
from gliomask.cli.main import run
from gliomask.colours import PALETTE
from gliomask.errors import CaseError, LimitError
from gliomask.geometry import Geometry
from gliomask.io.nifti import read_volume
from gliomask.sequences import Sequence

FAST = ("--skip-bids-validator", "--report", "none")


def app(*arguments):
    return run([str(argument) for argument in arguments], command)


def tsv(path):
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with a prepared patient, one with a session, a raw one and one without T1w; both levels run on it."""
    base = tmp_path_factory.mktemp("bids")
    root, prepared = make_dataset(base / "ds"), raw_case()
    add_session(root, "01")
    add_session(root, "02", "pre", make_tiny_case(seed=1))
    add_raw_session(root, "03", prepared)
    add_session(root, "04", leave_out=(Sequence.T1,))
    output, work = root / "derivatives" / "gliomask", base / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gliomask.segmentation.segmenter.load_model", lambda name: model_by_hand())
        patch.setattr(
            "gliomask.preprocess.raw.route.prepare_examination", lambda examination, settings, progress: prepared
        )
        participant = app(root, output, "participant", "-w", work, "--probseg", "--uncertainty", "--space", "flair")
        group = app(root, output, "group")
    return SimpleNamespace(root=root, output=output, work=work, raw=prepared, participant=participant, group=group)


def test_the_exit_code_is_that_of_the_first_failure_and_the_group_goes_on(made):
    assert (made.participant, made.group) == (3, 0)


def test_the_derivative_dataset_is_valid(made):
    found = validate(made.output)
    assert [str(error) for error in found.errors] == []
    # What no program can know (authors), what has none (the axis of labels has no unit), and what a table of labels for
    # all images cannot say.
    expected = {
        "TOO_FEW_AUTHORS",
        "NIFTI_UNIT",
        "SIDECAR_KEY_RECOMMENDED Description",
        "SIDECAR_KEY_RECOMMENDED SpatialReference",
    }
    assert {warning.code for warning in found.warnings} == expected
    assert {warning.location for warning in found.warnings if warning.code.startswith("SIDECAR")} == {"/dseg.tsv"}


PREPARED = {
    "dseg.nii.gz",
    "dseg.json",
    "probseg.nii.gz",
    "probseg.json",
    "uncertainty.nii.gz",
    "uncertainty.json",
    "volumes.tsv",
    "volumes.json",
}
RAW = {
    *(
        "dseg.nii.gz",
        "dseg.json",
        "space-FLAIR_dseg.nii.gz",
        "space-FLAIR_dseg.json",
        "space-SRI24_dseg.nii.gz",
        "space-SRI24_dseg.json",
    ),
    *(
        "desc-brain_mask.nii.gz",
        "desc-brain_mask.json",
        "space-SRI24_desc-brain_mask.nii.gz",
        "space-SRI24_desc-brain_mask.json",
    ),
    *(
        "space-FLAIR_desc-brain_mask.nii.gz",
        "space-FLAIR_desc-brain_mask.json",
        "space-SRI24_probseg.nii.gz",
        "space-SRI24_probseg.json",
    ),
    *("space-SRI24_uncertainty.nii.gz", "space-SRI24_uncertainty.json", "volumes.tsv", "volumes.json"),
    *(
        f"from-{name}_to-SRI24_mode-image_xfm.{kind}"
        for name in ("T1w", "T1ce", "T2w", "FLAIR")
        for kind in ("txt", "json")
    ),
}


def test_every_result_has_its_name_of_bids(made):
    found = {path.relative_to(made.output).as_posix() for path in made.output.rglob("*") if path.is_file()}
    anat = {
        *(f"sub-01/anat/sub-01_{name}" for name in PREPARED),
        *(f"sub-02/ses-pre/anat/sub-02_ses-pre_{name}" for name in PREPARED),
        *(f"sub-03/anat/sub-03_{name}" for name in RAW),
    }
    cases = {"sub-01": "sub-01", "sub-02_ses-pre": "sub-02/ses-pre", "sub-03": "sub-03"}
    others = {
        *(
            "dataset_description.json",
            "README.md",
            ".bidsignore",
            "dseg.tsv",
            "group_volumes.tsv",
            "group_volumes.json",
            "group.html",
        ),
        *(f"{case}.{form}" for case in cases for form in ("html", "pdf")),
        *(f"logs/{case}_run.json" for case in cases),
        *(f"{folder}/figures/{case}_dseg.png" for case, folder in cases.items()),
        "logs/sub-04_failed.json",
    }
    assert found == anat | others


def test_the_dataset_says_where_it_comes_from(made):
    found = read(made.output / "dataset_description.json")
    assert found["DatasetType"] == "derivative"
    assert (found["GeneratedBy"][0]["Name"], found["GeneratedBy"][0]["Version"]) == ("gliomask", __version__)
    assert found["DatasetLinks"] == {"raw": "../.."}
    assert (made.output / found["DatasetLinks"]["raw"]).resolve() == made.root.resolve()


def test_a_doi_of_the_source_is_kept(made):
    dataset = open_dataset(made.root)
    dataset.description["DatasetDOI"] = "doi:10.0000/tiny"
    assert description(dataset, made.output)["SourceDatasets"] == [{"DOI": "doi:10.0000/tiny"}]


def test_every_image_has_a_sidecar_with_sources_that_exist(made):
    images = list(made.output.rglob("*.nii.gz"))
    assert len(images) == 6 + 8
    for path in images:
        sidecar = read(path.with_name(path.name.replace(".nii.gz", ".json")))
        assert sidecar["Description"]
        assert len(sidecar["Sources"]) == 4
        for uri in sidecar["Sources"]:
            assert (made.root / uri.removeprefix("bids:raw:")).is_file()
        reference = sidecar["SpatialReference"]
        if reference.startswith("bids:raw:"):
            # What the sidecar says of the grid is so.
            image = nib.load(path)
            assert read_volume(made.root / reference.removeprefix("bids:raw:")).geometry.same_grid(
                Geometry(image.shape[:3], image.affine)
            )
        else:
            assert "space-SRI24" in path.name


def test_labels_are_those_of_the_table(made):
    table = tsv(made.output / "dseg.tsv")
    assert [(row["index"], row["abbreviation"], row["mapping"]) for row in table] == [
        ("0", "BG", "0"),
        ("1", "NCR", "7"),
        ("2", "ED", "7"),
        ("3", "ET", "7"),
    ]
    assert all(len(row["color"]) == 7 and row["color"].startswith("#") for row in table)
    values = np.asarray(nib.load(made.output / "sub-01/anat/sub-01_dseg.nii.gz").dataobj)
    assert set(np.unique(values)) == {0, 1, 2, 3}
    probabilities = nib.load(made.output / "sub-01/anat/sub-01_probseg.nii.gz")
    labels = read(made.output / "sub-01/anat/sub-01_probseg.json")["LabelMap"]
    assert labels == [row["abbreviation"] for row in table]
    assert probabilities.shape == (*values.shape, 4)
    # The network made by hand has no post-processing, so that the likeliest label is the one written.
    brain = np.asarray(nib.load(made.root / "sub-01/anat/sub-01_FLAIR.nii.gz").dataobj) != 0
    np.testing.assert_array_equal(np.asarray(probabilities.dataobj).argmax(axis=-1)[brain], values[brain])


def test_volumes_are_those_of_the_label_map(made):
    for case in ("sub-01/anat/sub-01", "sub-03/anat/sub-03"):
        image = nib.load(made.output / f"{case}_dseg.nii.gz")
        voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
        rows = {row["name"]: row for row in tsv(made.output / f"{case}_volumes.tsv")}
        assert int(rows["enhancing"]["voxels"]) == np.count_nonzero(np.asarray(image.dataobj) == 3)
        assert float(rows["WT"]["volume_ml"]) == pytest.approx(
            np.count_nonzero(np.asarray(image.dataobj)) * voxel_ml, abs=0.001
        )
        sidecar = read(made.output / f"{case}_volumes.json")
        assert set(next(iter(rows.values()))) <= set(sidecar)


def test_a_raw_patient_keeps_transforms_and_masks(made):
    sidecar = read(made.output / "sub-03/anat/sub-03_dseg.json")
    assert sidecar["SpatialReference"] == "bids:raw:sub-03/anat/sub-03_ce-gadolinium_T1w.nii.gz"
    assert read(made.output / "sub-03/anat/sub-03_desc-brain_mask.json")["Type"] == "Brain"
    text = (made.output / "sub-03/anat/sub-03_from-FLAIR_to-SRI24_mode-image_xfm.txt").read_text()
    assert text.startswith("#Insight Transform File V1.0")
    assert read(made.output / "logs/sub-03_run.json")["request"]["options"]["raw"] == "auto"


def test_records_name_no_folder_and_reports_the_names_of_bids(made):
    record = read(made.output / "logs/sub-02_ses-pre_run.json")
    assert record["sequences"]["t1ce"] == "bids:raw:sub-02/ses-pre/anat/sub-02_ses-pre_ce-gadolinium_T1w.nii.gz"
    assert set(record["inputs"]) == set(record["sequences"].values())
    assert all((made.output / name).is_file() for name in record["outputs"])
    for path in made.output.rglob("*"):
        if path.suffix in (".json", ".html", ".tsv", ".md"):
            text = path.read_text()
            assert str(made.root.parent) not in text, path
            assert "_seg.nii" not in text, path
    assert "sub-02_ses-pre_dseg.nii.gz" in (made.output / "sub-02_ses-pre.html").read_text()


def test_intermediate_results_stay_in_the_work_folder(made):
    assert {path.name for path in made.work.iterdir()} == {"sub-01", "sub-02_ses-pre", "sub-03"}
    assert (made.work / "sub-01" / "sub-01_seg.nii.gz").is_file()


def test_the_group_has_a_row_for_every_session(made):
    rows = {row["participant_id"]: row for row in tsv(made.output / "group_volumes.tsv")}
    assert [row["status"] for row in rows.values()] == ["done", "done", "done", "failed"]
    assert [row["raw_route"] for row in rows.values()] == ["no", "no", "yes", "n/a"]
    assert [row["session_id"] for row in rows.values()] == ["n/a", "ses-pre", "n/a", "n/a"]
    assert "missing t1" in rows["sub-04"]["message"]
    volumes = {row["name"]: row["volume_ml"] for row in tsv(made.output / "sub-03/anat/sub-03_volumes.tsv")}
    assert (rows["sub-03"]["wt_ml"], rows["sub-03"]["necrotic_ml"]) == (volumes["WT"], volumes["necrotic"])
    assert list(read(made.output / "group_volumes.json")) == list(rows["sub-01"])


def test_the_page_stands_alone_and_shows_everyone(made):
    page = (made.output / "group.html").read_text()
    assert 'src="http' not in page
    assert page.count("<script") == 1, "the one that sorts"
    links = [("sub-01.html", "sub-01"), ("sub-02_ses-pre.html", "sub-02 ses-pre"), ("sub-03.html", "sub-03")]
    assert re.findall(r'<a href="([^"]*)">([^<]*)</a>', page) == links
    for text in (
        "3 of 4",
        "sub-02 ses-pre",
        "missing t1 (suffix T1w, no ce-)",
        "1 of 4 sessions could not be segmented",
    ):
        assert text in page


def test_the_small_picture_shows_the_tumour(made):
    pixels = np.asarray(Image.open(made.output / "sub-01/figures/sub-01_dseg.png").convert("RGB")).astype(int)
    assert pixels.shape[1] == 520
    for colour in PALETTE.labels.values():
        assert (np.abs(pixels - colour).max(axis=2) < 30).any(), "outline"
    assert (pixels[:, :260] > 100).any()
    assert (pixels[:, 260:] > 100).any()


@pytest.fixture
def small(tmp_path, fake_model):
    """A dataset of two prepared patients, and where results go."""
    root = make_dataset(tmp_path / "ds")
    add_session(root, "01")
    add_session(root, "02")
    return SimpleNamespace(root=root, output=tmp_path / "out")


def test_participants_are_chosen_as_bids_apps_are_told(small, capsys):
    assert (
        app(small.root, small.output, "participant", "--participant_label", "sub-02", "01", "--n_cpus", "1", *FAST) == 0
    )
    assert "2 of 2 sessions done" in capsys.readouterr().out
    assert app(small.root, small.output, "participant", "--participant-label", "03", *FAST) == 2
    assert "has no sub-03. It has sub-01, sub-02" in capsys.readouterr().err
    assert not list(small.output.glob("*.html"))


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        (
            "b o participant --participant_label 01 02 -w w",
            "b o participant --participant-label 01 --participant-label 02 -w w",
        ),
        ("--participant-label=01 b o group", "--participant-label=01 b o group"),
        (
            "b o group --session_label pre post --participant-label 1",
            "b o group --session-label pre --session-label post --participant-label 1",
        ),
        ("b_c o_d participant --skip_bids_validator", "b_c o_d participant --skip-bids-validator"),
    ],
)
def test_several_values_become_several_options(typed, understood):
    assert list(spread(typed.split())) == understood.split()


def test_what_is_done_is_kept_replaced_or_refused(small, capsys):
    arguments = (small.root, small.output, "participant", *FAST)
    assert app(*arguments, "--participant-label", "01") == 0
    label_map = small.output / "sub-01/anat/sub-01_dseg.nii.gz"
    before = label_map.stat().st_mtime_ns
    assert app(*arguments) == 2
    assert "sub-01 is done already (1 of 2 are). Give --resume" in capsys.readouterr().err
    assert not (small.output / "sub-02").exists()
    assert app(*arguments, "--resume") == 0
    assert "sub-01: kept, finished by an earlier run" in capsys.readouterr().out
    assert label_map.stat().st_mtime_ns == before
    assert app(*arguments, "--resume", "--probseg") == 2
    assert "was finished earlier with other probseg" in capsys.readouterr().err
    assert not list(small.output.glob("logs/*_failed.json")), "what is done is not marked as failed"
    whole = label_map.read_bytes()
    label_map.write_bytes(gzip.compress(gzip.decompress(whole), mtime=1))
    assert app(*arguments, "--resume") == 2
    assert "sub-01_dseg.nii.gz: was changed after gliomask wrote it" in capsys.readouterr().err
    assert label_map.read_bytes() != whole
    assert app(*arguments, "--overwrite", "--probseg") == 0
    assert label_map.stat().st_mtime_ns > before
    assert app(*arguments, "--overwrite") == 0
    assert not list(small.output.rglob("*_probseg.*")), "what belonged to the replaced result only is gone"
    assert app(*arguments, "--overwrite", "--resume") == 2


def test_a_result_that_cannot_be_written_leaves_nothing_and_is_told(small, monkeypatch, capsys):
    write = sys.modules["gliomask.bids.output"].write_bytes

    def fail(path, content):
        if path.name == "sub-01_volumes.tsv":
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr("gliomask.bids.output.write_bytes", fail)
    assert app(small.root, small.output, "participant", *FAST) == 1
    assert "No space left" in capsys.readouterr().err
    assert not [path for path in (small.output / "sub-01").rglob("*") if path.is_file()]
    assert "No space left" in read(small.output / "logs/sub-01_failed.json")["message"]
    assert (small.output / "logs/sub-02_run.json").is_file()
    monkeypatch.undo()


def test_a_failure_is_forgotten_once_it_is_mended(small):
    flair = small.root / "sub-01/anat/sub-01_FLAIR.nii.gz"
    whole = flair.read_bytes()
    flair.write_bytes(whole[:200])
    assert app(small.root, small.output, "participant", *FAST) == 3
    assert read(small.output / "logs/sub-01_failed.json")["message"].startswith("sub-01/anat/sub-01_FLAIR.nii.gz: ")
    flair.write_bytes(whole)
    assert app(small.root, small.output, "participant", "--resume", *FAST) == 0
    assert not (small.output / "logs/sub-01_failed.json").exists()


def test_the_group_accounts_for_what_is_missing_or_gone(small, capsys):
    assert app(small.root, small.output, "group") == 2
    assert "no participant was segmented into it yet" in capsys.readouterr().err
    assert app(small.root, small.output, "participant", "--participant-label", "01", *FAST) == 0
    assert app(small.root, small.output, "group") == 0
    assert [row["status"] for row in tsv(small.output / "group_volumes.tsv")] == ["done", "missing"]
    assert app(small.root, small.output, "group") == 2
    assert "group_volumes.tsv exists. Give --overwrite" in capsys.readouterr().err
    (small.root / "sub-02/anat/sub-02_run-2_FLAIR.nii.gz").write_bytes(b"")
    assert app(small.root, small.output, "participant", "--participant-label", "02", *FAST) == 3
    (small.output / "sub-01/anat/sub-01_dseg.nii.gz").unlink()
    assert app(small.root, small.output, "group", "--overwrite") == 0
    gone, refused = tsv(small.output / "group_volumes.tsv")
    assert (gone["status"], gone["message"]) == ("missing", "sub-01/anat/sub-01_dseg.nii.gz is gone")
    assert refused["message"].endswith('with JSON such as {"flair": {"run": 1}}.')


@pytest.mark.parametrize("place", [".", "results", "derivatives", "sub-01/anat/x", ".."])
def test_results_are_never_mixed_with_the_dataset(small, place, capsys):
    assert app(small.root, small.root / place, "participant", *FAST) == 2
    assert "give a folder" in capsys.readouterr().err.lower()
    assert not list(small.root.parent.rglob(".bidsignore"))


@pytest.mark.parametrize("work", ["ds/work", "out/work", "out"])
def test_the_work_folder_lies_elsewhere(small, work, capsys):
    assert app(small.root, small.output, "participant", "-w", small.root.parent / work, *FAST) == 2
    assert "the work folder lies inside the" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ['{"Name": "mine", "BIDSVersion": "1.10.0"}', '{"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]}', "{"],
)
def test_another_dataset_is_not_written_into(small, content, capsys):
    small.output.mkdir()
    (small.output / "dataset_description.json").write_text(content)
    assert app(small.root, small.output, "participant", *FAST) == 2
    assert "another output folder" in capsys.readouterr().err
    assert (small.output / "dataset_description.json").read_text() == content


def test_a_folder_that_is_no_dataset_ends_with_three(tmp_path, capsys):
    assert app(tmp_path, tmp_path / "out", "participant") == 3
    assert "is no BIDS dataset" in capsys.readouterr().err


def test_an_invalid_dataset_is_refused_before_any_work(small, capsys):
    (small.root / "sub-01/anat/sub-01_T1.nii.gz").write_bytes(b"")
    (small.root / "sub-01/anat/sub-01_acq-x_T1w.nii.gz").symlink_to("../.git/annex/objects/x.nii.gz")
    assert app(small.root, small.output, "participant") == 3
    error = capsys.readouterr().err
    assert "datalad get" in error
    assert "is no valid BIDS dataset" in error
    assert "/sub-01/anat/sub-01_T1.nii.gz: " in error
    assert "--skip-bids-validator" in error
    assert not small.output.exists()


def test_a_missing_validator_says_what_to_install_and_how_to_skip(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bids_validator_deno", None)
    monkeypatch.setattr("gliomask.bids.validate.find_spec", lambda name: None)
    assert app(small.root, small.output, "participant") == 4
    error = capsys.readouterr().err
    assert "pip install 'gliomask[bids]'" in error
    assert "--skip-bids-validator" in error
    assert not small.output.exists()


def test_the_validator_has_no_way_into_the_network(small, monkeypatch):
    calls = []

    def record(command, **options):
        calls.append((command, options))
        return SimpleNamespace(returncode=0, stdout='{"issues": {"issues": []}}', stderr="")

    monkeypatch.setenv("BIDS_SCHEMA", "https://example.org/schema.json")
    monkeypatch.setattr("gliomask.bids.validate.subprocess.run", record)
    validate(small.root)
    command_line, options = calls[0]
    assert {"--deny-net", "--no-remote", "--deny-write", "--deny-run"} <= set(command_line)
    assert "BIDS_SCHEMA" not in options["env"]


def test_a_validator_that_says_nothing_is_not_taken_for_praise(small, monkeypatch, capsys):
    answer = SimpleNamespace(returncode=134, stdout="", stderr="Fatal error: out of memory")
    monkeypatch.setattr("gliomask.bids.validate.subprocess.run", lambda command, **options: answer)
    assert app(small.root, small.output, "participant") == 4
    assert (
        "exit code 134 and no findings that can be read. It said: Fatal error: out of memory" in capsys.readouterr().err
    )


def findings(*places):
    return SimpleNamespace(
        returncode=1,
        stdout=json.dumps(
            {
                "issues": {
                    "issues": [{"severity": "error", "code": "SYMLINK_BROKEN", "location": place} for place in places]
                }
            }
        ),
        stderr="",
    )


def test_errors_of_participants_not_asked_for_are_counted_and_not_fatal(small, monkeypatch):
    answer = findings("/sub-02/anat/sub-02_T1w.nii.gz", "/sub-02/anat/sub-02_FLAIR.nii.gz")
    monkeypatch.setattr("gliomask.bids.validate.subprocess.run", lambda command, **options: answer)
    assert len(refuse_invalid(small.root, {"01"}).elsewhere) == 2
    for asked in (None, {"02"}):
        with pytest.raises(CaseError, match="found 2 errors"):
            refuse_invalid(small.root, asked)
    answer = findings("/dataset_description.json", "/sub-02/anat/sub-02_T1w.nii.gz")
    with pytest.raises(CaseError, match="found 1 error:"):
        refuse_invalid(small.root, {"01"})


def test_a_validator_that_does_not_end_is_ended(small, monkeypatch):
    def hang(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("gliomask.bids.validate.subprocess.run", hang)
    with pytest.raises(LimitError, match="took longer than 900 s"):
        validate(small.root)


def test_it_is_a_program_of_its_own(monkeypatch, capsys):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["gliomask-bids"] == "gliomask.cli.bids:main"
    monkeypatch.setattr(sys, "argv", ["gliomask-bids", "nowhere", "out", "participant"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 3
    assert "nowhere: does not exist" in capsys.readouterr().err


def test_help_says_how_bids_apps_are_called(capsys):
    assert app("--help") == 0
    text = capsys.readouterr().out
    assert "BIDS_DIR OUTPUT_DIR {participant|group}" in text
    assert "--skip-bids-validator" in text
    assert app("--version") == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.data
@pytest.mark.slow
def test_a_clinical_examination_goes_through_with_its_skull_on(shared_data, tmp_path, fake_model):
    native = shared_data / "native" / "TCGA-FG-6692"
    root, output = make_dataset(tmp_path / "ds"), tmp_path / "out"
    anat = root / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for sequence, ending in ENDINGS.items():
        (anat / f"sub-01_{ending}.nii.gz").symlink_to(
            native / "native_with_skull" / f"TCGA-FG-6692_native_{sequence.value}.nii.gz"
        )
    assert app(root, output, "participant", *FAST) == 0
    found = read_volume(output / "sub-01/anat/sub-01_desc-brain_mask.nii.gz").values > 0
    expected = read_volume(native / "hdbet_masks" / "TCGA-FG-6692_t1ce_mask.nii.gz").values > 0
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.94
    assert read(output / "sub-01/anat/sub-01_dseg.json")["SpatialReference"].endswith("sub-01_ce-gadolinium_T1w.nii.gz")
    assert read(output / "logs/sub-01_run.json")["raw_route"]["reference"] == "t1ce"
