"""Copies of a source's headers that written objects can be built from.

Scanners and anonymisers write values that the standard does not allow, and highdicom refuses them with exceptions that
quote the value. Here each header is copied down to what written objects need. A value that cannot be carried over is
left empty or out, and its keyword (never its value) is told.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

from gliomask.errors import FileFormatError
from gliomask.geometry import Geometry

REQUIRED_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Attributes of type 2 (PS3.3, C.7.1.1, C.7.2.1): written, maybe empty. Anonymised series often lack them."""

IMAGE = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator",
    "Modality", "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient",
)  # fmt: skip
"""What an object says about the image that it refers to."""

EQUIPMENT = (
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "InstitutionName",
    "InstitutionalDepartmentName", "InstitutionAddress", "StationName", "AcquisitionDateTime", "AcquisitionDate",
    "AcquisitionTime",
)  # fmt: skip
"""The scanner, which a segmentation names as contributing equipment (PS3.3, C.12.1)."""

SEXES = ("", "M", "F", "O")
"""PatientSex (PS3.3, C.7.1.1)."""

UTF_8 = "ISO_IR 192"
MULTI_BYTE = ("ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149")
"""Character sets that may not stand first (PS3.3, C.12.1.1.2)."""

DEFAULT_SET = "ISO 2022 IR 6"
"""What an empty first character set stands for where others follow (PS3.3, C.12.1.1.2)."""


