"""What each label is called in DICOM objects.

Types are those of CID 7168 "Brain Lesion Segmentation Type With Necrosis" (PS3.16), which takes necrosis and oedema
from SNOMED CT and, as SNOMED CT has no such concept, the enhancing lesion from the NCI Thesaurus; it uses necrosis for
the non-enhancing core too. The category is from CID 7150. Regions, which only the report has, are written with SNOMED
CT's neoplasm.
"""

from __future__ import annotations

from dataclasses import dataclass

from gliomask.colours import PALETTE
from gliomask.labels import Label


@dataclass(frozen=True)
class SegmentCode:
    """One label as a segment.

    Args:
        title: the words shown.
        value: code.
        scheme: coding scheme, `SCT` or `NCIt`.
        meaning: the scheme's words.
        colour: red, green, blue, 0 to 255.
    """

    title: str
    value: str
    scheme: str
    meaning: str
    colour: tuple[int, int, int]


CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM = ("108369006", "SCT", "Neoplasm")
BRAIN = ("12738006", "SCT", "Brain")

SEGMENTS: dict[Label, SegmentCode] = {
    Label.NECROTIC: SegmentCode(
        "Necrotic and non-enhancing core", "6574001", "SCT", "Necrosis", PALETTE.labels[Label.NECROTIC]
    ),
    Label.OEDEMA: SegmentCode("Oedema", "79654002", "SCT", "Edema", PALETTE.labels[Label.OEDEMA]),
    Label.ENHANCING: SegmentCode(
        "Enhancing tumour", "C113842", "NCIt", "Enhancing Lesion", PALETTE.labels[Label.ENHANCING]
    ),
}
"""Every label but the background; a segment's number is its label."""

MANUFACTURER = "gliomask developers"
DEVICE = "gliomask"
SERIAL_NUMBER = "0"
"""Software has none, but enhanced equipment must name one (PS3.3, C.7.5.2)."""

ALGORITHM = "gliomask"
NOTICE = "Research use only, not a medical device"
