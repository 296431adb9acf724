"""A patient's scans in, a segmentation out: options, sources, the networks' work, and the files of a case."""

from gliomask.segmentation.options import Delivery, Options
from gliomask.segmentation.result import Segmentation
from gliomask.segmentation.run import segment
from gliomask.segmentation.segmenter import NO_OTHER, Prediction, Segmenter

__all__ = ["NO_OTHER", "Delivery", "Options", "Prediction", "Segmentation", "Segmenter", "segment"]
