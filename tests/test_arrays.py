"""Values that hold arrays are shown by kind and shape, never by their numbers."""

import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import re
from dataclasses import dataclass, field

import numpy as np
import pytest

import gliomask
from gliomask.arrays import short_repr
from gliomask.examination import Examination, Scan
from gliomask.geometry import Geometry
from gliomask.sequences import Sequence

PACKAGES = (
    "air",
    "arrays",
    "case",
    "engines",
    "examination",
    "geometry",
    "io",
    "models",
    "predict",
    "preprocess",
    "quality",
    "segmentation",
)
"""Whose values users and their programs meet."""

WITHOUT_TENSORFLOW = "gliomask.engines.keras"

HOLDS_NUMBERS = re.compile(
    r"\b(NDArray|Volume|Mask|LabelMap|Probabilities|Affine|bytes|Arrays|Channels|Batch|Points)\b"
)


@dataclass(frozen=True, eq=False)
class Held:
    volume: np.ndarray
    content: bytes
    by_name: dict
    several: tuple
    words: str = "text"
    secret: str = field(default="hidden", repr=False)

    __repr__ = short_repr


def test_arrays_are_shown_by_kind_and_shape():
    ones = np.ones((2, 3), np.float32)
    shown = repr(Held(ones, b"12345", {"t1": ones}, (ones, 7)))
    array = "<float32 array (2, 3)>"
    assert (
        shown
        == f"Held(volume={array}, content=<5 bytes>, by_name={{'t1': {array}}}, several=({array}, 7), words='text')"
    )


def test_long_collections_are_cut():
    shown = repr(Held(np.ones(1), b"", {str(n): n for n in range(10)}, tuple(range(9))))
    assert "'7': 7, and 2 more}" in shown
    assert "7, and 1 more)" in shown


def dataclasses_of(package):
    module = importlib.import_module(f"gliomask.{package}")
    names = [
        f"gliomask.{package}",
        *(found.name for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"gliomask.{package}.")),
    ]
    for name in names:
        if name != WITHOUT_TENSORFLOW:
            for one in vars(importlib.import_module(name)).values():
                if inspect.isclass(one) and one.__module__ == name and dataclasses.is_dataclass(one):
                    yield one


@pytest.mark.parametrize("package", PACKAGES)
def test_no_value_prints_an_array(package):
    def prints(one):
        # The decorator's own repr shows every field.
        generated = hasattr(vars(one).get("__repr__"), "__wrapped__")
        return generated and any(
            HOLDS_NUMBERS.search(str(shown.type)) for shown in dataclasses.fields(one) if shown.repr
        )

    assert [one.__qualname__ for one in dataclasses_of(package) if prints(one)] == []


def test_the_packages_exist():
    assert {
        package for package in PACKAGES if importlib.util.find_spec(f"{gliomask.__name__}.{package}") is None
    } == set()


def test_an_examination_is_read_only_short_and_can_be_sent():
    volume = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    scan = Scan(volume, Geometry((3, 4, 5), np.eye(4)), "series 4")
    examination = Examination("patient", {Sequence.T2: scan, Sequence.FLAIR: scan})
    assert (
        repr(examination)
        == "Examination('patient', flair 3 x 4 x 5 voxels of 1 x 1 x 1 mm, RAS, t2 3 x 4 x 5 voxels of 1 x 1 "
        "x 1 mm, RAS)"
    )
    assert repr(scan).startswith("Scan(volume=<float32 array (3, 4, 5)>, geometry=Geometry(3 x 4 x 5 voxels")
    with pytest.raises(TypeError):
        examination.scans[Sequence.T1] = scan
    with pytest.raises(ValueError, match="read-only"):
        scan.volume[0, 0, 0] = 1
    sent = pickle.loads(pickle.dumps(examination))  # noqa: S301 - made a moment before
    assert list(sent.scans) == list(examination.scans)
