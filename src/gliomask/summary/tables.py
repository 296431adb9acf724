"""The tables of a study: a row a case, and a row a case and region with its shape and intensities; as TSV, and as
Parquet where that is asked for.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gliomask.errors import EngineUnavailableError, InputError
from gliomask.files.atomic import write_bytes
from gliomask.files.tables import to_tsv
from gliomask.io import nifti
from gliomask.labels import Region
from gliomask.sequences import PAPER_ORDER
from gliomask.summary.cases import StudyCase, scans_of
from gliomask.summary.compare import RunComparison
from gliomask.summary.features import INTENSITY, SHAPE, intensity_features, shape_features

FEATURE_COLUMNS = (
    "case",
    "region",
    *SHAPE,
    *(f"{sequence.value}_{name}" for sequence in PAPER_ORDER for name in INTENSITY),
)


def case_rows(cases: Iterable[StudyCase], apart: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Returns a row for each case: that of the cohort's table, and why it is an outlier."""
    return [{**asdict(case.row), "outlier": "; ".join(apart.get(case.case, []))} for case in cases]


def feature_rows(case: StudyCase) -> list[dict[str, Any]]:
    """Returns a row for each region of a case: its shape, and the intensities of the sequences whose scans are there on
    the label map's grid.

    Raises:
        InputError: the label map cannot be read.
    """
    label_map, geometry = case.label_map()
    volumes = {}
    for name, path in scans_of(case).items():
        try:
            volume = nifti.read_volume(path)
        except InputError:
            continue
        if volume.values.ndim == 3 and volume.geometry.same_grid(geometry):
            volumes[name] = volume.values
    rows = []
    for region in Region:
        mask = region.mask(label_map)
        row: dict[str, Any] = dict.fromkeys(FEATURE_COLUMNS, math.nan) | {"case": case.case, "region": region.value}
        row |= shape_features(mask, geometry.spacing_mm)
        for name, values in volumes.items():
            row |= {f"{name}_{key}": value for key, value in intensity_features(values[mask]).items()}
        rows.append(row)
    return rows


def comparison_rows(comparison: RunComparison) -> list[dict[str, Any]]:
    """Returns a row for each case of two runs."""
    rows = []
    for pair in comparison.pairs:
        row: dict[str, Any] = {"case": pair.case, "status": pair.status}
        for region in Region:
            first, second = pair.volumes_ml.get(region, (None, None))
            difference = None if first is None or second is None else second - first
            name = region.value.lower()
            row |= {
                f"{name}_ml_first": first,
                f"{name}_ml_second": second,
                f"{name}_ml_difference": difference,
                f"{name}_dice": pair.dice.get(region),
            }
        rows.append(row)
    return rows


def write_table(
    path: Path, rows: Ordered[Mapping[str, Any]], columns: Ordered[str], *, parquet: bool = False
) -> list[Path]:
    """Writes a table as TSV and, where asked for, as Parquet beside it; returns the files.

    Raises:
        EngineUnavailableError: pyarrow is not installed (extra `summary`).
        UsageError: a file cannot be written.
    """
    write_bytes(path, to_tsv(rows, columns))
    if not parquet:
        return [path]
    beside = path.with_suffix(".parquet")
    write_bytes(beside, to_parquet(rows, columns))
    return [path, beside]


def to_parquet(rows: Ordered[Mapping[str, Any]], columns: Ordered[str]) -> bytes:
    """Returns rows as a Parquet file; what is blank in the TSV is null.

    Raises:
        EngineUnavailableError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise EngineUnavailableError(
            f"Parquet needs pyarrow, which cannot be imported ({error}). Run: pip install 'gliomask[summary]'"
        ) from error
    values = {
        name: [None if isinstance(row[name], float) and math.isnan(row[name]) else row[name] for row in rows]
        for name in columns
    }
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(values), stream)
    return stream.getvalue()
