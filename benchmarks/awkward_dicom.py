r"""Reads series made to trip converters, and writes what became of each as a table:

    python benchmarks/awkward_dicom.py FOLDER... [--dcm2niix PROGRAM] [--other-python PYTHON] \
        -o docs/tables/awkward_dicom.tsv

Each FOLDER is searched for folders that hold files. Every such folder is read in a process of its own with a time
limit. Where it is read, its grid and voxels are compared with those that dcm2niix (a program) and dicom2nifti
(importable from PYTHON) make of the same files.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

SECONDS = 120
COLUMNS = ("folder", "series", "files", "transfer_syntax", "result", "taken_for", "detail", "dcm2niix", "dicom2nifti")

READ = """
import json, sys
from pathlib import Path
import nibabel as nib
from gliomask.errors import GliomaskError
from gliomask.io.dicom.read import read_scan
from gliomask.io.dicom.survey import survey
rows = []
try:
    series = survey(Path(sys.argv[1])).series
except GliomaskError as error:
    series = ()
    rows.append({"series": "-", "result": "refused", "detail": str(error).replace(sys.argv[1], "folder")})
for one in series:
    paths = {frame.path for frame in one.frames}
    row = {"series": one.label, "files": len(paths), "transfer_syntax": one.tags.transfer_syntax}
    row["taken_for"] = one.guess.sequence.value if one.guess.sequence else "none: " + one.guess.reason
    try:
        scan = read_scan(one)
        target = f"{sys.argv[2]}/{len(rows)}.nii"
        nib.save(nib.Nifti1Image(scan.volume, scan.geometry.affine), target)
        row |= {"result": "read", "detail": str(scan.geometry), "nifti": target}
    except GliomaskError as error:
        besides = "" if one.problem in (None, error) else f" Besides: {one.problem}"
        row |= {"result": "refused", "detail": f"{error}{besides}"}
    rows.append(row)
print(json.dumps(rows))
"""

CONVERT = "import sys, dicom2nifti; dicom2nifti.dicom_series_to_nifti(sys.argv[1], sys.argv[2], reorient_nifti=False)"


def read_folder(folder: Path, scratch: Path) -> list[dict[str, str]]:
    """What gliomask makes of one folder; a crash or a hang is a result too."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", READ, str(folder), str(scratch)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [{"series": "-", "result": "HANGS"}]
    return (
        json.loads(child.stdout)
        if child.returncode == 0
        else [{"series": "-", "result": "CRASHES", "detail": child.stderr.splitlines()[-1]}]
    )


def compare(ours: Path, others: list[Path]) -> str:
    """Largest distance of a corner and largest difference of a value between our volume and the one of the same size
    that another reader made.
    """
    mine = nib.load(ours)
    answers = []
    for path in others:
        other = nib.load(path)
        if other.ndim != 3:
            continue
        turn = ornt_transform(io_orientation(other.affine), io_orientation(mine.affine))
        values = apply_orientation(np.asarray(other.dataobj, float), turn)
        affine = other.affine @ inv_ornt_aff(turn, other.shape)
        if values.shape != mine.shape:
            continue
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in mine.shape])).reshape(3, 8)
        distance_mm = np.linalg.norm((mine.affine - affine)[:3] @ np.vstack([corners, np.ones(8)]), axis=0).max()
        difference = np.abs(values - np.asarray(mine.dataobj)).max()
        answers.append(
            f"{distance_mm:.4f} mm, values {'equal' if difference < 1e-3 else f'differ by {difference:.3g}'}"
        )
    return answers[0] if answers else ("other shape" if others else "reads nothing")


def by_others(folder: Path, scratch: Path, dcm2niix: str | None, python: str | None) -> dict[str, list[Path]]:
    """The volumes that the other readers make of a folder."""
    made: dict[str, list[Path]] = {}
    if dcm2niix:
        place = scratch / "dcm2niix"
        place.mkdir()
        subprocess.run(
            [dcm2niix, "-b", "n", "-z", "n", "-f", "%s_%j", "-o", str(place), str(folder)],
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        made["dcm2niix"] = sorted(place.glob("*.nii"))
    if python:
        target = scratch / "dicom2nifti.nii"
        subprocess.run(
            [python, "-c", CONVERT, str(folder), str(target)], capture_output=True, timeout=SECONDS, check=False
        )
        made["dicom2nifti"] = [target] if target.exists() else []
    return made


def main() -> None:
    """Walks the folders, writes the table, prints the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--dcm2niix")
    parser.add_argument("--other-python")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    start = time.perf_counter()
    for root in options.folders:
        for folder in sorted(
            {
                path.parent
                for path in root.rglob("*")
                if path.is_file() and path.name not in ("LICENSE", "README.md", "batch.sh")
            }
        ):
            with tempfile.TemporaryDirectory() as scratch:
                found = read_folder(folder, Path(scratch))
                others = by_others(folder, Path(scratch), options.dcm2niix, options.other_python)
                for row in found:
                    nifti = row.pop("nifti", None)
                    row |= {name: compare(Path(nifti), paths) if nifti else "-" for name, paths in others.items()}
                    rows.append({"folder": str(folder.relative_to(root)), **row})
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="-", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    counts = {
        result: sum(row["result"] == result for row in rows) for result in ("read", "refused", "CRASHES", "HANGS")
    }
    print(f"{len(rows)} series: {counts}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