@dataclass(frozen=True, eq=False)
class Mended:
    """Headers that objects can be built from.

    Args:
        datasets: one for each file, in the order given.
        left_out: keywords whose value is not valid and was left empty or out.
        notes: what else was changed, in sentences.
    """

    datasets: tuple[Any, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def mend(datasets: list[Any], geometry: Geometry, name: str) -> Mended:
    """Copies headers; call it inside `quiet_pydicom`.

    Patient and study are taken from the first file, since all objects are filed with it. Directions and pixel spacing
    are those of the first image, the distance between slices is that of the grid; `stack.in_order` has made sure that
    they are the same for all images.

    Args:
        datasets: headers as pydicom read them, one for each slice or one for all slices.
        geometry: the grid of the series.
        name: how messages call the series.

    Raises:
        FileFormatError: the series has no StudyInstanceUID or FrameOfReferenceUID.
    """
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID"):
        if not datasets[0].get(keyword):
            raise FileFormatError(
                f"{name}: has no {keyword}, so nothing can be written that refers to its "
                f"{'space' if keyword.startswith('Frame') else 'study'}. "
                "Give the original export."
            )
    common, left_out = _patient_and_study(datasets[0])
    notes = []
    thickness = _thickness(datasets[0])
    if thickness is None:
        notes.append("SliceThickness is missing or not valid: the distance between slices is written instead")
    measures = _measures(geometry, thickness)
    orientation = _orientation(datasets[0])
    mended = tuple(_image(dataset, common, measures, orientation) for dataset in datasets)
    return Mended(mended, tuple(left_out), tuple(notes))


@cache
def _carried() -> tuple[str, ...]:
    """Keywords at the root of the modules of patient and study that objects share with their source (PS3.3, C.7.1 and
    C.7.2).
    """
    from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map

    attributes = get_module_attribute_map()
    modules = [module["key"] for module in get_iod_module_map()["segmentation"] if module["ie"] in ("Patient", "Study")]
    return tuple(dict.fromkeys(str(item["keyword"]) for key in modules for item in attributes[key] if not item["path"]))


def _patient_and_study(source: Any) -> tuple[Any, list[str]]:
    """What all objects carry, decoded and in a character set that can be written; and the keywords that had to be left
    out.
    """
    from pydicom.dataset import Dataset

    result, left_out = Dataset(), []
    character_set = _character_set(source)
    for keyword in (*_carried(), *EQUIPMENT):
        if keyword == "SpecificCharacterSet" or keyword not in source:
            continue
        element = _valid(source, keyword)
        if element is None:
            left_out.append(keyword)
        else:
            result.add(element)
    result.remove_private_tags()
    for keyword in REQUIRED_EMPTY:
        if keyword not in result:
            setattr(result, keyword, "")
    if character_set is not None:
        result.SpecificCharacterSet = character_set
    return result, left_out


def _valid(source: Any, keyword: str) -> Any:
    """A decoded copy of an element, or None where its value cannot be carried over."""
    from pydicom.dataset import Dataset

    try:
        # A data set of its own, so that `decode` also reaches the items of a sequence.
        holder = Dataset()
        if source.get("SpecificCharacterSet") is not None:
            holder.SpecificCharacterSet = source.SpecificCharacterSet
        holder.add(copy.deepcopy(source[keyword]))
        holder.decode()
        if all(_readable(element) for element in holder.iterall()):
            return holder[keyword]
    except Exception:
        # pydicom raises whatever a value leads to, and its words quote the value.
        return None
    return None


def _readable(element: Any) -> bool:
    """Numbers, dates and times must be what their representation says (PS3.5, 6.2); text is carried as it is."""
    from pydicom.config import RAISE
    from pydicom.valuerep import DA, DT, TM, validate_value

    if element.keyword == "PatientSex":
        return str(element.value or "") in SEXES
    if element.VR not in ("DA", "TM", "DT", "AS", "DS", "IS") or element.is_empty:
        return True
    values = element.value if element.VM > 1 else [element.value]
    for value in values:
        if element.VR in ("DS", "IS"):
            float(value)
            continue
        validate_value(element.VR, str(value), RAISE)
        kind = {"DA": DA, "TM": TM, "DT": DT}.get(element.VR, str)
        kind(str(value))
    return True


def _character_set(source: Any) -> Any:
    """The source's own where it may be written so, with an empty first value spelt out; UTF-8 where it may not (PS3.3,
    C.12.1.1.2).
    """
    from highdicom import SpecificCharacterSetValues

    given = source.get("SpecificCharacterSet")
    if not given:
        return None
    known = {value.value for value in SpecificCharacterSetValues}
    values = [given] if isinstance(given, str) else [str(value) for value in given]
    if len(values) == 1:
        return values[0] if values[0] in known and values[0] not in MULTI_BYTE else UTF_8
    values[0] = values[0] or DEFAULT_SET
    # highdicom knows ISO 2022 IR 58 (simplified Chinese), but does not write it.
    extended = all(value in known and value.startswith("ISO 2022 ") and value != "ISO 2022 IR 58" for value in values)
    return values if extended and values[0] not in MULTI_BYTE and len(set(values)) == len(values) else UTF_8


def _groups(dataset: Any) -> list[Any]:
    """Where a geometric attribute may stand: groups of the first frame, shared groups, the top (PS3.3, C.7.6.16)."""
    first = [
        group
        for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
        for group in dataset.get(keyword, [])[:1]
    ]
    return [*first, dataset]


def _value(dataset: Any, group: str, keyword: str) -> Any:
    for place in _groups(dataset):
        items = place.get(group)
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return dataset.get(keyword)


def _thickness(dataset: Any) -> float | None:
    try:
        value = float(_value(dataset, "PixelMeasuresSequence", "SliceThickness"))
    except (TypeError, ValueError):
        return None
    return value if 0 < value < float("inf") else None


def _orientation(dataset: Any) -> list[Any]:
    return list(_value(dataset, "PlaneOrientationSequence", "ImageOrientationPatient"))


def _measures(geometry: Geometry, thickness: float | None) -> dict[str, Any]:
    """Pixel measures as strings of at most 16 letters (PS3.5, 6.2, DS)."""
    from pydicom.valuerep import format_number_as_ds

    between_columns, between_rows, between_slices = (format_number_as_ds(float(mm)) for mm in geometry.spacing_mm)
    return {
        "PixelSpacing": [between_rows, between_columns],
        "SliceThickness": between_slices if thickness is None else format_number_as_ds(thickness),
        "SpacingBetweenSlices": between_slices,
    }


def _image(source: Any, common: Any, measures: dict[str, Any], orientation: list[Any]) -> Any:
    """The header of one file: what is common, what tells the image, and where it lies."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    result = copy.deepcopy(common)
    result.file_meta = copy.deepcopy(source.file_meta)
    for keyword in IMAGE:
        if source.get(keyword) not in (None, ""):
            setattr(result, keyword, source.get(keyword))
    result.setdefault("PositionReferenceIndicator", "")
    if "PerFrameFunctionalGroupsSequence" not in source:
        for keyword, value in measures.items():
            setattr(result, keyword, value)
        result.ImageOrientationPatient = orientation
        return result
    shared, plane, pixels = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = orientation
    for keyword, value in measures.items():
        setattr(pixels, keyword, value)
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([plane]), Sequence([pixels])
    result.SharedFunctionalGroupsSequence = Sequence([shared])
    result.PerFrameFunctionalGroupsSequence = Sequence(
        [_position(group) for group in source.PerFrameFunctionalGroupsSequence]
    )
    return result


def _position(group: Any) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    result, position = Dataset(), Dataset()
    position.ImagePositionPatient = group.PlanePositionSequence[0].ImagePositionPatient
    result.PlanePositionSequence = Sequence([position])
    return result
