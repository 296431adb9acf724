"""The group level: one table and one page of all participants, from what the participant level left."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomask.bids.derivative import in_json
from gliomask.bids.layout import Session
from gliomask.bids.output import refuse_other_dataset
from gliomask.bids.page import GroupMember, GroupPage
from gliomask.bids.records import LOGS, read_failure, read_record
from gliomask.bids.session_record import SessionRecord
from gliomask.errors import UsageError
from gliomask.io.nifti import write_bytes
from gliomask.results.write import refuse_existing

TABLE, SIDECAR, PAGE = "group_volumes.tsv", "group_volumes.json", "group.html"

NOT_THERE = "n/a"
"""What BIDS writes into a table where there is no value."""

COLUMNS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "The participant, with sub-."},
    "session_id": {"Description": "The session, with ses-; n/a in a dataset without sessions."},
    "status": {
        "Description": "What became of it.",
        "Levels": {
            "done": "segmented",
            "failed": "could not be segmented; message says why",
            "missing": "not segmented yet, or its results are not whole",
        },
    },
    "raw_route": {
        "Description": "Whether the scans were registered and stripped first.",
        "Levels": {"yes": "as the scanner gave them", "no": "came prepared"},
    },
    "wt_ml": {"Description": "Whole tumour: all labels.", "Units": "mL"},
    "tc_ml": {"Description": "Tumour core: all labels but oedema.", "Units": "mL"},
    "et_ml": {"Description": "Enhancing tumour.", "Units": "mL"},
    "necrotic_ml": {"Description": "Necrotic and non-enhancing core.", "Units": "mL"},
    "oedema_ml": {"Description": "Oedema.", "Units": "mL"},
    "expected_dice_wt": {
        "Description": "Dice of the whole tumour to be expected, where the model is calibrated; an estimate, not a "
        "measurement."
    },
    "expected_dice_tc": {"Description": "The same, of the tumour core."},
    "expected_dice_et": {"Description": "The same, of the enhancing tumour."},
    "flags": {"Description": "Quality flags, separated by spaces; n/a where none was raised."},
    "model": {"Description": "The model's name."},
    "gliomask": {"Description": "Version of gliomask."},
    "message": {"Description": "Why it failed or is missing."},
}
"""Columns of the table, in their order, as the sidecar describes them."""


@dataclass(frozen=True)
class GroupResult:
    """What the group level found.

    Args:
        members: one for each session.
        written: the files.
    """

    members: tuple[GroupMember, ...]
    written: tuple[Path, ...]


def run_group(name: str, output: Path, sessions: Ordered[Session], *, overwrite: bool = False) -> GroupResult:
    """Writes the table of volumes with its sidecar, and the page.

    Args:
        name: of the input dataset.
        output: the root of the derivative dataset, as the participant level left it.
        sessions: all that are to be accounted for.
        overwrite: replace a table and a page that exist.

    Raises:
        UsageError: nothing was segmented yet, the output is not gliomask's, or a file exists and may not be replaced.
    """
    refuse_other_dataset(output)
    if not (output / LOGS).is_dir():
        raise UsageError(
            f"{output}: no participant was segmented into it yet. Run the participant level first, with the "
            "same folders."
        )
    paths = [output / name for name in (TABLE, SIDECAR, PAGE)]
    refuse_existing(paths, "it", overwrite=overwrite)
    members = tuple(_member(output, session) for session in sessions)
    contents = (_table(members), in_json(COLUMNS), GroupPage(name, members).html().encode())
    for path, content in zip(paths, contents, strict=True):
        write_bytes(path, content)
    return GroupResult(members, tuple(paths))


def _member(output: Path, session: Session) -> GroupMember:
    failure = read_failure(output, session)
    record = read_record(output, session)
    picture = output / session.folder / "figures" / f"{session.case_id}_dseg.png"
    if failure is not None:
        return GroupMember(session, "failed", _values(session, "failed", message=failure.message))
    if record is None:
        return GroupMember(session, "missing", _values(session, "missing", message="not segmented yet"))
    gone = [name for name in record.outputs or () if not (output / name).is_file()]
    if gone:
        return GroupMember(session, "missing", _values(session, "missing", message=f"{gone[0]} is gone"))
    return GroupMember(
        session,
        "done",
        _values(session, "done", **dict(_results(record))),
        picture.read_bytes(),
        _flags(record),
        _report(record, session),
    )


def _values(session: Session, status: str, **more: str) -> dict[str, str]:
    ids = {
        "participant_id": f"sub-{session.subject}",
        "session_id": NOT_THERE if session.session is None else f"ses-{session.session}",
    }
    # A table is one line a row: a message may have several.
    cells = {**ids, "status": status} | {name: " ".join(text.split()) for name, text in more.items()}
    return {name: cells.get(name) or NOT_THERE for name in COLUMNS}


def _results(record: SessionRecord) -> Iterator[tuple[str, str]]:
    yield "raw_route", "no" if record.raw_route is None else "yes"
    if record.volumes is not None:
        for region, amount in record.volumes.regions.items():
            yield f"{region.value.lower()}_ml", f"{amount.volume_ml:.3f}"
        for name, amount in record.volumes.labels.items():
            yield f"{name}_ml", f"{amount.volume_ml:.3f}"
    for region, expected in record.predicted_dice.items():
        yield f"expected_dice_{region.value.lower()}", f"{expected.dice:.3f}"
    yield "flags", " ".join(flag.name for flag in record.quality_flags)
    yield "model", record.model.name
    yield "gliomask", str(record.environment.get("gliomask", ""))


def _flags(record: SessionRecord) -> tuple[str, ...]:
    return tuple(flag.message for flag in record.quality_flags)


def _report(record: SessionRecord, session: Session) -> str | None:
    name = f"{session.case_id}.html"
    return name if name in (record.outputs or ()) else None


def _table(members: Ordered[GroupMember]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(COLUMNS), delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    writer.writeheader()
    writer.writerows(member.values for member in members)
    return text.getvalue().encode()
