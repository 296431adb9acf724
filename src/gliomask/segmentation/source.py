"""What is given to be segmented, and what was read of it: files, DICOM or arrays in, scans in memory out.

A `Source` says what it is before a scan is read, so that whatever can be refused is refused first. `Scans` are in
memory, and know no format any more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from gliomask.case import Case
from gliomask.errors import CaseError, GeometryError, UsageError
from gliomask.examination import Examination, Scan
from gliomask.files.hashing import sha256_of
from gliomask.files.paths import as_given
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, ReadFiles, explicit_case, find_cases, fit, holds_dicom, read_begun
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence, refuse_too_few

if TYPE_CHECKING:
    from gliomask.io.dicom.archive import Source as DicomPlace

Before = Callable[[str], None]
"""Called with the name of the case before a scan is read; what it raises stops the reading."""

Headers = Callable[[int, int], None]
"""Called with the number of DICOM headers read so far and the number of files."""

BRATS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Of arrays that come without one: 1 mm, I to the left, J to posterior, K to superior, as BraTS has it."""


@dataclass(frozen=True, eq=False)
class Scans:
    """The scans of one patient in memory, on one grid or several.

    Args:
        case_id: the name used in results and messages.
        prepared: returns them as a case, on the grid of the first; raises GeometryError where they lie on different
            grids.
        examination: returns them each on its own grid; raises CaseError where they cannot be had so.
        same_grid: whether all lie on one grid.
        headers: the NIfTI header of each, for the codes of the results; empty where there are none.
        hashes: SHA-256 of what was read, by its path or name.
        without: sequences that the patient does not have.
        straight: they are prepared by their kind, and nothing else is tried, as for one file that holds all sequences.
        dicom: which series were taken, and why; None where the scans did not come from DICOM.
        words: the same in words.
        asked: see `Source.asked`.
    """

    case_id: str
    prepared: Callable[[], Case]
    examination: Callable[[], Examination]
    same_grid: bool
    headers: Mapping[Sequence, bytes] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[Sequence] = frozenset()
    straight: bool = False
    dicom: Mapping[str, Any] | None = None
    words: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """The scans in one line, without their headers' bytes."""
        grids = "one grid" if self.same_grid else "several grids"
        return f"Scans({self.case_id!r}, {grids}, {'DICOM' if self.dicom is not None else f'{len(self.hashes)} files'})"


class Source(Protocol):
    """Something to segment."""

    @property
    def name(self) -> str:
        """Of the case, as far as it is known before reading."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders that are read, and references that belong to them: no result is ever written over one."""

    @property
    def without(self) -> frozenset[Sequence]:
        """Sequences that the patient does not have."""

    @property
    def asked(self) -> dict[str, Any]:
        """Options of the source that the results depend on, in plain values, for the record and for resuming."""

    def describe(self) -> str:
        """What was found, for people to check."""

    def hashes(self) -> dict[str, str]:
        """SHA-256 of what would be read, by its path, without keeping it."""

    def read(self, before: Before = lambda name: None, headers: Headers | None = None) -> Scans:
        """Reads the scans."""


@dataclass(frozen=True)
class FileSource:
    """NIfTI files of one case: four, or one 4-D file. A BIDS session is such a case, too."""

    files: CaseFiles

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.files.case_id

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The scans and the reference."""
        reference = () if self.files.reference is None else (self.files.reference,)
        return (*self.files.paths(), *self.files.sequences.values(), *reference)

    @property
    def without(self) -> frozenset[Sequence]:
        """Sequences that the patient does not have."""
        return self.files.without

    @property
    def asked(self) -> dict[str, Any]:
        """None."""
        return {}

    def describe(self) -> str:
        """Which file is which sequence."""
        return self.files.describe()

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file."""
        return {str(path): sha256_of(path) for path in self.files.paths()}

    def read(self, before: Before = lambda name: None, headers: Headers | None = None) -> Scans:  # noqa: ARG002 - there are none
        """Reads the files, each once. Raises as `io.brats.read_files`."""
        before(self.name)
        read = read_begun(self.files)
        by_sequence = {} if self.files.channels else dict(zip(self.files.used(), read.volumes, strict=True))
        return Scans(
            self.name,
            read.case,
            lambda: _examination(read),
            all(read.volumes[0].geometry.same_grid(volume.geometry) for volume in read.volumes),
            {sequence: volume.header for sequence, volume in by_sequence.items()},
            read.hashes,
            self.files.without,
            straight=self.files.channels is not None,
        )


