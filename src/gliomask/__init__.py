"""gliomask: glioma segmentation from four MR sequences, on a CPU, offline. Research software, not a medical device.

    >>> import gliomask
    >>> result = gliomask.segment("patients/BraTS2021_00000")  # doctest: +SKIP
    >>> result.label_map, result.probabilities, result.flags  # doctest: +SKIP

Names are loaded when they are first used: importing the package costs nothing and needs no engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gliomask.case import Case
    from gliomask.geometry import Geometry
    from gliomask.labels import Label, Region
    from gliomask.models.registry import load_model, shipped_models
    from gliomask.segmentation import Options, Segmentation, Segmenter, segment
    from gliomask.sequences import Sequence

__version__ = "0.1.0"

_HOMES = {
    "Case": "case",
    "Geometry": "geometry",
    "Label": "labels",
    "Options": "segmentation",
    "Region": "labels",
    "Segmentation": "segmentation",
    "Segmenter": "segmentation",
    "Sequence": "sequences",
    "load_model": "models.registry",
    "segment": "segmentation",
    "shipped_models": "models.registry",
}

__all__ = [
    "Case",
    "Geometry",
    "Label",
    "Options",
    "Region",
    "Segmentation",
    "Segmenter",
    "Sequence",
    "__version__",
    "load_model",
    "segment",
    "shipped_models",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gliomask' has no attribute '{name}'")
    return getattr(import_module(f"gliomask.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
