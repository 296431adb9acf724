"""The headers of DICOM files as plain values: what tells series apart, what recognises a sequence, and where each frame
lies.

A classic file is one frame, an enhanced one holds many, each with its own functional groups (PS3.3, C.7.6.16). Nothing
here keeps a pydicom object, and no message quotes a value.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gliomask.errors import FileFormatError
from gliomask.files.regular import NotRegularError, open_regular

MR_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
"""MR Image Storage, Enhanced MR Image Storage, Legacy Converted Enhanced MR Image Storage (PS3.4, B.5)."""

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Uncompressed transfer syntaxes (PS3.5, annex A)."""

DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage (PS3.4, B.5)."""

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Deflated Explicit VR Little Endian: all but the first header is a zlib stream without its own (PS3.5, A.5)."""

LOSSY = (
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 112)),
    *(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)),
)
"""Transfer syntaxes that cannot keep every value: JPEG baseline and extended, JPEG-LS near-lossless, JPEG XL, MPEG
(PS3.5, annex A). JPEG 2000 and its kin may or may not; there LossyImageCompression says it."""

MAX_FILE_BYTES = 2 << 30
MAX_INFLATED_BYTES = 256 << 20
"""Of one deflated file: a hundred times the largest slice."""
MAX_FRAMES = 20_000
"""Frames in one file."""

MAX_READS = 3_000_000
"""Of pydicom from one header: an enhanced file of 2,000 frames needs some 600,000."""

ITEM, MAX_ITEMS, MAX_SEQUENCE_BYTES = b"\xfe\xff\x00\xe0", 200_000, 64 << 20
"""The tag of an item, and limits of one sequence: 20,000 frames have as many items in the functional groups, and some
in each.
"""

PREFIX_BYTES, META_LENGTH_BYTES = 132, 12
"""Preamble with prefix, and the element that says how long the rest of the file's own header is (PS3.10, 7.1)."""

INFLATED_AT_ONCE = 1 << 20

MAX_LETTERS, MAX_VALUES = 1024, 64
"""Of one text, and values of one attribute: what is longer is cut before anything looks at it. The standard allows 64
letters (PS3.5, 6.2, LO).
"""

IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Tags whose words are struck out of what is shown."""


@dataclass(frozen=True)
class Frame:
    """One image: where its pixels are and where it lies.

    Positions and directions are DICOM's, in LPS millimetres (PS3.3, C.7.6.2).

    Args:
        path: its file.
        index: its place in the file, from 0.
        number: InstanceNumber, or the place in the file from 1.
        shape: rows, columns.
        position_mm: ImagePositionPatient; None where it is missing, as are the next two.
        directions: ImageOrientationPatient, six cosines.
        spacing_mm: between rows, between columns.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        echo_time_ms: of this frame.
        kind: ImageType or FrameType, with the complex component.
        instance_uid: SOPInstanceUID of the file.
    """

    path: Path
    index: int
    number: int
    shape: tuple[int, int]
    position_mm: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    slope: float
    intercept: float
    echo_time_ms: float | None
    kind: tuple[str, ...]
    instance_uid: str


@dataclass(frozen=True)
class Tags:
    """What a file says about its series; equal in all files of a series but for what `Frame` holds.

    Times in ms, absent text is empty.
    """

    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    patient: tuple[str, str]
    identifiers: frozenset[str]
    transfer_syntax: str
    sop_class: str
    modality: str
    samples_per_pixel: int
    photometric: str
    number: int | None
    description: str
    protocol: str
    sequence_name: str
    image_type: tuple[str, ...]
    scanning_sequence: tuple[str, ...]
    acquisition_contrast: str
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    contrast_agent: str
    b_value: float | None
    images_in_acquisition: int | None
    manufacturer: str
    field_strength_t: float | None
    lossy: bool = False


@dataclass(frozen=True)
class ParsedFile:
    """One file's tags and frames."""

    tags: Tags
    frames: tuple[Frame, ...]
    reads: int = 0
    """How often pydicom read from the file: a measure of its elements."""


def is_dicom(path: Path) -> bool:
    """True when the file has DICOM's preamble and prefix (PS3.10, 7.1), or is a data set without them, as some exports
    are.
    """
    with open_regular(path) as stream:
        head = stream.read(PREFIX_BYTES)
        return head[-4:] == b"DICM" or _is_bare(head)


SHORT_VRS = (
    b"UL",
    b"CS",
    b"SH",
    b"LO",
    b"UI",
    b"DA",
    b"TM",
    b"DT",
    b"PN",
    b"ST",
    b"LT",
    b"IS",
    b"DS",
    b"AE",
    b"AS",
    b"US",
    b"SS",
    b"AT",
)
"""Representations whose length takes two bytes (PS3.5, 7.1.2)."""

