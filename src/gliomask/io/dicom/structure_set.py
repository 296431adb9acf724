"""A label map as a DICOM RT Structure Set: one region of interest for each label, closed planar contours on every
slice.

Written with pydicom alone: rt-utils 1.2.7 needs OpenCV and draws contours through the centres of border pixels, so that
a structure loses half a pixel all round when it is filled again. Here polygons run along the pixels' edges.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask import __version__
from gliomask.arrays import LabelMap
from gliomask.io.dicom.codes import ALGORITHM, DEVICE, MANUFACTURER, NOTICE, SEGMENTS
from gliomask.io.dicom.contours import polygons
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.source import SourceImages
from gliomask.labels import Label

CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
"""RT Structure Set Storage (PS3.4, B.5)."""

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired, which this module's references still name (PS3.3, C.8.8.5)."""

SERIES_NUMBER = 9002
COPIED = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip
"""Patient, study and frame of reference, as in the source: it is filed with them."""


def build_structure_set(labels: LabelMap, source: SourceImages) -> Any:
    """Returns the pydicom dataset of the structure set.

    Args:
        labels: (slices, rows, columns) of `Label`, in the order of the source's slices.
        source: the series.
    """
    with quiet_pydicom():
        from pydicom.uid import generate_uid

        dataset = _empty(source, generate_uid())
        dataset.ReferencedFrameOfReferenceSequence = _sequence(_frame_of_reference(source))
        dataset.StructureSetROISequence = _sequence(*(_region(label, source) for label in SEGMENTS))
        dataset.ROIContourSequence = _sequence(*(_contours(labels, label, source) for label in SEGMENTS))
        dataset.RTROIObservationsSequence = _sequence(*(_observation(label) for label in SEGMENTS))
        return dataset


def _empty(source: SourceImages, instance_uid: str) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        CLASS,
        instance_uid,
        ExplicitVRLittleEndian,
    )
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in COPIED:
        if keyword in source.datasets[0]:
            setattr(dataset, keyword, source.datasets[0].get(keyword))
    now = datetime.now(UTC)
    dataset.update(
        _item(
            SOPClassUID=CLASS,
            SOPInstanceUID=instance_uid,
            Modality="RTSTRUCT",
            SeriesInstanceUID=generate_uid(),
            SeriesNumber=SERIES_NUMBER,
            SeriesDescription="gliomask structures",
            InstanceNumber=1,
            OperatorsName="",
            Manufacturer=MANUFACTURER,
            ManufacturerModelName=DEVICE,
            SoftwareVersions=__version__,
            StructureSetLabel="GLIOMA",
            StructureSetDescription=NOTICE,
            StructureSetDate=now.strftime("%Y%m%d"),
            StructureSetTime=now.strftime("%H%M%S"),
            ApprovalStatus="UNAPPROVED",
        )
    )
    return dataset


def _frame_of_reference(source: SourceImages) -> Any:
    images = [
        _item(ReferencedSOPClassUID=dataset.SOPClassUID, ReferencedSOPInstanceUID=dataset.SOPInstanceUID)
        for dataset in source.datasets
    ]
    series = _item(SeriesInstanceUID=source.series.tags.series_uid, ContourImageSequence=_sequence(*images))
    study = _item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=source.series.tags.study_uid,
        RTReferencedSeriesSequence=_sequence(series),
    )
    return _item(
        FrameOfReferenceUID=source.series.tags.frame_of_reference_uid, RTReferencedStudySequence=_sequence(study)
    )


def _region(label: Label, source: SourceImages) -> Any:
    return _item(
        ROINumber=int(label),
        ReferencedFrameOfReferenceUID=source.series.tags.frame_of_reference_uid,
        ROIName=SEGMENTS[label].title,
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=f"{ALGORITHM} {__version__}",
    )


def _contours(labels: LabelMap, label: Label, source: SourceImages) -> Any:
    contours: list[Any] = []
    for k in range(labels.shape[0]):
        contours += [
            _contour(points, k, source, len(contours) + 1 + n) for n, points in enumerate(polygons(labels[k] == label))
        ]
    item = _item(ROIDisplayColor=list(SEGMENTS[label].colour), ReferencedROINumber=int(label))
    if contours:
        item.ContourSequence = _sequence(*contours)
    return item


def _contour(points: npt.NDArray[np.float64], k: int, source: SourceImages, number: int) -> Any:
    affine = source.geometry.affine
    # The grid's affine leads to RAS; DICOM counts x to the left and y to posterior.
    world = (points @ affine[:3, :2].T + affine[:3, 2] * k + affine[:3, 3]) * (-1, -1, 1)
    dataset = source.datasets[0 if source.multi_frame else k]
    image = _item(ReferencedSOPClassUID=dataset.SOPClassUID, ReferencedSOPInstanceUID=dataset.SOPInstanceUID)
    if source.multi_frame:
        image.ReferencedFrameNumber = source.series.frames[k].index + 1
    return _item(
        ContourNumber=number,
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.5f}" for value in world.ravel()],
        ContourImageSequence=_sequence(image),
    )


def _observation(label: Label) -> Any:
    code = SEGMENTS[label]
    identification = _item(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)
    return _item(
        ObservationNumber=int(label),
        ReferencedROINumber=int(label),
        RTROIIdentificationCodeSequence=_sequence(identification),
        RTROIInterpretedType="",
        ROIInterpreter="",
    )


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _sequence(*items: Any) -> Any:
    from pydicom.sequence import Sequence

    return Sequence(list(items))
