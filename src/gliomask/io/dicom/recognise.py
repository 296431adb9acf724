"""Which of the four sequences a series is, and why, told from its tags: description first, timing where it names none,
both where they can check each other.

What is no plain anatomical image (localiser, diffusion, perfusion, derived map, angiogram, ...) is none of them. A rule
never guesses: T1 without any word on contrast agent is T1, and two series that could both be one sequence are for
`choose` to rank or to refuse.

Timing limits, in ms, are wide round what protocols for brain tumours use (Ellingson et al., Neuro-Oncology 2015,
doi:10.1093/neuonc/nov095, recommend for 1.5 T and 3 T: T1 short TE, TR 2100 with TI 1100 or TR 550 to 750; T2 TR over
2500, TE 80 to 120; FLAIR TR over 6000, TE 100 to 140, TI 2000 to 2500), so that three-dimensional and low-field
variants fall inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gliomask.io.dicom.descriptions import Agent, Description, read_description
from gliomask.io.dicom.headers import MR_CLASSES, Tags
from gliomask.sequences import Sequence

FLUID_TI_MS, LONG_TR_MS, LONG_TE_MS, SHORT_TE_MS, SHORT_TR_MS, MAX_T1_TR_MS = 1300.0, 2000.0, 60.0, 40.0, 1200.0, 3500.0
STIR_TI_MS = (80.0, 350.0)
"""The inversion time that nulls fat, from 0.2 T to 3 T. Gradient echoes with such a time are T1 (GE's IR-FSPGR)."""
GRADIENT_T1_TE_MS = 12.0

WORDS = {
    "a localiser": r"locali[sz]er|scout|survey|\bref(erence)?\b( scan)?$|3.?plane|tri.?plan|\bloc\b|\bplan\b|"
    r"\baahead|topogram|calibration|\bcal\b|shim|coil sens",
    "a region of interest, mask or label": r"\w*rois?\b|\w*masks?\b|\blabels?\b|\bseg\b|segment\w*|contours?\b|"
    r"annotat\w*",
    "diffusion": r"\bdw\w*|\bdti\w*|\be?adc\b|trace|tensor|\bdiff\w*|b.?1000|colou?r.?fa|\bfa\b(?!\W*\d)|"
    r"\bivim\b|\bnoddi\b|fraction\w* aniso\w*",
    "perfusion": r"\bperf\w*|\bpwi\b|\bdsc\b|\bdce\b|\bp?c?asl\b|\br?cb[vf]\b|\bmtt\b|\bttp\b|\btmax\b|"
    r"k.?trans|\bdyn\w*|leakage",
    "functional": r"\bfmri\b|\bbold\b|resting|\brest\b",
    "a phase image": r"\w+phase\b|\bpha\b|\bphase (map|image)|\bphase$",
    "susceptibility or T2*": r"\bswi?\b|\bswi\w*|swan|veno|t2\s?\*|t2.?star|\bha?emo\b|\bm(in)?ip\b|"
    r"qsm|\bgre\b.*\bt2|\bmerge\b|\bt2.*(\bf?gre\b|\bffe\b|\bfl[23]d|\bflash\b|spgr)",
    "an angiogram": r"\btof\b|angio|\bmra\b|\bmrv\b|venogra\w*|\bpc\b.*\b(2d|3d)\b|phase.?contrast|\bvenc\b|inhance",
    "spectroscopy": r"\bmrs\b|spectro\w*|\bsvs\b|\bcsi\b|\bpress\b",
    "a field map": r"field.?map|\bf.?map\b|\bfm\b|\bb[01]\w*|\bmag(nitude)?\b",
    "fat-suppressed inversion (STIR)": r"\bstir\b",
    "balanced steady state": r"\bfiesta\w*|\bciss\b|tru.?fi\w*|\bbalanced\b|\bb(tfe|ffe)\b|ssfp",
    "proton density": r"^(?!.*t2).*(\bpd\w?\b|proton)",
    "a dual-echo series": r"^(?!.*t[12]).*(dual|double).?echo",
    "another part of the body": r"\b\w*spine\b|\bspinal\b|cervical|thora\w*|lumbar|\b[hbl]ws\b|"
    r"abdom\w*|pelvi\w*|shoulder|breast|prostat\w*"
    r"|\b(liver|leber|foie|kidneys?|niere|renal|heart|cardiac|herz|lung|thyroid|"
    r"bladder|uterus|rectum|bowel|mrcp|parotis|necks?|hals|chest)\b"
    r"|\b(knees?|knie|genou|ginocchio|rodilla|hips?|hufte|hanche|femur|thigh|tibia|calf|"
    r"legs?|ankles?|sprunggelenk|cheville|foot|feet|fu(ss|ß)|pied)\b"
    r"|\b(schulter|epaule|spalla|hombro|elbows?|ellenbogen|coude|wrists?|handgelenk|poignet|"
    r"arms?|forearm|humerus|fingers?|toes?|extremit\w*|limbs?)\b",
    "a part of the head": r"\biacs?\b|\borbit\w*|pituitar\w*|\bsella\w*|hypoph\w*|temporal bone|felsenbein|innenohr"
    r"|\bkhbw\b|\btmj\b",
    "a fat image": r"dixon.*\b(f|fat)$|^(f|fat)\b.*dixon",
    "an inversion of MP2RAGE": r"\binv ?\d",
    "a derived map": r"\bt[12]w? ?(\w+ ?)?- ?(ax |sag |cor )?t[12]\b|\bdespot\w*|mp2rage.*t1 ?im|"
    r"subtract\w*|\bsub\b|\bratio\b|t[12].?map|\bmaps?\b|mapping|molli|screen.?save|report|\bmpr.?range\b|overlay|"
    r"result|fus(ed|ion)",
}
"""Words of descriptions and protocols that stand for what is none of the four sequences."""

ECHO_PLANAR = re.compile(r"\bepi\b|\bep2d\w*|\w+epi\b")

DERIVED_KINDS = {
    "LOCALIZER": "a localiser", "ADC": "diffusion", "TRACEW": "diffusion", "DIFFUSION": "diffusion", "FA": "diffusion",
    "TENSOR": "diffusion", "PERFUSION": "perfusion", "CBV": "perfusion", "CBF": "perfusion", "MTT": "perfusion",
    "TTP": "perfusion", "RCBV": "perfusion", "ASL": "perfusion", "SUBTRACTION": "a subtraction",
    "SUBTRACT": "a subtraction", "PROJECTION IMAGE": "a projection", "MIP": "a projection", "MIN IP": "a projection",
    "MAX_IP": "a projection", "MIN_IP": "a projection", "MNIP": "a projection", "SWI": "susceptibility or T2*",
    "P": "a phase image", "PHASE": "a phase image", "PHASE MAP": "a phase image", "R": "a real or imaginary image",
    "I": "a real or imaginary image", "REAL": "a real or imaginary image", "IMAGINARY": "a real or imaginary image",
    "FMRI": "functional", "MOSAIC": "a Siemens mosaic (functional or diffusion)", "SCREEN SAVE": "a screen shot",
    "SPECTROSCOPY": "spectroscopy", "T1 MAP": "a map", "T2 MAP": "a map", "R2_STAR MAP": "a map", "B0": "a field map",
    "FIELD_MAP": "a field map", "T1_MAP": "a map", "T2_MAP": "a map", "T2_STAR_MAP": "a map", "R1_MAP": "a map",
    "R2_MAP": "a map", "VELOCITY": "an angiogram", "DIFFUSION_ANISO": "diffusion", "DIFFUSION_ISO": "diffusion",
    "DIFFUSION_ATTNTD": "diffusion", "FAT": "a fat image", "F": "a fat image", "SEGMENTATION": "a mask",
    "MASK": "a mask", "LABEL": "a mask", "ROI": "a mask",
}  # fmt: skip
"""Values of ImageType and FrameType that stand for the same."""

REFORMATTED = ("MPR", "REFORMATTED", "RESAMPLED", "CSA MPR", "COMPOSED")
"""Values of ImageType of images that were computed from others at the console; such a series is taken only where no
other is.
"""

REFORMATTED_WORDS = re.compile(r"\bmpr\b|reformat\w*|\bcoreg\w*|\bregistered\b|\bresampled\b")


@dataclass(frozen=True)
class Guess:
    """What a series is taken for, and how sure that is beside others of the same sequence.

    Args:
        sequence: one of the four, or None.
        reason: why, in words.
        named: a word or AcquisitionContrast names the sequence, not timing alone.
        agent_by_header: only the header's contrast agent says that it is a T1ce.
        reformatted: computed from other images at the console.
    """

    sequence: Sequence | None
    reason: str
    named: bool = False
    agent_by_header: bool = False
    reformatted: bool = False


@dataclass(frozen=True)
class _Words:
    """The text that a series is recognised by, and what it is called in reasons."""

    source: str
    description: Description

    @property
    def text(self) -> str:
        return self.description.words


def recognise(tags: Tags) -> Guess:
    """Returns which sequence a series is, from its tags alone."""
    words = _words(tags)
    kind = _not_anatomical(tags, words)
    if kind:
        return Guess(None, kind)
    weighting, why, named = _weighting(tags, words)
    if weighting is None:
        return Guess(None, why)
    reformatted = bool(set(tags.image_type) & set(REFORMATTED)) or bool(REFORMATTED_WORDS.search(words.text))
    if reformatted:
        why += ", reformatted"
    if weighting != Sequence.T1:
        return Guess(weighting, why, named, reformatted=reformatted)
    if words.description.agent == Agent.BOTH:
        return Guess(
            None,
            f"the {words.source} says both with and without contrast agent: name it by --series if it is "
            "one of the four",
        )
    contrast, because = _contrast(tags, words)
    by_header = contrast and words.description.agent != Agent.WITH
    return Guess(
        Sequence.T1CE if contrast else Sequence.T1,
        f"{why}; {because}",
        named,
        agent_by_header=by_header,
        reformatted=reformatted,
    )


def _words(tags: Tags) -> _Words:
    """Description, else protocol, else the sequence's name."""
    for source, text in (
        ("description", tags.description),
        ("protocol name", tags.protocol),
        ("sequence name", tags.sequence_name),
    ):
        if text:
            return _Words(source, read_description(text))
    return _Words("description", read_description(""))


def _not_anatomical(tags: Tags, words: _Words) -> str | None:
    if tags.modality != "MR":
        return f"modality {tags.modality or 'not given'}, not MR"
    if tags.sop_class not in MR_CLASSES:
        return "no MR image (secondary capture, segmentation or report)"
    if tags.samples_per_pixel != 1 or tags.photometric not in ("MONOCHROME2", ""):
        return f"colour or inverted pixels ({tags.photometric})"
    for value in tags.image_type:
        if value in DERIVED_KINDS:
            return f"{DERIVED_KINDS[value]}, says {'ImageType' if tags.sop_class == MR_CLASSES[0] else 'FrameType'}"
    if tags.b_value:
        return f"diffusion, b-value {tags.b_value:g}"
    return _by_kind_of_words(tags, words)


def _by_kind_of_words(tags: Tags, words: _Words) -> str | None:
    for kind, pattern in WORDS.items():
        if re.search(pattern, words.text):
            return f"{kind}, says the {words.source}"
    if "flair" not in words.text and "EP" in tags.scanning_sequence:
        return "echo-planar (functional, diffusion or perfusion), says ScanningSequence"
    if "flair" not in words.text and ECHO_PLANAR.search(words.text):
        return f"echo-planar (functional, diffusion or perfusion), says the {words.source}"
    if _inversion_nulls_fat(tags):
        return f"fat-suppressed inversion (STIR), says TI {_ms(tags.inversion_time_ms)}"
    return None


def _inversion_nulls_fat(tags: Tags) -> bool:
    return STIR_TI_MS[0] <= (tags.inversion_time_ms or 0) <= STIR_TI_MS[1] and not _gradient(tags)


def _gradient(tags: Tags) -> bool:
    """Gradient echo without spin echo."""
    return bool({"GR", "RM"} & set(tags.scanning_sequence)) and not {"SE", "EP"} & set(tags.scanning_sequence)


def _weighting(tags: Tags, words: _Words) -> tuple[Sequence | None, str, bool]:
    """T1, T2 or FLAIR with the reason, and whether it is named; what timing says must not contradict a name."""
    named, source = _by_words(words.text), f"{words.source}"
    if named is None:
        named, source = _by_acquisition_contrast(tags, words.text), "AcquisitionContrast"
    timing = f"TR {_ms(tags.repetition_time_ms)}, TE {_ms(tags.echo_time_ms)}, TI {_ms(tags.inversion_time_ms)}"
    if named is None:
        timed = _by_timing(tags)
        no_words = f"the {words.source} names none" if words.text else "there is no description"
        return timed, f"{timing} alone, {no_words}" if timed else f"neither words nor {timing} tell a sequence", False
    wrong = _contradiction(named, tags)
    if wrong:
        return (
            None,
            f"its {source} says {named.value}, {timing} {wrong}: name it by --series if it is one of the four",
            True,
        )
    known = tags.repetition_time_ms is not None and tags.echo_time_ms is not None
    return named, f"{source} and {timing}" if known else source, True


def _by_words(words: str) -> Sequence | None:
    if re.search(r"flair|dark.?fluid|fluid|tirm|\bt2.?fl\b", words):
        # A T1 FLAIR is weighted by T1: its inversion sharpens the contrast of grey and white matter.
        return Sequence.T1 if re.search(r"\bt1", words) else Sequence.FLAIR
    weightings = {int(digit) for digit in re.findall(r"\b(?:ax|sag|cor|tra)?(?:[23]d)?[sdwe]?t([12])(?![0-9])", words)}
    if re.search(r"mp.?rage|spgr|bravo|\bvibe\b|\be?thrive\b|\bmprage|\btfl\b|\bffe\b.*t1|fspgr|\btfe\b", words):
        weightings.add(1)
    if len(weightings) == 1:
        return Sequence.T1 if weightings == {1} else Sequence.T2
    return None


def _by_acquisition_contrast(tags: Tags, words: str) -> Sequence | None:
    """What an enhanced object says of itself (PS3.3, C.8.13.3.1), unless its description names two weightings."""
    if re.search(r"\bt1", words) and re.search(r"\bt2", words):
        return None
    return {"FLUID_ATTENUATED": Sequence.FLAIR, "T1": Sequence.T1, "T2": Sequence.T2}.get(tags.acquisition_contrast)


def _contradiction(named: Sequence, tags: Tags) -> str | None:
    """What in the timing cannot be so in this sequence; None where nothing is, or where it is not given."""
    tr, te, ti, gradient = tags.repetition_time_ms, tags.echo_time_ms, tags.inversion_time_ms or 0, _gradient(tags)
    timed = _by_timing(tags)
    if named == Sequence.T1:
        if timed not in (None, Sequence.T1):
            return f"says {timed.value}"
        if te is not None and te > (GRADIENT_T1_TE_MS if gradient else SHORT_TE_MS):
            return "is T2* (gradient echo)" if gradient else "has too long an echo time"
        return "is proton density at most" if tr is not None and tr > MAX_T1_TR_MS and not gradient else None
    if gradient and "flair" not in named.value:
        return "is a gradient echo: T2* at most"
    if te is not None and te < SHORT_TE_MS:
        return "is proton density at most"
    if timed == Sequence.T1 or (tr is not None and tr <= SHORT_TR_MS):
        return "says t1"
    if named == Sequence.T2:
        return f"says {'flair' if ti >= FLUID_TI_MS else 'neither t2 nor flair'}" if ti > 0 else None
    return "has too short an inversion time" if 0 < ti < FLUID_TI_MS else None


def _by_timing(tags: Tags) -> Sequence | None:
    tr, te, ti, gradient = tags.repetition_time_ms, tags.echo_time_ms, tags.inversion_time_ms or 0, _gradient(tags)
    if tr is None or te is None or _inversion_nulls_fat(tags):
        return None
    if ti >= FLUID_TI_MS and te >= LONG_TE_MS and tr >= LONG_TR_MS:
        return Sequence.FLAIR
    if te <= (GRADIENT_T1_TE_MS if gradient else SHORT_TE_MS) and (
        tr <= SHORT_TR_MS or (tr <= MAX_T1_TR_MS and 0 < ti < FLUID_TI_MS)
    ):
        return Sequence.T1
    return Sequence.T2 if tr >= LONG_TR_MS and te >= LONG_TE_MS and not ti and not gradient else None


def _contrast(tags: Tags, words: _Words) -> tuple[bool, str]:
    agent = words.description.agent
    if agent in (Agent.WITH, Agent.WITHOUT):
        return agent == Agent.WITH, f"the {words.source} says {agent.value} contrast agent"
    if tags.contrast_agent:
        return True, "a contrast agent is given in the header"
    return False, "no contrast agent named"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
