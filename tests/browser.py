"""Debian's Chromium without a window: what a page is after its scripts have run."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")


def dom_of(page: Path, profile: Path) -> str:
    """The document of a page that is opened from disk, as HTML; `profile` is a folder for Chromium's own files."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=60).stdout
