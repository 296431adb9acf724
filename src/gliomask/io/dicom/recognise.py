"""Which of the four sequences a series is, and why, told from its tags: description first, timing where there is none, both where they can check each other.

What is no plain anatomical image (localiser, diffusion, perfusion, derived map, angiogram, ...) is none of them. A rule never guesses: T1 without
any word on contrast agent is T1, and two series that could both be one sequence are for `choose` to rank or to refuse.

Timing limits, in ms, are wide round what protocols for brain tumours use (Ellingson et al., Neuro-Oncology 2015, doi:10.1093/neuonc/nov095, recommend for
1.5 T and 3 T: T1 short TE, TR 2100 with TI 1100 or TR 550 to 750; T2 TR over 2500, TE 80 to 120; FLAIR TR over 6000, TE 100 to 140, TI 2000 to 2500), so that
three-dimensional and low-field variants fall inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gliomask.io.dicom.headers import MR_CLASSES, Tags
from gliomask.sequences import Sequence

FLUID_TI_MS, LONG_TR_MS, LONG_TE_MS, SHORT_TE_MS, SHORT_TR_MS, MAX_T1_TR_MS = 1300.0, 2000.0, 60.0, 40.0, 1200.0, 3500.0
STIR_TI_MS = (80.0, 350.0)
GRADIENT_T1_TE_MS = 12.0

WORDS = {
    "a localiser": r"locali[sz]er|scout|survey|3.?plane|tri.?plan|\bloc\b|\bplan\b|\baahead|topogram|calibration|\bcal\b|shim|asset|coil sens",
    "diffusion": r"\bdw\w*|\bdti\b|\be?adc\b|trace|tensor|\bdiff\w*|b.?1000|colou?r.?fa|\bfa\b|\bivim\b|\bnoddi\b|fraction\w* aniso\w*",
    "perfusion": r"\bperf\w*|\bpwi\b|\bdsc\b|\bdce\b|\bp?c?asl\b|\br?cb[vf]\b|\bmtt\b|\bttp\b|\btmax\b|k.?trans|dynamic|leakage",
    "functional": r"\bfmri\b|\bbold\b|resting|\brest\b",
    "susceptibility or T2*": r"\bswi?\b|swan|veno|t2\s?\*|t2.?star|\bha?emo\b|\bm(in)?ip\b|\bphase\b.*(map|image)|qsm|\bgre\b.*\bt2|\bt2.*\bgre\b|\bmerge\b",
    "an angiogram": r"\btof\b|angio|\bmra\b|\bmrv\b|venogra\w*|\bpc\b.*\b(2d|3d)\b|inhance",
    "spectroscopy": r"\bmrs\b|spectro\w*|\bsvs\b|\bcsi\b|\bpress\b",
    "a field map": r"field.?map|\bb0\b|\bb1\b|\bmag(nitude)?\b",
    "fat-suppressed inversion (STIR)": r"\bstir\b",
    "proton density": r"^(?!.*t2).*(\bpd\w?\b|proton)",
    "a derived map": r"subtract\w*|\bsub\b|\bratio\b|t[12].?map|\br[12] map|screen.?save|report|\bmpr.?range\b|overlay|segmentation|result|fus(ed|ion)",
}
"""Words of descriptions and protocols that stand for what is none of the four sequences."""

DERIVED_KINDS = {
    "LOCALIZER": "a localiser", "ADC": "diffusion", "TRACEW": "diffusion", "DIFFUSION": "diffusion", "FA": "diffusion", "TENSOR": "diffusion",
    "PERFUSION": "perfusion", "CBV": "perfusion", "CBF": "perfusion", "MTT": "perfusion", "TTP": "perfusion", "RCBV": "perfusion", "ASL": "perfusion",
    "SUBTRACTION": "a subtraction", "SUBTRACT": "a subtraction", "PROJECTION IMAGE": "a projection",
    "MIP": "a projection", "MIN IP": "a projection", "MAX_IP": "a projection", "MIN_IP": "a projection", "MNIP": "a projection", "SWI": "susceptibility or T2*",
    "P": "a phase image", "PHASE": "a phase image", "PHASE MAP": "a phase image", "R": "a real or imaginary image", "I": "a real or imaginary image",
    "REAL": "a real or imaginary image", "IMAGINARY": "a real or imaginary image", "FMRI": "functional", "MOSAIC": "a Siemens mosaic (functional or diffusion)",
    "SCREEN SAVE": "a screen shot", "SPECTROSCOPY": "spectroscopy", "T1 MAP": "a map", "T2 MAP": "a map", "R2_STAR MAP": "a map", "B0": "a field map",
}  # fmt: skip
"""Values of ImageType and FrameType that stand for the same."""

REFORMATTED = ("MPR", "REFORMATTED", "RESAMPLED", "CSA MPR", "COMPOSED")
"""Values of ImageType of images that were computed from others at the console; such a series is taken only where no other is."""

WITHOUT = (
    r"\bpre\b|pre.?(gd|gad|contrast|km)|\bwithout\b|\bw.?o\b|non.?contrast|\bno (gd|contrast|gad)|\bnativ\w*|\bplain\b|unenhanced|(?<=\s)-c\b|\bohne\b|\bsans\b"
)
WITH = (
    r"\bpost\b|post.?(gd|gad|contrast|km|c)\b|\bgd\b|\bgad\w*|(^|\W)\+\s?(c|gd|km|gado\w*)\b|t1\s?\+|\bce\b|t1.?ce\b|t1.?c\b|t1.?gd\b|\bcontrast\b|enhanced|"
    r"\bkm\b|\bc\+|\bafter\b|dotarem|gadovist|magnevist|prohance|multihance|clariscan|omniscan|\binj\w*|\bavec\b|\bmit\b"
)
"""Words that say that no contrast agent was given, or that it was."""


@dataclass(frozen=True)
class Guess:
    """What a series is taken for.

    Args:
        sequence: one of the four, or None.
        reason: why, in words.
        preference: higher is taken first where several series are one sequence.
    """

    sequence: Sequence | None
    reason: str
    preference: int = 0


def recognise(tags: Tags) -> Guess:
    """Returns which sequence a series is, from its tags alone."""
    kind = _not_anatomical(tags)
    if kind:
        return Guess(None, kind)
    words = _words(tags)
    weighting, why = _weighting(tags, words)
    if weighting is None:
        return Guess(None, why)
    preference = -1 if set(tags.image_type) & set(REFORMATTED) else 0
    if preference:
        why += ", reformatted"
    if weighting != Sequence.T1:
        return Guess(weighting, why, preference)
    contrast, because = _contrast(tags, words)
    return Guess(Sequence.T1CE if contrast else Sequence.T1, f"{why}; {because}", preference)


def _words(tags: Tags) -> str:
    """Description, else protocol, in lower case; underscores and carets separate words."""
    return re.sub(r"[_^]+", " ", (tags.description or tags.protocol or tags.sequence_name).lower())


def _not_anatomical(tags: Tags) -> str | None:
    if tags.modality != "MR":
        return f"modality {tags.modality or 'not given'}, not MR"
    if tags.sop_class not in MR_CLASSES:
        return "no MR image (secondary capture, segmentation or report)"
    if tags.samples_per_pixel != 1 or tags.photometric not in ("MONOCHROME2", ""):
        return f"colour or inverted pixels ({tags.photometric})"
    for value in tags.image_type:
        if value in DERIVED_KINDS:
            return f"{DERIVED_KINDS[value]}, says ImageType"
    if tags.b_value:
        return f"diffusion, b-value {tags.b_value:g}"
    words = _words(tags)
    for kind, pattern in WORDS.items():
        if re.search(pattern, words):
            return f"{kind}, says the description"
    if "EP" in tags.scanning_sequence and "flair" not in words:
        return "echo-planar (functional, diffusion or perfusion)"
    return None


def _weighting(tags: Tags, words: str) -> tuple[Sequence | None, str]:
    """T1, T2 or FLAIR with the reason; what timing says must not contradict what the description says."""
    named, timed = _by_words(words, tags), _by_timing(tags)
    timing = f"TR {_ms(tags.repetition_time_ms)}, TE {_ms(tags.echo_time_ms)}, TI {_ms(tags.inversion_time_ms)}"
    if named is None and timed is None:
        return None, f"neither the description nor {timing} tells a sequence"
    if named is None:
        return timed, f"{timing}"
    if named != Sequence.T1 and tags.echo_time_ms is not None and tags.echo_time_ms < SHORT_TE_MS:
        return None, f"its description says {named.value}, but {timing} is proton density at most"
    if timed is None:
        return named, "description"
    if named != timed:
        return None, f"its description says {named.value}, {timing} says {timed.value}: name it by --series if it is one of the four"
    return named, f"description and {timing}"


def _by_words(words: str, tags: Tags) -> Sequence | None:
    contrast = {"FLUID_ATTENUATED": Sequence.FLAIR}.get(tags.acquisition_contrast)
    if re.search(r"flair|dark.?fluid|fluid|tirm|\bt2.?fl\b", words) or contrast:
        # A T1 FLAIR is weighted by T1: its inversion sharpens the contrast of grey and white matter.
        return Sequence.T1 if re.search(r"\bt1", words) else Sequence.FLAIR
    found = {int(digit) for digit in re.findall(r"\b(?:ax|sag|cor|tra)?(?:[23]d)?[sdwe]?t([12])(?![0-9])", words)}
    if re.search(r"mp.?rage|spgr|bravo|\bvibe\b|\bthrive\b|\bmprage|\btfl\b|\bffe\b.*t1|fspgr|\btfe\b", words):
        found.add(1)
    if len(found) == 1:
        return Sequence.T1 if found == {1} else Sequence.T2
    if not found:
        return {"T1": Sequence.T1, "T2": Sequence.T2}.get(tags.acquisition_contrast)
    return None


def _by_timing(tags: Tags) -> Sequence | None:
    tr, te, ti = tags.repetition_time_ms, tags.echo_time_ms, tags.inversion_time_ms or 0
    if tr is None or te is None or STIR_TI_MS[0] <= ti <= STIR_TI_MS[1]:
        return None
    if ti >= FLUID_TI_MS and te >= LONG_TE_MS and tr >= LONG_TR_MS:
        return Sequence.FLAIR
    gradient = bool({"GR", "RM"} & set(tags.scanning_sequence)) and "SE" not in tags.scanning_sequence
    if te <= (GRADIENT_T1_TE_MS if gradient else SHORT_TE_MS) and (tr <= SHORT_TR_MS or (tr <= MAX_T1_TR_MS and 0 < ti < FLUID_TI_MS)):
        return Sequence.T1
    return Sequence.T2 if tr >= LONG_TR_MS and te >= LONG_TE_MS and not ti and not gradient else None


def _contrast(tags: Tags, words: str) -> tuple[bool, str]:
    if re.search(WITHOUT, words):
        return False, "the description says without contrast agent"
    if re.search(WITH, words):
        return True, "the description says with contrast agent"
    if tags.contrast_agent:
        return True, "a contrast agent is given in the header"
    return False, "no contrast agent named"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
