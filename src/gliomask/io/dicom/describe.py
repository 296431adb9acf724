"""Series as a table for people and as plain values for JSON.

Nothing that names a person or an institution, unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gliomask.in_words import counted
from gliomask.io.dicom.survey import Choice, Series, Survey
from gliomask.sequences import Sequence


@dataclass(frozen=True)
class Inspection:
    """What a place holds: `text` is the table for people, `values` the same for JSON."""

    text: str
    values: dict[str, Any]


def describe(surveyed: Survey, choice: Choice, *, include_identifiers: bool = False) -> Inspection:
    """Returns both."""
    return Inspection(to_text(surveyed, choice), to_dict(surveyed, choice, include_identifiers=include_identifiers))


COLUMNS = ("series", "sequence", "description", "grid", "why")


def rows(surveyed: Survey, choice: Choice) -> list[dict[str, str]]:
    """Returns one row for each series, in the order of their numbers."""
    sequence_of = {series.label: sequence.value for sequence, series in choice.chosen.items()}
    return [
        {
            "series": series.label,
            "sequence": sequence_of.get(series.label, "-"),
            "description": series.description,
            "grid": "-" if series.geometry is None else str(series.geometry),
            "why": "; ".join((choice.verdicts[series.label], *series.notes)),
        }
        for series in surveyed.series
    ]


def to_text(surveyed: Survey, choice: Choice) -> str:
    """Returns the table with a heading, columns aligned, and below it what stands in the way."""
    table = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows(surveyed, choice)]
    widths = {column: max(len(row[column]) for row in table) for column in COLUMNS[:-1]}
    lines = [
        "  ".join([*(row[column].ljust(width) for column, width in widths.items()), row[COLUMNS[-1]]]) for row in table
    ]
    if surveyed.other_files:
        lines.append(f"{counted(surveyed.other_files, 'file that is', 'files that are')} not DICOM left out.")
    if surveyed.links:
        verb = "leads" if surveyed.links == 1 else "lead"
        lines.append(
            f"{surveyed.links} link{'' if surveyed.links == 1 else 's'} that {verb} outside the folder or nowhere "
            "not followed."
        )
    if surveyed.unread:
        lines.append(
            f"{surveyed.unread} DICOM object{'' if surveyed.unread == 1 else 's'} that cannot be read left out: "
            "no MR image."
        )
    lines += [f"Undecided: {problem}." for problem in choice.problems]
    missing = [sequence.value for sequence in Sequence if sequence not in choice.chosen]
    if missing and not choice.problems:
        lines.append(
            f"Not found: {', '.join(missing)}. Name the series by --series, or segment with --without where the "
            "patient does not have it."
        )
    return "\n".join(lines)


def to_dict(surveyed: Survey, choice: Choice, *, include_identifiers: bool = False) -> dict[str, Any]:
    """Returns plain values: `series`, `chosen` by sequence, `undecided`, `not_found`, `other_files`; with `patient` if
    asked for.
    """
    result: dict[str, Any] = {
        "chosen": {sequence.value: series.label for sequence, series in choice.chosen.items()},
        "undecided": list(choice.problems),
        "not_found": [sequence.value for sequence in Sequence if sequence not in choice.chosen],
        "series": [
            {**row, **_details(series, include_identifiers)}
            for series, row in zip(surveyed.series, rows(surveyed, choice), strict=True)
        ],
        "other_files": surveyed.other_files,
        "links_not_followed": surveyed.links,
        "unreadable_objects": surveyed.unread,
    }
    if include_identifiers:
        patient_id, name = surveyed.series[0].tags.patient
        result["patient"] = {"id": patient_id, "name": name}
    return result


def _details(series: Series, include_identifiers: bool) -> dict[str, Any]:
    tags = series.tags
    details: dict[str, Any] = {
        "images": len(series.frames),
        "modality": tags.modality,
        "repetition_time_ms": tags.repetition_time_ms,
        "echo_time_ms": tags.echo_time_ms,
        "inversion_time_ms": tags.inversion_time_ms,
        "scanning_sequence": list(tags.scanning_sequence),
        "image_type": list(tags.image_type),
        "contrast_agent": bool(tags.contrast_agent),
        "transfer_syntax": tags.transfer_syntax,
        "lossy": tags.lossy,
        "field_strength_t": tags.field_strength_t,
        "spacing_mm": None if series.geometry is None else [round(mm, 6) for mm in series.geometry.spacing_mm],
        "affine": None if series.geometry is None else series.geometry.affine.tolist(),
    }
    if include_identifiers:
        details |= {
            "series_uid": tags.series_uid,
            "study_uid": tags.study_uid,
            "description_as_written": tags.description,
        }
    return details
