"""What must be so whatever the input is, and how bytes are damaged; for all fuzz tests.

Budgets are numbers of examples, so a slow machine tries as much.

By hand, for longer: `GLIOMASK_FUZZ=20 scripts/test tests/fuzz` tries twenty times as many.
"""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gliomask.cli.main import run

CODES = (0, 2, 3, 4, 5, 6)
MORE = int(os.environ.get("GLIOMASK_FUZZ", "1"))
SECRETS = ("SMITH", "JONES", "ACC123", "19500101", "Traceback")


def fuzz(examples: int) -> settings:
    """Settings of a property that is tried on so many examples in a run of all tests."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples * MORE, deadline=None, derandomize=MORE == 1, suppress_health_check=quiet)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder that takes the place of the system's temporary one."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def holds(temporary, *words) -> int:
    """Runs a command and asserts what must be so whatever the input is; returns the exit code."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(map(str, words)))
    printed, said = out.getvalue() + err.getvalue(), err.getvalue()
    assert code in CODES, printed
    assert sum(line.startswith("Error: ") for line in said.splitlines()) == (code != 0), said
    assert not any(secret in printed for secret in SECRETS), printed
    assert all(letter.isprintable() or letter in "\n\t" for letter in printed)
    assert list(temporary.iterdir()) == []
    return code


def refusal(read, path, errors) -> str:
    """Reads a file and returns the message of its refusal, empty where it was read; any other error fails the test."""
    try:
        read(path)
    except errors as error:
        return str(error) or "refused without a word"
    return ""


@st.composite
def damage(draw):
    """A change of bytes: some turned, a piece cut out, doubled, or put in; where it goes is a share of the length."""
    kind = draw(st.sampled_from(("turn", "cut", "double", "insert", "end")))
    place = draw(st.floats(0, 1))
    return kind, place, draw(st.binary(min_size=1, max_size=12))


def damaged(content: bytes, changes) -> bytes:
    """Returns content with changes as `damage` draws them, more of them near its beginning, where headers are."""
    for kind, share, piece in changes:
        at = round(share * share * (len(content) - 1))
        end = min(at + len(piece), len(content))
        content = {
            "turn": content[:at] + piece[: end - at] + content[end:],
            "cut": content[:at] + content[end:],
            "double": content[:end] + content[at:],
            "insert": content[:at] + piece + content[at:],
            "end": content[:at],
        }[kind]
        content = content or b"\0"
    return content
