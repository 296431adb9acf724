"""Wraps the prose of Markdown files at 120 columns: python scripts/wrap_prose.py [FILE...]

Without FILE, every page of the documentation and of the checkout's root. Only paragraphs and items of lists that have a
longer line are touched; code, tables, headings, HTML and lines without a space stay. tests/test_docs.py holds that no
prose is wider.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gliomask.files.markdown import wide_prose, wrapped

__all__ = ["pages", "wide_prose", "wrapped"]

ROOT = Path(__file__).resolve().parents[1]


def pages() -> list[Path]:
    """Returns the Markdown files that people wrote: not the tables and studies that programs leave."""
    documents = [path for path in ROOT.glob("docs/**/*.md") if not path.is_relative_to(ROOT / "docs" / "tables")]
    return sorted([*ROOT.glob("*.md"), *(path for path in documents if path.name != "study.md")])


def main() -> None:
    """Wraps the files that are named, or all."""
    for path in [Path(name) for name in sys.argv[1:]] or pages():
        text = path.read_text(encoding="utf-8")
        better = wrapped(text)
        if better != text:
            path.write_text(better, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
