"""Synthetic patients on disk, as a BraTS folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gliomask.arrays import LabelMap
from gliomask.case import Case
from gliomask.errors import UsageError
from gliomask.files.atomic import make_folder, refuse_existing
from gliomask.io.nifti import write_volume
from gliomask.labels import convention
from gliomask.simulate.atlas import atlas_files
from gliomask.simulate.patient import Size, member, simulate_case
from gliomask.simulate.tumour import Grade

MIXED = "mixed"
LOW_GRADE_SHARE = 0.25
"""Share of low-grade tumours among mixed patients: 76 of 369 in BraTS 2020, 15 of 65 of the labelled training cases."""

RECORD_NAME = "simulate_run.json"
MAX_PATIENTS = 10_000
"""Case names have four digits."""


def write_patients(
    folder: Path,
    count: int,
    seed: int,
    grade: str = MIXED,
    size: str = Size.FULL,
    *,
    overwrite: bool = False,
    report: Callable[[str, int, int], None] = lambda case_id, done, total: None,
) -> list[dict[str, Any]]:
    """Writes labelled synthetic patients as `folder`/SIM_0000/SIM_0000_{flair,t1,t1ce,t2,seg}.nii.gz and so on, in the
    numbers of BraTS 2021.

    Patient n depends on the seed and n alone: asking for more patients leaves the first ones as they were.

    Args:
        folder: made where it does not exist.
        count: how many patients.
        seed: at least 0.
        grade: `high`, `low` or `mixed`.
        size: `full` or `small`, see `simulate_case`.
        overwrite: replace patients that exist.
        report: called with the case's name, how many are done and how many there will be.

    Returns:
        One row per patient: case, grade, seconds, and voxels of each label.

    Raises:
        UsageError: there is no such grade or size, the count or the seed is out of range, or a patient exists and
            `overwrite` is false.
        EngineUnavailableError: the extra `simulate` is not installed.
    """
    size = member(Size, size, "size")
    if grade != MIXED:
        member(Grade, grade, "grade", MIXED)
    if not 1 <= count <= MAX_PATIENTS:
        raise UsageError(f"The number of patients must be between 1 and {MAX_PATIENTS}; found {count}.")
    if seed < 0:
        raise UsageError(f"The seed must be 0 or more; found {seed}.")
    atlas_files()
    names = [f"SIM_{n:04d}" for n in range(count)]
    _refuse_existing(folder, names, overwrite)
    rows = []
    for n, name in enumerate(names):
        started = time.perf_counter()
        generator = np.random.default_rng([seed, n])
        drawn = Grade.LOW if generator.random() < LOW_GRADE_SHARE else Grade.HIGH
        chosen = drawn if grade == MIXED else Grade(grade)
        case, label_map = simulate_case(generator, name, chosen, size)
        write_patient(folder, case, label_map, overwrite=overwrite)
        voxels = np.bincount(label_map.ravel(), minlength=4)[1:].tolist()
        rows.append(
            {"case": name, "grade": chosen.value, "voxels": voxels, "seconds": round(time.perf_counter() - started, 2)}
        )
        report(name, n + 1, count)
    return rows


def _refuse_existing(folder: Path, names: list[str], overwrite: bool) -> None:
    paths = [folder / name for name in (*names, RECORD_NAME)]
    refuse_existing(paths, overwrite=overwrite, remedy="Give --overwrite to replace it, or another output folder.")


def write_patient(folder: Path, case: Case, label_map: LabelMap, *, overwrite: bool = False) -> None:
    """Writes one patient's five files into `folder`/`case.case_id`: scans as 16-bit integers, labels in the numbers of
    BraTS 2021.

    Raises:
        UsageError: a file exists and `overwrite` is false.
    """
    target = folder / case.case_id
    make_folder(target)
    for sequence, volume in case.volumes.items():
        write_volume(
            target / f"{case.case_id}_{sequence.value}.nii.gz",
            volume.astype(np.int16),
            case.geometry,
            overwrite=overwrite,
        )
    on_disk = convention("brats2021").to_disk(label_map)
    write_volume(target / f"{case.case_id}_seg.nii.gz", on_disk, case.geometry, overwrite=overwrite)
