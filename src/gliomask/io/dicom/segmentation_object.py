"""A label map as a DICOM Segmentation, in the source series' own frames and frame of reference, by highdicom."""

from __future__ import annotations

from typing import Any

import numpy as np

from gliomask import __version__
from gliomask.arrays import LabelMap
from gliomask.errors import UsageError
from gliomask.io.dicom.codes import ALGORITHM, BRAIN, CATEGORY, DEVICE, MANUFACTURER, NOTICE, SEGMENTS, SERIAL_NUMBER
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.source import SourceImages
from gliomask.labels import Label

SERIES_NUMBER = 9001
"""Away from the numbers that scanners give."""


CORRECTED_SERIES_NUMBER = 9011
"""Of a segmentation that a person corrected: a series of its own, beside the untouched one."""


def build_segmentation(labels: LabelMap, source: SourceImages, corrected_by: str | None = None) -> Any:
    """Returns the pydicom dataset of the segmentation: three binary segments, numbered as `Label` is.

    Every slice has its frame, also where a segment is empty: some viewers misplace objects that leave frames out
    (highdicom issue 214).

    Args:
        labels: (slices, rows, columns) of `Label`, in the order of the source's slices.
        source: the series.
        corrected_by: who corrected the labels by hand; None for what a network gave.
    """
    with quiet_pydicom():
        import highdicom as hd

        planes = np.zeros_like(labels)
        # highdicom takes the frames of a multi-frame source in the order of the file.
        planes[[frame.index for frame in source.series.frames] if source.multi_frame else slice(None)] = labels
        made = hd.seg.Segmentation(
            source_images=list(source.datasets),
            pixel_array=planes,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(hd, label, corrected_by is not None) for label in SEGMENTS],
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER if corrected_by is None else CORRECTED_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=DEVICE,
            software_versions=__version__,
            device_serial_number=SERIAL_NUMBER,
            content_label="GLIOMA",
            content_description=NOTICE,
            # With a caret, since a name without one has the form of before 1993, which validators warn of.
            content_creator_name=f"{DEVICE}^",
            omit_empty_frames=False,
            series_description="gliomask segmentation" + ("" if corrected_by is None else ", corrected by hand"),
        )
        if corrected_by is not None:
            name_creator(made, corrected_by)
        return made


PERSON_NAME_LETTERS = 64
"""Of one group of a PN (PS3.5, table 6.2-1)."""


def name_creator(dataset: Any, person: str) -> None:
    """Writes who made the content; a name in other letters than ASCII makes the whole object UTF-8 (PS3.5, 6.1.2.3).

    Raises:
        UsageError: nothing but signs that divide a name is left of it.
    """
    # Characters that divide a PN or several values, or that no PN may hold (PS3.5, 6.2).
    plain = "".join(" " if letter in "\\^=" else letter for letter in person).strip()
    if not plain:
        raise UsageError("Who corrected the label map is named by no letter. Give a name.")
    dataset.ContentCreatorName = f"{plain[: PERSON_NAME_LETTERS - 1].strip()}^"
    if not plain.isascii():
        use_utf8(dataset)


def use_utf8(dataset: Any) -> None:
    """Lets an object be written in UTF-8, names of people included, whichever character set its source had."""

    def anew(_: Any, element: Any) -> None:
        # pydicom keeps the bytes in which a name was encoded first; as text it is encoded anew.
        if element.VR == "PN":
            many = element.VM > 1
            element.value = [str(one) for one in element.value] if many else str(element.value or "")

    dataset.walk(anew)
    dataset.SpecificCharacterSet = "ISO_IR 192"


def algorithm(hd: Any) -> Any:
    """What made the label map, as PS3.3, 10.16 wants it (CID 7162: artificial intelligence)."""
    from pydicom.sr.codedict import codes

    return hd.AlgorithmIdentificationSequence(
        name=ALGORITHM, family=codes.cid7162.ArtificialIntelligence, version=__version__
    )


def _description(hd: Any, label: Label, corrected: bool) -> Any:
    code = SEGMENTS[label]
    kinds = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=int(label),
        segment_label=code.title,
        segmented_property_category=hd.sr.CodedConcept(*CATEGORY),
        segmented_property_type=hd.sr.CodedConcept(code.value, code.scheme, code.meaning),
        # PS3.3, C.8.20.2: with a person's help a segment is no longer automatic.
        algorithm_type=kinds.SEMIAUTOMATIC if corrected else kinds.AUTOMATIC,
        algorithm_identification=algorithm(hd),
        tracking_uid=hd.UID(),
        tracking_id=code.title,
        anatomic_regions=[hd.sr.CodedConcept(*BRAIN)],
        display_color=hd.color.CIELabColor.from_rgb(*code.colour),
    )
