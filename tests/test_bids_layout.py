"""Finding sequences in a BIDS dataset: names, the rule by suffix and `ce-`, filter files, and what is refused."""

import json

import pytest
from bids_dataset import add_session, make_dataset
from hypothesis import given
from hypothesis import strategies as st

from gliomask.bids.filters import Filters, read_filters
from gliomask.bids.layout import Session, find_sessions, open_dataset, session_files
from gliomask.bids.names import ENTITY_ORDER, BidsName, parse_name
from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.sequences import PAPER_ORDER, Sequence

LABELS = st.text("abcXYZ0189", min_size=1, max_size=6)


@pytest.fixture
def root(tmp_path):
    return make_dataset(tmp_path / "ds")


@given(
    st.dictionaries(st.sampled_from(ENTITY_ORDER), LABELS, min_size=1),
    st.sampled_from(["T1w", "dseg", "FLAIR"]),
    st.sampled_from([".nii.gz", ".json"]),
)
def test_a_name_is_read_as_it_was_written(entities, suffix, extension):
    name = BidsName(entities, suffix, extension)
    assert parse_name(str(name)) == name
    assert [pair.partition("-")[0] for pair in str(name).split("_")[:-1]] == [
        key for key in ENTITY_ORDER if key in entities
    ]


@pytest.mark.parametrize(
    "name",
    [
        "T1w.nii.gz",
        "sub-01_T1w",
        "sub-01_sub-02_T1w.nii.gz",
        "sub-_T1w.nii.gz",
        "sub-01__T1w.nii.gz",
        "sub-01_T1-w.nii.gz",
        "Sub-01_T1w.nii",
    ],
)
def test_what_is_no_name_of_bids_is_none(name):
    assert parse_name(name) is None


def names_of(root, filters=None, without=frozenset(), session=None):
    files = session_files(open_dataset(root), Session("01", session), filters or Filters(), without)
    return {sequence.value: path.name for sequence, path in files.sequences.items()}


def test_sequences_are_told_by_suffix_and_agent(root):
    folder = add_session(root, "01")
    for other in (
        "sub-01_T1w.json",
        "sub-01_part-phase_FLAIR.nii.gz",
        "sub-01_PDw.nii.gz",
        "sub-01_inv-1_MP2RAGE.nii.gz",
        "sub-02_T1w.nii.gz",
        "notes.nii.gz",
    ):
        (folder / other).write_bytes(b"")
    assert names_of(root) == {
        "flair": "sub-01_FLAIR.nii.gz",
        "t1": "sub-01_T1w.nii.gz",
        "t1ce": "sub-01_ce-gadolinium_T1w.nii.gz",
        "t2": "sub-01_T2w.nii.gz",
    }


def test_any_agent_and_uncompressed_files_do(root):
    folder = add_session(root, "01", ending=".nii")
    (folder / "sub-01_ce-gadolinium_T1w.nii").rename(folder / "sub-01_acq-mprage_ce-prohance_T1w.nii")
    assert names_of(root)["t1ce"] == "sub-01_acq-mprage_ce-prohance_T1w.nii"


def test_a_missing_sequence_is_named_with_what_was_asked_and_found(root):
    add_session(root, "01", leave_out=(Sequence.T1,))
    with pytest.raises(
        CaseError, match=r"sub-01: missing t1 \(suffix T1w, no ce-\); found sub-01_FLAIR.nii.gz, .*--without"
    ):
        names_of(root)
    assert set(names_of(root, without=frozenset({Sequence.T1}))) == {"flair", "t1ce", "t2"}
    with pytest.raises(UsageError, match="Without both"):
        names_of(root, without=frozenset({Sequence.FLAIR, Sequence.T1CE}))


@pytest.fixture
def two_runs(root):
    folder = add_session(root, "01")
    (folder / "sub-01_ce-gadolinium_T1w.nii.gz").rename(folder / "sub-01_ce-gadolinium_run-01_T1w.nii.gz")
    (folder / "sub-01_ce-gadolinium_run-02_T1w.nii.gz").write_bytes(b"")
    return root


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_two_runs_are_refused_and_both_named(two_runs):
    with pytest.raises(
        CaseError,
        match=r'2 files may be t1ce: .*run-01_T1w.nii.gz, .*run-02_T1w.nii.gz. Say which .*{"t1ce": {"run": 1}}',
    ):
        names_of(two_runs)


