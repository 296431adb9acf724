"""What the documentation site takes for granted: pages that exist, names that are public, one version.

`scripts/build_docs` does the rest.
"""

from __future__ import annotations

import importlib.util
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


@pytest.fixture(scope="module")
def prose():
    spec = importlib.util.spec_from_file_location("wrap_prose", ROOT / "scripts" / "wrap_prose.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_prose_is_at_most_120_columns_wide(prose):
    assert len(prose.pages()) > 30
    wide = {page.name: lines for page in prose.pages() if (lines := prose.wide_prose(page.read_text()))}
    assert wide == {}, "python scripts/wrap_prose.py"


def test_wrapping_leaves_alone_what_is_no_prose(prose):
    long = "word " * 40
    kept = [f"# {long}", f"| {long} |", f"<p>{long}</p>", "", f"    {long}", "", "```", long, "```", "x" * 200]
    assert prose.wrapped("\n".join(kept)) == "\n".join(kept)
    item = f"- {long}\n  {long}\n\n1. short\n   goes on"
    lines = prose.wrapped(item).split("\n")
    assert max(map(len, lines)) <= 120
    assert [line[:2] for line in lines] == ["- ", "  ", "  ", "  ", "", "1.", "  "]
    assert " ".join(" ".join(lines).split()) == " ".join(item.split())
