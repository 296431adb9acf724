"""Shape and intensity of a region, by the names and definitions of the Image Biomarker Standardisation Initiative.

Definitions: Zwanenburg et al., "The Image Biomarker Standardization Initiative", Radiology 2020, and its reference
manual (arXiv:1612.07003), sections 3.1 (morphology) and 3.3 (intensity statistics); each key below is named as there,
with the feature's code beside it in `CODES`. PyRadiomics' names are given in docs/summarise.md. Nothing is resampled or
discretised. `tests/test_summary_features.py` checks all on IBSI's digital phantom.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from gliomask.arrays import Mask
from gliomask.errors import EngineUnavailableError

CODES = {
    "volume_mesh_mm3": "RNU0",
    "volume_voxel_counting_mm3": "YEKZ",
    "surface_area_mm2": "C0JK",
    "surface_to_volume_ratio_per_mm": "2PR5",
    "sphericity": "QCFX",
    "maximum_3d_diameter_mm": "L0JK",
    "major_axis_length_mm": "TDIC",
    "minor_axis_length_mm": "P9VJ",
    "least_axis_length_mm": "7J51",
    "elongation": "Q3CK",
    "flatness": "N17B",
    "mean": "Q4LE",
    "variance": "ECT3",
    "skewness": "KE2A",
    "kurtosis_excess": "IPH6",
    "median": "Y12H",
    "minimum": "1GSF",
    "percentile_10": "QG58",
    "percentile_90": "8DWT",
    "maximum": "84IY",
    "interquartile_range": "SALO",
    "range": "2OJQ",
    "mean_absolute_deviation": "4FUA",
    "robust_mean_absolute_deviation": "1128",
    "median_absolute_deviation": "N72L",
    "coefficient_of_variation": "7TET",
    "energy": "N8CA",
    "root_mean_square": "5ZWQ",
}
"""IBSI's code of each feature."""

SHAPE = tuple(CODES)[:11]
INTENSITY = tuple(CODES)[11:]

FEWEST_VOXELS = 4
"""Below, a region has no axes and no hull."""


def shape_features(mask: Mask, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Returns the shape of a region; all NaN but the volume by voxels where it has fewer than `FEWEST_VOXELS`.

    Args:
        mask: (I, J, K) bool.
        spacing_mm: of the voxels.

    Raises:
        EngineUnavailableError: scikit-image is not installed (extra `summary`).
    """
    voxels = int(mask.sum())
    features = dict.fromkeys(SHAPE, math.nan) | {"volume_voxel_counting_mm3": voxels * math.prod(spacing_mm)}
    if voxels < FEWEST_VOXELS:
        return features
    corner = [(int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask)]
    small = mask[tuple(slice(*ends) for ends in corner)]
    vertices, triangles = _mesh(small, spacing_mm)
    sides = vertices[triangles]
    crosses = np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0])
    area = float(np.linalg.norm(crosses, axis=1).sum() / 2)
    volume = abs(float(np.einsum("ij,ij->i", sides[:, 0], np.cross(sides[:, 1], sides[:, 2])).sum() / 6))
    features |= {"volume_mesh_mm3": volume, "surface_area_mm2": area, "surface_to_volume_ratio_per_mm": area / volume}
    features |= {
        "sphericity": (36 * math.pi * volume**2) ** (1 / 3) / area,
        "maximum_3d_diameter_mm": _diameter(vertices),
    }
    return features | _axes(np.argwhere(small) * np.asarray(spacing_mm))


def _mesh(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The surface at half the height between outside and inside, closed by a border of air."""
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise EngineUnavailableError(
            f"Shapes need scikit-image, which cannot be imported ({error}). Run: pip install 'gliomask[summary]'"
        ) from error
    vertices, triangles, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=spacing_mm)
    return vertices.astype(np.float64), triangles.astype(np.int64)


def _diameter(vertices: npt.NDArray[np.float64]) -> float:
    """Largest distance of two vertices; both lie on the hull."""
    try:
        points = vertices[ConvexHull(vertices).vertices]
    except QhullError:
        points = vertices
    return float(pdist(points).max())


def _axes(points_mm: npt.NDArray[np.float64]) -> dict[str, float]:
    """Principal axes of the voxels' centres; the length of an axis is four times the root of its eigenvalue (variance
    with N - 1, as IBSI's values have it).
    """
    least, minor, major = np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(points_mm, rowvar=False)), 0, None))
    lengths = {"major_axis_length_mm": 4 * major, "minor_axis_length_mm": 4 * minor, "least_axis_length_mm": 4 * least}
    ratios = {"elongation": minor / major, "flatness": least / major} if major > 0 else {}
    return {name: float(value) for name, value in (lengths | ratios).items()}


def intensity_features(values: npt.NDArray[np.floating]) -> dict[str, float]:
    """Returns statistics of the intensities inside a region; all NaN where it is empty.

    Args:
        values: (N,), the region's voxels of one sequence, as scanned.
    """
    if not len(values):
        return dict.fromkeys(INTENSITY, math.nan)
    given = np.asarray(values, np.float64)
    mean, deviation = given.mean(), given.std()
    tenth, quarter, middle, three_quarters, ninetieth = np.percentile(given, [10, 25, 50, 75, 90])
    centred = given - mean
    inner = given[(given >= tenth) & (given <= ninetieth)]
    statistics = {
        "mean": mean,
        "variance": deviation**2,
        "skewness": (centred**3).mean() / deviation**3 if deviation else 0.0,
        "kurtosis_excess": (centred**4).mean() / deviation**4 - 3 if deviation else 0.0,
        "median": middle,
        "minimum": given.min(),
        "percentile_10": tenth,
        "percentile_90": ninetieth,
        "maximum": given.max(),
        "interquartile_range": three_quarters - quarter,
        "range": np.ptp(given),
        "mean_absolute_deviation": np.abs(centred).mean(),
        "robust_mean_absolute_deviation": np.abs(inner - inner.mean()).mean(),
        "median_absolute_deviation": np.abs(given - middle).mean(),
        "coefficient_of_variation": deviation / mean if mean else math.nan,
        "energy": (given**2).sum(),
        "root_mean_square": math.sqrt((given**2).mean()),
    }
    return {name: float(value) for name, value in statistics.items()}