@pytest.mark.parametrize("chosen", [{"run": 2}, {"run": "02"}, {"run": [2, 3]}])
def test_a_filter_file_chooses(two_runs, tmp_path, chosen):
    filters = read_filters(write(tmp_path / "filter.json", {"t1ce": {"datatype": "anat", **chosen}}))
    assert names_of(two_runs, filters)["t1ce"] == "sub-01_ce-gadolinium_run-02_T1w.nii.gz"


def test_a_filter_file_can_do_without_the_agent(root, tmp_path):
    folder = add_session(root, "01")
    (folder / "sub-01_ce-gadolinium_T1w.nii.gz").rename(folder / "sub-01_acq-post_T1w.nii.gz")
    (folder / "sub-01_T1w.nii.gz").rename(folder / "sub-01_acq-pre_T1w.nii.gz")
    asked = {"T1w": {"acquisition": "pre"}, "t1ce": {"ceagent": None, "acquisition": "post"}}
    found = names_of(root, read_filters(write(tmp_path / "filter.json", asked)))
    assert (found["t1"], found["t1ce"]) == ("sub-01_acq-pre_T1w.nii.gz", "sub-01_acq-post_T1w.nii.gz")


def test_one_image_cannot_be_two_sequences(root, tmp_path):
    add_session(root, "01", leave_out=(Sequence.T1CE,))
    with pytest.raises(CaseError, match=r"sub-01_T1w.nii.gz is both t1 and t1ce by the filter file"):
        names_of(root, read_filters(write(tmp_path / "filter.json", {"t1ce": {"ce": None}})))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as a filter file"),
        ("[1]", "holds one object"),
        ({"bold": {"run": 1}}, "'bold' is not the name of a sequence"),
        ({"t1": "run-1"}, "an object of entities is needed"),
        ({"t1": {"runs": 1}}, "there is no entity 'runs'"),
        ({"t1": {"run": 1.5}}, "run is 1.5"),
        ({"t1": {"run": [True]}}, r"run is \[True\]"),
    ],
)
def test_a_filter_file_that_is_none_is_refused(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        read_filters(write(tmp_path / "filter.json", content))


def test_sessions_are_found_by_participant(root):
    add_session(root, "02", "pre")
    add_session(root, "02", "post")
    add_session(root, "01")
    (root / "sub-02" / "ses-func" / "func").mkdir(parents=True)
    (root / "sub-03").mkdir()
    (root / "sub-x_y").mkdir()
    dataset = open_dataset(root)
    # A session without images is left out; a participant without any is accounted for.
    assert [session.case_id for session in find_sessions(dataset)] == [
        "sub-01",
        "sub-02_ses-post",
        "sub-02_ses-pre",
        "sub-03",
    ]
    assert [session.case_id for session in find_sessions(dataset, ["sub-02"], ["ses-pre"])] == ["sub-02_ses-pre"]
    assert [session.case_id for session in find_sessions(dataset, ["03", "01"])] == ["sub-01", "sub-03"]
    assert names_of(root)["t1"] == "sub-01_T1w.nii.gz"
    with pytest.raises(CaseError, match="sub-03: missing flair .*found no anatomical image"):
        session_files(dataset, Session("03", None), Filters())


def test_unknown_labels_are_refused_with_those_that_there_are(root):
    add_session(root, "01", "pre")
    add_session(root, "02", "pre")
    dataset = open_dataset(root)
    with pytest.raises(UsageError, match="has no sub-3, sub-04. It has sub-01, sub-02"):
        find_sessions(dataset, ["3", "sub-04", "01"])
    with pytest.raises(UsageError, match="has no ses-post. It has ses-pre"):
        find_sessions(dataset, ["01"], ["post"])


def test_a_folder_that_is_no_dataset_is_refused(tmp_path, root):
    with pytest.raises(CaseError, match="does not exist"):
        open_dataset(tmp_path / "none")
    (tmp_path / "plain").mkdir()
    with pytest.raises(CaseError, match="is no BIDS dataset: it holds no dataset_description.json"):
        open_dataset(tmp_path / "plain")
    with pytest.raises(CaseError, match="holds no participant"):
        open_dataset(root)
    for content in ("{", "[]", b"\xff".decode("latin-1")):
        (root / "dataset_description.json").write_text(content)
        with pytest.raises(FileFormatError, match=r"dataset_description.json: "):
            open_dataset(root)


def test_the_rule_knows_every_sequence():
    assert set(Filters().asked) == set(PAPER_ORDER)
