"""Cases laid out for training, in a file that is mapped into memory: the system holds as much of it as it has room for,
so that a training takes the same memory with 60 cases and with 500.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gliomask.files.atomic import not_written
from gliomask.sampling import SliceStack

Array = npt.NDArray[Any]


class StacksOnDisk:
    """A file without a name that holds the arrays of cases, one after the other.

    It disappears with the process, also where that is killed. Use it in a `with` statement; the arrays of `stacks` stay
    valid after it.

    Args:
        folder: where the file lies; it takes about 30 MB a case at 1 mm.

    Raises:
        UsageError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: list[tuple[SliceStack, list[tuple[int, Array]]]] = []
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".cases-")  # noqa: SIM115 - it lives as long as the arrays
        except OSError as error:
            raise not_written(folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A mapping that was made keeps the file.
        self._file.close()

    def add(self, stack: SliceStack) -> None:
        """Writes the arrays of a case; the case itself need not be kept.

        Raises:
            LimitError: the disk is full.
            UsageError: nothing can be written.
        """
        arrays: tuple[Array, ...] = (stack.slices, stack.labels, *stack.centres)
        places = [self._placed(array) for array in arrays]
        nothing = np.empty((0,), np.uint8)
        bare = replace(stack, slices=nothing.astype(np.float16), labels=nothing, centres=())
        self._written.append((bare, places))

    def stacks(self) -> list[SliceStack]:
        """Returns the cases, in the order in which they were added; their arrays are read-only and lie in the file."""
        if not self._written:
            return []
        try:
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise not_written(self.folder, error) from error
        return [self._mapped(mapped, bare, places) for bare, places in self._written]

    def _placed(self, array: Array) -> tuple[int, Array]:
        """Writes an array; returns where it begins, and an empty one of its type and shape."""
        try:
            start = self._file.seek(-(-self._file.tell() // mmap.PAGESIZE) * mmap.PAGESIZE) if array.size else 0
            self._file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise not_written(self.folder, error) from error
        return start, np.broadcast_to(np.zeros((), array.dtype), array.shape)

    @staticmethod
    def _mapped(mapped: mmap.mmap, bare: SliceStack, places: list[tuple[int, Array]]) -> SliceStack:
        slices, labels, *centres = (
            np.frombuffer(mapped, like.dtype, like.size, start).reshape(like.shape) for start, like in places
        )
        return replace(bare, slices=slices, labels=labels, centres=tuple(centres))
