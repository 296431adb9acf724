"""DICOM to NIfTI: each sequence in its own grid, with a record of what was chosen and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gliomask.errors import UsageError
from gliomask.files.atomic import all_or_none, refuse_existing, refuse_unwritable
from gliomask.io.dicom.archive import Source, opened
from gliomask.io.dicom.describe import Inspection, describe
from gliomask.io.dicom.drawn_on import CONVERSION
from gliomask.io.dicom.quiet import quiet_pydicom
from gliomask.io.dicom.read import read
from gliomask.io.dicom.survey import Progress, choose, survey
from gliomask.io.nifti import write_volume
from gliomask.sequences import Sequence, parse_sequence


def parse_overrides(options: tuple[str, ...]) -> dict[Sequence, str]:
    """Returns number or SeriesInstanceUID by sequence from words such as `t1=4`.

    Raises:
        UsageError: a word is not of that form, or names a sequence twice.
    """
    overrides: dict[Sequence, str] = {}
    for option in options:
        name, equals, wanted = option.partition("=")
        if not equals or not wanted:
            raise UsageError(
                f"--series {option}: write the sequence, = and the series' number or UID, as in --series t1=4."
            )
        sequence = parse_sequence(name)
        if sequence in overrides:
            raise UsageError(f"--series names {sequence.value} twice. Give it once.")
        overrides[sequence] = wanted
    return overrides


def inspect(
    source: Source,
    overrides: Mapping[Sequence, str] | None = None,
    *,
    include_identifiers: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Looks at every header of a source and says what each series is. Raises as `survey.survey`."""
    with quiet_pydicom():
        # A missing pydicom is told before anything is unpacked.
        pass
    with opened(source) as place:
        surveyed = survey(place, progress)
        return describe(surveyed, choose(surveyed, overrides), include_identifiers=include_identifiers)


def convert(
    source: Source,
    output: Path,
    overrides: Mapping[Sequence, str] | None = None,
    *,
    needed: Iterable[Sequence] = (),
    include_identifiers: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[Sequence, Path], Inspection]:
    """Writes each sequence found as `NAME_SEQUENCE.nii.gz` into a folder; all or none.

    Whatever can be refused is refused before a pixel is read.

    Args:
        source: folder, zip, file, or what else `read.read_examination` takes.
        output: the folder; it is made where it does not exist.
        overrides: number or SeriesInstanceUID of the series to take, by sequence.
        needed: sequences without which nothing is written.
        include_identifiers: keep the folder's name and the identifiers in the inspection even where they name the
            patient.
        overwrite: replace files that exist, the record among them.
        progress: called with the number of headers read so far and the number of files.

    Returns:
        The files by sequence, and what was found.

    Raises:
        UsageError: a file exists and `overwrite` is false, or the folder cannot be written to.
        CaseError: no sequence, an undecided one, or a needed one missing.
        InputError: as `read.read_examination`.
    """
    refuse_unwritable(output)
    refuse_existing([output / CONVERSION], overwrite=overwrite)

    def paths(name: str, sequences: Iterable[Sequence]) -> dict[Sequence, Path]:
        return {sequence: output / f"{name}_{sequence.value}.nii.gz" for sequence in sequences}

    def before(name: str, sequences: tuple[Sequence, ...]) -> None:
        refuse_existing(paths(name, sequences).values(), overwrite=overwrite)

    reading = read(
        source, overrides, needed=needed, include_identifiers=include_identifiers, before=before, progress=progress
    )
    targets = paths(reading.examination.case_id, reading.examination.scans)
    with all_or_none(targets.values()):
        for sequence, scan in reading.examination.scans.items():
            write_volume(targets[sequence], scan.volume, scan.geometry, overwrite=overwrite)
    return targets, reading.inspection
