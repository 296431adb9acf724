"""Every example in a docstring runs: on a small case in a BraTS folder, with the network made by hand."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case

import gliomask

SOURCES = Path(gliomask.__file__).parent


def with_examples() -> list[str]:
    """Names of all modules that hold an example."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(SOURCES.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


@pytest.mark.parametrize("name", with_examples())
def test_the_examples_of_a_module_give_what_they_say(name, fake_model, tmp_path, monkeypatch):
    if name.startswith("gliomask.simulate"):
        pytest.importorskip("nilearn", reason="synthetic patients need the extra 'simulate'")
    write_brats_case(tmp_path / "patients", make_tiny_case("BraTS2021_00000"), tiny_labels())
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(name), extraglobs={"gliomask": gliomask, "np": np})
    assert found.failed == 0
    assert found.attempted > 0


def test_no_example_is_skipped():
    assert [path for path in SOURCES.rglob("*.py") if "doctest: +SKIP" in path.read_text(encoding="utf-8")] == []


def test_the_public_interface_has_examples():
    assert {"gliomask", "gliomask.segmentation.run", "gliomask.segmentation.result"} <= set(with_examples())