def _examination(read: ReadFiles) -> Examination:
    if read.files.channels is not None:
        raise CaseError(
            f"Case {read.files.case_id}: {read.files.channels} holds all sequences on one grid; native-space "
            "preprocessing takes a file for each."
        )
    volumes = dict(zip(read.files.used(), read.volumes, strict=True))
    return Examination(
        read.files.case_id,
        {
            sequence: Scan(volume.values, volume.geometry, str(read.files.sequences[sequence]))
            for sequence, volume in volumes.items()
        },
    )


@dataclass(frozen=True, eq=False)
class DicomSource:
    """DICOM files of one examination: a folder, a zip, a file, or what lies in memory.

    Args:
        place: see `io.dicom.read.read_examination`.
        series: number or SeriesInstanceUID of the series to take, by sequence; the others are recognised.
        without: sequences that the patient does not have.
        case_id: what the case is called; None: as the folder or archive is, unless that identifies the patient.
    """

    place: DicomPlace
    series: Mapping[Sequence, str] = field(default_factory=dict)
    without: frozenset[Sequence] = frozenset()
    case_id: str | None = None

    def __post_init__(self) -> None:
        refuse_too_few(self.without)
        if not isinstance(self.place, str | Path | bytes | bytearray | memoryview):
            # An iterator could be read once only.
            object.__setattr__(self, "place", tuple(self.place))

    @property
    def name(self) -> str:
        """The name of the folder or archive.

        Where it identifies the patient, the case gets another name, which is known after the headers are read.
        """
        if self.case_id is not None:
            return self.case_id
        if not isinstance(self.place, str | Path):
            return "examination"
        name = as_given(Path(self.place)).name
        return name[:-4] if name.lower().endswith(".zip") else name

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The folder, archive or files."""
        places = (
            (self.place,) if isinstance(self.place, str | Path) else self.place if isinstance(self.place, tuple) else ()
        )
        return tuple(Path(place) for place in places if isinstance(place, str | Path))

    @property
    def asked(self) -> dict[str, Any]:
        """Which series were named."""
        return {"series": {sequence.value: number for sequence, number in sorted(self.series.items())}}

    def describe(self) -> str:
        """Nothing: what is which is known after reading the headers."""
        return ""

    def hashes(self) -> dict[str, str]:
        """SHA-256 of all files of the place together, by its name; bytes in memory count as a file.

        Empty where something else is among them.
        """
        if isinstance(self.place, str | Path):
            return {str(self.place): _hash_of(Path(self.place))}
        items = self.place if isinstance(self.place, tuple) else (self.place,)
        if not all(isinstance(item, str | Path | bytes | bytearray | memoryview) for item in items):
            # A stream could not be read again, and a data set has no bytes of its own.
            return {}
        return dict(_hash_of_item(item, position) for position, item in enumerate(items, start=1))

    def read(self, before: Before = lambda name: None, headers: Headers | None = None) -> Scans:
        """Reads the series. Raises as `io.dicom.read.read`."""
        from gliomask.io.dicom.read import read

        needed = [sequence for sequence in PAPER_ORDER if sequence not in self.without]
        reading = read(
            self.place,
            self.series,
            needed=needed,
            before=lambda name, _: before(self.case_id or name),
            progress=headers,
        )
        kept = {sequence: scan for sequence, scan in reading.examination.scans.items() if sequence not in self.without}
        examination = Examination(self.case_id or reading.examination.case_id, kept)
        scans = of_examination(
            examination, self.without, self.hashes(), reading.inspection.values, reading.inspection.text
        )
        return replace(scans, asked=self.asked)


def _hash_of_item(item: Any, position: int) -> tuple[str, str]:
    if isinstance(item, str | Path):
        return str(item), sha256_of(Path(item))
    return f"item {position}", sha256(item).hexdigest()


def _hash_of(place: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and contents of all its files in order."""
    if not place.is_dir():
        return sha256_of(place)
    digest = sha256()
    for path in sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink()):
        digest.update(f"{path.relative_to(place)}\0{sha256_of(path)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class MemorySource:
    """Arrays or images that are in memory already, each on its grid."""

    examination: Examination
    without: frozenset[Sequence] = frozenset()

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.examination.case_id

    @property
    def inputs(self) -> tuple[Path, ...]:
        """None."""
        return ()

    @property
    def asked(self) -> dict[str, Any]:
        """None."""
        return {}

    def describe(self) -> str:
        """Which sequences there are."""
        return f"{self.name}: {', '.join(sequence.value for sequence in self.examination.scans)}, in memory"

    def hashes(self) -> dict[str, str]:
        """None: there are no files."""
        return {}

    def read(self, before: Before = lambda name: None, headers: Headers | None = None) -> Scans:  # noqa: ARG002 - there are none
        """Returns what is there."""
        before(self.name)
        return of_examination(self.examination, self.without)


@dataclass(frozen=True, eq=False)
class CaseSource:
    """A case that was read before."""

    case: Case

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.case.case_id

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that it came from."""
        return tuple(dict.fromkeys(self.case.sources.values()))

    @property
    def without(self) -> frozenset[Sequence]:
        """Sequences that the patient does not have."""
        return self.case.without

    @property
    def asked(self) -> dict[str, Any]:
        """None."""
        return {}

    def describe(self) -> str:
        """Which sequences there are."""
        return repr(self.case)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files that it came from."""
        return {str(path): sha256_of(path) for path in self.inputs}

    def read(self, before: Before = lambda name: None, headers: Headers | None = None) -> Scans:  # noqa: ARG002 - there are none
        """Returns what is there."""
        before(self.name)
        case = self.case
        sources = {sequence: str(case.sources.get(sequence, case.case_id)) for sequence in case.sequences}
        first = {} if case.header is None else {case.sequences[0]: case.header}

        def examination() -> Examination:
            return Examination(
                case.case_id,
                {
                    sequence: Scan(case.volumes[sequence], case.geometry, sources[sequence])
                    for sequence in case.sequences
                },
            )

        return Scans(
            case.case_id,
            lambda: case,
            examination,
            same_grid=True,
            headers=first,
            hashes=self.hashes(),
            without=case.without,
        )


def of_examination(
    examination: Examination,
    without: frozenset[Sequence] = frozenset(),
    hashes: Mapping[str, str] | None = None,
    dicom: Mapping[str, Any] | None = None,
    words: str = "",
) -> Scans:
    """Returns the scans of an examination; as a case, where all lie on one grid."""
    ordered = {sequence: examination.scans[sequence] for sequence in PAPER_ORDER if sequence in examination.scans}
    first = next(iter(ordered.values()))
    same = all(first.geometry.same_grid(scan.geometry) for scan in ordered.values())

    def prepared() -> Case:
        if not same:
            grids = ", ".join(f"{sequence.value} {scan.geometry}" for sequence, scan in ordered.items())
            raise GeometryError(
                f"Case {examination.case_id}: its sequences lie on different grids: {grids}. Register and resample "
                "them to one grid first."
            )
        return fit(
            Case(
                examination.case_id,
                {sequence: scan.volume for sequence, scan in ordered.items()},
                first.geometry,
                without=without,
            )
        )

    return Scans(
        examination.case_id,
        prepared,
        lambda: examination,
        same,
        {},
        dict(hashes or {}),
        without,
        dicom=dicom,
        words=words,
    )


Given = Source | Case | Examination | str | os.PathLike[str] | bytes | Mapping[str, Any] | Iterable[Any]
"""What `open_source` takes."""


def open_source(
    given: Given,
    *,
    affine: npt.ArrayLike | None = None,
    without: Iterable[str] = (),
    series: Mapping[str, str | int] | None = None,
    case_id: str = "array",
) -> Source:
    """Returns the source that something stands for. No scan is read.

    Args:
        given: a folder of one case, a 4-D file, a folder, zip or file of DICOM, by its path; a mapping from sequence
            names to arrays (I, J, K), to nibabel images, or to paths of NIfTI files; a list of DICOM paths, bytes,
            streams or pydicom data sets, or the bytes of a zip; a `Case`; an `Examination`.
        affine: (4, 4), voxel index to RAS millimetres, with arrays only. Without it axes are taken to be BraTS's.
        without: names of sequences that the patient does not have.
        series: with DICOM, number or SeriesInstanceUID of the series to take, by sequence name.
        case_id: what arrays and images in memory are called.

    Raises:
        UsageError: it is none of these, or an argument does not go with it.
        InputError: there is no case, or several.
    """
    absent = frozenset(map(parse_sequence, without))
    chosen = {parse_sequence(name): str(number) for name, number in (series or {}).items()}
    source = _opened(given, affine, absent, chosen, case_id)
    if affine is not None and not isinstance(given, Mapping):
        raise UsageError("An affine is given with arrays only; files and cases carry their own.")
    if chosen and not isinstance(source, DicomSource):
        raise UsageError("Series are named with DICOM files only, and there are none.")
    if absent and isinstance(given, Case | CaseSource):
        raise UsageError("A Case says itself what it is without; give `without` with arrays and folders only.")
    return source


def _opened(
    given: Any, affine: npt.ArrayLike | None, absent: frozenset[Sequence], series: Mapping[Sequence, str], case_id: str
) -> Source:
    if isinstance(given, FileSource | DicomSource | MemorySource | CaseSource):
        return given
    if isinstance(given, Case):
        return CaseSource(given)
    if isinstance(given, Examination):
        return MemorySource(given, absent)
    if isinstance(given, CaseFiles):
        return FileSource(given)
    if isinstance(given, Mapping):
        return _of_mapping(given, affine, absent, case_id)
    if isinstance(given, bytes | bytearray | memoryview):
        return DicomSource(bytes(given), series, absent)
    if isinstance(given, str | os.PathLike):
        return _of_path(Path(given), absent, series)
    if isinstance(given, np.ndarray) or hasattr(given, "dataobj"):
        raise UsageError(
            "One array or image says not which sequence it is. Give a mapping such as {'flair': ..., 't1': ..., "
            "'t1ce': ..., 't2': ...}."
        )
    if isinstance(given, Iterable):
        return _of_list(list(given), absent, series)
    raise UsageError(
        f"A {type(given).__name__} cannot be segmented. Give a folder, DICOM files, a Case, or a mapping from "
        "sequence names to arrays or files."
    )


def _of_path(path: Path, absent: frozenset[Sequence], series: Mapping[Sequence, str]) -> Source:
    if path.exists() and holds_dicom(path):
        return DicomSource(path, series, absent)
    cases = find_cases(path, without=absent)
    if len(cases) > 1:
        raise UsageError(
            f"{path} holds {len(cases)} cases; gliomask.segment takes one. For more: the command gliomask segment, "
            "or gliomask.Segmenter."
        )
    return FileSource(cases[0])


def _of_list(items: list[Any], absent: frozenset[Sequence], series: Mapping[Sequence, str]) -> Source:
    paths = [Path(item) for item in items if isinstance(item, str | os.PathLike)]
    if items and len(paths) == len(items) and all(map(nifti.is_nifti_name, paths)):
        raise UsageError(
            "A list of NIfTI files says not which sequence is which. Give a mapping such as {'flair': ..., 't1': "
            "..., 't1ce': ..., 't2': ...}, or their folder."
        )
    if not items or any(isinstance(item, np.ndarray | int | float) for item in items):
        raise UsageError(
            "A list is taken for DICOM files: paths, bytes, streams or pydicom data sets. Give arrays as a mapping "
            "from sequence names."
        )
    return DicomSource(tuple(items), series, absent)


def _of_mapping(
    given: Mapping[str, Any], affine: npt.ArrayLike | None, absent: frozenset[Sequence], case_id: str
) -> Source:
    values = {parse_sequence(name): value for name, value in given.items()}
    if len(values) < len(given):
        raise UsageError(f"Two arrays stand for one sequence: {', '.join(map(str, given))}.")
    paths = [isinstance(value, str | os.PathLike) for value in values.values()]
    if any(paths):
        if not all(paths) or affine is not None:
            raise UsageError(
                "A mapping holds either paths of files, or arrays, or images; not several kinds, and an affine with "
                "arrays only."
            )
        files = {sequence: Path(value) for sequence, value in values.items()}
        return FileSource(explicit_case(_shared_name(files.values()) or case_id, files, without=absent))
    images = [hasattr(value, "dataobj") for value in values.values()]
    if any(images):
        if not all(images) or affine is not None:
            raise UsageError(
                "A mapping holds either paths of files, or arrays, or images; not several kinds, and an affine with "
                "arrays only."
            )
        return MemorySource(
            Examination(case_id, {sequence: _scan_of(sequence, image) for sequence, image in values.items()}), absent
        )
    return _of_arrays(values, BRATS_AFFINE if affine is None else np.asarray(affine, np.float64), absent, case_id)


def _shared_name(paths: Iterable[Path]) -> str:
    """What the names of a case's files have in common up to a word's end, as the patient's name; empty where nothing
    is.
    """
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*map(nifti.stem, paths), strict=False))
    shared = re.match(r"(.*\w)[\W_]", "".join(letters[0] for letters in alike))
    return shared[1] if shared else ""


def _scan_of(sequence: Sequence, image: Any) -> Scan:
    volume = np.asanyarray(image.dataobj)
    return Scan(
        np.asarray(volume, np.float32),
        Geometry(volume.shape, np.asarray(image.affine, np.float64)),
        f"the image of {sequence.value}",
    )


def _of_arrays(
    values: Mapping[Sequence, Any], affine: npt.NDArray[np.float64], absent: frozenset[Sequence], case_id: str
) -> Source:
    volumes = {}
    for sequence, value in values.items():
        array = np.asarray(value)
        if array.dtype.kind not in "iufb":
            raise UsageError(
                f"{sequence.value}: a {type(value).__name__} of {array.dtype} is no array of real numbers. Give arrays "
                "(I, J, K), nibabel images, or paths of NIfTI files."
            )
        volumes[sequence] = np.asarray(array, np.float32)
    shape = next(iter(volumes.values())).shape if volumes else ()
    return CaseSource(Case(case_id, volumes, Geometry(shape, affine), without=absent))