FIRST_ELEMENTS = (0x0000, 0x0001, *range(0x0005, 0x0019))
"""Of group 0008, in one of which a data set of an image begins."""

MAX_FIRST_BYTES = 1024


def _is_bare(head: bytes) -> bool:
    """Whether bytes begin a little-endian data set: an element of group 0008 in explicit or implicit VR, and after it
    an element further on.
    """
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if len(head) < PREFIX_BYTES or not (group == 0x0008 and element in FIRST_ELEMENTS):
        return False
    explicit = head[4:6] in SHORT_VRS
    length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
    if length > MAX_FIRST_BYTES or length % 2:
        return False
    following = head[8 + length : 12 + length]
    after = int.from_bytes(following[:2], "little"), int.from_bytes(following[2:], "little")
    return len(following) < 4 or (group, element) < after < (0x0030, 0)


class _Counted:
    """A stream that pydicom may ask only so many times: work is bounded by elements, not by bytes."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.stream, self.limit, self.reads = stream, limit, 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads > self.limit:
            raise TooManyElementsError
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def close(self) -> None:
        """The stream is closed by the one that opened it."""


class TooManyElementsError(Exception):
    """A header holds more elements than any image's."""


def read_dataset(path: Path, *, pixels: bool = False) -> tuple[Any, int]:
    """Returns a file's pydicom data set and how often the stream was read. Call it inside `quiet_pydicom`.

    A data set without preamble and prefix is given the transfer syntax that its bytes show.

    Args:
        path: a regular file.
        pixels: read the pixels as well.

    Raises:
        OSError: it cannot be opened, or is no regular file.
        TooManyElementsError: it holds more elements, or items of sequences, than any image.
        Exception: whatever pydicom raises over corrupt bytes; its words may quote values.
    """
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    with open_regular(path) as stream:
        bare = stream.read(PREFIX_BYTES)[-4:] != b"DICM"
        stream.seek(0)
        syntax = "" if bare else str(pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", ""))
        counted = _Counted(_inflated(stream) if syntax == DEFLATED else stream, MAX_READS)
        dataset = pydicom.dcmread(counted, stop_before_pixels=not pixels, force=bare)
    if not pixels:
        _refuse_swarms(dataset)
    if bare:
        implicit, little = dataset.original_encoding
        dataset.file_meta = FileMetaDataset()
        syntax = NATIVE[0] if implicit else NATIVE[1] if little else NATIVE[2]
    if syntax:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset, counted.reads


def _refuse_swarms(dataset: Any) -> None:
    """Sequences of a stated length are read only when they are asked for; what they hold is counted before."""
    for tag in list(dataset.keys()):
        value = getattr(dataset.get_item(tag), "value", None)
        if isinstance(value, bytes) and (len(value) > MAX_SEQUENCE_BYTES or value.count(ITEM) > MAX_ITEMS):
            raise TooManyElementsError


def _inflated(stream: BinaryIO) -> BinaryIO:
    """A deflated file as one that is not, its own header as it was but for the transfer syntax.

    Counts what comes out while it comes.

    Raises:
        ValueError: it inflates to more than `MAX_INFLATED_BYTES`, or is cut short.
    """
    start = stream.read(PREFIX_BYTES + META_LENGTH_BYTES)
    meta = stream.read(int.from_bytes(start[-4:], "little"))
    target = io.BytesIO()
    target.write(start + meta.replace(DEFLATED.encode(), NATIVE[1].encode().ljust(len(DEFLATED), b"\0"), 1))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while block := stream.read(INFLATED_AT_ONCE):
        while block and not inflater.eof:
            target.write(inflater.decompress(block, INFLATED_AT_ONCE))
            block = inflater.unconsumed_tail
            if target.tell() > MAX_INFLATED_BYTES:
                raise InflationError(
                    f"inflates to more than {MAX_INFLATED_BYTES >> 20} MiB. Export it uncompressed if you trust it."
                )
    if not inflater.eof:
        raise InflationError("its deflated stream is cut short. Copy the file again from its source.")
    target.seek(0)
    return target


class InflationError(ValueError):
    """A deflated file that is not inflated; its words say why and quote nothing."""


def parse(path: Path, name: str) -> ParsedFile | None:
    """Reads a file's header; None for a DICOMDIR, which is a table of contents. Call it inside `quiet_pydicom`.

    Args:
        path: the file.
        name: how messages call it.

    Raises:
        FileFormatError: the file is truncated, corrupt or too large.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FileFormatError(
            f"{name}: larger than {MAX_FILE_BYTES >> 30} GiB. Give single slices or a shorter multi-frame object."
        )
    sop_class = ""
    try:
        sop_class = class_in_meta(path)
        if sop_class == DIRECTORY:
            return None
        dataset, reads = read_dataset(path)
        _refuse_cut(dataset, sop_class or _text(dataset, "SOPClassUID"), path.stat().st_size, name)
        return ParsedFile(_tags(dataset), tuple(_frames(dataset, path)), reads)
    except FileFormatError:
        raise
    except NotRegularError as error:
        raise FileFormatError(f"{name}: {error.strerror}. Give the file itself.") from None
    except InflationError as error:
        raise FileFormatError(f"{name}: {error}") from None
    except TooManyElementsError:
        raise FileFormatError(
            f"{name}: its header holds more elements than any image's. Do not trust where it came from."
        ) from None
    except MemoryError:
        raise FileFormatError(
            f"{name}: its header claims more than memory holds. The file is corrupt; copy it again from its source."
        ) from None
    except Exception as error:
        # pydicom raises whatever a corrupt byte leads to; its words may quote the value of a tag, so only the kind is
        # told.
        raise FileFormatError(
            f"{name}: the DICOM header is truncated or corrupt ({type(error).__name__}). Copy the file again "
            "from its source."
        ) from None


def class_in_meta(path: Path) -> str:
    """The class that a file's own header names; empty where it has no such header."""
    import pydicom

    with open_regular(path) as stream:
        if stream.read(PREFIX_BYTES)[-4:] != b"DICM":
            return ""
    return str(pydicom.filereader.read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))


