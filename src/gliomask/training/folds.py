"""Which patients are trained on, which are held out: read from a table, never drawn in silence."""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from pathlib import Path

import numpy as np

from gliomask.errors import CaseError, FileFormatError, UsageError
from gliomask.files.tables import read_table
from gliomask.io.brats import CaseFiles


def read_folds(table: Path) -> dict[str, int]:
    """Returns the fold of each case, from a CSV or TSV file with the columns `case` and `fold` (others are ignored).

    Raises:
        UsageError: the file cannot be read, a column is missing, a fold is no number, or a case stands twice.
    """
    try:
        rows = read_table(table, ("case", "fold"), what="a table of folds")
    except FileFormatError as error:
        raise UsageError(f"{error} It should say the fold of each case.") from error
    if not rows:
        raise UsageError(f"{table}: the table of folds has no rows.")
    folds: dict[str, int] = {}
    for row in rows:
        if row["case"] in folds:
            raise UsageError(f"{table}: case {row['case']} stands twice.")
        try:
            folds[row["case"]] = int(row["fold"])
        except (TypeError, ValueError):
            raise UsageError(
                f"{table}: case {row['case']} has the fold '{row['fold']}'; a whole number is needed."
            ) from None
    return folds


def split(cases: Ordered[CaseFiles], folds: dict[str, int], held_out: int) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Returns (training, held-out) cases.

    Raises:
        CaseError: a case is not in the table: it could belong to a patient of the held-out fold.
        UsageError: no case, or every case, is in the held-out fold.
    """
    unknown = [case.case_id for case in cases if case.case_id not in folds]
    if unknown:
        raise CaseError(
            f"{len(unknown)} cases are not in the table of folds: {', '.join(unknown[:5])}. Add them or move them away."
        )
    training = [case for case in cases if folds[case.case_id] != held_out]
    testing = [case for case in cases if folds[case.case_id] == held_out]
    if not training or not testing:
        raise UsageError(
            f"Fold {held_out} leaves {len(training)} cases to train on and {len(testing)} held out. The table has "
            f"folds {sorted(set(folds.values()))}."
        )
    return training, testing


def set_aside(training: list[CaseFiles], share: float, seed: int) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Sets aside a share of the training patients, at least one if the share is above 0, to choose the best epoch on.

    These come out of the training folds: choosing on the held-out fold would let its references decide what they are
    scored on.

    Returns:
        (training, validation) cases.

    Raises:
        UsageError: fewer than two patients would have to be divided.
    """
    if share == 0:
        return training, []
    count = max(1, round(share * len(training)))
    if count >= len(training):
        raise UsageError(
            f"{len(training)} training patients cannot spare {count} for validation. Give more cases or "
            "--validation-share 0."
        )
    chosen = set(np.random.default_rng(seed).permutation(len(training))[:count].tolist())
    return [c for n, c in enumerate(training) if n not in chosen], [c for n, c in enumerate(training) if n in chosen]
