"""What a process of our own may leave out, so that it starts quickly."""

from __future__ import annotations

import sys
from importlib import import_module


def import_without(package: str, other: str) -> None:
    """Imports a package as if another were not installed; the other can be imported afterwards as usual.

    For `nibabel` without `pydicom`: nibabel imports it wherever it finds it, which takes a fifth of a second, for a
    kind of header that no scan here has. In the process of a command or a worker alone: a library leaves the imports of
    those who use it as they are.

    Args:
        package: nothing happens where it was imported already.
        other: nothing happens where that was imported already.
    """
    if package in sys.modules or other in sys.modules:
        return
    sys.modules[other] = None  # type: ignore[assignment]
    try:
        import_module(package)
    finally:
        del sys.modules[other]
