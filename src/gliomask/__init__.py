"""gliomask: glioma segmentation from four MR sequences, on a CPU, offline. Research software, not a medical device."""

from __future__ import annotations

__version__ = "0.1.0"
