"""Volumes as a DICOM structured report, TID 1500 "Measurement Report" (PS3.16), by highdicom.

Each label has a group that refers to its segment; whole tumour and tumour core, which are sums of segments, have a
group without one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gliomask import __version__
from gliomask.arrays import LabelMap
from gliomask.io.dicom.codes import ALGORITHM, DEVICE, MANUFACTURER, NEOPLASM, SEGMENTS
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.segmentation_object import use_utf8
from gliomask.io.dicom.source import SourceImages
from gliomask.labels import Label, Region

SERIES_NUMBER = 9003
VOLUME = ("118565006", "SCT", "Volume")
MILLILITRE = ("ml", "UCUM", "milliliter")
IMAGING_REPORT = ("126000", "DCM", "Imaging Measurement Report")
SUMS = (Region.WT, Region.TC)
ML_DECIMALS = 3

CORRECTED_SERIES_NUMBER = 9013
"""Of the report of a segmentation that a person corrected: a series of its own."""


def build_report(labels: LabelMap, source: SourceImages, segmentation: Any, corrected_by: str | None = None) -> Any:
    """Returns the pydicom dataset of the report (Comprehensive 3D SR).

    Args:
        labels: (slices, rows, columns) of `Label`.
        source: the series.
        segmentation: the object of `build_segmentation`, whose segments the report refers to.
        corrected_by: who corrected the labels by hand; None for what a network gave.
    """
    with quiet_pydicom():
        import highdicom as hd
        from pydicom.sr.codedict import codes

        voxel_ml = source.geometry.voxel_ml
        groups = [
            _of_segment(hd, label, int((labels == label).sum()) * voxel_ml, source, segmentation) for label in SEGMENTS
        ]
        groups += [_of_region(hd, region, int(region.mask(labels).sum()) * voxel_ml, source) for region in SUMS]
        person = (
            None
            if corrected_by is None
            else hd.sr.ObserverContext(
                observer_type=codes.DCM.Person,
                observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(
                    name=str(segmentation.ContentCreatorName)
                ),
            )
        )
        observer = hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(uid=hd.UID(), name=DEVICE),
        )
        report = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(
                observer_person_context=person, observer_device_context=observer
            ),
            procedure_reported=codes.cid100.MRBrain
            if "MRBrain" in codes.cid100.dir()
            else hd.sr.CodedConcept("77477000", "SCT", "Imaging procedure"),
            imaging_measurements=groups,
            title=hd.sr.CodedConcept(*IMAGING_REPORT),
        )
        made = hd.sr.Comprehensive3DSR(
            evidence=[segmentation, *source.datasets],
            content=report[0],
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER if corrected_by is None else CORRECTED_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            series_description="gliomask volumes" + ("" if corrected_by is None else ", corrected by hand"),
        )
        if corrected_by is not None and not corrected_by.isascii():
            use_utf8(made)
        return made


def _of_segment(hd: Any, label: Label, volume_ml: float, source: SourceImages, segmentation: Any) -> Any:
    code = SEGMENTS[label]
    reference = hd.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=int(label),
        source_series=hd.sr.SourceSeriesForSegmentation(source.series.tags.series_uid),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=segmentation.SegmentSequence[int(label) - 1].TrackingUID, identifier=code.title
        ),
        referenced_segment=reference,
        finding_type=hd.sr.CodedConcept(code.value, code.scheme, code.meaning),
        algorithm_id=hd.sr.AlgorithmIdentification(name=ALGORITHM, version=__version__),
        measurements=[_volume(hd, volume_ml)],
    )


def _of_region(hd: Any, region: Region, volume_ml: float, source: SourceImages) -> Any:
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=region.title),
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(dataset) for dataset in source.datasets],
        finding_type=hd.sr.CodedConcept(*NEOPLASM),
        algorithm_id=hd.sr.AlgorithmIdentification(name=ALGORITHM, version=__version__),
        measurements=[_volume(hd, volume_ml)],
    )


def _volume(hd: Any, volume_ml: float) -> Any:
    value = float(np.round(volume_ml, ML_DECIMALS))
    return hd.sr.Measurement(name=hd.sr.CodedConcept(*VOLUME), value=value, unit=hd.sr.CodedConcept(*MILLILITRE))