def _refuse_cut(dataset: Any, sop_class: str, size: int, name: str) -> None:
    """A file that ends between two elements looks whole to pydicom; what every image must have tells."""
    needed = (
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        *(("Rows", "Columns", "BitsAllocated") if sop_class in MR_CLASSES else ()),
    )
    missing = next((keyword for keyword in needed if not dataset.get(keyword)), None)
    if missing:
        raise FileFormatError(
            f"{name}: {missing} is missing: the file is cut short or no valid DICOM. Copy the file again "
            "from its source."
        )
    if sop_class in MR_CLASSES and str(dataset.file_meta.get("TransferSyntaxUID", "")) in NATIVE:
        frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
        pixels = frames * samples * int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
        if size < pixels:
            raise FileFormatError(
                f"{name}: has {size:,} bytes, but its pixels alone need {pixels:,}. Copy the file again "
                "from its source."
            )


def _tags(dataset: Any) -> Tags:
    return Tags(
        series_uid=_text(dataset, "SeriesInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        patient=(
            _text(dataset, "PatientID").upper(),
            " ".join(_text(dataset, "PatientName").replace("^", " ").split()).upper(),
        ),
        identifiers=frozenset(word for keyword in IDENTIFIERS for word in _words(_text(dataset, keyword))),
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        sop_class=_text(dataset, "SOPClassUID"),
        modality=_text(dataset, "Modality"),
        samples_per_pixel=int(dataset.get("SamplesPerPixel") or 1),
        photometric=_text(dataset, "PhotometricInterpretation"),
        number=None if _number(dataset, "SeriesNumber") is None else int(dataset.SeriesNumber),
        description=_text(dataset, "SeriesDescription"),
        protocol=_text(dataset, "ProtocolName"),
        sequence_name=_text(dataset, "SequenceName") or _text(dataset, "PulseSequenceName"),
        image_type=_list(dataset, "ImageType"),
        scanning_sequence=_list(dataset, "ScanningSequence") or _enhanced_sequence(dataset),
        acquisition_contrast=_anywhere(dataset, "AcquisitionContrast", str) or "",
        repetition_time_ms=_anywhere(dataset, "RepetitionTime", float),
        echo_time_ms=_anywhere(dataset, "EchoTime", float) or _anywhere(dataset, "EffectiveEchoTime", float),
        inversion_time_ms=_anywhere(dataset, "InversionTime", float) or _first_inversion_time(dataset),
        contrast_agent=_contrast_agent(dataset),
        b_value=_anywhere(dataset, "DiffusionBValue", float),
        images_in_acquisition=None
        if _number(dataset, "ImagesInAcquisition") is None
        else int(dataset.ImagesInAcquisition),
        manufacturer=_text(dataset, "Manufacturer"),
        field_strength_t=_number(dataset, "MagneticFieldStrength"),
        lossy=_text(dataset, "LossyImageCompression") == "01"
        or str(dataset.file_meta.get("TransferSyntaxUID", "")) in LOSSY,
    )


def _frames(dataset: Any, path: Path) -> Iterator[Frame]:
    count = int(dataset.get("NumberOfFrames") or 1)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not 1 <= count <= MAX_FRAMES or (per_frame is not None and len(per_frame) != count):
        raise ValueError("frames")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    for index in range(count):
        # A tag is looked for in the frame's own groups, then in the shared ones, then at the top.
        places = [*(per_frame[index : index + 1] if per_frame else []), *(shared[:1] if shared else []), dataset]
        yield _frame(places, dataset, path, index, multi=count > 1)


