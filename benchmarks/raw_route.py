"""Measures the raw route on examinations whose answer is known:

    python benchmarks/raw_route.py --native FOLDER --cases BRATS_FOLDER -o docs/tables/raw_route.tsv

FOLDER is one patient's: `native_with_skull/*_native_{flair,t1,t1ce,t2}.nii.gz`, `hdbet_masks/*_{sequence}_mask.nii.gz`,
`brats_space_brain/*_{sequence}.nii.gz` and `peer_segmentations/*.nii.gz` (those with `fusion` in their names are left
out of the consensus, a voxel of which most of the others mark). BRATS_FOLDER holds prepared cases, which are put into a
shell of fluid, bone and scalp (`tests/heads.py`), moved, turned, and scanned at 5 mm.

One row a measure: examination, measure, sequence, value, unit. Displacements are means over the brain. With --time-only
the command's wall time, CPU time and peak memory alone are measured, and nothing is written:

    python benchmarks/raw_route.py --native FOLDER --time-only
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from heads import Head, make_head, moved_examination, true_mask

from gliomask.arrays import Affine, Mask
from gliomask.case import Case
from gliomask.errors import QualityError
from gliomask.geometry import Geometry
from gliomask.io.brats import find_cases, read_case
from gliomask.io.nifti import read_volume
from gliomask.labels import Region, convention
from gliomask.preprocess.raw import itk
from gliomask.preprocess.raw.atlas import BRATS_FRAME
from gliomask.preprocess.raw.registration import Comparison, Image, Level
from gliomask.preprocess.raw.route import RawCase, prepare_examination
from gliomask.preprocess.raw.transforms import LPS, Points, distance_mm, inverse, move
from gliomask.sequences import PAPER_ORDER, Sequence

LEVELS = (Level(4, 10_000, 0.2), Level(2, 30_000, 0.05, 4))
THREADS = 2
THINNED = 2
"""A prepared case is thinned by this before it is scanned at 5 mm."""

Row = tuple[str, str, str, float, str]


def dice(first: Mask, second: Mask) -> float:
    both = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / both if both else 1.0


def read_transform(path: Path) -> Affine:
    """Reads a transform that gliomask wrote."""
    line = next(line for line in path.read_text().splitlines() if line.startswith("Parameters:"))
    numbers = np.array(line.split()[1:], float)
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = numbers[:9].reshape(3, 3), numbers[9:]
    return np.asarray(LPS @ lps @ LPS)


def raw_scans(folder: Path) -> dict[Sequence, Path]:
    return {
        sequence: next((folder / "native_with_skull").glob(f"*_native_{sequence.value}.nii.gz"))
        for sequence in PAPER_ORDER
    }


def measure_time(folder: Path) -> list[Row]:
    """Runs the command as most would, for its time and memory alone."""
    with tempfile.TemporaryDirectory() as scratch:
        return [(folder.name, *row) for row in run_command(raw_scans(folder), Path(scratch), ())]


def measure_native(folder: Path, keep: Path | None) -> list[Row]:
    """Runs the command on a patient with known masks, copies in the frame of BraTS and other algorithms' label maps."""
    raw = raw_scans(folder)
    with tempfile.TemporaryDirectory() as scratch:
        out = keep or Path(scratch)
        rows = [(folder.name, *row) for row in run_command(raw, out, PAPER_ORDER)]
        found = {
            sequence: read_transform(next(out.glob(f"*_from-{sequence.value}_to-brats.tfm")))
            for sequence in PAPER_ORDER
        }
        for sequence in PAPER_ORDER:
            mask = read_volume(next(out.glob(f"*_space-{sequence.value}_mask.nii.gz"))).values > 0
            theirs = read_volume(next((folder / "hdbet_masks").glob(f"*_{sequence.value}_mask.nii.gz"))).values > 0
            rows.append((folder.name, "brain mask Dice against HD-BET", sequence.value, dice(mask, theirs), ""))
        given = {
            sequence: given_transform(folder, sequence, raw[sequence], found[sequence]) for sequence in PAPER_ORDER
        }
        rows += registration_rows(folder.name, found, given, brain_points(folder))
        return rows + tumour_rows(folder, out, given[Sequence.T1CE])


def run_command(raw: dict[Sequence, Path], out: Path, spaces: Iterable[Sequence]) -> list[tuple[str, str, float, str]]:
    """Runs `gliomask segment` with two threads; returns its wall time, CPU time and peak memory."""
    program = str(Path(sys.executable).with_name("gliomask"))
    files = [word for sequence, path in raw.items() for word in (f"--{sequence.value}", str(path))]
    further = [word for sequence in spaces for word in ("--space", sequence.value)]
    start = time.perf_counter()
    pid = os.posix_spawn(
        program,
        [program, "segment", *files, *further, "-o", str(out), "--overwrite", "--threads", str(THREADS)],
        os.environ,
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"gliomask segment failed with status {status}")
    seconds = time.perf_counter() - start
    cpu = usage.ru_utime + usage.ru_stime
    return [
        ("wall time", "", seconds, "s"),
        ("CPU time", "", cpu, "s"),
        ("peak memory", "", usage.ru_maxrss * 1024 / 1e6, "MB"),
    ]


