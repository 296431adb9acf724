"""Which sequence a series is taken for, told from descriptions as scanners and hospitals write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gliomask.io.dicom.headers import MR_CLASSES, Tags
from gliomask.io.dicom.recognise import recognise

BLANK = Tags(
    series_uid="1", study_uid="1", frame_of_reference_uid="1", patient=("", ""), identifiers=frozenset(),
    transfer_syntax="", sop_class=MR_CLASSES[0], modality="MR", samples_per_pixel=1, photometric="MONOCHROME2",
    number=1, description="", protocol="", sequence_name="", image_type=("ORIGINAL", "PRIMARY"), scanning_sequence=(),
    acquisition_contrast="", repetition_time_ms=None, echo_time_ms=None, inversion_time_ms=None, contrast_agent="",
    b_value=None, images_in_acquisition=None, manufacturer="", field_strength_t=None,
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
        # A negation belongs to the word that follows it.
        ("AX 3D T1 POST W/O FS", "t1ce"),
        ("AX T1 GD WITHOUT FAT SAT", "t1ce"),
        ("T1 KM ohne FS", "t1ce"),
        ("T1 GADO SANS FATSAT", "t1ce"),
        ("AX T1 NO FS POST", "t1ce"),
        ("AX T1 W/O", "t1"),
        ("W/O AX T1", "t1"),
        ("AX T1 W/O GD", "t1"),
        ("T1 sans injection", "t1"),
        ("T1 sin contraste", "t1"),
        ("T1 non-contrast", "t1"),
        ("T1 vor KM", "t1"),
        ("T1 w/o FS", "t1"),
        ("T1 W/O FS W/O GD", "t1"),
        ("AX T1 W/ GD", "t1ce"),
        ("T1 mit KM", "t1ce"),
        ("T1 mit FS", "t1"),
        ("AX T1 W/WO", None),
        ("AX T1 W WO GAD", None),
        ("MRI BRAIN T1 WITH AND WITHOUT CONTRAST", None),
        ("t1 mit und ohne KM", None),
        ("T2 TSE SAG C-SPINE", None),
        ("T1 SAG LWS", None),
        ("AX T1 W & W/O GD", None),
        ("AX T1 POST WITHOUT CONTRAST", None),
        # Before and after an operation is not before and after contrast agent.
        ("AX T1 POST GAD PRE-OP STEALTH", "t1ce"),
        ("AX T1 PREOP POST", "t1ce"),
        ("AX T1 POST-OP", "t1"),
        ("AX T1 POSTOP PRE GD", "t1"),
        ("T1 POST RT", "t1"),
        ("t1postgd", "t1ce"),
        ("T1PRE", "t1"),
        ("T1_c", "t1ce"),
        ("T1 -C", "t1"),
        ("T1 FLAIR +C", "t1ce"),
        # Parallel imaging is no calibration.
        ("Ax T2 FRFSE ASSET", "t2"),
        ("ASSET Cal", None),
        ("T2W/FE-EPI", None),
        ("ep2d_T2", None),
        ("gre_fm", None),
        ("Dual-echo_iso", None),
        ("Cor_B0map_BH", None),
        ("DTIphase", None),
        ("T1 MOLLI", None),
        ("T1 dyn", None),
        ("FLAIR_ROI", None),
        ("FLAIR mask", None),
        ("T1 label", None),
        ("T2 seg", None),
        ("3D T2 FIESTA", None),
        # As hospitals of other languages write it, both at once, differences, gradient echoes, other parts of the body.
        ("AX T1 CON", "t1ce"),
        ("AX T1 W CON", "t1ce"),
        ("AX T1 W/O CON", "t1"),
        ("T1 con FS", "t1"),
        ("T1 con mdc", "t1ce"),
        ("AX T1 WITH", "t1ce"),
        ("AX T1 W", "t1"),
        ("AX T1 C-", "t1"),
        ("T1 PRE/POST", None),
        ("T1 PRE AND POST", None),
        ("T1 POST/PRE", None),
        ("T1 vor und nach KM", None),
        ("T1 före kontrast", "t1"),
        ("T1 nach KM", "t1ce"),
        ("T1 po kontrascie", "t1ce"),
        ("T1 с контрастом", "t1ce"),
        ("T1 без контраста", "t1"),
        ("T1增强", "t1ce"),
        ("T1 平扫", "t1"),
        ("T1 非增强", "t1"),
        ("T1強調", "t1"),
        ("T1 造影後", "t1ce"),
        ("T1 造影前", "t1"),
        ("T1 조영증강", "t1ce"),
        ("T1CE-T1", None),
        ("T1 post - T1 pre", None),
        ("T2 FFE", None),
        ("t2_fl2d_tra_hemo", None),
        ("T2 FLASH", None),
        ("eTHRIVE T1", "t1"),
        ("mp2rage_INV1", None),
        ("T1 DESPOT", None),
        ("T1 3D TFE REF", None),
        ("t2_tse_dixon_tra_F", None),
        ("AX T2 NECK", None),
        ("T1 ANKLE", None),
        ("sag t1 knie", None),
        ("T2 HIP", None),
        ("COR T2 HIPPOCAMPUS", "t2"),
        ("IAC T2 SPACE", None),
        ("T2 PITUITARY", None),
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
    ("agent", "description", "sequence"),
    [("GADOVIST", "AX T1", "t1ce"), ("GADOVIST", "AX T1 PRE", "t1"), ("", "AX T1", "t1"), ("GADOVIST", "AX T2", "t2")],
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


@pytest.mark.parametrize("description", ["t2_tirm_cor", "AX FLAIR", "T2", "T1 IR", ""])
def test_an_inversion_that_nulls_fat_is_stir_whatever_the_words_say(description):
    guess = recognise(
        replace(
            BLANK,
            description=description,
            repetition_time_ms=4000,
            echo_time_ms=60,
            inversion_time_ms=160,
            scanning_sequence=("SE", "IR"),
        )
    )
    assert guess.sequence is None
    assert guess.reason == "fat-suppressed inversion (STIR), says TI 160"


def test_a_short_inversion_before_gradient_echoes_is_t1():
    assert (
        taken_for(
            description="3D IR-FSPGR",
            repetition_time_ms=8,
            echo_time_ms=3,
            inversion_time_ms=300,
            scanning_sequence=("GR",),
        )
        == "t1"
    )


@pytest.mark.parametrize(
    ("description", "tr", "te", "ti", "kind", "said"),
    [
        ("T2W_TSE", 600, 12, None, ("SE",), "is proton density at most"),
        ("T2W", 700, 90, None, ("SE",), "says t1"),
        ("AX T2", 9000, 120, 2500, ("SE", "IR"), "says flair"),
        ("AX T2", 3000, 90, None, ("GR",), "is a gradient echo: T2* at most"),
        ("AX T1", 600, 25, None, ("GR",), "is T2* (gradient echo)"),
        ("AX T1", 600, 80, None, ("SE",), "has too long an echo time"),
        ("AX T1", 4000, 12, None, ("SE",), "is proton density at most"),
        ("AX FLAIR", 4000, 100, 500, ("SE", "IR"), "has too short an inversion time"),
    ],
)
def test_a_timing_that_cannot_be_is_a_contradiction(description, tr, te, ti, kind, said):
    guess = recognise(
        replace(
            BLANK,
            description=description,
            repetition_time_ms=tr,
            echo_time_ms=te,
            inversion_time_ms=ti,
            scanning_sequence=kind,
        )
    )
    assert guess.sequence is None
    assert said in guess.reason


def test_a_flair_that_does_not_give_its_inversion_time_is_flair():
    assert (
        taken_for(description="AX FLAIR", repetition_time_ms=9000, echo_time_ms=120, scanning_sequence=("SE", "IR"))
        == "flair"
    )


def test_reasons_name_what_decided():
    assert recognise(replace(BLANK, protocol="AX T1")).reason.startswith("protocol name")
    assert recognise(replace(BLANK, acquisition_contrast="T2")).reason.startswith("AcquisitionContrast")
    contradicted = recognise(replace(BLANK, acquisition_contrast="T2", repetition_time_ms=600, echo_time_ms=12)).reason
    assert contradicted.startswith("its AcquisitionContrast says t2")
    alone = recognise(
        replace(BLANK, description="Brain", repetition_time_ms=600, echo_time_ms=12, scanning_sequence=("SE",))
    )
    assert alone.reason.startswith("TR 600, TE 12, TI - alone, the description names none")
    assert not alone.named


def test_a_very_long_description_is_cut():
    assert taken_for(description="phase " * 40_000) is None
    assert taken_for(description="AX T1 " + "x" * 500_000) == "t1"
