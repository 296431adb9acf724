"""A patient's scans in, a segmentation out: options, sources, the networks' work, and the files of a case.

Names are loaded when they are first used, so that a command's help, which needs the options alone, reads no NIfTI
library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gliomask.segmentation.options import NO_OTHER, Delivery, Options
    from gliomask.segmentation.result import Segmentation
    from gliomask.segmentation.run import segment
    from gliomask.segmentation.segmenter import Prediction, Segmenter

_HOMES = {
    "NO_OTHER": "options",
    "Delivery": "options",
    "Options": "options",
    "Prediction": "segmenter",
    "Segmentation": "result",
    "Segmenter": "segmenter",
    "segment": "run",
}

__all__ = ["NO_OTHER", "Delivery", "Options", "Prediction", "Segmentation", "Segmenter", "segment"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gliomask.segmentation' has no attribute '{name}'")
    return getattr(import_module(f"gliomask.segmentation.{_HOMES[name]}"), name)