def given_transform(folder: Path, sequence: Sequence, native: Path, start: Affine) -> Affine:
    """The rigid map under which the given copy in the frame was made: copy and scan show the same image, so registering
    them finds it.
    """
    copy = read_volume(next((folder / "brats_space_brain").glob(f"*_{sequence.value}.nii.gz")))
    scan = read_volume(native)
    for level in LEVELS:
        comparison = Comparison(
            Image(copy.values, copy.geometry, copy.values != 0), Image(scan.values, scan.geometry), level
        )
        start = comparison.register(start, "rigid").matrix
    return start


def brain_points(folder: Path) -> Points:
    mask = read_volume(next((folder / "brats_space_brain").glob("*_hdbet_mask.nii.gz")))
    return move(mask.geometry.affine, np.argwhere(mask.values[::4, ::4, ::4] > 0) * 4.0)


def registration_rows(
    name: str, found: dict[Sequence, Affine], truth: dict[Sequence, Affine], points: Points
) -> list[Row]:
    lead = Sequence.T1CE
    rows: list[Row] = [
        (name, "frame: displacement", lead.value, distance_mm(found[lead], truth[lead], points).mean(), "mm")
    ]
    for sequence in PAPER_ORDER:
        if sequence != lead:
            # Where the reference went in the frame does not count here.
            mine, theirs = found[sequence] @ inverse(found[lead]), truth[sequence] @ inverse(truth[lead])
            apart = distance_mm(mine, theirs, move(truth[lead], points))
            rows.append((name, "co-registration: displacement", sequence.value, apart.mean(), "mm"))
    return rows


def tumour_rows(folder: Path, out: Path, to_native: Affine) -> list[Row]:
    native = read_volume(next(path for path in out.glob("*_seg.nii.gz") if "_space-" not in path.name))
    labels = convention("brats2021").from_disk(native.values)
    peers = [
        read_volume(path).values
        for path in sorted((folder / "peer_segmentations").glob("*.nii.gz"))
        if "fusion" not in path.name
    ]
    peers_labels = [convention("brats2021").from_disk(peer) for peer in peers]
    rows: list[Row] = []
    for region in Region:
        brought = itk.resample(region.mask(labels).astype(np.float32), native.geometry, BRATS_FRAME, to_native) > 0.5
        consensus = sum(region.mask(peer).astype(int) for peer in peers_labels) > len(peers) / 2
        rows.append(
            (
                folder.name,
                f"{region.value} Dice, native result brought to the given frame, against consensus",
                "",
                dice(brought, consensus),
                "",
            )
        )
        each = [dice(region.mask(peer), consensus) for peer in peers_labels]
        rows.append(
            (folder.name, f"{region.value} Dice of the others against their consensus, least", "", min(each), "")
        )
    return rows


def thinned_head(case: Case) -> Head:
    """Returns a prepared case, thinned, in a shell."""
    cut = (slice(None, None, THINNED),) * 3
    affine = case.geometry.affine @ np.diag([THINNED] * 3 + [1.0])
    shape = case.brain_mask[cut].shape
    return make_head(
        Case(
            case.case_id, {sequence: volume[cut] for sequence, volume in case.volumes.items()}, Geometry(shape, affine)
        )
    )


def measure_head(case: Case) -> list[Row]:
    """Puts a prepared case into a shell, scans it as if it had moved, and measures what the raw route makes of it; a
    refusal is a row, too.
    """
    name = f"{case.case_id} in a shell"
    head = thinned_head(case)
    examination, truth = moved_examination(head)
    start = time.process_time()
    try:
        found: RawCase = prepare_examination(examination)
    except QualityError as error:
        return [(name, f"refused: {error}", "", math.nan, "")]
    rows: list[Row] = [(name, "CPU time of the preparation", "", time.process_time() - start, "s")]
    points = move(head.geometry.affine, np.argwhere(head.brain[::3, ::3, ::3]) * 3.0)
    rows += registration_rows(name, dict(found.matrices), truth, points)
    for sequence in (Sequence.T1CE, Sequence.T2):
        expected = true_mask(head, truth[sequence], examination.scans[sequence].geometry)
        rows.append((name, "brain mask Dice", sequence.value, dice(found.mask_in(sequence), expected), ""))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", type=Path, action="append", default=[])
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--keep", type=Path, help="folder in which the results of --native are kept")
    parser.add_argument(
        "--time-only", action="store_true", help="run the command on --native, measure time and memory, write nothing"
    )
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.time_only:
        for row in [row for folder in options.native for row in measure_time(folder)]:
            print(*row[:2], f"{row[3]:.4g}", row[4], sep="\t")
        return
    if options.output is None:
        parser.error("-o is needed")
    rows: list[Row] = []
    for folder in options.native:
        rows += measure_native(folder, options.keep)
    for files in find_cases(options.cases) if options.cases else []:
        rows += measure_head(read_case(files))
    with options.output.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["examination", "measure", "sequence", "value", "unit"])
        writer.writerows([*row[:3], f"{row[3]:.4g}", row[4]] for row in rows)
    print(options.output.read_text())


if __name__ == "__main__":
    main()
