"""Executes the tutorials (jupytext's percent format) as notebooks; writes each as a notebook and as a page with its
outputs.

    python scripts/execute_tutorials.py docs/tutorials build/docs/tutorials

A cell that fails ends the build: a tutorial that no longer works is not published.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

SECONDS_A_CELL = 300
"""Longest that a cell may take, on a machine that does other things too."""


def execute(source: Path, folder: Path) -> None:
    """Executes one tutorial and writes NAME.ipynb, NAME.md and its pictures into a folder."""
    started = time.perf_counter()
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(notebook, timeout=SECONDS_A_CELL, kernel_name="python3").execute()
    nbformat.write(notebook, folder / f"{source.stem}.ipynb")
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": source.stem, "output_files_dir": f"{source.stem}_files"}
    )
    (folder / f"{source.stem}.md").write_text(text, encoding="utf-8")
    for name, content in resources["outputs"].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    print(f"{source.name}: executed in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    tutorials, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for tutorial in sorted(tutorials.glob("*.py")):
        execute(tutorial, target)
