"""The sample that comes with the package, segmented: what a newcomer runs first, and a check that an installation
works.

The sample is a synthetic patient made by `gliomask simulate` (docs/simulate.md), so that no patient's scans travel with
the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from gliomask.io.brats import CaseFiles, find_cases, read_reference
from gliomask.labels import Region
from gliomask.metrics.overlap import count
from gliomask.results.layout import CaseLayout
from gliomask.segmentation import Delivery, Options, Segmentation, Segmenter
from gliomask.segmentation.cases import segment_to_files
from gliomask.segmentation.source import FileSource


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demonstration found.

    Args:
        result: the segmentation.
        results: its files.
        dice: agreement with the labels that the synthetic patient was made from.
    """

    result: Segmentation
    results: CaseLayout
    dice: dict[Region, float]


@contextmanager
def sample_case() -> Iterator[CaseFiles]:
    """The sample's files, unpacked for as long as the context lasts if the package is not a folder."""
    with as_file(files("gliomask") / "sample") as folder:
        yield find_cases(folder)[0]


def run_demo(
    output: Path,
    options: Options,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Demo:
    """Segments the sample into `output` and compares the result with the labels that the sample was made from.

    Raises:
        UsageError: results exist in `output` and may not be overwritten.
        ModelError: the shipped model cannot be used.
    """
    with sample_case() as case, Segmenter(options) as segmenter:
        results = CaseLayout.of(output, case.case_id)
        result = segment_to_files(
            segmenter, FileSource(case), results, Delivery(overwrite=overwrite), progress=progress
        )
        reference = read_reference(case, result.case.geometry)
    agreement = {region: count(region.mask(reference), region.mask(result.label_map)).dice for region in Region}
    return Demo(result, results, agreement)
