"""gliomask: glioma segmentation from four MR sequences, on a CPU, offline. Research software, not a medical device.

    >>> import gliomask
    >>> result = gliomask.segment("patients/BraTS2021_00000")
    >>> result.label_map.dtype, result.probabilities.shape[-1]
    (dtype('uint8'), 4)

Names are loaded when they are first used: importing the package costs nothing and needs no engine.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gliomask.case import Case
    from gliomask.examination import Examination, Scan
    from gliomask.geometry import Geometry
    from gliomask.io.brats import find_cases, read_case
    from gliomask.io.dicom.read import read_examination
    from gliomask.labels import Label, Region
    from gliomask.models.registry import load_model, shipped_models
    from gliomask.preprocess.raw.interface import BrainExtraction, Registration, Transform
    from gliomask.segmentation import Delivery, Options, Segmentation, Segmenter, segment
    from gliomask.sequences import Sequence

__version__ = "0.1.0"

# Quiet unless a program that uses the library asks for its messages: logging.getLogger("gliomask").
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "BrainExtraction": "preprocess.raw.interface",
    "Case": "case",
    "Delivery": "segmentation.options",
    "Examination": "examination",
    "Geometry": "geometry",
    "Label": "labels",
    "Options": "segmentation.options",
    "Region": "labels",
    "Registration": "preprocess.raw.interface",
    "Scan": "examination",
    "Segmentation": "segmentation",
    "Segmenter": "segmentation",
    "Sequence": "sequences",
    "Transform": "preprocess.raw.interface",
    "find_cases": "io.brats",
    "load_model": "models.registry",
    "read_case": "io.brats",
    "read_examination": "io.dicom.read",
    "segment": "segmentation",
    "shipped_models": "models.registry",
}

__all__ = [
    "BrainExtraction",
    "Case",
    "Delivery",
    "Examination",
    "Geometry",
    "Label",
    "Options",
    "Region",
    "Registration",
    "Scan",
    "Segmentation",
    "Segmenter",
    "Sequence",
    "Transform",
    "__version__",
    "find_cases",
    "load_model",
    "read_case",
    "read_examination",
    "segment",
    "shipped_models",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gliomask' has no attribute '{name}'")
    return getattr(import_module(f"gliomask.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
