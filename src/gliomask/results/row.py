"""A case as a row of a table: what became of it, how much tumour there is, and what Dice is to be expected."""

from __future__ import annotations

from dataclasses import dataclass

from gliomask.results.record import RunRecord

KEPT = "finished by an earlier run"
"""Message of the row of a case that was kept."""


@dataclass(frozen=True)
class CaseRow:
    """One case of many.

    The columns after `message` are empty where the case failed; those of the Dice also where the model is not
    calibrated.
    """

    case: str
    status: str
    seconds: float
    flags: str
    message: str
    wt_ml: float | None = None
    tc_ml: float | None = None
    et_ml: float | None = None
    expected_dice_wt: float | None = None
    expected_dice_wt_low: float | None = None
    expected_dice_wt_high: float | None = None
    expected_dice_tc: float | None = None
    expected_dice_tc_low: float | None = None
    expected_dice_tc_high: float | None = None
    expected_dice_et: float | None = None
    expected_dice_et_low: float | None = None
    expected_dice_et_high: float | None = None


def measured_columns(record: RunRecord) -> dict[str, float]:
    """Returns the columns of volumes and expected Dice that a record fills."""
    volumes = {} if record.volumes is None else record.volumes.regions
    values = {f"{region.value.lower()}_ml": amount.volume_ml for region, amount in volumes.items()}
    for region, estimate in record.predicted_dice.items():
        name = f"expected_dice_{region.value.lower()}"
        values |= {name: estimate.dice, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return values


def flag_names(record: RunRecord) -> str:
    """Returns the names of a record's quality flags, as the column `flags` has them."""
    return " ".join(flag.name for flag in record.quality_flags)


def row_of_record(record: RunRecord, message: str = "") -> CaseRow:
    """Returns the row of a finished case, from its record."""
    seconds = round(record.seconds.get("total", 0.0), 2)
    return CaseRow(record.case, "done", seconds, flag_names(record), message, **measured_columns(record))
