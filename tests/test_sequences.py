"""Names of sequences: every alias, and file names that could mean two things."""

import pydoc

import pytest

from gliomask.errors import UsageError
from gliomask.labels import Label, Region
from gliomask.sequences import ALIASES, PAPER_ORDER, Sequence, droppable, parse_sequence, sequence_of_file_name


def test_the_papers_order() -> None:
    assert [sequence.value for sequence in PAPER_ORDER] == ["flair", "t1", "t1ce", "t2"]


@pytest.mark.parametrize(
    ("names", "sequence"),
    [
        (("t1", "t1n", "t1w", "T1", " T1w "), Sequence.T1),
        (("t1ce", "t1c", "t1gd", "ct1", "T1CE", "T1Gd"), Sequence.T1CE),
        (("t2", "t2w", "T2"), Sequence.T2),
        (("flair", "fla", "t2f", "FLAIR"), Sequence.FLAIR),
    ],
)
def test_every_alias_is_read_in_any_case(names: tuple[str, ...], sequence: Sequence) -> None:
    assert all(parse_sequence(name) is sequence for name in names)


@pytest.mark.parametrize("name", ["", "t3", "dwi", "t1 ce"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match="Known names: ct1, fla, flair") as caught:
        parse_sequence(name)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("pattern", ["Brats18_CBICA_AAM_1_{}", "BraTS-GLI-00008-000-{}", "{}", "case 7 {}", "a.b.{}"])
def test_the_last_word_of_a_file_names_its_sequence(alias: str, pattern: str) -> None:
    assert sequence_of_file_name(pattern.format(alias)) is ALIASES[alias]
    assert sequence_of_file_name(pattern.format(alias).upper()) is ALIASES[alias]


@pytest.mark.parametrize(
    ("stem", "sequence"),
    [
        ("patient_T1_Gd", Sequence.T1CE),
        ("patient_t1-ce", Sequence.T1CE),
        ("patient_T2_FLAIR", Sequence.FLAIR),
        ("sub-01_ce-gadolinium_T1w", Sequence.T1CE),
        ("sub-01_T1w", Sequence.T1),
        ("t1_t1", Sequence.T1),
    ],
)
def test_names_of_two_words(stem: str, sequence: Sequence) -> None:
    assert sequence_of_file_name(stem) is sequence


@pytest.mark.parametrize(
    "stem",
    [
        "flair_to_t1ce",
        "t1_reg_t2",
        "patient_flair_mask",
        "patient_seg",
        "patient_t1_brain",
        "survival",
        "",
        "_",
        "t1cex",
        "name_mapping",
        "T1_flair",
    ],
)
def test_what_names_none_or_two_is_left_alone(stem: str) -> None:
    assert sequence_of_file_name(stem) is None


def test_any_sequences_may_be_missing_while_flair_or_t1ce_stays() -> None:
    sets = droppable(PAPER_ORDER)
    assert len(sets) == len(set(sets)) == 11
    assert (Sequence.FLAIR, Sequence.T1, Sequence.T2) in sets
    assert all({Sequence.FLAIR, Sequence.T1CE} - set(missing) for missing in sets)
    assert droppable((Sequence.FLAIR, Sequence.T2)) == ((Sequence.T2,),)
    assert droppable((Sequence.T1, Sequence.T2)) == ()


@pytest.mark.parametrize(
    ("folder", "stem", "sequence"),
    [
        ("spline_t2", "spline_t2_t1ce", Sequence.T1CE),
        ("T2-study_007", "T2-study_007_flair", Sequence.FLAIR),
        ("CE-12", "CE-12_t1", Sequence.T1),
        ("ce-12", "ce-12_t1_gd", Sequence.T1CE),
        # A folder that is named after sequences alone says nothing of a patient.
        ("flair", "flair_to_t1ce", None),
        ("flair", "flair", Sequence.FLAIR),
        ("P1_t1", "P1_t1", Sequence.T1),
        ("P1", "P1_t1_to_t2", None),
    ],
)
def test_what_a_name_shares_with_its_folder_is_the_patients(folder: str, stem: str, sequence: Sequence | None) -> None:
    assert sequence_of_file_name(stem, folder) is sequence


@pytest.mark.parametrize("kind", [Sequence, Region, Label])
def test_help_shows_an_enumerations_own_names_alone(kind: type) -> None:
    """`help(gliomask)` was 2,285 lines, most of them methods of str and int."""
    assert {"upper", "bit_length", "to_bytes"}.isdisjoint(dir(kind))
    assert set(kind.__members__) < set(dir(kind))
    assert len(pydoc.render_doc(kind).splitlines()) < 120
