"""Which sequence a series is taken for, told from descriptions as scanners and hospitals write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gliomask.io.dicom.headers import MR_CLASSES, Tags
from gliomask.io.dicom.recognise import recognise

BLANK = Tags(
    series_uid="1", study_uid="1", frame_of_reference_uid="1", patient=("", ""), identifiers=frozenset(), transfer_syntax="", sop_class=MR_CLASSES[0],
    modality="MR", samples_per_pixel=1, photometric="MONOCHROME2", number=1, description="", protocol="", sequence_name="", image_type=("ORIGINAL", "PRIMARY"),
    scanning_sequence=(), acquisition_contrast="", repetition_time_ms=None, echo_time_ms=None, inversion_time_ms=None, contrast_agent="", b_value=None,
    images_in_acquisition=None, manufacturer="", field_strength_t=None,
)  # fmt: skip


def taken_for(**fields) -> str | None:
    sequence = recognise(replace(BLANK, **fields)).sequence
    return sequence and sequence.value


@pytest.mark.parametrize(
    ("description", "sequence"),
    [
        ("AX T1", "t1"),
        ("AX T1 PRE GD", "t1"),
        ("t1_mprage_sag_p2_iso", "t1"),
        ("SAG T1 FLAIR", "t1"),
        ("sT1W_3D_TFE", "t1"),
        ("T1 SE ohne KM", "t1"),
        ("T1 without contrast", "t1"),
        ("T1 COR", "t1"),
        ("3DT1", "t1"),
        ("AX T1 POST", "t1ce"),
        ("AX T1 +C", "t1ce"),
        ("T1 C+", "t1ce"),
        ("t1_mprage_tra_KM", "t1ce"),
        ("T1ce", "t1ce"),
        ("3D T1 BRAVO Gd", "t1ce"),
        ("T1W/SE/GD", "t1ce"),
        ("COR T1 FS POST GAD", "t1ce"),
        ("Ax T2 FRFSE", "t2"),
        ("T2W_TSE", "t2"),
        ("t2_space_sag_p2_iso", "t2"),
        ("AX FLAIR POST GD", "flair"),
        ("t2_space_dark-fluid_sag", "flair"),
        ("WIP 3D_FLAIR_CLEAR", "flair"),
        ("T2 TIRM tra", "flair"),
        ("3-plane localizer", None),
        ("AAHead_Scout", None),
        ("ep2d_diff_3scan_trace_ADC", None),
        ("Ax DWI", None),
        ("Apparent Diffusion Coefficient (ADC)", None),
        ("AX T2* GRE", None),
        ("SWI_Images", None),
        ("ep2d_perf", None),
        ("T1 perfusion DCE", None),
        ("rCBV", None),
        ("TOF_3D_multi-slab", None),
        ("T2 STIR cor", None),
        ("PD TSE", None),
        ("T1 subtraction", None),
        ("B0 field map", None),
        ("something else", None),
    ],
)
def test_descriptions(description, sequence):
    assert taken_for(description=description) == sequence


@pytest.mark.parametrize(
    ("tr", "te", "ti", "kind", "sequence"),
    [
        (600, 12, None, ("SE",), "t1"),
        (2300, 3, 900, ("GR", "IR"), "t1"),
        (8.9, 3.2, 900, ("GR",), "t1"),
        (2100, 10, 1100, ("SE", "IR"), "t1"),
        (4500, 100, None, ("SE",), "t2"),
        (9000, 120, 2500, ("SE", "IR"), "flair"),
        (4800, 387, 1650, ("IR",), "flair"),
        (4000, 12, None, ("SE",), None),
        (4000, 30, 160, ("SE", "IR"), None),
        (600, 20, None, ("GR",), None),
        (3000, 80, None, ("EP", "SE"), None),
        (None, 80, None, ("SE",), None),
    ],
)
def test_timing_where_there_is_no_description(tr, te, ti, kind, sequence):
    assert taken_for(repetition_time_ms=tr, echo_time_ms=te, inversion_time_ms=ti, scanning_sequence=kind) == sequence


def test_description_and_timing_that_contradict_each_other_are_not_guessed():
    guess = recognise(replace(BLANK, description="AX T1", repetition_time_ms=4500, echo_time_ms=100))
    assert guess.sequence is None
    assert "--series" in guess.reason


@pytest.mark.parametrize(
    ("agent", "description", "sequence"), [("GADOVIST", "AX T1", "t1ce"), ("GADOVIST", "AX T1 PRE", "t1"), ("", "AX T1", "t1"), ("GADOVIST", "AX T2", "t2")]
)
def test_contrast_agent_of_the_header_counts_unless_the_description_says_otherwise(agent, description, sequence):
    assert taken_for(contrast_agent=agent, description=description) == sequence


@pytest.mark.parametrize(
    "fields",
    [
        {"modality": "CT"},
        {"sop_class": "1.2.840.10008.5.1.4.1.1.7"},
        {"samples_per_pixel": 3},
        {"photometric": "MONOCHROME1"},
        {"image_type": ("DERIVED", "SECONDARY", "ADC")},
        {"image_type": ("ORIGINAL", "PRIMARY", "P")},
        {"image_type": ("ORIGINAL", "PRIMARY", "MOSAIC")},
        {"b_value": 1000.0},
    ],
)
def test_what_is_no_anatomical_mr_image_is_none_of_the_four(fields):
    assert taken_for(description="AX T1") == "t1"
    assert taken_for(description="AX T1", **fields) is None


def test_enhanced_objects_name_their_contrast():
    assert taken_for(acquisition_contrast="FLUID_ATTENUATED") == "flair"
    assert taken_for(acquisition_contrast="T2") == "t2"
