"""Paths as their owner named them."""

from __future__ import annotations

import os
from pathlib import Path


def as_given(path: Path) -> Path:
    """Returns the absolute path without following links, for names and for what lies beside a file.

    Data sets are often folders of links (DataLad, Nextflow, pseudonyms that stand for a store of real names). What a
    link points to has the store's name and the store's neighbours, which are not those that the user gave. Follow links
    only to find loops.
    """
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links
