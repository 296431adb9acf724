"""The BIDS validator, run as a program of its own, with no way into the network.

`bids-validator-deno` brings the validator with the schema of the specification inside, and the program that runs it
(Deno). The launcher that comes with it allows the network; here Deno is called itself, so that nothing is fetched and
nothing written whatever the validator would like.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gliomask.errors import CaseError, EngineUnavailableError, LimitError
from gliomask.in_words import counted

BUNDLE = "bids-validator.js"
"""The validator, in the package's folder."""

SEALED = (
    "--no-prompt",
    "--no-remote",
    "--no-npm",
    "--no-config",
    "--no-lock",
    "--no-code-cache",
    "--deny-net",
    "--deny-write",
    "--deny-run",
    "--deny-ffi",
)
"""Options of Deno: no questions, nothing fetched, no settings or caches of the user's, and what the validator may not
do.
"""

ALLOWED = ("--allow-read", "--allow-env", "--allow-sys")

MEMORY = "--v8-flags=--max-old-space-size=2048"
"""Megabytes that the validator may take for what it reads; the largest public datasets need a tenth."""

SECONDS = 900
"""After which the validator is ended: a dataset of thousands of participants takes some minutes."""

PARTICIPANT = re.compile(r"/?sub-([^/]+)/")
"""Beginning of a finding's place that lies below a participant's folder."""

BROKEN_LINK = "SYMLINK_BROKEN"
"""The code of a link that leads to nothing."""

SHOWN = 6
"""Findings named in a message."""


@dataclass(frozen=True)
class Finding:
    """What the validator says of a file.

    Args:
        code: its name for what is wrong.
        location: the file, from the dataset's root.
        message: in words.
    """

    code: str
    location: str
    message: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.location or '/'}: {self.code}" + (f" ({self.message})" if self.message else "")


@dataclass(frozen=True)
class Findings:
    """All that the validator says of a dataset.

    Args:
        errors: what is wrong.
        warnings: what might be better.
        elsewhere: errors below participants that were not asked for.
    """

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    elsewhere: tuple[Finding, ...] = ()


def validate(dataset: Path) -> Findings:
    """Runs the validator on a dataset.

    Raises:
        EngineUnavailableError: the validator is not installed, or ends without saying what it found.
        LimitError: it takes longer than `SECONDS`.
    """
    command = [*_program(), "--format", "json", str(dataset.resolve())]
    with TemporaryDirectory() as cache:
        # BIDS_SCHEMA would make it fetch another schema than the one that it brings; DENO_DIR is where Deno keeps what
        # it compiled.
        environment = {name: value for name, value in os.environ.items() if name != "BIDS_SCHEMA"}
        environment |= {"DENO_DIR": cache, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
        options: dict[str, Any] = {
            "capture_output": True,
            "text": True,
            "encoding": "utf-8",
            "check": False,
            "stdin": subprocess.DEVNULL,
        }
        try:
            run = subprocess.run(command, **options, env=environment, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise LimitError(
                f"{dataset}: the BIDS validator took longer than {SECONDS} s and was ended. Move away what is not "
                "BIDS, or give --skip-bids-validator."
            ) from None
    try:
        issues = json.loads(run.stdout)["issues"]
        named = [
            (str(issue["severity"]), _finding(issue, issues.get("codeMessages", {}))) for issue in issues["issues"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(run.stderr.split())[-300:] or "nothing"
        raise EngineUnavailableError(
            f"The BIDS validator ended with exit code {run.returncode} and no findings that can be read. It "
            f"said: {said}. "
            "Install it again (pip install --force-reinstall bids-validator-deno), or give --skip-bids-validator."
        ) from error
    return Findings(
        tuple(finding for level, finding in named if level == "error"),
        tuple(finding for level, finding in named if level != "error"),
    )


def _program() -> list[str]:
    package = find_spec("bids_validator_deno")
    if package is None or not package.submodule_search_locations:
        raise EngineUnavailableError(
            "The BIDS validator is not installed. Install it (pip install 'gliomask[bids]'), or give "
            "--skip-bids-validator to go on without: "
            "then scans are found by their names as before, but nothing else of the dataset is checked."
        )
    bundle = Path(next(iter(package.submodule_search_locations))) / BUNDLE
    return [
        os.fsdecode(import_module("deno").find_deno_bin()),
        "run",
        "--quiet",
        MEMORY,
        *SEALED,
        *ALLOWED,
        str(bundle),
    ]


def _finding(issue: dict[str, Any], messages: dict[str, str]) -> Finding:
    text = str(issue.get("issueMessage") or messages.get(issue["code"], ""))
    sub = f" {issue['subCode']}" if issue.get("subCode") else ""
    return Finding(f"{issue['code']}{sub}", str(issue.get("location", "")), text.strip().partition("\n")[0])


def refuse_invalid(dataset: Path, participants: Collection[str] | None = None) -> Findings:
    """Runs the validator; returns what it found where that is no error.

    Args:
        dataset: its root.
        participants: labels, without `sub-`, of those that are asked for; errors below other participants' folders,
            which may be there as dangling links alone (DataLad), are counted in `elsewhere`. None asks for all.

    Raises:
        CaseError: the dataset is not valid.
        EngineUnavailableError: as `validate`.
    """
    findings = validate(dataset)
    if participants is not None:
        aside = tuple(
            error
            for error in findings.errors
            if (name := PARTICIPANT.match(error.location)) and name[1] not in participants
        )
        findings = Findings(tuple(error for error in findings.errors if error not in aside), findings.warnings, aside)
    if findings.errors:
        shown = "\n  ".join(str(finding) for finding in findings.errors[:SHOWN])
        more = f"\n  and {len(findings.errors) - SHOWN} more" if len(findings.errors) > SHOWN else ""
        fetch = (
            "Fetch what dangling links stand for (datalad get), or name the participants that are there by "
            "--participant-label. "
        )
        raise CaseError(
            f"{dataset}: is no valid BIDS dataset; the BIDS validator found "
            f"{counted(len(findings.errors), 'error')}:\n  {shown}{more}\n"
            f"{fetch if any(error.code.startswith(BROKEN_LINK) for error in findings.errors) else ''}"
            "Mend them, or give --skip-bids-validator if they do not matter to the anatomical images."
        )
    return findings
