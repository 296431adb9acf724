"""The cases of a study, read from what a run left: their records and label maps, and the table of a cohort where there
is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gliomask.arrays import LabelMap
from gliomask.cohort.place import CohortPlace
from gliomask.cohort.rows import CohortRow, row_of_record
from gliomask.cohort.runner import open_table, reopen
from gliomask.errors import CaseError, FileFormatError
from gliomask.geometry import Geometry
from gliomask.io.brats import read_label_map
from gliomask.labels import Region, convention
from gliomask.results.layout import FRAME, CaseLayout
from gliomask.results.record import RunRecord, read_record

ENDING = "_run.json"


@dataclass(frozen=True)
class StudyCase:
    """One case of a study.

    Args:
        row: what became of it.
        layout: where its results are; None where it has none.
        record: its run record; None where it has none.
    """

    row: CohortRow
    layout: CaseLayout | None = None
    record: RunRecord | None = None

    @property
    def case(self) -> str:
        """Its id."""
        return self.row.case

    @property
    def done(self) -> bool:
        """Whether it has results."""
        return self.record is not None

    def volume_ml(self, region: Region) -> float | None:
        """Volume of a region."""
        value: float | None = getattr(self.row, f"{region.value.lower()}_ml")
        return value

    def label_map(self, *, in_frame: bool = False) -> tuple[LabelMap, Geometry]:
        """Reads its label map.

        Args:
            in_frame: the one in BraTS space; prepared cases have no other.

        Raises:
            InputError: it cannot be read.
        """
        if self.layout is None or self.record is None:
            raise CaseError(f"Case {self.case}: has no label map.")
        labels = convention(str(self.record.options.get("labels", "brats2021")))
        path = self.layout.label_map_in(FRAME) if in_frame and self.record.route == "native" else self.layout.label_map
        return read_label_map(path, labels)


def read_cases(place: Path) -> list[StudyCase]:
    """Returns every case of a cohort, or of a folder that `gliomask segment` filled, by id.

    Raises:
        CaseError: there is none.
        FileFormatError: a record or the cohort is damaged.
    """
    cohort = CohortPlace(place)
    if cohort.exists:
        rows = open_table(reopen(cohort), write=False).rows
        return [_with_results(row, place) for row in rows.values()]
    recorded = sorted(_records(place), key=lambda case: case.case)
    if not recorded:
        raise CaseError(
            f"{place}: holds no results of gliomask. Give the output folder of gliomask cohort or gliomask segment."
        )
    return recorded


def _with_results(row: CohortRow, place: Path) -> StudyCase:
    if row.status != "done":
        return StudyCase(row)
    layout = CaseLayout(place / row.label_map)
    return StudyCase(row, layout, read_record(layout.record))


def _records(place: Path) -> Iterator[StudyCase]:
    if not place.is_dir():
        return
    for path in sorted([*place.glob(f"*{ENDING}"), *place.glob(f"*/*{ENDING}")]):
        try:
            record = read_record(path)
        except FileFormatError:
            continue
        layout = CaseLayout(path.with_name(path.name.removesuffix(ENDING) + "_seg.nii.gz"))
        if record is not None and layout.label_map.is_file():
            yield StudyCase(row_of_record(record, layout.label_map.relative_to(place).as_posix(), ""), layout, record)


def scans_of(case: StudyCase) -> dict[str, Path]:
    """Returns the scans of a case by sequence, as its record names them; those that are gone are left out."""
    sequences = {} if case.record is None else case.record.sequences
    return {sequence.value: Path(path) for sequence, path in sequences.items() if Path(path).is_file()}


def conventions_of(place: Path) -> str:
    """Returns the label convention that all cases of a folder were written in.

    Raises:
        CaseError: there are two.
    """
    names = {
        str(case.record.options.get("labels", "brats2021")) for case in read_cases(place) if case.record is not None
    }
    if len(names) > 1:
        raise CaseError(
            f"{place}: its label maps are written in {len(names)} conventions ({', '.join(sorted(names))}). Segment "
            "all cases in one."
        )
    return next(iter(names), "brats2021")
