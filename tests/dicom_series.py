"""DICOM series written from arrays, classic and enhanced, so that no patient's DICOM is needed.

The patient is SMITH^JANE, number 4711.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from gliomask.geometry import Geometry

MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
STUDY, FRAME = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame"])

PROTOCOLS = {
    # TR, TE, TI in ms, ScanningSequence, SeriesDescription.
    "t1": (600, 12, None, ["SE"], "AX T1"),
    "t1ce": (600, 12, None, ["SE"], "AX T1 POST GD"),
    "t2": (4500, 100, None, ["SE"], "AX T2 TSE"),
    "flair": (9000, 120, 2500, ["SE", "IR"], "AX FLAIR"),
}


def _base(sop_class, instance_uid, sequence, number, series_uid):
    tr, te, ti, kind, description = PROTOCOLS[sequence]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        sop_class,
        instance_uid,
        ExplicitVRLittleEndian,
    )
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": sop_class, "SOPInstanceUID": instance_uid, "Modality": "MR", "PatientName": "SMITH^JANE",
        "PatientID": "4711", "PatientBirthDate": "19500101", "PatientSex": "F", "StudyInstanceUID": STUDY,
        "StudyDate": "20200102", "StudyTime": "101112", "StudyID": "1", "AccessionNumber": "ACC123",
        "ReferringPhysicianName": "JONES^BOB", "SeriesInstanceUID": series_uid, "SeriesNumber": number,
        "SeriesDescription": description, "FrameOfReferenceUID": FRAME, "PositionReferenceIndicator": "",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"], "ScanningSequence": kind, "RepetitionTime": tr, "EchoTime": te,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "Manufacturer": "synthetic", "PatientPosition": "HFS",
    }  # fmt: skip
    if ti:
        values["InversionTime"] = ti
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.add(private("SMITH JANE"))
    return dataset


def private(text):
    from pydicom.dataelem import DataElement

    return DataElement(0x00091001, "LO", text)


def planes(geometry: Geometry):
    """Directions, spacing (rows, columns) and a function from slice to position, in LPS."""
    lps = np.diag([-1.0, -1, 1, 1]) @ geometry.affine
    spacing = geometry.spacing_mm
    directions = [*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1])]
    return (
        [f"{value:.8f}" for value in directions],
        [f"{spacing[1]:.8f}", f"{spacing[0]:.8f}"],
        lambda k: [f"{v:.6f}" for v in lps[:3, 3] + lps[:3, 2] * k],
    )


def write_series(
    folder: Path,
    volume,
    geometry,
    sequence="t1ce",
    number=1,
    *,
    change=None,
    skip=(),
    slope=1.0,
    order=None,
    series_uid=None,
) -> Path:
    """One file a slice, named without any meaning to their order; `change(dataset, k)` may alter each before it is
    written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = series_uid or generate_uid()
    directions, spacing, position = planes(geometry)
    for count, k in enumerate(order if order is not None else range(geometry.shape[2])):
        if k in skip:
            continue
        dataset = _base(MR, generate_uid(), sequence, number, series_uid)
        dataset.InstanceNumber, dataset.Rows, dataset.Columns = count + 1, geometry.shape[1], geometry.shape[0]
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing = (
            position(k),
            directions,
            spacing,
        )
        dataset.SliceThickness = f"{geometry.spacing_mm[2]:.6f}"
        if slope != 1:
            dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), "-3"
        dataset.PixelData = volume[:, :, k].T.astype("<u2").tobytes()
        if change is not None:
            change(dataset, k)
        dataset.save_as(folder / f"{(k * 7919) % 1000:03d}_{number}_{count}.dcm", enforce_file_format=True)
    return folder


def write_enhanced(path: Path, volume, geometry, sequence="t1ce", number=1, order=None) -> Path:
    """All slices in one file, in any order."""
    order = list(range(geometry.shape[2]) if order is None else order)
    directions, spacing, position = planes(geometry)
    dataset = _base(ENHANCED, generate_uid(), sequence, number, generate_uid())
    dataset.InstanceNumber, dataset.Rows, dataset.Columns, dataset.NumberOfFrames = (
        1,
        geometry.shape[1],
        geometry.shape[0],
        len(order),
    )
    dataset.ContentDate, dataset.ContentTime, dataset.AcquisitionDateTime = "20200102", "101112", "20200102101112"
    measures = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=spacing, SliceThickness=f"{geometry.spacing_mm[2]:.6f}")])
    )
    measures.PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=directions)])
    dataset.SharedFunctionalGroupsSequence = Sequence([measures])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([_frame_groups(k, position(k)) for k in order])
    dataset.PixelData = np.stack([volume[:, :, k].T for k in order]).astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def item(**values) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _frame_groups(k, position) -> Dataset:
    content = item(StackID="1", InStackPositionNumber=k + 1)
    return item(
        PlanePositionSequence=Sequence([item(ImagePositionPatient=position)]), FrameContentSequence=Sequence([content])
    )
