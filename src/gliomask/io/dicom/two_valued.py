"""Tells a mask from a scan by its pixels: a region of interest may carry the description of the scan that it was drawn
on.
"""

from __future__ import annotations

from collections.abc import Sequence as Frames

import numpy as np

from gliomask.errors import FileFormatError
from gliomask.io.dicom.decoder import decode
from gliomask.io.dicom.headers import Frame

MAX_VALUES = 2


def two_valued(frames: Frames[Frame], transfer_syntax: str, name: str) -> bool:
    """Returns True where the pixels of all frames together have exactly two values.

    One frame in the middle is looked at first, and is enough for scans. Pixels that cannot be read are left for
    `read.read_scan` to refuse.

    Args:
        frames: of one volume.
        transfer_syntax: of their files.
        name: how messages call the series.
    """
    middle = frames[len(frames) // 2]
    try:
        if len(_values([middle], transfer_syntax, name)) > MAX_VALUES:
            return False
        return len(_values(frames, transfer_syntax, name)) == MAX_VALUES
    except FileFormatError:
        return False


def _values(frames: Frames[Frame], transfer_syntax: str, name: str) -> set[float]:
    """Different stored values; no more are counted once there are too many."""
    wanted = [(str(frame.path), frame.index) for frame in frames]
    if len(wanted) == 1:
        return set(np.unique(decode(wanted, frames[0].shape, transfer_syntax, name)).tolist())
    values: set[float] = set()
    for start in range(0, len(wanted), FRAMES_AT_ONCE):
        values |= set(
            np.unique(decode(wanted[start : start + FRAMES_AT_ONCE], frames[0].shape, transfer_syntax, name)).tolist()
        )
        if len(values) > MAX_VALUES:
            break
    return values


FRAMES_AT_ONCE = 64
