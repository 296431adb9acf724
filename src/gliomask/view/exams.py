"""What is looked at: the scans of a case, a result, the reference, and the maps beside the result, found on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gliomask.errors import CaseError, UsageError, printable
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, find_cases
from gliomask.io.label_maps import LabelMapFile, find_label_maps
from gliomask.labels import LabelConvention, convention
from gliomask.results.layout import CaseLayout
from gliomask.results.record import RunRecord, read_record
from gliomask.results.reports import recorded_scans


@dataclass(frozen=True)
class LabelFile:
    """A label map, and how its labels are written."""

    path: Path
    labels: LabelConvention


@dataclass(frozen=True)
class MapFile:
    """A probability or uncertainty, 0 to 1.

    Args:
        title: in words.
        path: the file.
        channel: which of a 4-D file; None for a 3-D file.
    """

    title: str
    path: Path
    channel: int | None = None


@dataclass(frozen=True, eq=False)
class Exam:
    """One visit, as it is looked at.

    Args:
        title: what it is called beside another.
        files: the scans.
        segmentation: the result; None where only scans are looked at.
        reference: the label map that it is held against.
        maps: what the result says beside its labels.
        record: the run record of the result; None where there is none.
    """

    title: str
    files: CaseFiles
    segmentation: LabelFile | None
    reference: LabelFile | None
    maps: tuple[MapFile, ...] = ()
    record: RunRecord | None = None

    @property
    def case_id(self) -> str:
        """The name of the case."""
        return self.files.case_id


def find_exam(case: Path, result: Path | None = None, *, labels: str | None = None, title: str | None = None) -> Exam:
    """Returns what there is to look at.

    Args:
        case: the folder of a case or a 4-D file; or a result, whose run record names its scans.
        result: a label map, or a folder of results that holds the case's.
        labels: convention of the label map, where no run record says it.
        title: of the exam; None for the name of the case.

    Raises:
        CaseError: the scans or the result cannot be found, or there are several.
        UsageError: the label convention is neither recorded nor given, or contradicts the record.
    """
    if not case.exists():
        raise UsageError(f"{case} does not exist. Give the folder of a case, or a result of gliomask segment.")
    scans = None if _is_result(case) else _one_case(case)
    label_map = _result(case, None) if scans is None else None if result is None else _result(result, scans.case_id)
    if label_map is None:
        assert scans is not None
        return Exam(title or scans.case_id, scans, None, _reference(scans))
    record = read_record(CaseLayout(label_map.path).record)
    files = scans or recorded_scans(label_map.path, record)
    if record is not None:
        files = replace(files, case_id=record.case)
    return Exam(
        title or files.case_id,
        files,
        _segmentation(label_map, record, labels),
        _reference(files),
        _maps(label_map.path),
        record,
    )


def _is_result(place: Path) -> bool:
    """Whether a place holds a label map with its run record, rather than scans."""
    if place.is_file():
        return nifti.is_nifti_name(place) and CaseLayout(place).record.is_file()
    return any(place.glob("*_run.json"))


def _one_case(place: Path) -> CaseFiles:
    cases = find_cases(place)
    if len(cases) != 1:
        raise CaseError(f"{place} holds {len(cases)} cases. Give the folder of one.")
    return cases[0]


def _result(place: Path, case_id: str | None) -> LabelMapFile:
    label_maps = find_label_maps(place)
    if case_id in label_maps:
        return label_maps[str(case_id)]
    if len(label_maps) == 1:
        return next(iter(label_maps.values()))
    if not label_maps:
        raise CaseError(f"{place}: no label map found. Give one, or a folder that gliomask segment wrote.")
    which = "" if case_id is None else f", none of them of {printable(case_id)}"
    raise CaseError(f"{place}: holds {len(label_maps)} label maps{which}. Give the one that is to be shown.")


def _segmentation(label_map: LabelMapFile, record: RunRecord | None, labels: str | None) -> LabelFile:
    recorded = None if record is None else record.options.get("labels")
    if recorded is not None and labels is not None and recorded != labels:
        raise UsageError(
            f"{label_map.path}: its run record says labels '{recorded}', not '{labels}'. Leave --labels out."
        )
    name = recorded or labels
    if name is not None:
        return LabelFile(label_map.path, convention(str(name)))
    if label_map.labels is None:
        raise UsageError(
            f"{label_map.path}: nothing says how its labels are written. Give --labels brats2021, brats2023 or "
            "decathlon."
        )
    return LabelFile(label_map.path, label_map.labels)


def _reference(files: CaseFiles) -> LabelFile | None:
    return None if files.reference is None else LabelFile(files.reference, files.labels)


def _maps(label_map: Path) -> tuple[MapFile, ...]:
    layout = CaseLayout(label_map)
    probabilities = [
        MapFile(f"Probability: {name}", layout.probabilities, channel)
        for channel, name in enumerate(("necrotic core", "oedema", "enhancing tumour"), start=1)
    ]
    others = [
        MapFile("Uncertainty", layout.uncertainty),
        MapFile("Disagreement of mirrored passes", layout.disagreement),
    ]
    return tuple(one for one in (*probabilities, *others) if one.path.is_file())
