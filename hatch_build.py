"""Puts the browser's application into the wheel: builds `web/` with Node where it has not been built
(docs/decisions/0022-browser.md).

The environment variable GLIOMASK_WEB says how: `auto` (the default) makes a wheel without the application where Node is
missing, and says so; `require`, for releases, builds it anew and fails where it cannot; `skip` leaves it out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

APP = Path("src/gliomask/web/app")
PAGE = Path("src/gliomask/view/built")
"""What `npm run build` makes: the application, and the page of `gliomask view`."""

MODES = ("auto", "require", "skip")


class BuildHook(BuildHookInterface[Any]):
    """The build step of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the application before files are collected; an editable installation takes what is there."""
        mode = os.environ.get("GLIOMASK_WEB", "auto")
        if mode not in MODES:
            raise ValueError(f"GLIOMASK_WEB is '{mode}'; known are {', '.join(MODES)}.")
        if version == "editable" or mode == "skip":
            return
        made = [Path(self.root) / APP / "index.html", Path(self.root) / PAGE / "view.js"]
        if mode == "require" or not all(path.is_file() for path in made):
            problem = self._build(Path(self.root) / "web")
            if problem and mode == "require":
                raise RuntimeError(f"The browser's application cannot be built: {problem}")
            if problem:
                self.app.display_warning(
                    f"gliomask: the wheel goes without the browser's application ({problem}). All else works."
                )
        for folder, path in zip((APP, PAGE), made, strict=True):
            if path.is_file():
                build_data["artifacts"].append(f"/{folder.as_posix()}/**")

    def _build(self, web: Path) -> str | None:
        """Runs npm; returns what went wrong, or None."""
        npm = shutil.which("npm")
        if npm is None:
            return "npm is not installed; Node 20 or later is needed"
        for arguments in (["ci"], ["run", "build"]):
            done = subprocess.run(
                [npm, *arguments], cwd=web, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if done.returncode:
                return f"npm {' '.join(arguments)} failed: {done.stderr.strip()[-500:] or done.stdout.strip()[-500:]}"
        return None
