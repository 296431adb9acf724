"""What `segment` would refuse or warn of, looked for in the cases of a training before its first epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from pathlib import Path

from gliomask.case import Case
from gliomask.errors import CaseError, FileFormatError, QualityError, UsageError
from gliomask.files.hashing import sha256, sha256_of
from gliomask.flag import Flag
from gliomask.io.brats import CaseFiles
from gliomask.preprocess.checks import check_case, refuse_no_brain
from gliomask.sampling import SliceStack

SHOWN_CASES = 5
"""Cases that a message names."""


def examine(case: Case) -> tuple[Flag, ...]:
    """Returns the flags that `segment` raises for these scans.

    Raises:
        CaseError: they can be no bare brain.
    """
    refuse_no_brain(case)
    return tuple(check_case(case))


def fingerprint(stack: SliceStack) -> str:
    """Returns a SHA-256, the same for one examination under two names, whatever the order of its files' axes."""
    return sha256(repr(stack.slices.shape).encode() + stack.slices.tobytes())


def refuse_examinations_twice(fingerprints: Mapping[str, str]) -> None:
    """Refuses two cases that hold the same voxels: the patient would weigh twice, or choose the epoch on what was
    learnt by heart.

    Args:
        fingerprints: by case id.

    Raises:
        CaseError: it is so; both are named.
    """
    cases_of = defaultdict(list)
    for case_id, prints in fingerprints.items():
        cases_of[prints].append(case_id)
    for same in cases_of.values():
        if len(same) > 1:
            raise CaseError(
                f"The cases {' and '.join(same[:SHOWN_CASES])} hold the same images. Leave out all but one."
            )


def refuse_held_out_twice(learnt_from: Iterable[CaseFiles], held_out: Iterable[CaseFiles]) -> None:
    """Refuses a held-out case whose scans are, byte for byte, those of a case that is learnt from: its score would be
    worth nothing.

    Held-out cases are not read in a training, so their files are compared. Files of different sizes are not opened.

    Args:
        learnt_from: training and validation cases.
        held_out: cases to be scored later.

    Raises:
        CaseError: it is so; both are named.
        FileFormatError: a file cannot be read.
    """
    by_size = defaultdict(list)
    for case in learnt_from:
        by_size[_sizes(case)].append(case)
    for case in held_out:
        for other in by_size[_sizes(case)]:
            if all(
                sha256_of(ours) == sha256_of(theirs) for ours, theirs in zip(case.paths(), other.paths(), strict=True)
            ):
                raise CaseError(
                    f"The held-out case {case.case_id} holds the same files as case {other.case_id}, which is "
                    "trained on. Leave out one of them."
                )


def _sizes(case: CaseFiles) -> tuple[int, ...]:
    try:
        return tuple(path.stat().st_size for path in case.paths())
    except OSError as error:
        raise FileFormatError(
            f"Case {case.case_id}: a file cannot be read ({error.strerror}: {Path(str(error.filename))})."
        ) from error


def refuse_unknown_weights(case_weights: Mapping[str, float], cases: Iterable[CaseFiles]) -> None:
    """Refuses weights of cases that are not there: a misspelt id would silently count 1.

    Args:
        case_weights: by case id, of the configuration.
        cases: all cases that were found, held-out ones too: one configuration serves all folds.

    Raises:
        UsageError: an id is none of theirs.
    """
    unknown = sorted(set(case_weights) - {case.case_id for case in cases})
    if unknown:
        names = ", ".join(unknown[:SHOWN_CASES])
        raise UsageError(
            f"case_weights names {len(unknown)} cases that are not among the data: {names}. Correct the ids or "
            "leave them out."
        )


def refuse_flagged(flags: Mapping[str, Ordered[Flag]]) -> None:
    """Raises QualityError where a case was flagged, naming the first cases and their flags.

    Args:
        flags: by case id.
    """
    flagged = {case_id: raised for case_id, raised in flags.items() if raised}
    if not flagged:
        return
    some = "; ".join(
        f"{case_id}: {', '.join(flag.name for flag in raised)}"
        for case_id, raised in list(flagged.items())[:SHOWN_CASES]
    )
    raise QualityError(
        f"{len(flagged)} of {len(flags)} cases look wrong ({some}). Nothing was trained, because --strict was given."
    )