def _frame(places: list[Any], dataset: Any, path: Path, index: int, *, multi: bool) -> Frame:
    kind = _found(places, "MRImageFrameTypeSequence", "FrameType") or dataset.get("ImageType")
    component = _found(places, "MRImageFrameTypeSequence", "ComplexImageComponent")
    slope = _found(places, "PixelValueTransformationSequence", "RescaleSlope")
    return Frame(
        path=path,
        index=index,
        number=index + 1 if multi else int(_number(dataset, "InstanceNumber") or 0),
        shape=(int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)),
        position_mm=_floats(_found(places, "PlanePositionSequence", "ImagePositionPatient"), 3),
        directions=_floats(_found(places, "PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        spacing_mm=_floats(_found(places, "PixelMeasuresSequence", "PixelSpacing"), 2),
        slope=1.0 if slope in (None, "") else float(slope),
        intercept=float(_found(places, "PixelValueTransformationSequence", "RescaleIntercept") or 0),
        echo_time_ms=_as_float(_found(places, "MREchoSequence", "EffectiveEchoTime") or dataset.get("EchoTime")),
        kind=(*_strings(kind), *_strings(component)),
        instance_uid=_text(dataset, "SOPInstanceUID"),
    )


def _found(places: list[Any], group: str, keyword: str) -> Any:
    for place in places:
        items = place.get(group)
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return places[-1].get(keyword)


def _anywhere(dataset: Any, keyword: str, kind: type) -> Any:
    """The first value of a tag at the top, in the shared groups, or in the first frame's; None where it is nowhere or
    empty.
    """
    for place in (
        dataset,
        *_groups(dataset, "SharedFunctionalGroupsSequence"),
        *_groups(dataset, "PerFrameFunctionalGroupsSequence"),
    ):
        value = place.get(keyword)
        if value in (None, ""):
            value = next(
                (
                    item.get(keyword)
                    for element in place
                    if element.VR == "SQ"
                    for item in element.value[:1]
                    if item.get(keyword) is not None
                ),
                None,
            )
        if value not in (None, ""):
            return kind(value[0] if hasattr(value, "append") else value)
    return None


def _groups(dataset: Any, keyword: str) -> list[Any]:
    return list(dataset.get(keyword, [])[:1])


def _first_inversion_time(dataset: Any) -> float | None:
    value = _anywhere(dataset, "InversionTimes", lambda value: value)  # type: ignore[arg-type]
    return _as_float(value)


def _enhanced_sequence(dataset: Any) -> tuple[str, ...]:
    """The words of ScanningSequence as enhanced objects spell them (PS3.3, C.8.13.1 EchoPulseSequence,
    EchoPlanarPulseSequence).
    """
    pulse = _anywhere(dataset, "EchoPulseSequence", str) or ""
    names = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(pulse, ())
    inversion = ("IR",) if _anywhere(dataset, "InversionRecovery", str) == "YES" else ()
    planar = ("EP",) if _anywhere(dataset, "EchoPlanarPulseSequence", str) == "YES" else ()
    return (*names, *inversion, *planar)


def _contrast_agent(dataset: Any) -> str:
    """What names a contrast agent; an enhanced object lists agents in a sequence, a volume above 0 also says that there
    was one.
    """
    for item in dataset.get("ContrastBolusAgentSequence") or []:
        return _text(item, "CodeMeaning") or "agent listed"
    text = _text(dataset, "ContrastBolusAgent")
    if text.lower() not in ("", "none", "no", "n", "0", "without", "n/a", "unknown"):
        return text
    return "a volume is given" if (_number(dataset, "ContrastBolusVolume") or 0) > 0 and not text else ""


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    # What could steer a terminal is no part of a text (PS3.5, 6.1.3).
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)[:MAX_LETTERS]).split())


def _list(dataset: Any, keyword: str) -> tuple[str, ...]:
    return _strings(dataset.get(keyword))


def _strings(value: Any) -> tuple[str, ...]:
    if value in (None, ""):
        return ()
    return tuple(
        str(word)[:MAX_LETTERS].upper() for word in ([value] if isinstance(value, str) else list(value)[:MAX_VALUES])
    )


def _words(text: str) -> list[str]:
    """Words of two letters or digits and more, in lower case, parted as `survey.strike_out` parts them."""
    return [word.lower() for word in re.findall(r"[^\W_]+", text) if len(word) > 1]


def _number(dataset: Any, keyword: str) -> float | None:
    return _as_float(dataset.get(keyword))


def _as_float(value: Any) -> float | None:
    try:
        return None if value in (None, "") else float(value[0] if hasattr(value, "append") else value)
    except (TypeError, ValueError):
        return None


def _floats(value: Any, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count else None
