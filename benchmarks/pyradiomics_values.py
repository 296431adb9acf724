"""Features of `gliomask summarise` beside PyRadiomics' published values.

`python benchmarks/pyradiomics_values.py FOLDER`: FOLDER is PyRadiomics' source archive, unpacked; its `data/` holds
five images with masks, and `data/baseline/` the values that PyRadiomics' own tests compare with:

    pip download --no-deps --no-binary :all: pyradiomics==3.0.1 && tar xzf pyradiomics-3.0.1.tar.gz

Prints a table in Markdown, one row a feature: the largest relative difference over the images. Exits with 1 where one
is larger than allowed. Needs the extras raw (SimpleITK reads the images) and summary.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

import SimpleITK

from gliomask.summary.features import intensity_features, shape_features

IMAGES = ("brain1", "brain2", "breast1", "lung1", "lung2")

SHIFT = 2000
"""What PyRadiomics' baseline adds to intensities before the energy and the root mean square (`voxelArrayShift`)."""

MESH_TOLERANCE, TOLERANCE = 6e-3, 1e-9
"""Relative; the first of features of the mesh. Where voxels of a region touch at edges or corners alone, marching cubes
has two answers: scikit-image takes Lewiner's, PyRadiomics has tables of its own. IBSI allows 0.8 % for the surface.
"""

MESH = ("volume_mesh_mm3", "surface_area_mm2", "surface_to_volume_ratio_per_mm", "sphericity")

SHAPE_NAMES = {
    "volume_mesh_mm3": "MeshVolume",
    "volume_voxel_counting_mm3": "VoxelVolume",
    "surface_area_mm2": "SurfaceArea",
    "surface_to_volume_ratio_per_mm": "SurfaceVolumeRatio",
    "sphericity": "Sphericity",
    "maximum_3d_diameter_mm": "Maximum3DDiameter",
    "major_axis_length_mm": "MajorAxisLength",
    "minor_axis_length_mm": "MinorAxisLength",
    "least_axis_length_mm": "LeastAxisLength",
    "elongation": "Elongation",
    "flatness": "Flatness",
}
INTENSITY_NAMES = {
    "mean": "Mean",
    "variance": "Variance",
    "skewness": "Skewness",
    "kurtosis_excess": "Kurtosis",
    "median": "Median",
    "minimum": "Minimum",
    "percentile_10": "10Percentile",
    "percentile_90": "90Percentile",
    "maximum": "Maximum",
    "interquartile_range": "InterquartileRange",
    "range": "Range",
    "mean_absolute_deviation": "MeanAbsoluteDeviation",
    "robust_mean_absolute_deviation": "RobustMeanAbsoluteDeviation",
    "energy": "Energy",
    "root_mean_square": "RootMeanSquared",
}
"""PyRadiomics' names of our features."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="PyRadiomics' source archive, unpacked")
    folder = parser.parse_args().folder / "data"
    published = {kind: read_baseline(folder / "baseline" / f"baseline_{kind}.csv") for kind in ("shape", "firstorder")}
    largest: dict[str, tuple[float, str]] = {}
    for image in IMAGES:
        values = features_as_theirs(folder, image)
        for kind, names in (("shape", SHAPE_NAMES), ("firstorder", INTENSITY_NAMES)):
            for name, theirs in names.items():
                expected = published[kind][f"original_{kind}_{theirs}"][image]
                difference = abs(values[name] - expected) / abs(expected)
                largest[name] = max(largest.get(name, (0.0, "")), (difference, image))
    print("| feature | PyRadiomics | largest relative difference | in |\n|---|---|---|---|")
    for name, (difference, image) in largest.items():
        theirs = (SHAPE_NAMES | INTENSITY_NAMES)[name]
        print(f"| {name} | {theirs} | {difference:.1e} | {image if difference > TOLERANCE else ''} |")
    allowed = {name: MESH_TOLERANCE if name in MESH else TOLERANCE for name in largest}
    return int(any(difference > allowed[name] for name, (difference, _) in largest.items()))


def read_baseline(path: Path) -> dict[str, dict[str, float]]:
    """Values by feature and image, without resampling."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["featureName"].startswith("original_")]
    return {row["featureName"]: {image: float(row[image]) for image in IMAGES} for row in rows}


def features_as_theirs(folder: Path, image: str) -> dict[str, float]:
    """All features of the region of an image, reckoned as PyRadiomics defines them."""
    scan, label = (SimpleITK.ReadImage(str(folder / f"{image}_{kind}.nrrd")) for kind in ("image", "label"))
    # SimpleITK's arrays are (K, J, I).
    intensities, mask = SimpleITK.GetArrayFromImage(scan).T, SimpleITK.GetArrayFromImage(label).T == 1
    inside = intensities[mask].astype(float)
    values = shape_features(mask, label.GetSpacing()) | intensity_features(inside)
    shifted = intensity_features(inside + SHIFT)
    values |= {name: shifted[name] for name in ("energy", "root_mean_square")}
    values["kurtosis_excess"] += 3
    # Theirs is the variance with N, not with N - 1.
    with_all = math.sqrt((mask.sum() - 1) / mask.sum())
    return values | {name: value * with_all for name, value in values.items() if name.endswith("axis_length_mm")}


if __name__ == "__main__":
    sys.exit(main())
