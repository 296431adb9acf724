"""What the documentation site takes for granted: pages that exist, names that are public, one version.

`scripts/build_docs` does the rest.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import gliomask

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def pages(entry) -> list[str]:
    """Every page below an entry of the site's table of contents."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry if isinstance(entry, list) else entry.values()) for page in pages(part)]


def test_every_page_of_the_site_exists_and_every_page_is_in_it():
    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(listed) == len(set(listed))
    for page in set(listed) - {"decisions/index.md"}:  # written when the site is built
        source = DOCS / page
        assert (source.with_suffix(".py") if page.startswith("tutorials/") else source).is_file(), page
    there = {path.relative_to(DOCS).as_posix() for path in (*DOCS.glob("*.md"), *(DOCS / "model-cards").glob("*.md"))}
    assert there <= set(listed)
    assert {f"tutorials/{path.stem}.md" for path in (DOCS / "tutorials").glob("*.py")} <= set(listed)


def test_every_public_name_is_in_the_reference():
    text = (DOCS / "api" / "index.md").read_text()
    assert set(re.findall(r"^::: gliomask\.(\w+)$", text, re.MULTILINE)) >= set(gliomask.__all__) - {"__version__"}


def test_extras_that_the_first_page_names_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (DOCS / "index.md").read_text().split("| extra | for |")[1].split("\n\n")[0]
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert named
    assert set(named) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("extra", ["docs"])
def test_development_includes_what_builds_the_site(extra):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extra in re.search(r"gliomask\[([^\]]*)\]", extras["dev"][0]).group(1).split(",")


def test_the_version_stands_in_one_place_and_the_others_follow():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/gliomask/__init__.py"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == gliomask.__version__
    assert json.loads((ROOT / "web" / "package.json").read_text())["version"] == gliomask.__version__
