"""What the first bytes of a DICOM instance say of it: its class, its UID, its study.

Bounded, whatever the bytes are.
"""

from __future__ import annotations

import io
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from gliomask.errors import FileFormatError
from gliomask.io.dicom.headers import DEFLATED
from gliomask.io.dicom.quiet import quiet_pydicom

HEAD_BYTES = 1 << 20
"""StudyInstanceUID stands in the first kilobytes of an image; a header in which it comes later is none of an image."""

UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
"""PS3.5, 9.1."""

MAX_UID_LETTERS = 64

SOP_CLASS, SOP_INSTANCE, MODALITY, STUDY, SERIES = 0x00080016, 0x00080018, 0x00080060, 0x0020000D, 0x0020000E

_pydicom = threading.Lock()
"""`quiet_pydicom` changes settings of the whole process."""


@dataclass(frozen=True)
class Instance:
    """One DICOM instance. Its UIDs identify an examination: they are not logged.

    Args:
        sop_class: SOPClassUID.
        uid: SOPInstanceUID.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        modality: such as `MR`.
    """

    sop_class: str
    uid: str
    study_uid: str
    series_uid: str
    modality: str


def is_uid(text: str) -> bool:
    """Whether a text is a UID."""
    return len(text) <= MAX_UID_LETTERS and UID.fullmatch(text) is not None


def read_instance(path: Path) -> Instance:
    """Reads what identifies an instance.

    Raises:
        FileFormatError: the file is no DICOM instance with the UIDs that every one has. The message quotes nothing of
            it.
        EngineUnavailableError: pydicom is not installed.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    with _pydicom, quiet_pydicom():
        from pydicom.filereader import read_partial

        try:
            if DEFLATED.encode() in head:
                # pydicom would inflate all of it, whatever its size.
                raise FileFormatError("Deflated instances are not taken here. Send them in another transfer syntax.")
            tags = [SOP_CLASS, SOP_INSTANCE, MODALITY, STUDY, SERIES]
            dataset = read_partial(io.BytesIO(head), lambda tag, vr, length: tag > SERIES, specific_tags=tags)
            values = [str(dataset[tag].value) if tag in dataset else "" for tag in tags]
        except (FileFormatError, MemoryError):
            raise
        except Exception as error:
            # pydicom raises whatever a corrupt byte leads to; its words may quote values.
            raise FileFormatError(
                f"The instance is no DICOM file, or a damaged one ({type(error).__name__})."
            ) from None
    sop_class, uid, modality, study_uid, series_uid = values
    if not all(map(is_uid, (sop_class, uid, study_uid, series_uid))):
        raise FileFormatError("The instance lacks a UID that every instance has.")
    return Instance(sop_class, uid, study_uid, series_uid, modality[:16])
